"""What the kinds of checks find: movement, trees, composites, priorities and suppression; memory goes from window to window."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.judgment import State, gather
from edge.judgment.findings import Finding, findings
from edge.judgment.state import NOTHING
from models.ruleset import Ruleset
from sync.facts import Context
from tests.edge.judgment.conftest import ruleset, tag, window

BAD = 0x8000_0000


def look(rules: Ruleset, seen, state: State | None = None) -> tuple[dict[str, Finding], State]:
    """Give the findings of one window and the memory for the next, gone through its checkpoint."""
    given_ = gather(rules, seen, memory=state)
    inputs, known = given_.inputs(rules)
    found = findings(rules, rules.program.run(inputs, known=known), given_)
    held = {f.check.memory: f.held for f in found if f.held != NOTHING}
    after = State(at=seen.end, held=held)
    assert msgspec.json.decode(msgspec.json.encode(after), type=State) == after
    return {f.check.name: f for f in found}, after


def course(rules: Ruleset, oils, name: str, *, first: int = 0, state: State | None = None) -> list[Finding]:
    """Give a check's findings over windows of ten seconds with these oil temperatures; None = a bad reading."""
    given_: list[Finding] = []
    for number, oil in enumerate(oils):
        bad = tag("oil_temperature", None, status=BAD, count=0, unit="CEL")
        seen = window(first + number, tags=[bad]) if oil is None else window(first + number, oil=oil)
        found, state = look(rules, seen, state)
        given_.append(found[name])
    return given_


def test_a_check_that_became_another_kind_begins_anew():
    """Its memory has another shape: a band of two values is no past of a rate."""
    stuck = ruleset('[[stuck]]\nname = "oil"\nvalue = "oil_temperature"\nfor_s = 20\nseverity = "warning"\n')
    change = ruleset('[[change]]\nname = "oil"\nvalue = "oil_temperature"\nwarning_up = 1\n')
    state = None
    for number in range(3):
        _, state = look(stuck, window(number), state)
    found, state = look(change, window(3), state)
    assert found["oil"].level == "unknown"
    found, state = look(stuck, window(4), look(change, window(3), state)[1])
    assert found["oil"].level == "ok"


# --- rate of change

WARMING = """
[[change]]
name = "warming"
value = "oil_temperature"
warning_up = 6
critical_up = 12
warning_down = 30
hysteresis = 2
"""


def test_a_rate_of_change_is_per_minute_and_has_two_directions():
    found = course(ruleset(WARMING), [60.0, 60.5, 61.6, 63.8, 64.6, 65.1, 59.0], "warming")
    assert [f.level for f in found] == ["unknown", "ok", "warning", "critical", "warning", "ok", "warning"]
    assert found[0].causes[0].why == "no_history"
    assert [f.value for f in found[1:4]] == [pytest.approx(3.0), pytest.approx(6.6), pytest.approx(13.2)]
    assert (found[4].threshold, found[4].side) == (6.0, "high"), "4.8 is within the hysteresis of 6"
    assert (found[6].threshold, found[6].side) == (-30.0, "low")
    assert found[3].message is not None
    assert found[3].message["en"].startswith("{title} changes by {value} {unit} per minute")


def test_over_a_time_the_past_is_at_least_that_old():
    rules = ruleset(WARMING + "over_s = 30\n")
    found = course(rules, [60.0, 61.0, 62.0, 63.0, 64.0, 65.0], "warming")
    assert [f.level for f in found] == ["unknown", "unknown", "unknown", "ok", "ok", "ok"]
    assert {f.value for f in found[3:]} == {6.0}, "beyond, not at"
    assert all(len(f.held.numbers) <= 5 for f in found)


def test_after_a_gap_of_twice_the_time_there_is_no_rate():
    rules = ruleset(WARMING)
    _, state = look(rules, window(0, oil=60.0))
    near, _ = look(rules, window(2, oil=90.0), state)
    assert near["warming"].level == "critical"
    far, _ = look(rules, window(9, oil=90.0), state)
    assert far["warming"].level == "unknown"


def test_a_bad_reading_is_skipped_and_the_past_kept():
    found = course(ruleset(WARMING), [60.0, None, 61.0], "warming")
    assert [f.level for f in found] == ["unknown", "unknown", "ok"]
    assert found[2].value == pytest.approx(3.0)


def test_a_rate_waits_for_its_delay():
    found = course(ruleset(WARMING + "delay_s = 20\n"), [60.0, 62.0, 64.0, 66.0, 66.0], "warming")
    assert [f.level for f in found] == ["unknown", "ok", "ok", "warning", "ok"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=80),
    st.sampled_from([0, 5, 10, 35, 100, 400]),
)
def test_the_rate_is_that_of_two_values_of_the_past_and_memory_is_bounded(oils, over_s):
    rules = ruleset(f'[[change]]\nname = "c"\nvalue = "oil_temperature"\nwarning_up = 1\nover_s = {over_s}\n')
    state = None
    for number, oil in enumerate(oils):
        found, state = look(rules, window(number, oil=oil), state)
        value = found["c"].value
        oldest = math.ceil(over_s / 10) or 1
        if number < oldest:
            assert found["c"].level == "unknown"
            continue
        latest = min(number, oldest + over_s // 100 + 1)
        rates = [(oil - oils[number - back]) / back * 6 for back in range(oldest, latest + 1)]
        assert any(value == pytest.approx(rate, abs=1e-6) for rate in rates)
        assert len(state.held["change:c"].numbers) <= 66


# --- stuck

FROZEN = """
[[stuck]]
name = "frozen"
value = "oil_temperature"
band = 0.1
for_s = 30
severity = "warning"
only_when = 'state == "EXECUTE"'
"""


def test_a_value_that_stays_in_its_band_for_the_time_is_stuck_until_it_moves():
    found = course(ruleset(FROZEN), [60.0, 60.05, 60.09, 60.0, 60.0, 60.2, 60.2], "frozen")
    assert [f.level for f in found] == ["ok", "ok", "ok", "warning", "warning", "ok", "ok"]
    assert found[3].message is not None
    assert found[3].message["en"].endswith("for 30 s.")


def test_a_slow_drift_is_movement():
    found = course(ruleset(FROZEN), [60 + 0.06 * n for n in range(60)], "frozen")
    assert {f.level for f in found} == {"ok"}


def test_a_gap_and_a_stop_begin_the_time_anew_and_a_bad_reading_does_not():
    rules = ruleset(FROZEN)
    assert [f.level for f in course(rules, [60.0, 60.0, None, 60.0, 60.0], "frozen")][-2:] == ["warning", "warning"]
    _, state = look(rules, window(0))
    _, state = look(rules, window(1), state)
    found, _ = look(rules, window(5), state)
    assert found["frozen"].level == "ok"
    stopped, state = look(rules, window(2, state="STOPPED"), state)
    assert (stopped["frozen"].applied, stopped["frozen"].held) == (False, NOTHING)


def test_a_text_can_be_stuck_too():
    rules = ruleset('[[stuck]]\nname = "code"\nvalue = "sku"\nfor_s = 10\nseverity = "critical"\n')
    state, levels = None, []
    for number, sku in enumerate(["A", "A", "B", "B"]):
        found, state = look(rules, window(number, tags=[tag("sku", sku)]), state)
        levels.append(found["code"].level)
    assert levels == ["ok", "critical", "ok", "critical"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.integers(1, 6))
def test_what_is_called_stuck_did_not_move_and_what_never_moves_is_called_stuck(oils, band, windows):
    rules = ruleset(
        f'[[stuck]]\nname = "s"\nvalue = "oil_temperature"\nband = {band!r}\nfor_s = {windows * 10}\nseverity = "warning"\n'
    )
    for at, found in enumerate(course(rules, oils, "s")):
        if found.level == "warning":
            past = oils[at - windows : at + 1]
            assert len(past) == windows + 1
            assert max(past) - min(past) <= band
        elif at >= windows:
            assert max(oils[: at + 1]) - min(oils[: at + 1]) > band


# --- trees

TREE = """
[[tree]]
name = "bearing"
value = "vibration.max"
[[tree.node]]
name = "shaking"
when = "vibration.max > 4.5"
yes = "warm"
no = { severity = "info" }
[[tree.node]]
name = "warm"
when = "oil_temperature > 70.35"
yes = { severity = "critical", status = "BEARING", confidence = 0.93 }
no = { severity = "warning", confidence = 0.8 }
"""


@pytest.mark.parametrize(
    ("shake", "oil", "level", "path"),
    [
        (2.0, 99.0, "ok", ("shaking: no",)),
        (5.0, 70.35, "warning", ("shaking: yes", "warm: no")),
        (5.0, math.nextafter(70.35, 100), "critical", ("shaking: yes", "warm: yes")),
    ],
)
def test_a_tree_tells_its_way(shake, oil, level, path):
    found, _ = look(ruleset(TREE), window(oil=oil, tags=[tag("vibration", shake)]))
    assert (found["bearing"].level, found["bearing"].path) == (level, path)
    assert found["bearing"].matched is (level != "ok")


def test_a_tree_is_unknown_only_where_its_way_is():
    bad = tag("oil_temperature", None, status=BAD, count=0)
    found, _ = look(ruleset(TREE), window(tags=[bad, tag("vibration", 2.0)]))
    assert found["bearing"].level == "ok"
    found, _ = look(ruleset(TREE), window(tags=[bad, tag("vibration", 5.0)]))
    assert (found["bearing"].level, found["bearing"].causes[0].variable) == ("unknown", "oil_temperature")


def _trees(depth: int):
    """Give nested (condition, yes, no) with severities at the ends; thresholds in full."""
    leaf = st.sampled_from(["info", "warning", "critical"])
    condition = st.tuples(
        st.sampled_from(["oil_temperature", "vibration", "filling_pressure"]),
        st.sampled_from(["<", "<=", ">", ">="]),
        st.floats(0, 100),
    )
    return leaf if depth == 0 else st.one_of(leaf, st.tuples(condition, _trees(depth - 1), _trees(depth - 1)))


def _as_nodes(tree, nodes: list[str]) -> str:
    """Write a tree in the file's form; gives what stands behind `yes =`."""
    if isinstance(tree, str):
        return f'{{ severity = "{tree}" }}'
    name = f"n{len(nodes)}"
    nodes.append("")
    (subject, operator, bound), yes, no = tree
    nodes[int(name[1:])] = (
        f'[[tree.node]]\nname = "{name}"\nwhen = "{subject} {operator} {bound!r}"\n'
        f"yes = {_as_nodes(yes, nodes)}\nno = {_as_nodes(no, nodes)}\n"
    )
    return f'"{name}"'


def _as_rules(tree, way: tuple[str, ...] = ()):
    """Give one rule per leaf: all conditions of its way."""
    if isinstance(tree, str):
        return [(" && ".join(way) or "true", tree)]
    (subject, operator, bound), yes, no = tree
    condition = f"{subject} {operator} {bound!r}"
    return [*_as_rules(yes, (*way, condition)), *_as_rules(no, (*way, f"!({condition})"))]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_tree_and_its_list_of_rules_give_the_same_level(data):
    tree = data.draw(_trees(4).filter(lambda tree: not isinstance(tree, str)))
    nodes: list[str] = []
    _as_nodes(tree, nodes)
    ways = _as_rules(tree)
    as_tree = ruleset('[[tree]]\nname = "t"\n' + "".join(nodes))
    as_rules = ruleset(
        "".join(
            f'[[table]]\nname = "r{n}"\ninputs = {{ hit = "{when}" }}\n[[table.row]]\nwhen = {{ hit = true }}\nseverity = "{severity}"\n'
            for n, (when, severity) in enumerate(ways)
        )
    )
    bounds = sorted({float(b) for b in data.draw(st.lists(st.floats(0, 100), max_size=3))})
    values = st.one_of(st.floats(0, 100), st.sampled_from(bounds or [0.0]), st.none())
    for _ in range(5):
        readings = {name: data.draw(values) for name in ("oil_temperature", "vibration", "filling_pressure")}
        seen = window(
            tags=[
                tag(name, value) if value is not None else tag(name, None, status=BAD, count=0)
                for name, value in readings.items()
            ]
        )
        mine = look(as_tree, seen)[0]["t"].level
        theirs = {f.level for f in look(as_rules, seen)[0].values() if f.level != "ok"}
        if mine == "unknown":
            assert None in readings.values()
        else:  # what the rules cannot tell, a tree that never asks it can
            assert theirs - {"unknown"} == ({mine} if mine != "ok" else set())


# --- composites

PARTS = """
[[limit]]
name = "oil"
value = "oil_temperature"
warning_high = 70
critical_high = 90
[[limit]]
name = "shake"
value = "vibration"
warning_high = 70
critical_high = 90
[[limit]]
name = "press"
value = "filling_pressure"
warning_high = 70
critical_high = 90
"""
VALUES = {"ok": 60.0, "warning": 80.0, "critical": 95.0, "unknown": None}


@pytest.mark.parametrize("level", ["warning", "critical"])
@pytest.mark.parametrize(("way", "needed"), [("all", 3), ("any", 1), ("of", 2)])
def test_a_composite_has_this_truth_table(way, needed, level):
    count = "at_least = 2\n" if way == "of" else ""
    rules = ruleset(
        PARTS
        + f'[[composite]]\nname = "both"\n{way} = ["oil", "shake", "press"]\n{count}level = "{level}"\nseverity = "critical"\n'
    )
    counted = {"critical"} if level == "critical" else {"warning", "critical"}
    for levels in itertools.product(VALUES, repeat=3):
        names = ("oil_temperature", "vibration", "filling_pressure")
        tags = [
            tag(name, VALUES[at]) if at != "unknown" else tag(name, None, status=BAD, count=0)
            for name, at in zip(names, levels, strict=True)
        ]
        found, _ = look(rules, window(tags=tags))
        assert [found[name].level for name in ("oil", "shake", "press")] == list(levels)
        active, doubtful = sum(at in counted for at in levels), levels.count("unknown")
        expected = "critical" if active >= needed else "unknown" if active + doubtful >= needed else "ok"
        assert found["both"].level == expected, levels
        if expected == "critical":
            assert set(found["both"].path) == {
                n for n, at in zip(("oil", "shake", "press"), levels, strict=True) if at in counted
            }


def test_a_composite_waits_and_composites_may_be_parts():
    rules = ruleset(
        '[[composite]]\nname = "third"\nall = ["second", "oil"]\nseverity = "critical"\ndelay_s = 10\n'
        '[[composite]]\nname = "second"\nany = ["oil", "shake"]\nseverity = "warning"\n' + PARTS
    )
    assert [check.name for check in rules.checks] == ["oil", "shake", "press", "second", "third"]
    assert set(rules.checks[-1].uses) == {"oil_temperature", "vibration"}
    assert [f.level for f in course(rules, [80.0, 80.0, 60.0], "third")] == ["ok", "critical", "ok"]


# --- priority, suppression, critical control points


def test_what_suppresses_is_named_and_levels_stay():
    rules = ruleset(
        PARTS
        + '[[rule]]\nname = "cleaning"\nwhen = \'state == "COMPLETING"\'\nseverity = "info"\nsuppresses = ["oil", "shake"]\n'
        '[[composite]]\nname = "both"\nall = ["oil", "shake"]\nseverity = "critical"\nsuppresses = ["shake"]\npriority = 70\n'
    )
    tags = [tag("vibration", 80.0)]
    found, _ = look(rules, window(oil=80.0, tags=tags))
    assert {n: f.suppressed_by for n, f in found.items()} == {
        "oil": None, "shake": "both", "press": None, "cleaning": None, "both": None
    }  # fmt: skip
    found, _ = look(rules, window(oil=80.0, tags=tags, state="COMPLETING"))
    assert (found["oil"].suppressed_by, found["shake"].suppressed_by) == ("cleaning", "cleaning")
    assert (found["oil"].level, found["both"].level) == ("warning", "critical"), "what is silenced still counts"
    assert found["both"].check.priority == 70


def test_a_critical_control_point_shows_its_limits_whenever_it_applies():
    rules = ruleset(
        '[[limit]]\nname = "core"\nvalue = "oil_temperature"\ncritical_low = 72\nwarning_low = 74\nccp = true\nonly_when = \'state == "EXECUTE"\'\n'
    )
    found = [f for oil in (80.0, 73.0, 71.0, None) for f in course(rules, [oil], "core")]
    assert [(f.level, f.ccp, f.low, f.high) for f in found] == [
        ("ok", True, 72.0, None), ("warning", True, 72.0, None), ("critical", True, 72.0, None), ("unknown", True, 72.0, None)
    ]  # fmt: skip
    assert look(rules, window(state="STOPPED"))[0]["core"].ccp is False
    gated = ruleset(
        '[[limit]]\nname = "core"\nvalue = "oil_temperature"\ncritical_low = 72\nccp = true\nonly_when = \'context.lot == "L"\'\n'
    )
    nameless, _ = look(gated, window(context=Context()))
    assert (nameless["core"].level, nameless["core"].ccp, nameless["core"].low) == ("unknown", True, 72.0)


# --- decision tables, worst of all rows that fit


def test_the_worst_of_all_rows_that_fit_answers():
    rows = """
[[table]]
name = "t"
hit_policy = "worst"
inputs = { oil = "oil_temperature", shake = "vibration" }
[[table.row]]
when = { oil = "> 50" }
severity = "info"
status = "RUNNING"
[[table.row]]
when = { oil = "> 70" }
severity = "warning"
[[table.row]]
when = { shake = "> 5" }
severity = "critical"
[[table.row]]
when = { oil = "> 90" }
severity = "critical"
"""
    rules = ruleset(rows)
    told = [
        look(rules, window(oil=oil, tags=[tag("vibration", shake)]))[0]["t"]
        for oil, shake in ((40.0, 2.0), (60.0, 2.0), (80.0, 2.0), (80.0, 6.0), (95.0, 2.0), (95.0, 6.0))
    ]
    assert [(f.level, f.path) for f in told] == [
        ("ok", ()), ("ok", ("row 1",)), ("warning", ("row 2",)), ("critical", ("row 3",)), ("critical", ("row 4",)),
        ("critical", ("row 3",)),
    ]  # fmt: skip


# --- limits over time, against a brute-force reading of what they promise


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 9.9), st.integers(0, 4))
def test_hysteresis_and_delay_of_a_limit(oils, hysteresis, windows):
    rules = ruleset(
        f'[[limit]]\nname = "l"\nvalue = "oil_temperature"\nwarning_high = 50\nhysteresis = {hysteresis!r}\ndelay_s = {windows * 10}\n'
    )
    up, run = False, 0
    for oil, found in zip(oils, course(rules, oils, "l"), strict=True):
        beyond = oil > (50 - hysteresis if up else 50)
        run = run + 1 if beyond else 0
        up = beyond and (up or run > windows)
        assert found.level == ("warning" if up else "ok")
        assert found.value == oil


def test_checks_of_all_kinds_stand_in_one_order():
    rules = ruleset(PARTS + TREE + WARMING + FROZEN)
    assert [check.name for check in rules.checks] == ["oil", "shake", "press", "warming", "frozen", "bearing"]
    assert list(look(rules, window())[0]) == [check.name for check in rules.checks]
