"""One step of a job: a few buckets, in one transaction or beside all of them, until the job is done."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.database import Connection, Database, DatabaseError
from cloud.etl import mismatches
from cloud.etl.cycles import Cycle, Cycles
from cloud.etl.jobs import Job, next_open
from cloud.etl.recompute import Difference, differences, every_bucket, reaches
from cloud.marts import mark
from cloud.marts.calendar import Instance
from cloud.marts.compute import COLUMNS, compute, stored
from cloud.marts.ledger import SHIFT, Bucket
from cloud.plant import Place, Plants
from cloud.tables import MEASURES

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Shifts restated in one transaction."""
READ_AT_ONCE: Final = 64
"""Buckets held against what stands in one read."""
_MART: Final = COLUMNS["mart_shift"]
_PRODUCT: Final = _MART.index("product")

Shift = tuple[Place, Instance]
Figures = list[tuple[Any, ...]]
"""Rows of etl_figure."""


@dataclass
class Work:
    """Carries out whatever job is next; remembers only what can be found again."""

    database: Database
    plants: Plants
    _buckets: dict[int, list[Bucket]] = field(default_factory=dict[int, list[Bucket]])
    _shifts: dict[int, list[Shift]] = field(default_factory=dict[int, list[Shift]])

    async def step(self, now_ms: int) -> bool:
        """Do a little of the oldest open job; tells whether there was one."""
        job = await self.database.read(next_open)
        if job is None:
            self._buckets.clear()
            self._shifts.clear()
            return False
        try:
            await self._step(job, now_ms)
        except DatabaseError:
            raise
        except Exception as error:  # a bug that one job meets fails that job; the next ones have their turn
            log.exception("job %d failed", job.id)
            why = f"{type(error).__name__}: {error}"
            await self.database.write(lambda c: _end(c, job, now_ms, error=why))
        return True

    async def _step(self, job: Job, now_ms: int) -> None:
        if job.kind == "rebuild":
            await self._rebuild(job, now_ms)
        elif job.state == "refreshing":
            await self.database.write(lambda c: _settled(c, self.plants, job, now_ms))
        elif job.dry_run:
            part = await self._part(job)
            figures = await self.database.read(lambda c: _foreseen(c, self.plants, job, part, now_ms))
            await self.database.write(lambda c: _advance(c, job, now_ms, len(part), figures, last=len(part) < AT_ONCE))
        else:
            part = await self._part(job)
            await self.database.write(lambda c: _restate(c, self.plants, job, part, now_ms))

    async def _part(self, job: Job) -> list[Shift]:
        """Give the next shifts of a restatement. All of them are worked out once: there may be sixty thousand."""
        if job.id not in self._shifts:
            self._shifts = {job.id: await asyncio.to_thread(job.shifts, self.plants)}
        return self._shifts[job.id][job.done_buckets :][:AT_ONCE]

    async def _rebuild(self, job: Job, now_ms: int) -> None:
        if job.id not in self._buckets:
            within = job.asked.get("reach")
            if within is None:  # asked of an older version
                within = await self.database.read(lambda c: reaches(c, job.tenant, now_ms))
            self._buckets = {job.id: await asyncio.to_thread(every_bucket, self.plants, job.tenant, within)}
        every = self._buckets[job.id]
        part = every[job.done_buckets :][:READ_AT_ONCE]

        def read(connection: Connection) -> list[Difference]:
            found = [differences(connection, self.plants, bucket, now_ms) for bucket in part]
            return [one for some in found if some for one in some]

        found = await self.database.read(read)
        if found:  # once more: it may have been mended meanwhile
            found = await self.database.read(read)
        await self.database.write(lambda c: _compared(c, job, now_ms, len(every), (len(part), found)))


def _restate(connection: Connection, plants: Plants, job: Job, part: list[Shift], now_ms: int) -> None:
    """Compute a few shifts anew: rate them, note what changes, and mark every bucket they are part of."""
    product: str | None = job.asked["product"]
    cycles = Cycles.load(connection)
    figures: Figures = []
    for place, instance in part:
        if product is not None:
            _rate(connection, place, instance, product, cycles)
        was, is_ = _sums(connection, plants, place, instance, now_ms)
        figures += _figures(job, place, instance, was, is_)
        for where in (place, (*place[:2], "")):  # of the site, too: with other shifts a count is another day's
            mark.span(connection, plants, where, (instance.start_ms, instance.end_ms), now_ms)
    _advance(connection, job, now_ms, len(part), figures, last=len(part) < AT_ONCE)


_RATED: Final = (
    "select inc, stream, seq, counted_ms, produced, good, ideal_us, ideal_good_us from production where tenant=?"
    " and site=? and work_unit=? and counted_ms>=? and counted_ms<? and product=?"
)


def _anew(
    connection: Connection, place: Place, instance: Instance, product: str, cycles: Cycles
) -> Iterable[tuple[tuple[int, int, int], int, tuple[int | None, int | None], tuple[int, int]]]:
    """Give every record of a product in a shift whose rating changes: key, pieces, old and new ideal us."""
    rows = connection.execute(_RATED, (*place, instance.start_ms, instance.end_ms, product))
    for inc, stream, seq, counted, produced, good, *old in rows:
        cycle = cycles.of(*place, product, counted)
        if cycle is not None:
            new = (round(produced * cycle * 1000), round(good * cycle * 1000))
            if new != tuple(old):
                yield (inc, stream, seq), produced, (old[0], old[1]), new


def _rate(connection: Connection, place: Place, instance: Instance, product: str, cycles: Cycles) -> None:
    connection.many(
        "update production set ideal_us=?, ideal_good_us=? where inc=? and stream=? and seq=?",
        [(*new, *key) for key, _, _, new in _anew(connection, place, instance, product, cycles)],
    )


def _foreseen(connection: Connection, plants: Plants, job: Job, part: list[Shift], now_ms: int) -> Figures:
    """Give what a restatement would change; nothing is written."""
    product, cycle_ms = job.asked["product"], job.asked["cycle_ms"]
    figures: Figures = []
    for place, instance in part:
        more: dict[str, int] = {}
        if product is not None:
            tenant, site, unit = place
            period = {"from_ms": job.asked["from_ms"], "to_ms": job.asked["to_ms"]}
            cycle = Cycle(tenant=tenant, site=site, work_unit=unit, product=product, cycle_ms=cycle_ms, **period)
            for _, produced, old, new in _anew(connection, place, instance, product, Cycles([cycle])):
                more["ideal_us"] = more.get("ideal_us", 0) + new[0] - (old[0] or 0)
                more["ideal_good_us"] = more.get("ideal_good_us", 0) + new[1] - (old[1] or 0)
                more["unrated"] = more.get("unrated", 0) - (produced if old[0] is None else 0)
        was, is_ = _sums(connection, plants, place, instance, now_ms)
        if product in is_:
            is_[product] |= {name: is_[product][name] + value for name, value in more.items()}
        figures += _figures(job, place, instance, was, is_)
    return figures


Sums = dict[str, dict[str, int]]
"""Product → measure → value."""


def _sums(connection: Connection, plants: Plants, place: Place, instance: Instance, now_ms: int) -> tuple[Sums, Sums]:
    """Give a shift as it stands and as it comes out now."""
    bucket = Bucket(place, SHIFT, instance.start_ms)
    stand, right = stored(connection, bucket), compute(connection, plants, bucket, now_ms)
    return _by_product(stand["mart_shift"]), _by_product(right["mart_shift"])


def _figures(job: Job, place: Place, instance: Instance, was: Sums, is_: Sums) -> Figures:
    """Give what of a shift comes out otherwise than it stands."""
    about = (job.id, *place[1:], instance.start_ms)
    return [
        (*about, product, instance.business_date, instance.shift, _text(was.get(product)), _text(is_.get(product)))
        for product in sorted(was.keys() | is_.keys())
        if was.get(product) != is_.get(product)
    ]


def _by_product(rows: list[Any]) -> Sums:
    at = [(name, _MART.index(name)) for name in MEASURES]
    return {row[_PRODUCT]: {name: int(row[place]) for name, place in at} for row in rows}


def _text(sums: dict[str, int] | None) -> str:
    return json.dumps(sums or {})


_FIGURE: Final = (
    "insert into etl_figure(job, site, work_unit, start_ms, product, business_date, shift, before, after)"
    " values(?,?,?,?,?,?,?,?,?) on conflict(job, site, work_unit, start_ms, product) do update set after=excluded.after"
)


def _advance(connection: Connection, job: Job, now_ms: int, done: int, figures: Figures, *, last: bool) -> None:
    taken = connection.execute(
        "update etl_job set state=?, done_buckets=done_buckets+?, changed=changed+?, started_ms=coalesce(started_ms, ?),"
        " ended_ms=? where id=? and done_buckets=? and state=? returning id",
        (
            "running" if not last else "done" if job.dry_run else "refreshing",
            done,
            len(figures),
            now_ms,
            now_ms if last and job.dry_run else None,
            job.id,
            job.done_buckets,
            job.state,
        ),
    )
    if taken:  # another process may have done this step
        connection.many(_FIGURE, figures)


def _settled(connection: Connection, plants: Plants, job: Job, now_ms: int) -> None:
    """End a restatement when its buckets are refreshed; what an audit had found there is looked at again."""
    first, last = job.asked["from_ms"], job.asked["to_ms"]
    for place in job.places:
        row = connection.one(
            "select 1 from dirty_bucket where tenant=? and site=? and work_unit=? and start_ms>=? and start_ms<?"
            " and due_ms<=? limit 1",
            (*place, first, last, now_ms),
        )
        if row is not None:
            return
    mine = set(job.places) | {(place[0], place[1], "") for place in job.places}
    wrong = [bucket for bucket in mismatches.open_buckets(connection, job.tenant) if bucket[0] in mine]
    mismatches.mended(connection, plants, wrong, now_ms)
    _end(connection, job, now_ms)


Compared = tuple[int, list[Difference]]
"""(how many buckets were held against what stands, what is wrong with them)."""


def _compared(connection: Connection, job: Job, now_ms: int, total: int, part: Compared) -> None:
    """Note a part of a rebuild."""
    done, found = part
    mismatches.note(connection, found, now_ms)
    buckets = {(one.place, one.kind, one.start_ms) for one in found}
    taken = connection.execute(
        "update etl_job set state='running', buckets=?, done_buckets=done_buckets+?, changed=changed+?,"
        " started_ms=coalesce(started_ms, ?) where id=? and done_buckets=? returning id",
        (total, done, len(buckets), now_ms, job.id, job.done_buckets),
    )
    if taken and job.done_buckets + done >= total:  # another process may have done this part
        connection.execute(
            "update etl_job set state='done', ended_ms=?, equal=(changed=0) where id=?", (now_ms, job.id)
        )


def _end(connection: Connection, job: Job, now_ms: int, error: str = "") -> None:
    connection.execute(
        "update etl_job set state=?, ended_ms=?, error=? where id=?",
        ("failed" if error else "done", now_ms, error.replace("\0", "\ufffd")[:500], job.id),
    )
