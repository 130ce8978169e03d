"""A shift in which more was sorted than made: its figures stand as they are, and people are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from cloud.bi.times import iso
from cloud.database import Connection
from cloud.marts.compute import COLUMNS
from cloud.plant import Place

CODE: Final = "shift_exceeds"
_AT: Final = {
    name: COLUMNS["mart_shift"].index(name)
    for name in ("start_ms", "business_date", "shift", "produced", "good", "scrap", "rework")
}
_NOTE: Final = (
    "insert into finding(tenant, site, work_unit, gateway, code, severity, held, subject, inc, stream, seq, rev, kind,"
    " at, times, detail, recorded_ms, last_ms, state) values(?,?,?,0,?,'warning',?,?,0,0,0,0,'shift',?,1,?,?,?,'open')"
    " on conflict(tenant, site, code, subject) do update set detail=excluded.detail, last_ms=excluded.last_ms,"
    " state='open', settled_ms=null"
)
_CLOSE: Final = "update finding set state='passed', settled_ms=? where tenant=? and site=? and code=? and subject=? and state='open'"


def note(
    connection: Connection, place: Place, rows: Sequence[Sequence[Any]], old: Sequence[Sequence[Any]], now_ms: int
) -> None:
    """Note that a shift which is over sorted more than it made, or that it no longer did. Rows of mart_shift."""
    tenant, site, unit = place
    if (said := _sums(rows)) is not None:
        detail = json.dumps({**said, "subject": _subject(unit, rows[0])}, ensure_ascii=False)
        at = int(rows[0][_AT["start_ms"]]) * 1_000_000
        about = (CODE, False, _subject(unit, rows[0]), at, detail, now_ms, now_ms)
        connection.execute(_NOTE, (tenant, site, unit, *about))
    elif _sums(old) is not None:
        connection.execute(_CLOSE, (now_ms, tenant, site, CODE, _subject(unit, old[0])))


def _sums(rows: Sequence[Sequence[Any]]) -> dict[str, int] | None:
    """Give the pieces of a shift of all products; None where they can be. One order may begin before its counters do."""
    said = {name: sum(int(row[_AT[name]]) for row in rows) for name in ("produced", "good", "scrap", "rework")}
    return said if said["good"] + said["scrap"] + said["rework"] > said["produced"] else None


def _subject(unit: str, row: Sequence[Any]) -> str:
    return f"{unit} {row[_AT['business_date']]} {row[_AT['shift']] or iso(row[_AT['start_ms']])}"
