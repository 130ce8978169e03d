"""What goes first when there is no room or a lane's time is up: never audit or event, never without a loss row beside it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store.confirm import forget_early
from edge.store.lanes import Books, Lane
from edge.store.rows import age, declare, save_lane
from sync.facts import Stream
from sync.frames import Loss

log = logging.getLogger(__name__)

SHEDDABLE: Final = (Stream.DIAG, Stream.AGG, Stream.FACT)
EARLY: Final = (Stream.DIAG, Stream.AGG, Stream.FACT, Stream.EVENT, Stream.AUDIT)
"""In this order the cloud's word that it has something must do where it has no backup of it yet."""
STEP_CHUNKS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one lane, over all incarnations, may take of the outbox; None for no limit of its own."""

    most_bytes: int | None = None
    """Of audit and event nothing is ever shed: there it is the limit beyond which an alarm is raised."""
    most_ns: int | None = None
    """In time the store was open since the commit; no wall clock can make anything old."""


Quotas = Mapping[Stream, Quota]


def held_bytes(books: Books, stream: Stream) -> int:
    """Give what the chunks of one stream take in all incarnations."""
    found = (start.lanes.get(stream) for start in books.starts.values())
    return sum(lane.waiting_bytes + lane.stored_bytes for lane in found if lane is not None)


def make_room(
    connection: apsw.Connection, books: Books, want_bytes: int, streams: tuple[Stream, ...] = SHEDDABLE
) -> tuple[int, int]:
    """Free about that many bytes inside the present transaction; give (bytes, records lost).

    First what the cloud has committed but not yet backed up, then diag, agg and readings, oldest first. A chunk that
    was handed to the uplink may be at the cloud already and stays; so do dictionaries, without which later readings
    mean nothing.
    """
    freed = lost = 0
    early = EARLY if streams is SHEDDABLE else streams
    for stream in early:
        for lane in books.lanes():
            if lane.stream is stream and freed < want_bytes:
                freed += forget_early(connection, lane, want_bytes - freed)
    for stream in streams:
        for lane in books.lanes():
            if lane.stream is stream and freed < want_bytes and lane.waiting_bytes:
                gone, records = _shed(connection, lane, want_bytes - freed, books.starts[lane.ord].closed)
                freed += gone
                lost += records
    return freed, lost


def _shed(connection: apsw.Connection, lane: Lane, want_bytes: int, closed: bool) -> tuple[int, int]:
    freed = lost = 0
    after = max(lane.stored, lane.floor, lane.offered)
    while freed < want_bytes:
        rows = _oldest(connection, lane, after, keep=False)
        if not rows and closed:
            rows = _oldest(connection, lane, after, keep=True)  # nothing is left that would need them
        if not rows:
            break
        for row in rows:
            if freed >= want_bytes:
                break
            gone, records = _lose(connection, lane, row, "shed")
            freed, lost, after = freed + gone, lost + records, int(row[1])
    if lost:
        age(connection, lane)
        save_lane(connection, lane)
    return freed, lost


def _oldest(connection: apsw.Connection, lane: Lane, after: int, *, keep: bool) -> list[Any]:
    return connection.execute(
        "SELECT id, first, count, bytes, t0, t1 FROM chunk WHERE ord = ? AND stream = ? AND first > ? AND keep = ? "
        "ORDER BY first LIMIT ?",
        (lane.ord, lane.stream, after, keep, STEP_CHUNKS),
    ).fetchall()


def _lose(connection: apsw.Connection, lane: Lane, row: Any, reason: str) -> tuple[int, int]:
    id_, first, count, size, t0, t1 = map(int, row)
    connection.execute("DELETE FROM chunk WHERE id = ?", (id_,))
    declare(connection, lane, Loss(first, first + count - 1, reason, t0, t1))
    lane.waiting_bytes -= size
    return size, count


def expire(connection: apsw.Connection, books: Books, quotas: Quotas, lived: int) -> tuple[int, int]:
    """Let go, inside the present transaction, what is older than its lane may keep it; give (chunks gone, records lost).

    At most STEP_CHUNKS of a lane: call it again while it gives any.
    """
    gone = lost = 0
    for lane in books.lanes():
        most = quotas[lane.stream].most_ns if lane.stream in quotas else None
        if most is None or lane.stream not in SHEDDABLE:
            continue
        before = lived - most
        gone += _expire_stored(connection, lane, before)
        if lane.waiting_bytes:
            more, records = _expire_waiting(connection, lane, before)
            gone, lost = gone + more, lost + records
    return gone, lost


def _expire_stored(connection: apsw.Connection, lane: Lane, before: int) -> int:
    if not lane.stored_bytes:
        return 0
    old: list[int] = []
    for size, lived in connection.execute(
        "SELECT bytes, lived FROM chunk WHERE ord = ? AND stream = ? AND first > ? AND first <= ? ORDER BY first LIMIT ?",
        (lane.ord, lane.stream, lane.floor, lane.stored, STEP_CHUNKS),
    ):
        if int(lived) >= before:
            break
        old.append(int(size))
    if old:
        forget_early(connection, lane, sum(old))
    return len(old)


def _expire_waiting(connection: apsw.Connection, lane: Lane, before: int) -> tuple[int, int]:
    old: list[Any] = []
    for *row, lived in connection.execute(
        "SELECT id, first, count, bytes, t0, t1, lived FROM chunk WHERE ord = ? AND stream = ? AND first > ? "
        "AND keep = 0 ORDER BY first LIMIT ?",
        (lane.ord, lane.stream, max(lane.stored, lane.floor, lane.offered), STEP_CHUNKS),
    ):
        if int(lived) >= before:
            break
        old.append(row)
    lost = sum(_lose(connection, lane, row, "expired")[1] for row in old)
    if old:
        age(connection, lane)
        save_lane(connection, lane)
    return len(old), lost


class Ballast:
    """A file that only takes room, so that there is some to work in when the disk is full."""

    def __init__(self, path: Path | None, size: int) -> None:
        """Nothing is made without a path."""
        self._path, self.size = path, size

    def fill(self) -> None:
        """Take the room if the disk has four times as much free; otherwise at a later call."""
        if (
            self.size == 0
            or self._path is None
            or self._path.exists()
            or shutil.disk_usage(self._path.parent).free < 4 * self.size
        ):
            return
        try:
            with self._path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
        except OSError as error:
            log.warning("no ballast: path=%s why=%s", self._path, error.strerror)
            self.release()

    def release(self) -> bool:
        """Give the room back; False when there was none."""
        if self._path is None:
            return False
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
