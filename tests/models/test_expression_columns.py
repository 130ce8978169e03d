"""Columns say on every row what the interpreter says of that row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import Indeterminate, Program
from models.expression_checker import check
from models.expression_columns import BLOCK, Column, evaluate_columns
from models.expression_interpreter import Cause, evaluate
from models.expression_parser import parse
from tests.models.expressions import ENVIRONMENT, TYPES, VALUES, any_expression

ROWS = st.integers(0, 12)


def program(*texts: str) -> Program:
    slots: dict[str, int] = {}
    return Program([check(text, parse(text), ENVIRONMENT, slots) for text in texts], slots)


def column(kind: str, values: list) -> Column:
    known = np.array([value is not None for value in values], np.bool_)
    match kind:
        case "double":
            return Column.numbers(np.array([math.nan if value is None else value for value in values]))
        case "int":
            return Column.integers(np.array([value or 0 for value in values], np.int64), known)
        case "bool":
            return Column.booleans(np.array([value or False for value in values], np.bool_), known)
        case _:
            return Column.texts(values)


def same(result: object, told: object) -> bool:
    if isinstance(result, Indeterminate):
        return told is None
    if type(result) is not type(told):
        return False
    return result == told and (not isinstance(result, float) or math.copysign(1, result) == math.copysign(1, told))


@settings(max_examples=400, deadline=None)
@given(st.lists(any_expression, min_size=1, max_size=3), st.data())
def test_columns_say_of_every_row_what_the_interpreter_says(texts, data):
    fused = program(*texts)
    rows = data.draw(ROWS)
    table = {
        name: data.draw(st.lists(st.none() | VALUES[TYPES[name]], min_size=rows, max_size=rows))
        for name in fused.variables
    }
    results = evaluate_columns(fused, {name: column(TYPES[name], values) for name, values in table.items()}, rows)
    for row in range(rows):
        inputs = [Cause(name, "missing") if table[name][row] is None else table[name][row] for name in fused.variables]
        for text, tree, result in zip(texts, fused.trees, results, strict=True):
            assert same(evaluate(tree, inputs), result[row]), (text, inputs)
        if not any(isinstance(value, Cause) for value in inputs):
            for tree, told in zip(fused.trees, fused.run(inputs, known=True), strict=True):
                assert told == evaluate(tree, inputs)
    assert [result.type for result in results] == [tree.type for tree in fused.trees]


def test_rows_beyond_one_block_are_joined():
    rows = 2 * BLOCK + 5
    x = np.linspace(-1.0, 1.0, rows)
    names = [None if i % 7 == 0 else f"lot-{i % 5}" for i in range(rows)]
    hot, root, text = evaluate_columns(
        program("x > 0.5", "math.sqrt(x)", "lot + '/'"), {"x": Column.numbers(x), "lot": Column.texts(names)}, rows
    )
    assert hot.known is None
    assert np.array_equal(hot.values, x > 0.5)
    assert root.known is not None
    assert np.array_equal(root.known, x >= 0)
    assert not root.values[x < 0].any()
    assert [text[i] for i in range(rows)] == [None if name is None else f"{name}/" for name in names]


def test_many_different_texts_are_not_compared_pair_by_pair():
    rows = 20_000
    left = Column.texts([f"a{i}" for i in range(rows)])
    right = Column.texts([f"a{i + i % 2}" for i in range(rows)])
    equal, joined = evaluate_columns(program("name == lot", "name + lot + name"), {"name": left, "lot": right}, rows)
    assert int(equal.values.sum()) == rows // 2
    assert joined[3] == "a3a4a3"


def test_a_column_that_is_absent_or_of_another_type_is_unknown():
    fused = program("x > 1.0", "has(x)", "x > 1.0 || flag", "lot == 'A'", "size(lot + name)")
    results = evaluate_columns(
        fused, {"x": Column.texts(["1", "2"]), "flag": Column.booleans(np.array([True, False]))}, 2
    )
    assert [[result[row] for row in range(2)] for result in results] == [
        [None, None],
        [False, False],
        [True, None],
        [None, None],
        [None, None],
    ]


def test_a_constant_fills_its_column_and_no_rows_are_no_rows():
    whole, none = evaluate_columns(program("1 + 1", "1 / 0"), {}, 3)
    assert whole.values.tolist() == [2, 2, 2]
    assert [none[row] for row in range(3)] == [None] * 3
    assert [len(result) for result in evaluate_columns(program("x > 1.0", "lot"), {}, 0)] == [0, 0]


def test_what_is_not_finite_is_unknown_and_whole_numbers_are_taken_for_doubles():
    (result,) = evaluate_columns(program("x + 1.0"), {"x": Column.numbers(np.array([math.inf, math.nan, 1.0]))}, 3)
    assert [result[row] for row in range(3)] == [None, None, 2.0]
    (result,) = evaluate_columns(program("x + 1.0"), {"x": Column.integers(np.array([1, 2]))}, 2)
    assert result.values.tolist() == [2.0, 3.0]


def test_a_result_is_an_input_like_any_other():
    (total,) = evaluate_columns(program("x + 1.0"), {"x": Column.numbers(np.array([1.0, 2.0]))}, 2)
    (high,) = evaluate_columns(program("z > 2.5"), {"z": total}, 2)
    assert high.values.tolist() == [False, True]


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="column x has 2 rows, not 3"):
        evaluate_columns(program("x > 1.0"), {"x": Column.numbers(np.array([1.0, 2.0]))}, 3)
