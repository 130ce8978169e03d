"""The CEL standard's conformance, as far as our subset goes: every case in every form of ours and by another CEL."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import cel
import numpy as np
import pytest

from models.expression import Environment, ExpressionError, Indeterminate, Program, compile_expression
from models.expression_checker import check
from models.expression_columns import Column, evaluate_columns
from models.expression_interpreter import evaluate
from models.expression_parser import parse

TABLE: dict[str, Any] = tomllib.loads((Path(__file__).parent / "cel_cases.toml").read_text(encoding="utf-8"))
VALUES: dict[str, Any] = TABLE["values"]
KINDS = {float: "double", int: "int", bool: "bool", str: "string"}
ENVIRONMENT = Environment(types={name: KINDS[type(value)] for name, value in VALUES.items()})
COLUMNS = {
    name: Column.texts([value]) if isinstance(value, str) else Column(np.array([value]))
    for name, value in VALUES.items()
}
CASES = [
    (section["name"], expression, value, section.get("oracle", True))
    for section in TABLE["section"]
    for expression, value in [*section.get("cases", []), *[(text, None) for text in section.get("no_value", [])]]
]


def ours(expression: str) -> object:
    """Give the value by all our forms, which must agree; None = no value, with its cause checked to be arithmetic."""
    slots: dict[str, int] = {}
    program = Program([check(expression, parse(expression), ENVIRONMENT, slots)], slots)
    inputs = [VALUES[name] for name in slots]
    (fused,) = program.run(inputs, known=True)
    interpreted = evaluate(program.trees[0], inputs)
    assert (type(interpreted), interpreted) == (type(fused), fused)
    (column,) = evaluate_columns(program, COLUMNS, 1)
    told = column[0]
    if isinstance(fused, Indeterminate):
        assert told is None
        return None
    assert (type(told), told) == (type(fused), fused)
    return fused


def theirs(expression: str) -> object:
    """Give the value by the Rust implementation; None = an error."""
    try:
        return cel.evaluate(expression, VALUES)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError, RuntimeError, ArithmeticError):
        return None


@pytest.mark.parametrize(("section", "expression", "value", "oracle"), CASES, ids=[case[1][:60] for case in CASES])
def test_it_says_what_the_standard_says(section, expression, value, oracle):
    del section
    found = ours(expression)
    assert (type(found), found) == (type(value), value)
    if oracle and expression not in TABLE["oracle_differs"]:
        told = theirs(expression)
        assert (type(told), told) == (type(value), value)


@pytest.mark.parametrize("expression", TABLE["oracle_differs"])
def test_where_the_oracle_is_said_to_differ_it_does(expression):
    assert ours(expression) != theirs(expression), "it agrees now: take it out of oracle_differs"


@pytest.mark.parametrize("deviation", TABLE["deviations"], ids=lambda deviation: deviation["expression"])
def test_we_deviate_only_as_we_say(deviation):
    expression, value = deviation["expression"], deviation["ours"]
    if isinstance(value, str):
        assert ours(expression) is None
        result = compile_expression(expression, ENVIRONMENT).evaluate(VALUES)
        assert isinstance(result, Indeterminate)
        assert [cause.why for cause in result.causes] == [value]
    else:
        found = ours(expression)
        assert (type(found), found) == (type(value), value)
    assert deviation["reason"]
    standard = deviation["standard"]
    if "math." in expression or "has(" in expression or "oracle" in deviation["reason"]:
        return
    told = theirs(expression)
    match standard:
        case "no value":
            assert told is None
        case "nan":
            assert isinstance(told, float)
            assert math.isnan(told)
        case "inf" | "-inf":
            assert told == float(standard)
        case _:
            assert (type(told), told) == (type(standard), standard)


@pytest.mark.parametrize("refused", TABLE["refused"], ids=lambda refused: refused["expression"][:60])
def test_what_is_left_out_is_refused_with_its_reason(refused):
    with pytest.raises(ExpressionError) as error:
        compile_expression(refused["expression"], ENVIRONMENT)
    assert refused["told"] in str(error.value)
    assert refused["reason"]


def test_there_are_enough_of_them_and_each_stands_once():
    expressions = [case[1] for case in CASES] + [one["expression"] for one in TABLE["deviations"] + TABLE["refused"]]
    assert len(expressions) >= 800
    assert len(set(expressions)) == len(expressions), sorted({e for e in expressions if expressions.count(e) > 1})
