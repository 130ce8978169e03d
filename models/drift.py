"""Drift: how unlike its training data a model's inputs and outputs of late are. Pure; times come as arguments.

PSI (population stability index) = Σ (p - q)·ln(p/q) over ten bins of equal share in training and one for missing
values, shares floored at 1e-4. Below 0.10 nothing is said, above 0.25 much has changed: on enough independent rows.
Rows of one shift are not independent, so each package carries, per feature, the PSI that stretches of its own
training data reach by themselves (`models.drift_calibration`), and a level needs both: the rule of thumb and that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Level = Literal["ok", "warning", "critical"]

BINS: Final = 10
FLOOR: Final = 1e-4
"""ε: the share an empty bin is taken to have."""
WARNING: Final = 0.10
CRITICAL: Final = 0.25
WARNING_SHARE: Final = 0.4
"""WARNING / CRITICAL: of a calibrated threshold, that part warns."""
MISSING_WARNING: Final = 0.05
MISSING_CRITICAL: Final = 0.20
"""Missing values, and values out of range: so much more of them than in training."""
QUANTILES: Final = 201
"""The reference's distribution, kept for KS: the 0, 0.5, 1, … 100 % points."""


class Histogram(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number as training saw it."""

    edges: tuple[float, ...]
    """Borders between bins, ascending; a value on a border belongs to the bin above it. At most nine."""
    counts: tuple[int, ...]
    """Per bin, then the missing ones."""
    mean: float
    sd: float
    n: int
    quantiles: tuple[float, ...]
    """201 points, or none when there never was a value."""
    thresholds: dict[str, float] = {}
    """Number of samples → PSI that training data of such a stretch exceed only as often as was agreed."""
    outside: float = 0.0
    """Share of values out of the contract's range."""

    def __post_init__(self) -> None:
        if list(self.edges) != sorted(set(self.edges)) or len(self.counts) != len(self.edges) + 2:
            raise ValueError("edges ascend, and there is a count for each bin and for the missing ones")
        if sum(self.counts) != self.n or min(self.counts) < 0 or self.n < 1:
            raise ValueError("counts are 0 or more and add up to n")
        if len(self.quantiles) not in {0, QUANTILES} or list(self.quantiles) != sorted(self.quantiles):
            raise ValueError(f"{QUANTILES} quantiles, ascending, or none")
        if any(not key.isdecimal() or limit < 0 for key, limit in self.thresholds.items()):
            raise ValueError("thresholds: number of samples → PSI")

    @property
    def missing(self) -> float:
        """Share of missing values."""
        return self.counts[-1] / self.n

    def threshold(self, samples: int) -> float:
        """Give the calibrated PSI for so many samples: of the calibrated sizes around it the larger; 0 without any."""
        sizes = sorted(int(size) for size in self.thresholds)
        below = [size for size in sizes if size <= samples][-1:]
        above = [size for size in sizes if size >= samples][:1]
        return max((self.thresholds[str(size)] for size in below + above), default=0.0)


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry `reference.json` of a package."""

    spacing_s: float
    """A line takes one sample in so many seconds at most: calibration was done on rows so far apart."""
    alarms_per_month: float
    """False alarms of this model per month of running, all features together, that thresholds were calibrated for."""
    features: dict[str, Histogram]
    outputs: dict[str, Histogram]
    labels: dict[str, int]
    """How often each was said over the training windows."""


def histogram(values: NDArray[np.float64], *, bins: int = BINS, outside: float = 0.0) -> Histogram:
    """Give the reference of one number. values: (n,), NaN where it was missing."""
    known = np.sort(values[np.isfinite(values)])
    edges: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    if len(known):
        inner = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])
        edges = tuple(float(edge) for edge in np.unique(inner) if edge > known[0])
        quantiles = tuple(float(q) for q in np.quantile(known, np.linspace(0, 1, QUANTILES)))
    return Histogram(
        edges=edges,
        counts=tuple(int(count) for count in binned(values, edges)),
        mean=float(known.mean()) if len(known) else 0.0,
        sd=float(known.std()) if len(known) else 0.0,
        n=len(values),
        quantiles=quantiles,
        outside=outside,
    )


def binned(values: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    """Count values into the bins of these edges and, last, the missing ones (NaN). (n,) → (edges + 2,)."""
    known = values[np.isfinite(values)]
    place = np.searchsorted(np.asarray(edges, np.float64), known, side="right")
    counts = np.bincount(place, minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(known)).astype(np.int64)


def psi(expected: Sequence[int] | NDArray[np.int64], found: Sequence[int] | NDArray[np.int64]) -> float:
    """Give the population stability index of two counts over the same bins, each with at least one value."""
    p = np.maximum(np.asarray(expected, np.float64) / np.sum(expected), FLOOR)
    q = np.maximum(np.asarray(found, np.float64) / np.sum(found), FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))


def ks_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Give the two-sample Kolmogorov-Smirnov p: both sides, asymptotic with Stephens' correction (Numerical Recipes).

    Right within 0.02 from about 20 values a side on; 1 when a side is empty. It takes rows for independent.
    """
    a, b = np.sort(first), np.sort(second)
    if not len(a) or not len(b):
        return 1.0
    every = np.concatenate([a, b])
    below_a = np.searchsorted(a, every, side="right") / len(a)
    below_b = np.searchsorted(b, every, side="right") / len(b)
    return kolmogorov(float(np.max(np.abs(below_a - below_b))), len(a) * len(b) / (len(a) + len(b)))


def ks_p_of(reference: Histogram, values: NDArray[np.float64]) -> float:
    """Give KS p against a reference, whose distribution is known at its quantiles: D is at most 0.005 too small."""
    known = np.sort(values[np.isfinite(values)])
    present = reference.n - reference.counts[-1]
    if not len(known) or not reference.quantiles or not present:
        return 1.0
    points = np.asarray(reference.quantiles)
    share = np.linspace(0, 1, QUANTILES)
    # With ties the share at a point is that of the last (at or below) and of the first (below) equal quantile.
    upper = np.maximum.accumulate(share)[np.searchsorted(points, points, side="right") - 1]
    lower = share[np.searchsorted(points, points, side="left")]
    at_or_below = np.searchsorted(known, points, side="right") / len(known)
    below = np.searchsorted(known, points, side="left") / len(known)
    distance = max(float(np.max(at_or_below - upper)), float(np.max(lower - below)), 0.0)
    distance = max(distance, float(np.max(lower - at_or_below)), float(np.max(below - upper)))
    return kolmogorov(distance, present * len(known) / (present + len(known)))


def kolmogorov(distance: float, effective: float) -> float:
    """Give the chance of a distance at least so large. effective: n·m / (n + m)."""
    root = math.sqrt(effective)
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:  # the series needs many terms there, and the chance is 1 to twelve digits
        return 1.0
    total = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What one window of judgments came to; per feature, and per output as `output:<name>`."""

    start: int
    end: int
    samples: int
    level: Level
    psi: dict[str, float]
    limits: dict[str, float]
    """PSI beyond which it is critical, for so many samples."""
    ks_p: dict[str, float]
    missing: dict[str, float]
    out_of_range: dict[str, float]
    shift: dict[str, float]
    """Mean of the window minus mean of training, in the feature's unit."""
    levels: dict[str, Level] = field(default_factory=dict[str, Level])
    """Of each that is not ok in this window alone."""
    alarmed: tuple[str, ...] = ()
    """Not ok in this window and the one before it."""


def level_of(value: float, limit: float) -> Level:
    """Give the level of a PSI against max(0.25, calibrated): critical above, warning from 0.4 of it on."""
    if value > limit:
        return "critical"
    return "warning" if value > WARNING_SHARE * limit else "ok"


def worst(levels: Mapping[str, Level]) -> Level:
    """Give the gravest."""
    found = set(levels.values())
    return "critical" if "critical" in found else "warning" if "warning" in found else "ok"
