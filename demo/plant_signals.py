"""What the sensors of a line say: lagged physical quantities with repeatable noise, and sensors that fail.

A value is a function of the seed and the time, not of how often anyone looks: sampled on the sensor's own grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from demo.plant_spec import SECOND, Signal
from sync.quality import BAD_SENSOR_FAILURE, GOOD

FaultKind = Literal["stuck", "spike", "dropout"]
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Value:
    """What a tag says: value, when it became so (ns UTC, the machine's clock), and how much it is to be trusted."""

    value: float | int | str | None
    at: int
    status: int = GOOD


def scramble(number: int) -> int:
    """Give 64 well-mixed bits of a number (splitmix64): the same number, the same bits, on every machine."""
    x = (number + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _noise(bits: int) -> float:
    """Make a nearly normal number (mean 0, deviation 1, never beyond ±3.5) of 64 bits: the sum of four uniforms."""
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total / 65536.0 - 2.0) * math.sqrt(3.0)


@dataclass(slots=True)
class Fault:
    """A sensor that misbehaves from `start` until `end`."""

    kind: FaultKind
    start: int
    end: int


class Sensor:
    """One signal's physics and its sensor."""

    disturbed = False
    """An excursion pulls at the quantity; only who knows the truth may look (`demo.training_data`)."""

    def __init__(self, spec: Signal, seed: int, at: int) -> None:
        self.spec = spec
        self.fault: Fault | None = None
        self.excursion_until = 0
        self._seed = scramble(seed)
        self._at = at
        self._from = spec.idle
        self._target = spec.idle
        self._tau = spec.tau_s * SECOND
        self._period = round(spec.period_s * SECOND)

    def aim(self, at: int, *, running: bool, product: str, wear: float) -> None:
        """Let the quantity move towards the target of the present state, from where it is."""
        spec = self.spec
        target = spec.idle
        self.disturbed = running and at < self.excursion_until
        if running:
            target = spec.run + spec.by_product.get(product, 0.0) + spec.wear * wear * wear
            if self.disturbed:
                target += spec.excursion
        if target != self._target:
            self._from = self._physical(at)
            self._at = at
            self._target = target

    def _physical(self, at: int) -> float:
        elapsed = (at - self._at) / self._tau
        return self._target + (self._from - self._target) * math.exp(-elapsed) if elapsed < 40 else self._target

    def _sample(self, at: int) -> float:
        noise = self.spec.noise * _noise(scramble(self._seed ^ at // self._period))
        return round(self._physical(max(at, self._at)) + noise, self.spec.decimals)

    def read(self, at: int) -> Value:
        """Give the newest sample at a time: on the sensor's grid, faults included."""
        at -= at % self._period
        fault = self.fault
        if fault is None or not fault.start <= at < fault.end:
            return Value(self._sample(at), at)
        if fault.kind == "dropout":
            return Value(None, at, BAD_SENSOR_FAILURE)
        if fault.kind == "stuck":
            return Value(self._sample(fault.start), at)
        value = self._sample(at)
        spiked = scramble(self._seed ^ at) % 5 == 0
        return Value(round(value * 3.0, self.spec.decimals) if spiked else value, at)
