"""One point after the other: what a chart remembers, and what a new point signals. A batch is the same, point by point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from models.spc.constants import range_limits, s_limits
from models.spc.limits import Limits
from models.spc.rules import RULES, Fired, Side, fired, span

Spread = Literal["stddev", "range"]


WEIGHT: Final = 0.2
WIDTH: Final = 2.962
"""With λ = 0.2 an EWMA of this L gives one false alarm in 500 points: Lucas & Saccucci (1990), Technometrics 32(1), 1-12."""
K: Final = 0.5
H: Final = 5.0
"""With k = 0.5 a CUSUM gives one false alarm in 465 points: Lucas & Crosier (1982), Technometrics 24(3), 199-205."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How a chart looks at its points."""

    rules: tuple[str, ...] = ()
    """Names in `RULES`, on the points themselves, also beside EWMA and CUSUM."""
    moving_range: bool = False
    """Whether the distance of two neighbours is held against its own limit (individuals)."""
    weight: float = WEIGHT
    """λ of an EWMA."""
    width: float = WIDTH
    """L of an EWMA, in its own σ."""
    steady: bool = False
    """Whether an EWMA has its final limits from the first point on."""
    k: float = K
    """Reference value of a CUSUM in σ: half the shift that is to be found."""
    h: float = H
    """Decision interval of a CUSUM in σ."""
    head_start: float = 0.0
    """Where both sums begin, in σ: h / 2 is the fast initial response of Lucas & Crosier (1982)."""
    restart: bool = False
    """Whether a sum begins anew after it signalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a chart remembers between points."""

    count: int = 0
    """Points of the series so far."""
    z: tuple[float, ...] = ()
    """The newest points in σ from the centre, at most what the rules look back on."""
    value: float | None = None
    """The newest plotted value (for the moving range)."""
    ewma: float = 0.0
    variance: float = 0.0
    """Of the EWMA."""
    high: float = 0.0
    low: float = 0.0
    """The two sums of a CUSUM, in σ."""
    high_run: int = 0
    low_run: int = 0
    """Points since each sum was last zero: when the shift is likely to have begun."""


NO_MEMORY: Final = Memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One plotted value."""

    value: float
    size: float = 1.0
    """Values it is the mean of, or units inspected."""
    spread: float | None = None
    """Standard deviation (with n - 1) or range within the subgroup; None = not looked at."""
    spread_kind: Spread = "stddev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that a point completes."""

    rule: str
    """Name in `RULES`, or moving_range, spread, ewma, cusum."""
    side: Side | None
    value: float
    line: float
    """What the value is held against."""
    first: int
    """Number of the first point that takes part; the newest is `Memory.count`."""
    points: tuple[int, ...]
    """Numbers of all that do."""


def advance(limits: Limits, design: Design, memory: Memory, point: Point) -> tuple[Memory, tuple[Signal, ...]]:
    """Take a point into a chart: give what to remember, and the signals, those of the rules in the order asked."""
    count = memory.count + 1
    here = limits.place(point.value, point.size)
    reach = span(design.rules)
    z = (*memory.z, here)[-reach:]
    signals = [_told(limits, one, point, count) for one in fired(design.rules, z)]
    kept = z[-(reach - 1) :] if reach > 1 else ()
    if design.moving_range:
        signals += _moving_range(limits, memory, point, count)
    if point.spread is not None and point.size >= 2:
        signals += _spread(limits, point, count)
    match limits.kind:
        case "ewma":
            average, variance, found = _ewma(limits, design, memory, point, count)
            after = Memory(count=count, z=kept, value=point.value, ewma=average, variance=variance)
        case "cusum":
            after, found = _cusum(design, memory, here, Memory(count=count, z=kept, value=point.value))
        case _:
            after, found = Memory(count=count, z=kept, value=point.value), []
    return after, tuple(found + signals)


def series(limits: Limits, design: Design, points: Iterable[Point]) -> list[tuple[Memory, tuple[Signal, ...]]]:
    """Take points one after the other into an empty chart."""
    memory = NO_MEMORY
    told: list[tuple[Memory, tuple[Signal, ...]]] = []
    for point in points:
        memory, signals = advance(limits, design, memory, point)
        told.append((memory, signals))
    return told


def _told(limits: Limits, one: Fired, point: Point, count: int) -> Signal:
    rule = RULES[one.rule]
    sign = -1.0 if one.side == "low" or (one.side is None and point.value < limits.centre(point.size)) else 1.0
    points = tuple(count - back for back in one.back)
    line = limits.line(sign * rule.line, point.size)
    return Signal(rule=one.rule, side=one.side, value=point.value, line=line, first=points[0], points=points)


def _moving_range(limits: Limits, memory: Memory, point: Point, count: int) -> list[Signal]:
    """Hold |x - previous x| against D2 σ = 3.686 σ, its upper limit for ranges of two (its lower one is 0)."""
    if memory.value is None:
        return []
    moved = abs(point.value - memory.value)
    upper = range_limits(2, limits.deviation(1.0))[2]
    if not moved > upper:
        return []
    side: Side = "high" if point.value > memory.value else "low"
    return [Signal(rule="moving_range", side=side, value=moved, line=upper, first=count - 1, points=(count - 1, count))]


def _spread(limits: Limits, point: Point, count: int) -> list[Signal]:
    if point.spread is None or limits.sigma is None:
        return []
    bounds = (s_limits if point.spread_kind == "stddev" else range_limits)(round(point.size), limits.sigma)
    lower, _, upper = bounds
    if point.spread > upper:
        return [Signal(rule="spread", side="high", value=point.spread, line=upper, first=count, points=(count,))]
    if point.spread < lower:
        return [Signal(rule="spread", side="low", value=point.spread, line=lower, first=count, points=(count,))]
    return []


def _ewma(
    limits: Limits, design: Design, memory: Memory, point: Point, count: int
) -> tuple[float, float, list[Signal]]:
    """Step zᵢ = λxᵢ + (1-λ)zᵢ₋₁ from z₀ = the centre, and its variance λ²σᵢ² + (1-λ)²·var.

    With equal subgroups the variance is σ² λ/(2-λ) (1 - (1-λ)²ⁱ), Roberts (1959); stepped it holds for unequal ones too.
    """
    weight, deviation = design.weight, limits.deviation(point.size)
    before = memory.ewma if memory.count else limits.center
    average = weight * point.value + (1 - weight) * before
    variance = (weight * deviation) ** 2 + (1 - weight) ** 2 * memory.variance
    used = deviation**2 * weight / (2 - weight) if design.steady else variance
    reach = design.width * math.sqrt(used)
    if not abs(average - limits.center) > reach:
        return average, variance, []
    side: Side = "high" if average > limits.center else "low"
    line = limits.center + (reach if side == "high" else -reach)
    return average, variance, [Signal(rule="ewma", side=side, value=average, line=line, first=1, points=(count,))]


def _cusum(design: Design, memory: Memory, z: float, after: Memory) -> tuple[Memory, list[Signal]]:
    """Step C⁺ = max(0, C⁺ + z - k) and C⁻ = max(0, C⁻ - z - k); beyond h they signal. Page (1954), tabular form."""
    high, low = (memory.high, memory.low) if memory.count else (design.head_start, design.head_start)
    high, high_run, above = _sum(design, high + z, memory.high_run, "high", after.count)
    low, low_run, beneath = _sum(design, low - z, memory.low_run, "low", after.count)
    return replace(after, high=high, low=low, high_run=high_run, low_run=low_run), above + beneath


def _sum(design: Design, value: float, run: int, side: Side, count: int) -> tuple[float, int, list[Signal]]:
    """Give one sum, how many points it has been above zero, and its signal."""
    total = max(0.0, value - design.k)
    length = run + 1 if total > 0 else 0
    if not total > design.h:
        return total, length, []
    first = count - length + 1
    signal = Signal(rule="cusum", side=side, value=total, line=design.h, first=first, points=(first, count))
    return (0.0, 0, [signal]) if design.restart else (total, length, [signal])
