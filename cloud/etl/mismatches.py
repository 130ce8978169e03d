"""What an audit of the marts found: a row each from when it was found until the figure is right again. Never mended here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from cloud.bi.times import iso
from cloud.database import Connection
from cloud.etl.recompute import Difference, differences
from cloud.marts.compute import KIND_OF, TABLES
from cloud.marts.ledger import Bucket
from cloud.plant import Plants

MOST: Final = 200
"""Figures of one bucket that are written down."""


def note(connection: Connection, found: Iterable[Difference], now_ms: int) -> None:
    """Write down what is wrong; what stands open already is brought up to date."""
    for one in list(found)[:MOST]:
        where = (*one.place, one.mart, one.start_ms, one.line, one.measure)
        known = connection.execute(
            "update mart_mismatch set stored=?, recomputed=?, last_ms=? where tenant=? and site=? and work_unit=?"
            " and mart=? and start_ms=? and line=? and measure=? and mended_ms is null returning id",
            (one.stored, one.recomputed, now_ms, *where),
        )
        if not known:
            connection.execute(
                "insert into mart_mismatch(tenant, site, work_unit, mart, start_ms, line, measure, stored, recomputed,"
                " found_ms, last_ms) values(?,?,?,?,?,?,?,?,?,?,?)",
                (*where, one.stored, one.recomputed, now_ms, now_ms),
            )


def open_buckets(connection: Connection, tenant: str, limit: int = 1_000) -> list[Bucket]:
    """Give the buckets with figures that were found to be wrong."""
    rows = connection.execute(
        "select distinct site, work_unit, mart, start_ms from mart_mismatch where tenant=? and mended_ms is null"
        " order by site, work_unit, mart, start_ms limit ?",
        (tenant, limit),
    )
    found = [Bucket((tenant, site, unit), KIND_OF[mart], start) for site, unit, mart, start in rows if mart in KIND_OF]
    return list(dict.fromkeys(found))


def righted(connection: Connection, plants: Plants, bucket: Bucket, now_ms: int) -> list[int]:
    """Give the findings (ids) about a bucket whose figures are right again; only reads."""
    found = differences(connection, plants, bucket, now_ms)
    if found is None:
        return []
    place, kind, start_ms = bucket
    still = {(one.mart, one.line, one.measure) for one in found}
    return [
        number
        for mart in TABLES[kind]
        for number, line, measure in connection.execute(
            "select id, line, measure from mart_mismatch where tenant=? and site=? and work_unit=? and mart=?"
            " and start_ms=? and mended_ms is null",
            (*place, mart, start_ms),
        )
        if (mart, line, measure) not in still
    ]


def mended(connection: Connection, plants: Plants, buckets: Sequence[Bucket], now_ms: int) -> int:
    """Close what is right again among some buckets; gives how many figures are."""
    gone = [(now_ms, number) for bucket in buckets for number in righted(connection, plants, bucket, now_ms)]
    connection.many("update mart_mismatch set mended_ms=? where id=?", gone)
    return len(gone)


def listed(connection: Connection, tenant: str, *, limit: int, still: bool | None = None) -> list[dict[str, Any]]:
    """Give what was found, the newest first. still: only what is (or is no longer) wrong."""
    which = {None: "", True: " and mended_ms is null", False: " and mended_ms is not null"}[still]
    rows = connection.execute(
        "select id, site, work_unit, mart, start_ms, line, measure, stored, recomputed, found_ms, last_ms, mended_ms"  # noqa: S608 - our words
        f" from mart_mismatch where tenant=?{which} order by found_ms desc, id limit ?",
        (tenant, limit),
    )
    return [
        {
            "id": number,
            "site": site,
            "work_unit": unit,
            "mart": mart,
            "start": iso(start),
            "row": line,
            "measure": measure,
            "stored": stored,
            "recomputed": recomputed,
            "found": iso(found),
            "last": iso(last),
            "mended": None if mended_ms is None else iso(mended_ms),
        }
        for number, site, unit, mart, start, line, measure, stored, recomputed, found, last, mended_ms in rows
    ]
