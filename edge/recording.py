"""What every part of the flow records with: the lines' pipelines, the connections' states, and the one way to disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge.drivers.driver import DriverHealth, Surroundings
from edge.judgment.room import left_out
from edge.pipeline import LinePipeline, Output
from edge.site import Site
from edge.store import Store
from sync.clock import Clock, Steady
from sync.facts import Fact
from sync.reading import Readings

log = logging.getLogger(__name__)


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


class Recording:
    """Pipelines, connections and the store of one gateway: what is said here is on disk when the call returns."""

    def __init__(self, site: Site, store: Store, clock: Clock) -> None:
        self.site, self.store, self.clock = site, store, clock
        self.steady = Steady(clock)
        """What the lines go by, so that setting our clock moves no window."""
        self.around = Surroundings(folder=site.folder, data=site.data, gateway=site.file.gateway.id)
        self.pipelines = {line.work_unit: _pipeline(site, line.work_unit) for line in site.file.lines}
        self.sources = {c.name: SourceState(c.name, since=clock.now()) for c in site.file.connections}
        self.judged = 0
        self.judged_offline = 0
        self.online = False
        """Set by the uplink's owner: whether the cloud confirms what we send."""
        self._shortened: set[str] = set()
        """Lines of which it was said that their verdicts do not fit."""
        self._closed = {work_unit: asyncio.Event() for work_unit in self.pipelines}
        self.after: list[Callable[[Sequence[Fact]], tuple[list[Fact], dict[str, bytes]]]] = []
        """What follows from facts and belongs into their transaction: asked with every commit's facts."""

    async def commit(
        self,
        outputs: Sequence[tuple[LinePipeline, Output]],
        facts: Sequence[Fact] = (),
        *,
        readings: Sequence[Readings] = (),
        checkpoints: Mapping[str, bytes] | None = None,
    ) -> bool:
        """Put outputs on disk: facts, readings, and the state of every pipeline they came from.

        readings: more of them, that went through no pipeline. checkpoints: what else must be true together with all
        this; no transaction is made for their sake alone. The store takes calls in their order, and nothing is awaited
        before it has this one: what the caller knows now is what will be on disk. Tells whether there was anything.
        """
        every = list(facts)
        readings = [batch for batch in readings if len(batch)]
        states: dict[str, bytes] = {}
        verdicts = 0
        now = self.clock.monotonic()
        for pipeline, output in outputs:
            if pipeline.waiting:
                self._closed[pipeline.work_unit].set()
            every += output.facts
            if output.readings is not None and len(output.readings):
                readings.append(output.readings)
            verdicts += output.verdicts
            self._tell_shortened(pipeline)
            if output.facts or now - pipeline.dumped_at > 1_000_000_000:
                # Facts and the state they came from are one transaction; readings alone can wait for the next dump,
                # because counters are the machine's own and are read again.
                states[f"line:{pipeline.work_unit}"] = pipeline.dump()
                pipeline.dumped_at = now
        for follows in self.after:
            more, said = follows(every)
            every += more
            states |= said
        there = bool(every or readings or states)
        if there:
            await self.store.commit(facts=every, readings=readings, checkpoints=states | dict(checkpoints or {}))
        self.judged += verdicts
        if not self.online:
            self.judged_offline += verdicts
        return there

    def _tell_shortened(self, pipeline: LinePipeline) -> None:
        """Say once a line that its verdicts do not fit their records; how many is counted."""
        if pipeline.shortened and pipeline.work_unit not in self._shortened:
            self._shortened.add(pipeline.work_unit)
            verdict = pipeline.last_verdict
            log.warning(
                "verdicts are too large for their records and cannot be judged again: work_unit=%s left_out=%s; "
                "give the ruleset fewer checks that keep memory (charts, capability), or fewer windows of each",
                pipeline.work_unit,
                ",".join(left_out(verdict)) if verdict is not None else "",
            )

    async def closed(self, work_unit: str) -> None:
        """Wait until a window of a line that waits for its model may have ended."""
        event = self._closed[work_unit]
        await event.wait()
        event.clear()


def _pipeline(site: Site, work_unit: str) -> LinePipeline:
    line = next(line for line in site.file.lines if line.work_unit == work_unit)
    return LinePipeline(
        work_unit,
        site.table.of_work_unit(work_unit),
        site.rulesets.get(work_unit),
        window_ns=round(line.window_s * 1e9),
        report_ns=round(line.report_s * 1e9),
        virtual=site.virtual.get(work_unit),
    )
