"""The few distributions that charts and capability need: normal and chi-square quantiles, and the Anderson-Darling test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from models.spc.constants import below

NORMAL = NormalDist()


def normal_quantile(p: float) -> float:
    """Give z with Φ(z) = p, 0 < p < 1 (Wichura's AS 241, in the standard library)."""
    return NORMAL.inv_cdf(p)


def chi_square_below(x: float, degrees: float) -> float:
    """Give P(χ² ≤ x), the regularized lower incomplete gamma function of degrees/2 and x/2.

    Series below degrees/2 + 1, continued fraction above (Abramowitz & Stegun 6.5.29 and 6.5.31).
    """
    if x <= 0:
        return 0.0
    a, half = degrees / 2, x / 2
    scale = math.exp(a * math.log(half) - half - math.lgamma(a))
    if half < a + 1:
        term = total = 1 / a
        step = a
        while abs(term) > abs(total) * 1e-17:
            step += 1
            term *= half / step
            total += term
        return total * scale
    return 1 - scale * _gamma_fraction(a, half)


def _gamma_fraction(a: float, x: float) -> float:
    """Evaluate the continued fraction of the upper incomplete gamma function by Lentz's method."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    value = d
    for i in range(1, 10_000):
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b or tiny)
        c = b + factor / c or tiny
        change = c * d
        value *= change
        if abs(change - 1) < 1e-16:
            break
    return value


def chi_square_quantile(p: float, degrees: float) -> float:
    """Give x with P(χ² ≤ x) = p, 0 < p < 1: Newton's steps from Wilson and Hilferty's cube, kept between bounds that halve."""
    low, high = 0.0, math.inf
    ninth = 2 / (9 * degrees)
    x = max(degrees * (1 - ninth + normal_quantile(p) * math.sqrt(ninth)) ** 3, 1e-8)
    for _ in range(200):
        off = chi_square_below(x, degrees) - p
        low, high = (low, x) if off > 0 else (x, high)
        logarithm = (degrees / 2 - 1) * math.log(x / 2) - x / 2 - math.lgamma(degrees / 2) - math.log(2)
        following = x - off / math.exp(logarithm)
        if not low < following < high:
            following = (low + high) / 2 if math.isfinite(high) else 2 * x
        if abs(following - x) <= 1e-15 * x:
            return following
        x = following
    return x


def anderson_darling(values: Sequence[float]) -> tuple[float, float]:
    """Give A² and the p-value that the values are normal with unknown mean and variance.

    A² is exact; the p-value is that of D'Agostino, R. B. & Stephens, M. A. (1986), Goodness-of-Fit Techniques, table 4.9, from
    A*² = A² (1 + 0.75/n + 2.25/n²). Raises ValueError for fewer than 8 values, where that is not known, and for equal ones.
    """
    n = len(values)
    if n < 8:
        raise ValueError(f"{n} values: the test for normality needs 8")
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    if deviation <= 0:
        raise ValueError("all values are the same")
    z = sorted((value - mean) / deviation for value in values)
    parts = ((2 * i + 1) * (_log_below(z[i]) + _log_below(-z[n - 1 - i])) for i in range(n))
    statistic = -n - math.fsum(parts) / n
    return statistic, p_value(statistic * (1 + 0.75 / n + 2.25 / n**2))


def _log_below(z: float) -> float:
    share = below(z)
    if share > 0:
        return math.log(share)
    return -0.5 * z * z - math.log(-z * math.sqrt(2 * math.pi))  # beyond 38 σ a float has no share left; Mills' ratio


def p_value(a: float) -> float:
    """Give the p-value of A*²."""
    if a >= 10:
        return 3.7e-24
    if a >= 0.6:
        return math.exp(1.2937 - 5.709 * a + 0.0186 * a * a)
    if a >= 0.34:
        return math.exp(0.9177 - 4.279 * a - 1.38 * a * a)
    if a >= 0.2:
        return 1 - math.exp(-8.318 + 42.796 * a - 59.938 * a * a)
    return 1 - math.exp(-13.436 + 101.14 * a - 223.73 * a * a)
