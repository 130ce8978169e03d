"""From what callers commit to chunk bodies, pure: merged per stream, in order, cut to the limits of the wire."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from sync import chunk
from sync.fact import MAX_FACT_BYTES
from sync.facts import (
    STREAM_OF,
    AlarmChanged,
    AnyFact,
    Audited,
    Fact,
    Judged,
    StateChanged,
    Stream,
    TagDictionary,
)
from sync.judgment import (
    ActionDecided,
    ActionEnded,
    ApprovalAnswered,
    CommandAnswered,
    DriftMeasured,
    FeedbackGiven,
    ModeChanged,
    ModelChanged,
    TrustChanged,
)
from sync.reading import Readings, concatenate
from sync.timing import ClockState

log = logging.getLogger(__name__)

MAX_PLAIN_BYTES: Final = MAX_FACT_BYTES
"""Of one chunk of facts before compression: one fact may fill it."""
MAX_TEXT_BYTES: Final = 64 * 1024
BAD_ENCODING_LIMITS_EXCEEDED: Final = 0x8008_0000
"""Status of a text too long for the wire: the value is dropped, and says so."""
SHOWN: Final = (
    StateChanged,
    Judged,
    AlarmChanged,
    FeedbackGiven,
    ActionDecided,
    ApprovalAnswered,
    ActionEnded,
    TrustChanged,
    ModeChanged,
    ModelChanged,
    DriftMeasured,
    CommandAnswered,
)
"""Kinds that the gateway's own page lists."""

_encode = msgspec.json.Encoder().encode


class CommitError(ValueError):
    """What was handed to `commit` cannot be recorded: a bug of the caller; nothing of the call is on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    """A chunk without its place."""

    stream: Stream
    count: int
    body: bytes
    digest: bytes
    t0: int
    t1: int
    keep: bool = False


@dataclass(slots=True)
class Request:
    """One call of `commit`, encoded as far as it can be in the caller's place: its mistakes are its own."""

    facts: list[tuple[Stream, int, bytes | Audited]]
    """(stream, at, JSON); an audit record waits for its place in the chain."""
    readings: list[Readings]
    dictionary: TagDictionary | None
    described: NewChunk | None
    """The dictionary's chunk, made by the writer."""
    checkpoints: Mapping[str, bytes]
    shown: list[tuple[str, bytes]]
    urgent: bool
    """Audit and event records do not wait for company."""
    records: int


def taken(size: int) -> int:
    """Give what a body of that size takes in the file, roughly: a large one leaves half a page empty on average."""
    return size + (256 if size < 1_000 else 2_048)


@dataclass(slots=True)
class Plan:
    """What one transaction writes."""

    chunks: list[NewChunk] = field(default_factory=list[NewChunk])
    """In order within each stream."""
    checkpoints: dict[str, bytes] = field(default_factory=dict[str, bytes])
    shown: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    audit_head: str = ""
    dictionary: str | None = None
    described: NewChunk | None = None
    """The chunk of that dictionary, where it is among these."""
    clock: ClockState | None = None
    """Said with every chunk."""
    ends_hour: bool = False
    """Whether a tally is among these: the hour that ran is over."""

    @property
    def bytes(self) -> int:
        """What it will take in the file, roughly: a large body leaves half a page empty on average."""
        bodies = (len(new.body) for new in self.chunks)
        return sum(map(taken, bodies)) + sum(map(len, self.checkpoints.values()))

    def by_stream(self) -> dict[Stream, int]:
        """What it will take, by stream."""
        sums: dict[Stream, int] = {}
        for new in self.chunks:
            sums[new.stream] = sums.get(new.stream, 0) + taken(len(new.body))
        return sums


def request(
    facts: Sequence[Fact],
    readings: Sequence[Readings],
    dictionary: TagDictionary | None,
    checkpoints: Mapping[str, bytes],
    known_dictionary: bool,
) -> Request:
    """Check and encode one call. Raises CommitError."""
    encoded: list[tuple[Stream, int, bytes | Audited]] = []
    shown: list[tuple[str, bytes]] = []
    for fact in facts:
        stream = STREAM_OF.get(type(fact))
        if stream is None or isinstance(fact, TagDictionary):
            raise CommitError(f"{type(fact).__name__} is no fact to commit (a dictionary goes in by its own name)")
        try:
            raw = _encode(fact)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise CommitError(f"{type(fact).__name__} cannot be encoded: {error}") from error
        if len(raw) > MAX_FACT_BYTES:
            raise CommitError(f"{type(fact).__name__} of {len(raw)} bytes; a fact may have {MAX_FACT_BYTES}")
        encoded.append((stream, fact.at, fact if isinstance(fact, Audited) else raw))
        if isinstance(fact, SHOWN):
            shown.append((str(fact.__struct_config__.tag), raw))
    batches = [batch for batch in readings if len(batch)]
    if batches and dictionary is None and not known_dictionary:
        raise CommitError("readings before a TagDictionary: commit the dictionary first, once per start")
    return Request(
        facts=encoded,
        readings=[_sendable(batch) for batch in batches],
        dictionary=dictionary,
        described=None,
        checkpoints=checkpoints,
        shown=shown,
        urgent=any(stream <= Stream.EVENT for stream, _, _ in encoded),
        records=len(encoded) + sum(map(len, batches)),
    )


def requests_of(facts: Sequence[Fact]) -> list[Request]:
    """Give the store's own facts as a call, or no call when there are none."""
    return [request(facts, [], None, {}, known_dictionary=False)] if facts else []


def _sendable(batch: Readings) -> Readings:
    """Give the batch with what no chunk can carry replaced by a status that says so."""
    n = len(batch.tag)
    if any(len(c) != n for c in (batch.value, batch.status, batch.source_time, batch.server_time)):
        raise CommitError(f"readings whose columns differ in length ({n} tags)")
    wrong = [i for i, v in (batch.other or {}).items() if not 0 <= i < n or not _fits(v)]
    if not wrong:
        return batch
    if not all(0 <= i < n for i in wrong):
        raise CommitError("a text of the readings belongs to none of them")
    log.warning(
        "values that the wire cannot carry are recorded as bad: tags=%s; check their type and length in the tag book",
        sorted({int(batch.tag[i]) for i in wrong}),
    )
    status = batch.status.copy()
    status[wrong] = BAD_ENCODING_LIMITS_EXCEEDED
    return Readings(
        tag=batch.tag,
        value=batch.value,
        status=status,
        source_time=batch.source_time,
        server_time=batch.server_time,
        received=batch.received,
        other={i: v for i, v in (batch.other or {}).items() if i not in set(wrong)} or None,
        historical=batch.historical,
    )


def _fits(value: str | int) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    try:
        return len(value.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return False


def describe(call: Request, clock: ClockState | None = None) -> NewChunk | None:
    """Encode a call's dictionary, if it has one, once. Raises CommitError when no frame can carry it."""
    if call.dictionary is not None and call.described is None:
        call.described = _of_facts(
            Stream.FACT, [(call.dictionary.at, _encode(call.dictionary))], clock=clock, keep=True
        )
    return call.described


def plan(
    requests: Iterable[Request], *, audit_head: str, dictionary: str | None, clock: ClockState | None = None
) -> Plan:
    """Merge calls, in order, into as few chunks as the limits allow; every body is encoded here, once.

    Raises CommitError when a dictionary fits no frame.
    """
    made = Plan(audit_head=audit_head, dictionary=dictionary, clock=clock)
    lanes: dict[Stream, list[tuple[int, bytes]]] = {}
    pending: list[Readings] = []
    for call in requests:
        for stream, at, fact in call.facts:
            raw = _chained(fact, made) if isinstance(fact, Audited) else fact
            lanes.setdefault(stream, []).append((at, raw))
        if call.dictionary is not None and call.dictionary.version != made.dictionary:
            _add_readings(made, pending)  # these still mean the dictionary before
            pending = []
            if (described := describe(call, clock)) is not None:
                made.chunks.append(described)
            made.dictionary, made.described = call.dictionary.version, described
        pending.extend(call.readings)
        made.checkpoints.update(call.checkpoints)
        made.shown.extend(call.shown)
    _add_readings(made, pending)
    for stream in sorted(lanes):
        made.chunks.extend(_of_facts(stream, part, clock=clock) for part in _cut(lanes[stream]))
    return made


def _chained(fact: Audited, made: Plan) -> bytes:
    raw = _encode(msgspec.structs.replace(fact, previous=made.audit_head))
    made.audit_head = hashlib.sha256(raw).hexdigest()
    return raw


def _cut(records: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = 0
    for at, raw in records:
        if part and (len(part) == chunk.MAX_RECORDS or size + len(raw) > MAX_PLAIN_BYTES):
            yield part
            part, size = [], 0
        part.append((at, raw))
        size += len(raw)
    if part:
        yield part


def _of_facts(
    stream: Stream, records: list[tuple[int, bytes]], *, clock: ClockState | None, keep: bool = False
) -> NewChunk:
    body = chunk.encode_facts([_Encoded(raw) for _, raw in records], clock)
    if len(body) > chunk.MAX_BODY_BYTES:
        raise CommitError(f"a chunk of {len(body)} bytes; the wire takes {chunk.MAX_BODY_BYTES}")
    times = [at for at, _ in records]
    return NewChunk(
        stream=stream,
        count=len(records),
        body=body,
        digest=chunk.digest(body),
        t0=min(times),
        t1=max(times),
        keep=keep,
    )


_Encoded: Any = msgspec.Raw
"""A fact that is JSON already: `encode_facts` writes it as it is."""


def _add_readings(made: Plan, batches: list[Readings]) -> None:
    if not batches:
        return
    assert made.dictionary is not None  # noqa: S101 - `request` has seen to it
    for _, alike in itertools.groupby(batches, key=lambda batch: batch.historical):  # one chunk is all live or all past
        _add_merged(made, concatenate(list(alike)), made.dictionary)


def _add_merged(made: Plan, merged: Readings, dictionary: str) -> None:
    for start in range(0, len(merged), chunk.MAX_RECORDS):
        stop = min(start + chunk.MAX_RECORDS, len(merged))
        part = merged if stop - start == len(merged) else merged.take(np.arange(start, stop))
        made.chunks.extend(_of_readings(part, dictionary, made.clock))


def _of_readings(batch: Readings, dictionary: str, clock: ClockState | None) -> Iterator[NewChunk]:
    """Give one chunk, or several where texts make it too large for the wire."""
    texts = sum(len(v) for v in (batch.other or {}).values() if isinstance(v, str))
    body = b"" if texts > chunk.MAX_DECODED_BYTES // 8 else chunk.encode_readings(batch, dictionary, clock)
    if not body or len(body) > chunk.MAX_BODY_BYTES:
        half = len(batch) // 2
        yield from _of_readings(batch.take(np.arange(half)), dictionary, clock)
        yield from _of_readings(batch.take(np.arange(half, len(batch))), dictionary, clock)
        return
    yield NewChunk(
        stream=Stream.FACT,
        count=len(batch),
        body=body,
        digest=chunk.digest(body),
        t0=int(batch.source_time.min()),
        t1=int(batch.source_time.max()),
    )


_shown: msgspec.json.Decoder[AnyFact] = msgspec.json.Decoder(AnyFact)


def decode_shown(raw: bytes) -> AnyFact:
    """Give back a fact of the page's ring."""
    return _shown.decode(raw)
