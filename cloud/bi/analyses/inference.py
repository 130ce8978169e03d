"""How sure a figure is: intervals of ratios, differences, ranks and correlations. Pure, no randomness.

A KPI is a ratio of sums over shifts, and shifts differ more than chance among their pieces does: good and bad ones come
in clumps. So the shift is the sample, and the error of a ratio is that of the ratio estimator (W. G. Cochran, Sampling
Techniques, 3rd ed. 1977, chapter 6): the residuals n_i - R d_i, squared and summed, over the square of the denominator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.spc.constants import below

CONFIDENCE: Final = 0.95
SIGNIFICANT: Final = 0.05
"""After correction for the number of questions asked of the same data (Holm)."""

_STANDARD: Final = NormalDist()

Numbers = NDArray[np.float64]
Indices = NDArray[np.intp]
Pair = tuple[float, float]
"""Numerator and denominator of one sample (a shift)."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of sums and how well it is known."""

    value: float
    error: float
    """Standard error; 0 where there was no variation."""
    samples: int
    numerator: float
    denominator: float

    @property
    def freedom(self) -> float:
        return max(1.0, self.samples - 1.0)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Give the two-sided t interval."""
        reach = student_quantile((1 + confidence) / 2, self.freedom) * self.error
        return self.value - reach, self.value + reach


def ratio_of(samples: Sequence[Pair] | NDArray[np.float64]) -> Ratio | None:
    """Give the ratio of the sums of samples; None where there is nothing to divide by."""
    pairs = np.asarray(samples, dtype=np.float64).reshape(-1, 2)
    top, bottom = float(pairs[:, 0].sum()), float(pairs[:, 1].sum())
    if bottom <= 0:
        return None
    value, count = top / bottom, int((pairs[:, 1] > 0).sum())
    spread = float(((pairs[:, 0] - value * pairs[:, 1]) ** 2).sum())
    error = math.sqrt(spread * count / (count - 1)) / bottom if count > 1 else math.inf
    return Ratio(value, error, count, top, bottom)


def wilson(hits: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give Wilson's score interval of a proportion (E. B. Wilson, JASA 22, 1927). `count` above 0, need not be whole."""
    z = normal_quantile((1 + confidence) / 2)
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def proportion_interval(found: Ratio, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give Wilson's interval with as many pieces as the clumps leave: their number over the design effect, at least 1."""
    plain = found.value * (1 - found.value) / found.denominator
    effect = found.error**2 / plain if plain > 0 and math.isfinite(found.error) else 1.0
    count = found.denominator / max(1.0, effect)
    return wilson(min(1.0, max(0.0, found.value)) * count, count, confidence)


def difference_p(a: Ratio, b: Ratio) -> float:
    """Give the two-sided p of two independent ratios being alike: Welch's test with their own errors."""
    if not (math.isfinite(a.error) and math.isfinite(b.error)):
        return 1.0
    both = a.error**2 + b.error**2
    if both == 0:
        return 0.0 if a.value != b.value else 1.0
    freedom = both**2 / (a.error**4 / a.freedom + b.error**4 / b.freedom)
    return student_p((a.value - b.value) / math.sqrt(both), freedom)


def holm(ps: Sequence[float]) -> list[float]:
    """Give p-values that hold for all questions together (S. Holm, Scand. J. Statist. 6, 1979), in the order given."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's or Spearman's coefficient of n pairs, and its two-sided p."""

    value: float
    p: float
    count: int


def pearson(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Give the linear correlation; None where one of the two does not vary or there are fewer than 3 pairs."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(a) < 3:
        return None
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    if size <= 1e-12 * max(1.0, float(np.abs(x).max()) * float(np.abs(y).max())):
        return None
    value = max(-1.0, min(1.0, float(a @ b) / size))
    return Correlation(value, _correlation_p(value, len(a)), len(a))


def spearman(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Give the correlation of ranks; ties take their mean rank."""
    return pearson(ranks(x).tolist(), ranks(y).tolist())


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Give mean ranks from 1."""
    data = np.asarray(values, dtype=np.float64)
    _, place, count = np.unique(data, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _correlation_p(value: float, count: int) -> float:
    if abs(value) >= 1:
        return 0.0
    freedom = count - 2
    return student_p(value * math.sqrt(freedom / (1 - value * value)), freedom)


def mann_kendall(values: Sequence[float]) -> float:
    """Give the two-sided p of no monotone trend (H. B. Mann 1945, M. G. Kendall 1975), corrected for ties."""
    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    first, second = _pairs(n)
    score = float(np.sign(data[second] - data[first]).sum())
    tied = sum(count * (count - 1) * (2 * count + 5) for count in Counter(values).values() if count > 1)
    variance = (n * (n - 1) * (2 * n + 5) - tied) / 18
    if variance <= 0 or score == 0:
        return 1.0
    z = (score - math.copysign(1, score)) / math.sqrt(variance)
    return 2 * below(-abs(z))


def theil_sen(values: Sequence[float], at: Sequence[float] | None = None) -> float:
    """Give the median of the slopes between all pairs of points: a few wild points do not bend it."""
    y = np.asarray(values, dtype=np.float64)
    x = np.arange(len(y), dtype=np.float64) if at is None else np.asarray(at, dtype=np.float64)
    first, second = _pairs(len(y))
    return _median((y[second] - y[first]) / (x[second] - x[first]))


def _pairs(n: int) -> tuple[Indices, Indices]:
    """Give the indices of every pair of n points; those of a length that is asked for again and again are kept."""
    return _pairs_kept(n) if n <= 128 else np.triu_indices(n, 1)


@lru_cache(maxsize=32)
def _pairs_kept(n: int) -> tuple[Indices, Indices]:
    return np.triu_indices(n, 1)


def _median(values: Numbers) -> float:
    """Give what `np.median` does, without what that needs for axes and NaN: there is none here."""
    half = len(values) // 2
    if not half:
        return float(values[0]) if len(values) else math.nan
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    parted = np.partition(values, (half - 1, half))
    return float((parted[half - 1] + parted[half]) / 2)


def normal_quantile(p: float) -> float:
    """Give z with P(Z ≤ z) = p."""
    return _STANDARD.inv_cdf(p)


def student_p(t: float, freedom: float) -> float:
    """Give P(|T| ≥ |t|) of Student's t."""
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def student_quantile(p: float, freedom: float) -> float:
    """Give t with P(T ≤ t) = p, for p above 0.5, by halving: some 60 steps to the last bit that matters."""
    low, high = 0.0, 1.0
    while student_p(high, freedom) > 2 * (1 - p):
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, freedom) > 2 * (1 - p) else (low, middle)
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """Give the regularized incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 300):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + part * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + part / c
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value
