"""A gateway for tests, reduced to what it says: facts and readings in chunks, resumes, heartbeats, sealed frames."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from sync import facts as f
from sync.chain import follow, genesis, statement
from sync.chunk import digest, encode_facts, encode_readings
from sync.frames import Batch, Heartbeat, Incarnation, Loss, Resume, StreamHoldings
from sync.reading import Readings
from sync.signing import Signer
from sync.topics import Address

KEY = bytes(range(32))
LINE = "bottling/line-1/filler"
LINE_2 = "bottling/line-2/filler"
S = 1_000_000_000


@dataclass
class Start:
    """One start of the gateway: an incarnation with its chunks, kept for ever so that any can be sent again."""

    address: Address = field(default_factory=lambda: Address("demo", "seoul", "gw-1"))
    ord: int = 1
    inc: str = field(default_factory=lambda: secrets.token_hex(16))
    closed: bool = False
    last: dict[int, int] = field(default_factory=dict)
    chunks: list[tuple[Batch, bytes]] = field(default_factory=list)
    losses: dict[int, list[Loss]] = field(default_factory=dict)
    held: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    previous: str = ""
    signer: Signer | None = None
    """With a signer chunks are chained and signed, as those of protocol 2."""
    links: dict[int, bytes] = field(default_factory=dict)

    def chunk(self, body: bytes, count: int, stream: int, nonce: str = "") -> tuple[Batch, bytes]:
        first = self.last.get(stream, 0) + 1
        last = self.last[stream] = first + count - 1
        batch = Batch(
            nonce=nonce, inc=self.inc, stream=stream, first=first, count=count, last=last, digest=digest(body).hex()
        )
        if self.signer is not None:
            before = self.links.get(stream) or genesis(self.inc, stream)
            link = self.links[stream] = follow(before, digest(body))
            said = statement(str(self.address), (self.inc, stream), last, link)
            batch = msgspec.structs.replace(batch, before=before.hex(), signature=self.signer.sign(said).hex())
        self.chunks.append((batch, body))
        self.held.setdefault(stream, []).append((first, last))
        return batch, body

    def facts(self, *facts: f.Fact, stream: int = int(f.Stream.EVENT)) -> tuple[Batch, bytes]:
        return self.chunk(encode_facts(facts), len(facts), stream)

    def readings(self, batch: Readings, dictionary: str) -> tuple[Batch, bytes]:
        return self.chunk(encode_readings(batch, dictionary), len(batch), int(f.Stream.FACT))

    def dictionary(self, names: Sequence[str], at: int = 0) -> f.TagDictionary:
        entries = [f.TagEntry(id=name, unit="CEL", low=0.0, high=100.0) for name in names]
        return f.TagDictionary(at=at or time.time_ns(), version="0123456789abcdef", tags=entries)

    def incarnation(self) -> Incarnation:
        streams = {
            str(stream): StreamHoldings(
                last=last,
                held=self.held.get(stream, []),
                losses=self.losses.get(stream, []),
                link=self.links.get(stream, b"").hex(),
            )
            for stream, last in self.last.items()
        }
        return Incarnation(inc=self.inc, ord=self.ord, previous=self.previous, closed=self.closed, streams=streams)

    def resume(self, *others: Start, nonce: str = "n") -> Resume:
        return Resume(nonce=nonce, incarnations=[*(o.incarnation() for o in others), self.incarnation()])

    def heartbeat(self, *others: Start, nonce: str = "n") -> Heartbeat:
        everyone = [*(o.incarnation() for o in others), self.incarnation()]
        waiting = sum(b - a + 1 for one in everyone for s in one.streams.values() for a, b in s.held)
        return Heartbeat(
            nonce=nonce,
            inc=self.inc,
            wall=time.time_ns(),
            holdings=everyone,
            waiting=waiting,
            waiting_bytes=waiting * 20,
            oldest_at=time.time_ns() if waiting else None,
            lost=sum(x.last - x.first + 1 for one in everyone for s in one.streams.values() for x in s.losses),
            produced=sum(s.last for one in everyone for s in one.streams.values()),
            disk_free_bytes=10**10,
            autonomy_hours=120.5,
            data_at=time.time_ns(),
            sources={"plc": "connected"},
        )


def state(at: int, name: str, reason: str | None = None, *, line: str = LINE, product: str | None = "P1") -> f.Fact:
    return f.StateChanged(
        at=at, work_unit=line, state=name, reason=reason, context=f.Context(order="O1", product=product)
    )


def produced(
    start: int,
    at: int,
    total: int,
    good: int,
    *,
    cycle_ms: float | None = 1000.0,
    product: str | None = "P1",
    line: str = LINE,
    **more,
) -> f.Fact:
    context = f.Context(order="O1", product=product)
    return f.Produced(
        at=at, work_unit=line, start=start, produced=total, good=good, ideal_cycle_ms=cycle_ms, context=context, **more
    )


def verdict(at: int, decision: str = "normal", *, line: str = LINE, number: int = 0) -> f.Fact:
    return f.Judged(
        at=at,
        work_unit=line,
        verdict_id=f"{number or at:016x}",
        start=at - 10 * S,
        ruleset="filler",
        ruleset_version="1.0.0",
        ruleset_hash="ab" * 32,
        decision=decision,
        severity="info" if decision == "normal" else "warning",
        confidence=0.9,
        policy="rule_only",
        source="rule",
        summary={"ko": "모두 정상입니다.", "en": "All is well."},
        checks=[f.Check(name="temperature", status="ok", value=61.5, threshold=80.0, unit="CEL")],
        inputs={"temperature": 61.5},
        components={"rule_confidence": 0.9},
    )
