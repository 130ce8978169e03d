"""The proof: produced = stored + waiting + lost, per gateway, incarnation and stream; and by how much it fails.

Every term is counted on its own, so that a record nobody can account for shows as a difference:
- produced: the highest sequence number ever heard of (resume, chunk or heartbeat);
- stored: records that are rows here (counted in the transaction that inserts them);
- lost: what gateway or cloud declared lost, range by range;
- waiting: what the gateway said it holds, less what is stored or lost since; records announced after that saying are
  taken as held until the next one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cloud.bi.times import iso
from cloud.database import Connection
from sync.frames import Incarnation

_holdings = msgspec.json.Decoder(list[Incarnation])


@dataclass(slots=True, kw_only=True)
class Account:
    """One stream of one incarnation."""

    number: int
    """Of the incarnation's row."""
    inc: str
    ord: int
    closed: bool
    first_seen_ms: int
    stream: int
    watermark: int
    produced: int
    stored: int
    waiting: int = 0
    lost: int = 0
    losses: Counter[str] = field(default_factory=Counter[str])
    safe: int = 0
    """Everything up to here is in a verified backup, too."""
    told_last: int = 0
    """The highest number when the gateway said what it holds."""
    held: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    ranges: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    """Declared losses: first, last, reason; in order."""

    @property
    def missing(self) -> int:
        return self.produced - self.stored - self.waiting - self.lost


@dataclass(slots=True, kw_only=True)
class GatewayAccounts:
    """All accounts of one gateway, as of what it said last."""

    number: int
    """Of the gateway's row."""
    site: str
    gateway: str
    as_of_ms: int | None
    accounts: list[Account]

    def total(self) -> dict[str, Any]:
        """Give the sums as the API says them."""
        losses: Counter[str] = Counter()
        for account in self.accounts:
            losses.update(account.losses)
        sums = {key: sum(getattr(a, key) for a in self.accounts) for key in ("produced", "stored", "waiting", "lost")}
        return {
            "gateway": self.gateway,
            "site": self.site,
            **sums,
            "balanced": all(a.missing == 0 for a in self.accounts),
            "losses": [{"reason": reason, "count": count} for reason, count in sorted(losses.items())],
            "as_of": None if self.as_of_ms is None else iso(self.as_of_ms),
        }


def waiting(held: list[tuple[int, int]], told_last: int, watermark: int, last: int, lost: list[tuple[int, int]]) -> int:
    """Count records that the gateway holds and we do not: `held` as it said when its newest record was `told_last`.

    lost: declared ranges beyond the watermark; what is at or below it is stored or lost already.
    """
    ranges = [(max(a, watermark + 1), b) for a, b in held]
    newer = max(told_last, watermark) + 1
    ranges.append((newer, last))
    count = 0
    for a, b in ranges:
        if a > b:
            continue
        gone = sum(max(0, min(b, y) - max(a, x) + 1) for x, y in lost)
        count += b - a + 1 - gone
    return count


def accounts(connection: Connection, tenant: str) -> list[GatewayAccounts]:
    """Give every gateway's accounts of a tenant."""
    losses: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    for inc, stream, first, last, reason in connection.execute(
        "select inc, stream, first, last, reason from loss where tenant=? order by inc, stream, first", (tenant,)
    ):
        losses.setdefault((inc, stream), []).append((first, last, reason))
    rows: dict[int, list[tuple[Any, ...]]] = {}
    for row in connection.execute(
        "select i.gateway, i.id, i.inc, i.ord, i.closed, i.first_seen_ms, s.stream, s.stored, s.last, s.rows, s.safe"
        " from ingest_stream s"
        " join incarnation i on i.id = s.inc where i.tenant=? order by i.ord, i.id, s.stream",
        (tenant,),
    ):
        rows.setdefault(row[0], []).append(row)
    result: list[GatewayAccounts] = []
    for number, site, name, holdings, told_ms in connection.execute(
        "select id, site, name, holdings, holdings_ms from gateway where tenant=? order by site, name", (tenant,)
    ):
        told = {
            (one.inc, int(stream)): (holding.held, holding.last)
            for one in _holdings.decode(holdings)
            for stream, holding in one.streams.items()
        }
        found: list[Account] = []
        for _, inc_id, inc, order, closed, seen_ms, stream, watermark, last, stored, safe in rows.get(number, []):
            # An incarnation it no longer names is one it holds nothing of, and will produce nothing more.
            held, told_last = told.get((inc, stream), ([], last if closed else watermark))
            lost = losses.get((inc_id, stream), [])
            by_reason: Counter[str] = Counter()
            for first, end, reason in lost:
                by_reason[reason] += end - first + 1
            beyond = [(first, end) for first, end, _ in lost if end > watermark]
            found.append(
                Account(
                    number=inc_id,
                    inc=inc,
                    ord=order,
                    closed=bool(closed),
                    first_seen_ms=seen_ms,
                    stream=stream,
                    watermark=watermark,
                    produced=last,
                    stored=stored,
                    waiting=waiting(list(held), told_last, watermark, last, beyond),
                    lost=sum(by_reason.values()),
                    losses=by_reason,
                    safe=safe,
                    told_last=told_last,
                    held=list(held),
                    ranges=lost,
                )
            )
        result.append(GatewayAccounts(number=number, site=site, gateway=name, as_of_ms=told_ms, accounts=found))
    return result
