"""Functions of real numbers for expressions: the same bits on every machine, and never NaN or infinite.

Everything here is correctly rounded (the double nearest to the true value): +, -, *, / and sqrt by IEEE 754; ln, log10,
exp and pow through the decimal library at fifty digits instead of the machine's libm, whose last bit differs from
one to the next. They cost about 20 µs each, a libm call would cost 0.05. None of them is libm.

Outside a function's domain it raises DomainError, beyond the largest double OverflowError; what is smaller than the
smallest double is 0. floor, ceil, round and trunc give no negative zero.
"""

from __future__ import annotations

import decimal
import math
import sys
from fractions import Fraction
from typing import Final, NoReturn

LARGEST: Final = sys.float_info.max
EXACT_POWER: Final = 64
"""Whole exponents up to this are raised exactly, in fractions, and rounded once."""

_DIGITS: Final = decimal.Context(
    prec=50, Emin=-9999, Emax=9999, rounding=decimal.ROUND_HALF_EVEN, traps=[decimal.Overflow]
)
_WHOLE: Final = decimal.Context(prec=800, Emin=-9999, Emax=9999)
"""Takes any double without rounding: it has at most 767 digits."""


class DomainError(ArithmeticError):
    """The function has no real value there: a root or logarithm of what is negative, a power without one."""


def overflow() -> NoReturn:
    """Say that a number is beyond the largest double."""
    raise OverflowError


def finite(number: float) -> float:
    """Give the number back, or OverflowError when it is infinite."""
    return number if -LARGEST <= number <= LARGEST else overflow()


def add(left: float, right: float) -> float:
    """Add; OverflowError beyond the largest double."""
    return finite(left + right)


def subtract(left: float, right: float) -> float:
    """Subtract; OverflowError beyond the largest double."""
    return finite(left - right)


def multiply(left: float, right: float) -> float:
    """Multiply; OverflowError beyond the largest double."""
    return finite(left * right)


def divide(left: float, right: float) -> float:
    """Divide; ZeroDivisionError by zero, OverflowError beyond the largest double."""
    return finite(left / right)


def square_root(number: float) -> float:
    """Give the square root; DomainError below zero."""
    if number < 0.0:
        raise DomainError
    return math.sqrt(number)


def natural_log(number: float) -> float:
    """Give the natural logarithm; DomainError at zero and below."""
    if number <= 0.0:
        raise DomainError
    return float(_DIGITS.ln(_decimal(number)))


def decimal_log(number: float) -> float:
    """Give the logarithm to base ten, whole for powers of ten; DomainError at zero and below."""
    if number <= 0.0:
        raise DomainError
    return float(_DIGITS.log10(_decimal(number)))


def exponential(number: float) -> float:
    """Give e to the power of a number; OverflowError from 709.79 on."""
    if number > 710.0:
        overflow()
    return 0.0 if number < -746.0 else finite(float(_DIGITS.exp(_decimal(number))))


def power(base: float, exponent: float) -> float:
    """Give base to the power of exponent; 1 for any base to the power of 0.

    DomainError for a negative base with a broken exponent and for 0 with a negative one.
    """
    if exponent == 2.0:
        return finite(base * base)
    whole = exponent.is_integer()
    if (base < 0.0 and not whole) or (base == 0.0 and exponent < 0.0):
        raise DomainError
    if whole and abs(exponent) <= EXACT_POWER:
        return float(Fraction(base) ** int(exponent))  # int / int rounds once and raises OverflowError itself
    if base == 0.0:
        return 0.0
    size = _positive_power(abs(base), exponent)
    return -size if base < 0.0 and int(exponent) % 2 else size


def _positive_power(base: float, exponent: float) -> float:
    if base == 1.0:
        return 1.0
    log = _DIGITS.multiply(_DIGITS.ln(_decimal(base)), _decimal(exponent))
    if log > 710:
        overflow()
    return 0.0 if log < -746 else finite(float(_DIGITS.exp(log)))


def _decimal(number: float) -> decimal.Decimal:
    return _DIGITS.plus(_WHOLE.create_decimal_from_float(number)) if abs(number) < 1e-5 else decimal.Decimal(number)


def floor(number: float) -> float:
    """Give the greatest whole number that is not above."""
    return float(math.floor(number))


def ceil(number: float) -> float:
    """Give the least whole number that is not below."""
    return float(math.ceil(number))


def trunc(number: float) -> float:
    """Give the whole part."""
    return float(math.trunc(number))


def rounded(number: float) -> float:
    """Give the nearest whole number; what lies half-way goes away from zero, as CEL's math.round does."""
    whole = math.trunc(number)
    if abs(number - whole) >= 0.5:  # the difference is exact
        whole += 1 if number > 0 else -1
    return float(whole)


def sign(number: float) -> float:
    """Give -1, 0 or 1."""
    return float((number > 0) - (number < 0))


def integer_sign(number: int) -> int:
    """Give -1, 0 or 1."""
    return (number > 0) - (number < 0)
