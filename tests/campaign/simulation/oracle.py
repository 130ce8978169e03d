"""The oracle: produced = stored + waiting + declared, from the databases' rows and the simulation's own truth.

It never asks a counter of the product. `glance` holds cheap invariants against the world while it runs (I-4 no
overwrite, I-5 contiguity, I-8 forget rule, I-11 bounds); `final` holds everything against it when it is quiet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.campaign.simulation.account import Account
from tests.campaign.simulation.gateway import PAGE, Box
from tests.campaign.simulation.ranges import covers, holes, merged
from tests.campaign.simulation.world import ViolationError

if TYPE_CHECKING:
    from tests.campaign.simulation.simulate import Simulation

Place = tuple[str, str, int]
"""(address, inc, stream)."""

SLACK_PAGES: Final = 12
"""What a transaction may use beyond the quota: a chunk, its index entries, and half empty pages."""


class Oracle:
    """Looks at one simulated world."""

    def __init__(self, simulation: Simulation) -> None:
        self._s = simulation
        self._chunks: dict[tuple[str, str, int, int], tuple[int, bytes]] = {}
        self._stored: dict[Place, int] = {}
        self._restores = 0
        self._held: dict[str, tuple[int, int, dict[tuple[str, int, int], int]]] = {}
        """Box → (which disk, highest chunk, (inc, stream, first) → last of each chunk)."""
        self._taken_back: dict[Place, list[tuple[int, int]]] = {}
        """What the cloud itself had declared at the last glance: it may take it back, and its watermark with it."""

    # --- while it runs ---

    def glance(self) -> None:
        """Check what must hold at every instant. Raises ViolationError."""
        self._cloud()
        for box in self._s.boxes:
            if box.alive:
                self._box(box)

    def _cloud(self) -> None:
        cloud = self._s.cloud
        if cloud.restores != self._restores:  # another database
            self._restores = cloud.restores
            self._chunks, self._stored, self._taken_back = {}, {}, {}
        found: dict[tuple[str, str, int, int], tuple[int, bytes]] = {}
        ranges: dict[Place, list[tuple[int, int]]] = {}
        for name, inc, stream, first, count, digest in cloud.rows(_CHUNKS):
            found[name, inc, stream, first] = (count, digest)
            ranges.setdefault((name, inc, stream), []).append((first, first + count - 1))
        for key, was in self._chunks.items():
            now = found.get(key)
            if now is None:
                raise ViolationError(f"I-4 a stored chunk is gone: {key}")
            if now != was:
                raise ViolationError(f"I-4 a stored chunk was written over: {key}")
        for key in found.keys() - self._chunks.keys():
            pieces = self._s.truth.pieces.get(key, [])
            if not any(piece.digest == found[key][1] and piece.count == found[key][0] for piece in pieces):
                raise ViolationError(f"I-3 stored, and never committed on a gateway: {key}")
        self._chunks = found
        if self._s.world.plan.safe == "stored":
            cloud.backed_up |= found.keys()
        ours: dict[Place, list[tuple[int, int]]] = {}
        for name, inc, stream, first, last, who in cloud.rows(_LOSSES):
            ranges.setdefault((name, inc, stream), []).append((first, last))
            if who == "cloud":
                ours.setdefault((name, inc, stream), []).append((first, last))
        for name, inc, stream, stored, _last in cloud.rows(_STREAMS):
            place = (name, inc, stream)
            if stored < self._stored.get(place, 0) and not covers(
                self._taken_back.get(place, []), stored + 1, stored + 1
            ):
                raise ViolationError(f"I-5 the watermark of {place} went from {self._stored[place]} back to {stored}")
            self._stored[place] = stored
            missing = holes(1, stored, merged(ranges.get(place, [])))
            if missing:
                raise ViolationError(
                    f"I-5 the watermark of {place} is {stored}, and {missing} is neither stored nor declared"
                )
        self._taken_back = {place: merged(those) for place, those in ours.items()}

    def _box(self, box: Box) -> None:
        disk = box.outbox.disk
        if disk.used() > disk._quota_bytes + SLACK_PAGES * PAGE and disk._quota_bytes > box.least_quota:
            raise ViolationError(f"I-11 {box.name} uses {disk.used()} bytes of a quota of {disk._quota_bytes}")
        highest, held = 0, dict[tuple[str, int, int], int]()
        for id_, inc, stream, first, count in box.disk.execute(_HELD):
            held[inc, stream, first] = first + count - 1
            highest = max(highest, id_)
        key, _, was = self._held.get(box.name, (-1, 0, {}))
        self._held[box.name] = (box.disks, highest, held)
        if key != box.disks:
            return
        address = str(box.address)
        excused = None
        for place, last in was.items():
            if place in held or (address, *place) in self._s.cloud.backed_up:
                continue
            excused = excused if excused is not None else self._excuses(box)
            inc, stream, first = place
            if not covers(excused.get((inc, stream), []), first, last):
                raise ViolationError(
                    f"I-8 {box.name} forgot {inc[:6]}/{stream}/{first}–{last}, which no backup has and no loss tells"
                )

    def _excuses(self, box: Box) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """Give what a gateway may have dropped: declared, set aside, or stored and dropped for want of room."""
        found: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for inc, stream, first, last in box.disk.execute(_DROPPED):
            found.setdefault((inc, stream), []).append((first, last))
        for name, inc, stream, first, last, _ in self._s.cloud.rows(_LOSSES):
            if name == str(box.address):
                found.setdefault((inc, stream), []).append((first, last))
        for name, inc, stream, first, last in self._s.cloud.rows(_APART):
            if name == str(box.address):
                found.setdefault((inc, stream), []).append((first, last))
        if self._s.world.faults["disk_pressure"]:
            for name, inc, stream, stored, _ in self._s.cloud.rows(_STREAMS):
                if name == str(box.address):
                    found.setdefault((inc, stream), []).append((1, stored))
        return {place: merged(ranges) for place, ranges in found.items()}

    # --- at the end ---

    def final(self) -> None:
        """Check everything once all is told. Raises ViolationError."""
        self.glance()
        account = Account(self._s)
        account.rows()
        account.records()
        account.chains()
        account.sums()


_NAMED: Final = "g.tenant||'/'||g.site||'/'||g.name, i.inc"
_JOINED: Final = "join incarnation i on i.id=x.inc join gateway g on g.id=i.gateway"
_CHUNKS: Final = f"select {_NAMED}, x.stream, x.first, x.count, x.digest from ingest_chunk x {_JOINED}"
_LOSSES: Final = f"select {_NAMED}, x.stream, x.first, x.last, x.declared_by from loss x {_JOINED}"
_STREAMS: Final = f"select {_NAMED}, x.stream, x.stored, x.last from ingest_stream x {_JOINED}"
_APART: Final = (
    f"select {_NAMED}, x.stream, x.first, x.first+x.count-1 from conflict x {_JOINED}"
    f" union all select {_NAMED}, x.stream, x.first, x.first+x.count-1 from dead_letter x {_JOINED}"
)
_HELD: Final = "SELECT c.id, i.inc, c.stream, c.first, c.count FROM chunk c JOIN incarnation i USING (ord)"
_DROPPED: Final = (
    "SELECT i.inc, l.stream, l.first, l.last FROM loss l JOIN incarnation i USING (ord) "
    "UNION ALL SELECT i.inc, l.stream, l.first, l.last FROM latent l JOIN incarnation i USING (ord) "
    "UNION ALL SELECT inc, stream, first, first + count - 1 FROM aside"
)
