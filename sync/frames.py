"""Frames: what one MQTT message holds, for control and for chunks, both sealed with the gateway's key.

Wire form: magic `TFW1`, u32 header length, header (JSON, one of the types below), body (a chunk exactly as stored at
commit; empty for control), and the HMAC-SHA256 of all before it. The seal lets the cloud know its gateway even on a
broker that cannot prove one (the demo's embedded broker has neither certificates nor access lists).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any, Final

import msgspec

PROTOCOL: Final = 2
PROTOCOLS: Final = (1, 2)
"""What this software speaks. 2 adds the chain (`before`, `signature`, `witnessed`), `wanted` and `reincarnate`; every
field of it has a default, so that either side may be the older one."""
MAGIC: Final = b"TFW1"
MAX_FRAME_BYTES: Final = 300 * 1024
_SEAL: Final = 32

Range = tuple[int, int]
"""[first, last] sequence numbers, both included."""


class FrameError(ValueError):
    """A message that is no frame of ours, is damaged, or is not sealed with the key of the gateway it claims."""


class UnknownFrameError(FrameError):
    """Sealed with the right key, of a kind this version does not know: the other side is newer. Count it and go on."""


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """Records that will never arrive, and why; itself stored once. Times in ns span the lost records where known."""

    first: int
    last: int
    reason: str
    """shed, quarantine, rollback, rejected, retention, expired, gone."""
    t0: int = 0
    t1: int = 0


class StreamHoldings(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway knows of one stream of one incarnation."""

    last: int
    """Highest sequence number ever assigned; 0 for none."""
    held: list[Range] = []
    losses: list[Loss] = []
    link: str = ""
    """Hex link of the chain at `last`; empty from older gateways and where it is not known."""


class Incarnation(msgspec.Struct, frozen=True, kw_only=True):
    """One start of the gateway process: 128 random bits, so that a restored or cloned disk reuses no identity."""

    inc: str
    """32 hex digits."""
    ord: int
    previous: str = ""
    closed: bool
    streams: dict[str, StreamHoldings] = {}
    """Stream number as text → holdings."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Gateway → cloud: I am here; challenge me."""

    session: str
    """16 hex digits, new at every connect."""
    inc: str
    protocols: tuple[int, ...] = PROTOCOLS
    software: str = ""
    wall: int = 0
    box: str = ""
    """32 hex digits of this machine (never its serial number itself): tells two boxes with one identity apart."""
    public_key: str = ""
    """The gateway's own Ed25519 key (64 hex digits), made on the box; its signatures stand in every chunk's frame."""


class Challenge(msgspec.Struct, frozen=True, kw_only=True, tag="challenge"):
    """Cloud → gateway: answer with this nonce, so that nothing from before counts."""

    session: str
    nonce: str
    """32 hex digits."""
    protocol: int
    wall: int
    delay_ms: int = 0
    """How long to wait with the resume: a hall of gateways that comes back at once is let in one after another."""
    public_key: str = ""
    """The cloud's Ed25519 key (64 hex digits) that countersigns."""


class Resume(msgspec.Struct, frozen=True, kw_only=True, tag="resume"):
    """Gateway → cloud: what I hold, every incarnation of mine; oldest first, the current one last."""

    nonce: str
    incarnations: list[Incarnation]
    complete: bool = True
    """False: there are more incarnations than fit a frame. They are named, oldest first, in resumes that follow in this
    connection; one that is not named here is no orphan for that."""


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """How far the cloud is in one stream of one incarnation."""

    inc: str
    stream: int
    stored: int
    """Everything up to here is committed or declared lost."""
    safe: int
    """… and is also in the cloud's last verified backup."""
    link: str = ""
    """In a welcome: hex link of the chain at `stored`, where a chunk ends there. A gateway whose own is another one there
    shares its numbers with a copy of itself; told before anything is forgotten. Empty when not known."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """Cloud → gateway: the session stands; go on after these watermarks. A stream not named starts at 0."""

    nonce: str
    watermarks: list[Watermark]
    window: int = 4
    """Chunks in flight."""
    identity: str = "ok"
    """ok; conflict when another box speaks with this identity at the same time: both are heard and kept apart, and
    neither is sent commands until a person has decided."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag="batch"):
    """Gateway → cloud: one chunk (the frame's body), or only losses and the newest `last` when count is 0."""

    nonce: str
    inc: str
    stream: int
    first: int
    count: int
    last: int
    """Highest sequence number assigned in this stream so far."""
    digest: str = ""
    """Hex SHA-256 of the body."""
    losses: list[Loss] = []
    before: str = ""
    """Hex link of the stream's chain before this chunk (`sync.chain`); its own is SHA-256(before ‖ digest)."""
    signature: str = ""
    """Hex Ed25519 signature of the gateway over its own link (`sync.chain.statement`)."""
    again: bool = False
    """Sent because the cloud asked for it (`wanted`), outside the order."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk the cloud will never take; the gateway keeps it aside, declares it lost and goes on."""

    inc: str
    stream: int
    first: int
    count: int
    why: str


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """The cloud's countersignature: this is what it holds of a stream, up to and including `seq`."""

    inc: str
    stream: int
    seq: int
    link: str
    """Hex link of the chain at `seq`."""
    at: int
    """The cloud's clock, ns."""
    signature: str
    """Hex Ed25519 over `sync.chain.statement`."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """Cloud → gateway, after its commit. `number` counts up within the session; an older one changes nothing."""

    nonce: str
    number: int
    watermarks: list[Watermark]
    rejected: list[Rejection] = []
    window: int | None = None
    """Chunks in flight from now on; 0 stops the flow, None leaves it."""
    witnessed: list[Witness] = []


class Wanted(msgspec.Struct, frozen=True, kw_only=True, tag="wanted"):
    """Cloud → gateway: send these records again, as far as you have them.

    They come as batches with `again`, each answered with a receipt that names the lane. What is not there any more is
    said as lost there, with the reason `gone`. Nothing is promised: ask once more for what did not come.
    """

    nonce: str
    inc: str
    stream: int
    first: int
    last: int


class Reincarnate(msgspec.Struct, frozen=True, kw_only=True, tag="reincarnate"):
    """Cloud → gateway: another copy of you uses these numbers (a resumed memory image): go on under new ones."""

    nonce: str
    inc: str
    why: str


class Offer(msgspec.Struct, frozen=True, kw_only=True, tag="offer"):
    """Cloud → gateway: a package waits at the cloud's HTTPS address; fetch it in ranges, and keep it if it is this one."""

    nonce: str
    digest: str
    """64 hex digits, SHA-256 of the package."""
    size: int
    """Bytes."""
    path: str
    """/packages/<digest>."""
    expires: int
    """The cloud's clock, ns."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    """Cloud → gateway: a person or a job asks something of it; the gateway decides, and answers with a fact.

    Said again in every session until it is answered or over; the same id is carried out once.
    """

    nonce: str
    command: str
    """Id, 32 hex digits."""
    kind: str
    """approve, reject, act, mode, trust, model …; an unknown one is answered with why not."""
    arguments: dict[str, Any] = {}
    actor: str
    """Who asked, as the cloud knows them."""
    issued: int
    """The cloud's clock, ns."""
    expires: int
    """The cloud's clock, ns."""
    signature: str
    """Hex Ed25519 of the cloud's key under `sync.command.statement`: the seal alone would let the broker's owner order."""


class Stale(msgspec.Struct, frozen=True, kw_only=True, tag="stale"):
    """Cloud → gateway: I have no such session (any more); begin again with Hello."""

    why: str
    nonce: str = ""
    """Of the frame that is refused (a hello's session): who carries another one is not meant, for a second box with the
    same identity hears the same topic. Empty from clouds of protocol 1: everybody is meant."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Gateway → cloud every few seconds, outside the log: how much there is, and how it goes."""

    nonce: str
    inc: str
    wall: int
    holdings: list[Incarnation]
    """The current incarnation and every other one with unconfirmed records: the cloud counts from the ranges, so that
    a record which is neither stored, held nor declared lost shows as a difference."""
    waiting: int
    """Records on disk that the cloud has not confirmed, all incarnations."""
    waiting_bytes: int
    oldest_at: int | None
    """Commit time of the oldest waiting record, ns."""
    lost: int
    """Records declared lost, all incarnations."""
    produced: int
    """Records ever assigned a sequence number in this store, all incarnations."""
    disk_free_bytes: int
    autonomy_hours: float | None
    """Hours until the store's quota is full at the present rate; None when nothing is produced."""
    data_at: int | None
    """Newest source time among good readings, ns."""
    sources: dict[str, str]
    """Source → connected, connecting or down."""


UpFrame = Hello | Resume | Batch | Heartbeat
DownFrame = Challenge | Welcome | Receipt | Stale | Wanted | Reincarnate | Offer | Command

_up: msgspec.json.Decoder[UpFrame] = msgspec.json.Decoder(UpFrame)
_down: msgspec.json.Decoder[DownFrame] = msgspec.json.Decoder(DownFrame)
_encoder = msgspec.json.Encoder()


class _Type(msgspec.Struct):
    type: str


_type = msgspec.json.Decoder(_Type)
_KNOWN: Final = frozenset(str(frame.__struct_config__.tag) for frame in (*UpFrame.__args__, *DownFrame.__args__))


def seal(header: UpFrame | DownFrame, key: bytes, body: bytes = b"") -> bytes:
    """Give the message that carries this header and body."""
    head = _encoder.encode(header)
    if len(head) > MAX_FRAME_BYTES - 64:
        raise FrameError(
            f"a {type(header).__name__} header of {len(head)} bytes does not fit a frame of {MAX_FRAME_BYTES}"
        )
    plain = MAGIC + struct.pack(">I", len(head)) + head + body
    return plain + hmac.digest(key, plain, hashlib.sha256)


def _open(message: bytes, key: bytes) -> tuple[bytes, bytes]:
    if len(message) > MAX_FRAME_BYTES:
        raise FrameError(f"message of {len(message)} bytes; at most {MAX_FRAME_BYTES} are accepted")
    if len(message) < len(MAGIC) + 4 + _SEAL or not message.startswith(MAGIC):
        raise FrameError("not a Triflow frame (no TFW1 in front)")
    plain, mark = message[:-_SEAL], message[-_SEAL:]
    if not hmac.compare_digest(mark, hmac.digest(key, plain, hashlib.sha256)):
        raise FrameError("the seal does not fit: damaged on the way, or sent by someone without this gateway's key")
    (length,) = struct.unpack_from(">I", plain, len(MAGIC))
    start = len(MAGIC) + 4
    if start + length > len(plain):
        raise FrameError("the header is longer than the frame")
    return plain[start : start + length], plain[start + length :]


def open_up(message: bytes, key: bytes) -> tuple[UpFrame, bytes]:
    """Open a message of a gateway: (header, body). Raises FrameError."""
    head, body = _open(message, key)
    try:
        return _up.decode(head), body
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(head, error) from error


def _refusal(head: bytes, error: Exception) -> FrameError:
    """Tell a header of a newer version from one that nobody sends."""
    try:
        kind = _type.decode(head).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return FrameError(f"unknown header: {error}")
    if kind in _KNOWN:  # ours, but malformed or for the other direction
        return FrameError(f"unknown header: {error}")
    return UnknownFrameError(f"a frame of the kind {kind[:40]!r}, which this version does not know")


def open_down(message: bytes, key: bytes) -> DownFrame:
    """Open a message of the cloud. Raises FrameError."""
    head, _ = _open(message, key)
    try:
        return _down.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(head, error) from error
