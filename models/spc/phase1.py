"""Phase I: limits from a stretch of the process that is believed to be good.

Points beyond the limits are left out and the limits made again, until none is beyond; every point left out is told, and so
is every reason to doubt the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from models.spc.constants import MAX_SIZE, big_d3, big_d4, c4, d2
from models.spc.distributions import chi_square_below
from models.spc.doubts import (
    Doubt,
    between,
    few_points,
    laney_used,
    moving_ranges,
    of_points,
    overdispersed,
    small_samples,
)
from models.spc.limits import Kind, Limits

Spread = Literal["stddev", "range"]

MIN_POINTS: Final = 20
"""Fewer points give no limits: Montgomery, Introduction to Statistical Quality Control, asks for 20 to 25 subgroups."""
GOOD_POINTS: Final = 100
"""Fewer individual values give limits that are still rough: false alarms vary twofold (Quesenberry 1993 asks for about 300)."""
ROUNDS: Final = 10
MOST_EXCLUDED: Final = 1 / 4
"""With more points left out than this it is not one process."""


OVERDISPERSED: Final = 0.99
"""Share of well-behaved counts that vary less than those of which it is said that they vary too much."""


class PhaseOneError(ValueError):
    """No limits can be made of these data; the message says why and what to do."""


class NotOneProcessError(PhaseOneError):
    """Too many points are beyond the limits that they themselves give."""


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One sample: values of a chart for variables, or what was counted among what was inspected."""

    values: tuple[float, ...] = ()
    moments: tuple[float, float, int] | None = None
    """Instead of the values: their mean, spread (s with n - 1, or range) and number."""
    counted: float = 0.0
    inspected: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A point that was left out."""

    position: int
    """In the data, from 0."""
    round: int
    why: str
    """`52.1 > 51.9`; of a spread `range 3.1 > 2.9`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Limits, what they were made of, and what speaks against them."""

    limits: Limits
    points: int
    """Used for the limits."""
    rounds: int
    excluded: tuple[Excluded, ...]
    spread_center: float | None
    """Mean moving range, range or s."""
    spread_lower: float | None
    spread_upper: float | None
    sizes: tuple[float, float]
    """Smallest and largest subgroup or number inspected."""
    doubts: tuple[Doubt, ...]
    """What speaks against them, in Korean and English."""


def individuals(
    values: Sequence[float], *, kind: Kind = "individuals", version: str = "1", minimum: int = MIN_POINTS
) -> Estimate:
    """Estimate limits from single values in the order of time: σ = mean moving range of two / d2(2).

    kind: individuals, ewma or cusum, which share their σ. Raises PhaseOneError. A moving range across a point that was left out
    is left out too: its neighbours were never next to each other.
    """
    _finite(values)
    _enough(len(values), minimum)
    out: dict[int, Excluded] = {}
    rounds = 0
    while True:
        rounds += 1
        kept = [i for i in range(len(values)) if i not in out]
        ranges = [abs(values[i] - values[i - 1]) for i in kept if i - 1 not in out and i > 0]
        if not ranges:
            raise PhaseOneError("no two neighbouring points are left; look for what disturbed the process in between")
        mean_range = math.fsum(ranges) / len(ranges)
        sigma = _spread_out(mean_range / d2(2))
        center = math.fsum(values[i] for i in kept) / len(kept)
        limits = Limits(kind=kind, center=center, sigma=sigma, version=version)
        beyond = [(i, *_beyond(values[i], center - 3 * sigma, center + 3 * sigma)) for i in kept]
        if not _leave_out(out, rounds, [(i, told) for i, told in beyond if told], len(values), "value"):
            break
    upper = big_d4(2) * mean_range
    found = [values[i] for i in kept]
    doubts = few_points(len(kept), GOOD_POINTS)
    doubts += of_points(found, [i + 1 for i in kept], limits, [1.0] * len(kept))
    wide = [
        i + 1 for i in range(1, len(values)) if abs(values[i] - values[i - 1]) > upper and not {i, i - 1} & set(out)
    ]
    doubts += moving_ranges(upper, wide)
    return Estimate(
        limits=limits, points=len(kept), rounds=rounds, excluded=_in_order(out), spread_center=mean_range,
        spread_lower=0.0, spread_upper=upper, sizes=(1.0, 1.0), doubts=tuple(doubts),
    )  # fmt: skip


def subgroups(
    samples: Sequence[Subgroup],
    *,
    spread: Spread = "stddev",
    kind: Kind = "xbar",
    version: str = "1",
    minimum: int = MIN_POINTS,
) -> Estimate:
    """Estimate limits of means from subgroups of 2 or more values: σ = mean range / d2 or mean s / c4.

    With unequal subgroups each range or s is divided by its own constant and weighted by the subgroup's degrees of freedom.
    A subgroup is left out when its mean or its spread is beyond the limits.
    """
    moments = [_moments(sample, number, spread) for number, sample in enumerate(samples, 1)]
    _enough(len(samples), minimum)
    means, spreads, sizes = [m for m, _, _ in moments], [s for _, s, _ in moments], [n for _, _, n in moments]
    constant = [c4(n) if spread == "stddev" else d2(n) for n in sizes]
    out: dict[int, Excluded] = {}
    rounds = 0
    while True:
        rounds += 1
        kept = [i for i in range(len(samples)) if i not in out]
        freedom = math.fsum(sizes[i] - 1 for i in kept)
        sigma = _spread_out(math.fsum((sizes[i] - 1) * spreads[i] / constant[i] for i in kept) / freedom)
        center = math.fsum(means[i] * sizes[i] for i in kept) / math.fsum(sizes[i] for i in kept)
        limits = Limits(kind=kind, center=center, sigma=sigma, version=version)
        beyond: list[tuple[int, str]] = []
        for i in kept:
            reach = 3 * sigma / math.sqrt(sizes[i])
            lower, upper = _spread_limits(sizes[i], spread, constant[i] * sigma)
            told = (*_beyond(means[i], center - reach, center + reach), *_beyond(spreads[i], lower, upper, spread))
            if any(told):
                beyond.append((i, "; ".join(one for one in told if one)))
        if not _leave_out(out, rounds, beyond, len(samples), "subgroup"):
            break
    typical = sorted(sizes)[len(sizes) // 2]
    centre = (c4(typical) if spread == "stddev" else d2(typical)) * sigma
    lower, upper = _spread_limits(typical, spread, centre)
    doubts = of_points([means[i] for i in kept], [i + 1 for i in kept], limits, [float(sizes[i]) for i in kept])
    doubts += between([means[i] for i in kept], [sizes[i] for i in kept], sigma)
    return Estimate(
        limits=limits, points=len(kept), rounds=rounds, excluded=_in_order(out), spread_center=centre, spread_lower=lower,
        spread_upper=upper, sizes=(float(min(sizes)), float(max(sizes))), doubts=tuple(doubts),
    )  # fmt: skip


def counts(
    samples: Sequence[Subgroup],
    kind: Kind,
    *,
    laney: bool | None = None,
    version: str = "1",
    minimum: int = MIN_POINTS,
) -> Estimate:
    """Estimate limits of a p, np, c or u chart: centre = all that was counted / all that was inspected.

    laney: widen by the variation between the points (True), never (False), or only when plain limits leave too few points
    to be one process (None); where those left still vary more than the binomial or Poisson law allows at 1 %, that is a
    doubt. σz = mean moving range of the points in σ / d2(2): Laney, D. B. (2002), "Improved Control Charts for Attributes",
    Quality Engineering 14(4), 531-537.
    """
    _counted(samples, kind)
    _enough(len(samples), minimum)
    if laney is not None:
        return _counts(samples, kind, version, laney=laney)
    try:
        return _counts(samples, kind, version, laney=False)
    except NotOneProcessError:
        return _counts(samples, kind, version, laney=True)


def _counts(samples: Sequence[Subgroup], kind: Kind, version: str, *, laney: bool) -> Estimate:
    out: dict[int, Excluded] = {}
    rounds = 0
    while True:
        rounds += 1
        kept = [i for i in range(len(samples)) if i not in out]
        total = math.fsum(samples[i].counted for i in kept)
        inspected = math.fsum(samples[i].inspected for i in kept)
        if total <= 0:
            raise PhaseOneError(
                f"nothing was counted in {len(kept)} samples: larger samples are needed, or a chart of the time between events"
            )
        if kind in {"p", "np"} and total >= inspected:
            raise PhaseOneError("everything inspected was counted; is `counted` the good ones?")
        plain = Limits(kind=kind, center=total / inspected, version=version)
        z = {i: plain.place(_plotted(samples[i], kind), samples[i].inspected) for i in kept}
        factor = _laney(z) if laney else 1.0
        limits = Limits(kind=kind, center=plain.center, sigma_z=factor, version=version)
        beyond: list[tuple[int, str]] = []
        for i in kept:
            size = samples[i].inspected
            told = _beyond(_plotted(samples[i], kind), limits.line(-3, size), limits.line(3, size))
            if told[0]:
                beyond.append((i, told[0]))
        if not _leave_out(out, rounds, beyond, len(samples), "sample"):
            break
    sizes = [samples[i].inspected for i in kept]
    doubts = of_points([_plotted(samples[i], kind) for i in kept], [i + 1 for i in kept], limits, sizes)
    if laney:
        doubts += laney_used(factor, kind)
    elif chi_square_below(math.fsum(one * one for one in z.values()), len(z) - 1) > OVERDISPERSED:
        doubts += overdispersed(_laney(z), kind)
    if limits.center * min(sizes) < 1:
        doubts += small_samples(min(sizes))
    return Estimate(
        limits=limits, points=len(kept), rounds=rounds, excluded=_in_order(out), spread_center=None, spread_lower=None,
        spread_upper=None, sizes=(min(sizes), max(sizes)), doubts=tuple(doubts),
    )  # fmt: skip


# --- parts


def _plotted(sample: Subgroup, kind: Kind) -> float:
    return sample.counted if kind in {"np", "c"} else sample.counted / sample.inspected


def _counted(samples: Sequence[Subgroup], kind: Kind) -> None:
    for number, sample in enumerate(samples, 1):
        _finite((sample.counted, sample.inspected))
        if sample.counted < 0 or sample.inspected <= 0:
            raise PhaseOneError(f"sample {number}: {sample.counted:g} of {sample.inspected:g} cannot be")
        if kind in {"p", "np"} and sample.counted > sample.inspected:
            raise PhaseOneError(
                f"sample {number}: {sample.counted:g} of {sample.inspected:g} inspected; for several faults on a unit take a u chart"
            )
        if kind == "c" and sample.inspected != 1:
            raise PhaseOneError(f"sample {number}: a c chart has samples of one size; take a u chart")


def _laney(z: dict[int, float]) -> float:
    """Give σz of points in σ; points across one that was left out are no neighbours."""
    pairs = [abs(z[i] - z[i - 1]) for i in z if i - 1 in z]
    if not pairs or (total := math.fsum(pairs)) <= 0:
        raise PhaseOneError("there is no variation between neighbouring points: is the counter stuck?")
    return total / len(pairs) / d2(2)


def _moments(sample: Subgroup, number: int, spread: Spread) -> tuple[float, float, int]:
    """Give mean, spread and number of a subgroup. Raises PhaseOneError for one that has no spread."""
    if sample.moments is not None:
        mean, found, size = sample.moments
        _finite((mean, found))
    else:
        _finite(sample.values)
        size = len(sample.values)
        mean, found = (math.fsum(sample.values) / size, _spread_of(sample.values, spread)) if size > 1 else (0.0, 0.0)
    if size < 2:
        raise PhaseOneError(f"subgroup {number} has {size} values; 2 are needed, or a chart of individuals")
    if spread == "range" and size > MAX_SIZE:
        raise PhaseOneError(f"subgroup {number} has {size} values; a range is of at most {MAX_SIZE}, take stddev")
    return mean, found, size


def _spread_of(values: Sequence[float], kind: Spread) -> float:
    if kind == "range":
        return max(values) - min(values)
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _spread_limits(n: int, kind: Spread, centre: float) -> tuple[float, float]:
    if kind == "range":
        return big_d3(n) * centre, big_d4(n) * centre
    relative = math.sqrt(max(0.0, 1 - c4(n) ** 2)) / c4(n)
    return max(0.0, 1 - 3 * relative) * centre, (1 + 3 * relative) * centre


def _beyond(value: float, lower: float, upper: float, what: str = "") -> tuple[str]:
    name = f"{what} " if what else ""
    if value > upper:
        return (f"{name}{value:.6g} > {upper:.6g}",)
    return (f"{name}{value:.6g} < {lower:.6g}",) if value < lower else ("",)


def _leave_out(out: dict[int, Excluded], rounds: int, beyond: list[tuple[int, str]], total: int, what: str) -> bool:
    """Leave the points out and tell whether there were any. Raises PhaseOneError when too few would be left."""
    for position, why in beyond:
        out[position] = Excluded(position=position, round=rounds, why=why)
    if len(out) > MOST_EXCLUDED * total:
        raise NotOneProcessError(
            f"{len(out)} of {total} {what}s are beyond the limits that they themselves give: this is not one process. Take a steady "
            "stretch of one product, or split the data"
        )
    if beyond and rounds >= ROUNDS:
        raise NotOneProcessError(f"after {ROUNDS} rounds points are still beyond the limits; take a steadier stretch")
    return bool(beyond)


def _in_order(out: dict[int, Excluded]) -> tuple[Excluded, ...]:
    return tuple(out[position] for position in sorted(out))


def _finite(values: Sequence[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise PhaseOneError(f"{value} is no number that can be charted")


def _enough(found: int, minimum: int) -> None:
    if found < minimum:
        raise PhaseOneError(f"{found} points give no limits; at least {minimum} are needed")


def _spread_out(sigma: float) -> float:
    if sigma <= 0:
        raise PhaseOneError(
            "there is no variation at all between the values: is the signal stuck, or its resolution too coarse?"
        )
    return sigma
