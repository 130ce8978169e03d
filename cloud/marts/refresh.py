"""The refresher: recomputes the buckets that the ledger names, from base rows, a few per transaction.

A bucket's rows are replaced whole, so repeating is harmless and a crash leaves either the old or the new; a table whose
rows come out the same is not written. What is summed up from a changed bucket (its day, its site's day, its trend) is
recomputed in the same transaction, so that no reader sees a day that differs from its shifts. A bucket of a shift that
lasts stays in the ledger until the shift is over, when it is computed a last time: then all of its time counts, also
what nobody saw.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from cloud.bus import Bus
from cloud.database import Connection, Database, DatabaseError, DataError, TryAgainError
from cloud.marts import dimensions, excess, mark, members, over
from cloud.marts.calendar import Calendar
from cloud.marts.compute import COLUMNS, TABLES, compute, replace
from cloud.marts.ledger import AFTERWARDS, ALL, DAY, DAY_MS, QUALITY, SHIFT, SITE, STOCK, TREND, Bucket, date_ms
from cloud.marts.shifts import Rows
from cloud.plant import Place, Plants

log = logging.getLogger(__name__)

AT_ONCE: Final = 32
IDLE_S: Final = 0.2
NS: Final = 1_000_000
POSTPONED_MS: Final = 3_600_000

_KEY: Final = "tenant=? and site=? and work_unit=? and mart=? and start_ms=?"
_DUE: Final = (
    "select tenant, site, work_unit, mart, start_ms, gen from dirty_bucket where due_ms<=?"
    " order by due_ms, tenant, site, work_unit, mart, start_ms"
)
_MARK: Final = (
    "insert into dirty_bucket(tenant, site, work_unit, mart, start_ms, gen, due_ms) values(?,?,?,?,?,1,?)"
    " on conflict(tenant, site, work_unit, mart, start_ms) do update set gen=dirty_bucket.gen+1,"
    " due_ms=least(dirty_bucket.due_ms, excluded.due_ms)"
)
_FORMER: Final = {
    kind: f"select distinct start_ms from {table} where tenant=? and site=? and work_unit=? and start_ms>?"  # noqa: S608 - ours
    f" and start_ms<? and start_ms<>? and {end}>?"
    for kind, table, end in ((SHIFT, "mart_shift", "end_ms"), (QUALITY, "mart_quality", "start_ms"))
}
"""Kind → the buckets that reach into a shift and do not begin with it."""
_VERSION: Final = (
    "insert into mart_version(tenant, mart, version, refreshed_ms, took_us, row_count) values(?,?,?,?,?,?)"
    " on conflict(tenant, mart) do update set version=mart_version.version+excluded.version,"
    " refreshed_ms=excluded.refreshed_ms, took_us=excluded.took_us,"
    " row_count=mart_version.row_count+excluded.row_count"
)


class Refresh:
    """One transaction of the refresher."""

    def __init__(self, connection: Connection, plants: Plants, now_ms: int) -> None:
        self._connection = connection
        self._plants = plants
        self._now_ms = now_ms
        self._marks: dict[Bucket, int] = {}
        self._sums: set[Bucket] = set()
        """What is summed up from a bucket that changed."""
        self._spent: dict[tuple[str, str], tuple[int, int, int]] = {}
        """(tenant, table) → (how often it changed, us of the latest bucket, rows more than before)."""
        self._members = members.Members()

    def run(self, limit: int) -> int:
        """Recompute up to `limit` due buckets, the longest due first; gives how many."""
        due = self._connection.execute(f"{_DUE} limit ?", (self._now_ms, limit))
        done: list[tuple[Bucket, int, int | None]] = []
        later: list[tuple[Bucket, int]] = []
        for tenant, site, unit, kind, start_ms, gen in due:
            key = Bucket((tenant, site, unit), kind, start_ms)
            if kind not in TABLES and kind != ALL:
                done.append((key, gen, None))
            elif kind in {DAY, SITE, TREND}:
                later.append((key, gen))  # after what they are sums of
            elif self._lock(key):
                done.append((key, gen, self._work(key)))
        for key, gen in later:
            if key in self._sums or self._lock(key):
                self._sums.discard(key)
                done.append((key, gen, self._work(key)))
        while self._sums:
            key = min(self._sums)
            self._sums.remove(key)
            if self._lock(key):
                self._work(key)
            else:  # another process has just computed it without what is not committed yet
                self._marks[key] = self._now_ms
        self._members.write(self._connection)
        self._settle(done)
        self._mend([key for key, _, _ in done])
        return len(due)

    def _mend(self, done: list[Bucket]) -> None:
        """Forget what was wrong with buckets that could be stored now."""
        names = {_name(key) for key in done}
        for (error,) in self._connection.execute("select distinct error from mart_version where error<>''"):
            if error.split(": ", 1)[0] in names:
                self._connection.execute("update mart_version set error='' where error=?", (error,))

    def _lock(self, key: Bucket) -> bool:
        """Keep a slow process from overwriting the newer result of another; it lasts until the commit."""
        if not self._connection.postgresql:
            return True
        text = "/".join((*key[0], key[1], str(key[2])))
        return bool(self._connection.execute("select pg_try_advisory_xact_lock(hashtextextended(?, 0))", (text,))[0][0])

    def _work(self, key: Bucket) -> int | None:
        """Recompute a bucket; gives when it is to be computed again, None for when something touches it."""
        place, kind, start_ms = key
        try:
            calendar = self._plants[place[:2]].calendar
        except KeyError:  # a site that the configuration no longer names keeps its figures as they are
            return None
        if kind == ALL:
            mark.everything(self._connection, self._plants, place, self._now_ms)
            return None
        began = time.perf_counter_ns()
        rows = compute(self._connection, self._plants, key, self._now_ms)
        old, new = replace(self._connection, key, rows)
        took_us = (time.perf_counter_ns() - began) // 1000
        for table in TABLES[kind]:
            count, _, more = self._spent.get((place[0], table), (0, 0, 0))
            more += len(new.get(table, ())) - len(old.get(table, ()))
            self._spent[place[0], table] = (count + (table in new), took_us, more)
        if new:
            self._follow(key, old, new)
            self._members.note(place, old, new)
        if kind in _FORMER:
            self._supersede(key, calendar)
        if kind == SHIFT:
            end_ms = calendar.at(start_ms).end_ms
            if end_ms <= self._now_ms:
                excess.note(self._connection, place, rows["mart_shift"], old.get("mart_shift", ()), self._now_ms)
            return end_ms + 1_000 if end_ms > self._now_ms and rows["mart_shift"] else None
        return None

    def _supersede(self, key: Bucket, calendar: Calendar) -> None:
        """Take away shifts of a former calendar that this one overlaps: their time is its own now, and counts once."""
        place, kind, start_ms = key
        instance = calendar.at(start_ms)
        if instance.start_ms != start_ms:
            return
        for (former,) in self._connection.execute(
            _FORMER[kind], (*place, start_ms - 2 * DAY_MS, instance.end_ms, start_ms, start_ms)
        ):
            if calendar.at(former).start_ms == former:
                continue
            gone = Bucket(place, kind, former)
            if self._lock(gone):
                self._work(gone)
            else:
                self._marks[gone] = self._now_ms
            if kind == SHIFT:
                for begin in (former, start_ms):
                    self._marks[Bucket(place, QUALITY, begin)] = self._now_ms

    def _follow(self, key: Bucket, old: Rows, new: Rows) -> None:
        """Note what is summed up from a bucket that changed."""
        place, kind, _ = key
        site: Place = (*place[:2], "")
        if kind == SHIFT:
            for business_date in _dates(old, new, ("mart_shift", "mart_stop", "mart_defect")):
                at = date_ms(business_date)
                self._sums |= {Bucket(place, DAY, at), Bucket(place, TREND, at), Bucket(site, SITE, at)}
        elif kind == QUALITY:
            self._sums |= {Bucket(site, SITE, date_ms(day)) for day in _dates(old, new, ("mart_quality",))}
        elif (kind == TREND and _counts(old, "mv_defect_trend") != _counts(new, "mv_defect_trend")) or (
            kind == STOCK and "mart_inventory" in new
        ):
            self._afterwards(key)

    def _afterwards(self, key: Bucket) -> None:
        """Mark the days, up to today, whose moving figures a day is part of."""
        place, kind, start_ms = key
        today = date_ms(self._plants[place[:2]].calendar.at(self._now_ms).business_date)
        for days in range(1, AFTERWARDS + 1):
            if (at := start_ms + days * DAY_MS) <= today:
                self._marks[Bucket(place, kind, at)] = self._now_ms

    def _settle(self, done: list[tuple[Bucket, int, int | None]]) -> None:
        """Write to the ledger, last and in order, so that two writers never wait for each other in a circle."""
        for key, gen, again_ms in sorted(done, key=lambda one: one[0]):
            if again_ms is None:
                self._connection.execute(f"delete from dirty_bucket where {_KEY} and gen=?", (*key[0], *key[1:], gen))  # noqa: S608
            else:
                self._connection.execute(
                    f"update dirty_bucket set due_ms=? where {_KEY} and gen=?",  # noqa: S608 - ours
                    (again_ms, *key[0], *key[1:], gen),
                )
        self._connection.many(_MARK, [(*key[0], *key[1:], due) for key, due in sorted(self._marks.items())])
        self._connection.many(
            _VERSION,
            [(*key, count, self._now_ms, *spent) for key, (count, *spent) in sorted(self._spent.items())],
        )


def _dates(old: Rows, new: Rows, names: tuple[str, ...]) -> set[str]:
    """Give the business dates of the rows of tables that changed; an edited calendar may have moved some."""
    return {
        row[COLUMNS[name].index("business_date")] for name in names for rows in (old, new) for row in rows.get(name, ())
    }


def _counts(rows: Rows, table: str) -> list[tuple[object, ...]]:
    return [row[:8] for row in rows.get(table, ())]  # key, produced, good: what later days look back at


def refresh(connection: Connection, plants: Plants, now_ms: int) -> int:
    """Recompute up to AT_ONCE due buckets, the longest due first; gives how many. One transaction is around it."""
    return Refresh(connection, plants, now_ms).run(AT_ONCE)


def _name(bucket: Bucket) -> str:
    return f"{bucket.kind} {bucket.start_ms} of {'/'.join(bucket.place)}"


def postpone(connection: Connection, now_ms: int, why: str) -> str:
    """Put off the first due bucket, whose rows the database refuses, so that no other waits for it; names it."""
    row = connection.one(f"{_DUE} limit 1", (now_ms,))
    if row is None:
        return "none"
    *place, kind, start_ms, _ = row
    which = _name(Bucket((place[0], place[1], place[2]), kind, start_ms))
    connection.execute(f"update dirty_bucket set due_ms=? where {_KEY}", (now_ms + POSTPONED_MS, *row[:5]))  # noqa: S608
    for table in TABLES.get(kind, ()):
        connection.execute(
            "insert into mart_version(tenant, mart, version, refreshed_ms, error) values(?,?,0,?,?)"
            " on conflict(tenant, mart) do update set error=excluded.error",
            (place[0], table, now_ms, f"{which}: {why}"),
        )
    return which


async def _one_by_one(database: Database, plants: Plants) -> int:
    """Recompute the next buckets each for itself, since one of them spoils the others' transaction."""
    for done in range(AT_ONCE):
        now_ms = time.time_ns() // NS
        try:
            if not await database.write(lambda c, now_ms=now_ms: Refresh(c, plants, now_ms).run(1)):
                return done
        except DataError as error:
            why = str(error)
            which = await database.write(lambda c, now_ms=now_ms, why=why: postpone(c, now_ms, why))
            log.error("a bucket of the marts cannot be stored and is put off: bucket=%s why=%s", which, why)  # noqa: TRY400
    return AT_ONCE


async def run_refresher(database: Database, plants: Plants, bus: Bus) -> None:
    """Keep the marts up to date for ever; an unusable database is said once and waited for."""
    broken, filled, ends_ms = False, 0, 0
    while True:
        try:
            if (day := time.time_ns() // NS // DAY_MS) != filled:
                await database.write(lambda c: dimensions.fill(c, plants, time.time_ns() // NS))
                filled = day
            if time.time_ns() // NS >= ends_ms:
                ends_ms = await database.write(lambda c: over.close(c, plants, time.time_ns() // NS))
            done = await database.write(lambda c: refresh(c, plants, time.time_ns() // NS))
            if broken:
                log.info("marts are refreshed again")
                broken = False
        except DataError:
            done = await _one_by_one(database, plants)
        except TryAgainError:  # another process was in the way
            done = 0
        except DatabaseError as error:
            if not broken:
                log.warning("marts cannot be refreshed: %s", error)
            broken, done = True, 0
        if done:
            bus.changed.set()
        if done < AT_ONCE:
            await asyncio.sleep(2.0 if broken else IDLE_S)
