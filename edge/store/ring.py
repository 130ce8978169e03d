"""Chunks that have left the outbox, in segment files: the newest hours of this gateway, to be sent again or looked at.

Disposable, and no part of the promise: the cloud has all of it in a backup. Segments are unlinked oldest first, by size
and on a full disk; those of the audit lane are apart and stay 90 days. A record is appended and synced before its
chunk leaves edge.db, so that after a crash it may stand in both, or here twice: readers see it once.

Form: `data-00000001.seg`, `audit-00000001.seg`; the magic, then records: header with its CRC-32, and the body as it was
sent, which the digest in the header covers.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.durable import sync_folder
from edge.store.file import StoreError
from edge.store.rows import StoredChunk
from sync.chunk import MAX_BODY_BYTES, digest
from sync.facts import Stream

log = logging.getLogger(__name__)

FOLDER: Final = "ring"
AUDIT_NS: Final = 90 * 86_400 * 10**9
"""How long audit segments stay at least, in time the store was open."""
_MAGIC: Final = b"TFRING1\n"
_RECORD: Final = b"TFRC"
_HEAD: Final = struct.Struct(">4sI16sBQIQ32s32s")
"""Mark, body length, incarnation, stream, first, count, lived (ns, at its commit), digest, link before (zeros: unknown)."""
_CRC: Final = struct.Struct(">I")
_WHOLE: Final = _HEAD.size + _CRC.size
_UNKNOWN: Final = bytes(32)
_FULL: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}

Lane = tuple[str, Stream]


@dataclass(slots=True)
class _Segment:
    """One file, and which numbers it may hold of which lanes."""

    path: Path
    number: int
    size: int
    lanes: dict[Lane, tuple[int, int]] | None = None
    """None while it has not been looked into."""
    newest: int = 0
    """`lived` of its youngest record, ns; known with `lanes`."""

    def note(self, chunk: StoredChunk, lived: int) -> None:
        known = self.lanes if self.lanes is not None else {}
        last = chunk.first + chunk.count - 1
        low, high = known.get((chunk.inc, chunk.stream), (chunk.first, last))
        known[chunk.inc, chunk.stream] = (min(low, chunk.first), max(high, last))
        self.lanes, self.newest = known, max(self.newest, lived)

    def look(self) -> dict[Lane, tuple[int, int]]:
        if self.lanes is None:
            self.lanes = {}
            for _, chunk, lived in records(self.path, bodies=False):
                self.note(chunk, lived)
        return self.lanes


@dataclass(slots=True)
class _Row:
    """The segments of one class, oldest first, and the file that is written to."""

    segments: list[_Segment] = field(default_factory=list[_Segment])
    file: int | None = None

    def size(self) -> int:
        return sum(segment.size for segment in self.segments)


class Ring:
    """The segments of one gateway; used by one thread."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Take up what stands in `folder` (made if need be); a record cut off by a crash is cut away.

        Data segments take at most `most_bytes`, at least one segment. Raises StoreError.
        """
        self._folder, self._most = folder, most_bytes
        self._segment_bytes = max(256 * 1024, min(16 << 20, most_bytes // 16))
        self._rows = {"audit": _Row(), "data": _Row()}
        self.skipped = 0
        """Chunks that found no room."""
        try:
            folder.mkdir(exist_ok=True)
            for path in sorted(folder.glob("*-????????.seg")):
                kind, _, number = path.stem.partition("-")
                if kind in self._rows and number.isdigit():
                    self._rows[kind].segments.append(_Segment(path, int(number), path.stat().st_size))
            for row in self._rows.values():
                self._mend(row)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}; check the disk and the folder's owner") from error

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(row.size() for row in self._rows.values())

    def _mend(self, row: _Row) -> None:
        """Cut the newest segment behind its last whole record: only it can have been written to in the crash."""
        while row.segments:
            newest = row.segments[-1]
            end = len(_MAGIC)
            newest.lanes = {}
            for after, chunk, lived in records(newest.path):
                newest.note(chunk, lived)
                end = after
            if end < newest.size:
                log.info("a record cut off by a crash is cut away: segment=%s bytes=%d", newest.path, newest.size - end)
            if end > len(_MAGIC):
                if end < newest.size:
                    with newest.path.open("r+b") as file:
                        file.truncate(end)
                        os.fsync(file.fileno())
                    newest.size = end
                return
            newest.path.unlink()  # nothing in it can be read: the one before is the newest now
            row.segments.pop()
            sync_folder(self._folder)

    # --- writing ---

    def append(self, kind: str, chunks: Iterable[tuple[StoredChunk, int]]) -> bool:
        """Put (chunk, lived) on disk, in "audit" or "data"; False when there is no room for it all.

        Raises StoreError when the disk fails.
        """
        row = self._rows[kind]
        try:
            wrote = False
            for chunk, lived in chunks:
                self._write(row, kind, chunk, lived)
                wrote = True
            if wrote and row.file is not None:
                os.fdatasync(row.file)
        except OSError as error:
            if error.errno not in _FULL:
                raise StoreError(f"{self._folder}: {error.strerror}; check the disk") from error
            if self.skipped == 0:
                log.warning("no room for the ring of sent chunks: folder=%s why=%s (said once)",
                            self._folder, error.strerror)  # fmt: skip
            self.skipped += 1
            self._close(row)
            self._give_up_tail(row)
            return False
        self._trim()
        return True

    def _write(self, row: _Row, kind: str, chunk: StoredChunk, lived: int) -> None:
        if row.file is None or row.segments[-1].size >= self._segment_bytes:
            self._begin(row, kind)
        assert row.file is not None  # noqa: S101 - `_begin` has opened it
        head = _HEAD.pack(
            _RECORD, len(chunk.body), bytes.fromhex(chunk.inc), chunk.stream, chunk.first, chunk.count, lived,
            chunk.digest, chunk.before or _UNKNOWN,
        )  # fmt: skip
        record = head + _CRC.pack(zlib.crc32(head)) + chunk.body
        segment = row.segments[-1]
        segment.size += _all(row.file, record)
        segment.note(chunk, lived)

    def _begin(self, row: _Row, kind: str) -> None:
        """Go on in the newest segment after a start, or begin one."""
        resumed = row.file is None and row.segments and row.segments[-1].size < self._segment_bytes
        self._close(row)
        if resumed:
            row.file = os.open(row.segments[-1].path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            return
        number = row.segments[-1].number + 1 if row.segments else 1
        path = self._folder / f"{kind}-{number:08d}.seg"
        row.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        row.segments.append(_Segment(path, number, 0, lanes={}))
        row.segments[-1].size = _all(row.file, _MAGIC)
        os.fsync(row.file)
        sync_folder(self._folder)

    def _give_up_tail(self, row: _Row) -> None:
        """Cut off what did not fit; nobody has been told that it is there."""
        try:
            self._mend(row)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}; check the disk") from error

    def _close(self, row: _Row) -> None:
        if row.file is not None:
            try:
                os.fdatasync(row.file)
            finally:
                os.close(row.file)
                row.file = None

    def close(self) -> None:
        for row in self._rows.values():
            self._close(row)

    # --- letting go ---

    def _trim(self) -> None:
        row = self._rows["data"]
        while len(row.segments) > 1 and row.size() > self._most:
            self._unlink(row)

    def age(self, lived: int) -> None:
        """Let audit segments go whose youngest record is more than 90 days old, counted in time the store was open."""
        row = self._rows["audit"]
        while len(row.segments) > 1:
            row.segments[0].look()
            if lived - row.segments[0].newest < AUDIT_NS:
                return
            self._unlink(row)

    def release(self, want_bytes: int) -> int:
        """Give back about so many bytes, oldest data segments first, the one being written last; give how many."""
        row, freed = self._rows["data"], 0
        while row.segments and freed < want_bytes:
            freed += row.segments[0].size
            if len(row.segments) == 1:
                self._close(row)
            self._unlink(row)
        return freed

    def _unlink(self, row: _Row) -> None:
        row.segments.pop(0).path.unlink(missing_ok=True)

    # --- reading ---

    def kept(self, inc: str, stream: Stream, first: int, last: int) -> Iterator[StoredChunk]:
        """Give the whole chunks that touch a range, each as often as it stands here, in no order."""
        row = self._rows["audit" if stream is Stream.AUDIT else "data"]
        for segment in list(row.segments):
            low, high = segment.look().get((inc, stream), (1, 0))
            if low <= last and high >= first:
                for _, chunk, _ in records(segment.path, wanted=(inc, stream, first, last)):
                    yield chunk


def _all(file: int, content: bytes) -> int:
    """Write all of it: a write may be short where the disk is nearly full."""
    at = 0
    while at < len(content):
        at += os.write(file, content[at:])
    return at


def records(
    path: Path, *, bodies: bool = True, wanted: tuple[str, Stream, int, int] | None = None
) -> Iterator[tuple[int, StoredChunk, int]]:
    """Read a segment: (place behind the record, chunk, lived). What is damaged is passed over.

    Without `bodies` they are left empty and unchecked. `wanted` is (inc, stream, first, last) that a chunk must touch.
    Read-only: also beside a running gateway. Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = len(_MAGIC)
        while at + _WHOLE <= size:
            file.seek(at)
            head = file.read(_WHOLE)
            found = _chunk(head)
            if found is None or at + _WHOLE + found[1] > size:
                at = _next_mark(path, at + 1, size)
                continue
            chunk, length, lived = found
            after = at + _WHOLE + length
            if wanted is None or _touches(chunk, wanted):
                if bodies:
                    body = file.read(length)
                    if digest(body) != chunk.digest:
                        log.warning("a damaged record is passed over: segment=%s at=%d", path, at)
                        at = _next_mark(path, at + 1, size)
                        continue
                    chunk = StoredChunk(
                        inc=chunk.inc, stream=chunk.stream, first=chunk.first, count=chunk.count,
                        digest=chunk.digest, body=body, before=chunk.before,
                    )  # fmt: skip
                yield after, chunk, lived
            at = after


def _chunk(head: bytes) -> tuple[StoredChunk, int, int] | None:
    """Give (chunk without body, body length, lived) of a record's header, or None when it is none."""
    (crc,) = _CRC.unpack_from(head, _HEAD.size)
    mark, length, inc, stream, first, count, lived, sha, before = _HEAD.unpack_from(head)
    if mark != _RECORD or crc != zlib.crc32(head[: _HEAD.size]) or length > MAX_BODY_BYTES:
        return None
    chunk = StoredChunk(
        inc=inc.hex(), stream=Stream(stream), first=first, count=count, digest=sha, body=b"",
        before=b"" if before == _UNKNOWN else before,
    )  # fmt: skip
    return chunk, length, lived


def _touches(chunk: StoredChunk, wanted: tuple[str, Stream, int, int]) -> bool:
    inc, stream, first, last = wanted
    return (
        chunk.inc == inc and chunk.stream is stream and chunk.first <= last and chunk.first + chunk.count - 1 >= first
    )


def _next_mark(path: Path, at: int, size: int) -> int:
    """Give the place of the next record's mark at or after `at`, or the end."""
    with path.open("rb") as file:
        file.seek(at)
        before = b""
        while block := file.read(1 << 16):
            place = (before + block).find(_RECORD)
            if place >= 0:
                return at - len(before) + place
            at += len(block)
            before = (before + block)[-(len(_RECORD) - 1) :]
    return size
