"""A damaged file: what verifies is taken over, all else that is known to have existed is declared lost.

Beside the database stands a small ledger of how far each lane had come, renewed at every start and now and then: it
says what there was even when the database can say nothing any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from edge.durable import sync_folder
from edge.store.file import LEDGER, connect, migrate
from edge.store.lanes import Books, Lane, Start, gaps
from edge.store.rows import save_checkpoints, save_lane, set_meta
from sync.chunk import ChunkError, decode, digest
from sync.facts import Audited, Stream
from sync.frames import Loss

log = logging.getLogger(__name__)

STREAMS: Final = frozenset(int(stream) for stream in Stream)
PROBES: Final = 200_000
"""Single rows that are tried in the part of a table that cannot be walked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What became of a damaged file."""

    kept: Path
    """The damaged file, for a person to look at."""
    why: str
    records: int
    """Taken over: still on their way to the cloud."""
    lost: int
    """Declared lost; the cloud is told which."""

    def fact(self, at: int) -> Audited:
        """Give the audit record of it."""
        detail = {"kept": self.kept.name, "why": self.why, "records": self.records, "lost": self.lost}
        return Audited(at=at, actor="gateway", action="store.salvaged", target="edge.db", detail=detail)


def write_ledger(folder: Path, books: Books, audit_head: str) -> None:
    """Say how far every lane has come; a full disk keeps the ledger before."""
    current = books.current
    content = {
        "what": "how far each lane of edge.db had come; renewed now and then, read only when edge.db is damaged",
        "newest_ord": current.ord,
        "newest_inc": current.inc,
        "audit_head": audit_head,
        "sealed": [books.sealed_produced, books.sealed_lost],
        "starts": [
            {
                "ord": start.ord,
                "inc": start.inc,
                "previous": start.previous,
                "lanes": {
                    int(lane.stream): [lane.last, lane.stored, lane.safe, lane.floor, lane.lost]
                    for lane in start.lanes.values()
                },
            }
            for start in books.starts.values()
        ],
    }
    new = folder / f"{LEDGER}.new"
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / LEDGER)
        sync_folder(folder)
    except OSError as error:
        log.debug("ledger not renewed: why=%s", error.strerror)


def _read_ledger(folder: Path) -> tuple[Books, dict[str, Any]]:
    books = Books()
    known: dict[str, Any] = {}
    try:
        read = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
        books.sealed_produced, books.sealed_lost = map(int, read["sealed"])
        for start in read["starts"]:
            here = Start(int(start["ord"]), str(start["inc"]), str(start["previous"]), closed=True)
            for stream, numbers in start["lanes"].items():
                here.lanes[Stream(int(stream))] = _lane(here.ord, int(stream), numbers)
            books.starts[here.ord] = here
        known = {key: read[key] for key in ("newest_ord", "newest_inc", "audit_head")}
        known |= {"sealed_produced": books.sealed_produced, "sealed_lost": books.sealed_lost}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("no ledger to go by: folder=%s why=%r", folder, error)
    return books, known


def _lane(ord_: int, stream: int, numbers: Sequence[Any]) -> Lane:
    last, stored, safe, floor, lost = map(int, numbers)
    return Lane(ord_, Stream(stream), last, stored, safe, floor, lost)


def salvage(kept: Path, new: Path, why: str) -> Recovery:
    """Build a sound file from a damaged one. The damaged one is only read."""
    for suffix in ("", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    books, known = _read_ledger(new.parent)
    there: dict[tuple[int, Stream], list[tuple[int, int]]] = {}
    lost = 0
    target = connect(new)
    with contextlib.closing(target):
        migrate(target, new)
        with contextlib.closing(_source(kept)) as source, target:
            meta = known | {str(key): value for key, value in _rows(source, "SELECT key, value FROM meta")}
            _read_books(source, books)
            there = _copy_chunks(source, target, books)
            _copy_latent_and_witnesses(source, target, books)
            lost = _write_books(target, books, there, meta)
            save_checkpoints(
                target,
                {
                    str(name): bytes(value)
                    for name, value, mark in _rows(source, "SELECT name, value, digest FROM checkpoint")
                    if hashlib.sha256(bytes(value)).digest() == bytes(mark)
                },
            )
        target.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    records = sum(last - first + 1 for ranges in there.values() for first, last in ranges)
    return Recovery(kept=kept, why=why, records=records, lost=lost)


def _copy_latent_and_witnesses(source: apsw.Connection, target: apsw.Connection, books: Books) -> None:
    """Take over what a file of schema 002 knows beyond its chunks, as far as it can be read."""
    for table, columns in _BESIDE.items():
        marks = ", ".join("?" * len(columns.split(",")))
        for row in _rows(source, f"SELECT {columns} FROM {table}") if _has(source, table, "ord") else ():  # noqa: S608
            if row[0] in books.starts or table == "done":
                with contextlib.suppress(apsw.ConstraintError):  # a value of another type: damage
                    target.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608
    if _has(source, "witness", "signature"):
        for row in _rows(source, "SELECT inc, stream, seq, link, at, signature FROM witness"):
            with contextlib.suppress(apsw.ConstraintError):
                target.execute(
                    "INSERT OR IGNORE INTO witness (inc, stream, seq, link, at, signature) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )


def _source(kept: Path) -> apsw.Connection:
    """Open the damaged file for reading, or an empty one in its place."""
    try:
        source = apsw.Connection(str(kept))
        source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        source.pragma("query_only", "on")
    except apsw.Error as error:
        log.warning("nothing can be read of the damaged store: why=%s", error)
        return apsw.Connection(":memory:")
    return source


def _read_books(source: apsw.Connection, books: Books) -> None:
    """Put what the damaged file says about its lanes over what the ledger says."""
    hour = "hour" if _has(source, "incarnation", "hour") else "0"
    starts = list(_rows(source, f"SELECT ord, inc, previous, {hour} FROM incarnation"))  # noqa: S608 - one of the two
    for ord_, inc, previous, began in starts:
        books.starts.setdefault(int(ord_), Start(int(ord_), str(inc), str(previous), closed=True)).hour = int(began)
    if starts:  # the ledger may still name an incarnation whose rows are gone because it was done
        known = {int(ord_) for ord_, *_ in starts}
        for ord_ in [ord_ for ord_ in books.starts if ord_ < min(known)]:
            del books.starts[ord_]
    more = "link, tallied" if _has(source, "lane", "link") else "x'', 0"
    for ord_, stream, *numbers, link, tallied in _rows(source, f"SELECT {_LANE}, {more} FROM lane"):  # noqa: S608
        start = books.starts.get(int(ord_))
        if start is not None and stream in STREAMS:
            fresh = _lane(start.ord, int(stream), numbers)
            fresh.link, fresh.tallied = bytes(link), int(tallied)
            if fresh.last >= start.lane(fresh.stream).last:
                start.lanes[fresh.stream] = fresh
    for ord_, stream, *loss in _rows(
        source, "SELECT ord, stream, first, last, reason, t0, t1 FROM loss ORDER BY first"
    ):
        start = books.starts.get(int(ord_))
        if start is not None and stream in STREAMS:
            start.lane(Stream(stream)).losses.append(Loss(*loss))


def _write_books(
    target: apsw.Connection,
    books: Books,
    there: dict[tuple[int, Stream], list[tuple[int, int]]],
    meta: dict[str, Any],
) -> int:
    """Write the lanes; what was assigned a number and is in no chunk is declared lost. Give how much."""
    lost = 0
    for lane in books.lanes():
        held = there.get((lane.ord, lane.stream), [])
        lane.last = max([lane.last, *(last for _, last in held)])
        accounted = [Loss(first, last, "") for first, last in held] + lane.losses
        for first, last in gaps(lane.floor, lane.last, sorted(accounted, key=lambda loss: loss.first)):
            lane.declare(Loss(first, last, "quarantine"))
            lost += last - first + 1
        save_lane(target, lane)
        target.executemany(
            "INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(lane.ord, lane.stream, row.first, row.last, row.reason, row.t0, row.t1) for row in lane.losses],
        )
    target.executemany(
        "INSERT INTO incarnation (ord, inc, previous, opened, software, closed, hour) VALUES (?, ?, ?, 0, '', 1, ?)",
        [(start.ord, start.inc, start.previous, start.hour) for start in books.starts.values()],
    )
    for key, value in meta.items():
        set_meta(target, key, value)
    set_meta(target, "clean", 1)
    return lost


def _copy_chunks(
    source: apsw.Connection, target: apsw.Connection, books: Books
) -> dict[tuple[int, Stream], list[tuple[int, int]]]:
    """Copy the chunks that are as they were written, one by one; give the ranges they hold."""
    there: dict[tuple[int, Stream], list[tuple[int, int]]] = {}
    for row in _walk_chunks(source):
        try:
            ord_, stream, first, count = int(row[1]), Stream(row[2]), int(row[3]), int(row[4])
            body = bytes(row[11])
            if digest(body) != bytes(row[10]) or ord_ not in books.starts or first < 1:
                continue
            decode(body, count)  # the digest does not cover the count
        except (TypeError, ValueError, ChunkError):
            continue
        last = first + count - 1
        lane = books.starts[ord_].lane(stream)
        if last <= lane.floor or gaps(first - 1, last, lane.losses) != [(first, last)]:
            continue
        held = there.setdefault((ord_, stream), [])
        if (
            any(a <= last and first <= b for a, b in held[-1:])
            or target.execute(
                "SELECT 1 FROM chunk WHERE ord = ? AND stream = ? AND first <= ? AND first + count - 1 >= ?",
                (ord_, stream, last, first),
            ).fetchone()
        ):
            continue
        target.execute(f"INSERT INTO chunk ({_COLUMNS}) VALUES ({', '.join('?' * 14)})", row)  # noqa: S608 - ours
        held.append((first, last))
    return there


_OLD: Final = "id, ord, stream, first, count, at, bytes, keep, t0, t1, digest, body"
_COLUMNS: Final = f"{_OLD}, before, lived"
_BESIDE: Final = {
    "latent": "ord, stream, first, last, t0, t1",
    "dictionary": "ord, first, count, t0, t1, before, digest, body",
    "done": "ord, inc, previous, lanes",
}
"""Tables of schema 002 that are taken over row by row."""
_LANE: Final = "ord, stream, last, stored, safe, floor, lost"


def _walk_chunks(source: apsw.Connection) -> Iterator[tuple[Any, ...]]:
    """Give every row of the outbox that can be reached: from the front, from the back, then one by one between."""
    front = 0
    columns = _OLD + (", before, lived" if _has(source, "chunk", "before") else ", x'', 0")
    while True:
        row, broken = _one(source, columns, f"id > {front} ORDER BY id LIMIT 1")
        broken = broken or (row is not None and int(row[0]) <= front)  # a tree in disorder leads round in circles
        if row is None or broken:
            break
        front = int(row[0])
        yield row
    if not broken:
        return
    back = next((int(seq) + 1 for (seq,) in _rows(source, "SELECT seq FROM sqlite_sequence WHERE name = 'chunk'")), 0)
    back = back if back > front else front + PROBES
    while True:
        row, _ = _one(source, columns, f"id < {back} AND id > {front} ORDER BY id DESC LIMIT 1")
        if row is None or not front < int(row[0]) < back:
            break
        back = int(row[0])
        yield row
    for id_ in range(front + 1, min(back, front + 1 + PROBES)):
        row, _ = _one(source, columns, f"id = {id_}")
        if row is not None:
            yield row


def _has(source: apsw.Connection, table: str, column: str) -> bool:
    """Tell whether a table of an older schema has a column already."""
    return column in {name for _, name, *_ in _rows(source, f"PRAGMA table_info({table})")}


def _one(source: apsw.Connection, columns: str, where: str) -> tuple[tuple[Any, ...] | None, bool]:
    """Give (row or None, whether the file is broken there)."""
    try:
        return source.execute(f"SELECT {columns} FROM chunk NOT INDEXED WHERE {where}").fetchone(), False  # noqa: S608
    except (apsw.Error, UnicodeDecodeError):
        return None, True


def _rows(source: apsw.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a query until the file breaks; without those whose text is none any more."""
    try:
        cursor = source.execute(query)
        while True:
            try:
                row = next(cursor, None)
            except UnicodeDecodeError:
                continue  # the rows behind it may be whole
            if row is None:
                return
            yield row
    except apsw.Error as error:
        log.warning("a part of the damaged store cannot be read: query=%s why=%s", query, error)
