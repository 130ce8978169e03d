"""One transaction of ingest: chunks, resumes and heartbeats in the order they came, all or nothing.

Everything that proves completeness is written beside the records it proves: the chunk with its digest, the cursor,
losses, the buckets to recompute. What a receipt says is read from here and sent only after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cloud.database import Connection
from cloud.ingest import readings
from cloud.ingest.identity import Identities
from cloud.ingest.items import Answer, Caller, Committed, Gone, Item
from cloud.ingest.project import Projection, is_line
from cloud.marts.ledger import Ledger
from cloud.plant import Plants
from sync.chunk import ChunkError, DecodedReadings, UnknownFact, decode_raw, digest
from sync.clock import Clock, WallClock
from sync.facts import Fact, TagDictionary
from sync.frames import Batch, Heartbeat, Loss, Rejection, Resume, Watermark
from sync.receiver import Place, Position, rollback
from sync.topics import Address


@dataclass(slots=True)
class _Cursor:
    """A stream of an incarnation within the transaction."""

    inc: int
    stream: int
    name: str
    tenant: str
    position: Position
    rows: int
    changed: bool = False


class Ingest:
    """Stores items; `store` runs on the writer's thread, inside a transaction."""

    def __init__(self, plants: Plants, clock: Clock | None = None) -> None:
        self._plants = plants
        self._clock = clock or WallClock()
        self._known = Identities()

    def forget(self) -> None:
        """Drop what was learnt from the database: a transaction that made part of it was rolled back."""
        self._known = Identities()

    def store(self, connection: Connection, items: list[Item]) -> Committed:
        """Store everything in order. Raises DataError or DatabaseError, and then nothing of it is."""
        return _Transaction(connection, self._plants, self._known, self._clock.now()).run(items)


class _Transaction:
    def __init__(self, connection: Connection, plants: Plants, known: Identities, now_ns: int) -> None:
        self._connection = connection
        self._known = known
        self._now_ns = now_ns
        self._now_ms = self._now_ns // 1_000_000
        self._ledger = Ledger(plants, self._now_ms)
        self._projection = Projection(self._ledger, self._now_ns)
        self._cursors: dict[tuple[int, int], _Cursor] = {}
        self._readings: list[readings.Stored] = []
        self._facts: list[tuple[Any, ...]] = []
        self._done = Committed()

    def run(self, items: list[Item]) -> Committed:
        for item in items:
            match item.frame:
                case Batch():
                    self._batch(item, item.frame)
                case Resume():
                    self._resume(item, item.frame)
                case Heartbeat():
                    self._heartbeat(item.address, item.frame)
                case Gone():
                    gateway = self._gateway(item.address)
                    self._connection.execute("update gateway set gone_ms=? where id=?", (self._now_ms, gateway))
        self._write()
        return self._done

    def _write(self) -> None:
        connection = self._connection
        if self._readings:
            readings.insert(connection, self._readings)
            readings.add_minutes(connection, self._readings)
            for chunk in self._readings:
                self._done.newest.setdefault(chunk.tenant, {}).update(chunk.newest())
        if self._facts:
            columns = ("inc", "stream", "seq", "tenant", "kind", "work_unit", "at", "body")
            types = ("int8", "int2", "int8", "text", "text", "text", "int8", "text")
            connection.bulk("fact", columns, types, self._facts)
        self._projection.write(connection)
        self._ledger.write(connection)
        for cursor in self._cursors.values():
            if cursor.changed:
                connection.execute(
                    "update ingest_stream set stored=?, last=?, rows=? where inc=? and stream=?",
                    (cursor.position.stored, cursor.position.last, cursor.rows, cursor.inc, cursor.stream),
                )
        for (address, _), answer in self._done.answers.items():
            for inc, stream in answer.watermarks:
                at = self._cursors[self._incarnation(inc, address), stream]
                stored = at.position.stored
                # safe = "stored" in cloud.toml: what is committed may be forgotten.
                answer.watermarks[inc, stream] = Watermark(inc=inc, stream=stream, stored=stored, safe=stored)

    def _gateway(self, address: Address) -> int:
        return self._known.gateway(self._connection, address)

    def _incarnation(self, inc: str, address: Address) -> int:
        return self._known.incarnation(self._connection, self._gateway(address), inc, address, self._now_ms)

    def _answer(self, caller: Caller) -> Answer:
        return self._done.answers.setdefault(caller, Answer())

    def _cursor(self, caller: Caller, inc: str, stream: int) -> _Cursor:
        connection = self._connection
        address = caller[0]
        number = self._incarnation(inc, address)
        cursor = self._cursors.get((number, stream))
        if cursor is None:
            select = "select stored, last, rows from ingest_stream where inc=? and stream=? for update"
            row = connection.one(select, (number, stream))
            if row is None:
                connection.execute(
                    "insert into ingest_stream(inc, stream, tenant) values(?,?,?) on conflict do nothing",
                    (number, stream, address.tenant),
                )
                row = connection.one(select, (number, stream)) or (0, 0, 0)
            ahead = connection.execute(
                "select first, last from loss where inc=? and stream=? and last>? order by first",
                (number, stream, row[0]),
            )
            position = Position(row[0], row[1], [(first, last) for first, last in ahead])
            cursor = self._cursors[number, stream] = _Cursor(number, stream, inc, address.tenant, position, row[2])
        self._answer(caller).watermarks.setdefault((inc, stream), Watermark(inc=inc, stream=stream, stored=0, safe=0))
        return cursor

    # --- control ---

    def _resume(self, item: Item, frame: Resume) -> None:
        address = item.address
        gateway = self._gateway(address)
        connection = self._connection
        connection.execute("update incarnation set closed=? where gateway=?", (True, gateway))
        for one in frame.incarnations:
            number = self._incarnation(one.inc, address)
            connection.execute(
                "update incarnation set ord=?, previous=?, closed=? where id=?",
                (one.ord, one.previous, one.closed, number),
            )
            known = connection.execute("select stream from ingest_stream where inc=?", (number,))
            for stream in sorted({int(name) for name in one.streams} | {row[0] for row in known}):
                cursor = self._cursor(item.caller, one.inc, stream)
                holdings = one.streams.get(str(stream))
                if holdings is not None:
                    cursor.position.heard(holdings.last)
                    self._lose(cursor, holdings.losses, "gateway")
                if one.closed:
                    self._lose(cursor, rollback(one, stream, cursor.position), "cloud")
                cursor.changed = True
        connection.execute(
            "update gateway set holdings=?, holdings_ms=?, last_seen_ms=?, gone_ms=null, software=? where id=?",
            (msgspec.json.encode(frame.incarnations).decode(), self._now_ms, self._now_ms, item.software, gateway),
        )
        self._answer(item.caller).welcome = True

    def _heartbeat(self, address: Address, frame: Heartbeat) -> None:
        gateway = self._gateway(address)
        connection = self._connection
        for one in frame.holdings:
            number = self._incarnation(one.inc, address)
            for stream, holdings in one.streams.items():
                connection.execute(
                    "update ingest_stream set last=? where inc=? and stream=? and last<?",
                    (holdings.last, number, int(stream), holdings.last),
                )
                if (known := self._cursors.get((number, int(stream)))) is not None:
                    known.position.heard(holdings.last)
                elif holdings.last:
                    connection.execute(
                        "insert into ingest_stream(inc, stream, tenant, last) values(?,?,?,?) on conflict do nothing",
                        (number, int(stream), address.tenant, holdings.last),
                    )
        connection.execute(
            "update gateway set last_seen_ms=?, gone_ms=null, clock_offset_ms=?, waiting=?, waiting_bytes=?,"
            " oldest_at=?, disk_free_bytes=?, autonomy_hours=?, data_at=?, sources=?, holdings=?, holdings_ms=?"
            " where id=?",
            (
                self._now_ms,
                (frame.wall - self._now_ns) // 1_000_000,
                frame.waiting,
                frame.waiting_bytes,
                frame.oldest_at,
                frame.disk_free_bytes,
                frame.autonomy_hours,
                frame.data_at,
                msgspec.json.encode(frame.sources).decode(),
                msgspec.json.encode(frame.holdings).decode(),
                self._now_ms,
                gateway,
            ),
        )

    def _lose(self, cursor: _Cursor, losses: list[Loss], who: str) -> None:
        news = cursor.position.lose(losses)
        key = (cursor.inc, cursor.stream)
        for loss in news:
            self._connection.execute(
                "insert into loss(inc, stream, first, tenant, last, reason, t0, t1, declared_by, recorded_ms)"
                " values(?,?,?,?,?,?,?,?,?,?)",
                (*key, loss.first, cursor.tenant, loss.last, loss.reason, loss.t0, loss.t1, who, self._now_ms),
            )
            self._done.lost.append(f"{cursor.name}/{cursor.stream}/{loss.first}-{loss.last} {loss.reason} ({who})")

    # --- chunks ---

    def _batch(self, item: Item, frame: Batch) -> None:
        cursor = self._cursor(item.caller, frame.inc, frame.stream)
        self._answer(item.caller).receipt = True
        cursor.position.heard(frame.last)
        cursor.changed = True
        self._lose(cursor, frame.losses, "gateway")
        if frame.count == 0:
            return
        match cursor.position.place(frame.first, frame.count):
            case Place.NEXT:
                self._next(item, frame, cursor)
            case Place.KNOWN:
                self._known_chunk(item, frame, cursor)
            case Place.EARLY:
                self._done.early += 1
            case Place.ASTRIDE:
                self._reject(item, frame, cursor, "part of this chunk is stored or lost already, and part is not")

    def _next(self, item: Item, frame: Batch, cursor: _Cursor) -> None:
        address, key = item.address, (cursor.inc, cursor.stream)
        try:
            if item.refused:
                raise ChunkError(f"the database refuses what it holds: {item.refused}")  # noqa: TRY301 - one way out
            if digest(item.body).hex() != frame.digest:
                raise ChunkError("the body does not fit its digest")  # noqa: TRY301 - one way out
            decoded = decode_raw(item.body, frame.count)
            if isinstance(decoded, DecodedReadings):
                self._take_readings(address, frame, cursor, decoded)
            else:
                self._take_facts(address, frame, cursor, decoded)
        except ChunkError as error:
            self._reject(item, frame, cursor, str(error))
            return
        self._connection.execute(
            "insert into ingest_chunk(inc, stream, first, tenant, count, digest, stored_ms) values(?,?,?,?,?,?,?)",
            (*key, frame.first, cursor.tenant, frame.count, bytes.fromhex(frame.digest), self._now_ms),
        )
        cursor.position.took(frame.first + frame.count - 1)
        cursor.rows += frame.count
        self._done.chunks += 1
        self._done.records += frame.count

    def _take_readings(self, address: Address, frame: Batch, cursor: _Cursor, decoded: DecodedReadings) -> None:
        gateway = self._gateway(address)
        tags = self._known.dictionary(self._connection, gateway, decoded.dictionary)
        if tags is None:
            raise ChunkError(f"readings name the tag dictionary {decoded.dictionary!r}, which never came")
        used = decoded.readings.tag
        if used.min() < 0 or used.max() >= len(tags):
            raise ChunkError(f"readings name tag {int(used.max())} of a dictionary of {len(tags)}")
        stored = readings.Stored(
            inc=cursor.inc,
            stream=cursor.stream,
            first=frame.first,
            tenant=address.tenant,
            tags=tags,
            readings=decoded.readings,
        )
        self._readings.append(stored)
        for line, at in stored.good_until().items():
            if is_line(line):
                self._projection.data((address.tenant, address.site, line), at, gateway)

    def _take_facts(
        self, address: Address, frame: Batch, cursor: _Cursor, decoded: Sequence[tuple[Fact | UnknownFact, bytes]]
    ) -> None:
        gateway = self._gateway(address)
        for place, (fact, raw) in enumerate(decoded):
            key = (cursor.inc, cursor.stream, frame.first + place)
            if isinstance(fact, UnknownFact):
                # Its time is not ours to read; the chunk's arrival keeps it findable.
                self._facts.append((*key, address.tenant, fact.kind, "", self._now_ns, raw.decode()))
                continue
            kind = str(fact.__struct_config__.tag)
            self._facts.append((*key, address.tenant, kind, fact.work_unit, fact.at, raw.decode()))
            if isinstance(fact, TagDictionary):
                self._known.learn(self._connection, gateway, address.tenant, fact)
            else:
                self._projection.add(key, address.tenant, address.site, gateway, fact)

    def _known_chunk(self, item: Item, frame: Batch, cursor: _Cursor) -> None:
        key = (cursor.inc, cursor.stream)
        row = self._connection.one(
            "select digest, count from ingest_chunk where inc=? and stream=? and first=?", (*key, frame.first)
        )
        if row is not None and bytes(row[0]).hex() == frame.digest and row[1] == frame.count:
            self._done.duplicates += 1
            return
        why = "declared lost before it came" if row is None else "same records, other content"
        if row is None and self._set_aside(cursor, frame):
            self._done.duplicates += 1
            return
        if not _is_digest(frame.digest):
            return
        added = self._connection.execute(
            "insert into conflict(tenant, inc, stream, first, count, digest, why, body, recorded_ms)"
            " values(?,?,?,?,?,?,?,?,?) on conflict do nothing returning id",
            (cursor.tenant, *key, frame.first, frame.count, bytes.fromhex(frame.digest), why, item.body, self._now_ms),
        )
        if added:
            self._connection.execute(
                "update gateway set conflicts=conflicts+1 where id=?", (self._gateway(item.address),)
            )
            self._done.conflicts.append(f"{item.address} {frame.inc}/{frame.stream}/{frame.first}: {why}")

    def _set_aside(self, cursor: _Cursor, frame: Batch) -> bool:
        """Tell whether this chunk is a dead letter already."""
        sql = "select 1 from dead_letter where inc=? and stream=? and first=? and count=?"
        return bool(self._connection.one(sql, (cursor.inc, cursor.stream, frame.first, frame.count)))

    def _reject(self, item: Item, frame: Batch, cursor: _Cursor, why: str) -> None:
        """Set a chunk aside for ever: its body as a dead letter, its records as lost, and the gateway told why."""
        self._connection.execute(
            "insert into dead_letter(tenant, inc, stream, first, count, why, body, recorded_ms) values(?,?,?,?,?,?,?,?)"
            " on conflict do nothing",
            (cursor.tenant, cursor.inc, cursor.stream, frame.first, frame.count, why, item.body, self._now_ms),
        )
        self._lose(cursor, [Loss(frame.first, frame.first + frame.count - 1, "rejected")], "cloud")
        rejection = Rejection(inc=frame.inc, stream=frame.stream, first=frame.first, count=frame.count, why=why)
        self._answer(item.caller).rejected.append(rejection)
        self._done.dead_letters.append(f"{item.address} {frame.inc}/{frame.stream}/{frame.first}: {why}")


def _is_digest(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == 32
    except ValueError:
        return False
