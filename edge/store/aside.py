"""Chunks that will not be sent: refused by the cloud, damaged, or under numbers that a copy of this box uses, too.

They are kept for a person to look at; beyond a limit the oldest go.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import apsw

from edge.store.lanes import Books, Lane, Start
from edge.store.rows import StoredChunk, age, declare, link_at, save_lane
from sync.facts import Stream
from sync.frames import Loss, Rejection

log = logging.getLogger(__name__)

ASIDE_BYTES: Final = 64 << 20


def put_aside(
    connection: apsw.Connection, books: Books, rejected: Sequence[Rejection], *, at: int, reason: str
) -> None:
    """Put chunks aside that are still here, and say so."""
    starts = books.by_inc()
    for rejection in rejected:
        start = starts.get(rejection.inc)
        if start is not None and rejection.stream in start.lanes:
            set_aside(connection, start.lanes[Stream(rejection.stream)], rejection, at=at, reason=reason)
            log.error(
                "chunk put aside and declared lost: stream=%s first=%d count=%d reason=%s why=%s",
                Stream(rejection.stream).name.lower(), rejection.first, rejection.count, reason, rejection.why,
            )  # fmt: skip


def set_aside(connection: apsw.Connection, lane: Lane, rejection: Rejection, *, at: int, reason: str) -> bool:
    """Move a chunk out of the outbox, keep it for a person, and declare its records lost; False if it is not there."""
    row = connection.execute(
        "SELECT id, t0, t1, bytes FROM chunk WHERE ord = ? AND stream = ? AND first = ? AND count = ?",
        (lane.ord, lane.stream, rejection.first, rejection.count),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT INTO aside (inc, stream, first, count, why, at, digest, body) "
        "SELECT ?, stream, first, count, ?, ?, digest, body FROM chunk WHERE id = ?",
        (rejection.inc, rejection.why, at, row[0]),
    )
    connection.execute("DELETE FROM chunk WHERE id = ?", (row[0],))
    _trim_aside(connection)
    last = rejection.first + rejection.count - 1
    declare(connection, lane, Loss(rejection.first, last, reason, int(row[1]), int(row[2])))
    if rejection.first > lane.stored:
        lane.waiting_bytes -= int(row[3])
        age(connection, lane)
    else:
        lane.stored_bytes -= int(row[3])
    save_lane(connection, lane)
    return True


def _trim_aside(connection: apsw.Connection) -> None:
    kept = int((connection.execute("SELECT sum(length(body)) FROM aside").fetchone() or (0,))[0] or 0)
    while kept > ASIDE_BYTES:
        gone = connection.execute(
            "DELETE FROM aside WHERE id = (SELECT min(id) FROM aside) RETURNING length(body)"
        ).fetchone()
        kept -= int(gone[0]) if gone else kept


def disown(connection: apsw.Connection, start: Start, lane: Lane, at: int) -> None:
    """Put aside what the cloud has not confirmed of a lane whose numbers a copy of this box uses, too; no loss of ours."""
    upto = max(lane.stored, lane.floor)
    link = link_at(connection, lane, upto)
    connection.execute(
        "INSERT INTO aside (inc, stream, first, count, why, at, digest, body) "
        "SELECT ?, stream, first, count, 'forked', ?, digest, body FROM chunk WHERE ord = ? AND stream = ? AND first > ?",
        (start.inc, at, lane.ord, lane.stream, upto),
    )
    connection.execute("DELETE FROM chunk WHERE ord = ? AND stream = ? AND first > ?", (lane.ord, lane.stream, upto))
    connection.execute("DELETE FROM loss WHERE ord = ? AND stream = ? AND last > ?", (lane.ord, lane.stream, upto))
    lane.losses = [loss for loss in lane.losses if loss.last <= upto]
    lane.last, lane.link, lane.waiting_bytes, lane.oldest_at = upto, link, 0, None
    lane.tallied = min(lane.tallied, upto)
    _trim_aside(connection)
    save_lane(connection, lane)


def mend(connection: apsw.Connection, start: Start, bad: StoredChunk, body: bytes) -> None:
    """Write the body of a damaged chunk anew that is known from elsewhere."""
    connection.execute(
        "UPDATE chunk SET body = ? WHERE ord = ? AND stream = ? AND first = ?", (body, start.ord, bad.stream, bad.first)
    )
    log.error(
        "a chunk had changed on the disk and was written anew: stream=%s first=%d", bad.stream.name.lower(), bad.first
    )
