"""The sources of ready facts (MES, ERP): asked for ever; what they say of orders and products reaches every line."""

from __future__ import annotations

import hashlib
import logging
from contextlib import aclosing
from typing import Final

import msgspec

from edge.connections import Factual
from edge.drivers import open_source
from edge.drivers.driver import DriverError, FactSource, Learned
from edge.pipeline import LinePipeline, Output
from edge.recording import Recording, SourceState
from sync.clock import backoff
from sync.facts import ConnectionChanged, Context, Fact, InventoryCounted, JobOrderPlanned, ProductDefined

log = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A connection that held this long starts again with a short wait."""
STALE_NS: Final = 60_000_000_000


class Sources:
    """All sources of facts of one gateway; `keep_asking` runs one of them until cancelled."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._ideal: dict[str, dict[str, float]] = {}
        """Product → work unit → planned run time per item, ms."""

    async def keep_asking(self, connection: Factual) -> None:
        """Ask for ever; facts that did not change since the last commit are not said again."""
        recording = self._recording
        source = recording.sources[connection.name]
        delays = backoff()
        known: dict[str, str] = msgspec.json.decode(recording.store.checkpoint(f"mes:{connection.name}") or b"{}")
        while True:
            began = recording.clock.monotonic()
            try:
                cursor = recording.store.checkpoint(f"cursor:{connection.name}") or b""
                work_units = list(recording.pipelines)
                mes = open_source(connection, work_units, recording.clock, recording.around, cursor=cursor)
                source.health = mes.health
                async with mes, aclosing(mes.facts()) as batches:
                    async for learned in batches:
                        await self._take(connection, source, mes, learned, known)
                why = "the source ended"
            except DriverError as error:
                why = str(error)
            await self._went_away(source, why)
            await self._is_stale(source)
            if recording.clock.monotonic() - began > STEADY_S * 1e9:
                delays = backoff()
            await recording.clock.sleep(next(delays))

    async def _take(
        self, connection: Factual, source: SourceState, mes: FactSource, learned: Learned, known: dict[str, str]
    ) -> None:
        recording = self._recording
        now = recording.clock.now()
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
            for work_unit, pipeline in recording.pipelines.items()
        ]
        every = [*new, *(fact for _, output in outputs for fact in output.facts)]
        if every or learned.cursor:
            checkpoints = {f"line:{p.work_unit}": p.dump() for p, output in outputs if output.facts}
            if learned.cursor:
                checkpoints[f"cursor:{connection.name}"] = learned.cursor
            checkpoints[f"mes:{connection.name}"] = msgspec.json.encode(known)
            await recording.store.commit(facts=every, checkpoints=checkpoints)

    def _ideal_of(self, work_unit: str) -> dict[str, float]:
        return {product: cycles[work_unit] for product, cycles in self._ideal.items() if work_unit in cycles}

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
        for pipeline in self._recording.pipelines.values():
            mes = pipeline.production.now.mes
            if not mes.stale:
                stale = msgspec.structs.replace(mes, stale=True)
                outputs.append((pipeline, pipeline.tell(stale, pipeline.production.now.ideal_cycle_ms, now)))
        await self._recording.commit([(p, o) for p, o in outputs if o.facts])


def _identity(fact: Fact) -> tuple[str, str]:
    """Give what a fact of a source is about, and a mark of what it says (the time of asking left out)."""
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
