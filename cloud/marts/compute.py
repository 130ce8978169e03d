"""Every kind of bucket: what it comes to, where its rows stand, and putting them there.

`compute` only reads, so that whoever wants to know whether the marts are right (the auditor, a dry run, a rebuild) asks
the very functions that fill them, and compares with `stored`.
"""

from __future__ import annotations

from typing import Any, Final

from cloud import tables
from cloud.database import Connection
from cloud.marts import days, shifts, sites, stock, trend
from cloud.marts.ledger import DAY, HOUR, QUALITY, SHIFT, SITE, STOCK, TREND, Bucket, day_of
from cloud.marts.shifts import Rows
from cloud.plant import Plants

TABLES: Final[dict[str, tuple[str, ...]]] = {
    SHIFT: ("mart_shift", "mart_stop", "mart_defect", "mart_order", "mart_judgment"),
    HOUR: ("mart_hour",),
    QUALITY: ("mart_quality",),
    DAY: ("mart_day", "mart_day_stop", "mart_day_defect", "mv_oee_daily"),
    TREND: ("mv_defect_trend",),
    SITE: ("mv_line_performance", "mv_quality_summary"),
    STOCK: ("mart_inventory", "mv_inventory_coverage"),
}
"""Kind of bucket → the tables whose rows it holds."""
KIND_OF: Final = {table: kind for kind, names in TABLES.items() for table in names}

COLUMNS: Final = {name: tuple(tables.metadata.tables[name].columns.keys()) for kind in TABLES.values() for name in kind}
_KEYS: Final = {
    name: tuple(column.name for column in tables.metadata.tables[name].primary_key.columns) for name in COLUMNS
}
_AT: Final = {name: tuple(map(columns.index, _KEYS[name])) for name, columns in COLUMNS.items()}

_OF_LINE: Final = "tenant=? and site=? and work_unit=? and start_ms=?"
_OF_DATE: Final = "tenant=? and site=? and work_unit=? and business_date=?"
_OF_SITE: Final = "tenant=? and site=? and business_date=?"


def _where(bucket: Bucket) -> tuple[str, tuple[Any, ...]]:
    place, kind, start_ms = bucket
    if kind in {SHIFT, HOUR, QUALITY}:
        return _OF_LINE, (*place, start_ms)
    if kind in {DAY, TREND}:
        return _OF_DATE, (*place, day_of(start_ms))
    return _OF_SITE, (*place[:2], day_of(start_ms))


def compute(connection: Connection, plants: Plants, bucket: Bucket, now_ms: int) -> Rows:
    """Give a bucket's rows: table → rows in the order of its columns, sorted by its key.

    A shift that the calendar no longer knows has no rows. Raises KeyError for a site that the configuration does not
    name.
    """
    place, kind, start_ms = bucket
    calendar = plants[place[:2]].calendar
    if kind in {SHIFT, QUALITY}:
        instance = calendar.at(start_ms)
        if instance.start_ms != start_ms:
            return {table: [] for table in TABLES[kind]}
        if kind == SHIFT:
            return shifts.compute(connection, place, instance, now_ms)
        return shifts.compute_quality(connection, place, instance)
    if kind == HOUR:
        if calendar.hour(start_ms) != start_ms:
            return {"mart_hour": []}
        return shifts.compute_hour(connection, place, start_ms, calendar.hour_end(start_ms))
    if kind == DAY:
        return days.compute(connection, place, day_of(start_ms))
    if kind == TREND:
        return trend.compute(connection, place, day_of(start_ms))
    if kind == SITE:
        return sites.compute(connection, *place[:2], day_of(start_ms), calendar)
    return stock.compute(connection, *place[:2], day_of(start_ms), calendar)


def stored(connection: Connection, bucket: Bucket) -> Rows:
    """Give the rows that stand for a bucket now, as `compute` would give them."""
    where, values = _where(bucket)
    return {table: _rows(connection, table, where, values) for table in TABLES[bucket.kind]}


def _rows(connection: Connection, table: str, where: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    rows = connection.execute(f"select {', '.join(COLUMNS[table])} from {table} where {where}", values)  # noqa: S608 - ours
    at = _AT[table]
    return sorted(rows, key=lambda row: tuple(row[i] for i in at))


def replace(connection: Connection, bucket: Bucket, rows: Rows) -> tuple[Rows, Rows]:
    """Let these rows stand for a bucket; tables that hold them already are left alone.

    Gives the old and the new rows of the tables that were written.
    """
    where, values = _where(bucket)
    old: Rows = {}
    new: Rows = {}
    for table in TABLES[bucket.kind]:
        stand = _rows(connection, table, where, values)
        if stand == rows[table]:
            continue
        old[table], new[table] = stand, rows[table]
        if stand:
            connection.execute(f"delete from {table} where {where}", values)  # noqa: S608 - our tables
        if rows[table]:
            names = COLUMNS[table]
            marks = ",".join("?" * len(names))
            connection.many(f"insert into {table}({','.join(names)}) values({marks})", rows[table])
    return old, new
