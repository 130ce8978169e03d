"""Frames: what one MQTT message holds, for control and for chunks, both sealed with the gateway's key.

Wire form: magic `TFW1`, u32 header length, header (JSON, one of the types below), body (a chunk exactly as stored at
commit; empty for control), and the HMAC-SHA256 of all before it. The seal lets the cloud know its gateway even on a
broker that cannot prove one (the demo's embedded broker has neither certificates nor access lists).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final

import msgspec

PROTOCOL: Final = 1
MAGIC: Final = b"TFW1"
MAX_FRAME_BYTES: Final = 300 * 1024
_SEAL: Final = 32

Range = tuple[int, int]
"""[first, last] sequence numbers, both included."""


class FrameError(ValueError):
    """A message that is no frame of ours, is damaged, or is not sealed with the key of the gateway it claims."""


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """Records that will never arrive, and why; itself stored once. Times in ns span the lost records where known."""

    first: int
    last: int
    reason: str
    """shed, quarantine, rollback, rejected, retention."""
    t0: int = 0
    t1: int = 0


class StreamHoldings(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway knows of one stream of one incarnation."""

    last: int
    """Highest sequence number ever assigned; 0 for none."""
    held: list[Range] = []
    losses: list[Loss] = []


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
    protocols: tuple[int, ...] = (PROTOCOL,)
    software: str = ""
    wall: int = 0


class Challenge(msgspec.Struct, frozen=True, kw_only=True, tag="challenge"):
    """Cloud → gateway: answer with this nonce, so that nothing from before counts."""

    session: str
    nonce: str
    """32 hex digits."""
    protocol: int
    wall: int


class Resume(msgspec.Struct, frozen=True, kw_only=True, tag="resume"):
    """Gateway → cloud: what I hold, every incarnation of mine; oldest first, the current one last."""

    nonce: str
    incarnations: list[Incarnation]


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """How far the cloud is in one stream of one incarnation."""

    inc: str
    stream: int
    stored: int
    """Everything up to here is committed or declared lost."""
    safe: int
    """… and is also in the cloud's last verified backup."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """Cloud → gateway: the session stands; go on after these watermarks. A stream not named starts at 0."""

    nonce: str
    watermarks: list[Watermark]
    window: int = 4
    """Chunks in flight."""


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


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk the cloud will never take; the gateway keeps it aside, declares it lost and goes on."""

    inc: str
    stream: int
    first: int
    count: int
    why: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """Cloud → gateway, after its commit. `number` counts up within the session; an older one changes nothing."""

    nonce: str
    number: int
    watermarks: list[Watermark]
    rejected: list[Rejection] = []


class Stale(msgspec.Struct, frozen=True, kw_only=True, tag="stale"):
    """Cloud → gateway: I have no such session (any more); begin again with Hello."""

    why: str


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
DownFrame = Challenge | Welcome | Receipt | Stale

_up: msgspec.json.Decoder[UpFrame] = msgspec.json.Decoder(UpFrame)
_down: msgspec.json.Decoder[DownFrame] = msgspec.json.Decoder(DownFrame)
_encoder = msgspec.json.Encoder()


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
        raise FrameError(f"unknown header: {error}") from error


def open_down(message: bytes, key: bytes) -> DownFrame:
    """Open a message of the cloud. Raises FrameError."""
    head, _ = _open(message, key)
    try:
        return _down.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"unknown header: {error}") from error
