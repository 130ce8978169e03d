"""The oracle of the store engines: reads the file itself, believes none of the product's counters.

`read` gives what stands in a file; `wrong` says what cannot be: pages that do not verify, numbers in two places or in
none, bodies that are not what their digest says, chains that break, records of one incarnation under the name of another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from sync import chain
from sync.chunk import ChunkError, DecodedReadings, decode_raw
from sync.facts import Audited, Stream
from tests.campaign import load

Place = tuple[str, int]
"""(incarnation, stream)."""


@dataclass(slots=True)
class Lane:
    """One stream of one incarnation as it stands in a file."""

    last: int
    stored: int
    safe: int
    floor: int
    losses: list[tuple[int, int, str]] = field(default_factory=list)
    chunks: list[tuple[int, int, bytes, bytes, bytes, bytes]] = field(default_factory=list)
    """(first, count, digest, body, before, link) by first."""


@dataclass(slots=True)
class File:
    """What stands in an edge.db."""

    state: bytes
    """Digest of every row of every table."""
    lanes: dict[Place, Lane]
    incarnations: list[str]
    """Oldest first."""
    ords: dict[str, int]
    meta: dict[str, Any]
    checkpoints: dict[str, bytes]
    schema: int

    def places(self) -> dict[tuple[str, int, int], tuple[int, bytes]]:
        """Give (inc, stream, first) → (count, digest) of every chunk."""
        return {
            (inc, stream, first): (count, digest)
            for (inc, stream), lane in self.lanes.items()
            for first, count, digest, *_ in lane.chunks
        }


@contextlib.contextmanager
def opened(path: Path, vfs: str = "unix") -> Iterator[apsw.Connection]:
    """Open a store's file as nothing but a SQLite file; its log is read, and neither copied nor deleted."""
    connection = apsw.Connection(str(path), vfs=vfs)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("query_only", "on")
        yield connection
    finally:
        connection.close()


def read(connection: apsw.Connection) -> File:
    """Read everything. Raises apsw.Error when the file cannot be read."""
    tables = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
    ]
    every = hashlib.blake2b(digest_size=16)
    schema = int(connection.pragma("user_version"))
    every.update(b"%d" % schema)
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for table in tables:
        rows[table] = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        every.update(table.encode())
        every.update(repr(rows[table]).encode())
    columns = {
        table: [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
        for table in ("lane", "chunk", "loss", "incarnation", "checkpoint")
        if table in rows
    }

    def named(table: str) -> Iterator[dict[str, Any]]:
        for row in rows.get(table, []):
            yield dict(zip(columns[table], row, strict=True))

    incs = {int(row["ord"]): str(row["inc"]) for row in named("incarnation")}
    lanes: dict[Place, Lane] = {}
    for row in named("lane"):
        place = (incs[row["ord"]], int(row["stream"]))
        lanes[place] = Lane(row["last"], row["stored"], row["safe"], row["floor"])
    for row in named("loss"):
        lane = lanes[incs[row["ord"]], int(row["stream"])]
        lane.losses.append((row["first"], row["last"], row["reason"]))
    for row in named("chunk"):
        lane = lanes[incs[row["ord"]], int(row["stream"])]
        lane.chunks.append((
            row["first"], row["count"], bytes(row["digest"]), bytes(row["body"]),
            bytes(row.get("before") or b""), bytes(row.get("link") or b""),
        ))  # fmt: skip
    for lane in lanes.values():
        lane.chunks.sort()
        lane.losses.sort()
    return File(
        state=every.digest(),
        lanes=lanes,
        incarnations=[incs[ord_] for ord_ in sorted(incs)],
        ords={inc: ord_ for ord_, inc in incs.items()},
        meta={str(key): value for key, value in rows.get("meta", [])},
        checkpoints={str(row["name"]): bytes(row["value"]) for row in named("checkpoint")},
        schema=schema,
    )


def integrity(connection: apsw.Connection) -> list[str]:
    """Check every page, index and constraint."""
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except apsw.Error as error:
        return [f"integrity: {error}"]
    return [] if said == ["ok"] else [f"integrity: {what}" for what in said]


class Bodies:
    """Bodies that were decoded and compared once already: the same bytes stand in thousands of images."""

    def __init__(self) -> None:
        self._known: dict[tuple[Place, bytes], tuple[str | None, list[int], list[tuple[str, str]]]] = {}

    def look(
        self, place: Place, digest: bytes, body: bytes, count: int
    ) -> tuple[str | None, list[int], list[tuple[str, str]]]:
        """Give (what is wrong, numbers of our records, (previous, own digest) of audit records)."""
        key = (place, body)
        if key not in self._known:
            self._known[key] = self._decode(place, digest, body, count)
        return self._known[key]

    def _decode(
        self, place: Place, digest: bytes, body: bytes, count: int
    ) -> tuple[str | None, list[int], list[tuple[str, str]]]:
        inc, stream = place
        if hashlib.sha256(body).digest() != digest:
            return "the body is not what its digest says", [], []
        try:
            decoded = decode_raw(body, count)
        except ChunkError as error:
            return f"the body cannot be decoded: {error}", [], []
        if isinstance(decoded, DecodedReadings):
            numbers = (decoded.readings.source_time - load.EPOCH_NS).tolist()
            return load.readings_wrong(decoded.readings, inc), numbers, []
        numbers: list[int] = []
        links: list[tuple[str, str]] = []
        for fact, raw in decoded:
            if isinstance(fact, Audited):
                links.append((fact.previous, hashlib.sha256(raw).hexdigest()))
            known = load.number_of(fact)  # pyright: ignore[reportArgumentType]
            if known is None:
                continue
            if known[0] != inc:
                return f"a record of {known[0][:8]} stands under {inc[:8]}", [], []
            if not load.same(fact, Stream(stream), inc, known[1]):  # pyright: ignore[reportArgumentType]
                return f"record {known[1]} is not what was committed", [], []
            numbers.append(known[1])
        return None, numbers, links


def wrong(file: File, bodies: Bodies) -> list[str]:
    """Say what cannot be in a store's file."""
    found: list[str] = []
    for inc in file.incarnations:
        for (_, stream), lane in sorted((p, lane) for p, lane in file.lanes.items() if p[0] == inc):
            name = f"{inc[:8]}/{Stream(stream).name.lower()}"
            found += [f"{name}: {what}" for what in _covered(lane)]
            found += [f"{name}: {what}" for what in _chain(inc, stream, lane)]
            newest, at = -1, 0
            for first, count, digest, body, *_ in lane.chunks:
                what, numbers, _ = bodies.look((inc, stream), digest, body, count)
                if what is not None:
                    found.append(f"{name}/{first}: {what}")
                if numbers:
                    skipped, room = numbers[0] - newest - 1, first - at - 1
                    if skipped < 0 or skipped > room:
                        found.append(f"{name}/{first}: records {newest + 1} to {numbers[0] - 1} are not there")
                    newest = numbers[-1]
                at = first + count - 1
    found += _audit(file, bodies)
    return found


def _audit(file: File, bodies: Bodies) -> Iterator[str]:
    """Each audit record names the one before it, across incarnations, wherever that one is still here."""
    known: str | None = None
    newest_ord = 0
    for inc in file.incarnations:
        lane = file.lanes.get((inc, int(Stream.AUDIT)))
        if file.ords[inc] != newest_ord + 1:
            known = None  # those between are done and gone, their records with them
        newest_ord = file.ords[inc]
        if lane is None:
            continue
        at = 0
        for first, count, digest, body, *_ in lane.chunks:
            if first != at + 1:
                known = None
            for previous, own in bodies.look((inc, int(Stream.AUDIT)), digest, body, count)[2]:
                if known is not None and previous != known:
                    yield f"the audit chain breaks in {inc[:8]}: {previous[:8]} does not follow {known[:8]}"
                known = own
            at = first + count - 1
        if at != lane.last:
            known = None
    if known is not None and file.meta.get("audit_head") not in {None, known}:
        yield "the head of the audit chain is not its last record"


def _covered(lane: Lane) -> Iterator[str]:
    """Every number in 1 … last is forgotten, in one chunk, or declared lost; never in two places."""
    if not 0 <= lane.floor <= lane.last or not 0 <= lane.safe <= lane.stored <= lane.last:
        yield f"watermarks out of order: {lane.floor}, {lane.safe}, {lane.stored}, {lane.last}"
    ranges = [(first, first + count - 1) for first, count, *_ in lane.chunks]
    ranges += [(first, last) for first, last, _ in lane.losses]
    at = lane.floor
    for first, last in sorted(ranges):
        if last < first:
            yield f"a range that ends before it begins: {first} to {last}"
        if first <= at and not (last <= lane.floor or (at == lane.floor and first <= lane.floor)):
            yield f"{first} to {min(at, last)} stands in two places"
        elif first > at + 1:
            yield f"{at + 1} to {first - 1} is nowhere"
        at = max(at, last)
    if at != lane.last:
        yield f"the last number is {lane.last}, what stands there ends at {at}"


def _chain(inc: str, stream: int, lane: Lane) -> Iterator[str]:
    """A chunk's `before` is the link of the chunk that stands right before it, or the beginning of the lane."""
    known, at = chain.genesis(inc, stream), 0
    for first, count, _, _, before, link in lane.chunks:
        if link and first == at + 1 and before != known:
            yield f"{first}: does not name the link before it"
        known, at = link or b"", first + count - 1
        if not link:
            return
