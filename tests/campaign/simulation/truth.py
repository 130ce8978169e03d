"""What really happened, kept by the simulation: every record that an edge transaction committed, by a number of its own.

The number (uid) travels inside the record, so that a row in the cloud says itself which record it is. Places and bytes
are read from the gateway's database right after each transaction; no counter of the product is asked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import apsw
import numpy as np

from sync.chain import follow, genesis
from sync.chunk import DecodedReadings, decode_raw
from sync.facts import (
    Aggregated,
    Audited,
    Fact,
    Faulted,
    HealthReported,
    StateChanged,
    TagDictionary,
    TagEntry,
)
from sync.reading import Readings
from tests.campaign.simulation.world import ViolationError, World

LINE: Final = "bottling/line-1/filler"
TAGS: Final = 3


def number_of(fact: Any) -> int | None:
    """Give the uid that a record carries; None for what the gateway's software says on its own."""
    match fact:
        case Faulted(why=text) | HealthReported(values={"uid": text}) | StateChanged(reason=text):
            return int(text or 0) or None
        case Aggregated(count=count):
            return count
        case Audited(detail={"uid": number}):
            return int(number)
        case _:
            return None


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A chunk as it was committed."""

    address: str
    inc: str
    stream: int
    first: int
    count: int
    digest: bytes
    body: bytes
    link: bytes
    box: str
    uids: tuple[int | None, ...]

    @property
    def last(self) -> int:
        return self.first + self.count - 1


@dataclass(slots=True)
class Read:
    """How far one disk's rows were read; goes with the disk when it is copied or set back."""

    chunk: int = 0
    audit: str | None = None
    """Digest of the last audit record; None before the first."""
    lanes: dict[tuple[str, int], tuple[int, bytes]] = field(default_factory=dict)
    """(inc, stream) → (last seq, link)."""
    pieces: set[Piece] = field(default_factory=set)
    """What was committed on this disk or on one it is a copy of."""

    def copy(self) -> Read:
        return Read(self.chunk, self.audit, dict(self.lanes), set(self.pieces))


class Truth:
    """Every record that was ever committed on a gateway."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._next = 0
        self.pieces: dict[tuple[str, str, int, int], list[Piece]] = {}
        """(address, inc, stream, first) → what was committed there: more than one after a resumed memory image."""
        self.where: dict[int, list[tuple[Piece, int]]] = {}
        """uid → (piece, seq)."""
        self.rows: dict[tuple[str, str, int, int], list[tuple[Piece, int | None]]] = {}
        """(address, inc, stream, seq) → (piece, uid)."""
        self.records = 0

    # --- making ---

    def draw(self, wall: int, most: int, name: str) -> tuple[list[Fact], list[Readings], set[int]]:
        """Give what one commit of a gateway holds: facts, readings, and the uids in them."""
        chance = self._world.chance(f"load/{name}")
        uids: set[int] = set()

        def uid() -> int:
            self._next += 1
            uids.add(self._next)
            return self._next

        facts: list[Fact] = []
        if chance.random() < 0.35:
            facts.append(Audited(at=wall, actor="sim", action="did", detail={"uid": uid()}))
        if chance.random() < 0.7:
            for _ in range(chance.randint(1, most)):
                if chance.random() < 0.15:
                    state = chance.choice(("EXECUTE", "HELD", "IDLE"))
                    facts.append(StateChanged(at=wall, work_unit=LINE, state=state, reason=str(uid())))
                else:
                    facts.append(Faulted(at=wall, why=str(uid())))
        if chance.random() < 0.2:
            facts.append(HealthReported(at=wall, values={"uid": float(uid())}))
        if chance.random() < 0.2:
            facts.append(Aggregated(at=wall, tag=f"{LINE}/tag_0", start=wall, count=uid(), bad=0))
        if not facts or chance.random() < 0.6:
            n = chance.randint(1, 2 * most)
            times = wall + np.arange(n, dtype=np.int64) * 1_000_000
            return facts, [Readings(
                tag=np.array([chance.randrange(TAGS) for _ in range(n)], np.int32),
                value=np.array([float(uid()) for _ in range(n)]),
                status=np.zeros(n, np.uint32),
                source_time=times,
                server_time=times,
                received=wall,
            )], uids  # fmt: skip
        return facts, [], uids

    @staticmethod
    def dictionary(wall: int, version: int) -> TagDictionary:
        """Give a gateway's tags; another version has them in another order."""
        order = [(i + version) % TAGS for i in range(TAGS)]
        entries = [TagEntry(id=f"{LINE}/tag_{i}", unit="CEL") for i in order]
        return TagDictionary(at=wall, version=f"{version:016x}", tags=entries)

    # --- reading ---

    def read(self, disk: apsw.Connection, at: Read, address: str, box: str) -> set[int]:
        """Take in what the last transaction of a gateway committed; gives the uids that are new."""
        found: set[int] = set()
        for id_, inc, stream, first, count, mark, body in disk.execute(
            "SELECT c.id, i.inc, c.stream, c.first, c.count, c.digest, c.body FROM chunk c JOIN incarnation i USING (ord) "
            "WHERE c.id > ? ORDER BY c.id",
            (at.chunk,),
        ):
            at.chunk = id_
            self._take(
                at, address, box, (str(inc), int(stream), int(first), int(count)), bytes(mark), bytes(body), found
            )
        return found

    def _take(
        self,
        at: Read,
        address: str,
        box: str,
        place: tuple[str, int, int, int],
        mark: bytes,
        body: bytes,
        found: set[int],
    ) -> None:
        inc, stream, first, count = place
        name = f"{address} {inc[:8]}/{stream}/{first}"
        if hashlib.sha256(body).digest() != mark:
            raise ViolationError(f"I-3 {name}: committed with a digest that is not its body's")
        if any(one.digest == mark and one in at.pieces for one in self.pieces.get((address, inc, stream, first), [])):
            return  # the cloud was set back, and what was kept comes back into the outbox
        last, before = at.lanes.get((inc, stream), (0, genesis(inc, stream)))
        if first <= last:
            raise ViolationError(f"I-9 {name}: numbers used twice on one disk, {last} was the last")
        if first != last + 1:
            raise ViolationError(f"I-1 {name}: numbers left out, {last} was the last")
        link = follow(before, mark)
        at.lanes[inc, stream] = (first + count - 1, link)
        uids = tuple(self._records(at, body, count, name))
        piece = Piece(address, inc, stream, first, count, mark, body, link, box, uids)
        at.pieces.add(piece)
        self.pieces.setdefault((address, inc, stream, first), []).append(piece)
        self.records += count
        for offset, uid in enumerate(uids):
            seq = first + offset
            self.rows.setdefault((address, inc, stream, seq), []).append((piece, uid))
            if uid is not None:
                if uid in self.where:
                    raise ViolationError(f"I-2 {name}: record {uid} committed twice")
                self.where[uid] = [(piece, seq)]
                found.add(uid)

    def _records(self, at: Read, body: bytes, count: int, name: str) -> list[int | None]:
        decoded = decode_raw(body, count)
        if isinstance(decoded, DecodedReadings):
            return [int(value) for value in decoded.readings.value.tolist()]
        uids: list[int | None] = []
        for fact, raw in decoded:
            if isinstance(fact, Audited):
                if at.audit is not None and fact.previous != at.audit:
                    raise ViolationError(f"I-14 {name}: an audit record does not name the one before it")
                at.audit = hashlib.sha256(raw).hexdigest()
            uids.append(number_of(fact))
        return uids
