"""Virtual tags: over which windows they have which value, how good it is, and what is refused."""

from __future__ import annotations

import pytest

from models.expression import compile_expression, window_environment
from models.ruleset_inputs import reader
from models.virtual import GOOD, UNCERTAIN, UNCERTAIN_UNITS_EXCEEDED, VirtualError, VirtualTag, compile_virtual
from tests.models.windows import S, tag, window

TYPES = {
    "current": "float32",
    "water": "float32",
    "oil": "float32",
    "pressure": "float32",
    "door": "bool",
    "sku": "string",
}
UNITS = {"current": "AMP", "water": "CEL", "oil": "CEL", "pressure": "BAR", "door": None, "sku": None}
BAD_SENSOR = 0x808C_0000


def compiled(*tags: VirtualTag):
    return compile_virtual(tags, TYPES, ["produced", "scrap"], UNITS)


def one(value: str, **more) -> VirtualTag:
    return VirtualTag(name="load", value=value, **more)


def test_it_is_a_tag_of_the_window_like_any_other():
    virtual = compiled(one("100 * current.mean / 50", unit="P1", low=0, high=100, required=True))
    extended = virtual.extend(window(tag("current", 20.0), tag("oil", 60.0, required=True)))
    load = extended.tags["load"]
    assert (load.last, load.first, load.mean, load.min, load.max, load.stddev) == (40.0, 40.0, 40.0, 40.0, 40.0, 0.0)
    assert (load.count, load.bad, load.status, load.unit, load.low, load.high) == (1, 0, GOOD, "P1", 0, 100)
    assert list(extended.tags) == ["current", "oil", "load"]
    assert len(extended.tags) == 3
    assert extended.required == ("load", "oil")
    assert extended.tags["oil"].last == 60.0
    assert "water" not in extended.tags
    rule = compile_expression("load > 30 && load.range == 0", virtual.environment)
    values = {name: reader(name, "double")(extended) for name in rule.variables}
    assert rule.evaluate(values) is True


def test_it_may_lean_on_those_above_it():
    virtual = compiled(
        VirtualTag(name="half", value="current / 2", unit="AMP"),
        VirtualTag(name="quarter", value="half / 2"),
        VirtualTag(name="hot", value="oil > 50 && quarter > 4"),
        VirtualTag(name="label", value="sku + '/' + (hot ? 'hot' : 'cold')"),
    )
    tags = virtual.extend(window(tag("current", 20.0), tag("oil", 60.0), tag("sku", "A"))).tags
    assert [tags[name].last for name in ("quarter", "hot", "label")] == [5.0, 1.0, "A/hot"]
    assert virtual.types == {"half": "float64", "quarter": "float64", "hot": "bool", "label": "string"}
    assert tags["label"].mean is None


def test_a_long_chain_needs_no_stack():
    chain = [VirtualTag(name="v0", value="current")]
    chain += [VirtualTag(name=f"v{i}", value=f"v{i - 1} + 1") for i in range(1, 500)]
    assert compiled(*chain).extend(window(tag("current", 1.0))).tags["v499"].last == 500.0


@pytest.mark.parametrize(
    ("value", "tags", "status"),
    [
        ("oil + 1", [], 0x8032_0000),
        ("oil + 1", [tag("oil", None, status=BAD_SENSOR)], BAD_SENSOR),
        ("oil + 1", [tag("oil", 20.0, count=0, age_ns=31 * S)], 0x8031_0000),
        ("oil / (current - current)", [tag("oil"), tag("current")], 0x803C_0000),
        ("math.sqrt(-oil)", [tag("oil")], 0x803C_0000),
        ("size(context.lot)", [], 0x809B_0000),
        ("oil + 1", [tag("oil", "text")], 0x8074_0000),
        ("counts.scrap + 1", [], 0x8032_0000),
    ],
)
def test_what_cannot_be_told_is_a_bad_value_that_says_why(value, tags, status):
    load = compiled(one(value)).extend(window(*tags)).tags["load"]
    assert (load.last, load.mean, load.count, load.bad, load.status) == (None, None, 0, 1, status)
    assert reader("load", "double")(window(load)).why == "bad"


def test_it_is_no_better_than_its_inputs_and_as_old():
    virtual = compiled(one("oil.mean + water.mean", low=0, high=30))
    doubtful = tag("oil", 20.0, status=UNCERTAIN_UNITS_EXCEEDED, age_ns=7 * S)
    load = virtual.extend(window(doubtful, tag("water", 5.0, age_ns=2 * S))).tags["load"]
    assert (load.last, load.status, load.age_ns) == (25.0, UNCERTAIN, 7 * S)
    outside = virtual.extend(window(tag("oil", 40.0), tag("water", 5.0))).tags["load"]
    assert outside.status == UNCERTAIN_UNITS_EXCEEDED


def test_what_an_absent_input_does_not_decide_is_told():
    load = compiled(one("has(oil) ? oil : water")).extend(window(tag("water", 5.0))).tags["load"]
    assert (load.last, load.status) == (5.0, GOOD)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("a", "oyl + 1")], "virtual[0].value: 1:1: unknown name oyl; nearest is oil"),
        ([("a", "a + 1")], "virtual[0].value: a → a is a circle; break it"),
        ([("a", "b + 1"), ("b", "c"), ("c", "a + b")], "virtual[0].value: a → b → c → a is a circle; break it"),
        ([("a", "b + 1"), ("b", "oil")], "virtual[0].value: b stands below; move its [[virtual]] above this one"),
        ([("oil", "current")], "virtual[0].name: duplicate tag 'oil': each name stands once in a book"),
        ([("a", "oil"), ("a", "oil")], "virtual[1].name: duplicate tag 'a'"),
        ([("state", "oil")], "virtual[0].name: 'state' has a meaning of its own in expressions"),
        ([("a", "oil +")], "virtual[0].value: 1:6: the expression ends too early"),
        ([("a", "oil + pressure")], "virtual[0].value: 1:5: oil is CEL, pressure is BAR"),
        ([("a", "pressure"), ("b", "a > oil")], "virtual[1].value: 1:3: a is BAR, oil is CEL"),
        ([("a", "current.average")], "virtual[0].value: 1:1: unknown name current.average; nearest is current.mean"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(entries, told):
    with pytest.raises(VirtualError) as error:
        compiled(*[VirtualTag(name=name, value=value) for name, value in entries])
    assert told in str(error.value)


def test_what_leans_on_a_faulty_one_is_not_blamed_again():
    with pytest.raises(VirtualError) as error:
        compiled(
            VirtualTag(name="a", value="oyl"),
            VirtualTag(name="b", value="a + 1"),
            VirtualTag(name="c", value="pressure", unit="CEL"),
            VirtualTag(name="d", value="door", low=1),
            VirtualTag(name="e", value="oil", low=2, high=1),
        )
    assert [(fault.position, fault.key) for fault in error.value.faults] == [
        (0, "value"), (2, "unit"), (3, "low"), (4, "low")
    ]  # fmt: skip


def test_without_any_the_window_stays_what_it_is():
    plain = window(tag("oil"))
    assert compiled().extend(plain) is plain
    assert compiled().environment.types == window_environment(TYPES, ["produced", "scrap"]).types
