"""What is added to or compared with each other is in one unit; faults name both."""

from __future__ import annotations

import pytest

from models.expression import ExpressionError, compile_expression, unit_misfit, unit_of, window_environment

ENVIRONMENT = window_environment(
    {"oil": "float32", "water": "float32", "pressure": "float32", "plain": "float32", "sku": "string", "door": "bool"},
    units={"oil": "CEL", "water": "CEL", "pressure": "BAR", "plain": None, "sku": "C62", "door": "C62"},
)
HINT = "needs one unit; give both tags the same with scale and offset in their tag book"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("oil + pressure > 1", f"1:5: oil is CEL, pressure is BAR; `+` {HINT}"),
        ("oil > pressure", f"1:5: oil is CEL, pressure is BAR; `>` {HINT}"),
        ("oil.mean == pressure.max", f"1:10: oil.mean is CEL, pressure.max is BAR; `==` {HINT}"),
        ("1 < 2 && oil - 5 < -pressure", f"1:18: (…) is CEL, (…) is BAR; `<` {HINT}"),
        ("math.abs(oil) < pressure", f"1:15: math.abs(…) is CEL, pressure is BAR; `<` {HINT}"),
        ("math.least(5, oil, pressure) > 1", f"1:1: oil is CEL, pressure is BAR; `math.least` {HINT}"),
        ("oil in [1, pressure]", f"1:5: oil is CEL, pressure is BAR; `in` {HINT}"),
        ("(door ? oil : pressure) > 1", f"1:2: oil is CEL, pressure is BAR; `? :` {HINT}"),
        ("oil.age_s > pressure", f"1:11: oil.age_s is SEC, pressure is BAR; `>` {HINT}"),
        ("window.duration_s > oil", f"1:19: window.duration_s is SEC, oil is CEL; `>` {HINT}"),
        ("math.sqrt(oil + pressure) > 1", f"1:15: oil is CEL, pressure is BAR; `+` {HINT}"),
        ("size([oil + pressure]) > 1", f"1:11: oil is CEL, pressure is BAR; `+` {HINT}"),
        ("door || oil > pressure", f"1:13: oil is CEL, pressure is BAR; `>` {HINT}"),
    ],
)
def test_two_units_do_not_meet(text, told):
    with pytest.raises(ExpressionError) as error:
        compile_expression(text, ENVIRONMENT, expect="bool")
    assert str(error.value) == told


@pytest.mark.parametrize(
    "text",
    [
        "oil > water",
        "oil - water > 5",
        "oil > 80",
        "oil + 2 > water",
        "oil * 2 > pressure",
        "oil / water > pressure / plain",
        "oil > plain",
        "plain + pressure > oil",
        "math.sqrt(oil) > pressure",
        "oil.delta > pressure",
        "oil.rate > pressure.rate",
        "oil.count > pressure.count",
        "counts.scrap > oil",
        "oil.age_s > window.duration_s",
        "oil in [80, water]",
        "sku == 'A' && door",
    ],
)
def test_what_is_of_one_unit_or_of_none_that_is_known_may_meet(text):
    compile_expression(text, ENVIRONMENT, expect="bool")


def test_two_faults_are_told_at_once_and_unknown_names_beside_them():
    with pytest.raises(ExpressionError) as error:
        compile_expression("oil > pressure && water < pressure.mean && wat > 1", ENVIRONMENT)
    assert [fault.column for fault in error.value.faults] == [5, 25, 44]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("oil", "CEL"),
        ("pressure.delta", "BAR"),
        ("pressure.rms + 1", "BAR"),
        ("oil - 5", "CEL"),
        ("oil - water", None),
        ("oil.range", None),
        ("pressure - pressure.min", "BAR"),
        ("math.greatest(0, pressure, 3)", "BAR"),
        ("door ? pressure : 0", "BAR"),
        ("pressure * 2", None),
        ("pressure.rate", None),
        ("5", None),
        ("pressure > 5", None),
        ("plain", None),
        ("oil.age_s", "SEC"),
    ],
)
def test_the_unit_of_a_value_is_known_where_nothing_was_multiplied(text, unit):
    assert unit_of(text, ENVIRONMENT) == unit


def test_a_declared_unit_that_is_another_is_told():
    assert unit_misfit("oil.mean", "BAR", ENVIRONMENT) == (
        "oil.mean is CEL, not BAR; write unit = 'CEL', or convert it in the tag book"
    )
    assert unit_misfit("oil.mean", "CEL", ENVIRONMENT) is None
    assert unit_misfit("oil.mean", None, ENVIRONMENT) is None
    assert unit_misfit("100 * counts.scrap / counts.produced", "P1", ENVIRONMENT) is None


def test_without_units_nothing_is_said():
    environment = window_environment({"oil": "float32", "pressure": "float32"})
    compile_expression("oil > pressure && oil.age_s > pressure", environment)
    assert unit_of("oil", environment) is None
