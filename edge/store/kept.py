"""Chunks by their numbers, wherever they are: still in the outbox, or in the ring of what has left it."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from edge.store.lanes import Lane, Start
from edge.store.ring import Ring
from edge.store.rows import StoredChunk, chunks
from sync.chunk import digest
from sync.effects import Backlog
from sync.facts import Stream
from sync.frames import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows in a lane."""

    chunk: StoredChunk | None
    losses: list[Loss]
    """Between what was asked for and the chunk (or the end)."""
    last: int
    """Highest number assigned in the lane."""


def find(
    connection: apsw.Connection,
    start: Start | None,
    ring: Ring | None,
    wanted: tuple[str, Stream, int, int],
    limit: int,
) -> list[StoredChunk]:
    """Give the whole chunks that touch `wanted` (inc, stream, first, last), lowest first, each once, at most `limit`.

    `start` is the incarnation's, None when the books have closed over it. Damaged ones are left out.
    """
    inc, stream, first, last = wanted
    found: dict[int, StoredChunk] = {}
    if ring is not None:
        for chunk in ring.kept(inc, stream, first, last):
            found[chunk.first] = chunk
            if len(found) > limit:
                del found[max(found)]
    if start is not None:
        for chunk in chunks(connection, start, stream, (first, last), limit):
            if digest(chunk.body) == chunk.digest:
                found[chunk.first] = chunk
    return [found[place] for place in sorted(found)[:limit]]


def backlog(connection: apsw.Connection, lane: Lane, lived: int) -> Backlog:
    """Give how much of a lane waits, and how long its oldest record has; `lived` is the store's own age, ns."""
    row = connection.execute(
        "SELECT lived FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? ORDER BY first LIMIT 1",
        (lane.ord, lane.stream, max(lane.stored, lane.floor)),
    ).fetchone()
    return Backlog() if row is None else Backlog(records=lane.waiting(), age=max(0, lived - int(row[0])))
