"""Constants of control charts from their definitions: c4 from the gamma function, d2 and d3 from the integrals of the range.

For samples of n independent normal values with σ = 1, s the standard deviation with n - 1 and W the range:
c4 = E[s], d2 = E[W], d3 = the standard deviation of W. Tippett, L. H. C. (1925), "On the extreme individuals and the range
of samples taken from a normal population", Biometrika 17, 364-387, gives the integrals; the derived A, B and D are those of
ASTM Manual on Presentation of Data (MNL 7) and ISO 7870-2, all with limits at three standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

MAX_SIZE: Final = 1000
"""Largest subgroup whose range is looked at; a range of more values wastes nearly all of them anyway."""

_STEP: Final = 0.1
_REACH: Final = 9.0
"""Beyond ± 9 σ the normal density is below 1e-18: nothing of it is seen in a float."""


def c4(n: int) -> float:
    """Give E[s] / σ = √(2 / (n-1)) · Γ(n/2) / Γ((n-1)/2). Raises ValueError for n < 2."""
    if n < 2:
        raise ValueError(f"a subgroup of {n} has no spread: it needs 2 values")
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))


def d2(n: int) -> float:
    """Give E[W] / σ, the mean range: ∫ 1 - Φ(x)ⁿ - (1 - Φ(x))ⁿ dx. Raises ValueError for n outside 2..MAX_SIZE."""
    _check(n)
    return _mean_range(n)


def d3(n: int) -> float:
    """Give the standard deviation of the range: √(E[W²] - d2²). Raises ValueError for n outside 2..MAX_SIZE."""
    _check(n)
    if n == 2:  # W = |x - y|, exactly: E[W²] = 2, E[W] = 2/√π
        return math.sqrt(2 - 4 / math.pi)
    return math.sqrt(_mean_square_range(n) - d2(n) ** 2)


def a2(n: int) -> float:
    """Give what the mean range is multiplied with for the limits of means: 3 / (d2 √n)."""
    return 3 / (d2(n) * math.sqrt(n))


def a3(n: int) -> float:
    """Give what the mean s is multiplied with for the limits of means: 3 / (c4 √n)."""
    return 3 / (c4(n) * math.sqrt(n))


def b3(n: int) -> float:
    """Give the lower limit of s over the mean s; never below 0."""
    return max(0.0, 1 - 3 * _relative_s(n))


def b4(n: int) -> float:
    """Give the upper limit of s over the mean s."""
    return 1 + 3 * _relative_s(n)


def big_d3(n: int) -> float:
    """Give D3, the lower limit of the range over the mean range; never below 0."""
    return max(0.0, 1 - 3 * d3(n) / d2(n))


def big_d4(n: int) -> float:
    """Give D4, the upper limit of the range over the mean range."""
    return 1 + 3 * d3(n) / d2(n)


def s_limits(n: int, sigma: float) -> tuple[float, float, float]:
    """Give lower limit, centre and upper limit of s for a known σ (B5 σ, c4 σ, B6 σ)."""
    centre, spread = c4(n), math.sqrt(max(0.0, 1 - c4(n) ** 2))
    return max(0.0, centre - 3 * spread) * sigma, centre * sigma, (centre + 3 * spread) * sigma


def range_limits(n: int, sigma: float) -> tuple[float, float, float]:
    """Give lower limit, centre and upper limit of the range for a known σ (D1 σ, d2 σ, D2 σ)."""
    centre, spread = d2(n), d3(n)
    return max(0.0, centre - 3 * spread) * sigma, centre * sigma, (centre + 3 * spread) * sigma


def _relative_s(n: int) -> float:
    centre = c4(n)
    return math.sqrt(max(0.0, 1 - centre * centre)) / centre


def _check(n: int) -> None:
    if not 2 <= n <= MAX_SIZE:
        raise ValueError(f"a subgroup of {n}: its spread needs 2 to {MAX_SIZE} values")


def below(x: float) -> float:
    """Give Φ(x), the share of a standard normal below x."""
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _line_sum(function: Callable[[float], float]) -> float:
    """Integrate over the whole line by the trapezoidal rule, which for such bell-like functions converges faster than any power."""
    steps = round(2 * _REACH / _STEP)
    return math.fsum(function(i * _STEP - _REACH) for i in range(steps + 1)) * _STEP


@lru_cache(maxsize=256)
def _mean_range(n: int) -> float:
    return _line_sum(lambda x: 1 - below(x) ** n - below(-x) ** n)


@lru_cache(maxsize=256)
def _mean_square_range(n: int) -> float:
    """Give E[W²] = 2 ∫ w P(W > w) dw with P(W ≤ w) = n ∫ φ(x) (Φ(x+w) - Φ(x))ⁿ⁻¹ dx.

    The outer integral over 0 < w < 18 by Romberg's rule on 180, 90 and 45 steps; checked to 1e-8 against adaptive quadrature.
    """
    xs = [i * _STEP - _REACH for i in range(round(2 * _REACH / _STEP) + 1)]
    tail = [below(-x) for x in [i * _STEP - _REACH for i in range(round(4 * _REACH / _STEP) + 1)]]
    weight = [n * _density(x) * _STEP for x in xs]

    def beyond(shift: int) -> float:
        return 1 - math.fsum(weight[i] * (tail[i] - tail[i + shift]) ** (n - 1) for i in range(len(xs)))

    steps = round(2 * _REACH / _STEP)
    values = [i * _STEP * beyond(i) for i in range(steps + 1)]

    def trapezoid(every: int) -> float:
        inner = math.fsum(values[every:-1:every])
        return (0.5 * (values[0] + values[-1]) + inner) * every * _STEP

    fine, middle, coarse = trapezoid(1), trapezoid(2), trapezoid(4)
    simpson, rough = (4 * fine - middle) / 3, (4 * middle - coarse) / 3
    return 2 * (16 * simpson - rough) / 15
