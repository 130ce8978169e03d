"""Expressions against an independent CEL implementation, against each other's two forms, and against bad text."""

from __future__ import annotations

import math

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import (
    Cause,
    Environment,
    ExpressionError,
    Indeterminate,
    Program,
    compile_expression,
    window_environment,
)
from models.expression_checker import check
from models.expression_interpreter import evaluate
from models.expression_parser import MAX_DEPTH, parse, parse_test

TYPES = {"x": "double", "y": "double", "z": "double", "flag": "bool", "name": "string", "n": "int"}
ENVIRONMENT = Environment(types=TYPES)
VALUES = {"x": 1.5, "y": -2.0, "z": 80.0, "flag": True, "name": "COLA-500", "n": 7}

CORPUS = [
    "1 + 2 * 3 - 4",
    "7 / 2",
    "-7 / 2",
    "7 % 3",
    "-7 % 3",
    "7 % -3",
    "2.0 / 4.0",
    "1.5e3 + .5",
    "0x1F",
    "-9223372036854775808",
    "9223372036854775807 + 1",
    "-9223372036854775808 - 1",
    "4611686018427387904 * 2",
    "1 / 0",
    "1 % 0",
    "1 / 0 == 1 || true",
    "true || 1 / 0 == 1",
    "1 / 0 == 1 && false",
    "false && 1 / 0 == 1",
    "1 / 0 == 1 || false",
    "1 / 0 == 1 && true",
    "1 / 0 == 1 ? 1 : 2",
    "flag ? 1 : 1 / 0",
    "!flag || x > 1.0",
    "!!flag",
    "x + y * z - x / 4.0",
    "(x + y) * z",
    "-x - -y",
    "x < y == false",
    "1 < 2",
    "1 == 1",
    "n * 2 - 1 >= 13",
    "name == 'COLA-500' && z >= 80.0",
    'name != "COLA-500"',
    "name < 'D'",
    "name + '/' + name",
    "name.startsWith('COLA') && name.endsWith('500') && name.contains('-')",
    "size(name)",
    "name.size() == 8",
    "size([1, 2, 3])",
    "size([])",
    "n in [1, 7, 9]",
    "name in ['A', 'COLA-500']",
    "x in [1.5, 2.5]",
    "n in []",
    "flag == true",
    "false < true",
    "int(x) + 1",
    "int(-1.9)",
    "double(n) / 2.0",
    "int(1e300)",
    "1 < 2 ? 'a' : 'b'",
    "flag ? x : y",
    "flag && x > 1.0 || y > 1.0 && z > 1.0",
    "'tab\\t' == \"tab\\u0009\"",
    "r'a\\n' == 'a\\\\n'",
    "'\\x41\\101' == 'AA'",
    "1 + 1 // a comment",
    "  1\n +\n 2 ",
]


def oracle(text: str, values: dict) -> object:
    """Give what the Rust implementation of CEL says; an error there is None."""
    try:
        return cel.evaluate(text, values)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError, RuntimeError, ArithmeticError):
        return None


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, Indeterminate) or theirs is None:
        return isinstance(ours, Indeterminate) and theirs is None
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours):
        return math.isnan(theirs)
    return type(ours) is type(theirs) and ours == theirs


@pytest.mark.parametrize("text", CORPUS)
def test_it_says_what_another_cel_says(text):
    assert same(compile_expression(text, ENVIRONMENT).evaluate(VALUES), oracle(text, VALUES))


@st.composite
def expressions(draw, kind: str, depth: int = 3) -> str:
    """Texts of plain CEL: no int beside a double, no double division by what may be zero."""

    def inner(other: str) -> str:
        return draw(expressions(other, depth - 1))

    leaf = depth <= 0 or draw(st.integers(0, 3)) == 0
    if kind == "double":
        if leaf:
            return draw(st.sampled_from(["x", "y", "z", "1.5", "0.0", "2.25", "80.0", "1e3"]))
        form = draw(st.sampled_from(["{0} {op} {1}", "({0} {op} {1})", "-({0})", "({0}) / 4.0", "({b} ? {0} : {1})"]))
        operator = draw(st.sampled_from(["+", "-", "*"]))
    elif kind == "int":
        if leaf:
            return draw(st.sampled_from(["n", "0", "1", "3", "-5", "4611686018427387904"]))
        form = draw(st.sampled_from(["{0} {op} {1}", "({0} {op} {1})", "-({0})", "({b} ? {0} : {1})"]))
        operator = draw(st.sampled_from(["+", "-", "*", "/", "%"]))
    elif kind == "string":
        if leaf:
            return draw(st.sampled_from(["name", "'A'", "''", "'COLA'"]))
        form, operator = draw(st.sampled_from([("({0} + {1})", ""), ("({b} ? {0} : {1})", "")]))
    else:
        if leaf:
            return draw(st.sampled_from(["flag", "true", "false"]))
        return _condition(draw, inner)
    return form.format(inner(kind), inner(kind), op=operator, b=inner("bool"))


def _condition(draw, inner) -> str:
    form = draw(st.integers(0, 5))
    if form == 0:
        return f"!({inner('bool')})"
    if form == 1:
        return f"({inner('bool')} && {inner('bool')} || {inner('bool')})"
    if form == 2:
        return f"({inner('bool')} || {inner('bool')} && {inner('bool')})"
    if form == 3:
        kind = draw(st.sampled_from(["int", "string"]))
        return f"({inner(kind)} in [{inner(kind)}, {inner(kind)}])"
    if form == 4:
        return f"{inner('string')}.{draw(st.sampled_from(['startsWith', 'endsWith', 'contains']))}({inner('string')})"
    kind = draw(st.sampled_from(["double", "int", "string"]))
    relation = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    return f"({inner(kind)} {relation} {inner(kind)})"


numbers = st.floats(-1e6, 1e6, allow_nan=False)
environments = st.fixed_dictionaries(
    {
        "x": numbers,
        "y": numbers,
        "z": numbers,
        "flag": st.booleans(),
        "name": st.text("ABC-05", max_size=6),
        "n": st.integers(-(2**63) + 1, 2**63 - 1),  # the Rust one wraps -(-2**63) instead of refusing it
    }
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(*[expressions(kind) for kind in ("bool", "double", "int", "string")]), environments)
def test_any_expression_says_what_another_cel_says(text, values):
    assert same(compile_expression(text, ENVIRONMENT).evaluate(values), oracle(text, values)), text


@settings(max_examples=200, deadline=None)
@given(st.lists(expressions("bool"), min_size=1, max_size=5), environments)
def test_fused_and_interpreted_agree(texts, values):
    slots: dict[str, int] = {}
    trees = [check(text, parse(text), ENVIRONMENT, slots) for text in texts]
    inputs = [values[name] for name in slots]
    assert list(Program(trees, slots).run(inputs, known=True)) == [evaluate(tree, inputs) for tree in trees]


@settings(max_examples=200, deadline=None)
@given(expressions("bool"), environments, st.sets(st.sampled_from(sorted(TYPES))))
def test_what_is_told_without_some_values_stays_true_whatever_they_are(text, values, hidden):
    expression = compile_expression(text, ENVIRONMENT)
    partly = expression.evaluate({name: value for name, value in values.items() if name not in hidden})
    wholly = expression.evaluate(values)
    if not isinstance(partly, Indeterminate):
        assert partly == wholly
    elif not isinstance(wholly, Indeterminate):
        assert {cause.variable for cause in partly.causes} & hidden


def test_an_int_beside_a_double_becomes_one():
    assert compile_expression("x > 1 && x * 2 == 3 && 10 / x > 6", ENVIRONMENT).evaluate(VALUES) is True


def test_a_double_divided_by_zero_is_unknown_and_says_so():
    result = compile_expression("x / (y + 2.0) > 1.0", ENVIRONMENT).evaluate(VALUES)
    assert result == Indeterminate((Cause("", "zero_division"),))


def test_missing_values_are_unknown_with_their_names_and_logic_absorbs_them():
    assert compile_expression("x > 1.0 && y > 1.0", ENVIRONMENT).evaluate({}) == Indeterminate(
        (Cause("x", "missing"), Cause("y", "missing"))
    )
    assert compile_expression("x > 1.0 && y > 1.0", ENVIRONMENT).evaluate({"y": 0.0}) is False
    assert compile_expression("x > 1.0 || y > 1.0", ENVIRONMENT).evaluate({"y": 2.0}) is True
    assert compile_expression("x > 1.0 || y > 1.0", ENVIRONMENT).evaluate({"y": 0.0, "x": Cause("x", "stale")}) == (
        Indeterminate((Cause("x", "stale"),))
    )


def test_a_value_of_another_type_is_unknown_not_an_accident():
    assert compile_expression("name.startsWith('A')", ENVIRONMENT).evaluate({"name": 3.0}) == Indeterminate(
        (Cause("name", "wrong_type"),)
    )


def test_has_tells_whether_there_is_a_value():
    expression = compile_expression("has(x) ? x > 1.0 : false", ENVIRONMENT)
    assert expression.evaluate({}) is False
    assert expression.evaluate({"x": 2.0}) is True


def test_math_functions():
    expression = compile_expression("math.abs(y) + math.greatest(1, x, 2) - math.least(n, 3)", ENVIRONMENT)
    assert expression.evaluate(VALUES) == 2.0 + 2.0 - 3


def test_its_variables_are_told_in_order_and_once():
    assert compile_expression("y > x && x > 1.0", ENVIRONMENT).variables == ("y", "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("oil_temprature.mean > 1.0", "1:1: unknown name oil_temprature.mean; nearest is oil_temperature.mean"),
        ("speed > 1.0\n&& spede > 2.0", "2:4: unknown name spede; nearest is speed"),
        (
            "speed.avg > 1.0",
            "1:1: unknown name speed.avg; nearest is speed.mean; speed has age_s, bad, count, delta, first, last, max, mean",
        ),
        ("counts.prodced > 1.0", "1:1: unknown name counts.prodced; nearest is counts.produced"),
        ("speed", "1:1: gives double, but true or false (bool) is needed here; compare it with something"),
        ("guard + 1 > 2", "1:7: `+` cannot work on bool and int"),
        ("sku > 5", "1:5: `>` cannot compare string with int; a text stands in quotes"),
        ("speed % 2 == 1", "1:7: `%` works on whole numbers; write int(x) % n"),
        ("speed && guard", "1:1: `&&` needs true or false, not double; compare it first"),
        ("!speed", "1:1: `!` needs true or false, not double"),
        ("-guard", "1:1: `-` needs a number, not bool"),
        ("guard ? 1 : 'a'", "1:1: `? :` gives int on one side and string on the other"),
        ("speed ? true : false", "1:1: the condition before `?` gives double, not true or false"),
        ("speed in sku", "1:7: `in` needs a list on its right; as in x in"),
        ("speed in ['a']", "1:11: a double cannot be in a list with a string"),
        ("[1, 2]", "1:1: a list can only stand behind `in` or in size(…)"),
        ("sku.matches('(a+)+')", "1:5: unknown function matches; regular expressions are left out"),
        ("siz(sku) > 1", "1:1: unknown function siz; nearest is size"),
        ("min(speed, 1) > 1", "1:1: unknown function min; write math.least(a, b), or tag.min"),
        ("sku.startsWith() ", "1:5: startsWith got 1 arguments; write text.startsWith"),
        ("startsWith(speed, 'a')", "1:12: startsWith cannot take a double"),
        ("has(1)", "1:5: has(…) asks about one name"),
        ("1 +", "1:4: the expression ends too early; a value is missing"),
        ("", "1:1: the expression ends too early"),
        ("(1 + 2", "1:7: expected ')' but found the end; '(' stands open at column 1"),
        ("1 2", "1:3: unexpected '2'; an operator is missing before it"),
        ("guard and guard", "1:7: unexpected 'and'; write && for and"),
        ("speed = 1", "1:7: unexpected character '='; write == to compare"),
        ("guard & guard", "1:7: unexpected character '&'; write && for and"),
        ("sku == 'a", '1:8: unexpected character "\'"; the text is not closed on its line'),
        ("1u == 1", "1:1: unsigned number 1u; write 1"),
        ("9223372036854775808 > 1", "1:1: 9223372036854775808 does not fit 64 bits; write 9223372036854775808.0"),
        ("99999999999999999999 > 1", "1:1: 99999999999999999999 does not fit 64 bits"),
        ("'\\q' == 'a'", "1:2: unknown escape \\q"),
        ("'\\uD800' == 'a'", "1:2: this escape is no Unicode character"),
        ("null == null", "1:1: 'null' is a reserved word"),
        ("{'a': 1}", "1:1: unexpected character '{'; maps are not part of this subset"),
        ("(1).x", "1:4: only names have parts such as .x"),
        ("speed[0] > 1", "1:6: an index must be a text behind a name"),
        ("speed. > 1", "1:8: expected a name behind the dot"),
        ("x" * 5000, "1:1: expression of 5000 characters; at most 4096"),
        ("(" * 60 + "1" + ")" * 60, f"1:41: nested deeper than {MAX_DEPTH}; split the rule"),
        (" + ".join(["1"] * 60), f"nested deeper than {MAX_DEPTH}"),
        ("||".join(["1"] * 600), "more than 500 parts; split the rule"),
    ],
)
def test_bad_text_is_told_with_its_place_and_what_to_write(text, told):
    environment = window_environment({"oil_temperature": "float32", "speed": "int16", "guard": "bool", "sku": "string"})
    with pytest.raises(ExpressionError) as error:
        compile_expression(text, environment, expect="bool")
    assert told in str(error.value)


def test_all_unknown_names_are_told_at_once():
    with pytest.raises(ExpressionError) as error:
        compile_expression("aaa > 1.0 && bbb > 2.0 || ccc in ['x']", ENVIRONMENT)
    assert [(fault.column, fault.problem) for fault in error.value.faults] == [
        (1, "unknown name aaa"),
        (14, "unknown name bbb"),
        (27, "unknown name ccc"),
    ]


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("xyn10.+-*/%!<>=&|?:()[],'\" \\ein`\n"), max_size=40))
def test_no_text_does_more_than_be_refused(text):
    try:
        result = compile_expression(text, ENVIRONMENT).evaluate(VALUES)
    except ExpressionError as error:
        lines = text.split("\n")
        for fault in error.faults:
            assert 1 <= fault.line <= len(lines)
            assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
    else:
        assert isinstance(result, float | int | bool | str | Indeterminate)


def test_nothing_of_python_can_be_reached():
    for text in ("__import__('os')", "x.__class__", "open('a')", "().__class__", "x.real", "name.format(1)"):
        with pytest.raises(ExpressionError):
            compile_expression(text, ENVIRONMENT)


def test_the_window_names_what_a_line_has():
    environment = window_environment(
        {"state": "uint16", "speed": "float32", "guard": "bool", "sku": "string"}, {"produced", "defect.leak"}
    )
    assert environment.type_of("state") == "string"
    assert environment.type_of("state.mean") is None
    assert environment.type_of("guard") == "bool"
    assert environment.type_of("sku.mean") is None
    assert environment.type_of("counts.defect.leak") == "double"
    assert environment.type_of("counts.defect.dent") is None
    assert environment.type_of("counts.defects") == "double"
    assert environment.type_of("counts.scrap") is None
    assert window_environment({}).type_of("counts.defect.anything") == "double"


def test_a_cell_tests_its_subject():
    slots: dict[str, int] = {}
    subject = parse("x")
    tree = check("> 1 && <= 2 || in [5.0]", parse_test("> 1 && <= 2 || in [5.0]", subject), ENVIRONMENT, slots)
    assert [evaluate(tree, [value]) for value in (1.0, 1.5, 2.0, 2.5, 5.0)] == [False, True, True, False, True]
