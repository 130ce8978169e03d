"""Filling what was missed: after an outage the machine's own history is asked for what did not come live.

At a return nothing is declared missing yet: what lies between the last value before and the first after becomes a
hole (`edge.holes`), on disk in the same transaction as the return. A task beside the live reading fills it, a small
commit at a time: readings and how far they reach are one transaction, so that a power cut neither loses nor doubles
one. What cannot be filled becomes a `Gap` in the end. Counters and verdicts are not touched: a counter is the
machine's own total and was right again with its first live value, and what is over is not judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

import numpy as np

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, Historical, Missing, Recalled
from edge.holes import MOST, Hole, Holes
from edge.recording import Recording, SourceState
from edge.tags import Tag
from sync import failpoint, quality
from sync.facts import Backfilled, Fact, Gap
from sync.reading import Readings

log = logging.getLogger(__name__)

SETTLE_S: Final = 1.0
"""Live values come first, and a historian needs a moment to write what it has just seen."""
LATE_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Waits before a history that does not reach up to the live values yet is asked again."""
PATIENCE_NS: Final = 60_000_000_000
"""A tag that has no live value this long after the return is given up."""
BASE_NS: Final = 60_000_000_000
"""How often all that was seen is written out; in between only what is newer."""
WAIT_NS: Final = 500_000_000
"""Between two looks at a hole whose tags have no live value yet."""
PER_SECOND: Final = 20_000
"""Most historical readings in a second: the live ones go first."""
HEARTBEAT_NS: Final = 60_000_000_000
NAMED: Final = 100


class Backfill:
    """Keeps account of one connection's holes, and fills them while it is there."""

    def __init__(self, recording: Recording, connection: OpcUa, tags: list[Tag]) -> None:
        self._recording = recording
        self._name = connection.name
        self._limit = round(connection.history_max_h * 3.6e12)
        self._holes = Holes(tags)
        self._back = asyncio.Event()
        self._repeated: set[tuple[int, int]] = set()
        self._base: bytes | None = None
        """What the checkpoints refer to, as long as it may not be on disk."""
        self._based_at: int | None = None
        self._tries: dict[int, int] = {}
        """Hole (when it was opened) → how often its history was found not to be written yet."""
        self._due: dict[int, int] = {}
        """Hole (when it was opened) → when it is to be worked on again, monotonic ns."""
        self._kept: dict[int, tuple[float, int, int]] = {}
        """Tag → (value, status, time) recorded last from history."""
        store = recording.store
        base, state = store.checkpoint(f"history-base:{self._name}"), store.checkpoint(f"history:{self._name}")
        if base is not None and state is not None:
            try:
                self._holes.restore(base, state)
            except ValueError as error:
                log.warning("what was missed is not known any more: source=%s why=%s", self._name, error)

    # ── beside every live batch ──

    def came_back(self, why: str, *, resumed: bool) -> None:
        """Note a return, with why the connection was away. resumed: the machine kept everything for us."""
        if not resumed and self._holes.came_back(self._recording.clock.now(), why):
            log.info("to be filled from history: source=%s outages=%d", self._name, len(self._holes.open))
        self._back.set()

    def went_away(self) -> None:
        """Note a loss."""
        self._back.clear()

    def observe(self, batch: Readings) -> None:
        """Take note of a live batch, before it is committed."""
        repeated = self._holes.observe(batch)
        self._repeated = {(int(batch.tag[row]), int(batch.source_time[row])) for row in np.flatnonzero(repeated)}

    def unrepeated(self, readings: Readings | None) -> Readings | None:
        """Give readings to be recorded, without those that were recorded before the outage already."""
        if readings is None or not self._repeated:
            return readings
        pairs = zip(readings.tag.tolist(), readings.source_time.tolist(), strict=True)
        return readings.take(np.fromiter((pair not in self._repeated for pair in pairs), np.bool_, len(readings)))

    def checkpoints(self) -> dict[str, bytes]:
        """Give what must be on disk together with the readings: what was seen, and what is missing."""
        now = self._recording.clock.monotonic()
        if self._based_at is None or now - self._based_at > BASE_NS:
            self._base, self._based_at = self._holes.rebase(), now
        based = {} if self._base is None else {f"history-base:{self._name}": self._base}
        return {f"history:{self._name}": self._holes.dump(), **based}

    def written(self, checkpoints: Mapping[str, bytes]) -> None:
        """Note that checkpoints are on disk: their base need not be written again."""
        if checkpoints.get(f"history-base:{self._name}") is self._base:
            self._base = None

    # ── beside the live reading ──

    async def fill(self, driver: Historical, source: SourceState) -> None:
        """Fill holes until there are none left or the connection is lost; the next one goes on."""
        await self._back.wait()
        clock = self._recording.clock
        try:
            await clock.sleep(SETTLE_S)
            while self._holes.open:
                self._tell(source)
                hole = min(self._holes.open, key=lambda hole: self._due.get(hole.opened, 0))
                if len(self._holes.open) > MOST:
                    hole = self._holes.open[0]
                    self._holes.give_up(hole, "too many outages to fill", clock.now())
                wait_s = (self._due.get(hole.opened, 0) - clock.monotonic()) / 1e9
                if wait_s > 0 and not hole.done.all():
                    await clock.sleep(min(wait_s, 1.0))
                    continue
                await self._work_on(hole, driver, source)
                if hole.done.all():
                    await self._close(hole)
                    if not self._holes.open:
                        log.info("history is complete: source=%s", self._name)
            source.health.notes.pop("history", None)
        except DriverError as error:
            log.info("history breaks off, to go on at the next connect: source=%s why=%s", self._name, error)

    def _tell(self, source: SourceState) -> None:
        left = sum(int((~hole.done).sum()) for hole in self._holes.open)
        source.health.notes["history"] = f"{len(self._holes.open)} outage(s) to fill, {left} tag(s) to go"

    async def _work_on(self, hole: Hole, driver: Historical, source: SourceState) -> None:
        """Ask for all tags of a hole that can be asked for, and take what comes."""
        clock, holes = self._recording.clock, self._holes
        self._clip(hole)
        ready = np.flatnonzero(hole.ready())
        if not len(ready):
            self._due[hole.opened] = clock.monotonic() + WAIT_NS
            if not hole.done.all() and clock.now() - hole.opened > PATIENCE_NS:
                holes.give_up(hole, "no live value came since", clock.now())
            return
        index = [holes.tags[position].index for position in hole.position[ready].tolist()]
        since = dict(zip(index, hole.since[ready].tolist(), strict=True))
        until = dict(zip(index, hole.until[ready].tolist(), strict=True))
        tries = self._tries.get(hole.opened, 0)
        late = False
        self._due.pop(hole.opened, None)
        async with aclosing(driver.history(since, until)) as pieces:
            async for piece in pieces:
                holes.note_start(hole, source.health.started)
                late |= await self._take(hole, piece, last_try=tries >= len(LATE_S))
        if late:
            self._tries[hole.opened] = tries + 1
            self._due[hole.opened] = clock.monotonic() + round(LATE_S[tries] * 1e9)

    def _clip(self, hole: Hole) -> None:
        """Give up what lies further back than the configuration asks for."""
        far = hole.ready() & (hole.until - hole.since > self._limit)
        if far.any():
            why = f"longer ago than history_max_h = {self._limit / 3.6e12:g}"
            at = np.flatnonzero(far)
            begin = hole.until[at] - self._limit
            self._holes.lose(
                hole,
                [
                    Missing(self._holes.tags[hole.position[i]].index, int(hole.since[i]), int(new), why)
                    for i, new in zip(at, begin, strict=True)
                ],
            )
            hole.since[at] = begin

    async def _take(self, hole: Hole, piece: Recalled, *, last_try: bool) -> bool:
        """Commit a piece with how far it reaches; tells whether some of it may only not be written yet."""
        again = set() if last_try else {one.tag for one in piece.missing if one.late}
        self._holes.lose(hole, [one for one in piece.missing if last_try or not one.late])
        self._holes.finish(hole, [tag for tag in piece.finished if tag not in again])
        if piece.readings is not None and len(piece.readings):
            kept = self._worth(piece.readings)
            self._holes.took(hole, piece.readings)
            failpoint.reach("edge.backfill")
            checkpoints = self.checkpoints()
            if await self._recording.commit([], readings=[kept], checkpoints=checkpoints):
                self.written(checkpoints)
            failpoint.reach("edge.backfilled")
            await self._recording.clock.sleep(max(0.01, len(piece.readings) / PER_SECOND))
        return bool(again)

    def _worth(self, batch: Readings) -> Readings:
        """Give the rows beyond the tag's deadband, as the live line records them."""
        keep = np.ones(len(batch), np.bool_)
        for row, (tag, value, status, at) in enumerate(batch):
            if not isinstance(value, float):
                continue
            last = self._kept.get(tag)
            deadband = self._recording.site.table.tags[tag].spec.deadband
            if (
                last is not None
                and abs(value - last[0]) <= deadband
                and status == last[1]
                and 0 <= at - last[2] < HEARTBEAT_NS
                and not status & quality.BAD
            ):
                keep[row] = False
            else:
                self._kept[tag] = (value, status, at)
        return batch if keep.all() else batch.take(keep)

    async def _close(self, hole: Hole) -> None:
        """Say what became of an outage; with it the hole leaves the disk."""
        self._holes.close(hole)
        self._kept.clear()
        facts: list[Fact] = []
        table = self._recording.site.table
        positions = hole.position.tolist()
        for (work_unit, why), stretch in sorted(hole.lost.items()):
            names = [table.tags[index].spec.name for index in sorted(stretch.tags)]
            whole = len(names) == len(self._recording.pipelines[work_unit].tags)
            facts.append(
                Gap(
                    at=stretch.end, work_unit=work_unit, source=self._name, start=stretch.start, tags=len(names),
                    reason=f"{hole.reason}; {why}", names=[] if whole else names[:NAMED],
                )
            )  # fmt: skip
        for work_unit in dict.fromkeys(self._holes.tags[position].work_unit for position in positions):
            lost = {tag for (line, _), stretch in hole.lost.items() if line == work_unit for tag in stretch.tags}
            mine = [i for i, p in enumerate(positions) if self._holes.tags[p].work_unit == work_unit]
            filled = [i for i in mine if self._holes.tags[positions[i]].index not in lost]
            if filled:
                facts.append(
                    Backfilled(
                        at=int(max(hole.until[filled].max(), hole.begin[filled].max())),
                        work_unit=work_unit, source=self._name, start=int(hole.begin[filled].min()),
                        tags=len(filled), readings=hole.readings.get(work_unit, 0),
                    )
                )  # fmt: skip
        readings = sum(hole.readings.values())
        log.info("filled from history: source=%s readings=%d gaps=%d", self._name, readings, len(hole.lost))
        await self._recording.commit([], facts, checkpoints=self.checkpoints())
