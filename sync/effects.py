"""What a session asks its gateway to do (`sync.cursor` decides, the uplink and the simulator carry out), and its states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from sync.frames import Batch, Hello, Rejection, Resume, Watermark, Witness


class State(Enum):
    """Where the session stands."""

    OFFLINE = "offline"
    HELLO_SENT = "waiting for the cloud"
    ADMITTED = "waiting for its turn"
    RESUME_SENT = "resuming"
    TURNING = "beginning anew"
    STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class Say:
    """Send a control frame."""

    frame: Hello | Resume


@dataclass(frozen=True, slots=True)
class AskHoldings:
    """Ask the store for its holdings above an incarnation's order, and the present one's; the answer: `holdings`."""

    nonce: str
    after: int = 0


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the store for the first chunk above `after`; the answer comes as `fetched`."""

    inc: str
    stream: int
    after: int


@dataclass(frozen=True, slots=True)
class FetchAgain:
    """Ask the store (outbox or ring) for the first chunk that has any of [first, last]; the answer comes as `found`."""

    inc: str
    stream: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a batch: a chunk's body, or none when only losses are told."""

    frame: Batch
    body: bytes
    link: bytes = b""
    """The chain's link of this chunk, to be signed into the frame; empty: nothing to sign."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Let the store take what the cloud has confirmed, refused and countersigned."""

    watermarks: Sequence[Watermark]
    rejected: Sequence[Rejection] = ()
    witnessed: Sequence[Witness] = ()
    """Not verified yet."""
    welcome: bool = False
    """The session's first: done before anything is fetched."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Let the store close the present incarnation and begin another; `turned` follows."""

    why: str
    forked: bool = False
    """A copy of the box uses the same numbers: what was not confirmed under them before is nobody else's, and must not be
    forgotten by a watermark that counts the copy's records."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection and make a new one."""

    why: str


Effect = Say | AskHoldings | Fetch | FetchAgain | Send | Apply | Turn | HangUp


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as the store gives it."""

    first: int
    count: int
    digest: bytes
    body: bytes
    before: bytes = b""
    """The chain's link before it."""
    link: bytes = b""
    """Its own."""


def carrying(frame: Batch, piece: Piece, *, chained: bool) -> Send:
    """Put a chunk into a frame that says everything else."""
    told = msgspec.structs.replace(
        frame,
        first=piece.first,
        count=piece.count,
        digest=piece.digest.hex(),
        before=piece.before.hex() if chained else "",
    )
    return Send(told, piece.body, piece.link if chained else b"")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the present incarnation's readings have that the cloud has not confirmed."""

    records: int = 0
    age: int = 0
    """Of the oldest, ns."""


@dataclass(slots=True)
class Counters:
    """What happened over all sessions."""

    chunks: int = 0
    records: int = 0
    bytes: int = 0
    resent: int = 0
    """Chunks sent once more."""
    again: int = 0
    """Chunks sent because the cloud asked for them."""
    receipts: int = 0
    rejected: int = 0
    ignored: int = 0
    """Frames of another session, older receipts, anything that does not belong here."""
    hellos: int = 0
    turns: int = 0
    """New incarnations within the process."""

    def count(self, frame: Batch, piece: Piece | None) -> None:
        """Count a batch that goes out."""
        self.chunks += 1
        self.again += frame.again
        if piece is not None:
            self.records += piece.count
            self.bytes += len(piece.body)
