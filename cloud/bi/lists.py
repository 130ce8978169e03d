"""Lists that page: verdicts, alarm changes, facts; newest first, with exact totals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from cloud.bi.completeness import Account
from cloud.bi.overview import VERDICT_SQL, verdict_answer
from cloud.bi.times import iso_ns
from cloud.database import Connection, Row

NS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What of a list, and which page of it."""

    page: int = 1
    page_size: int = 20
    site: str | None = None
    work_unit: str | None = None
    decision: str | None = None
    kind: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


def _alarm(row: Row) -> dict[str, Any]:
    site, unit, at, alarm, active, severity, summary, verdict = row
    return {
        "alarm": alarm,
        "site": site,
        "work_unit": unit,
        "at": iso_ns(at),
        "active": bool(active),
        "severity": severity,
        "summary": json.loads(summary),
        "verdict_id": verdict,
    }


def _fact(row: Row) -> dict[str, Any]:
    site, gateway, inc, stream, seq, kind, unit, at, body = row
    return {
        "site": site,
        "gateway": gateway,
        "inc": inc,
        "stream": stream,
        "seq": seq,
        "kind": kind,
        "work_unit": unit,
        "at": iso_ns(at),
        "body": json.loads(body),
    }


_SOURCES: Final = {
    "verdicts": ("judgment", VERDICT_SQL, "at desc, inc desc, seq desc", verdict_answer),
    "alarms": (
        "alarm_change",
        "select site, work_unit, at, alarm, active, severity, summary, verdict_id from alarm_change",
        "at desc, inc desc, seq desc",
        _alarm,
    ),
    "facts": (
        "fact",
        (
            "select g.site, g.name, i.inc, f.stream, f.seq, f.kind, f.work_unit, f.at, f.body from (select * from fact {where}"
            " order by at desc, inc desc, stream, seq desc limit ? offset ?) f join incarnation i on i.id=f.inc"
            " join gateway g on g.id=i.gateway"
        ),
        "f.at desc, f.inc desc, f.stream, f.seq desc",
        _fact,
    ),
}


_OF_SITE: Final = "inc in (select i.id from incarnation i join gateway g on g.id=i.gateway where g.site=?)"
"""A fact's row names its gateway by the incarnation alone."""


def page(
    connection: Connection, what: Literal["verdicts", "alarms", "facts"], tenant: str, query: Query
) -> dict[str, Any]:
    """Give {items, page, page_size, total}."""
    table, select, order, answer = _SOURCES[what]
    conditions: list[tuple[str, Any]] = [("tenant=?", tenant)]
    if query.site is not None:
        conditions.append((_OF_SITE if what == "facts" else "site=?", query.site))
    if query.work_unit is not None:
        conditions.append(("work_unit=?", query.work_unit))
    if query.decision is not None and what == "verdicts":
        conditions.append(("decision=?", query.decision))
    if query.kind is not None and what == "facts":
        conditions.append(("kind=?", query.kind))
    if query.start_ms is not None:
        conditions.append(("at>=?", query.start_ms * NS))
    if query.end_ms is not None:
        conditions.append(("at<?", query.end_ms * NS))
    where = "where " + " and ".join(text for text, _ in conditions)
    values = [value for _, value in conditions]
    total = connection.execute(f"select count(*) from {table} {where}", values)[0][0]  # noqa: S608 - fixed texts above
    part = [query.page_size, (query.page - 1) * query.page_size]
    if what == "facts":  # join the names only to the rows of this page
        sql = f"{select.replace('{where}', where)} order by {order}"
    else:
        sql = f"{select} {where} order by {order} limit ? offset ?"
    items = [answer(row) for row in connection.execute(sql, [*values, *part])]
    return {"items": items, "page": query.page, "page_size": query.page_size, "total": total}


def count_rows(connection: Connection, tenant: str) -> dict[tuple[str, int], int]:
    """Count the rows of every stream one by one: the proof that does not trust our own counters."""
    found: dict[tuple[str, int], int] = {}
    for table in ("fact", "reading"):
        for inc, stream, count in connection.execute(
            f"select i.inc, x.stream, count(*) from {table} x join incarnation i on i.id=x.inc where i.tenant=?"  # noqa: S608 - our tables
            " group by i.inc, x.stream",
            (tenant,),
        ):
            found[inc, stream] = found.get((inc, stream), 0) + count
    return found


def account_answer(account: Account, counted: int | None) -> dict[str, Any]:
    """Give one stream's account as the API says it."""
    return {
        "inc": account.inc,
        "ord": account.ord,
        "closed": account.closed,
        "stream": account.stream,
        "watermark": account.watermark,
        "produced": account.produced,
        "stored": account.stored,
        "waiting": account.waiting,
        "lost": account.lost,
        "missing": account.missing,
        "losses": [{"reason": reason, "count": count} for reason, count in sorted(account.losses.items())],
        "counted": counted,
    }
