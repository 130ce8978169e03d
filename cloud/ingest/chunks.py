"""Chunks: the next one is stored, a known one counted, a contradicting one kept apart, an impossible one set aside.

Everything that proves completeness is written beside the records it proves: the chunk with its digest, its place in
the chain, the losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloud.etl.corrections import Record
from cloud.etl.intake import Intake
from cloud.ingest import readings, redate, wanted, witness
from cloud.ingest.items import Item
from cloud.ingest.project import Projection, is_line
from cloud.ingest.streams import Stream
from cloud.ingest.transaction import Transaction
from cloud.marts.ledger import Ledger
from cloud.plant import Plants
from sync.chunk import ChunkError, DecodedReadings, UnknownFact, decode_clocked, digest
from sync.facts import ClockStepped, Fact, TagDictionary
from sync.facts import Stream as Lane
from sync.frames import Batch, Loss, Rejection
from sync.receiver import Place
from sync.timing import ClockState
from sync.topics import Address


class Chunks:
    """The chunks of one transaction, and what their records come to."""

    def __init__(self, tx: Transaction, plants: Plants) -> None:
        self._tx = tx
        self._plants = plants
        self._ledger = Ledger(plants, tx.now_ms)
        self._projection = Projection(self._ledger, tx.now_ns)
        self._intake = Intake(tx.connection, plants, self._ledger, self._projection, known=tx.plant, now_ns=tx.now_ns)
        self._readings: list[readings.Stored] = []
        self._facts: list[tuple[Any, ...]] = []
        self._set: list[tuple[Address, list[str], int, int]] = []
        """Clocks that were set for the first time: (gateway, its incarnations of that boot, when, step in ns)."""

    def write(self) -> None:
        """Write all records and what they touch; called once."""
        connection = self._tx.connection
        if self._readings:
            readings.insert(connection, self._readings)
            readings.add_minutes(connection, self._readings)
            for chunk in self._readings:
                self._tx.done.newest.setdefault(chunk.tenant, {}).update(
                    {self._plants.tag(chunk.tenant, chunk.site, tag): value for tag, value in chunk.newest().items()}
                )
        if self._facts:
            columns = ("inc", "stream", "seq", "tenant", "kind", "work_unit", "at", "body")
            types = ("int8", "int2", "int8", "text", "text", "text", "int8", "text")
            connection.bulk("fact", columns, types, self._facts)
        self._redate()
        self._intake.settle()
        self._projection.write(connection)
        self._intake.finish()
        self._ledger.write(connection)
        self._tx.done.held += self._intake.held

    def _redate(self) -> None:
        """Date anew what gateways recorded before their clock was set, in this transaction or earlier."""
        connection = self._tx.connection
        for address, incarnations, at, step in self._set:
            gateway = self._tx.gateway(address)
            for inc in redate.remember(connection, gateway, incarnations, step):
                name = self._tx.name(inc)
                for key, fact in redate.stored_facts(connection, inc, at, step):
                    self._intake.again(Record(key, name, address.tenant, address.site, gateway, fact))
                for tenant, rows in redate.stored_readings(connection, inc, step):
                    readings.add_late(connection, tenant, rows)

    def batch(self, item: Item, frame: Batch) -> None:
        stream = self._tx.streams.get(item.address, frame.inc, frame.stream)
        self._tx.done.answer(item.caller).receipt = True
        self._tx.tell(item.caller, stream)
        stream.position.heard(frame.last)
        stream.changed = True
        self._tx.streams.lose(stream, frame.losses, "gateway", asked=frame.again)
        end = frame.first + frame.count - 1
        place = stream.position.place(frame.first, frame.count, again=frame.again) if frame.count else None
        if frame.again:
            spans = [(loss.first, loss.last) for loss in frame.losses]
            spans += [(frame.first, end)] if place not in {None, Place.EARLY} else []
            wanted.answered(self._tx.connection, *stream.key, spans, self._tx.now_ms)
        if place is not None and place is not Place.EARLY:
            came = self._tx.done.answer(item.caller).came
            came.setdefault((frame.inc, frame.stream), []).append((frame.first, end))
        match place:
            case None:
                return
            case Place.NEXT:
                self._take(item, frame, stream)
            case Place.EARLY:
                self._tx.done.early += 1
            case Place.KNOWN | Place.LATE | Place.ASTRIDE:
                self._known_chunk(item, frame, stream, astride=place is Place.ASTRIDE)
        self._tx.countersign(item, stream)

    def _take(self, item: Item, frame: Batch, stream: Stream) -> bool:
        """Store a chunk; tells whether it was one."""
        address = item.address
        try:
            if item.refused:
                raise ChunkError(f"the database refuses what it holds: {item.refused}")  # noqa: TRY301 - one way out
            if digest(item.body).hex() != frame.digest:
                raise ChunkError("the body does not fit its digest")  # noqa: TRY301 - one way out
            decoded, clock = decode_clocked(item.body, frame.count)
            unset = clock is not None and clock.sync == "unset"
            if isinstance(decoded, DecodedReadings):
                self._take_readings(address, frame, stream, decoded, unset=unset)
            else:
                self._take_facts(address, frame, stream, decoded, unset=unset)
        except ChunkError as error:
            self._reject(item, frame, stream, str(error))
            return False
        self._record(item, frame, stream, clock)
        stream.rows += frame.count
        self._tx.done.chunks += 1
        self._tx.done.records += frame.count
        return True

    def _record(self, item: Item, frame: Batch, stream: Stream, clock: ClockState | None) -> None:
        """Write the chunk itself, with its place in the chain and the clock it was committed by."""
        links = witness.check(self._tx.connection, stream, frame, self._tx.keys(item.address))
        self._tx.connection.execute(
            "insert into ingest_chunk(inc, stream, first, tenant, count, digest, stored_ms, before, link, signature,"
            " clock_sync, uptime, clock_offset_ms, body) values(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                *stream.key,
                frame.first,
                item.address.tenant,
                frame.count,
                bytes.fromhex(frame.digest),
                self._tx.now_ms,
                links.before,
                links.link,
                links.signature,
                None if clock is None else clock.sync,
                None if clock is None else clock.uptime,
                None if clock is None else clock.offset_ms,
                item.body if frame.stream == Lane.AUDIT else None,
            ),
        )
        end = frame.first + frame.count - 1
        if end > stream.link_seq:
            stream.link, stream.link_seq = links.link, end
        for fault in links.faults:
            if witness.found(self._tx.connection, stream, frame.first, fault, self._tx.now_ms):
                self._tx.done.findings.append(f"{item.address} {frame.inc}/{frame.stream}/{frame.first}: {fault}")
        if links.forked:
            self._reincarnate(item, frame, "its chain does not follow what is stored")
        if frame.first == stream.position.stored + 1:
            stream.position.took(end)

    def _reincarnate(self, item: Item, frame: Batch, why: str) -> None:
        """Let a gateway go on under new numbers when another copy of it used these; a closed incarnation makes none."""
        row = self._tx.connection.one(
            "select closed from incarnation where id=?", (self._tx.incarnation(item.address, frame.inc),)
        )
        if row is not None and not row[0]:
            self._tx.done.answer(item.caller).reincarnate = (frame.inc, why)

    def _take_readings(
        self, address: Address, frame: Batch, stream: Stream, decoded: DecodedReadings, *, unset: bool
    ) -> None:
        gateway = self._tx.gateway(address)
        tags = self._tx.known.dictionary(self._tx.connection, gateway, decoded.dictionary)
        if tags is None:
            raise ChunkError(f"readings name the tag dictionary {decoded.dictionary!r}, which never came")
        used = decoded.readings.tag
        if used.min() < 0 or used.max() >= len(tags):
            raise ChunkError(f"readings name tag {int(used.max())} of a dictionary of {len(tags)}")
        undated = redate.any_undated(decoded.readings, unset=unset)
        step = redate.step(self._tx.connection, stream.inc) if undated else None
        stored = readings.Stored(
            inc=stream.inc,
            stream=stream.stream,
            first=frame.first,
            tenant=address.tenant,
            site=address.site,
            tags=tags,
            readings=decoded.readings if step is None else redate.readings(decoded.readings, step),
            undated=undated and step is None,
        )
        self._readings.append(stored)
        for line, at in stored.good_until().items():
            if is_line(line):
                self._projection.data((address.tenant, address.site, line), at, gateway)

    def _take_facts(
        self,
        address: Address,
        frame: Batch,
        stream: Stream,
        decoded: Sequence[tuple[Fact | UnknownFact, bytes]],
        *,
        unset: bool,
    ) -> None:
        gateway = self._tx.gateway(address)
        for place, (fact, raw) in enumerate(decoded):
            key = (*stream.key, frame.first + place)
            if isinstance(fact, UnknownFact):
                # Its time is not ours to read; the chunk's arrival keeps it findable.
                self._facts.append((*key, address.tenant, fact.kind, "", self._tx.now_ns, raw.decode()))
                continue
            kind = str(fact.__struct_config__.tag)
            undated = bool(redate.dates(fact)) and frame.stream != Lane.AUDIT
            if undated and (step := redate.step(self._tx.connection, stream.inc)) is not None:
                fact, undated = redate.fact(fact, step), False  # noqa: PLW2901 - as it would have been told
            self._facts.append((*key, address.tenant, kind, fact.work_unit, fact.at, raw.decode()))
            if isinstance(fact, ClockStepped) and fact.was == "unset":
                self._set.append((address, [*fact.incarnations, stream.name], fact.at, fact.step))
            if isinstance(fact, TagDictionary):
                self._tx.known.learn(self._tx.connection, gateway, address.tenant, fact)
            elif not (undated and unset):
                self._intake.take(Record(key, stream.name, address.tenant, address.site, gateway, fact))

    def _known_chunk(self, item: Item, frame: Batch, stream: Stream, *, astride: bool) -> None:
        end = frame.first + frame.count - 1
        row = self._tx.connection.one(
            "select digest, count from ingest_chunk where inc=? and stream=? and first=?", (*stream.key, frame.first)
        )
        if row is not None and bytes(row[0]).hex() == frame.digest and row[1] == frame.count:
            self._tx.done.duplicates += 1
        elif row is not None:
            self._conflict(item, frame, stream, "same records, other content")
            if astride:  # it is kept apart; what of it nobody else has is lost, and the gateway can go on
                self._reject(
                    item, frame, stream, "it begins as another chunk does that is stored, and goes on beyond it"
                )
        elif self._set_aside(stream, frame) and not frame.again:
            self._tx.done.duplicates += 1
        elif self._tx.streams.wholly_lost(stream, frame.first, end):
            if self._take(item, frame, stream):
                self._tx.streams.found(stream, frame.first, end)
                self._tx.connection.execute(
                    "delete from dead_letter where inc=? and stream=? and first=?", (*stream.key, frame.first)
                )
        elif astride:
            self._reject(item, frame, stream, "part of this chunk is stored or lost already, and part is not")
        else:
            self._conflict(item, frame, stream, "other chunks hold these records")

    def _conflict(self, item: Item, frame: Batch, stream: Stream, why: str) -> None:
        """Keep a chunk apart that contradicts what is stored; nothing is ever overwritten."""
        if not _is_digest(frame.digest):
            return
        self._reincarnate(item, frame, why)
        added = self._tx.connection.execute(
            "insert into conflict(tenant, inc, stream, first, count, digest, why, body, recorded_ms)"
            " values(?,?,?,?,?,?,?,?,?) on conflict do nothing returning id",
            (
                item.address.tenant,
                *stream.key,
                frame.first,
                frame.count,
                bytes.fromhex(frame.digest),
                why,
                item.body,
                self._tx.now_ms,
            ),
        )
        if added:
            self._tx.connection.execute(
                "update gateway set conflicts=conflicts+1 where id=?", (self._tx.gateway(item.address),)
            )
            self._tx.done.conflicts.append(f"{item.address} {frame.inc}/{frame.stream}/{frame.first}: {why}")

    def _set_aside(self, stream: Stream, frame: Batch) -> bool:
        """Tell whether this chunk is a dead letter already."""
        sql = "select 1 from dead_letter where inc=? and stream=? and first=? and count=?"
        return bool(self._tx.connection.one(sql, (*stream.key, frame.first, frame.count)))

    def _reject(self, item: Item, frame: Batch, stream: Stream, why: str) -> None:
        """Set a chunk aside for ever: its body as a dead letter, its records as lost, and the gateway told why."""
        self._tx.connection.execute(
            "insert into dead_letter(tenant, inc, stream, first, count, why, body, recorded_ms) values(?,?,?,?,?,?,?,?)"
            " on conflict do nothing",
            (item.address.tenant, *stream.key, frame.first, frame.count, why, item.body, self._tx.now_ms),
        )
        self._tx.streams.lose(stream, [Loss(frame.first, frame.first + frame.count - 1, "rejected")], "cloud")
        rejection = Rejection(inc=frame.inc, stream=frame.stream, first=frame.first, count=frame.count, why=why)
        self._tx.done.answer(item.caller).rejected.append(rejection)
        self._tx.done.dead_letters.append(f"{item.address} {frame.inc}/{frame.stream}/{frame.first}: {why}")


def _is_digest(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == 32
    except ValueError:
        return False
