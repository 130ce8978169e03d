"""Whatever text comes: an expression or an ExpressionError with places in the text, in bounded time and stack."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import (
    ExpressionError,
    Indeterminate,
    Program,
    compile_expression,
    unit_of,
    window_environment,
)
from models.expression_checker import MAX_FAULTS, Const, Op, Typed, check
from models.expression_columns import Column, evaluate_columns
from models.expression_interpreter import evaluate
from models.expression_lexer import MAX_TEXT
from models.expression_parser import MAX_DEPTH, Name, names, parse, parse_test
from models.rulesets import RulesetError, load
from tests.models.expressions import ENVIRONMENT, any_expression

WORDS = [
    "x", "n", "flag", "name", "oyl", "x.mean", "1", "1.5", "'a'", '"b"', "true", "null", "in", "has", "size", "math",
    "math.sqrt", "and", "+", "-", "*", "/", "%", "!", "<", "<=", "==", "&&", "||", "?", ":", "(", ")", "[", "]", ",",
    ".", "{", "}", "`q`", "r'\\'", "\\", "'", '"', "`", "//", "\n", " ", "\0", "é", "한", "\u2028", "\ud800", "0x",
    "9" * 25, "1e999", "e", "_", "__class__", "lambda", "import",
]  # fmt: skip


def heard(text: str, error: ExpressionError) -> None:
    lines = text.split("\n")
    assert 1 <= len(error.faults) <= MAX_FAULTS
    for fault in error.faults:
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
        assert fault.problem


def judged(text: str) -> None:
    """Compile and run a text in every form, or hear a fault that lies within it."""
    try:
        expression = compile_expression(text, ENVIRONMENT)
    except ExpressionError as error:
        heard(text, error)
        return
    assert len(text) <= MAX_TEXT
    assert set(expression.variables) <= set(names(parse(text)))
    result = expression.evaluate({})
    assert isinstance(result, float | int | bool | str | Indeterminate)
    (column,) = evaluate_columns(expression.program, {}, 1)
    assert column[0] == (None if isinstance(result, Indeterminate) else result)
    unit_of(text, ENVIRONMENT)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text(text):
    judged(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join))
def test_any_words(text):
    judged(text)


@st.composite
def mutated(draw) -> str:
    """A good expression with a few cuts, copies and strange words in it."""
    text = draw(any_expression)
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        match draw(st.sampled_from(["cut", "copy", "word", "turn"])):
            case "cut":
                text = text[:at] + text[to:]
            case "copy":
                text = text[:to] + text[at:to] + text[to:]
            case "word":
                text = text[:at] + draw(st.sampled_from(WORDS)) + text[at:]
            case _:
                text = text[:at] + text[at:to][::-1] + text[to:]
    return text


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_a_damaged_expression(text):
    judged(text)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_damaged_cell_of_a_table(text):
    try:
        tree = parse_test(text, Name(0, "x"))
        check(text, tree, ENVIRONMENT, {})
    except ExpressionError as error:
        heard(text, error)


OPENERS = [
    ("(", "1", ")"), ("!", "true", ""), ("-", "n", ""), ("!(", "true", ")"), ("-(", "1", ")"), ("[", "1", "]"),
    ("size([", "1", "])"), ("math.abs(", "1", ")"), ("math.least(1, ", "1", ")"), ("true ? ", "1", " : 2"),
    ("false ? 1 : ", "2", ""), ("1 + ", "1", ""), ("1 + (", "1", ")"), ("1 * ", "1", ""), ("1 < ", "1", ""),
    ("true && ", "true", ""), ("true || (", "true", ")"), ("1 in [", "1", "]"), ("has(", "x", ")"), ("x.", "x", ""),
    ("x[", "1", "]"), ("x['a", "", "']"), ("'a' + ", "'b'", ""), ("name.contains(", "'a'", ")"), ("{", "", "}"),
    ("f(", "", ")"), ("(1 + ", "1", ") * 2"), ("//", "", "\n"), ("r'", "", "'"), ("1 == (true ? ", "1", " : 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("opens", "inside", "closes"), OPENERS, ids=[opener[0] for opener in OPENERS])
@pytest.mark.parametrize("times", [1, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 400, 4000, 100_000])
def test_however_deep(opens, inside, closes, times):
    judged(opens * times + inside + closes * times)
    judged(opens * times)
    judged(inside + closes * times)


def below(frames: int, what) -> None:
    """Call something with less of the stack left."""
    if frames:
        below(frames - 1, what)
    else:
        what()


def test_the_deepest_there_may_be_needs_little_stack():
    depth = MAX_DEPTH - 2
    texts = [
        "(" * depth + "x" + ")" * depth,
        "math.abs(" * depth + "x" + ")" * depth,
        "x" + " + x" * depth,
        "-" * depth + "x",
        "flag ? 1.0 : " * depth + "x",
    ]
    slots: dict[str, int] = {}

    def run() -> None:
        program = Program([check(text, parse(text), ENVIRONMENT, slots) for text in texts], slots)
        inputs = [{"x": 2.0, "flag": False}[name] for name in slots]
        assert list(program.run(inputs, known=True)) == [evaluate(tree, inputs) for tree in program.trees]
        evaluate_columns(program, {}, 3)

    below(sys.getrecursionlimit() // 4, run)


def test_a_table_as_long_and_deep_as_may_be():
    deep = "x + " * (MAX_DEPTH - 2) + "x"
    slots: dict[str, int] = {}
    hit: Typed = Const(-1, "int")
    for row in range(64):
        text = f"{deep} > {deep} && y > {row}"
        hit = Op("if", (check(text, parse(text), ENVIRONMENT, slots), Const(row, "int"), hit), "int")

    def run() -> None:
        program = Program([hit], slots)
        assert program.run([1.0, 5.0], known=True) == (-1,)
        assert evaluate(hit, [1.0, 5.0]) == -1
        (column,) = evaluate_columns(program, {"x": Column.numbers(np.ones(2)), "y": Column.numbers(np.ones(2))}, 2)
        assert column.values.tolist() == [-1, -1]

    below(sys.getrecursionlimit() // 4, run)


def test_many_faults_among_many_tags_are_told_in_part():
    environment = window_environment({f"temperature_{i:04}": "float32" for i in range(2000)})
    text = " + ".join([f"temperatur_{i}" for i in range(30)]) + " > 1.0"
    with pytest.raises(ExpressionError) as error:
        compile_expression(text, environment)
    assert len(error.value.faults) == MAX_FAULTS
    assert "nearest is temperature_" in str(error.value)


def test_a_ruleset_of_nonsense_is_refused_with_places():
    with pytest.raises(RulesetError) as error:
        load('[ruleset]\nname = "a"\nversion = "1.0.0"\n[[rule]]\nname = "r"\nwhen = "((((oil"\n', ENVIRONMENT)
    assert "6:16" in str(error.value)
