"""Alerts as lists: standing and past, filtered, paged with exact totals; and what people say about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from cloud.bi.times import iso
from cloud.database import Connection

Json = dict[str, Any]
State = Literal["standing", "past", "all"]

_WHERE: Final = {"standing": " and cleared_ms is null", "past": " and cleared_ms is not null", "all": ""}
_SELECT: Final = (
    "select id, site, gateway, work_unit, subject, kind, severity, detail, raised_ms, cleared_ms, acked_ms, acked_by, note,"
    " silent_until_ms, told_ms, tellings, escalated_min from alert where tenant=?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which alerts."""

    state: State = "standing"
    severity: str | None = None
    kind: str | None = None
    site: str | None = None
    work_unit: str | None = None
    unseen: bool = False
    """Only what nobody has acknowledged."""


def _where(wanted: Wanted) -> tuple[str, list[Any]]:
    given = {name: getattr(wanted, name) for name in ("severity", "kind", "site", "work_unit")}
    chosen = {name: value for name, value in given.items() if value}
    text = _WHERE[wanted.state] + "".join(f" and {name}=?" for name in chosen)
    return text + (" and acked_ms is null" if wanted.unseen else ""), list(chosen.values())


def page(connection: Connection, tenant: str, wanted: Wanted, *, page: int, page_size: int) -> Json:
    """Give one page, the most urgent of the standing first, past ones newest first, with the exact total."""
    where, values = _where(wanted)
    (total,) = connection.execute(f"select count(*) from alert where tenant=?{where}", (tenant, *values))[0]  # noqa: S608 - ours
    urgent = (
        "case severity when 'critical' then 0 when 'warning' then 1 else 2 end," if wanted.state == "standing" else ""
    )
    rows = connection.execute(
        f"{_SELECT}{where} order by {urgent} raised_ms desc, id desc limit ? offset ?",
        (tenant, *values, page_size, (page - 1) * page_size),
    )
    return {"items": [answer(row) for row in rows], "page": page, "page_size": page_size, "total": int(total)}


def kinds(connection: Connection, tenant: str) -> list[str]:
    """Give the kinds of alerts there ever were."""
    return [
        kind for (kind,) in connection.execute("select distinct kind from alert where tenant=? order by 1", (tenant,))
    ]


def answer(row: tuple[Any, ...]) -> Json:
    """Give an alert as the API says it."""
    number, site, gateway, unit, subject, kind, severity, detail, raised, cleared, *more = row
    acked, acked_by, note, silent, told, tellings, escalated = more
    return {
        "id": number,
        "site": site,
        "gateway": gateway,
        "work_unit": unit,
        "watch": int(subject) if subject.isdecimal() else None,
        "kind": kind,
        "severity": severity,
        "detail": json.loads(detail),
        "raised": iso(raised),
        "cleared": None if cleared is None else iso(cleared),
        "acknowledged": None if acked is None else iso(acked),
        "acknowledged_by": acked_by,
        "note": note,
        "silent_until": iso(silent) if silent else None,
        "told": None if told is None else iso(told),
        "tellings": tellings,
        "escalated_min": escalated,
    }


def one(connection: Connection, tenant: str, number: int) -> Json | None:
    """Give one alert; None where there is none."""
    row = connection.one(f"{_SELECT} and id=?", (tenant, number))
    return None if row is None else answer(row)


def acknowledge(connection: Connection, tenant: str, number: int, *, by: str, note: str, now_ms: int) -> None:
    """Note who has seen an alert; the first stays, a later note replaces an empty one."""
    connection.execute(
        "update alert set acked_by=case when acked_ms is null then ? else acked_by end,"
        " acked_ms=coalesce(acked_ms, ?), note=case when note='' then ? else note end where tenant=? and id=?",
        (by, now_ms, note, tenant, number),
    )


def silence(connection: Connection, tenant: str, number: int, *, until_ms: int) -> None:
    """Let an alert tell nobody until then."""
    connection.execute("update alert set silent_until_ms=? where tenant=? and id=?", (until_ms, tenant, number))
