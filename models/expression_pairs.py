"""ln, log10, exp and pow over columns, to thirty digits, and where their nearest double is certain.

A pair is an unevaluated sum hi + lo of doubles with |lo| ≤ ulp(hi) / 2 (T. J. Dekker, "A floating-point technique for
extending the available precision", 1971). Only +, -, * and / of IEEE 754 are used on it, so every machine has the same
bits. Where hi plus or minus all the error there may be still rounds to hi, hi is the nearest double, and so what
`expression_math` gives at fifty digits. About one row in 2³⁸ is not certain, besides those near a function's edge and
those that lie exactly between two doubles; they are computed one by one.

The machine's own logarithm is a first guess here and leaves no trace in the result.
"""

from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pair = tuple[Any, Any]
Sure = tuple[Floats, NDArray[np.bool_]]
"""Values, and where they are certainly the nearest doubles."""

ERROR: Final = 2.0**-92
"""More than what a logarithm here is wrong by, absolute below 1 and relative above; the exponential is better."""
TERMS: Final = 12
HALVINGS: Final = 6

_FINE: Final = decimal.Context(prec=80)


def _pair_of(exact: Fraction) -> tuple[float, float]:
    high = float(exact)
    return high, float(exact - Fraction(high))


_LN2: Final = Fraction(_FINE.ln(decimal.Decimal(2)))
_LN2_SHORT: Final = float(Fraction(int(_LN2 * 2**32), 2**32))
"""So few digits that its product with an exponent is exact."""
_LN2_REST: Final = _pair_of(_LN2 - Fraction(_LN2_SHORT))
_PER_LN2: Final = float(1 / _LN2)
_PER_LN10: Final = _pair_of(1 / Fraction(_FINE.ln(decimal.Decimal(10))))
_FACTORIALS: Final[list[tuple[float, float]]] = []
_product = 1
for _n in range(1, TERMS + 1):
    _product *= _n
    _FACTORIALS.append(_pair_of(Fraction(1, _product)))


def _sum(a: Any, b: Any) -> Pair:
    """Give a + b exactly."""
    high = a + b
    part = high - a
    return high, (a - (high - part)) + (b - part)


def _normal(high: Any, low: Any) -> Pair:
    total = high + low
    return total, low - (total - high)


def _split(a: Any) -> Pair:
    wide = a * 134217729.0  # 2²⁷ + 1
    high = wide - (wide - a)
    return high, a - high


def _times(a: Any, b: Any) -> Pair:
    """Give a * b exactly; below 2⁹⁹⁰, and not near the smallest doubles."""
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _add(a: Pair, b: Pair) -> Pair:
    high, low = _sum(a[0], b[0])
    rest, more = _sum(a[1], b[1])
    high, low = _normal(high, low + rest)
    return _normal(high, low + more)


def _multiply(a: Pair, b: Pair) -> Pair:
    high, low = _times(a[0], b[0])
    return _normal(high, low + (a[0] * b[1] + a[1] * b[0]))


def _ln2_times(whole: Any) -> Pair:
    high, low = _times(whole, _LN2_REST[0])
    return _add((whole * _LN2_SHORT, 0.0), (high, low + whole * _LN2_REST[1]))


def _exponential(x: Pair) -> tuple[Pair, Any]:
    """Give e to the power of a pair as a pair about 1 and an exponent of two."""
    whole = np.rint(x[0] * _PER_LN2)
    high, low = _ln2_times(-whole)
    rest = _add(x, (high, low))
    small = (rest[0] * 2.0**-HALVINGS, rest[1] * 2.0**-HALVINGS)
    # e^x - 1 by its series, then doubled as often as x was halved: (e^x)² - 1 = p (p + 2).
    grown: Pair = _FACTORIALS[-1]
    for factor in reversed(_FACTORIALS[:-1]):
        grown = _add(_multiply(grown, small), factor)
    grown = _multiply(grown, small)
    for _ in range(HALVINGS):
        grown = _multiply(grown, _add(grown, (2.0, 0.0)))
    return _add((1.0, 0.0), grown), whole


def _logarithm(number: Floats) -> Pair:
    """Give the natural logarithm of normal positive numbers, wrong by less than ERROR."""
    part, exponent = np.frexp(number)
    low = part < np.sqrt(0.5)
    part, exponent = np.where(low, 2.0 * part, part), exponent - low
    guess = np.log(part)
    (high, rest), whole = _exponential((-guess, np.zeros_like(guess)))
    scale = np.ldexp(1.0, whole.astype(np.int32))
    off = _add(_multiply((part, 0.0), (high * scale, rest * scale)), (-1.0, 0.0))
    near = _add((guess, 0.0), _add(off, (-0.5 * off[0] * off[0], 0.0)))
    return _add(_ln2_times(exponent.astype(np.float64)), near)


def _certain(pair: Pair, error: Any) -> Any:
    high, low = pair
    return (high + (low + error) == high) & (high + (low - error) == high)


def natural_log(number: Floats) -> Sure:
    """Give natural logarithms of a column."""
    found = _logarithm(number)
    return found[0], _normal_positive(number) & _certain(found, ERROR * (1.0 + np.abs(found[0])))


def decimal_log(number: Floats) -> Sure:
    """Give logarithms to base ten of a column."""
    found = _multiply(_logarithm(number), _PER_LN10)
    return found[0], _normal_positive(number) & _certain(found, ERROR * (1.0 + np.abs(found[0])))


def exponential(number: Floats) -> Sure:
    """Give e to the powers in a column."""
    return _scaled((number, np.zeros_like(number)), ERROR)


def power(base: Floats, exponent: Floats) -> Sure:
    """Give base to the power of exponent, row by row of two columns; certain for positive bases only."""
    log = _logarithm(base)
    product = _multiply((exponent, 0.0), log)
    error = ERROR + np.abs(exponent) * (ERROR * (1.0 + np.abs(log[0])))
    values, sure = _scaled(product, error)
    return values, sure & _normal_positive(base) & (np.abs(exponent) < 2.0**500) & (np.abs(exponent) > 2.0**-200)


def _scaled(x: Pair, error: Any) -> Sure:
    inside = np.abs(x[0]) < 700.0  # beyond, results are near the largest or below the smallest normal double
    found, whole = _exponential((np.where(inside, x[0], 0.0), np.where(inside, x[1], 0.0)))
    sure = inside & _certain(found, 4.0 * error)
    return np.ldexp(found[0], whole.astype(np.int32)), sure


def _normal_positive(number: Floats) -> Any:
    return (number >= 2.0**-1000) & (number <= 2.0**1000)
