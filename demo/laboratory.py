"""The plant's laboratory: five pieces from the line every half hour, weighed and tried; the same sample, the same values.

Its stories: juice on line 2 is filled short (the pressure of that recipe is too low), and on line 3 the capping heads
loosen towards the end of an order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from demo.plant_orders import Order
from demo.plant_spec import DAY, MINUTE, SECOND

PIECES: Final = 5
"""Of a sample: one subgroup of a control chart."""
TOLD_BY_MES: Final = DAY
"""How far back the MES tells results; what is older belongs to the history."""


@dataclass(frozen=True, slots=True)
class Test:
    """What a piece is tried for; `spread` is one sigma of the process."""

    characteristic: str
    unit: str
    every: int
    low: float
    middle: float
    high: float
    spread: float


_FILLER: Final = (
    Test("fill_weight", "GRM", 30 * MINUTE, -6.0, 0.0, 6.0, 1.5),
    Test("cap_torque", "NU", 60 * MINUTE, 1.4, 1.8, 2.2, 0.09),
)
_PACKER: Final = (
    Test("case_weight", "KGM", 30 * MINUTE, -0.15, 0.0, 0.15, 0.035),
    Test("seal_strength", "NEW", 60 * MINUTE, 40.0, 52.0, 70.0, 2.8),
)
_NOMINAL: Final = {
    "water-500": 500.0,
    "sparkling-500": 500.0,
    "juice-350": 350.0,
    "case-sparkling-24": 12.9,
    "case-juice-12": 4.7,
}
"""What one weighs: limits of weights are told as differences from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One piece, one figure."""

    at: int
    characteristic: str
    unit: str
    value: float
    low: float
    high: float
    sample: str

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high


def results(order: Order, since: int, until: int) -> Iterator[Result]:
    """Give what was found of an order in [since, until), ns; nothing before it began or after it ended."""
    for test in _PACKER if order.work_unit.startswith("packaging/") else _FILLER:
        first = max(order.start, since)
        for at in range(first - first % test.every + test.every, min(order.end, until), test.every):
            yield from _sample(order, test, at)


def _sample(order: Order, test: Test, at: int) -> Iterator[Result]:
    nominal = _NOMINAL.get(order.product, 0.0) if "weight" in test.characteristic else 0.0
    sample = f"S-{order.order}-{test.characteristic}-{(at // MINUTE) % 100_000}"
    chance = random.Random(sample)
    off = _off(order, test, at)
    for piece in range(PIECES):
        yield Result(
            at=at + piece * 10 * SECOND,
            characteristic=test.characteristic,
            unit=test.unit,
            value=round(nominal + chance.gauss(test.middle + off, test.spread), 3),
            low=round(nominal + test.low, 3),
            high=round(nominal + test.high, 3),
            sample=sample,
        )


def _off(order: Order, test: Test, at: int) -> float:
    if test.characteristic == "fill_weight" and "/line-2/" in order.work_unit and order.product == "juice-350":
        return -1.7 * test.spread
    if test.characteristic == "cap_torque" and "/line-3/" in order.work_unit:
        done = (at - order.start) / max(1, order.end - order.start)
        return -2.4 * test.spread * max(0.0, done - 0.6)
    return 0.0
