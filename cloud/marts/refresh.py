"""The refresher: recomputes the buckets that the ledger names, from base rows, a few per transaction.

A bucket's rows are replaced whole, so repeating is harmless and a crash leaves either the old or the new. A bucket of
a shift that lasts stays in the ledger until the shift is over, when it is computed a last time: then all of its time
counts, also what nobody saw.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from cloud import tables
from cloud.bi.overview import gaps, states
from cloud.bus import Bus
from cloud.database import Connection, Database, DatabaseError
from cloud.marts.calendar import Instance
from cloud.marts.ledger import SHIFT
from cloud.marts.measure import times
from cloud.plant import Place, Plants

log = logging.getLogger(__name__)

AT_ONCE: Final = 32
IDLE_S: Final = 0.2
NS: Final = 1_000_000

_PRODUCTION: Final = """
select coalesce(product, ''), sum(produced), sum(good), sum(scrap), sum(rework),
  sum(case when ideal_us is null then produced else 0 end), coalesce(sum(ideal_us), 0), coalesce(sum(ideal_good_us), 0),
  sum(energy_wh)
from production where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? group by coalesce(product, '')
"""
_JUDGMENTS: Final = """
select coalesce(product, ''), count(*), sum(case when decision='warning' then 1 else 0 end),
  sum(case when decision='critical' then 1 else 0 end), sum(case when decision='unknown' then 1 else 0 end)
from judgment where tenant=? and site=? and work_unit=? and at>? and at<=? group by coalesce(product, '')
"""
_DEFECTS: Final = """
select coalesce(product, ''), defect, sum(quantity) from production_defect
where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? group by coalesce(product, ''), defect
"""
_HOUR: Final = """
select coalesce(product, ''), sum(produced), sum(good), sum(scrap), sum(rework), sum(energy_wh) from production
where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? group by coalesce(product, '')
"""
_CLEAN: Final = "delete from dirty_bucket where tenant=? and site=? and work_unit=? and mart=? and start_ms=? and gen=?"
_LATER: Final = (
    "update dirty_bucket set due_ms=? where tenant=? and site=? and work_unit=? and mart=? and start_ms=? and gen=?"
)
_PLACE: Final = "tenant=? and site=? and work_unit=? and start_ms=?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftBucket:
    """What one shift of one line comes to."""

    measures: dict[str, dict[str, int]]
    """Product (empty for none) → measure → value."""
    stops: dict[tuple[str, str], tuple[int, int]]
    """(time element, reason) → (ms, how many)."""
    defects: dict[tuple[str, str], int]
    """(product, defect) → pieces."""


def compute_shift(connection: Connection, place: Place, instance: Instance, now_ms: int) -> ShiftBucket:
    """Compute one bucket from base rows."""
    start, end = instance.start_ms, instance.end_ms
    row = connection.one("select data_at from work_unit where tenant=? and site=? and work_unit=?", place)
    known_until = start if row is None or row[0] is None else row[0] // NS
    time_sums = times(
        instance,
        states(connection, place, start, end),
        gaps(connection, place, start, end),
        known_until_ms=max(start, known_until),
        now_ms=now_ms,
    )
    measures = {product: dict(sums) for product, sums in time_sums.by_product.items()}
    pieces = ("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh")
    for product, *values in connection.execute(_PRODUCTION, (*place, start, end)):
        measures.setdefault(product, {}).update(zip(pieces, map(int, values), strict=True))
    judged = ("judgments", "warnings", "criticals", "unknowns")
    for product, *values in connection.execute(_JUDGMENTS, (*place, start * NS, end * NS)):
        measures.setdefault(product, {}).update(zip(judged, map(int, values), strict=True))
    defects = {
        (product, defect): int(quantity)
        for product, defect, quantity in connection.execute(_DEFECTS, (*place, start, end))
    }
    return ShiftBucket(measures=measures, stops=time_sums.stops, defects=defects)


def _replace(connection: Connection, mart: sa.Table, place: Place, start_ms: int, rows: list[tuple[Any, ...]]) -> None:
    connection.execute(f"delete from {mart.name} where {_PLACE}", (*place, start_ms))  # noqa: S608 - our tables
    if rows:
        names = mart.columns.keys()
        marks = ",".join("?" * len(names))
        connection.many(f"insert into {mart.name}({','.join(names)}) values({marks})", rows)


def _refresh_shift(connection: Connection, place: Place, instance: Instance, now_ms: int) -> None:
    bucket = compute_shift(connection, place, instance, now_ms)
    start = instance.start_ms
    about = (instance.end_ms, instance.business_date, instance.shift)
    rows = [
        (*place, start, product, *about, *(sums.get(name, 0) for name in tables.MEASURES))
        for product, sums in sorted(bucket.measures.items())
    ]
    _replace(connection, tables.mart_shift, place, start, rows)
    stops = [(*place, start, *key, *value, *about[1:]) for key, value in sorted(bucket.stops.items())]
    _replace(connection, tables.mart_stop, place, start, stops)
    defects = [(*place, start, *key, quantity, *about[1:]) for key, quantity in sorted(bucket.defects.items())]
    _replace(connection, tables.mart_defect, place, start, defects)


def _refresh_hour(connection: Connection, place: Place, start_ms: int, end_ms: int) -> None:
    made = connection.execute(_HOUR, (*place, start_ms, end_ms))
    rows = [(*place, start_ms, product, *map(int, values)) for product, *values in made]
    _replace(connection, tables.mart_hour, place, start_ms, rows)


def refresh(connection: Connection, plants: Plants, now_ms: int) -> int:
    """Recompute up to AT_ONCE due buckets, the longest due first; gives how many. One transaction is around it."""
    due = connection.execute(
        "select tenant, site, work_unit, mart, start_ms, gen from dirty_bucket where due_ms<=? order by due_ms limit ?",
        (now_ms, AT_ONCE),
    )
    done: Counter[tuple[str, str]] = Counter()
    for tenant, site, unit, mart, start_ms, gen in due:
        place: Place = (tenant, site, unit)
        if connection.postgresql:
            # Another process may work on this bucket; the lock keeps a slow one from overwriting a newer result.
            text = f"{tenant}/{site}/{unit}/{mart}/{start_ms}"
            if not connection.execute("select pg_try_advisory_xact_lock(hashtextextended(?, 0))", (text,))[0][0]:
                continue
        key = (*place, mart, start_ms, gen)
        try:
            calendar = plants[tenant, site].calendar
        except KeyError:  # a site that the configuration no longer names keeps its figures as they are
            connection.execute(_CLEAN, key)
            continue
        lasts = False
        if mart == SHIFT:
            instance = calendar.at(start_ms)
            if instance.start_ms == start_ms:
                _refresh_shift(connection, place, instance, now_ms)
                lasts = instance.end_ms > now_ms
            else:  # the calendar was edited: this instance is no more
                for table in (tables.mart_shift, tables.mart_stop, tables.mart_defect):
                    _replace(connection, table, place, start_ms, [])
                lasts = False
            if lasts:
                connection.execute(_LATER, (instance.end_ms + 1_000, *key))
        else:
            _refresh_hour(connection, place, start_ms, calendar.hour(start_ms + 90 * 60_000))
        if not lasts:
            connection.execute(_CLEAN, key)
        done[tenant, mart] += 1
    for (tenant, mart), count in sorted(done.items()):
        connection.execute(
            "insert into mart_version(tenant, mart, version, refreshed_ms) values(?,?,?,?) on conflict(tenant, mart)"
            " do update set version=mart_version.version+excluded.version, refreshed_ms=excluded.refreshed_ms",
            (tenant, mart, count, now_ms),
        )
    return sum(done.values())


async def run_refresher(database: Database, plants: Plants, bus: Bus) -> None:
    """Keep the marts up to date for ever; an unusable database is said once and waited for."""
    broken = False
    while True:
        try:
            done = await database.write(lambda c: refresh(c, plants, time.time_ns() // NS))
            if broken:
                log.info("marts are refreshed again")
                broken = False
        except DatabaseError as error:
            if not broken:
                log.warning("marts cannot be refreshed: %s", error)
            broken, done = True, 0
        if done:
            bus.changed.set()
        if done < AT_ONCE:
            await asyncio.sleep(2.0 if broken else IDLE_S)
