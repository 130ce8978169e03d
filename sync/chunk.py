"""A chunk: the unit of transfer, digest and receipt. Encoded once, at commit; resent as the same bytes for ever.

The body is JSON columns under zstd level 3: the smallest of nine formats measured, and readable in a debugger. Two
shapes: `readings` (columns, for `Stream.FACT`) and `facts` (a list, for everything else).
Limits are checked before anything is decompressed: a small frame may declare an enormous content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import zstandard

from sync.facts import AnyFact, Fact
from sync.reading import Readings
from sync.timing import ClockState

MAX_RECORDS: Final = 1_000
MAX_BODY_BYTES: Final = 256 * 1024
MAX_DECODED_BYTES: Final = 4 * 1024 * 1024


class ChunkError(ValueError):
    """A body that is not a chunk: too large, damaged or of a shape nobody sends. Reject it and say so; do not retry."""


@dataclass(frozen=True, slots=True)
class UnknownFact:
    """A fact of a kind this version does not know, kept as it came."""

    raw: bytes
    """The fact's own JSON object."""
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class DecodedReadings:
    """Readings of one chunk; `tag` indexes the dictionary `dictionary` of the same stream and incarnation."""

    dictionary: str
    readings: Readings


class _Columns(msgspec.Struct, frozen=True):
    """Wire form of readings. Times are deltas to the first; status and non-numbers are sparse."""

    dictionary: str
    received: int
    tag: list[int]
    t0: int
    dt: list[int]
    """ns to the value before."""
    v: list[float | None]
    q: list[tuple[int, int]] = []
    """[position, StatusCode] where it is not good."""
    x: list[tuple[int, str | int]] = []
    s0: int | None = None
    """server time, when it differs from the source time: first value and deltas."""
    ds: list[int] = []
    historical: bool | msgspec.UnsetType = msgspec.UNSET
    """True for values from a machine's own history; not written otherwise, and unknown to older clouds."""


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    facts: list[msgspec.Raw] | None = None
    readings: _Columns | None = None
    clock: ClockState | None = None
    """The gateway's clock at the commit; chunks of older gateways have none."""


_encoder = msgspec.json.Encoder()
_compressor = zstandard.ZstdCompressor(level=3)
_body = msgspec.json.Decoder(_Body)

_fact: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyFact)


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind)


def digest(body: bytes) -> bytes:
    """Give the SHA-256 of a body as stored and sent."""
    return hashlib.sha256(body).digest()


def _deltas(column: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[int, list[int]]:
    return int(column[0]), np.diff(column, prepend=column[0]).tolist()


def encode_readings(batch: Readings, dictionary: str, clock: ClockState | None = None) -> bytes:
    """Encode 1 to MAX_RECORDS readings. NaN becomes null; numbers keep their shortest exact form."""
    t0, dt = _deltas(batch.source_time)
    same = bool(np.array_equal(batch.source_time, batch.server_time))
    s0, ds = (None, []) if same else _deltas(batch.server_time)
    values: list[float | None] = batch.value.tolist()
    for i in np.flatnonzero(~np.isfinite(batch.value)):
        values[i] = None
    doubtful = np.flatnonzero(batch.status)
    columns = _Columns(
        dictionary=dictionary,
        received=batch.received,
        tag=batch.tag.tolist(),
        t0=t0,
        dt=dt,
        v=values,
        q=[(int(i), int(batch.status[i])) for i in doubtful],
        x=sorted((batch.other or {}).items()),
        s0=s0,
        ds=ds,
        historical=batch.historical or msgspec.UNSET,
    )
    return _compressor.compress(_encoder.encode(_Body(readings=columns, clock=clock)))


def encode_facts(facts: Sequence[Fact], clock: ClockState | None = None) -> bytes:
    """Encode 1 to MAX_RECORDS facts in order."""
    body = {"facts": facts} if clock is None else {"facts": facts, "clock": clock}
    return _compressor.compress(_encoder.encode(body))


def decode(body: bytes, count: int) -> list[AnyFact | UnknownFact] | DecodedReadings:
    """Decode a body that announces `count` records. Raises ChunkError; nothing is decompressed past the limits."""
    decoded = decode_raw(body, count)
    return decoded if isinstance(decoded, DecodedReadings) else [fact for fact, _ in decoded]


def decode_raw(body: bytes, count: int) -> list[tuple[AnyFact | UnknownFact, bytes]] | DecodedReadings:
    """As `decode`, each fact with its own JSON object as it came: fields we do not know yet are still in there."""
    return decode_clocked(body, count)[0]


Decoded = list[tuple[AnyFact | UnknownFact, bytes]] | DecodedReadings


def decode_clocked(body: bytes, count: int) -> tuple[Decoded, ClockState | None]:
    """As `decode_raw`, with what the body says of its gateway's clock at the commit."""
    parsed = _parsed(_plain(body))
    if parsed.readings is not None and parsed.facts is None:
        decoded = _columns_to_readings(parsed.readings)
        found = len(decoded.readings)
    elif parsed.facts is not None and parsed.readings is None:
        decoded = [(_decode_fact(raw), bytes(raw)) for raw in parsed.facts]
        found = len(decoded)
    else:
        raise ChunkError("a body holds either readings or facts")
    if found != count:
        raise ChunkError(f"body holds {found} records, its frame says {count}")
    return decoded, parsed.clock


def raw_facts(body: bytes, containing: bytes = b"") -> list[bytes]:
    """Give the facts of a body, each as its own JSON object; none for a body of readings. Raises ChunkError.

    containing: give none where this does not stand anywhere in the body, which is known before any of it is parsed.
    """
    plain = _plain(body)
    if containing not in plain:
        return []
    return [bytes(raw) for raw in _parsed(plain).facts or []]


def _plain(body: bytes) -> bytes:
    """Decompress within the limits of the wire. Raises ChunkError."""
    if len(body) > MAX_BODY_BYTES:
        raise ChunkError(f"body of {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted")
    try:
        declared = zstandard.get_frame_parameters(body).content_size
        if declared > MAX_DECODED_BYTES:
            raise ChunkError(f"body declares {declared} bytes; at most {MAX_DECODED_BYTES} are accepted")
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_DECODED_BYTES)
    except zstandard.ZstdError as error:
        raise ChunkError(f"damaged body: {error}") from error


def _parsed(plain: bytes) -> _Body:
    try:
        return _body.decode(plain)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChunkError(f"damaged body: {error}") from error


def _decode_fact(raw: msgspec.Raw) -> AnyFact | UnknownFact:
    try:
        return _fact.decode(raw)
    except UnicodeDecodeError as error:
        raise ChunkError(f"a fact with text that is no UTF-8: {error}") from error
    except msgspec.ValidationError as error:
        try:
            kind = _kind.decode(raw).kind
        except (msgspec.MsgspecError, UnicodeDecodeError) as broken:
            raise ChunkError(f"a fact without a kind: {broken}") from broken
        if kind in KINDS:
            raise ChunkError(f"a {kind} fact is malformed: {error}") from error
        return UnknownFact(raw=bytes(raw), kind=kind)


KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in AnyFact.__args__)


def _columns_to_readings(columns: _Columns) -> DecodedReadings:
    n = len(columns.tag)
    if not (0 < n <= MAX_RECORDS) or len(columns.dt) != n or len(columns.v) != n or len(columns.ds) not in {0, n}:
        raise ChunkError(f"columns of different lengths or more than {MAX_RECORDS} readings")
    places = [i for i, _ in columns.q] + [i for i, _ in columns.x]
    if any(not 0 <= i < n for i in places):
        raise ChunkError("a sparse column names a reading that is not there")
    try:
        status = np.zeros(n, np.uint32)
        for i, code in columns.q:
            status[i] = code
        source = columns.t0 + np.cumsum(np.array(columns.dt, np.int64))
        server = source if columns.s0 is None else columns.s0 + np.cumsum(np.array(columns.ds, np.int64))
        value = np.array([np.nan if v is None else v for v in columns.v], np.float64)
        tag = np.array(columns.tag, np.int32)
    except (OverflowError, ValueError) as error:
        raise ChunkError(f"a column does not fit its type: {error}") from error
    return DecodedReadings(
        dictionary=columns.dictionary,
        readings=Readings(
            tag=tag,
            value=value,
            status=status,
            source_time=source,
            server_time=server,
            received=columns.received,
            other=dict(columns.x) or None,
            historical=columns.historical is True,
        ),
    )
