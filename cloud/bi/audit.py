"""The audit log as people ask for it: exact totals, filters, pages, sums; every answer from the same WHERE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row

NS: Final = 1_000_000
TOP: Final = 50
"""Rows of each sum."""

_ITEM: Final = (
    "select e.at, e.gateway, e.seq, e.inc, e.stream, e.site, e.actor, e.action, e.target, i.inc, i.ord, f.body,"
    " (select c.stored_ms from ingest_chunk c where c.inc=e.inc and c.stream=e.stream and c.first<=e.seq"
    " order by c.first desc limit 1) from audit_entry e join incarnation i on i.id=e.inc"
    " left join fact f on f.inc=e.inc and f.stream=e.stream and f.seq=e.seq"
)
_ORDER: Final = "e.at desc, e.gateway, e.seq desc, e.inc desc"
"""Stable: no two records are equal in all four."""

Mark = tuple[int, str, int, int]
"""(at, gateway, seq, incarnation's row): where a page of an export ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What of the log; a None does not restrict."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    gateway: str | None = None
    """`site:id` where two sites have a gateway of one id; the id alone means those of all sites."""
    text: str | None = None
    """Words anywhere in actor, action, target or detail; each must be there, in any case of letters."""
    start_ms: int | None = None
    end_ms: int | None = None

    def where(self, tenant: str) -> tuple[str, list[Any]]:
        """Give the condition and its values."""
        site, _, gateway = (self.gateway or "").rpartition(":")  # ids have no colon
        named = {"actor": self.actor, "action": self.action, "target": self.target, "gateway": gateway or self.gateway}
        conditions: list[tuple[str, Any]] = [("e.tenant=?", tenant)]
        conditions += [(f"e.{column}=?", value) for column, value in named.items() if value is not None]
        if site:
            conditions.append(("e.site=?", site))
        if self.start_ms is not None:
            conditions.append(("e.at>=?", self.start_ms * NS))
        if self.end_ms is not None:
            conditions.append(("e.at<?", self.end_ms * NS))
        for word in (self.text or "").lower().split():
            pattern = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            conditions.append(("e.words like ? escape '\\'", f"%{pattern}%"))
        return "where " + " and ".join(text for text, _ in conditions), [value for _, value in conditions]


def page(connection: Connection, tenant: str, what: Filter, *, limit: int, offset: int) -> dict[str, Any]:
    """Give {items, total, page, page_size, total_pages, has_next}; `total` counts the same WHERE as the items."""
    where, values = what.where(tenant)
    (total,) = connection.execute(f"select count(*) from audit_entry e {where}", values)[0]  # noqa: S608 - our texts
    rows = connection.execute(f"{_ITEM} {where} order by {_ORDER} limit ? offset ?", [*values, limit, offset])
    return {
        "items": [_item(row) for row in rows],
        "total": total,
        "page": offset // limit + 1,
        "page_size": limit,
        "total_pages": -(-total // limit),
        "has_next": offset + limit < total,
    }


def part(
    connection: Connection, tenant: str, what: Filter, after: Mark | None, limit: int
) -> tuple[list[dict[str, Any]], Mark | None]:
    """Give the items behind a mark in the same order, and the next mark; None when there are no more."""
    where, values = what.where(tenant)
    if after is not None:
        at, gateway, seq, inc = after
        where += " and (e.at<? or (e.at=? and (e.gateway>? or (e.gateway=? and (e.seq<? or (e.seq=? and e.inc<?))))))"
        values += [at, at, gateway, gateway, seq, seq, inc]
    rows = connection.execute(f"{_ITEM} {where} order by {_ORDER} limit ?", [*values, limit])
    mark: Mark | None = (rows[-1][0], rows[-1][1], rows[-1][2], rows[-1][3]) if len(rows) == limit else None
    return [_item(row) for row in rows], mark


def stats(connection: Connection, tenant: str, what: Filter) -> dict[str, Any]:
    """Give the total and how it is made up, by actor, action, target and gateway; the most frequent of each."""
    where, values = what.where(tenant)
    (total,) = connection.execute(f"select count(*) from audit_entry e {where}", values)[0]  # noqa: S608 - our texts
    sums = {
        f"{column}s": [
            {column: value, "count": count}
            for value, count in connection.execute(
                f"select e.{column}, count(*) from audit_entry e {where} group by e.{column}"  # noqa: S608 - our texts
                f" order by count(*) desc, e.{column} limit {TOP}",
                values,
            )
        ]
        for column in ("actor", "action", "target", "gateway")
    }
    return {"total": total, **sums}


def choices(connection: Connection, tenant: str) -> dict[str, list[Any]]:
    """Give what can be filtered by: actors, actions and gateways ({site, gateway}) that are in the log."""
    gateways = connection.execute(
        "select distinct site, gateway from audit_entry where tenant=? order by gateway, site limit 500", (tenant,)
    )
    return {"gateway": [{"site": site, "gateway": gateway} for site, gateway in gateways]} | {
        column: [
            row[0]
            for row in connection.execute(
                f"select distinct {column} from audit_entry where tenant=? order by {column} limit 500",  # noqa: S608
                (tenant,),
            )
        ]
        for column in ("actor", "action")
    }


def _item(row: Row) -> dict[str, Any]:
    at, gateway, seq, _, stream, site, actor, action, target, inc, order, body, stored_ms = row
    said = json.loads(body or "{}")
    return {
        "at": iso_ns(at),
        "site": site,
        "gateway": gateway,
        "actor": actor,
        "action": action,
        "target": target,
        "detail": said.get("detail", {}),
        "previous": said.get("previous", ""),
        "inc": inc,
        "ord": order,
        "stream": stream,
        "seq": seq,
        "received": None if stored_ms is None else iso(stored_ms),
    }


COLUMNS: Final = ("at", "site", "gateway", "actor", "action", "target", "detail", "received", "ord", "inc", "seq")


def csv_line(values: Sequence[Any]) -> str:
    """Give one line of RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    cells: list[str] = []
    for value in values:
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
        if isinstance(value, str) and text[:1] in {"=", "+", "-", "@", "\t", "\r"}:
            text = f"'{text}"
        quoted = text.replace('"', '""')
        cells.append(f'"{quoted}"' if any(mark in text for mark in ',"\r\n') else text)
    return ",".join(cells) + "\r\n"
