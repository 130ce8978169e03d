"""Says whether a log is what was written, and names the first row that is not. Pure; each side feeds it its own rows.

A lane is one stream of one incarnation. Walked in the order given, each chunk must begin where the one before ended
(or after a declared loss), name the link before it, have the digest of its body and the link of both (`sync.chain`),
and carry the gateway's signature; each countersignature of the cloud must fit the link at its place; each audit record
must name the hash of the one before, through all incarnations. Where the cloud keeps records as rows, every column of
a row must say what the signed body says.

What is not found: a gateway that lied from the beginning, and a log cut off above the newest countersignature.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sync.chain import follow, genesis, statement
from sync.chunk import ChunkError, DecodedReadings, decode_raw, digest
from sync.facts import Audited, Stream
from sync.signing import genuine
from sync.testimony import Chunk, Countersigned, Lane, Row, columns_of

HASH: Final = 32
_plain: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A row that is not what was written."""

    lane: str
    """tenant/site/gateway/ord/stream."""
    inc: str
    seq: int
    last: int
    """End of the range where it is not one record, else `seq`."""
    field: str
    """Which part of the row: missing, first, count, before, digest, body, link, signature, countersignature, previous,
    loss, or a column's name."""
    why: str

    def __str__(self) -> str:
        upto = f"-{self.last}" if self.last > self.seq else ""
        return f"{self.lane}/{self.seq}{upto}: {self.field}: {self.why}"


@dataclass(slots=True, kw_only=True)
class Report:
    """What was looked at, and what was found."""

    lanes: int = 0
    chunks: int = 0
    records: int = 0
    signed: int = 0
    """Chunks with a good signature of the gateway."""
    countersigned: int = 0
    """Good countersignatures of the cloud."""
    unchained: int = 0
    """Chunks of gateways older than the chain; only their audit records' own chain speaks for them."""
    holes: list[str] = field(default_factory=list[str])
    """Declared losses within the log, in words."""
    notes: list[str] = field(default_factory=list[str])
    bad: list[Bad] = field(default_factory=list[Bad])
    """The first bad row of every lane that has one, in the order of the lanes."""


class _BadRowError(Exception):
    def __init__(self, seq: int, field: str, why: str, last: int = 0) -> None:
        super().__init__(why)
        self.seq, self.last, self.field, self.why = seq, max(seq, last), field, why


def verify(lanes: Iterable[Lane], *, cloud_keys: Sequence[bytes], whole: bool) -> Report:
    """Walk the lanes, those of one gateway together and by `ord`.

    cloud_keys: the public keys whose countersignatures count; with none, countersignatures are only counted as such.
    whole: whether the log must begin with the gateway's first record (the cloud's does; a gateway forgets old ones).
    """
    report = Report()
    heads: dict[str, _Heads] = {}
    for lane in lanes:
        known = heads.setdefault(lane.address, _Heads(whole=whole))
        walk = _Walk(lane, report, known, cloud_keys)
        report.lanes += 1
        try:
            walk.run()
        except _BadRowError as bad:
            walk.faults.append(bad)
        if walk.faults:
            if lane.stream == Stream.AUDIT:
                known.broken.add(lane.inc)
            bad = min(walk.faults, key=lambda fault: fault.seq)
            report.bad.append(
                Bad(lane=lane.name, inc=lane.inc, seq=bad.seq, last=bad.last, field=bad.field, why=bad.why)
            )
    return report


@dataclass(slots=True)
class _Heads:
    """The hashes of a gateway's audit records, by incarnation: a later one continues from one of them."""

    whole: bool
    hashes: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    broken: set[str] = field(default_factory=set[str])
    """Incarnations whose end is not known: bad, lost or cut off."""

    def last(self, inc: str) -> str | None:
        known = self.hashes.get(inc)
        return bytes(known[-HASH:]).hex() if known else None

    def finds(self, hexadecimal: str) -> bool:
        try:
            wanted = bytes.fromhex(hexadecimal)
        except ValueError:
            return False
        if len(wanted) != HASH:
            return False
        for known in self.hashes.values():
            place = known.find(wanted)
            while place >= 0 and place % HASH:
                place = known.find(wanted, place + 1)
            if place >= 0:
                return True
        return False


class _Walk:
    """One lane, from its first chunk to its end."""

    def __init__(self, lane: Lane, report: Report, heads: _Heads, cloud_keys: Sequence[bytes]) -> None:
        self._lane = lane
        self._report = report
        self._heads = heads
        self._cloud_keys = cloud_keys
        self._next = 1
        self._link: bytes | None = genesis(lane.inc, lane.stream)
        """The chain before the next chunk; None after a hole."""
        self._head: str | None = None
        """Hash of the audit record before; None where it is not known."""
        self._before: Chunk | None = None
        self._chained = self._signed = self._begun = False
        self._losses = sorted(lane.losses)
        self._rows: Iterator[Row] | None = iter(lane.rows) if lane.rows is not None else None
        self._row: Row | None = next(self._rows, None) if self._rows is not None else None
        self._vouched = 0
        """The newest record below which a countersignature fits."""
        self.faults: list[_BadRowError] = []

    def run(self) -> None:
        lane = self._lane
        points = self._countersignatures()
        place = 0
        self._head = self._first_head()
        for chunk, after in itertools.pairwise(itertools.chain(lane.chunks, (None,))):
            assert chunk is not None  # noqa: S101 - None stands at the end
            self._reach(chunk.first)
            if lane.last is not None and chunk.end > lane.last:
                raise _BadRowError(chunk.first, "first", f"lies beyond {lane.last}, the last record there should be")
            self._links(chunk, self._onward(chunk, after))
            self._records(chunk)
            self._report.chunks += 1
            self._report.records += chunk.count
            self._next = chunk.end + 1
            while place < len(points) and points[place].seq <= chunk.end:
                self._compare(points[place], chunk)
                place += 1
        if lane.last is not None and self._next <= lane.last:
            self._reach(lane.last + 1)
        if lane.top is not None and self._link not in {None, lane.top}:
            raise self._broken(self._before, "is not what the lane's own counters say its link is")
        for point in points[place:]:
            if point.seq >= self._next:
                why = f"cut off: the cloud countersigned this stream up to {point.seq}"
                self._reach(point.seq + 1, why)
        if self._row is not None:
            raise _BadRowError(self._row.seq, "seq", "a record that no chunk holds")
        if lane.stream == Stream.AUDIT and (lane.more or self._head is None):
            self._heads.broken.add(lane.inc)

    # --- position ---

    def _reach(self, first: int, why: str = "neither there nor declared lost") -> None:
        """Go from the end of the last chunk to the begin of the next: only what is forgotten or lost lies between."""
        lane = self._lane
        if first < self._next:
            raise _BadRowError(first, "first", f"lies before {self._next}: this number was there already")
        if self._next <= lane.floor and first > self._next:
            forgotten = min(first - 1, lane.floor)
            if (self._begun or self._heads.hashes) and lane.stream == Stream.AUDIT:  # the oldest go first
                why = f"missing below {lane.floor}, although older ones are there"
                raise _BadRowError(self._next, "missing", why, forgotten)
            if lane.stream == Stream.AUDIT:
                self._report.notes.append(f"{lane.name}: kept from {forgotten + 1} on")
            self._next = forgotten + 1
            self._link = self._head = None
        while self._next < first:
            loss = next((one for one in self._losses if one[0] <= self._next <= one[1]), None)
            if loss is None:
                end = min([one[0] - 1 for one in self._losses if one[0] > self._next] + [first - 1])
                raise _BadRowError(self._next, "missing", why, end)
            end = min(loss[1], first - 1)
            upto = f"-{end}" if end > self._next else ""
            self._report.holes.append(f"{lane.name}/{self._next}{upto}: declared lost: {loss[2]}")
            self._next = end + 1
            self._link = self._head = None

    # --- the chain of chunks ---

    def _onward(self, chunk: Chunk, after: Chunk | None) -> bytes | None:
        """Give the chunk's link as what follows it has it; None where nothing says so."""
        if after is not None:
            return after.before if after.first == chunk.end + 1 else None
        return self._lane.top if chunk.end == self._lane.last else None

    def _broken(self, chunk: Chunk | None, why: str) -> _BadRowError:
        if chunk is None:
            return _BadRowError(self._next, "link", why)
        return _BadRowError(chunk.first, "digest" if chunk.link is None else "link", why, chunk.end)

    def _links(self, chunk: Chunk, onward: bytes | None) -> None:
        """Check a chunk against the chain, and name the part that does not fit."""
        first, before = chunk.first, self._before
        if chunk.count < 1:
            raise _BadRowError(first, "count", f"a chunk of {chunk.count} records")
        self._begun = True
        found = digest(chunk.body) if chunk.body is not None else chunk.digest
        if chunk.before is None:
            if self._chained or chunk.link is not None or chunk.signature is not None:
                raise _BadRowError(first, "before", "is not there")
            if found != chunk.digest:
                raise _BadRowError(first, "body", "does not have the digest written beside it", chunk.end)
            self._report.unchained += 1
            self._link = None
            return
        self._chained = True
        link = chunk.link if chunk.link is not None else onward
        if found != chunk.digest:
            wrong = "digest" if link == follow(chunk.before, found) else "body"
            raise _BadRowError(first, wrong, "body and digest do not fit each other", chunk.end)
        made = follow(chunk.before, chunk.digest)
        if self._link is not None and chunk.before != self._link:
            if before is not None and before.link is None and link == made:
                raise self._broken(before, "is not what the next chunk was linked to")
            raise _BadRowError(first, "before", "is not the link of the chunk before it", chunk.end)
        if chunk.link is not None and chunk.link != made:
            wrong = "link" if chunk.body is not None or onward == made else "digest"
            raise _BadRowError(
                first, wrong, "does not fit: a link is the hash of the one before and the digest", chunk.end
            )
        self._link, self._before = made, chunk
        self._signature(chunk, made)

    def _signature(self, chunk: Chunk, link: bytes) -> None:
        lane = self._lane
        if chunk.signature is None:
            if self._signed:
                raise _BadRowError(chunk.first, "signature", "is not there, although earlier ones are", chunk.end)
            return
        self._signed = True
        if lane.gateway_key is None:
            return
        said = statement(lane.address, (lane.inc, lane.stream), chunk.end, link)
        if not genuine(lane.gateway_key, said, chunk.signature):
            why = "is not the gateway's under these numbers and this link"
            raise _BadRowError(chunk.first, "signature", why, chunk.end)
        self._report.signed += 1

    def _countersignatures(self) -> list[Countersigned]:
        """Give those that are the cloud's, in order; the others are faults of their own."""
        lane, good = self._lane, list[Countersigned]()
        for one in lane.countersigned:
            said = statement(lane.address, (lane.inc, lane.stream), one.seq, one.link, one.at)
            if self._cloud_keys and not any(genuine(key, said, one.signature) for key in self._cloud_keys):
                self.faults.append(_BadRowError(one.seq, "countersignature", "is not the cloud's under what it says"))
            else:
                good.append(one)
        return sorted(good, key=lambda one: one.seq)

    def _compare(self, point: Countersigned, chunk: Chunk) -> None:
        if point.seq < chunk.first:  # within what is lost or kept no longer
            return
        if point.seq != chunk.end or self._link not in {None, point.link}:
            why = f"what the cloud countersigned up to {point.seq} was something else"
            raise _BadRowError(max(self._vouched + 1, self._lane.floor + 1), "link", why, point.seq)
        self._vouched = point.seq
        self._report.countersigned += 1

    # --- the chain of audit records, and the rows that repeat them ---

    def _first_head(self) -> str | None:
        """Give the hash that the lane's first audit record must name; None where nobody knows."""
        lane, heads = self._lane, self._heads
        if lane.stream != Stream.AUDIT:
            return None
        if not lane.previous:
            return "" if heads.whole and not heads.hashes else None
        return None if lane.previous in heads.broken else heads.last(lane.previous)

    def _records(self, chunk: Chunk) -> None:
        """Take a chunk's records from its body, from the rows, or from both; both must say the same."""
        raws: list[bytes] | None = None
        if self._lane.stream == Stream.AUDIT and chunk.body is not None:
            try:
                decoded = decode_raw(chunk.body, chunk.count)
            except ChunkError as error:
                raise _BadRowError(chunk.first, "count", str(error), chunk.end) from error
            if isinstance(decoded, DecodedReadings):
                raise _BadRowError(chunk.first, "body", "readings on the audit stream", chunk.end)
            raws = [raw for _, raw in decoded]
        if self._rows is not None:
            rows = [self._take(seq) for seq in range(chunk.first, chunk.end + 1)]
            for place, row in enumerate(rows):
                self._same(row, raws[place] if raws is not None else row.raw)
            raws = [row.raw for row in rows]
        if self._lane.stream == Stream.AUDIT:
            for place, raw in enumerate(raws or []):
                self._audited(chunk.first + place, raw)

    def _take(self, seq: int) -> Row:
        row = self._row
        if row is not None and row.seq < seq:
            raise _BadRowError(row.seq, "seq", "a record that no chunk holds")
        if row is None or row.seq > seq:
            raise _BadRowError(seq, "missing", "its chunk was stored, its row is not there")
        assert self._rows is not None  # noqa: S101 - there was a row
        self._row = next(self._rows, None)
        return row

    def _same(self, row: Row, raw: bytes) -> None:
        if row.raw != raw:
            raise _BadRowError(row.seq, "body", "is not what the chunk holds")
        try:
            said = _plain.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _BadRowError(row.seq, "body", f"is no JSON object: {error}") from error
        tenant, site, gateway = self._lane.address.split("/", 2)
        expected = columns_of(said) | {"tenant": tenant, "site": site, "gateway": gateway}
        for name, value in (*row.columns.items(), *row.index.items()):
            if name in expected and expected[name] != value:
                raise _BadRowError(row.seq, name, f"says {value!r}, the record says {expected[name]!r}")

    def _audited(self, seq: int, raw: bytes) -> None:
        """Check one audit record against the one before it."""
        lane, heads = self._lane, self._heads
        try:
            fact = msgspec.json.decode(raw, type=Audited)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # of a kind that this version does not chain
        if lane.inc not in heads.hashes and fact.action == "store.turned" and _aside(fact):
            self._report.notes.append(f"{lane.name}: a copy of the box used the numbers before; its own were put aside")
        elif self._head is None:
            self._unknown_head(seq, fact.previous)
        elif fact.previous != self._head:
            if lane.inc in heads.hashes or not heads.finds(fact.previous):
                raise _BadRowError(seq, "previous", "does not name the audit record before it")
            self._report.notes.append(f"{lane.name}: continues from an earlier record: the store was restored here")
        mark = hashlib.sha256(raw).digest()
        heads.hashes.setdefault(lane.inc, bytearray()).extend(mark)
        self._head = mark.hex()

    def _unknown_head(self, seq: int, previous: str) -> None:
        """Take the first record after a hole, or of an incarnation whose predecessor said nothing."""
        lane, heads = self._lane, self._heads
        begins = lane.inc not in heads.hashes and lane.floor == 0 and not self._losses
        if begins and heads.whole and not heads.broken and previous and not heads.finds(previous):
            raise _BadRowError(seq, "previous", "names an audit record that is not in the log")


def _aside(fact: Audited) -> bool:
    """Tell whether the audit records before this one were put aside: it names the last of them, which is in no log."""
    aside = fact.detail.get("aside")
    return isinstance(aside, dict) and "audit" in aside
