"""The account at the end: for every record that was ever committed, where it is now; for every row, what it really is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from sync.chain import follow, statement
from sync.chunk import DecodedReadings, decode_raw
from sync.signing import genuine
from sync.timing import UNSET_BEFORE_NS
from tests.campaign.simulation.installation import signer
from tests.campaign.simulation.ranges import covers, merged
from tests.campaign.simulation.truth import Piece
from tests.campaign.simulation.world import ViolationError

if TYPE_CHECKING:
    from tests.campaign.simulation.simulate import Simulation

EXPLAINED: Final = {
    "shed": {"disk_pressure"},
    "quarantine": {"bit_rot"},
    "rejected": {"damaged_body", "memory_image", "bit_rot", "cloud_restore"},
    "rollback": {"edge_restore", "memory_image", "clone", "replaced", "cloud_restore"},
    "retention": {"cloud_restore"},
    "expired": set[str](),
    "gone": {"edge_restore", "memory_image", "clone", "replaced", "cloud_restore", "person", "wanted"},
}
"""Reason of a loss → kinds of faults of which one must have happened: a loss that no fault explains is a fault of ours."""
OURS_TO_LOSE: Final = {"shed", "quarantine", "rejected", "retention", "expired"}
"""Reasons for which a record may be lost although its gateway's disk lived on."""
SIGNATURES: Final = 8
"""Verified per seed; all would cost more than the rest of it."""


class Account:
    """Everything that is compared at the end of one seed."""

    def __init__(self, simulation: Simulation) -> None:
        self._s = simulation
        self._bodies: dict[Piece, list[Any]] = {}
        self._seen: dict[int, tuple[str, str, int, int]] = {}
        """uid → where its row stands."""
        self._rows: set[tuple[str, str, int, int, bytes]] = set()
        """(address, inc, stream, seq, digest of its chunk) of every row."""

    # --- rows ---

    def rows(self) -> None:
        """Every row is a record that was committed at that place, byte for byte, and no record has two."""
        cloud = self._s.cloud
        digests = {
            (name, inc, stream, first): (count, digest)
            for name, inc, stream, first, count, digest in cloud.rows(
                f"select {_NAMED}, x.stream, x.first, x.count, x.digest from ingest_chunk x {_JOINED}"
            )
        }
        expected: dict[tuple[str, str, int, int], tuple[Piece, int]] = {}
        for key, (_, digest) in digests.items():
            piece = next((one for one in self._s.truth.pieces.get(key, []) if one.digest == digest), None)
            if piece is None:
                raise ViolationError(f"I-3 stored, and never committed on a gateway: {key}")
            for offset in range(piece.count):
                expected[*key[:3], piece.first + offset] = (piece, offset)
        for name, inc, stream, seq, body in cloud.rows(
            f"select {_NAMED}, x.stream, x.seq, x.body from fact x {_JOINED}"
        ):
            self._row((name, inc, stream, seq), expected, body.encode())
        for name, inc, stream, seq, tag, at, value in cloud.rows(
            f"select {_NAMED}, x.stream, x.seq, t.name, x.source_time, x.value from reading x {_JOINED}"
            " join tag t on t.id=x.tag"
        ):
            self._row((name, inc, stream, seq), expected, (tag, at, value))
        if expected:
            place = min(expected)
            raise ViolationError(f"I-1 {len(expected)} records of stored chunks have no row, the first at {place}")

    def _row(self, place: tuple[str, str, int, int], expected: dict[Any, tuple[Piece, int]], content: Any) -> None:
        found = expected.pop(place, None)
        if found is None:
            raise ViolationError(f"I-2 a row of no stored chunk, or two of one record: {place}")
        piece, offset = found
        if self._content(piece, offset) != content:
            raise ViolationError(f"I-3 the row at {place} is not what was committed")
        uid = piece.uids[offset]
        if uid is not None:
            if uid in self._seen:
                raise ViolationError(f"I-2 record {uid} stands at {self._seen[uid]} and at {place}")
            self._seen[uid] = place
        self._rows.add((*place, piece.digest))

    def _content(self, piece: Piece, offset: int) -> Any:
        if piece not in self._bodies:
            decoded = decode_raw(piece.body, piece.count)
            if isinstance(decoded, DecodedReadings):
                batch, names = decoded.readings, self._tags(decoded.dictionary)
                columns = zip(batch.tag.tolist(), batch.source_time.tolist(), batch.value.tolist(), strict=True)
                self._bodies[piece] = [(names[tag], at, value) for tag, at, value in columns]
            else:
                self._bodies[piece] = [raw for _, raw in decoded]
        return self._bodies[piece][offset]

    def _tags(self, version: str) -> list[str]:
        return [entry.id for entry in self._s.truth.dictionary(0, int(version, 16)).tags]

    # --- records ---

    def records(self) -> None:
        """Every committed record is stored, waits, is declared, is kept apart, or went with a disk before it was told."""
        cloud = self._s.cloud
        losses: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
        reasons: dict[tuple[str, str, int], list[tuple[int, int, str]]] = {}
        for name, inc, stream, first, last, reason in cloud.rows(
            f"select {_NAMED}, x.stream, x.first, x.last, x.reason from loss x {_JOINED}"
        ):
            losses.setdefault((name, inc, stream), []).append((first, last))
            reasons.setdefault((name, inc, stream), []).append((first, last, reason))
            self._explain(reason, (name, inc, stream, first, last))
        declared = {place: merged(ranges) for place, ranges in losses.items()}
        apart = self._apart()
        waiting, living = self._living()
        for pieces in self._s.truth.pieces.values():
            for piece in pieces:
                lane = (piece.address, piece.inc, piece.stream)
                stored = (*lane, piece.first, piece.digest) in self._rows
                lost = declared.get(lane, [])
                if stored:
                    self._not_twice(piece, lost)
                    continue
                if piece.digest in apart:
                    continue
                if covers(lost, piece.first, piece.last):
                    if piece in living:
                        self._really_lost(piece, reasons[lane], piece in waiting)
                    continue
                if piece in waiting:
                    raise ViolationError(f"I-1 {self._named(piece)} waits for ever: neither stored nor declared")
                if piece in living:
                    raise ViolationError(f"I-1 silent loss: {self._named(piece)} is nowhere any more")
                self._destroyed(piece, lost)

    def _named(self, piece: Piece) -> str:
        return f"{piece.box} {piece.inc[:6]}/{piece.stream}/{piece.first}–{piece.last}"

    def _explain(self, reason: str, where: Any) -> None:
        kinds = EXPLAINED.get(reason)
        if kinds is None or not any(self._s.world.faults[kind] for kind in kinds):
            raise ViolationError(f"I-1 a loss that nothing explains: {reason} {where}")

    def _not_twice(self, piece: Piece, lost: list[tuple[int, int]]) -> None:
        for seq in range(piece.first, piece.last + 1):
            if covers(lost, seq, seq):
                raise ViolationError(f"I-7 {self._named(piece)} is stored, and {seq} is declared lost as well")

    def _really_lost(self, piece: Piece, reasons: list[tuple[int, int, str]], waits: bool) -> None:
        if self._s.world.faults["cloud_restore"] and not waits:
            return  # a backup from before what a gateway had forgotten, rightly by what it knew
        said = {reason for first, last, reason in reasons if first <= piece.last and last >= piece.first}
        if not said & OURS_TO_LOSE and not (said == {"gone"} and self._s.world.faults["person"]):
            raise ViolationError(
                f"I-7 {self._named(piece)} is declared {said}, and its gateway never lost it (held: {waits})"
            )

    def _destroyed(self, piece: Piece, lost: list[tuple[int, int]]) -> None:
        """Went with its disk: known as an interval only if it was never announced."""
        lane = (piece.address, piece.inc, piece.stream)
        heard = self._s.cloud.announced.get(lane, 0)
        for seq in range(piece.first, min(piece.last, heard) + 1):
            if covers(lost, seq, seq):
                continue
            if any((*lane, seq, other.digest) in self._rows for other, _ in self._s.truth.rows[*lane, seq]):
                continue  # a resumed memory image used its number again
            raise ViolationError(
                f"I-1 {self._named(piece)} was announced, went with its disk, and {seq} is not declared"
            )
        self._s.world.faults["unannounced"] += piece.count

    def _apart(self) -> set[bytes]:
        """Give the digests of all bodies that somebody keeps for a person to look at."""
        cloud = self._s.cloud
        found = {hashlib.sha256(body).digest() for (body,) in cloud.rows("select body from conflict")}
        found |= {hashlib.sha256(body).digest() for (body,) in cloud.rows("select body from dead_letter")}
        for box in self._s.boxes:
            if not box.gone:
                found |= {bytes(mark) for (mark,) in box.disk.execute("SELECT digest FROM aside")}
        return found

    def _living(self) -> tuple[set[Piece], set[Piece]]:
        """Give (what gateways that live have in their outbox, what was ever committed on their disks)."""
        waiting: set[Piece] = set()
        living: set[Piece] = set()
        for box in self._s.boxes:
            if box.gone:
                continue
            living |= box.read.pieces
            by_place = {(p.inc, p.stream, p.first, p.digest): p for p in box.read.pieces}
            for inc, stream, first, mark in box.disk.execute(
                "SELECT i.inc, c.stream, c.first, c.digest FROM chunk c JOIN incarnation i USING (ord)"
            ):
                piece = by_place.get((inc, stream, first, bytes(mark)))
                if piece is None:
                    raise ViolationError(
                        f"I-3 {box.name} holds {inc[:6]}/{stream}/{first}, which was not committed on it"
                    )
                waiting.add(piece)
        return waiting, living

    # --- chains ---

    def chains(self) -> None:
        """Every link in the cloud is the gateway's; what both signed stands for what was committed."""
        s = self._s
        old = s.world.plan.has("old_gateway") or s.world.plan.has("old_cloud")
        known, end = None, None
        sample = SIGNATURES
        for name, inc, stream, first, count, digest, before, link, signature, key in s.cloud.rows(
            f"select {_NAMED}, x.stream, x.first, x.count, x.digest, x.before, x.link, x.signature, i.public_key"
            f" from ingest_chunk x {_JOINED} order by i.id, x.stream, x.first"
        ):
            here = (name, inc, stream, first)
            piece = next(one for one in s.truth.pieces[here] if one.digest == digest)
            if not before:
                if not old:
                    raise ViolationError(f"I-14 {here} was stored without its place in the chain")
                known = end = None
                continue
            if link != follow(before, digest) or link != piece.link:
                raise ViolationError(f"I-14 the chain does not hold at {here}")
            if end == (inc, stream, first - 1) and before != known:
                raise ViolationError(f"I-14 {here} does not follow the chunk before it")
            known, end = link, (inc, stream, first + count - 1)
            if sample and signature and key:
                sample -= 1
                said = statement(name, (inc, stream), first + count - 1, link)
                if not genuine(bytes.fromhex(key), said, signature):
                    raise ViolationError(f"I-15 the gateway did not sign {here}")
        self._witnesses()

    def _witnesses(self) -> None:
        """What the cloud countersigned is what the gateway committed, on both sides."""
        s = self._s
        public = signer("cloud").public_key
        sample = SIGNATURES
        for box in s.boxes:
            if box.gone:
                continue
            aside = {bytes(mark) for (mark,) in box.disk.execute("SELECT digest FROM aside")}
            links = {(p.inc, p.stream, p.last): p.link for p in box.read.pieces if p.digest not in aside}
            for inc, stream, seq, link, at, signature in box.disk.execute(
                "SELECT inc, stream, seq, link, at, signature FROM witness"
            ):
                if (inc, stream, seq) in links and links[inc, stream, seq].hex() != link:
                    raise ViolationError(
                        f"I-15 {box.name} has a countersignature for another chain: {inc[:6]}/{stream}/{seq}"
                    )
                if sample:
                    sample -= 1
                    said = statement(str(box.address), (inc, stream), seq, bytes.fromhex(link), at)
                    if not genuine(public, said, bytes.fromhex(signature)):
                        raise ViolationError(
                            f"I-15 {box.name} keeps a countersignature that is none: {inc[:6]}/{stream}/{seq}"
                        )

    # --- sums ---

    def sums(self) -> None:
        """What is added up as rows come in equals what the rows add up to."""
        # What is dated by a clock that was never set is counted when it is dated anew.
        dated = UNSET_BEFORE_NS // 60_000_000_000 + 1
        kept = self._s.cloud.rows(
            "select minute, tag, good, bad, total from tag_minute where minute>=? order by minute, tag", (dated,)
        )
        made = self._s.cloud.rows(
            "select source_time/60000000000, tag, count(*), 0, sum(value) from reading where source_time>=?"
            " group by 1, 2 order by 1, 2",
            (dated * 60_000_000_000,),
        )
        if json.dumps(kept) != json.dumps(made):
            raise ViolationError("I-2 the sums of readings are not those of their rows")


_NAMED: Final = "g.tenant||'/'||g.site||'/'||g.name, i.inc"
_JOINED: Final = "join incarnation i on i.id=x.inc join gateway g on g.id=i.gateway"
