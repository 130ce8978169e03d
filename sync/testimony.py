"""What a log is verified from: lanes with their chunks, and the file that carries them to a verifier elsewhere.

The file is JSON, one object a line: the head, then each lane with its chunks and rows in order, then the end with the
number of lines. It holds all that `sync.verification` needs, public keys included; whoever has the fingerprints of the
keys from elsewhere compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import msgspec

from sync.facts import Stream

VERSION: Final = 1
MAX_LINE_BYTES: Final = 16 * 1024 * 1024


class ExportError(ValueError):
    """A file that is no export of ours, or that cannot be read to its end; the text names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A chunk as one side holds it; what an older gateway did not make, or this side does not keep, is None."""

    first: int
    count: int
    digest: bytes
    before: bytes | None = None
    link: bytes | None = None
    """Only where it is kept for itself; else it follows from `before` and `digest`."""
    signature: bytes | None = None
    body: bytes | None = None

    @property
    def end(self) -> int:
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record as the cloud keeps it: its JSON as it came, and the columns that repeat parts of it."""

    seq: int
    raw: bytes
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    index: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same of the table it is searched by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Countersigned:
    """The cloud's signature under what it held: up to `seq`, the chain stands at `link`."""

    seq: int
    link: bytes
    at: int
    """The cloud's clock, ns."""
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stream of one incarnation, with all that is known of it."""

    address: str
    """tenant/site/gateway."""
    ord: int
    """0 where nobody knows any more."""
    inc: str
    previous: str
    """The incarnation before, empty for the first."""
    stream: int
    floor: int = 0
    """Records up to here may be missing: their time to be kept is over, or the other side has them."""
    last: int | None = None
    """The log must reach to here; None where nobody knows."""
    top: bytes | None = None
    """Link at `last`, where it is kept apart from the chunks."""
    more: bool = False
    """Whether there are records beyond `last` that this side does not have (yet)."""
    gateway_key: bytes | None = None
    chunks: Iterable[Chunk] = ()
    rows: Iterable[Row] | None = None
    """None where records are kept in chunks alone."""
    losses: Sequence[tuple[int, int, str]] = ()
    """[first, last, reason], in order."""
    countersigned: Sequence[Countersigned] = ()

    @property
    def name(self) -> str:
        try:
            stream = Stream(self.stream).name.lower()
        except ValueError:
            stream = str(self.stream)
        return f"{self.address}/{self.ord or self.inc[:8]}/{stream}"


def columns_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the cloud's columns say of an audit record (its JSON object); NUL, which no database text has, as U+FFFD."""
    actor, action, target = (str(said.get(name, "")) for name in ("actor", "action", "target"))
    detail = said.get("detail")
    words = f"{actor} {action} {target} {json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else ''}"
    found = {"actor": actor, "action": action, "target": target, "words": words.lower()}
    plain = {name: value.replace("\0", "\ufffd") for name, value in found.items()}
    return plain | {name: said.get(name, "") for name in ("kind", "work_unit", "at")}


class Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="triflow audit"):
    """The first line."""

    version: int = VERSION
    side: str
    """edge or cloud."""
    whole: bool
    """Whether every gateway's log begins with its first record; a gateway forgets old ones."""
    made: int
    """ns since 1970 UTC."""
    software: str = ""
    cloud_keys: list[str] = []
    """Hex; whose countersignatures count."""


class _Point(msgspec.Struct, frozen=True, array_like=True):
    seq: int
    link: str
    at: int
    signature: str


class _Lane(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="lane"):
    address: str
    ord: int
    inc: str
    previous: str
    stream: int
    floor: int
    last: int | None
    top: str | None
    more: bool
    gateway_key: str | None
    rows: bool
    losses: list[tuple[int, int, str]]
    countersigned: list[_Point]


class _Chunk(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="chunk"):
    first: int
    count: int
    digest: str
    before: str | None
    link: str | None
    signature: str | None
    body: bytes | None
    """base64."""


class _Row(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="row"):
    seq: int
    raw: str
    columns: dict[str, Any]
    index: dict[str, Any] = {}


class _End(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="end"):
    lines: int
    """Before this one."""


_encoder: Final = msgspec.json.Encoder()
_line: Final = msgspec.json.Decoder(Head | _Lane | _Chunk | _Row | _End)


def write(file: IO[bytes], head: Head, lanes: Iterable[Lane]) -> int:
    """Write everything, lane by lane; gives the number of lines. Raises OSError."""
    lines = 0

    def put(line: Head | _Lane | _Chunk | _Row | _End) -> None:
        nonlocal lines
        file.write(_encoder.encode(line) + b"\n")
        lines += 1

    put(head)
    for lane in lanes:
        put(_of_lane(lane))
        rows = iter(lane.rows or ())
        row = next(rows, None)
        for chunk in lane.chunks:
            put(_of_chunk(chunk))
            while row is not None and row.seq <= chunk.end:
                put(_of_row(row))
                row = next(rows, None)
        while row is not None:
            put(_of_row(row))
            row = next(rows, None)
    put(_End(lines=lines))
    return lines


def _of_lane(lane: Lane) -> _Lane:
    return _Lane(
        address=lane.address,
        ord=lane.ord,
        inc=lane.inc,
        previous=lane.previous,
        stream=lane.stream,
        floor=lane.floor,
        last=lane.last,
        top=_hex(lane.top),
        more=lane.more,
        gateway_key=_hex(lane.gateway_key),
        rows=lane.rows is not None,
        losses=list(lane.losses),
        countersigned=[_Point(p.seq, p.link.hex(), p.at, p.signature.hex()) for p in lane.countersigned],
    )


def _of_chunk(chunk: Chunk) -> _Chunk:
    return _Chunk(
        first=chunk.first,
        count=chunk.count,
        digest=chunk.digest.hex(),
        before=_hex(chunk.before),
        link=_hex(chunk.link),
        signature=_hex(chunk.signature),
        body=chunk.body,
    )


def _of_row(row: Row) -> _Row:
    return _Row(seq=row.seq, raw=row.raw.decode("utf-8", "replace"), columns=dict(row.columns), index=dict(row.index))


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else raw.hex()


class Export:
    """An export, read from the front: `head` at once, then the lanes, each once and in order."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the head. Raises ExportError and OSError."""
        self._file = file
        self._read = 0
        head = self._next()
        if not isinstance(head, Head):
            raise ExportError("line 1: this is no export of `triflow audit export`")
        if head.version > VERSION:
            raise ExportError(f"line 1: version {head.version}, written by a newer Triflow; verify it with that one")
        self.head: Final = head
        self.cloud_keys: Final = [_bytes(key, 1) for key in head.cloud_keys]

    def lanes(self) -> Iterator[Lane]:
        """Give the lanes; raises ExportError where a line cannot be read or the end is missing."""
        line = self._next()
        while isinstance(line, _Lane):
            at, described = self._read, line
            chunks: list[Chunk] = []
            rows: list[Row] = []
            cut: ExportError | None = None
            while True:
                try:
                    line = self._next()
                except ExportError as error:
                    cut = error
                    break
                if isinstance(line, _Chunk):
                    chunks.append(self._chunk(line))
                elif isinstance(line, _Row):
                    rows.append(Row(seq=line.seq, raw=line.raw.encode(), columns=line.columns, index=line.index))
                else:
                    break
            yield self._lane(described, at, chunks, rows)
            if cut is not None:
                raise cut
        if not isinstance(line, _End):
            raise ExportError(f"line {self._read}: a lane or the end should stand here")
        if line.lines != self._read - 1:
            raise ExportError(f"line {self._read}: the end says {line.lines} lines, there are {self._read - 1}")
        if self._file.read(1):
            raise ExportError(f"line {self._read + 1}: something stands behind the end")

    def _next(self) -> Head | _Lane | _Chunk | _Row | _End:
        text = self._file.readline(MAX_LINE_BYTES)
        self._read += 1
        if not text:
            raise ExportError(f"line {self._read}: the file is cut off; its last line should be the end")
        try:
            return _line.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ExportError(f"line {self._read}: cannot be read: {error}") from error

    def _chunk(self, line: _Chunk) -> Chunk:
        at = self._read
        return Chunk(
            first=line.first,
            count=line.count,
            digest=_bytes(line.digest, at),
            before=_maybe(line.before, at),
            link=_maybe(line.link, at),
            signature=_maybe(line.signature, at),
            body=line.body,
        )

    def _lane(self, line: _Lane, at: int, chunks: list[Chunk], rows: list[Row]) -> Lane:
        return Lane(
            address=line.address,
            ord=line.ord,
            inc=line.inc,
            previous=line.previous,
            stream=line.stream,
            floor=line.floor,
            last=line.last,
            top=_maybe(line.top, at),
            more=line.more,
            gateway_key=_maybe(line.gateway_key, at),
            chunks=chunks,
            rows=rows if line.rows or rows else None,
            losses=line.losses,
            countersigned=[
                Countersigned(seq=p.seq, link=_bytes(p.link, at), at=p.at, signature=_bytes(p.signature, at))
                for p in line.countersigned
            ],
        )


def _bytes(text: str, line: int) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ExportError(f"line {line}: {text[:40]!r} is not hexadecimal") from error


def _maybe(text: str | None, line: int) -> bytes | None:
    return None if text is None else _bytes(text, line)
