"""What a person has to know about gateways and the ledger: computed from state, kept as rows from raised to cleared.

`found` reads what is so now, `Watch` says how the rows have to change for it. Whoever sends mail or messages later reads
the rows; a page shows the open ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.bi.completeness import accounts
from cloud.bi.overview import gateways
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.plant import Plants

AUTONOMY_H: Final = 4.0
OFFSET_MS: Final = 2_000
BACKUP_MS: Final = 26 * 3_600_000
"""A daily backup, and two hours for it to be made."""
LOST_MS: Final = 24 * 3_600_000
"""A loss is new for a day."""
CHAIN_MS: Final = 7 * 24 * 3_600_000
STEADY_MS: Final = 60_000
"""Records may be on their way between two heartbeats: a difference counts when it lasts."""

SEVERITY: Final = {
    "unaccounted": "critical",
    "conflict": "critical",
    "chain": "critical",
    "mart_mismatch": "critical",
    "lost": "warning",
    "autonomy": "critical",
    "backup": "warning",
    "silent": "warning",
    "clock": "warning",
}
"""In the order of urgency."""

Key = tuple[str, str, str, str]
"""(tenant, site, gateway, kind); site and gateway are empty for what concerns the cloud itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is so now."""

    key: Key
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the texts need: numbers and names."""
    steady: bool = False
    """Counts only when it lasts for STEADY_MS."""


def found(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[Finding]:
    """Find everything that deserves an alert."""
    return [
        *_of_gateways(connection, plants, tenant, now_ms),
        *_of_records(connection, tenant, now_ms),
        *_of_backups(connection, plants, tenant, now_ms),
        *_of_marts(connection, tenant),
    ]


def _of_gateways(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> Iterable[Finding]:
    for one in gateways(connection, plants, tenant, now_ms):
        place = (tenant, one["site"], one["id"])
        if one["state"] == "offline":
            yield Finding(key=(*place, "silent"), detail={"since": one["last_seen"], "waiting": one["waiting"]})
        hours, offset = one["autonomy_hours"], one["clock_offset_ms"]
        if hours is not None and hours < AUTONOMY_H:
            yield Finding(key=(*place, "autonomy"), detail={"hours": round(hours, 1)})
        if offset is not None and abs(offset) > OFFSET_MS:
            yield Finding(key=(*place, "clock"), detail={"offset_ms": round(offset, -2)})
    for site, name, identity in connection.execute(
        "select site, name, identity from gateway where tenant=? and identity<>'ok'", (tenant,)
    ):
        yield Finding(key=(tenant, site, name, "conflict"), detail={"identity": identity})


def _of_records(connection: Connection, tenant: str, now_ms: int) -> Iterable[Finding]:
    for one in accounts(connection, tenant):
        missing = sum(account.missing for account in one.accounts)
        if missing:
            key = (tenant, one.site, one.gateway, "unaccounted")
            yield Finding(key=key, detail={"count": missing}, steady=True)
    losses: dict[tuple[str, str], dict[str, int]] = {}
    for site, name, reason, count in connection.execute(
        "select g.site, g.name, l.reason, sum(l.last-l.first+1) from loss l join incarnation i on i.id=l.inc"
        " join gateway g on g.id=i.gateway where l.tenant=? and l.recorded_ms>? group by g.site, g.name, l.reason",
        (tenant, now_ms - LOST_MS),
    ):
        losses.setdefault((site, name), {})[reason] = int(count)
    for (site, name), reasons in losses.items():
        detail = {"count": sum(reasons.values()), "reasons": reasons}
        yield Finding(key=(tenant, site, name, "lost"), detail=detail)
    for site, name, count, first in connection.execute(
        "select g.site, g.name, count(*), min(c.id) from chain_finding c join incarnation i on i.id=c.inc"
        " join gateway g on g.id=i.gateway where c.tenant=? and c.recorded_ms>? group by g.site, g.name",
        (tenant, now_ms - CHAIN_MS),
    ):
        row = connection.one("select why from chain_finding where id=?", (first,))
        yield Finding(key=(tenant, site, name, "chain"), detail={"count": count, "why": row[0] if row else ""})


def _of_backups(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> Iterable[Finding]:
    if plants.file.safe == "stored":
        return
    row = connection.one("select max(made_ms) from backup")
    made = row[0] if row else None
    if made is None or now_ms - made > BACKUP_MS:
        yield Finding(key=(tenant, "", "", "backup"), detail={"made": None if made is None else iso(made)})


def _of_marts(connection: Connection, tenant: str) -> Iterable[Finding]:
    row = connection.one("select count(*), min(id) from mart_mismatch where tenant=? and mended_ms is null", (tenant,))
    if row is None or not row[0]:
        return
    first = connection.one(
        "select site, work_unit, mart, start_ms, measure, stored, recomputed from mart_mismatch where id=?", (row[1],)
    )
    if first is not None:
        site, unit, mart, start, *figure = first
        names = ("measure", "stored", "recomputed")
        detail = {"count": row[0], "site": site, "work_unit": unit, "mart": mart, "start": iso(start)}
        yield Finding(key=(tenant, "", "", "mart_mismatch"), detail=detail | dict(zip(names, figure, strict=True)))


class Watch:
    """Holds what does not count yet because it may pass; all else stands in the table."""

    def __init__(self) -> None:
        self._since: dict[Key, int] = {}

    def changes(
        self, connection: Connection, tenant: str, findings: Iterable[Finding], now_ms: int
    ) -> list[tuple[str, tuple[Any, ...]]]:
        """Give the statements that raise what is new, clear what is over and keep what lasts up to date; often none.

        Only reads; several processes may do the same at once.
        """
        present: dict[Key, Finding] = {finding.key: finding for finding in findings}
        for key in [key for key in self._since if key[0] == tenant and key not in present]:
            del self._since[key]
        standing = {
            (tenant, site, gateway, kind): (number, detail)
            for number, site, gateway, kind, detail in connection.execute(
                "select id, site, gateway, kind, detail from alert where tenant=? and cleared_ms is null", (tenant,)
            )
            if kind in SEVERITY  # a watch's alert is the watch's to clear
        }
        made: list[tuple[str, tuple[Any, ...]]] = []
        for key, finding in present.items():
            detail = json.dumps(finding.detail, ensure_ascii=False, sort_keys=True)
            if key in standing:
                if detail != standing[key][1]:
                    made.append(("update alert set detail=? where id=?", (detail, standing[key][0])))
            elif not finding.steady or now_ms - self._since.setdefault(key, now_ms) >= STEADY_MS:
                made.append((_RAISE, (*key, SEVERITY[key[3]], detail, now_ms, *key)))
        for key, (number, _) in standing.items():
            if key not in present:
                made.append(("update alert set cleared_ms=? where id=? and cleared_ms is null", (now_ms, number)))
        return made


_RAISE: Final = (
    "insert into alert(tenant, site, gateway, kind, severity, detail, raised_ms) select ?,?,?,?,?,?,? where not exists"
    " (select 1 from alert where tenant=? and site=? and gateway=? and kind=? and cleared_ms is null)"
)


def standing(connection: Connection, tenant: str) -> list[dict[str, Any]]:
    """Give what is raised and not cleared, the most urgent first."""
    rows = connection.execute(f"{_SELECT} where tenant=? and cleared_ms is null", (tenant,))
    order = list(SEVERITY)
    rows.sort(key=lambda row: (row[4] != "critical", order.index(row[3]) if row[3] in SEVERITY else 99, row[6]))
    return [_answer(row) for row in rows]


def history(connection: Connection, tenant: str, page: int, page_size: int) -> dict[str, Any]:
    """Give one page of all alerts, newest first, with the exact total."""
    (total,) = connection.execute("select count(*) from alert where tenant=?", (tenant,))[0]
    rows = connection.execute(
        f"{_SELECT} where tenant=? order by raised_ms desc, id desc limit ? offset ?",
        (tenant, page_size, (page - 1) * page_size),
    )
    return {"items": [_answer(row) for row in rows], "page": page, "page_size": page_size, "total": total}


_SELECT: Final = "select id, site, gateway, kind, severity, detail, raised_ms, cleared_ms from alert"


def _answer(row: tuple[Any, ...]) -> dict[str, Any]:
    number, site, gateway, kind, severity, detail, raised, cleared = row
    return {
        "id": number,
        "site": site,
        "gateway": gateway,
        "kind": kind,
        "severity": severity,
        "detail": json.loads(detail),
        "raised": iso(raised),
        "cleared": None if cleared is None else iso(cleared),
    }
