"""What the cloud's watermarks do to a lane: forget at `safe`, forget early at `stored` with a note, know again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import apsw

from edge.store.aside import disown
from edge.store.lanes import Books, Lane, gaps
from edge.store.ring import Ring
from edge.store.rows import PLACED, StoredChunk, age, bytes_between, declare, link_at, measure, placed, save_lane
from sync import failpoint
from sync.chunk import digest
from sync.facts import Stream
from sync.frames import Loss, Watermark

log = logging.getLogger(__name__)

_STREAMS: Final = frozenset(int(stream) for stream in Stream)
STEP_BYTES: Final = 8 << 20
"""Leave edge.db in one transaction at most; the next one goes on."""
BACK_BYTES: Final = 32 << 20
"""Come back from the ring in one transaction at most; older ones the cloud may ask for (`wanted`)."""
LATENT_ROWS: Final = 256
"""Of a lane; beyond, neighbours become one row and their time spans one span."""


def take(
    connection: apsw.Connection,
    books: Books,
    watermarks: Sequence[Watermark],
    ring: Ring | None,
    at: int = 0,
    *,
    step_bytes: int = STEP_BYTES,
) -> list[Watermark]:
    """Take watermarks; give those of the present incarnation that cannot be about what was made here, not taken.

    Of an earlier incarnation what is not confirmed is put aside first: the numbers may be a copy's that went on, and
    then these records are nowhere else. After a restored backup they are only kept once more. at: wall clock, ns. step_bytes: what may leave at once, of a lane.
    """
    starts = books.by_inc()
    foreign: list[Watermark] = []
    for mark in watermarks:
        start = starts.get(mark.inc)
        if start is None or mark.stream not in _STREAMS:
            continue
        lane = start.lanes.get(Stream(mark.stream))
        if not start.closed and _is_foreign(connection, mark, lane):
            foreign.append(mark)
        elif lane is not None:
            if lane.waiting() and _is_foreign(connection, mark, lane):
                log.error("numbers of an earlier start are another copy's: lane=%s/%s confirmed=%d last=%d cloud=%d; what is "
                          "not confirmed is put aside", lane.ord, lane.stream.name.lower(), lane.stored, lane.last,
                          mark.stored)  # fmt: skip
                disown(connection, start, lane, at)
            confirm(connection, start.inc, lane, mark, ring, step_bytes=step_bytes)
    return foreign


def _is_foreign(connection: apsw.Connection, mark: Watermark, lane: Lane | None) -> bool:
    if lane is None or mark.stored > lane.last:
        return mark.stored > 0
    if not mark.link or not mark.stored:
        return False
    link = link_at(connection, lane, mark.stored)
    # A chunk of the cloud's ends there; where none of ours does it was never ours.
    return link.hex() != mark.link if link else _cuts(connection, lane, mark.stored)


def _cuts(connection: apsw.Connection, lane: Lane, seq: int) -> bool:
    """Tell whether a number lies within a chunk, not at its end."""
    row = connection.execute(
        "SELECT first + count - 1 FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first <= ? "
        "ORDER BY first DESC LIMIT 1",
        (lane.ord, lane.stream, seq),
    ).fetchone()
    return row is not None and int(row[0]) > seq


def confirm(
    connection: apsw.Connection,
    inc: str,
    lane: Lane,
    mark: Watermark,
    ring: Ring | None,
    *,
    step_bytes: int = STEP_BYTES,
) -> None:
    """Take a watermark of the cloud: forget what is safe, and know again what the cloud no longer has."""
    if mark.stored > lane.last:
        log.warning("the cloud says it has records we never made: lane=%s/%s stored=%d last=%d",
                    lane.ord, lane.stream.name.lower(), mark.stored, lane.last)  # fmt: skip
    before, lane.stored = lane.stored, min(mark.stored, lane.last)
    lane.safe = min(mark.safe, lane.stored)
    if lane.stored < lane.floor:
        _lose_again(connection, inc, lane, ring)
    if lane.stored < before:
        lane.offered = min(lane.offered, lane.stored)  # the sessions in which more was handed out are over
        measure(connection, lane)
    elif lane.stored > before:
        confirmed = bytes_between(connection, lane, before, lane.stored)
        lane.waiting_bytes -= confirmed
        lane.stored_bytes += confirmed
        age(connection, lane)
    settle(connection, lane)
    forget(connection, inc, lane, ring, step_bytes=step_bytes)
    save_lane(connection, lane)


def _lose_again(connection: apsw.Connection, inc: str, lane: Lane, ring: Ring | None) -> None:
    """The cloud went back in time past what the outbox keeps: what the ring has comes back, the rest is lost."""
    floor, lane.floor = lane.floor, lane.stored
    known = [row for row in lane.latent if row.last > lane.stored]
    here = [
        Loss(chunk.first, chunk.first + chunk.count - 1, "")
        for chunk in _bring_back(connection, inc, lane, floor, ring)
    ]
    accounted = sorted([*here, *lane.losses], key=lambda one: one.first)
    for first, last in gaps(lane.stored, floor, accounted):
        pieces = [
            Loss(max(first, row.first), min(last, row.last), "retention", row.t0, row.t1)
            for row in known
            if row.first <= last and row.last >= first
        ]
        rest = [Loss(a, b, "retention") for a, b in gaps(first - 1, last, pieces)]  # it had said this was safe
        for piece in sorted([*pieces, *rest], key=lambda one: one.first):
            declare(connection, lane, piece)
    for row in known:
        _drop_latent(connection, lane, row)
        if row.first <= lane.stored:
            _add_latent(connection, lane, Loss(row.first, lane.stored, row.reason, row.t0, row.t1))


def _bring_back(connection: apsw.Connection, inc: str, lane: Lane, floor: int, ring: Ring | None) -> list[StoredChunk]:
    """Put chunks of (stored, floor] that are still on this box into the outbox again, dictionaries and newest first."""
    found: dict[int, tuple[StoredChunk, int, int]] = {}
    keep: set[int] = set()
    if lane.stream is Stream.FACT:
        for *row, t0, t1 in connection.execute(
            f"SELECT {PLACED}, t0, t1 FROM dictionary WHERE ord = ? AND first > ?",  # noqa: S608 - our columns
            (lane.ord, lane.stored),
        ):
            chunk = placed(inc, lane.stream, row)
            if digest(chunk.body) == chunk.digest:
                found[chunk.first] = (chunk, int(t0), int(t1))
                keep.add(chunk.first)
    size = 0
    held = {} if ring is None else {one.first: one for one in ring.kept(inc, lane.stream, lane.stored + 1, floor)}
    for first in sorted(held, reverse=True):
        size += len(held[first].body)
        if size > BACK_BYTES:
            break
        found.setdefault(first, (held[first], 0, 0))
    back: list[StoredChunk] = []
    for first in sorted(found):
        chunk, t0, t1 = found[first]
        last = first + chunk.count - 1
        if first <= lane.stored or last > floor or gaps(first - 1, last, lane.losses) != [(first, last)]:
            continue
        connection.execute(
            "INSERT INTO chunk (ord, stream, first, count, at, bytes, keep, t0, t1, digest, body, before) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (lane.ord, lane.stream, first, chunk.count, 0, len(chunk.body), first in keep, t0, t1, chunk.digest,
             chunk.body, chunk.before),
        )  # fmt: skip
        back.append(chunk)
    if back:
        log.warning("the cloud was set back, chunks are sent again: lane=%s/%s chunks=%d",
                    lane.ord, lane.stream.name.lower(), len(back))  # fmt: skip
    return back


def settle(connection: apsw.Connection, lane: Lane) -> None:
    """Let go what only mattered until `safe` had passed it: losses the cloud has in a backup, latent ones."""
    if lane.losses and lane.losses[0].last <= lane.safe:
        connection.execute(
            "DELETE FROM loss WHERE ord = ? AND stream = ? AND last <= ?", (lane.ord, lane.stream, lane.safe)
        )
        lane.losses = [loss for loss in lane.losses if loss.last > lane.safe]
    for row in [row for row in lane.latent if row.last <= lane.safe]:
        _drop_latent(connection, lane, row)


def forget(connection: apsw.Connection, inc: str, lane: Lane, ring: Ring | None, step_bytes: int = STEP_BYTES) -> None:
    """Delete chunks that end at or below `safe`, oldest first and one step at most; they go into the ring."""
    lane.behind = False
    upto = _whole(connection, lane, lane.safe)
    if upto <= lane.floor:
        return
    if bytes_between(connection, lane, lane.floor, upto) > step_bytes:
        upto, lane.behind = _step(connection, lane, upto, step_bytes), True
    kept = ring is None or ring.append(
        "audit" if lane.stream is Stream.AUDIT else "data", _read(connection, inc, lane, upto)
    )
    failpoint.reach("edge.ring")
    if not kept and lane.stream is Stream.AUDIT:
        lane.behind = False
        return  # the only copy on this box: it stays until there is room to keep it
    _delete(connection, lane, upto)


def forget_early(connection: apsw.Connection, lane: Lane, want_bytes: int) -> int:
    """Delete chunks the cloud has committed but not backed up, oldest first, with a note; give the bytes."""
    if lane.stored_bytes <= 0:
        return 0
    upto = freed = 0
    t0 = t1 = 0
    for first, count, size, begin, end in connection.execute(
        "SELECT first, count, bytes, t0, t1 FROM chunk WHERE ord = ? AND stream = ? AND first > ? AND first + count - 1 <= ? "
        "ORDER BY first",
        (lane.ord, lane.stream, lane.floor, lane.stored),
    ):
        if freed >= want_bytes:
            break
        upto, freed = int(first) + int(count) - 1, freed + int(size)
        t0, t1 = min(t0 or int(begin), int(begin)), max(t1, int(end))
    if not upto:
        return 0
    for first, last in gaps(max(lane.floor, lane.safe), upto, lane.losses):
        _add_latent(connection, lane, Loss(first, last, "retention", t0, t1))
    _delete(connection, lane, upto)
    save_lane(connection, lane)
    return freed


def _whole(connection: apsw.Connection, lane: Lane, upto: int) -> int:
    """Give `upto`, or the end of the chunk before the one that it cuts."""
    nearest = connection.execute(
        "SELECT first, count FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first <= ? "
        "ORDER BY first DESC LIMIT 1",
        (lane.ord, lane.stream, upto),
    ).fetchone()
    if nearest is not None and int(nearest[0]) + int(nearest[1]) - 1 > upto:
        return int(nearest[0]) - 1
    return upto


def _step(connection: apsw.Connection, lane: Lane, upto: int, step_bytes: int) -> int:
    size = 0
    for first, count, more in connection.execute(
        "SELECT first, count, bytes FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? "
        "ORDER BY first",
        (lane.ord, lane.stream, lane.floor),
    ):
        size += int(more)
        if size >= step_bytes:
            return min(upto, int(first) + int(count) - 1)
    return upto


def _read(connection: apsw.Connection, inc: str, lane: Lane, upto: int) -> Iterator[tuple[StoredChunk, int]]:
    for *row, lived in connection.execute(
        f"SELECT {PLACED}, lived FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first <= ? "  # noqa: S608
        "ORDER BY first",
        (lane.ord, lane.stream, upto),
    ):
        yield placed(inc, lane.stream, row), int(lived)


def _delete(connection: apsw.Connection, lane: Lane, upto: int) -> None:
    failpoint.reach("edge.before_prune")
    if lane.stream is Stream.FACT:
        connection.execute(
            "INSERT OR REPLACE INTO dictionary (ord, first, count, t0, t1, before, digest, body) SELECT ord, first, count, "
            "t0, t1, before, digest, body FROM chunk WHERE ord = ? AND stream = ? AND first <= ? AND keep = 1",
            (lane.ord, lane.stream, upto),
        )
    lane.stored_bytes -= bytes_between(connection, lane, 0, upto)
    connection.execute("DELETE FROM chunk WHERE ord = ? AND stream = ? AND first <= ?", (lane.ord, lane.stream, upto))
    lane.floor = max(lane.floor, upto)


def _add_latent(connection: apsw.Connection, lane: Lane, row: Loss) -> None:
    before = lane.latent[-1] if lane.latent else None
    if before is not None and before.last == row.first - 1 and len(lane.latent) >= LATENT_ROWS:
        _drop_latent(connection, lane, before)
        row = Loss(before.first, row.last, row.reason, min(before.t0, row.t0), max(before.t1, row.t1))
    lane.latent.append(row)
    lane.latent.sort(key=lambda one: one.first)
    connection.execute(
        "INSERT INTO latent (ord, stream, first, last, t0, t1) VALUES (?, ?, ?, ?, ?, ?)",
        (lane.ord, lane.stream, row.first, row.last, row.t0, row.t1),
    )


def _drop_latent(connection: apsw.Connection, lane: Lane, row: Loss) -> None:
    lane.latent.remove(row)
    connection.execute(
        "DELETE FROM latent WHERE ord = ? AND stream = ? AND first = ?", (lane.ord, lane.stream, row.first)
    )
