"""What goes first when there is no room: never audit or event, never without a loss row in the same transaction."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store.lanes import Books, Lane
from edge.store.rows import age, declare, forget, save_lane
from sync.facts import Stream
from sync.frames import Loss

log = logging.getLogger(__name__)

SHEDDABLE: Final = (Stream.DIAG, Stream.AGG, Stream.FACT)


def make_room(connection: apsw.Connection, books: Books, want_bytes: int) -> tuple[int, int]:
    """Free about that many bytes inside the present transaction; give (bytes, records lost).

    First what the cloud has committed but not yet backed up, then diag, agg and readings, oldest first. A chunk that
    was handed to the uplink may be at the cloud already and stays; so do dictionaries, without which later readings
    mean nothing.
    """
    freed = _forget_stored(connection, books, want_bytes)
    lost = 0
    for stream in SHEDDABLE:
        for lane in books.lanes():
            if freed >= want_bytes:
                return freed, lost
            if lane.stream == stream:
                gone, records = _shed(connection, lane, want_bytes - freed)
                freed += gone
                lost += records
    return freed, lost


def _forget_stored(connection: apsw.Connection, books: Books, want_bytes: int) -> int:
    freed = 0
    for lane in books.lanes():
        if freed < want_bytes and lane.floor < lane.stored:
            (held,) = connection.execute(
                "SELECT sum(bytes) FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? AND first <= ?",
                (lane.ord, lane.stream, lane.floor, lane.stored),
            ).fetchone() or (0,)
            forget(connection, lane, lane.stored)
            save_lane(connection, lane)
            freed += int(held or 0)
    return freed


def _shed(connection: apsw.Connection, lane: Lane, want_bytes: int) -> tuple[int, int]:
    freed = lost = 0
    after = max(lane.stored, lane.floor, lane.offered)
    while freed < want_bytes:
        rows: list[Any] = connection.execute(
            "SELECT id, first, count, bytes, t0, t1 FROM chunk WHERE ord = ? AND stream = ? AND first > ? AND keep = 0 "
            "ORDER BY first LIMIT 200",
            (lane.ord, lane.stream, after),
        ).fetchall()
        if not rows:
            break
        for id_, first, count, size, t0, t1 in rows:
            if freed >= want_bytes:
                break
            connection.execute("DELETE FROM chunk WHERE id = ?", (id_,))
            declare(connection, lane, Loss(int(first), int(first) + int(count) - 1, "shed", int(t0), int(t1)))
            freed += int(size)
            lost += int(count)
            lane.waiting_bytes -= int(size)
            after = int(first)
    if lost:
        age(connection, lane)
        save_lane(connection, lane)
    return freed, lost


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
