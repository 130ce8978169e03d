"""The page to read: how readings become facts on disk, and how each connection's trouble stays its own.

machine → driver → readings → pipeline (window, judge) → store (one commit) ⇒ uplink. Nothing is acted on, shown or
sent before it is on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import msgspec

from edge.connections import Factual, Readable
from edge.drivers import open_driver, open_source
from edge.drivers.driver import DriverError, DriverHealth, FactSource, Learned, Surroundings
from edge.pipeline import LinePipeline, Output
from edge.site import Site
from edge.store import Store, StoreError
from edge.tags import Tag
from sync.clock import Clock, backoff
from sync.facts import (
    ConnectionChanged,
    Context,
    Fact,
    Faulted,
    Gap,
    InventoryCounted,
    JobOrderPlanned,
    ProductDefined,
)
from sync.reading import Readings

log = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
TICK_S: Final = 0.25
MES_STALE_NS: Final = 60_000_000_000


@dataclass(slots=True)
class SourceState:
    """What the page and the metrics know of one connection."""

    name: str
    state: str = "connecting"
    """connecting, connected or down."""
    since: int = 0
    why: str = ""
    newest: int = 0
    """Newest source time, ns; 0 before the first reading."""
    readings: int = 0
    reconnects: int = 0
    health: DriverHealth = field(default_factory=DriverHealth)


class Flow:
    """All lines and connections of one gateway. `run` until cancelled; everything else is for looking."""

    def __init__(self, site: Site, store: Store, clock: Clock) -> None:
        self.site, self.store, self.clock = site, store, clock
        self._around = Surroundings(folder=site.folder, data=site.data, gateway=site.file.gateway.id)
        self.pipelines = {line.work_unit: _pipeline(site, line.work_unit) for line in site.file.lines}
        self.sources = {c.name: SourceState(c.name, since=clock.now()) for c in site.file.connections}
        self.judged = 0
        self.judged_offline = 0
        self.online = False
        """Set by the uplink's owner: whether the cloud confirms what we send."""
        self._ideal: dict[str, dict[str, float]] = {}
        """Product → work unit → planned run time per item, ms."""
        self._dictionary = site.table.dictionary(clock.now())

    async def run(self) -> None:
        """Read, judge and record until cancelled."""
        await self._resume()
        async with asyncio.TaskGroup() as tasks:
            for connection in self.site.file.connections:
                work = (
                    self._keep_asking(connection) if isinstance(connection, Factual) else self._keep_reading(connection)
                )
                tasks.create_task(work, name=f"source {connection.name}")
            tasks.create_task(self._keep_ticking(), name="ticker")

    async def _resume(self) -> None:
        """Take windows, counters and hysteresis up where the last commit left them."""
        for work_unit, pipeline in self.pipelines.items():
            state = self.store.checkpoint(f"line:{work_unit}")
            if state is None:
                continue
            try:
                resumed = pipeline.restore(state)
            except ValueError as error:
                log.warning("checkpoint not usable, counters start anew: work_unit=%s why=%s", work_unit, error)
                continue
            log.info("resumed: work_unit=%s windows=%s", work_unit, "as they were" if resumed else "new (tags changed)")
        await self.store.commit(dictionary=self._dictionary)

    # ── readings ──

    async def _keep_reading(self, connection: Readable) -> None:
        """Read again whenever reading ends; one connection's trouble stays its own."""
        source = self.sources[connection.name]
        tags = self.site.table.of_connection(connection.name)
        delays = backoff()
        while True:
            began = self.clock.monotonic()
            try:
                await self._read(connection, tags, source)
                why = "the source ended"
            except DriverError as error:
                why = str(error)
            except StoreError:
                raise  # no line's trouble: what cannot be put on disk ends the process
            except Exception as bug:  # the one net under a line: recorded, shown, and the other lines run on
                log.exception("line faulted: source=%s", connection.name)
                await self.store.commit(
                    facts=[
                        Faulted(at=self.clock.now(), work_unit=work_unit, why=repr(bug)) for work_unit in _lines(tags)
                    ]
                )
                why = f"fault of ours: {bug!r}"
            await self._went_away(source, tags, why)
            if self.clock.monotonic() - began > STEADY_S * 1e9:
                delays = backoff()
            await self.clock.sleep(next(delays))

    async def _read(self, connection: Readable, tags: list[Tag], source: SourceState) -> None:
        driver = open_driver(connection, tags, self.clock, self._around)
        source.health = driver.health
        async with driver, aclosing(driver.readings()) as batches:
            async for batch in batches:
                facts = self._came_back(source, tags, batch) if source.state != "connected" else []
                await self._take(batch, facts)
                if len(batch):
                    source.newest = max(source.newest, int(batch.source_time.max()))
                source.readings += len(batch)

    async def _take(self, batch: Readings, facts: list[Fact]) -> None:
        """Feed a batch to the lines it belongs to, and commit all that comes of it together."""
        outputs = [(pipeline, pipeline.feed(part)) for pipeline, part in self._split(batch)]
        await self._commit(outputs, facts)

    def _split(self, batch: Readings) -> Iterator[tuple[LinePipeline, Readings]]:
        for pipeline in self.pipelines.values():
            first, count = pipeline.span
            mine = (batch.tag >= first) & (batch.tag < first + count)
            if mine.all():
                yield pipeline, batch
                return
            if mine.any():
                yield pipeline, batch.take(mine)

    async def _commit(self, outputs: list[tuple[LinePipeline, Output]], facts: list[Fact] | None = None) -> None:
        """Put outputs on disk: facts, readings, and the state of every pipeline they came from."""
        every = list(facts or [])
        readings: list[Readings] = []
        checkpoints: dict[str, bytes] = {}
        verdicts = 0
        now = self.clock.monotonic()
        for pipeline, output in outputs:
            every += output.facts
            if output.readings is not None:
                readings.append(output.readings)
            verdicts += output.verdicts
            if output.facts or now - pipeline.dumped_at > 1_000_000_000:
                # Facts and the state they came from are one transaction; readings alone can wait for the next dump,
                # because counters are the machine's own and are read again.
                checkpoints[f"line:{pipeline.work_unit}"] = pipeline.dump()
                pipeline.dumped_at = now
        if every or readings or checkpoints:
            await self.store.commit(facts=every, readings=readings, checkpoints=checkpoints)
        self.judged += verdicts
        if not self.online:
            self.judged_offline += verdicts

    # ── coming and going ──

    def _came_back(self, source: SourceState, tags: list[Tag], batch: Readings) -> list[Fact]:
        now = self.clock.now()
        facts: list[Fact] = [ConnectionChanged(at=now, source=source.name, connected=True)]
        arrived = int(batch.source_time.max()) if len(batch) else now
        for work_unit in _lines(tags):
            pipeline = self.pipelines[work_unit]
            if pipeline.newest > 0:
                facts += pipeline.production.lost(pipeline.newest)
                facts.append(
                    Gap(
                        at=max(arrived, pipeline.newest),
                        work_unit=work_unit,
                        source=source.name,
                        start=pipeline.newest,
                        tags=len(pipeline.tags),
                        reason=source.why or "the gateway was not running",
                    )
                )
        away_s = (now - source.since) / 1e9
        log.info("connected: source=%s tags=%d after_s=%.1f", source.name, len(tags), away_s)
        source.state, source.since, source.why = "connected", now, ""
        return facts

    async def _went_away(self, source: SourceState, tags: list[Tag], why: str) -> None:
        now = self.clock.now()
        if source.state == "down":
            source.why = why
            return
        was_connected = source.state == "connected"
        log.warning("connection lost: source=%s why=%s", source.name, why)
        source.state, source.since, source.why = "down", now, why
        source.reconnects += 1
        outputs = [(self.pipelines[w], self.pipelines[w].lost()) for w in _lines(tags)]
        facts: list[Fact] = [ConnectionChanged(at=now, source=source.name, connected=False, why=why)]
        await self._commit(outputs if was_connected else [], facts)

    async def _keep_ticking(self) -> None:
        """Close windows that are over although nothing new came."""
        while True:
            await self.clock.sleep(TICK_S)
            now = self.clock.now()
            outputs = [
                (pipeline, output) for pipeline in self.pipelines.values() if (output := pipeline.tick(now)).facts
            ]
            if outputs:
                await self._commit(outputs)

    # ── the MES ──

    async def _keep_asking(self, connection: Factual) -> None:
        """Ask the MES for ever; facts that did not change since the last commit are not said again."""
        source = self.sources[connection.name]
        delays = backoff()
        known: dict[str, str] = msgspec.json.decode(self.store.checkpoint(f"mes:{connection.name}") or b"{}")
        while True:
            began = self.clock.monotonic()
            try:
                cursor = self.store.checkpoint(f"cursor:{connection.name}") or b""
                mes = open_source(connection, list(self.pipelines), self.clock, self._around, cursor=cursor)
                source.health = mes.health
                async with mes, aclosing(mes.facts()) as batches:
                    async for learned in batches:
                        await self._take_mes(connection, source, mes, learned, known)
                why = "the source ended"
            except DriverError as error:
                why = str(error)
            await self._went_away(source, [], why)
            await self._mes_is_stale(source)
            if self.clock.monotonic() - began > STEADY_S * 1e9:
                delays = backoff()
            await self.clock.sleep(next(delays))

    async def _take_mes(
        self, connection: Factual, source: SourceState, mes: FactSource, learned: Learned, known: dict[str, str]
    ) -> None:
        now = self.clock.now()
        new: list[Fact] = []
        if source.state != "connected":
            log.info("connected: source=%s", source.name)
            source.state, source.since, source.why = "connected", now, ""
            new.append(ConnectionChanged(at=now, source=source.name, connected=True))
        source.newest = now
        for fact in learned.facts:
            key, mark = _identity(fact)
            if known.get(key) != mark:
                known[key] = mark
                new.append(fact)
            if isinstance(fact, ProductDefined):
                self._ideal[fact.product] = fact.ideal_cycle_ms
        outputs = [
            (pipeline, pipeline.tell(mes.contexts.get(work_unit, Context()), self._ideal_of(work_unit), now))
            for work_unit, pipeline in self.pipelines.items()
        ]
        every = [*new, *(fact for _, output in outputs for fact in output.facts)]
        if every or learned.cursor:
            checkpoints = {f"line:{p.work_unit}": p.dump() for p, output in outputs if output.facts}
            if learned.cursor:
                checkpoints[f"cursor:{connection.name}"] = learned.cursor
            checkpoints[f"mes:{connection.name}"] = msgspec.json.encode(known)
            await self.store.commit(facts=every, checkpoints=checkpoints)

    def _ideal_of(self, work_unit: str) -> dict[str, float]:
        return {product: cycles[work_unit] for product, cycles in self._ideal.items() if work_unit in cycles}

    async def _mes_is_stale(self, source: SourceState) -> None:
        now = self.clock.now()
        if now - source.newest < MES_STALE_NS:
            return
        outputs: list[tuple[LinePipeline, Output]] = []
        for pipeline in self.pipelines.values():
            mes = pipeline.production.now.mes
            if not mes.stale:
                stale = msgspec.structs.replace(mes, stale=True)
                outputs.append((pipeline, pipeline.tell(stale, pipeline.production.now.ideal_cycle_ms, now)))
        await self._commit([(p, o) for p, o in outputs if o.facts])


def _pipeline(site: Site, work_unit: str) -> LinePipeline:
    line = next(line for line in site.file.lines if line.work_unit == work_unit)
    return LinePipeline(
        work_unit,
        site.table.of_work_unit(work_unit),
        site.rulesets.get(work_unit),
        window_ns=round(line.window_s * 1e9),
        report_ns=round(line.report_s * 1e9),
    )


def _identity(fact: Fact) -> tuple[str, str]:
    """Give what a MES fact is about, and a mark of what it says (the time of asking left out)."""
    match fact:
        case JobOrderPlanned():
            about = f"order:{fact.work_unit}:{fact.order}"
        case ProductDefined():
            about = f"product:{fact.product}"
        case InventoryCounted():
            about = f"inventory:{fact.material}:{fact.location}"
        case _:
            about = type(fact).__name__
    said = msgspec.json.encode(msgspec.structs.replace(fact, at=0))
    return about, hashlib.sha256(said).hexdigest()[:16]


def _lines(tags: list[Tag]) -> list[str]:
    return list(dict.fromkeys(tag.work_unit for tag in tags))
