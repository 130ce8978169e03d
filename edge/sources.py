"""The sources of ready facts (MES, ERP): asked for ever; what they say of orders and products reaches every line.

A source's cursor is committed in one transaction with the facts it gave: after a restart it goes on from there, and
nothing is said twice. Several sources may speak of the same line; what is being made there is the word of the last
source that has one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Final

import msgspec

from edge.connections import Factual, Mes
from edge.drivers import open_source
from edge.drivers.driver import DriverError, FactSource, Learned
from edge.pipeline import LinePipeline, Output
from edge.recording import Recording, SourceState
from edge.responding import Responding
from edge.store import StoreError
from sync.clock import backoff
from sync.facts import ConnectionChanged, Fact, Faulted
from sync.secret import SecretError

log = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
STALE_NS: Final = 60_000_000_000


class Sources:
    """All sources of facts of one gateway; `keep_asking` runs one of them until cancelled."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._cursors: dict[str, bytes] = {}
        """Connection → its cursor as last committed; the store knows it as of its opening."""
        self._teller: dict[str, str] = {}
        """Work unit → the source whose word its context is."""
        self._responding = {
            connection.name: Responding(recording, connection)
            for connection in recording.site.file.connections
            if isinstance(connection, Mes) and connection.responses
        }

    async def keep_asking(self, connection: Factual) -> None:
        """Ask a source for ever, and hand it its job responses if it wants them."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_asking(connection), name=f"asking {connection.name}")
            if connection.name in self._responding:
                responding = self._responding[connection.name].keep_responding()
                tasks.create_task(responding, name=f"responding {connection.name}")

    async def _keep_asking(self, connection: Factual) -> None:
        recording = self._recording
        source = recording.sources[connection.name]
        delays = backoff()
        while True:
            began = recording.clock.monotonic()
            try:
                await self._ask(connection, source)
                why = "the source ended"
            except (DriverError, SecretError) as error:
                why = str(error)
            except StoreError:
                raise  # no source's trouble: what cannot be put on disk ends the process
            except Exception as bug:  # the net under a source: recorded, shown, and the lines run on
                log.exception("source faulted: source=%s", connection.name)
                fault = Faulted(at=recording.clock.now(), why=f"{connection.name}: {bug!r}")
                await recording.commit([], [fault])
                why = f"fault of ours: {bug!r}"
            await self._went_away(source, why)
            if _speaks_of_lines(connection):
                await self._is_stale(source)
            if recording.clock.monotonic() - began > STEADY_S * 1e9:
                delays = backoff()
            await recording.clock.sleep(next(delays))

    async def _ask(self, connection: Factual, source: SourceState) -> None:
        """Ask until the source is lost."""
        recording, name = self._recording, connection.name
        if name not in self._cursors:
            self._cursors[name] = recording.store.checkpoint(f"cursor:{name}") or b""
        work_units = list(recording.pipelines)
        asked = open_source(connection, work_units, recording.clock, recording.around, cursor=self._cursors[name])
        source.health = asked.health
        if name in self._responding:
            self._responding[name].show()
        async with asked, aclosing(asked.facts()) as batches:
            async for learned in batches:
                await self._take(source, asked, learned)

    async def _take(self, source: SourceState, asked: FactSource, learned: Learned) -> None:
        """Put what a source said on disk, with where it stands, and tell the lines."""
        recording = self._recording
        now = recording.clock.now()
        facts: list[Fact] = list(learned.facts)
        if source.state != "connected":
            log.info("connected: source=%s", source.name)
            source.state, source.since, source.why = "connected", now, ""
            facts.insert(0, ConnectionChanged(at=now, source=source.name, connected=True))
        source.newest = now
        outputs = [
            (pipeline, output)
            for pipeline in recording.pipelines.values()
            if (output := self._told(source, asked, pipeline)).facts
        ]
        checkpoints = {f"cursor:{source.name}": learned.cursor} if learned.cursor else {}
        if facts or outputs:
            await recording.commit(outputs, facts, checkpoints=checkpoints)
        elif checkpoints:
            await recording.store.commit(checkpoints=checkpoints)
        if learned.cursor:
            self._cursors[source.name] = learned.cursor

    def _told(self, source: SourceState, asked: FactSource, pipeline: LinePipeline) -> Output:
        """Tell a line what is being made there and how fast; give what follows."""
        work_unit, production = pipeline.work_unit, pipeline.production.now
        context = asked.contexts.get(work_unit)
        if context is not None:
            self._teller[work_unit] = source.name
        cycles = {product: by_unit[work_unit] for product, by_unit in asked.cycles.items() if work_unit in by_unit}
        now = self._recording.steady.now()
        return pipeline.tell(production.mes if context is None else context, production.ideal_cycle_ms | cycles, now)

    # ── coming and going ──

    async def _went_away(self, source: SourceState, why: str) -> None:
        if source.state == "down":
            source.why = why
            return
        now = self._recording.clock.now()
        log.warning("connection lost: source=%s why=%s", source.name, why)
        source.state, source.since, source.why = "down", now, why
        source.reconnects += 1
        await self._recording.commit([], [ConnectionChanged(at=now, source=source.name, connected=False, why=why)])

    async def _is_stale(self, source: SourceState) -> None:
        """Say, after a minute without an answer, that what the source said last may no longer be so."""
        now = self._recording.clock.now()
        if now - source.newest < STALE_NS:
            return
        outputs: list[tuple[LinePipeline, Output]] = []
        steady = self._recording.steady.now()
        for work_unit, pipeline in self._recording.pipelines.items():
            mes = pipeline.production.now.mes
            if mes.stale or self._teller.get(work_unit, source.name) != source.name:
                continue
            stale = msgspec.structs.replace(mes, stale=True)
            outputs.append((pipeline, pipeline.tell(stale, pipeline.production.now.ideal_cycle_ms, steady)))
        await self._recording.commit([(p, o) for p, o in outputs if o.facts])


def _speaks_of_lines(connection: Factual) -> bool:
    """Tell whether a source says what is being made."""
    return isinstance(connection, Mes) or any(query.gives == "context" for query in connection.queries)
