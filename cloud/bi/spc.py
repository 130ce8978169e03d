"""Control charts of what was measured: limits frozen in rules or made of the oldest points shown, signals, capability. Pure.

Samples that share a name are one subgroup (X-bar); samples of one value are individuals (I-MR). Limits are made of the oldest
part of the period only, so that what changed later shows as a signal and does not widen its own limits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from models.spc import NELSON, USUAL, WESTERN_ELECTRIC, Design, Limits, LimitsError, Point, Signal, series
from models.spc.capability import Capability, CapabilityError, Specification, capability, of_values, of_windows
from models.spc.phase1 import MIN_POINTS, Estimate, PhaseOneError, Subgroup, counts, individuals, subgroups

RuleSet = Literal["usual", "nelson", "western_electric"]
RULE_SETS: Final[Mapping[RuleSet, tuple[str, ...]]] = {
    "usual": USUAL,
    "nelson": NELSON,
    "western_electric": WESTERN_ELECTRIC,
}
BASE: Final = 100
"""Points that limits are made of: from so many on they are no longer rough (Quesenberry 1993)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One quality result; times in ns."""

    at: int
    value: float
    sample: str = ""
    product: str | None = None
    lot: str | None = None
    low: float | None = None
    high: float | None = None
    passed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plotted:
    """One point of a chart."""

    at: int
    value: float
    size: float
    spread: float | None
    """Standard deviation within the subgroup; of individuals the moving range."""
    lower: float | None
    upper: float | None
    lot: str | None = None
    sample: str = ""
    counted: int | None = None
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with all that a reader has to know about its limits."""

    kind: Literal["individuals", "xbar", "p"]
    points: tuple[Plotted, ...]
    limits: Limits | None
    source: Literal["frozen", "computed", "none"]
    why: str = ""
    """Why there are no limits."""
    used: int = 0
    """Points that computed limits were made of."""
    excluded: int = 0
    doubts: tuple[Mapping[str, str], ...] = ()
    version: str = ""
    ruleset: str = ""
    spread_center: float | None = None
    spread_upper: float | None = None
    spread_lower: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Limits that a ruleset holds a characteristic against."""

    limits: Limits
    ruleset: str
    version: str


@dataclass(frozen=True, slots=True)
class _Group:
    at: int
    values: tuple[float, ...]
    lot: str | None
    sample: str
    counted: int | None = None

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @property
    def deviation(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(slots=True)
class _Open:
    at: int
    lot: str | None
    values: list[float] = field(default_factory=list[float])


def _groups(measured: Sequence[Measured]) -> list[_Group]:
    """Put values of one sample together, in the order of time; a sample without a name stands alone."""
    found: dict[str, _Open] = {}
    for number, one in enumerate(measured):
        group = found.setdefault(one.sample or f"\0{number}", _Open(one.at, one.lot))
        group.values.append(one.value)
    return [
        _Group(one.at, tuple(one.values), one.lot, "" if name.startswith("\0") else name) for name, one in found.items()
    ]


def measured_chart(measured: Sequence[Measured], rules: RuleSet, frozen: Frozen | None = None) -> Chart:
    """Draw up X-bar or I-MR, whichever the samples are. measured: in the order of time."""
    groups = _groups(measured)
    many = [group for group in groups if len(group.values) > 1]
    if 2 * len(many) > len(groups):
        return _xbar(many, rules, frozen)
    return _individuals(groups, rules, frozen)


def _xbar(groups: Sequence[_Group], rules: RuleSet, frozen: Frozen | None) -> Chart:
    base = groups[: _base(len(groups))]
    limits, told = _limits(frozen, "xbar", lambda: subgroups([Subgroup(values=group.values) for group in base]))
    points = [Point(value=g.mean, size=float(len(g.values)), spread=g.deviation) for g in groups]
    return _plot(groups, points, limits, Design(rules=RULE_SETS[rules]), told)


def _individuals(groups: Sequence[_Group], rules: RuleSet, frozen: Frozen | None) -> Chart:
    base = groups[: _base(len(groups))]
    limits, told = _limits(frozen, "individuals", lambda: individuals([group.mean for group in base]))
    points = [Point(value=group.mean) for group in groups]
    return _plot(groups, points, limits, Design(rules=RULE_SETS[rules], moving_range=True), told)


def proportion_chart(counted: Sequence[tuple[int, int, int]], rules: RuleSet) -> Chart:
    """Draw up a p chart of (time in ns, faulty, inspected); with Laney's factor where counts vary more than chance."""
    kept = [one for one in counted if one[2] > 0]
    base = kept[: _base(len(kept))]
    samples = [Subgroup(counted=faulty, inspected=inspected) for _, faulty, inspected in base]
    limits, told = _limits(None, "p", lambda: _proportion(samples))
    groups = [_Group(at, (faulty / inspected,), None, "", faulty) for at, faulty, inspected in kept]
    points = [Point(value=faulty / inspected, size=float(inspected)) for _, faulty, inspected in kept]
    return _plot(groups, points, limits, Design(rules=RULE_SETS[rules]), told)


def _proportion(samples: Sequence[Subgroup]) -> Estimate:
    """Thousands of pieces a shift vary more than the binomial law says nearly always: then Laney's p' chart."""
    return counts(samples, "p", laney=True if sum(s.inspected for s in samples) > 1000 * len(samples) else None)


def _base(count: int) -> int:
    """Give how many of the oldest points the limits are made of: half of them, from MIN_POINTS to BASE."""
    return min(count, max(MIN_POINTS, min(BASE, count // 2)))


def _limits(frozen: Frozen | None, kind: str, estimate: Callable[[], Estimate]) -> tuple[Limits | None, dict[str, Any]]:
    if frozen is not None and frozen.limits.kind == kind:
        return frozen.limits, {"kind": kind, "source": "frozen", "version": frozen.version, "ruleset": frozen.ruleset}
    try:
        found = estimate()
    except (PhaseOneError, LimitsError) as error:
        return None, {"kind": kind, "source": "none", "why": str(error)}
    return found.limits, {
        "kind": kind,
        "source": "computed",
        "used": found.points,
        "excluded": len(found.excluded),
        "doubts": tuple(found.doubts),
        "spread_center": found.spread_center,
        "spread_lower": found.spread_lower,
        "spread_upper": found.spread_upper,
    }


def _plot(
    groups: Sequence[_Group],
    points: Sequence[Point],
    limits: Limits | None,
    design: Design,
    told: dict[str, Any],
) -> Chart:
    kind: Literal["individuals", "xbar", "p"] = told.pop("kind")
    signals = [()] * len(points) if limits is None else [found for _, found in series(limits, design, points)]
    plotted: list[Plotted] = []
    for number, (group, point) in enumerate(zip(groups, points, strict=True)):
        moved = abs(point.value - points[number - 1].value) if kind == "individuals" and number else None
        plotted.append(
            Plotted(
                at=group.at,
                value=point.value,
                size=point.size,
                spread=moved if kind == "individuals" else point.spread,
                lower=None if limits is None else limits.line(-3, point.size),
                upper=None if limits is None else limits.line(3, point.size),
                lot=group.lot,
                sample=group.sample,
                counted=group.counted,
                signals=signals[number],
            )
        )
    return Chart(kind=kind, points=tuple(plotted), limits=limits, **told)


def capable(measured: Sequence[Measured]) -> tuple[Capability | None, Specification | None, str]:
    """Give Cp, Cpk and their like over the newest specification, or why there is none.

    σ within is of the subgroups where samples have several values, else of neighbours.
    """
    newest = next((one for one in reversed(measured) if one.low is not None or one.high is not None), None)
    if newest is None:
        return None, None, "no_specification"
    mine = [one for one in measured if (one.low, one.high) == (newest.low, newest.high)]
    groups = _groups(mine)
    many = [group for group in groups if len(group.values) > 1]
    values = [one.value for one in mine]
    if 2 * len(many) > len(groups):
        moments = of_windows([_window(group.values) for group in groups])
    else:
        moments = of_values(values)
    try:
        specification = Specification(newest.low, newest.high)
        return capability(moments, specification, values=values), specification, ""
    except CapabilityError as error:
        return None, None, str(error)


def _window(values: Sequence[float]) -> tuple[float, float, float]:
    mean = math.fsum(values) / len(values)
    return float(len(values)), mean, math.fsum((value - mean) ** 2 for value in values)
