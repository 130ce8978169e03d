"""Who is offered which package, and what the gateway said became of it: a row each, so that any process may send it.

An offer is known by gateway, digest and end: whoever offers the same package again gets an answer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.times import iso
from cloud.database import Connection
from sync.facts import Audited
from sync.topics import Address

AGAIN_MS: Final = 300_000
"""An offer that nobody answered is repeated within a session; a gateway that has it already passes it over."""
AT_ONCE: Final = 8
LATEST_MS: Final = 4_102_444_800_000
"""2100."""
STATES: Final = {"package.received": "received", "package.refused": "refused"}
"""Action of the gateway's audited fact → what the offer comes to."""
COLUMNS: Final = (
    "tenant", "site", "gateway", "digest", "size", "name", "offered_by", "offered_ms", "expires_ms", "sent_ms", "state",
    "detail", "answered_ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """What is offered."""

    digest: str
    """64 hex digits, SHA-256."""
    size: int
    """Bytes."""
    expires_ms: int


def make(
    connection: Connection, gateways: Sequence[Address], package: Package, *, name: str, by: str, now_ms: int
) -> None:
    """Offer a package; one that was offered before is offered anew. Twice the same changes nothing."""
    what = (package.digest, package.size, name, by, now_ms, package.expires_ms)
    connection.many(
        "insert into offer(tenant, site, gateway, digest, size, name, offered_by, offered_ms, expires_ms)"
        " values(?,?,?,?,?,?,?,?,?) on conflict(tenant, site, gateway, digest) do update set name=excluded.name,"
        " offered_by=excluded.offered_by, offered_ms=excluded.offered_ms, expires_ms=excluded.expires_ms, sent_ms=null,"
        " state='offered', detail='', answered_ms=null where offer.expires_ms<>excluded.expires_ms",
        [(one.tenant, one.site, one.gateway, *what) for one in sorted(gateways, key=str)],
    )


def hand_out(connection: Connection, gateway: Address, now_ms: int, *, anew: bool = False) -> list[Package]:
    """Give what a gateway is to be offered now, and note that it was. anew: its session begins, it was told nothing."""
    before = now_ms if anew else now_ms - AGAIN_MS
    who = (gateway.tenant, gateway.site, gateway.gateway)
    rows = connection.execute(
        "select digest, size, expires_ms from offer where tenant=? and site=? and gateway=? and state='offered'"
        " and expires_ms>? and (sent_ms is null or sent_ms<=?) order by offered_ms, digest",
        (*who, now_ms, before),
    )
    found = [Package(digest, size, expires_ms) for digest, size, expires_ms in rows[:AT_ONCE]]
    for one in found:
        connection.execute(
            "update offer set sent_ms=? where tenant=? and site=? and gateway=? and digest=?",
            (now_ms, *who, one.digest),
        )
    return found


def outcome(fact: Audited) -> tuple[str, str, int, str, int] | None:
    """Give (state, why, at ms, digest, expires ms) of a fact that answers an offer; None for any other."""
    state, expires = STATES.get(fact.action), fact.detail.get("expires")
    if state is None or not isinstance(expires, int) or not 0 <= expires < 2**63:
        return None
    why, digest = (str(text).replace("\0", "\ufffd") for text in (fact.detail.get("why", ""), fact.target))
    at_ms = min(max(0, fact.at // 1_000_000), LATEST_MS)  # a gateway's clock may say anything
    return state, why, at_ms, digest, expires // 1_000_000


SETTLE: Final = (
    "update offer set state=?, detail=?, answered_ms=? where digest=? and expires_ms=? and tenant=? and site=?"
    " and gateway=(select name from gateway where id=?)"
)
"""Takes an `outcome`, then tenant, site and the gateway's number."""


def listed(
    connection: Connection, now_ms: int, *, tenant: str | None = None, limit: int = 200, offset: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Give offers, newest first, as the API shows them, and how many there are. An open one past its end is `expired`."""
    where, values = ("", ()) if tenant is None else (" where tenant=?", (tenant,))
    rows = connection.execute(
        f"select {', '.join(COLUMNS)} from offer{where} order by offered_ms desc, tenant, site, gateway, digest"  # noqa: S608 - our own words
        " limit ? offset ?",
        (*values, limit, offset),
    )
    (total,) = connection.one(f"select count(*) from offer{where}", values) or (0,)  # noqa: S608 - as above
    return [_shown(dict(zip(COLUMNS, row, strict=True)), now_ms) for row in rows], total


def _shown(row: dict[str, Any], now_ms: int) -> dict[str, Any]:
    late = row["state"] == "offered" and row["expires_ms"] <= now_ms
    times = {
        name.removesuffix("_ms"): None if row[name] is None else iso(row[name])
        for name in ("offered_ms", "expires_ms", "sent_ms", "answered_ms")
    }
    words = {name: row[name] for name in ("tenant", "site", "gateway", "digest", "size", "name", "offered_by")}
    return words | times | {"state": "expired" if late else row["state"], "why": row["detail"]}
