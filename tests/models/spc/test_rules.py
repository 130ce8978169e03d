"""Every rule on the shortest series that fires it, and on one that just does not; and rules as such."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spc import NELSON, RULES, WESTERN_ELECTRIC, Design, Limits, Memory, Point, advance
from models.spc.rules import USUAL, fired, signals, span

UP_AND_DOWN = [0.1 * (-1) ** i for i in range(14)]

# rule: the shortest series that fires it; the same one point or one step short of it
# Counts of points as in Nelson (1984) and Western Electric (1956): 1 beyond 3σ; 9 (WE: 8) on one side; 6 in a trend; 14 alternating;
# 2 of 3 beyond 2σ; 4 of 5 beyond 1σ; 15 within 1σ; 8 beyond 1σ.
MINIMAL = {
    "nelson_1": ([3.01], [3.0]),
    "nelson_2": ([0.1] * 9, [0.1] * 8),
    "nelson_3": ([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5], [-0.3, -0.1, 0.1, 0.3, 0.5]),
    "nelson_4": (UP_AND_DOWN, UP_AND_DOWN[1:]),
    "nelson_5": ([2.1, 0.0, 2.1], [2.1, 0.0, 0.0, 2.1]),
    "nelson_6": ([1.1, 1.1, 0.0, 1.1, 1.1], [1.1, 1.1, 0.0, 0.0, 1.1, 1.1]),
    "nelson_7": ([0.9, -0.9, 0.5] * 5, ([0.9, -0.9, 0.5] * 5)[1:]),
    "nelson_8": ([1.1, -1.1] * 4, [1.1, -1.1, 1.1, -1.1, 1.1, -1.1, 1.1]),
    "we_1": ([-3.01], [-3.0]),
    "we_2": ([-2.1, 0.0, -2.1], [-2.1, 0.0, 0.0, -2.1]),
    "we_3": ([-1.1, -1.1, 0.0, -1.1, -1.1], [-1.1, -1.1, 0.0, 0.0, -1.1, -1.1]),
    "we_4": ([-0.1] * 8, [-0.1] * 7),
}
# What must not fire though it is as long: a point on the line, a tie, a point on the other side, a change of side.
NEAR = {
    "nelson_1": [-3.0],
    "nelson_2": [0.1] * 4 + [0.0] + [0.1] * 4,
    "nelson_3": [-0.5, -0.3, -0.1, -0.1, 0.3, 0.5],
    "nelson_4": [*UP_AND_DOWN[:-1], 0.1],
    "nelson_5": [2.1, 0.0, -2.1],
    "nelson_6": [1.1, 1.1, -1.1, 1.0, 1.1],
    "nelson_7": [*([0.9] * 14), 1.0],
    "nelson_8": [*([1.1] * 7), 1.0],
    "we_1": [2.99],
    "we_2": [2.0, 2.0, 2.1],
    "we_3": [1.1, 1.1, 1.0, 1.0, 1.1],
    "we_4": [0.1] * 7 + [-0.1],
}


def test_every_rule_has_its_series():
    assert MINIMAL.keys() == NEAR.keys() == RULES.keys() == {*NELSON, *WESTERN_ELECTRIC}


@pytest.mark.parametrize("rule", RULES)
def test_the_shortest_series_fires_and_names_its_points(rule):
    series, _ = MINIMAL[rule]
    found = signals([rule], series)
    assert list(found) == [len(series) - 1], "it fires at the last point and not before"
    (only,) = found[len(series) - 1]
    if rule in {"nelson_5", "we_2"}:
        assert only.back == (2, 0)
    elif rule in {"nelson_6", "we_3"}:
        assert only.back == (4, 3, 1, 0)
    else:
        assert only.back == tuple(range(RULES[rule].span - 1, -1, -1))
    sides = {"nelson_4": None, "nelson_7": None, "nelson_8": None}
    assert only.side == sides.get(rule, "high" if rule.startswith("nelson") else "low")


@pytest.mark.parametrize("rule", RULES)
def test_one_short_does_not_fire(rule):
    _, short = MINIMAL[rule]
    assert not signals([rule], short)
    assert not signals([rule], NEAR[rule])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_looks_back_no_further_than_its_span(rule):
    series, _ = MINIMAL[rule]
    assert len(series) == RULES[rule].span
    assert fired([rule], [99.0, -99.0, *series]) == fired([rule], series)


def test_the_usual_rules_are_one_two_five_and_six():
    assert USUAL == ("nelson_1", "nelson_2", "nelson_5", "nelson_6")
    assert span(NELSON) == 15


def test_two_of_three_is_not_told_again_by_a_point_that_is_fine():
    assert list(signals(["nelson_5"], [2.1, 2.1, 0.0])) == [1]
    assert list(signals(["nelson_5"], [2.1, 2.1, 2.0])) == [1], "nor by one on the line"


z_values = st.one_of(
    st.floats(min_value=-4, max_value=4),
    st.sampled_from([-3.5, -2.5, -1.5, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
)
rule_sets = st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=12, unique=True)


def by_definition(rule: str, z: list[float]) -> bool:
    """Say whether a rule fires at the last point, in the words of the papers, on the whole series."""

    def same_side(m: int, n: int, line: float) -> bool:
        last = z[-n:]
        return any(sign * z[-1] > line and sum(sign * v > line for v in last) >= m for sign in (1, -1))

    pairs = list(itertools.pairwise(z))
    match rule:
        case "nelson_1" | "we_1":
            return abs(z[-1]) > 3
        case "nelson_2":
            return same_side(9, 9, 0)
        case "we_4":
            return same_side(8, 8, 0)
        case "nelson_3":
            return len(z) >= 6 and (all(a < b for a, b in pairs[-5:]) or all(a > b for a, b in pairs[-5:]))
        case "nelson_4":
            steps = [b - a for a, b in pairs[-13:]]
            turns = [(a > 0 > b) or (a < 0 < b) for a, b in itertools.pairwise(steps)]
            return len(steps) == 13 and all(turns)
        case "nelson_5" | "we_2":
            return same_side(2, 3, 2)
        case "nelson_6" | "we_3":
            return same_side(4, 5, 1)
        case "nelson_7":
            return len(z) >= 15 and all(-1 < v < 1 for v in z[-15:])
        case _:
            return len(z) >= 8 and all(v > 1 or v < -1 for v in z[-8:])


@given(st.lists(z_values, min_size=1, max_size=40), rule_sets)
def test_point_by_point_with_a_memory_through_json_is_the_whole_series_at_once(values, rules):
    design, limits = Design(rules=tuple(rules)), Limits(kind="individuals", center=0.0, sigma=1.0)
    memory, told = Memory(), []
    for value in values:
        memory, found = advance(limits, design, memory, Point(value=value))
        assert len(memory.z) <= 14
        kept = json.loads(json.dumps(memory.z))
        memory = Memory(count=memory.count, z=tuple(kept), value=memory.value)
        told.append({one.rule for one in found})
    assert told == [{rule for rule in rules if by_definition(rule, values[: i + 1])} for i in range(len(values))]


@given(st.lists(z_values, min_size=1, max_size=30), rule_sets)
def test_upside_down_the_same_rules_fire_on_the_other_side(values, rules):
    other = {"high": "low", "low": "high", None: None}
    straight, turned = signals(rules, values), signals(rules, [-value for value in values])
    assert {i: [(f.rule, f.back, other[f.side]) for f in found] for i, found in straight.items()} == {
        i: [(f.rule, f.back, f.side) for f in found] for i, found in turned.items()
    }
