"""The cloud's side of the protocol, without I/O: who may speak, what comes next, what is known, what is lost.

Session of one incarnation of a gateway
  NONE        hello → challenge(nonce)                                   → CHALLENGED
  CHALLENGED  hello → a new nonce; resume with the newest nonce          → ACTIVE
  ACTIVE      batch, heartbeat with the active nonce are taken; with another: stale → the gateway says hello again
Sessions live in memory only: a new process knows none, and every gateway resumes, so that no receipt of before counts.

Order within one stream of one incarnation: records are taken strictly in sequence. A chunk that begins right after
the watermark is new; one that lies at or below it is known; one that begins beyond is early, and the receipt's
watermark tells the gateway where to begin again. Declared losses carry the watermark over what will never come.

Late beats lost: a record that comes after it was declared lost becomes a row and the loss shrinks (`regain`); this
happens only at or below the watermark, where every record is one or the other. Above it the order rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from sync.chunk import MAX_RECORDS
from sync.frames import (
    PROTOCOLS,
    Batch,
    Challenge,
    Hello,
    Incarnation,
    Loss,
    Range,
    Receipt,
    Rejection,
    Resume,
    Stale,
    Watermark,
    Witness,
)

MAX_SEQUENCE = 2**62


class HeaderError(ValueError):
    """A sealed frame whose numbers cannot be: a fault of the gateway's program. Count it; nothing is stored."""


class Place(Enum):
    """Where a chunk stands against what is stored."""

    NEXT = auto()
    KNOWN = auto()
    EARLY = auto()
    LATE = auto()
    """Sent on request, and all of it at or below the watermark: `regain` tells which of it was lost."""
    ASTRIDE = auto()
    """Part of it is known and part is not: no gateway of ours sends that."""


@dataclass(slots=True)
class Position:
    """How far one stream of one incarnation is."""

    stored: int = 0
    """Everything up to here is a row or a declared loss."""
    last: int = 0
    """Highest sequence number ever heard of."""
    ahead: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Declared losses beyond `stored`, in order, apart from each other."""

    def heard(self, last: int) -> None:
        """Note the highest number a frame names."""
        self.last = max(self.last, last)

    def place(self, first: int, count: int, *, again: bool = False) -> Place:
        """Tell where records [first, first + count) stand; `again`: they were sent because we asked."""
        end = first + count - 1
        if end <= self.stored:
            return Place.LATE if again else Place.KNOWN
        if first <= self.stored or any(a <= end and first <= b for a, b in self.ahead):
            # Never ASTRIDE on request: that is rejected, and what we asked for would be lost by our asking.
            return Place.EARLY if again else Place.ASTRIDE
        return Place.NEXT if first == self.stored + 1 else Place.EARLY

    def took(self, end: int) -> None:
        """Note that everything up to `end` is a row now."""
        self.stored = max(self.stored, end)
        self.last = max(self.last, end)
        self._advance()

    def lose(self, losses: Sequence[Loss]) -> list[Loss]:
        """Declare losses; gives the parts that are news: neither stored nor lost before. The watermark moves over them."""
        news: list[Loss] = []
        for loss in losses:
            self.heard(loss.last)
            for first, last in self._open(loss.first, loss.last):
                news.append(Loss(first, last, loss.reason, loss.t0, loss.t1))
                self.ahead.append((first, last))
        self.ahead.sort()
        self._advance()
        return news

    def gone(self, losses: Sequence[Loss]) -> list[Loss]:
        """Take what an answer to our asking says is not there any more; as `lose`, but it makes nothing known to exist.

        The gateway may have forgotten the incarnation and just repeats our range: that is no proof of such records.
        """
        known = [Loss(one.first, min(one.last, self.last), one.reason, one.t0, one.t1) for one in losses]
        return self.lose(known)

    def unaccounted(self, held: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Give the ranges up to `last` that are neither stored, nor lost, nor in `held`."""
        found: list[tuple[int, int]] = []
        for first, last in self._open(1, self.last):
            at = first
            for a, b in sorted(held):
                if b < at or a > last:
                    continue
                if a > at:
                    found.append((at, a - 1))
                at = max(at, b + 1)
            if at <= last:
                found.append((at, last))
        return found

    def _open(self, first: int, last: int) -> list[tuple[int, int]]:
        """Give the parts of [first, last] that are neither stored nor declared lost."""
        parts: list[tuple[int, int]] = []
        at = max(first, self.stored + 1)
        for a, b in self.ahead:
            if b < at or a > last:
                continue
            if a > at:
                parts.append((at, a - 1))
            at = b + 1
        if at <= last:
            parts.append((at, last))
        return parts

    def _advance(self) -> None:
        while self.ahead and self.ahead[0][0] <= self.stored + 1:
            self.stored = max(self.stored, self.ahead.pop(0)[1])


def rollback(incarnation: Incarnation, stream: int, position: Position) -> list[Loss]:
    """Give what a closed incarnation lost silently: known to exist, but neither stored, declared nor held any more.

    A gateway whose disk was restored from a backup names an earlier `last` than we have heard of; the rest is this.
    """
    holdings = incarnation.streams.get(str(stream))
    held = holdings.held if holdings is not None else []
    return [Loss(a, b, "rollback") for a, b in position.unaccounted(held)]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A declared loss of which something came after all."""

    loss: Loss
    """As it was."""
    rest: list[Loss]
    """What is still lost of it; the same reason and times."""


def regain(first: int, count: int, losses: Sequence[Loss]) -> tuple[list[Range], list[Shrunk]]:
    """Give which of the records [first, first + count) become rows now, and what that leaves of the losses.

    losses: those declared in this lane that may touch them, in any order, disjoint. The count of records in the first
    list is what `corrected` rises by. Records of the chunk that were never lost are rows already: leave them be.
    """
    end = first + count - 1
    rows: list[Range] = []
    shrunk: list[Shrunk] = []
    for loss in sorted(losses, key=lambda loss: loss.first):
        a, b = max(first, loss.first), min(end, loss.last)
        if a > b:
            continue
        rows.append((a, b))
        before = Loss(loss.first, a - 1, loss.reason, loss.t0, loss.t1)
        after = Loss(b + 1, loss.last, loss.reason, loss.t0, loss.t1)
        shrunk.append(Shrunk(loss, [part for part in (before, after) if part.first <= part.last]))
    return rows, shrunk


def to_ask_for(held: Sequence[Range], losses: Sequence[Loss]) -> list[Range]:
    """Give the ranges to want from a gateway: declared lost here, and held there after all."""
    return sorted(
        (max(a, loss.first), min(b, loss.last))
        for loss in losses
        for a, b in held
        if max(a, loss.first) <= min(b, loss.last)
    )


class Session:
    """The session of one incarnation of a gateway; two boxes with one identity have one each."""

    def __init__(self) -> None:
        self._offered: str | None = None
        self._active: str | None = None
        self._number = 0
        self.protocol = min(PROTOCOLS)
        """What both speak: a gateway of protocol 1 cannot read `Wanted` and `Reincarnate`, and takes a frame it cannot
        read for a foreign one."""
        self.software = ""
        """What the newest hello said that the gateway runs."""

    @property
    def active(self) -> str | None:
        """The nonce that frames must carry, None without a session."""
        return self._active

    @property
    def resuming(self) -> bool:
        """A challenge is out and not answered."""
        return self._offered is not None

    def hello(
        self, frame: Hello, *, nonce: str, wall: int, delay_ms: int = 0, public_key: str = ""
    ) -> Challenge | Stale:
        """Answer a hello with a nonce (32 random hex digits); that of an earlier, unanswered one is void.

        wall: the cloud's clock, ns. public_key: what it countersigns with, hex.
        """
        common = set(PROTOCOLS) & set(frame.protocols)
        if not common:
            why = f"the cloud speaks protocols {PROTOCOLS}, the gateway {sorted(frame.protocols)}; update one of them"
            return Stale(why=why, nonce=frame.session)
        self._offered, self.software, self.protocol = nonce, frame.software, max(common)
        return Challenge(
            session=frame.session,
            nonce=nonce,
            protocol=self.protocol,
            wall=wall,
            delay_ms=delay_ms,
            public_key=public_key,
        )

    def resume(self, frame: Resume) -> bool:
        """Tell whether this answers the newest challenge; then the session is the gateway's."""
        # An older one was said before whatever made the gateway say hello again: what it holds may not be true any more.
        if self._offered is None or frame.nonce != self._offered:
            return False
        self._active, self._offered, self._number = self._offered, None, 0
        return True

    def takes(self, nonce: str) -> bool:
        """Tell whether a frame belongs to the session."""
        return self._active is not None and nonce == self._active

    def receipt(
        self,
        watermarks: list[Watermark],
        rejected: list[Rejection],
        *,
        window: int | None = None,
        witnessed: Sequence[Witness] = (),
    ) -> Receipt | None:
        """Give the next receipt; None when the session ended meanwhile.

        Name only lanes of which something came or changed: a watermark that stands still tells the gateway that
        something before what it sent is missing.
        """
        if self._active is None:
            return None
        self._number += 1
        return Receipt(
            nonce=self._active,
            number=self._number,
            watermarks=watermarks,
            rejected=rejected,
            window=window,
            witnessed=list(witnessed),
        )


def check_batch(frame: Batch) -> None:
    """Refuse a batch whose numbers cannot be; raises HeaderError."""
    end = frame.first + frame.count - 1
    if not 0 <= frame.count <= MAX_RECORDS:
        raise HeaderError(f"a chunk of {frame.count} records; at most {MAX_RECORDS}")
    if frame.count and not (frame.first >= 1 and end <= frame.last):
        raise HeaderError(f"records {frame.first} to {end} of {frame.last}")
    if not 0 <= frame.last < MAX_SEQUENCE:
        raise HeaderError(f"sequence number {frame.last}")
    _check_stream(frame.stream)
    _check_losses(frame.losses, frame.last)


def check_incarnations(incarnations: Sequence[Incarnation]) -> None:
    """Refuse holdings whose numbers cannot be; raises HeaderError."""
    for one in incarnations:
        if len(one.inc) != 32 or not 0 <= one.ord < MAX_SEQUENCE:
            raise HeaderError(f"incarnation {one.inc!r} with order {one.ord}")
        for stream, holdings in one.streams.items():
            if not stream.isdecimal():
                raise HeaderError(f"stream {stream!r}")
            _check_stream(int(stream))
            if not 0 <= holdings.last < MAX_SEQUENCE:
                raise HeaderError(f"sequence number {holdings.last}")
            for a, b in holdings.held:
                if not 1 <= a <= b <= holdings.last:
                    raise HeaderError(f"holds {a} to {b} of {holdings.last}")
            _check_losses(holdings.losses, holdings.last)


def _check_stream(stream: int) -> None:
    if not 1 <= stream <= 255:
        raise HeaderError(f"stream {stream}")


def _check_losses(losses: Sequence[Loss], last: int) -> None:
    for loss in losses:
        if not 1 <= loss.first <= loss.last <= last:
            raise HeaderError(f"lost {loss.first} to {loss.last} of {last}")
        if not all(-(2**63) <= t < 2**63 for t in (loss.t0, loss.t1)):
            raise HeaderError(f"loss between {loss.t0} and {loss.t1}")
