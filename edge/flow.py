"""The page to read: how readings become facts on disk, and how each connection's trouble stays its own.

machine → driver → readings → pipeline (window, judge) → store (one commit) ⇒ uplink. Nothing is acted on, shown or
sent before it is on disk. Beside it stand `edge.recording` (the one way to disk), `edge.sources` (MES and ERP) and
`edge.backfill` (what was missed, from the machine's own history) and `edge.notices` (events and conditions).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from edge.acting.acting import Acting
from edge.archiving import Archiving
from edge.backfill import Backfill
from edge.connections import Factual, OpcUa, Readable
from edge.drift import TagDrift
from edge.drivers import open_driver
from edge.drivers.driver import Driver, DriverError, Eventful, Historical
from edge.judging import Judging
from edge.notices import Notices
from edge.pipeline import LinePipeline
from edge.recording import Recording, SourceState
from edge.scoring import Scoring
from edge.site import Site
from edge.sources import Sources
from edge.store import Store, StoreError
from edge.tags import Tag
from models.rulesets import Ruleset
from models.window import Window
from sync.clock import Clock, backoff
from sync.facts import ConnectionChanged, Fact, Faulted, Gap
from sync.judgment import Scored
from sync.reading import Readings

log = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
TICK_S: Final = 0.25


class Flow:
    """All lines and connections of one gateway. `run` until cancelled; everything else is for looking."""

    def __init__(self, site: Site, store: Store, clock: Clock, *, identity: Callable[[], str] = lambda: "ok") -> None:
        """identity: "ok", or why no order from outside is taken (another box bears our name)."""
        self.site, self.store, self.clock = site, store, clock
        self.recording = Recording(site, store, clock)
        self.pipelines, self.sources = self.recording.pipelines, self.recording.sources
        self.drivers: dict[str, Driver] = {}
        """Connection → its driver, while it is connected."""
        self.scoring = Scoring(site, store, clock, identity=identity)
        self.acting = Acting(self.recording, driver=self.drivers.get, window=self._open_window)
        self._archiving = Archiving(self.recording, self.scoring.digests)
        self._judging = Judging(self.recording, self.scoring, lambda: self.acting.models_off)
        for pipeline in self.pipelines.values():
            if pipeline.ruleset is not None:
                pipeline.history = partial(self.acting.history, pipeline.ruleset.name)
        self._asked = Sources(self.recording)
        self._backfills = {
            connection.name: Backfill(self.recording, connection, site.table.of_connection(connection.name))
            for connection in site.file.connections
            if isinstance(connection, OpcUa) and connection.history
        }
        self._dictionary = site.table.dictionary(clock.now())
        self._notices = {
            connection.name: Notices(self.recording, connection.name)
            for connection in site.file.connections
            if isinstance(connection, OpcUa) and connection.events
        }

    @property
    def judged(self) -> int:
        """Windows judged since the start."""
        return self.recording.judged

    @property
    def judged_offline(self) -> int:
        """Those of them that were judged while the cloud confirmed nothing."""
        return self.recording.judged_offline

    async def run(self) -> None:
        """Read, judge and record until cancelled."""
        await self._resume()
        async with asyncio.TaskGroup() as tasks:
            for connection in self.site.file.connections:
                work = (
                    self._asked.keep_asking(connection)
                    if isinstance(connection, Factual)
                    else self._keep_reading(connection)
                )
                tasks.create_task(work, name=f"source {connection.name}")
            tasks.create_task(self._keep_ticking(), name="ticker")
            tasks.create_task(TagDrift(self.recording).keep_looking(), name="drift")
            tasks.create_task(self._archiving.trim(), name="archive")
            tasks.create_task(self.scoring.run(), name="models")
            tasks.create_task(self._judging.run(), name="judging")
            tasks.create_task(self.acting.run(), name="acting")

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
        await self._archiving.keep()

    async def ask(self, work_unit: str, ruleset: Ruleset, window: Window) -> Scored | None:
        """Ask a line's model about a window that is not of the line's own making."""
        if self.acting.models_off:
            return None
        return await self.scoring.scorer(work_unit).score(window, model=ruleset.model, trial=True)

    def package(self, work_unit: str) -> str:
        """Give the SHA-256 of the package a line's model runs; empty without one."""
        running = self.scoring.scorer(work_unit).running
        return "" if running is None else running.package.sha256

    def _open_window(self, work_unit: str) -> Window | None:
        """Give a line's open window as it stands, for an interlock."""
        pipeline = self.pipelines.get(work_unit)
        return None if pipeline is None else pipeline.now(self.recording.steady.now())

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
        """Read until the connection is lost, and beside it what else the machine has to say."""
        driver = open_driver(connection, tags, self.clock, self.recording.around)
        source.health = driver.health
        async with driver:
            self.drivers[connection.name] = driver
            try:
                async with asyncio.TaskGroup() as beside:
                    others = [beside.create_task(work) for work in self._beside(connection, driver, source)]
                    await self._follow(driver, tags, source)
                    for other in others:
                        other.cancel()
            except ExceptionGroup as group:
                raise _gravest(group) from None
            finally:
                del self.drivers[connection.name]

    def _beside(self, connection: Readable, driver: Driver, source: SourceState) -> Iterator[Coroutine[Any, Any, None]]:
        backfill = self._backfills.get(connection.name)
        if backfill is not None and isinstance(driver, Historical):
            yield backfill.fill(driver, source)
        notices = self._notices.get(connection.name)
        if notices is not None and isinstance(driver, Eventful):
            yield notices.follow(driver)

    async def _follow(self, driver: Driver, tags: list[Tag], source: SourceState) -> None:
        async with aclosing(driver.readings()) as batches:
            async for batch in batches:
                facts = self._came_back(source, tags, batch) if source.state != "connected" else []
                await self._take(batch, facts, self._backfills.get(source.name))
                if len(batch):
                    source.newest = max(source.newest, int(batch.source_time.max()))
                source.readings += len(batch)

    async def _take(self, batch: Readings, facts: list[Fact], backfill: Backfill | None) -> None:
        """Feed a batch to the lines it belongs to, and commit all that comes of it together."""
        if backfill is not None:
            backfill.observe(batch)
        outputs = [
            (pipeline, pipeline.feed(part, self.recording.steady.now())) for pipeline, part in self._split(batch)
        ]
        if backfill is None:
            await self.recording.commit(outputs, facts)
        else:
            for _, output in outputs:
                output.readings = backfill.unrepeated(output.readings)
            checkpoints = backfill.checkpoints()
            if await self.recording.commit(outputs, facts, checkpoints=checkpoints):
                backfill.written(checkpoints)

    def _split(self, batch: Readings) -> Iterator[tuple[LinePipeline, Readings]]:
        for pipeline in self.pipelines.values():
            first, count = pipeline.span
            mine = (batch.tag >= first) & (batch.tag < first + count)
            if mine.all():
                yield pipeline, batch
                return
            if mine.any():
                yield pipeline, batch.take(mine)

    # ── coming and going ──

    def _came_back(self, source: SourceState, tags: list[Tag], batch: Readings) -> list[Fact]:
        now = self.clock.now()
        facts: list[Fact] = [ConnectionChanged(at=now, source=source.name, connected=True)]
        arrived = int(batch.source_time.max()) if len(batch) else now
        reason = source.why or "the gateway was not running"
        resumed = source.health.resumed  # the server kept everything for us: nothing was missed
        backfill = self._backfills.get(source.name)
        if backfill is not None:
            backfill.came_back(reason, resumed=resumed)
        deaf_since = max((self.pipelines[work_unit].newest for work_unit in _lines(tags)), default=0)
        if backfill is not None and source.name in self._notices and not resumed and deaf_since > 0:
            why = f"{reason}; events of this time were kept by nobody"  # history has values only
            facts.append(Gap(at=now, source=source.name, start=min(deaf_since, now), tags=0, reason=why))
        for work_unit in _lines(tags):
            pipeline = self.pipelines[work_unit]
            if backfill is not None and not resumed:
                pipeline.columns.record_anew()  # what history puts in between may differ
            if pipeline.newest > 0:
                facts += pipeline.production.lost(pipeline.newest)
                if not resumed and backfill is None:
                    facts.append(
                        Gap(
                            at=max(arrived, pipeline.newest),
                            work_unit=work_unit,
                            source=source.name,
                            start=pipeline.newest,
                            tags=len(pipeline.tags),
                            reason=reason,
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
        if source.name in self._backfills:
            self._backfills[source.name].went_away()
        log.warning("connection lost: source=%s why=%s", source.name, why)
        source.state, source.since, source.why = "down", now, why
        source.reconnects += 1
        outputs = [(self.pipelines[w], self.pipelines[w].lost()) for w in _lines(tags)]
        facts: list[Fact] = [ConnectionChanged(at=now, source=source.name, connected=False, why=why)]
        await self.recording.commit(outputs if was_connected else [], facts)

    async def _keep_ticking(self) -> None:
        """Close windows that are over although nothing new came."""
        while True:
            await self.clock.sleep(TICK_S)
            now = self.recording.steady.now()
            outputs = [
                (pipeline, output)
                for pipeline in self.pipelines.values()
                if (output := pipeline.tick(now)).facts or pipeline.waiting
            ]
            if outputs:
                await self.recording.commit(outputs)


def _gravest(group: ExceptionGroup[Exception]) -> Exception:
    """Give what went wrong first in importance: what a bug or the store says hides behind no lost connection."""
    errors = [_gravest(each) if isinstance(each, ExceptionGroup) else each for each in group.exceptions]
    return min(errors, key=lambda error: (not isinstance(error, StoreError), isinstance(error, DriverError)))


def _lines(tags: list[Tag]) -> list[str]:
    return list(dict.fromkeys(tag.work_unit for tag in tags))
