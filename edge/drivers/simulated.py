"""A seeded machine inside the gateway: the smallest driver, the one to copy.

The ten rules: no connection, so nothing to answer late and nothing to leave open; every value is invented, which is
this driver's purpose, and repeatable by its seed; its clock is the gateway's; it writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from edge.connections import Simulated
from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverHealth
from edge.drivers.schedule import Beat
from edge.tags import Tag
from sync.clock import Clock
from sync.equipment import PackML
from sync.reading import Readings

SWING = 0.25
"""How far a measurement wanders around the middle of its range, as a part of the range."""


class SimulatedDriver:
    """Measurements wander, counters count, the machine executes."""

    def __init__(self, config: Simulated, tags: Sequence[Tag], clock: Clock) -> None:
        self.health = DriverHealth()
        self._columns = TagColumns(tags)
        self._clock = clock
        self._random = np.random.default_rng(config.seed)
        self._beat = Beat(clock, config.period_ms / 1000)
        self._counted = np.zeros(len(tags))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def readings(self) -> AsyncGenerator[Readings]:
        while True:
            self.health.overruns += await self._beat.wait()
            self.health.requests += 1
            yield self._scan(self._clock.now())

    def _scan(self, now: int) -> Readings:
        n = len(self._columns)
        value = np.empty(n)
        other: dict[int, str | int] = {}
        for i, tag in enumerate(self._columns.tags):
            spec = tag.spec
            match spec.role:
                case "counter":
                    self._counted[i] += float(
                        self._random.poisson(0.05 if spec.counter in {"scrap", "defect"} else 1.0)
                    )
                    value[i] = self._counted[i] % spec.rollover if spec.rollover else self._counted[i]
                case "state":
                    value[i] = PackML.EXECUTE
                case "clock":
                    value[i] = now // 1_000_000
                case _ if spec.type == "string":
                    value[i] = np.nan
                    other[i] = f"{spec.name}-1"
                case "reason" | "context":
                    value[i] = 0
                case _:
                    value[i] = self._measurement(spec.low, spec.high)
            if spec.role in {"measurement", "setpoint"}:
                value[i] = (value[i] - spec.offset) / spec.scale  # raw, as a machine would give it
        none = np.zeros(n, np.int64)
        return self._columns.readings(
            np.arange(n), value, np.zeros(n, np.uint32), source_time=none, server_time=none, received=now, other=other
        )

    def _measurement(self, low: float | None, high: float | None) -> float:
        bottom = 0.0 if low is None else low
        top = bottom + 100.0 if high is None else high
        wander = float(np.clip(self._random.normal(0.0, SWING / 3), -SWING, SWING))
        return (bottom + top) / 2 + wander * (top - bottom)
