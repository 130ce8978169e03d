"""Expressions: a subset of CEL (Common Expression Language), one language for rules, virtual tags and interlocks.

No loops, no clock, no randomness, no I/O; text, size and depth are bounded; every fault names line, column and the
nearest known name. A value that is missing, bad or stale is unknown, with its cause, and unknown is never false.

    rate = compile_expression("100.0 * counts.scrap / counts.produced", window_environment({}), expect="double")
    rate.evaluate({"counts.scrap": 5, "counts.produced": 100})        # 5.0
    rate.evaluate({"counts.scrap": 0, "counts.produced": 0})          # Indeterminate(zero_division)

Where we differ from the standard, on purpose: an int that meets a double becomes one; what would be infinite or NaN
(division by a double zero, overflow, the root of a negative number) is unknown; `has` also takes a bare name; math.ln,
log10, exp and pow are ours; uint, bytes, null, maps, macros and regular expressions are left out. Tags, their
statistics and counts are double. Every deviation is a row of tests/models/cel_cases.toml.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.expression_checker import OPEN, Environment, Typed, Value, ValueType, check
from models.expression_compiler import Program
from models.expression_interpreter import Cause, Indeterminate, Result
from models.expression_lexer import ExpressionError, Fault
from models.expression_parser import parse
from models.expression_units import POINTS
from models.expression_units import unit_of as _unit_of

__all__ = [
    "Cause",
    "Environment",
    "Expression",
    "ExpressionError",
    "Fault",
    "Indeterminate",
    "Program",
    "Result",
    "Value",
    "ValueType",
    "compile_expression",
    "unit_misfit",
    "unit_of",
    "variables",
    "window_environment",
]

PYTHON_TYPES: Final[dict[ValueType, type[Any]]] = {"double": float | int, "int": int, "bool": bool, "string": str}  # pyright: ignore[reportAssignmentType] (a union works in isinstance)
STATISTICS: Final = ("mean", "min", "max", "stddev")
"""Parts of a number tag that reduce the window."""
DERIVED: Final = ("range", "rms", "delta", "rate")
"""Parts that follow from those: max - min, √(mean² + stddev²), last - first, delta per second of the window."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression on its own (rulesets fuse many into one `Program`)."""

    text: str
    type: ValueType
    variables: tuple[str, ...]
    program: Program
    types: tuple[ValueType, ...]
    """Of the variables."""

    def evaluate(self, values: Mapping[str, Value | Cause | None]) -> Result:
        """Give the value for these variables; an absent or None one is missing, a Cause says itself what is wrong."""
        inputs: list[Value | Cause] = []
        known = True
        for name, kind in zip(self.variables, self.types, strict=True):
            value = values.get(name)
            if value is None:
                value = Cause(name, "missing")
            elif not isinstance(value, Cause):
                value = _checked(name, value, kind)
            known = known and not isinstance(value, Cause)
            inputs.append(value)
        return self.program.run(inputs, known=known)[0]


def _checked(name: str, value: Value, kind: ValueType) -> Value | Cause:
    """Give a value as the type its name has, or the cause why it is none: true is no number, infinite is none."""
    if not isinstance(value, PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        return Cause(name, "wrong_type")
    if kind != "double":
        return value
    return float(value) if math.isfinite(value) else Cause(name, "not_finite")  # pyright: ignore[reportArgumentType] (a number by now)


def compile_expression(text: str, environment: Environment, *, expect: ValueType | None = None) -> Expression:
    """Parse, check and compile; ExpressionError lists every fault with line, column and what to write instead."""
    slots: dict[str, int] = {}
    typed: Typed = check(text, parse(text), environment, slots, expect)
    return Expression(
        text,
        typed.type,
        tuple(slots),
        Program([typed], slots),
        tuple(environment.type_of(name) or "double" for name in slots),
    )


def variables(expression: Expression) -> tuple[str, ...]:
    """Give the names an expression depends on, in the order they appear."""
    return expression.variables


def unit_of(text: str, environment: Environment) -> str | None:
    """Give the UNECE code of an expression's value; None when it is not known or compound. Raises ExpressionError."""
    return _unit_of(parse(text), environment.units)


def unit_misfit(text: str, declared: str | None, environment: Environment) -> str | None:
    """Say that an expression's value is not in the unit that is declared for it; None when it is, or nobody knows."""
    found = unit_of(text, environment)
    if declared is None or found is None or found == declared:
        return None
    return f"{text.strip()} is {found}, not {declared}; write unit = {found!r}, or convert it in the tag book"


def window_environment(
    tags: Mapping[str, str], counters: Collection[str] | None = None, units: Mapping[str, str | None] | None = None
) -> Environment:
    """Give what a rule over a window may name.

    tags: tag name → type as tag books write it (bool, int16 …, float64, string); everything that is no bool and no
    string is a double here. counters: names of the line's counters (`produced`, `defect.leak`); None = the usual four
    and any defect type. A tag with a reserved name (`state`, `reason`, …) is hidden by what that name means here.
    units: tag name → UNECE code; values of different units are then neither added nor compared.
    """
    types: dict[str, ValueType] = {}
    for tag, written in tags.items():
        kind: ValueType = written if written in {"bool", "string"} else "double"  # pyright: ignore[reportAssignmentType] (narrowed by the test)
        types |= {tag: kind, f"{tag}.last": kind, f"{tag}.first": kind}
        if kind != "string":
            types |= {f"{tag}.{name}": "double" for name in (*STATISTICS, *DERIVED)}
        types |= {
            f"{tag}.count": "double",
            f"{tag}.bad": "double",
            f"{tag}.age_s": "double",
            f"{tag}.quality": "string",
        }
    for name in [tag for tag in types if tag.partition(".")[0] in RESERVED]:
        del types[name]
    types |= FIXED
    if counters is None:
        types |= {f"counts.{name}": "double" for name in ("produced", "good", "scrap", "rework", "defects")}
        types[f"counts.defect.{OPEN}"] = "double"
    else:
        types |= {f"counts.{name}": "double" for name in counters}
        if any(name.startswith("defect.") for name in counters):
            types["counts.defects"] = "double"
    return Environment(types=types, units=_window_units(types, units or {}))


def _window_units(types: Mapping[str, ValueType], units: Mapping[str, str | None]) -> dict[str, str]:
    found = {f"{tag}.age_s": "SEC" for tag in units} | {"window.duration_s": "SEC"}
    for tag, unit in units.items():
        if unit is None or types.get(tag) != "double":
            continue
        found[tag] = unit
        found |= {f"{tag}.{name}": unit for name in ("last", "first", "mean", "min", "max", "rms")}
        if unit not in POINTS:
            found |= {f"{tag}.{name}": unit for name in ("stddev", "range", "delta")}
    return {name: unit for name, unit in found.items() if name in types} if units else {}


FIXED: Final[dict[str, ValueType]] = {
    "state": "string",
    "reason": "string",
    "context.order": "string",
    "context.product": "string",
    "context.lot": "string",
    "context.shift": "string",
    "context.stale": "bool",
    "window.duration_s": "double",
}
RESERVED: Final = frozenset({"state", "reason", "context", "counts", "window", "math"})
