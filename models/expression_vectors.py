"""The operations of expressions on whole columns, each with the meaning it has in `expression_interpreter.STRICT`.

A vector is an array of values with a mask of the rows that are known; a constant is an array of no dimension. Texts
are codes into a list of categories: a function of texts is asked once per category, or per pair of them that occurs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import expression_pairs as pairs
from models.expression_interpreter import INT_MIN, STRICT

Mask = NDArray[np.bool_] | np.bool_ | None
"""Which rows are known; None = all."""

EXACT: Final = 2**53
"""Whole numbers below this are doubles, too."""
FEW: Final = 4096
"""So many pairs of categories are asked without looking which occur."""


class Vector(NamedTuple):
    """Values of some rows. Where a row is unknown its value is anything."""

    values: Any
    """float64, int64, bool or, with categories, codes; of no dimension for a constant."""
    known: Mask = None
    categories: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What the codes stand for."""
        return self.categories or ()


def both(left: Mask, right: Mask) -> Mask:
    """Give the rows known on both sides."""
    if left is None or right is None:
        return right if left is None else left
    return left & right


def known(*vectors: Vector) -> Mask:
    """Give the rows known in all of them."""
    found: Mask = None
    for vector in vectors:
        found = both(found, vector.known)
    return found


def combined(left: Vector, right: Vector) -> tuple[Vector, Vector, tuple[str, ...]]:
    """Give two vectors of texts over one list of categories."""
    ours, theirs = left.texts, right.texts
    if ours is theirs:
        return left, right, ours
    return left, right._replace(values=right.values + np.int32(len(ours))), ours + theirs


# --- texts


def _compact(text: Vector) -> Vector:
    """Leave out the categories that do not occur, where there are many."""
    categories = text.texts
    if len(categories) <= FEW:
        return text
    used, codes = np.unique(text.values, return_inverse=True)
    return Vector(codes.reshape(np.shape(text.values)), text.known, tuple(categories[code] for code in used.tolist()))


def _cases(texts: tuple[Vector, ...]) -> tuple[Any, list[tuple[str, ...]]]:
    """Give each row's case, and what the texts are in each case."""
    if len(texts) == 1:
        return texts[0].values, [(category,) for category in texts[0].texts]
    left, right = texts
    ours, theirs = left.texts, right.texts
    pairs = np.int64(len(theirs)) * left.values + right.values
    if len(ours) * len(theirs) <= FEW:
        return pairs, [(a, b) for a in ours for b in theirs]
    used, cases = np.unique(pairs, return_inverse=True)
    found = [divmod(pair, len(theirs)) for pair in used.tolist()]
    return cases.reshape(np.shape(pairs)), [(ours[a], theirs[b]) for a, b in found]


def _of_texts(function: Callable[..., Any], kind: type[np.generic] | None) -> Callable[..., Vector]:
    """Make an operation of one or two texts; kind None gives a text again."""

    def run(*texts: Vector) -> Vector:
        places, cases = _cases(tuple(_compact(text) for text in texts))
        answers = [function(*case) for case in cases]
        if kind is None:
            return Vector(places, known(*texts), tuple(answers))
        return Vector(np.array(answers, kind)[places], known(*texts))

    return run


# --- comparison


def _order(whole: Any, real: Any) -> Any:
    """Compare int64 with float64 by their exact values: -1, 0 or 1."""
    if np.abs(whole, dtype=np.float64).max(initial=0.0) < EXACT:
        return np.sign(whole - real)
    inside = (real >= -(2.0**63)) & (real < 2.0**63)
    part = np.trunc(np.where(inside, real, 0.0))
    rest = np.where(inside, real, 0.0) - part
    cut = part.astype(np.int64)
    near = np.where(whole == cut, -np.sign(rest), np.where(whole < cut, -1.0, 1.0))
    return np.where(inside, near, -np.sign(real))


def _relation(name: str) -> Callable[[Vector, Vector], Vector]:
    numbers: Any = {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal
    }[name]  # fmt: skip
    texts = _of_texts(getattr(operator, name), np.bool_)

    def run(left: Vector, right: Vector) -> Vector:
        if left.categories is not None:
            return texts(left, right)
        kinds = left.values.dtype.kind + right.values.dtype.kind
        if kinds == "if":
            return Vector(numbers(_order(left.values, right.values), 0), known(left, right))
        if kinds == "fi":
            return Vector(numbers(0, _order(right.values, left.values)), known(left, right))
        return Vector(numbers(left.values, right.values), known(left, right))

    return run


_equal = _relation("eq")


def _among(value: Vector, *items: Vector) -> Vector:
    found: Any = np.False_
    for item in items:
        found = found | _equal(value, item).values
    return Vector(found, known(value, *items))


# --- doubles


def _finite(values: Any, mask: Mask) -> Vector:
    """Forget the rows where there is no finite result: overflow, division by zero, outside the domain."""
    finite = np.isfinite(values)
    return Vector(values, mask if finite.all() else both(mask, finite))


def _real(function: Callable[..., Any]) -> Callable[..., Vector]:
    def run(*numbers: Vector) -> Vector:
        return _finite(function(*[number.values for number in numbers]), known(*numbers))

    return run


def _whole(function: Callable[[Any], Any]) -> Callable[[Vector], Vector]:
    """Make a function whose results are whole; adding 0 leaves no negative zero."""
    return lambda number: Vector(function(number.values) + 0.0, number.known)


def _rounded(values: Any) -> Any:
    part = np.trunc(values)
    return part + np.where(np.abs(values - part) >= 0.5, np.copysign(1.0, values), 0.0)


def _nearest(name: str, columns_of: Callable[..., pairs.Sure]) -> Callable[..., Vector]:
    """Make a function whose nearest double is found for whole columns; where that is not certain, row by row."""
    function: Callable[..., float] = STRICT[name]

    def run(*numbers: Vector) -> Vector:
        mask = known(*numbers)
        *columns, which = np.broadcast_arrays(*[number.values for number in numbers], True if mask is None else mask)
        columns = [np.atleast_1d(column) for column in columns]
        result, sure = columns_of(*columns)
        for at in np.flatnonzero(which & ~sure).tolist():
            try:
                result[at] = function(*[column[at].item() for column in columns])
            except ArithmeticError:
                result[at] = np.nan  # and so unknown
        return _finite(result.reshape(which.shape), mask)

    return run


_any_power = _nearest("pow", pairs.power)


def _power(base: Vector, exponent: Vector) -> Vector:
    if np.ndim(exponent.values) == 0 and exponent.values == 2.0:
        return _finite(base.values * base.values, known(base, exponent))
    return _any_power(base, exponent)


# --- whole numbers of 64 bits


def _sum(left: Vector, right: Vector) -> Vector:
    a, b = left.values, right.values
    result = a + b
    return _inside(result, ((a ^ result) & (b ^ result)) >= 0, left, right)


def _difference(left: Vector, right: Vector) -> Vector:
    a, b = left.values, right.values
    result = a - b
    return _inside(result, ((a ^ b) & (a ^ result)) >= 0, left, right)


def _product(left: Vector, right: Vector) -> Vector:
    a, b = left.values, right.values
    near = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    if np.abs(near).max(initial=0.0) < 2.0**62:
        return Vector(a * b, known(left, right))
    # Beyond 2⁶² the double is too rough to tell: wrapped product divided back is what it was, or it did not fit.
    result = a * b
    simple = (b == 0) | (b == -1)
    fits = np.where(simple, ~((b == -1) & (a == INT_MIN)), result // np.where(simple, 1, b) == a)
    return _inside(result, fits, left, right)


def _quotient(left: Vector, right: Vector) -> Vector:
    a, b = left.values, right.values
    wrong = (b == 0) | ((b == -1) & (a == INT_MIN))
    by = np.where(wrong, 1, b)
    return _inside((a - np.fmod(a, by)) // by, ~wrong, left, right)


def _remainder(left: Vector, right: Vector) -> Vector:
    a, b = left.values, right.values
    return _inside(np.fmod(a, np.where((b == 0) | (b == -1), 1, b)), b != 0, left, right)


def _inside(values: Any, fits: Any, *numbers: Vector) -> Vector:
    return Vector(values, known(*numbers) if np.all(fits) else both(known(*numbers), fits))


def _negated(number: Vector) -> Vector:
    return _inside(-number.values, number.values != INT_MIN, number)


def _size_of(number: Vector) -> Vector:
    return _inside(np.abs(number.values), number.values != INT_MIN, number)


def _truncated(number: Vector) -> Vector:
    if number.values.dtype.kind == "i":
        return number
    part = np.trunc(number.values)
    fits = (part >= -(2.0**63)) & (part < 2.0**63)
    return _inside(np.where(fits, part, 0.0).astype(np.int64), fits, number)


def _converted(number: Vector) -> Vector:
    return Vector(np.asarray(number.values, np.float64), number.known)


def _extreme(better: Callable[[Any, Any], Any]) -> Callable[..., Vector]:
    """Make least or greatest: the first of equal ones stays, as with Python's min and max (0.0 and -0.0)."""

    def run(*numbers: Vector) -> Vector:
        best = numbers[0].values
        for number in numbers[1:]:
            best = np.where(better(number.values, best), number.values, best)
        return Vector(best, known(*numbers))

    return run


def _plain(function: Callable[..., Any]) -> Callable[..., Vector]:
    return lambda *numbers: Vector(function(*[number.values for number in numbers]), known(*numbers))


OPERATIONS: Final[dict[str, Callable[..., Vector]]] = {
    "not": _plain(np.logical_not),
    "neg": _plain(np.negative),
    "abs": _plain(np.abs),
    "add": _real(np.add),
    "sub": _real(np.subtract),
    "mul": _real(np.multiply),
    "div": _real(np.divide),
    "sqrt": _real(np.sqrt),
    "ln": _nearest("ln", pairs.natural_log),
    "log10": _nearest("log10", pairs.decimal_log),
    "exp": _nearest("exp", pairs.exponential),
    "pow": _power,
    "floor": _whole(np.floor),
    "ceil": _whole(np.ceil),
    "trunc": _whole(np.trunc),
    "round": _whole(_rounded),
    "sign": _whole(np.sign),
    "isign": _plain(np.sign),
    "bitAnd": _plain(np.bitwise_and),
    "bitOr": _plain(np.bitwise_or),
    "bitXor": _plain(np.bitwise_xor),
    "bitNot": _plain(np.invert),
    "ineg": _negated,
    "iabs": _size_of,
    "iadd": _sum,
    "isub": _difference,
    "imul": _product,
    "idiv": _quotient,
    "imod": _remainder,
    "least": _extreme(np.less),
    "ileast": _extreme(np.less),
    "greatest": _extreme(np.greater),
    "igreatest": _extreme(np.greater),
    **{name: _relation(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "in": _among,
    "int": _truncated,
    "double": _converted,
    "size": _of_texts(len, np.int64),
    "count": lambda *items: Vector(np.int64(len(items)), known(*items)),
    "concat": _of_texts(operator.add, None),
    "startsWith": _of_texts(str.startswith, np.bool_),
    "endsWith": _of_texts(str.endswith, np.bool_),
    "contains": _of_texts(operator.contains, np.bool_),
}
"""Name of the operation → its form on vectors; numpy's warnings are to be off while they run."""
