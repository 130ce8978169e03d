"""Process capability: Cp, Cpk, Pp, Ppk and Cpm with confidence intervals, or a reason why there is none.

Cp and Cpk use the spread within subgroups (or between neighbours), Pp and Ppk all of it. Kane, V. E. (1986), "Process Capability
Indices", Journal of Quality Technology 18(1), 41-52; Cpm: Chan, Cheng & Spiring (1988), JQT 20(3), 162-175; intervals: chi-square
for Cp and Pp, Bissell, A. F. (1990), "How Reliable Is Your Capability Index?", Applied Statistics 39(3), 331-340, for Cpk and Ppk,
Boyles, R. A. (1991), "The Taguchi Capability Index", JQT 23(1), 17-26, for Cpm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.spc.constants import below, d2
from models.spc.distributions import anderson_darling, chi_square_quantile, normal_quantile

MIN_VALUES: Final = 30
"""Below this Cpk is known no better than ± 30 %: there is no index, but a reason."""
NOT_NORMAL: Final = 0.005
"""p-value of the Anderson-Darling test below which a warning is given."""


class CapabilityError(ValueError):
    """No index can be given; the message says why."""


@dataclass(frozen=True, slots=True)
class Specification:
    """What the product must keep; at least one side. The target is the middle unless it is given."""

    lower: float | None = None
    upper: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.lower, self.upper, self.target) if value is not None]
        if not all(math.isfinite(value) for value in given):
            raise CapabilityError("a specification limit is not a finite number")
        if self.lower is None and self.upper is None:
            raise CapabilityError("give lsl, usl or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise CapabilityError(f"lsl {self.lower:g} is not below usl {self.upper:g}")
        outside = self.target is not None and (
            (self.lower is not None and self.target <= self.lower)
            or (self.upper is not None and self.target >= self.upper)
        )
        if outside:
            raise CapabilityError(f"target {self.target:g} is not within the specification")

    @property
    def aim(self) -> float | None:
        """Give the target; the middle of two limits without one; None for one side and no target."""
        if self.target is not None:
            return self.target
        return None if self.lower is None or self.upper is None else (self.lower + self.upper) / 2


@dataclass(frozen=True, slots=True)
class Index:
    """An index and its two-sided confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a process is capable of. Indices that need a second limit or a target are None without."""

    count: int
    mean: float
    within: float
    """σ within subgroups, or from neighbours."""
    overall: float
    """Standard deviation of all values, with n - 1."""
    cp: Index | None
    cpk: Index
    pp: Index | None
    ppk: Index
    cpm: Index | None
    beyond: float
    """Share expected beyond the specification, from mean and overall σ of a normal distribution."""
    normal_p: float | None
    """p-value of the Anderson-Darling test; None when it could not be made."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moments:
    """What is needed of the values: their number, mean, overall and within σ, and the degrees of freedom of the latter."""

    count: int
    mean: float
    overall: float
    within: float
    freedom: float


def of_values(values: Sequence[float]) -> Moments:
    """Give the moments of single values in the order of time: σ within = mean moving range / d2(2)."""
    count = len(values)
    if count < 2:
        return Moments(count, values[0] if values else 0.0, 0.0, 0.0, 0.0)
    mean = math.fsum(values) / count
    overall = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    moving = math.fsum(abs(values[i] - values[i - 1]) for i in range(1, count)) / (count - 1)
    return Moments(count, mean, overall, moving / d2(2), moving_range_freedom(count))


def of_windows(windows: Sequence[Sequence[float]]) -> Moments:
    """Give the moments of windows of (number, mean, sum of squared distances from that mean): σ within pooled over them."""
    count = round(math.fsum(window[0] for window in windows))
    freedom = math.fsum(window[0] - 1 for window in windows if window[0] > 1)
    if count < 2 or freedom <= 0:
        return Moments(count, 0.0, 0.0, 0.0, 0.0)
    mean = math.fsum(window[0] * window[1] for window in windows) / count
    inner = math.fsum(window[2] for window in windows)
    outer = math.fsum(window[0] * (window[1] - mean) ** 2 for window in windows)
    return Moments(count, mean, math.sqrt((inner + outer) / (count - 1)), math.sqrt(inner / freedom), freedom)


def moving_range_freedom(count: int) -> float:
    """Give the degrees of freedom of σ from the mean moving range of `count` values: 1 / (2 · its relative variance).

    About 0.61 (count - 1): Cryer, J. D. & Ryan, T. P. (1990), "The Estimation of Sigma for an X Chart", JQT 22(3), 187-192.
    """
    pairs = count - 1
    mean_square = 4 / math.pi  # E|d|² of a difference d of two values, σ = 1
    product = (
        4 / math.pi * (math.sqrt(3) / 2 + math.asin(0.5) / 2)
    )  # E|d||d'| of neighbouring differences, correlated by -1/2
    variance = ((2 - mean_square) + 2 * (product - mean_square) * (pairs - 1) / pairs) / pairs
    return mean_square / (2 * variance)


def capability(
    moments: Moments,
    specification: Specification,
    *,
    values: Sequence[float] = (),
    minimum: int = MIN_VALUES,
    confidence: float = 0.95,
) -> Capability:
    """Give the indices. Raises CapabilityError below `minimum` values and for values without variation.

    values: single values to test for normality; without them nothing is said of it.
    """
    if moments.count < minimum:
        raise CapabilityError(f"{moments.count} values; at least {minimum} are needed")
    if moments.within <= 0 or moments.overall <= 0:
        raise CapabilityError(
            "there is no variation between the values: is the signal stuck, or its resolution too coarse?"
        )
    z = normal_quantile(0.5 + confidence / 2)
    whole = moments.count - 1.0
    low, high = specification.lower, specification.upper
    normal_p, warnings = _normality(values)
    width = None if low is None or high is None else high - low
    return Capability(
        count=moments.count,
        mean=moments.mean,
        within=moments.within,
        overall=moments.overall,
        cp=None if width is None else _spread_index(width / (6 * moments.within), moments.freedom, confidence),
        cpk=_centred_index(_nearest(moments.mean, moments.within, specification), moments.count, moments.freedom, z),
        pp=None if width is None else _spread_index(width / (6 * moments.overall), whole, confidence),
        ppk=_centred_index(_nearest(moments.mean, moments.overall, specification), moments.count, whole, z),
        cpm=_taguchi(moments, specification, confidence),
        beyond=(0.0 if low is None else below((low - moments.mean) / moments.overall))
        + (0.0 if high is None else below((moments.mean - high) / moments.overall)),
        normal_p=normal_p,
        warnings=warnings,
    )


def index_value(moments: Moments, specification: Specification, name: str) -> float:
    """Give one index alone, without its interval: cp, cpk, pp, ppk or cpm. CapabilityError without variation or a needed limit."""
    if moments.within <= 0 or moments.overall <= 0:
        raise CapabilityError("there is no variation between the values")
    if name in {"cpk", "ppk"}:
        return _nearest(moments.mean, moments.within if name == "cpk" else moments.overall, specification)
    if specification.lower is None or specification.upper is None:
        raise CapabilityError(f"{name} needs lsl and usl")
    width = specification.upper - specification.lower
    if name == "cpm":
        return width / (6 * math.hypot(moments.overall, moments.mean - (specification.aim or 0.0)))
    return width / (6 * (moments.within if name == "cp" else moments.overall))


def _nearest(mean: float, sigma: float, specification: Specification) -> float:
    sides = []
    if specification.upper is not None:
        sides.append((specification.upper - mean) / (3 * sigma))
    if specification.lower is not None:
        sides.append((mean - specification.lower) / (3 * sigma))
    return min(sides)


def _spread_index(value: float, freedom: float, confidence: float) -> Index:
    """Ĉp √(χ²(α/2) / ν) ≤ Cp ≤ Ĉp √(χ²(1-α/2) / ν)."""
    rest = (1 - confidence) / 2
    return Index(
        value,
        value * math.sqrt(chi_square_quantile(rest, freedom) / freedom),
        value * math.sqrt(chi_square_quantile(1 - rest, freedom) / freedom),
    )


def _centred_index(value: float, count: int, freedom: float, z: float) -> Index:
    """Bissell: Ĉpk ± z √(1 / 9n + Ĉpk² / 2ν)."""
    reach = z * math.sqrt(1 / (9 * count) + value * value / (2 * freedom))
    return Index(value, value - reach, value + reach)


def _taguchi(moments: Moments, specification: Specification, confidence: float) -> Index | None:
    """Give Cpm = width / (6 √(s² + (mean - T)²)); degrees of freedom n (1 + ξ²)² / (1 + 2ξ²), ξ = (mean - T) / s (Boyles)."""
    if specification.lower is None or specification.upper is None or specification.aim is None:
        return None
    off = moments.mean - specification.aim
    value = (specification.upper - specification.lower) / (6 * math.hypot(moments.overall, off))
    share = (off / moments.overall) ** 2
    return _spread_index(value, moments.count * (1 + share) ** 2 / (1 + 2 * share), confidence)


def _normality(values: Sequence[float]) -> tuple[float | None, tuple[str, ...]]:
    try:
        statistic, p = anderson_darling(values)
    except ValueError:
        return None, ()
    if p < NOT_NORMAL:
        return p, (
            f"the values are not normal (Anderson-Darling A² = {statistic:.3g}, p = {p:.2g}): shares beyond limits do not follow from the indices",
        )
    return p, ()
