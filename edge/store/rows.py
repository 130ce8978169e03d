"""The store's SQL, as functions on a connection inside the writer's transaction; the books are changed alongside."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from edge.store.chunks import NewChunk
from edge.store.lanes import Books, Lane, Start, gaps
from sync.chain import follow
from sync.chunk import MAX_RECORDS, digest
from sync.facts import Stream
from sync.frames import Incarnation, Loss, StreamHoldings

log = logging.getLogger(__name__)

RECENT_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk:
    """A chunk as it goes out: the body is byte for byte what was written at commit."""

    inc: str
    stream: Stream
    first: int
    count: int
    digest: bytes
    body: bytes
    before: bytes = b""
    """Link of the lane's chain before it (`sync.chain`); empty when not known: written by a version without chains."""

    @property
    def link(self) -> bytes:
        """Its own link; empty when the one before is not known."""
        return follow(self.before, self.digest) if self.before else b""


def meta(connection: apsw.Connection, key: str, default: Any) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else row[0]


def set_meta(connection: apsw.Connection, key: str, value: Any) -> None:
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )


def read_books(connection: apsw.Connection) -> Books:
    """Read all incarnations with something left; no chunk is read, only the index that covers them."""
    books = Books(
        sealed_produced=int(meta(connection, "sealed_produced", 0)), sealed_lost=int(meta(connection, "sealed_lost", 0))
    )
    for ord_, inc, previous, closed, hour in connection.execute(
        "SELECT ord, inc, previous, closed, hour FROM incarnation ORDER BY ord"
    ):
        books.add(Start(int(ord_), str(inc), str(previous), bool(closed), hour=int(hour)))
    for ord_, stream, last, stored, safe, floor, lost, link, tallied in connection.execute(
        "SELECT ord, stream, last, stored, safe, floor, lost, link, tallied FROM lane"
    ):
        lane = Lane(int(ord_), Stream(stream), int(last), int(stored), int(safe), int(floor), int(lost))
        lane.link, lane.tallied = bytes(link), int(tallied)
        books.starts[lane.ord].lanes[lane.stream] = lane
    for ord_, stream, *loss in connection.execute(
        "SELECT ord, stream, first, last, reason, t0, t1 FROM loss ORDER BY ord, stream, first"
    ):
        books.starts[int(ord_)].lanes[Stream(stream)].losses.append(Loss(*loss))
    for ord_, stream, first, last, t0, t1 in connection.execute(
        "SELECT ord, stream, first, last, t0, t1 FROM latent ORDER BY ord, stream, first"
    ):
        row = Loss(int(first), int(last), "retention", int(t0), int(t1))
        books.starts[int(ord_)].lanes[Stream(stream)].latent.append(row)
    for ord_, inc, previous, lanes in connection.execute("SELECT ord, inc, previous, lanes FROM done ORDER BY ord"):
        streams = {
            stream: StreamHoldings(last=int(last), link=str(link)) for stream, (last, link) in json.loads(lanes).items()
        }
        books.done[int(ord_)] = Incarnation(
            inc=str(inc), ord=int(ord_), previous=str(previous), closed=True, streams=streams
        )
    return books


Seen = Mapping[tuple[int, Stream], tuple[int, int]]
"""(ord, stream) → (records in chunks, highest number in a chunk)."""


def survey(connection: apsw.Connection) -> Seen:
    """Count what is in the outbox by its covering index, and touch every other table: what cannot be read shows here."""
    for table in (
        "meta",
        "incarnation",
        "lane",
        "chunk",
        "loss",
        "aside",
        "checkpoint",
        "recent",
        "latent",
        "witness",
        "dictionary",
        "done",
    ):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - the names above
    return {
        (int(ord_), Stream(stream)): (int(count), int(last))
        for ord_, stream, count, last in connection.execute(
            "SELECT ord, stream, sum(count), max(first + count - 1) FROM chunk INDEXED BY chunk_place GROUP BY ord, stream"
        )
    }


def reconcile(connection: apsw.Connection, books: Books, seen: Seen) -> list[tuple[Lane, Loss]]:
    """Compare the books with the chunks that are there; what is missing is declared lost, and nothing is hidden."""
    found: list[tuple[Lane, Loss]] = []
    for lane in books.lanes():
        count, last = seen.get((lane.ord, lane.stream), (0, 0))
        if count == lane.held_count() and last <= lane.last:
            continue
        log.error("the store's counters and its chunks differ: lane=%s/%s", lane.ord, lane.stream.name.lower())
        lane.last = max(lane.last, last)
        here: list[Loss] = []
        for first, n in connection.execute(
            "SELECT first, count FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? ORDER BY first",
            (lane.ord, lane.stream),
        ):
            here.append(Loss(int(first), int(first) + int(n) - 1, ""))
        for first, last_ in _without(lane.held(), here):
            found.append((lane, declare(connection, lane, Loss(first, last_, "quarantine"))))
        save_lane(connection, lane)
    return found


def _without(ranges: Iterable[tuple[int, int]], there: Sequence[Loss]) -> list[tuple[int, int]]:
    return [gap for first, last in ranges for gap in gaps(first - 1, last, there)]


def open_start(connection: apsw.Connection, books: Books, inc: str, opened: int, software: str) -> Start:
    """Close every earlier incarnation, drop those that never said anything, and begin a new one."""
    for start in [s for s in books.starts.values() if not s.lanes]:
        connection.execute("DELETE FROM incarnation WHERE ord = ?", (start.ord,))
        books.drop(start)
    connection.execute("UPDATE incarnation SET closed = 1, hour = 0")
    for start in books.starts.values():
        start.closed = True
        start.hour = 0  # whoever opens a new start has tallied it
    newest = connection.execute("SELECT ord, inc FROM incarnation ORDER BY ord DESC LIMIT 1").fetchone()
    previous = str(newest[1]) if newest else str(meta(connection, "newest_inc", ""))
    ord_ = max(int(newest[0]) if newest else 0, int(meta(connection, "newest_ord", 0))) + 1
    start = Start(ord_, inc, previous, closed=False)
    connection.execute(
        "INSERT INTO incarnation (ord, inc, previous, opened, software, closed) VALUES (?, ?, ?, ?, ?, 0)",
        (start.ord, start.inc, start.previous, opened, software),
    )
    set_meta(connection, "newest_ord", start.ord)
    set_meta(connection, "newest_inc", start.inc)
    books.add(start)
    return start


def save_lane(connection: apsw.Connection, lane: Lane) -> None:
    connection.execute(
        "INSERT INTO lane (ord, stream, last, stored, safe, floor, lost, link, tallied) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (ord, stream) DO UPDATE SET last = excluded.last, stored = excluded.stored, safe = excluded.safe, "
        "floor = excluded.floor, lost = excluded.lost, link = excluded.link, tallied = excluded.tallied",
        (lane.ord, lane.stream, lane.last, lane.stored, lane.safe, lane.floor, lane.lost, lane.link, lane.tallied),
    )  # fmt: skip


def save_hour(connection: apsw.Connection, start: Start) -> None:
    connection.execute("UPDATE incarnation SET hour = ? WHERE ord = ?", (start.hour, start.ord))


def append(connection: apsw.Connection, lane: Lane, new: NewChunk, at: int, lived: int) -> None:
    """Give a chunk its place and its link, and write it."""
    first = lane.last + 1
    connection.execute(
        "INSERT INTO chunk (ord, stream, first, count, at, bytes, keep, t0, t1, digest, body, before, lived) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (lane.ord, lane.stream, first, new.count, at, len(new.body), new.keep, new.t0, new.t1, new.digest, new.body,
         lane.link, lived),
    )  # fmt: skip
    lane.link = follow(lane.link, new.digest)
    lane.last += new.count
    lane.waiting_bytes += len(new.body)
    if lane.oldest_at is None:
        lane.oldest_at = at


def declare(connection: apsw.Connection, lane: Lane, loss: Loss) -> Loss:
    """Write a loss, grown into its neighbour where it can."""
    row, replaced = lane.declare(loss)
    if replaced is not None:
        connection.execute(
            "DELETE FROM loss WHERE ord = ? AND stream = ? AND first = ?", (lane.ord, lane.stream, replaced.first)
        )
    connection.execute("INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?)",
                       (lane.ord, lane.stream, row.first, row.last, row.reason, row.t0, row.t1))  # fmt: skip
    return row


def measure(connection: apsw.Connection, lane: Lane) -> None:
    """Take what a lane holds from the covering index."""
    (total,) = connection.execute(
        "SELECT sum(bytes) FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ?", (lane.ord, lane.stream)
    ).fetchone() or (0,)
    lane.stored_bytes = bytes_between(connection, lane, 0, lane.stored)
    lane.waiting_bytes = int(total or 0) - lane.stored_bytes
    age(connection, lane)


def bytes_between(connection: apsw.Connection, lane: Lane, after: int, upto: int) -> int:
    """Give the bytes of the chunks that begin in (after, upto]."""
    if upto <= after:
        return 0
    (total,) = connection.execute(
        "SELECT sum(bytes) FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? AND first <= ?",
        (lane.ord, lane.stream, after, upto),
    ).fetchone() or (0,)
    return int(total or 0)


def age(connection: apsw.Connection, lane: Lane) -> None:
    """Take the commit time of the oldest chunk that waits in a lane."""
    row = connection.execute(
        "SELECT at FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first > ? ORDER BY first LIMIT 1",
        (lane.ord, lane.stream, max(lane.stored, lane.floor)),
    ).fetchone()
    lane.oldest_at = None if row is None else int(row[0])


def next_chunk(connection: apsw.Connection, start: Start, lane: Lane, after: int) -> StoredChunk | None:
    """Read the chunk that holds `after` + 1, or the first above it, as it was written; a damaged one raises DigestError."""
    nearest = connection.execute(
        "SELECT first, count FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first <= ? "
        "ORDER BY first DESC LIMIT 1",
        (lane.ord, lane.stream, after),
    ).fetchone()
    astride = nearest is not None and int(nearest[0]) + int(nearest[1]) > after + 1
    row = connection.execute(
        f"SELECT {PLACED} FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first >= ? "  # noqa: S608
        "ORDER BY first LIMIT 1",
        (lane.ord, lane.stream, nearest[0] if nearest is not None and astride else after + 1),
    ).fetchone()
    if row is None:
        return None
    found = placed(start.inc, lane.stream, row)
    if digest(found.body) != found.digest:
        raise DigestError(found)
    return found


PLACED: Final = "first, count, digest, body, before"


def placed(inc: str, stream: Stream, row: Any) -> StoredChunk:
    """Give the chunk of a row of the columns `PLACED`, unchecked."""
    first, count, mark, body, before = row
    return StoredChunk(
        inc=inc, stream=stream, first=int(first), count=int(count), digest=bytes(mark), body=bytes(body),
        before=bytes(before),
    )  # fmt: skip


def chunks(
    connection: apsw.Connection, start: Start, stream: Stream, touched: tuple[int, int], limit: int
) -> list[StoredChunk]:
    """Read the first chunks that touch a range, unchecked."""
    first, last = touched
    found = connection.execute(
        f"SELECT {PLACED} FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first <= ? "  # noqa: S608
        "AND first > ? AND first + count > ? ORDER BY first LIMIT ?",
        (start.ord, stream, last, first - MAX_RECORDS, first, limit),
    )
    return [placed(start.inc, stream, row) for row in found]


class DigestError(Exception):
    """A chunk is not what was written: a bit has turned on the disk. Put it aside and declare it lost."""

    def __init__(self, chunk: StoredChunk) -> None:
        self.chunk = chunk
        super().__init__(f"chunk {chunk.stream.name.lower()}/{chunk.first} does not match its digest")


def seal(connection: apsw.Connection, books: Books, among: Iterable[Start] | None = None) -> None:
    """Drop the rows of incarnations that are done, of all or of some; their sums stay."""
    if done := books.seal(among):
        for start in done:
            connection.execute("DELETE FROM lane WHERE ord = ?", (start.ord,))
            connection.execute("DELETE FROM incarnation WHERE ord = ?", (start.ord,))
            connection.execute("DELETE FROM dictionary WHERE ord = ?", (start.ord,))
            lanes = {int(lane.stream): [lane.last, lane.link.hex()] for lane in start.lanes.values()}
            connection.execute(
                "INSERT OR REPLACE INTO done (ord, inc, previous, lanes) VALUES (?, ?, ?, ?)",
                (start.ord, start.inc, start.previous, json.dumps(lanes)),
            )
        connection.execute("DELETE FROM done WHERE ord < ?", (min(books.done),))
        set_meta(connection, "sealed_produced", books.sealed_produced)
        set_meta(connection, "sealed_lost", books.sealed_lost)


def link_at(connection: apsw.Connection, lane: Lane, seq: int) -> bytes:
    """Give the link of the chain at a number where a chunk ended; empty where that is not known any more."""
    if seq == lane.last:
        return lane.link
    row = connection.execute(
        "SELECT before FROM chunk INDEXED BY chunk_place WHERE ord = ? AND stream = ? AND first = ?",
        (lane.ord, lane.stream, seq + 1),
    ).fetchone()
    return b"" if row is None else bytes(row[0])


def save_checkpoints(connection: apsw.Connection, checkpoints: Mapping[str, bytes]) -> None:
    connection.executemany(
        "INSERT INTO checkpoint VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value, digest = excluded.digest",
        [(name, value, hashlib.sha256(value).digest()) for name, value in checkpoints.items()],
    )


def read_checkpoints(connection: apsw.Connection) -> dict[str, bytes]:
    """Read those that are as they were written."""
    found: dict[str, bytes] = {}
    for name, value, mark in connection.execute("SELECT name, value, digest FROM checkpoint"):
        if hashlib.sha256(bytes(value)).digest() == bytes(mark):
            found[str(name)] = bytes(value)
        else:
            log.error("a checkpoint is damaged and left out: name=%s; its owner starts from nothing", name)
    return found


def show(connection: apsw.Connection, facts: Sequence[tuple[str, bytes]]) -> None:
    """Put facts into the page's ring and let the oldest go."""
    connection.executemany("INSERT INTO recent (kind, fact) VALUES (?, ?)", facts)
    connection.execute("DELETE FROM recent WHERE id <= (SELECT max(id) FROM recent) - ?", (RECENT_ROWS,))


def recent(connection: apsw.Connection, kinds: Sequence[str], limit: int) -> list[bytes]:
    """Read the newest facts of some kinds, newest first."""
    rows: list[tuple[int, bytes]] = []
    for kind in kinds:
        rows.extend(
            (int(id_), bytes(fact))
            for id_, fact in connection.execute(
                "SELECT id, fact FROM recent WHERE kind = ? ORDER BY id DESC LIMIT ?", (kind, limit)
            )
        )
    return [fact for _, fact in sorted(rows, reverse=True)[:limit]]
