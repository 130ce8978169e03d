"""Everything that stands against a write, against a second reading of the rules; interlocks that do not know."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acting.guard import MINUTE_NS, Circumstances, Move, obstacles, rule
from edge.acting.matrix import Ruling
from edge.interlock import Interlock, Met, compile_interlock
from edge.permits import WriteEntry
from edge.permitting import Permit
from edge.tags import Tag, TagSpec
from models.expression import window_environment
from models.window import TagWindow, Window
from sync.facts import Context

TARGET = "hall/line-1/filler/speed"
ENTRY = WriteEntry(
    tag=TARGET, low=20, high=80, max_change=10, max_change_per_min=15, writes_per_min=3, interlock="oil > 2.0"
)
SPEC = TagSpec(name="speed", address="holding:0", type="int16", writable=True)
TAG = Tag(index=0, work_unit="hall/line-1/filler", connection="plc", address="holding:0", spec=SPEC)
OIL = window_environment({"oil": "float64", "speed": "int16", "mode": "string"}, [])


def seen_tag(last: float | str | None = 50.0, *, status: int = 0, age_s: float = 0.0, name: str = "speed") -> TagWindow:
    return TagWindow(
        name=name, unit=None, last=last, first=last, mean=None, min=None, max=None, stddev=None, count=1, bad=0,
        status=status, age_ns=round(age_s * 1e9), low=None, high=None, max_age_ns=30 * 10**9, required=False,
    )  # fmt: skip


def window(**tags: TagWindow) -> Window:
    return Window(
        work_unit="hall/line-1/filler", start=0, end=10**9, tags=tags, state="EXECUTE", reason=None,
        context=Context(), counts={},
    )  # fmt: skip


def interlock(text: str = "oil > 2.0") -> Interlock:
    return compile_interlock(text, OIL, 5.0)


def circumstances(**more) -> Circumstances:
    given = {
        "now": 10**12, "mode": "control", "killed": None, "permit": Permit(ENTRY, TAG, interlock()),
        "interlock": Met(True), "present": seen_tag(), "connected": True,
    }  # fmt: skip
    return Circumstances(**{**given, **more})


def test_nothing_stands_against_a_write_within_everything():
    assert obstacles(55.0, circumstances()) == []
    assert rule(Ruling("auto_execute", ("so",)), 55.0, circumstances()) == Ruling("auto_execute", ("so",))


@pytest.mark.parametrize(
    ("value", "more", "why", "passes"),
    [
        (55.0, {"killed": "smoke"}, "kill switch: smoke", False),
        (55.0, {"mode": "monitor"}, "mode monitor", False),
        (55.0, {"expires": 1}, "expired", False),
        (55.0, {"permit": None}, "no [[acting.write]]", False),
        (19.9, {"present": seen_tag(25.0)}, "outside 20 to 80", False),
        (float("nan"), {}, "no number", False),
        (float("inf"), {}, "no number", False),
        (True, {}, "no number", False),
        (55.0, {"held_by": "line 2"}, "held by line 2", True),
        (55.0, {"connected": False}, "connection plc is down", True),
        (55.0, {"interlock": Met(False, "oil > 2.0 is false")}, "interlock not met", True),
        (55.0, {"interlock": Met(None, "oil is bad")}, "not known, so not met: oil is bad", True),
        (61.0, {}, "a change by 11, 10 may be", True),
        (55.0, {"moves": [Move(10**12 - MINUTE_NS + 1, 11.0)]}, "changes by 16 within a minute", True),
        (50.0, {"moves": [Move(10**12, 0.0)] * 3}, "3 writes within a minute", True),
        (55.0, {"present": None}, "the value that stands is not known", True),
        (55.0, {"present": seen_tag(status=0x8000_0000)}, "is bad", True),
        (55.0, {"present": seen_tag(status=0x4000_0000)}, "is uncertain", True),
        (55.0, {"present": seen_tag(age_s=6)}, "is 6.0 s old", True),
    ],
)
def test_one_thing_is_enough_against_it(value, more, why, passes):
    found = obstacles(value, circumstances(**more))
    assert [each.passes for each in found if why in each.why] == [passes], found
    for decision in ("auto_execute", "require_approval"):
        ruled = rule(Ruling(decision, ()), value, circumstances(**more)).decision
        assert ruled == ("require_approval" if passes and decision == "require_approval" else "reject")


def test_what_was_longer_than_a_minute_ago_counts_no_more():
    assert obstacles(55.0, circumstances(moves=[Move(10**12 - MINUTE_NS, 99.0)] * 9)) == []


def test_all_of_it_is_said():
    found = obstacles(99.0, circumstances(killed="smoke", mode="monitor", connected=False, interlock=Met(False, "x")))
    assert len(found) == 7


@given(
    st.floats(allow_nan=True, allow_infinity=True) | st.booleans(),
    st.floats(-100, 200) | st.none(),
    st.lists(st.tuples(st.integers(0, 2 * MINUTE_NS), st.floats(0, 20)), max_size=5),
    st.sampled_from(["monitor", "advise", "control"]),
    st.sampled_from([True, False, None]),
)
def test_what_is_allowed_is_always_within_the_permit(value, present, moves, mode, met):
    now = 10**12
    seen = circumstances(
        mode=mode, interlock=Met(met), present=None if present is None else seen_tag(present),
        moves=[Move(now - ago, change) for ago, change in moves],
    )  # fmt: skip
    if obstacles(value, seen):
        return
    assert mode != "monitor"
    assert met is True
    assert not isinstance(value, bool)
    assert 20 <= value <= 80
    assert present is not None
    recent = [change for ago, change in moves if ago < MINUTE_NS]
    assert len(recent) < 3
    assert abs(value - present) <= 10
    assert sum(recent) + abs(value - present) <= 15


def test_a_bool_takes_only_true_and_false():
    entry = WriteEntry(tag=TARGET, interlock="oil > 2.0")
    permit = Permit(entry, dataclasses.replace(TAG, spec=SPEC.model_copy(update={"type": "bool"})), interlock())
    assert obstacles(True, circumstances(permit=permit)) == []
    assert obstacles(1.0, circumstances(permit=permit))[0].why == "1.0 is not true or false"


@pytest.mark.parametrize(
    ("tag", "met"),
    [
        (seen_tag(3.0, name="oil"), True),
        (seen_tag(2.0, name="oil"), False),
        (seen_tag(3.0, name="oil", status=0x8000_0000), None),
        (seen_tag(3.0, name="oil", status=0x4000_0000), None),
        (seen_tag(3.0, name="oil", age_s=5.1), None),
        (seen_tag(None, name="oil"), None),
    ],
)
def test_an_interlock_is_met_only_by_what_is_good_and_fresh(tag, met):
    looked = interlock().look(window(oil=tag))
    assert looked.met is met
    assert looked.why or met


def test_an_interlock_of_a_line_that_is_not_there_is_not_known():
    assert interlock().look(None).met is None
    assert interlock().look(window()).met is None
    assert interlock("1.0 / (oil - oil) > 0.0").look(window(oil=seen_tag(3.0, name="oil"))).met is None
    # what one side says alone is not enough where the other cannot be trusted
    assert interlock("oil > 2.0 || speed > 1.0").look(window(oil=seen_tag(3.0, name="oil"))).met is None
