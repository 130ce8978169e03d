"""Who did what to data here, when and why: a row each, in the transaction that did it; never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloud.bi.times import iso
from cloud.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that a person did."""

    tenant: str
    actor: str
    action: str
    """correct, retract, release, retry, restate, rebuild."""
    target: str
    reason: str


def note(connection: Connection, deed: Deed, detail: Mapping[str, Any], now_ms: int) -> None:
    """Put it on record."""
    connection.execute(
        "insert into deed(tenant, at_ms, actor, action, target, reason, detail) values(?,?,?,?,?,?,?)",
        (
            deed.tenant,
            now_ms,
            deed.actor,
            deed.action,
            deed.target,
            deed.reason,
            json.dumps(detail, ensure_ascii=False, sort_keys=True).replace("\\u0000", "\\ufffd"),
        ),
    )


def page(connection: Connection, tenant: str, page: int, page_size: int) -> dict[str, Any]:
    """Give one page, newest first, with the exact total."""
    (total,) = connection.execute("select count(*) from deed where tenant=?", (tenant,))[0]
    rows = connection.execute(
        "select id, at_ms, actor, action, target, reason, detail from deed where tenant=?"
        " order by at_ms desc, id desc limit ? offset ?",
        (tenant, page_size, (page - 1) * page_size),
    )
    items = [
        {
            "id": number,
            "at": iso(at),
            "by": actor,
            "action": action,
            "target": target,
            "reason": reason,
            "detail": json.loads(detail),
        }
        for number, at, actor, action, target, reason, detail in rows
    ]
    return {"items": items, "page": page, "page_size": page_size, "total": total}
