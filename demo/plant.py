"""The plant: four lines, what couples them, and the store of materials; one seed, one trace.

plant = Plant(seed=7, start=…)
for moment in plant.advance(until):      # every event in time order, each with its own time
    moment.line.observe(moment.at)       # what the machine shows then
plant.line["line-1"].observe(until)      # and at any moment between events
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.plant_line import Line, Totals
from demo.plant_spec import COUPLINGS, DAY, HOUR, KST_OFFSET, LINES, MATERIALS, PRODUCT, Coupling, Material
from sync.equipment import PackML

SNAPSHOT = 1
"""Form of a saved plant; an older file is not read, the plant then begins anew."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something happened on a line at a time; `changed` when state, reason or order did, else only counters."""

    at: int
    line: Line
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What the store holds of a material."""

    material: Material
    quantity: float
    daily_usage: float | None


class Plant:
    """The bottling hall. Time only goes forward, and only by `advance`."""

    def __init__(self, *, seed: int, start: int) -> None:
        self.seed = seed
        self.start = start
        self.now = start
        self.open = True
        self.lines = tuple(Line(spec, seed, start) for spec in LINES)
        self.line = {line.spec.line: line for line in self.lines}
        self._delivered = {material.code: 0.0 for material in MATERIALS}
        self._used_daily: deque[dict[str, float]] = deque(maxlen=8)
        self._store_at = (start + KST_OFFSET) // DAY * DAY - KST_OFFSET + 7 * HOUR
        while self._store_at <= start:
            self._store_at += DAY

    def advance(self, until: int) -> Iterator[Moment]:
        """Let everything happen that is due up to `until`, giving each event just after it happened."""
        while True:
            line = min(self.lines, key=_until)
            at, coupling = self._coupling_due(line.until)
            at = min(at, self._store_at)
            if at > until:
                break
            if at == self._store_at:
                self._mind_the_store()
                continue
            if coupling is not None:
                line = self._couple(coupling, at)
                changed = True
            else:
                before = (line.stage.state, line.stage.since, line.order_since)
                line.advance()
                changed = before != (line.stage.state, line.stage.since, line.order_since)
            self.now = at
            yield Moment(at, line, changed)
        self.now = max(self.now, until)

    def run_to(self, until: int) -> None:
        """Advance when nobody wants to know what happens on the way."""
        for _ in self.advance(until):
            pass

    def close(self) -> None:
        """Stop making anything: from now on every counter stands still, until `reopen`."""
        if self.open:
            self.open = False
            for line in self.lines:
                line.close(self.now)

    def reopen(self) -> None:
        """Begin again after `close`."""
        if not self.open:
            self.open = True
            for line in self.lines:
                line.reopen(self.now)

    def totals(self) -> dict[str, Totals]:
        """Give the true counters now: work unit → totals since the plant was built."""
        return {line.spec.work_unit: line.totals(self.now) for line in self.lines}

    def stocks(self) -> list[Stock]:
        """Give what the store holds now."""
        used = self._used()
        days = len(self._used_daily) - 1
        return [
            Stock(
                material=material,
                quantity=round(material.start + self._delivered[material.code] - used[material.code], 1),
                daily_usage=round(
                    (self._used_daily[-1][material.code] - self._used_daily[0][material.code]) / days,
                    2,
                )
                if days > 0
                else None,
            )
            for material in MATERIALS
        ]

    # --- coupling and store -----------------------------------------------------------------------------------

    def _coupling_due(self, before: int) -> tuple[int, Coupling | None]:
        """Give the first coupling that acts before a time, or that time itself."""
        first: Coupling | None = None
        for coupling in COUPLINGS:
            cause, victim = self.line[coupling.cause], self.line[coupling.victim]
            stage = victim.stage
            if stage.state is PackML.EXECUTE and cause.stopped_since is not None:
                due = max(cause.stopped_since + round(coupling.buffer_s * 1e9), stage.since)
            elif (
                stage.state is PackML.SUSPENDED
                and stage.reason == coupling.reason
                and cause.stage.state is PackML.EXECUTE
            ):
                due = max(cause.stage.since + round(coupling.lag_s * 1e9), stage.since)
            else:
                continue
            if due < before:
                before, first = due, coupling
        return before, first

    def _couple(self, coupling: Coupling, at: int) -> Line:
        victim = self.line[coupling.victim]
        if victim.stage.state is PackML.EXECUTE:
            victim.suspend(at, coupling.reason)
        else:
            victim.resume(at)
        return victim

    def _used(self) -> dict[str, float]:
        used = {material.code: 0.0 for material in MATERIALS}
        for line in self.lines:
            for product, made in line.made_of.items():
                for material, per_piece in PRODUCT[product].materials.items():
                    used[material] += made * per_piece
        return used

    def _mind_the_store(self) -> None:
        """Once a day: note what was used, and take in what had fallen below its reorder point."""
        used = self._used()
        self._used_daily.append(used)
        for material in MATERIALS:
            left = material.start + self._delivered[material.code] - used[material.code]
            while left < material.reorder:
                self._delivered[material.code] += material.delivery
                left += material.delivery
        self._store_at += DAY

    # --- keeping ----------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the plant to a file, whole or not at all."""
        draft = path.with_suffix(".new")
        draft.write_bytes(pickle.dumps((SNAPSHOT, self)))
        draft.replace(path)


def _until(line: Line) -> int:
    return line.until


def load(path: Path) -> Plant | None:
    """Give the plant that was saved, or None when there is none of this form. Only for files the demo wrote itself."""
    if not path.exists():
        return None
    form, plant = pickle.loads(path.read_bytes())  # noqa: S301  (our own file in .demo, never a stranger's)
    return plant if form == SNAPSHOT and isinstance(plant, Plant) else None
