"""Functions of real numbers: the nearest double, the same bits everywhere, and a cause where there is no value."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import expression_math as real
from models import expression_pairs as pairs
from models.expression import Environment, Indeterminate, Program, compile_expression
from models.expression_checker import check
from models.expression_interpreter import STRICT, evaluate
from models.expression_parser import parse
from tests.models.expressions import ENVIRONMENT, LARGEST, VALUES, any_expression, doubles

FINE = decimal.Context(prec=150, Emin=-99999, Emax=99999)
BITS = {
    "math.ln(0.1)": "-0x1.26bb1bbb55515p+1",
    "math.ln(123456.789)": "0x1.77281cad8a844p+3",
    "math.ln(1.0000000000000002)": "0x1.fffffffffffffp-53",
    "math.log10(3)": "0x1.e8927964fd5fdp-2",
    "math.log10(5e-324)": "-0x1.434e6420f4374p+8",
    "math.exp(0.1)": "0x1.1aec7b35a00d4p+0",
    "math.exp(-700.25)": "0x1.af5fe9a485c8ep-1011",
    "math.exp(709.78)": "0x1.fe9ce5c4c52b4p+1023",
    "math.pow(1.1, 0.1)": "0x1.02739c65d58bfp+0",
    "math.pow(0.1, 64)": "0x1.50ffd44f4a752p-213",
    "math.pow(2.5, -3.7)": "0x1.1410bb40d75d5p-5",
    "math.pow(1.0000000000000002, 1e15)": "0x1.3fa60615291eep+0",
    "math.sqrt(985.25)": "0x1.f638155863d66p+4",
}
"""Bit patterns of the nearest doubles: another machine, library or release must give these."""


@pytest.mark.parametrize("text", BITS)
def test_the_bits_are_these_on_every_machine(text):
    assert float(compile_expression(text, ENVIRONMENT).evaluate({})).hex() == BITS[text]


positive = st.floats(min_value=5e-324, max_value=LARGEST)


@settings(max_examples=200, deadline=None)
@given(positive)
def test_logarithms_are_the_nearest_doubles(number):
    exact = FINE.create_decimal_from_float(number)
    assert real.natural_log(number) == float(FINE.ln(exact))
    assert real.decimal_log(number) == float(FINE.log10(exact))
    assert real.natural_log(number) == pytest.approx(math.log(number), rel=1e-15)


@settings(max_examples=200, deadline=None)
@given(st.floats(-745, 709))
def test_the_exponential_is_the_nearest_double(number):
    assert real.exponential(number) == float(FINE.exp(FINE.create_decimal_from_float(number)))


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-8, 1e8), st.floats(-30, 30))
def test_a_power_is_the_nearest_double(base, exponent):
    exact = FINE.power(FINE.create_decimal_from_float(base), FINE.create_decimal_from_float(exponent))
    assert real.power(base, exponent) == float(exact)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e4, 1e4), st.integers(-64, 64))
def test_a_whole_power_is_rounded_once(base, exponent):
    if base == 0.0 and exponent < 0:
        with pytest.raises(real.DomainError):
            real.power(base, float(exponent))
        return
    try:
        exact = float(Fraction(base) ** exponent)
    except OverflowError:
        with pytest.raises(OverflowError):
            real.power(base, float(exponent))
        return
    assert real.power(base, float(exponent)) == exact


@settings(max_examples=300, deadline=None)
@given(doubles)
def test_rounding_gives_whole_numbers_without_a_negative_zero(number):
    for function in (real.floor, real.ceil, real.trunc, real.rounded):
        whole = function(number)
        assert whole.is_integer()
        assert math.copysign(1, whole) == 1 or whole != 0
        assert abs(Fraction(whole) - Fraction(number)) < 1 or function is real.trunc
    away = Fraction(real.rounded(number)) - Fraction(number)
    assert abs(away) <= Fraction(1, 2)
    if abs(away) == Fraction(1, 2):
        assert abs(real.rounded(number)) > abs(number)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(
        ["add", "sub", "mul", "div", "sqrt", "ln", "log10", "exp", "pow", "floor", "ceil", "round", "trunc"]
    ),
    doubles,
    doubles,
)
def test_none_of_them_gives_what_is_not_finite(name, left, right):
    arguments = (left, right)[: 2 if name in {"add", "sub", "mul", "div", "pow"} else 1]
    try:
        assert math.isfinite(STRICT[name](*arguments))
    except ArithmeticError:
        return


@settings(max_examples=400, deadline=None)
@given(any_expression, st.data())
def test_every_expression_is_finite_or_says_why_not_in_both_forms(text, data):
    slots: dict[str, int] = {}
    program = Program([check(text, parse(text), ENVIRONMENT, slots)], slots)
    inputs = [data.draw(VALUES[ENVIRONMENT.types[name]]) for name in slots]
    (fused,) = program.run(inputs, known=True)
    assert fused == evaluate(program.trees[0], inputs)
    if isinstance(fused, Indeterminate):
        assert {cause.why for cause in fused.causes} <= {"zero_division", "overflow", "domain"}
        assert {cause.variable for cause in fused.causes} == {""}
    elif isinstance(fused, float):
        assert math.isfinite(fused)


@settings(max_examples=200, deadline=None)
@given(any_expression)
def test_python_compiles_our_words_and_constants_only(text):
    slots: dict[str, int] = {}
    program = Program([check(text, parse(text), ENVIRONMENT, slots)], slots)
    code = program.fused.__code__
    assert set(code.co_varnames) <= {"inputs", "t", *(f"v{i}" for i in range(len(slots)))}
    assert set(code.co_names) <= {"overflow", *(f"f_{name}" for name in STRICT)}
    assert not code.co_freevars
    assert program.fused.__globals__["__builtins__"] == {}


def test_a_text_of_python_stays_a_text():
    hostile = "__import__('os').system('true')"
    expression = compile_expression(f'name == "{hostile}" || size("{hostile}") > 3', ENVIRONMENT)
    assert expression.evaluate({"name": "x"}) is True
    assert expression.program.fused.__code__.co_names == ("f_size",)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_value_that_is_not_finite_is_no_value(value):
    result = compile_expression("x > 1.0", ENVIRONMENT).evaluate({"x": value})
    assert isinstance(result, Indeterminate)
    assert result.causes[0].why == "not_finite"


def test_true_is_no_number_and_a_whole_number_is_a_double():
    environment = Environment(types={"x": "double", "n": "int"})
    assert compile_expression("x + 1", environment).evaluate({"x": 2}) == 3.0
    for name in ("x", "n"):
        result = compile_expression(f"{name} + 1", environment).evaluate({name: True})
        assert isinstance(result, Indeterminate)
        assert result.causes[0].why == "wrong_type"


COLUMNS_OF = [
    (pairs.natural_log, real.natural_log, st.tuples(positive)),
    (pairs.decimal_log, real.decimal_log, st.tuples(positive)),
    (pairs.exponential, real.exponential, st.tuples(st.floats(-760, 720))),
    (pairs.power, real.power, st.tuples(positive, st.floats(-50, 50))),
    (pairs.power, real.power, st.tuples(st.floats(0.999, 1.001), st.floats(-1e5, 1e5))),
    (pairs.power, real.power, st.tuples(st.integers(1, 300).map(float), st.integers(-70, 70).map(float))),
]


@pytest.mark.parametrize(("columns_of", "function", "arguments"), COLUMNS_OF)
def test_what_columns_call_certain_is_the_nearest_double(columns_of, function, arguments):
    @settings(max_examples=300, deadline=None)
    @given(arguments)
    def agrees(row):
        with np.errstate(all="ignore"):
            values, sure = columns_of(*[np.array([one]) for one in row])
        if sure[0]:
            assert function(*row) == values[0]

    agrees()


def test_nearly_every_row_is_certain():
    numbers = np.linspace(0.01, 600.0, 20_000)
    with np.errstate(all="ignore"):
        for columns_of in (pairs.natural_log, pairs.decimal_log, pairs.exponential):
            assert columns_of(numbers)[1].all()
        assert pairs.power(numbers, np.full(20_000, 1.7))[1].all()


def test_pairs_are_good_to_more_than_what_is_said_of_them():
    numbers = np.concatenate([np.linspace(0.5, 2.0, 500), np.logspace(-290, 290, 500)])
    with np.errstate(all="ignore"):
        high, low = pairs._logarithm(numbers)
    for number, *parts in zip(numbers.tolist(), high.tolist(), low.tolist(), strict=True):
        exact = Fraction(FINE.ln(FINE.create_decimal_from_float(number)))
        assert abs(sum(map(Fraction, parts)) - exact) < Fraction(pairs.ERROR) / 8 * (1 + abs(exact))
