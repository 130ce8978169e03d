"""An audit log as both sides hold it, made by the rules and free to be tampered with: plain rows, lists that change."""

from __future__ import annotations

import hashlib
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sync.chain import follow, genesis, statement
from sync.chunk import digest, encode_facts
from sync.facts import Audited
from sync.signing import Signer
from sync.testimony import Chunk, Countersigned, Lane, Row

ADDRESS = "demo/seoul/gw-1"
GATEWAY = Signer(hashlib.sha256(b"gateway").digest())
CLOUD = Signer(hashlib.sha256(b"cloud").digest())
AUDIT = 1


@dataclass
class Part:
    """One incarnation's audit lane."""

    ord: int
    inc: str
    previous: str
    chunks: list[Chunk] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    points: list[Countersigned] = field(default_factory=list)
    losses: list[tuple[int, int, str]] = field(default_factory=list)
    last: int = 0
    top: bytes = b""

    def lane(self, side: str, **more: Any) -> Lane:
        """Give it as the edge holds it (links follow from `before`, no signatures, no rows) or as the cloud does."""
        known: dict[str, Any] = {
            "address": ADDRESS,
            "ord": self.ord,
            "inc": self.inc,
            "previous": self.previous,
            "stream": AUDIT,
            "last": self.last,
            "losses": self.losses,
            "countersigned": self.points,
        }
        if side == "edge":
            bare = [changed_chunk(chunk, link=None, signature=None) for chunk in self.chunks]
            return Lane(**known, chunks=bare, top=self.top, **more)
        return Lane(**known, chunks=self.chunks, rows=self.rows, gateway_key=GATEWAY.public_key, **more)


def changed_chunk(chunk: Chunk, **changes: Any) -> Chunk:
    names = ("first", "count", "digest", "before", "link", "signature", "body")
    return Chunk(**{name: getattr(chunk, name) for name in names} | changes)


def record(number: int) -> Audited:
    who = ("kim", "lee", "system", "park")[number % 4]
    detail = {"old": number, "new": number + 1, "why": "조정"}
    return Audited(
        at=10**18 + number * 10**9, actor=who, action="setpoint.changed", target=f"tag-{number % 7}", detail=detail
    )


def write(
    part: Part, facts: list[Audited], head: str, *, sizes: random.Random, key: Signer = GATEWAY, witness: Signer = CLOUD
) -> str:
    """Append facts to a part as the store does; gives the new head."""
    link = part.top or genesis(part.inc, AUDIT)
    while facts:
        taken, facts = facts[: (n := sizes.randint(1, 40))], facts[n:]
        made = []
        for fact in taken:
            made.append(msgspec.structs.replace(fact, previous=head))
            head = hashlib.sha256(msgspec.json.encode(made[-1])).hexdigest()
        body = encode_facts(made)
        before, link = link, follow(link, digest(body))
        first, part.last, part.top = part.last + 1, part.last + len(made), link
        said = statement(ADDRESS, (part.inc, AUDIT), part.last, link)
        part.chunks.append(
            Chunk(
                first=first,
                count=len(made),
                digest=digest(body),
                before=before,
                link=link,
                body=body,
                signature=key.sign(said),
            )
        )
        for place, fact in enumerate(made):
            columns = {"kind": "audit", "work_unit": fact.work_unit, "at": fact.at, "tenant": "demo"}
            columns |= {"actor": fact.actor, "action": fact.action, "target": fact.target}
            part.rows.append(Row(seq=first + place, raw=msgspec.json.encode(fact), columns=columns))
        if not part.points or part.last - part.points[-1].seq >= 256:
            part.points.append(countersign(part, witness))
    return head


def countersign(part: Part, witness: Signer = CLOUD) -> Countersigned:
    at = 10**18 + part.last
    said = statement(ADDRESS, (part.inc, AUDIT), part.last, part.top, at)
    return Countersigned(seq=part.last, link=part.top, at=at, signature=witness.sign(said))


def log(records: int = 10_000, parts: int = 3, seed: int = 4) -> list[Part]:
    """Make a log of so many records over some starts of the gateway."""
    sizes, head, made = random.Random(seed), "", list[Part]()
    for number in range(parts):
        inc = random.Random(seed * 100 + number).randbytes(16).hex()
        part = Part(ord=number + 1, inc=inc, previous=made[-1].inc if made else "")
        share = range(records * number // parts, records * (number + 1) // parts)
        head = write(part, [record(i) for i in share], head, sizes=sizes)
        made.append(part)
    return made


def stranger() -> Signer:
    return Signer(secrets.token_bytes(32))
