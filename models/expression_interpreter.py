"""Typed tree + inputs, some of them unknown → value or the causes why there is none. Slow and exact.

The compiled form (`expression_compiler`) runs when every input is known; this one says what can still be told when one
is not, by CEL's rule for errors: `false && unknown` is false, `true || unknown` is true, everything else spreads.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from models import expression_math as real
from models.expression_checker import Const, Op, Slot, Typed, Value

Why = Literal[
    "missing", "bad", "stale", "no_values", "unknown", "wrong_type", "zero_division", "overflow", "not_finite", "domain",
    "no_history",
]  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """Why a value cannot be told: which input, and what is wrong with it. Arithmetic has no variable."""

    variable: str
    why: Why


@dataclass(frozen=True, slots=True)
class Indeterminate:
    """No value, because of these causes (each once, in the order met)."""

    causes: tuple[Cause, ...]


Result = Value | Indeterminate

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1


def bounded(number: int) -> int:
    """Give the number back, or OverflowError when it leaves 64 bits."""
    if INT_MIN <= number <= INT_MAX:
        return number
    raise OverflowError


def divided(left: int, right: int) -> int:
    """Divide towards zero, as CEL does (Python rounds down)."""
    quotient = abs(left) // abs(right)
    return bounded(quotient if (left < 0) == (right < 0) else -quotient)


def remainder(left: int, right: int) -> int:
    """Give the remainder with the sign of the dividend, as CEL does."""
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def truncated(number: float) -> int:
    """Give the whole part; OverflowError beyond 64 bits or when there is none (inf, nan)."""
    if not math.isfinite(number):
        raise OverflowError
    return bounded(int(number))


def _bounded(operation: Callable[..., int]) -> Callable[..., int]:
    def run(*numbers: int) -> int:
        return bounded(operation(*numbers))

    return run


def _among(value: Value, *items: Value) -> bool:
    return any(value == item for item in items)


def _count(*items: Value) -> int:
    return len(items)


def _ineg(number: int) -> int:
    return bounded(-number)


def _iabs(number: int) -> int:
    return bounded(abs(number))


STRICT: Final[dict[str, Callable[..., Any]]] = {
    "not": operator.not_,
    "neg": operator.neg,
    "ineg": _ineg,
    "add": real.add,
    "sub": real.subtract,
    "mul": real.multiply,
    "div": real.divide,
    "iadd": _bounded(operator.add),
    "isub": _bounded(operator.sub),
    "imul": _bounded(operator.mul),
    "idiv": divided,
    "imod": remainder,
    "concat": operator.add,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "in": _among,
    "int": truncated,
    "double": float,
    "size": len,
    "count": _count,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
    "abs": abs,
    "iabs": _iabs,
    "least": min,
    "ileast": min,
    "greatest": max,
    "igreatest": max,
    "sqrt": real.square_root,
    "ln": real.natural_log,
    "log10": real.decimal_log,
    "exp": real.exponential,
    "pow": real.power,
    "floor": real.floor,
    "ceil": real.ceil,
    "trunc": real.trunc,
    "round": real.rounded,
    "sign": real.sign,
    "isign": real.integer_sign,
    "bitAnd": operator.and_,
    "bitOr": operator.or_,
    "bitXor": operator.xor,
    "bitNot": operator.invert,
}
"""Operations that need all their arguments; an ArithmeticError says that there is no value."""


def why_none(error: ArithmeticError) -> Why:
    """Say why an operation has no value."""
    match error:
        case ZeroDivisionError():
            return "zero_division"
        case real.DomainError():
            return "domain"
        case _:
            return "overflow"


def evaluate(tree: Typed, inputs: Sequence[Value | Cause]) -> Result:
    """Give the value of a tree, or Indeterminate. Never raises for anything the inputs may hold."""
    while isinstance(tree, Op) and tree.name == "if":  # a table is a long chain of these: it needs no stack
        chosen = evaluate(tree.arguments[0], inputs)
        if isinstance(chosen, Indeterminate):
            return chosen
        tree = tree.arguments[1 if chosen else 2]
    match tree:
        case Const():
            return tree.value
        case Slot():
            found = inputs[tree.index]
            return Indeterminate((found,)) if isinstance(found, Cause) else found
        case Op(name="and" | "or" as name):
            return _absorbing(tree, inputs, absorbs=name == "or")
        case Op(name="has", arguments=(Slot(index=index),)):
            return not isinstance(inputs[index], Cause)
        case Op():
            return _strict(tree, inputs)


def _absorbing(tree: Op, inputs: Sequence[Value | Cause], *, absorbs: bool) -> Result:
    """`&&` is decided by one false, `||` by one true, whatever stands beside it."""
    unknown: list[Indeterminate] = []
    for argument in tree.arguments:
        result = evaluate(argument, inputs)
        if isinstance(result, Indeterminate):
            unknown.append(result)
        elif bool(result) is absorbs:
            return absorbs
    return _together(unknown) if unknown else not absorbs


def _strict(tree: Op, inputs: Sequence[Value | Cause]) -> Result:
    values: list[Value] = []
    unknown: list[Indeterminate] = []
    for argument in tree.arguments:
        result = evaluate(argument, inputs)
        if isinstance(result, Indeterminate):
            unknown.append(result)
        else:
            values.append(result)
    if unknown:
        return _together(unknown)
    try:
        return STRICT[tree.name](*values)
    except ArithmeticError as error:
        return Indeterminate((Cause("", why_none(error)),))


def _together(unknown: list[Indeterminate]) -> Indeterminate:
    return Indeterminate(tuple(dict.fromkeys(cause for one in unknown for cause in one.causes)))
