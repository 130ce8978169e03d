"""Watches in the database: who wants to know when which figure is where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cloud.alerting.states import Memory, Side
from cloud.bi.times import iso
from cloud.database import Connection

Against = Literal["value", "target", "warning", "critical"]
Severity = Literal["critical", "warning", "info"]
Watched = Literal["this_shift", "last_shift", "today", "yesterday", "last_7_days", "this_week"]
"""What of time is summed."""

MOST: Final = 200
"""Watches of a tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One watch as a person wrote it."""

    number: int = 0
    tenant: str
    site: str
    work_unit: str = ""
    """Empty: the whole site."""
    name: str
    metric: str
    period: Watched = "this_shift"
    against: Against = "value"
    side: Side
    level: float | None = None
    """In the metric's unit, with against = value; else the target in force is asked for at every look."""
    margin: float = 0.0
    for_s: int = 300
    min_pieces: int = 0
    min_minutes: int = 0
    in_shift: bool = True
    severity: Severity = "warning"
    readers: tuple[str, ...] = ()
    language: str = ""
    enabled: bool = True
    silent_until_ms: int = 0
    changed_ms: int = 0
    changed_by: str = ""


_COLUMNS: Final = (
    *("site", "work_unit", "name", "metric", "period", "against", "side", "level", "margin", "for_s", "min_pieces"),
    *("min_minutes", "in_shift", "severity", "readers", "language", "enabled", "silent_until_ms", "changed_ms"),
    "changed_by",
)
_CALLED: Final = ("name", "readers", "language", "changed_ms", "changed_by")
_PLACES: Final = ", ".join(_COLUMNS)


def _values(watch: Watch) -> list[Any]:
    given: dict[str, Any] = {name: getattr(watch, name) for name in _COLUMNS}
    given |= {"readers": json.dumps(watch.readers), "in_shift": int(watch.in_shift), "enabled": int(watch.enabled)}
    return list(given.values())


def _watch(tenant: str, row: Sequence[Any]) -> Watch:
    given = dict(zip(_COLUMNS, row[1:], strict=True))
    given |= {
        "readers": tuple(json.loads(given["readers"])),
        "in_shift": bool(given["in_shift"]),
        "enabled": bool(given["enabled"]),
    }
    return Watch(number=int(row[0]), tenant=tenant, **given)


def watches(connection: Connection, tenant: str) -> list[Watch]:
    """Give a tenant's watches in the order they were made."""
    rows = connection.execute(
        f"select id, {_PLACES} from watch where tenant=? and removed_ms is null order by id",  # noqa: S608 - our columns
        (tenant,),
    )
    return [_watch(tenant, row) for row in rows]


def find(connection: Connection, tenant: str, number: int) -> Watch | None:
    """Give one watch; None where there is none."""
    row = connection.one(
        f"select id, {_PLACES} from watch where tenant=? and id=? and removed_ms is null",  # noqa: S608 - our columns
        (tenant, number),
    )
    return None if row is None else _watch(tenant, row)


def put(connection: Connection, watch: Watch) -> int:
    """Keep a new watch (number 0), or one that was changed; gives its number.

    A silence goes on. Unless only what it is called and whom it tells was changed, it begins anew: what it had raised
    stands no longer.
    """
    if watch.number:
        before = find(connection, watch.tenant, watch.number)
        if before is not None:  # no two changes at the same time: readers tell by it what they have seen
            changed = max(watch.changed_ms, before.changed_ms + 1)
            watch = replace(watch, silent_until_ms=before.silent_until_ms, changed_ms=changed)
        sets = ", ".join(f"{name}=?" for name in _COLUMNS)
        connection.execute(
            f"update watch set {sets} where id=? and tenant=?",  # noqa: S608 - our columns
            (*_values(watch), watch.number, watch.tenant),
        )
        if before is not None and replace(before, **{name: getattr(watch, name) for name in _CALLED}) == watch:
            connection.execute(
                "update alert set readers=?, language=? where subject=? and kind in ('kpi', 'kpi_no_data')"
                " and cleared_ms is null",
                (json.dumps(watch.readers) if watch.readers else "", watch.language, str(watch.number)),
            )
        else:
            _begin_anew(connection, watch.number, watch.changed_ms)
        return watch.number
    marks = ", ".join("?" * (len(_COLUMNS) + 1))
    rows = connection.execute(
        f"insert into watch(tenant, {_PLACES}) values({marks}) returning id",
        (watch.tenant, *_values(watch)),
    )
    return int(rows[0][0])


def remove(connection: Connection, tenant: str, number: int, *, by: str, now_ms: int) -> None:
    """Take a watch away; its past alerts stay."""
    connection.execute(
        "update watch set removed_ms=?, changed_by=?, changed_ms=? where tenant=? and id=?",
        (now_ms, by, now_ms, tenant, number),
    )
    _begin_anew(connection, number, now_ms)


def silence(connection: Connection, tenant: str, number: int, *, until_ms: int) -> None:
    """Let a watch tell nobody until then; it goes on watching."""
    connection.execute("update watch set silent_until_ms=? where tenant=? and id=?", (until_ms, tenant, number))
    connection.execute(
        "update alert set silent_until_ms=? where tenant=? and subject=? and kind in ('kpi', 'kpi_no_data')"
        " and cleared_ms is null",
        (until_ms, tenant, str(number)),
    )


def _begin_anew(connection: Connection, number: int, now_ms: int) -> None:
    connection.execute("delete from watch_state where watch=?", (number,))
    connection.execute(
        "update alert set cleared_ms=? where subject=? and kind in ('kpi', 'kpi_no_data') and cleared_ms is null",
        (now_ms, str(number)),
    )


def standing(connection: Connection, tenant: str) -> dict[int, dict[str, Any]]:
    """Give how every watch stands, by its number."""
    return {
        int(number): {
            "state": state,
            "since": iso(since),
            "looked": iso(looked),
            "value": value,
            "level": level,
            "reason": reason,
            "no_data": bool(json.loads(memory).get("no_data")),
        }
        for number, state, since, looked, value, level, reason, memory in connection.execute(
            "select watch, state, since_ms, looked_ms, value, level, reason, memory from watch_state where tenant=?",
            (tenant,),
        )
    }


def memory(connection: Connection, number: int) -> Memory | None:
    """Give what a watch remembers, held for this transaction; None before its first look."""
    row = connection.one("select memory from watch_state where watch=? for update", (number,))
    if row is None:
        return None
    said = json.loads(row[0])
    return Memory(**(said | {"flips": tuple(said["flips"])}))
