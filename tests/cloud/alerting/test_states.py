"""The state machine of watches: every pair of the table, and what holds for every history."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.alerting.states import (
    FLAP_WINDOW_MS,
    FLAPS,
    LONGEST_STEP_MS,
    NEXT,
    NO_DATA_MS,
    RECOVER_MS,
    STEADY_MS,
    Event,
    Memory,
    Rule,
    Seen,
    State,
    seen,
    step,
)

SECOND, MIN = 1_000, 60_000
LOW = Rule(side="below", level=0.60, margin=0.05, for_ms=5 * MIN)


def run(
    rule: Rule, looks: list[tuple[int, Seen]], memory: Memory | None = None
) -> tuple[Memory, list[tuple[int, Event]]]:
    now, happened = memory or Memory(), []
    for at, what in looks:
        now, events = step(rule, now, what, at)
        happened += [(at, event) for event in events]
    return now, happened


def every(what: Seen, start: int, minutes: int) -> list[tuple[int, Seen]]:
    return [(start + k * MIN, what) for k in range(minutes)]


def test_every_state_knows_every_figure() -> None:
    known = [what for what in get_args(Seen) if what not in {"none", "off"}]
    assert set(NEXT) == {(state, what) for state in get_args(State) for what in known}


def test_one_step_back_into_the_margin_begins_the_way_out_anew() -> None:
    """Clear for 50 s, between for 10 s, clear again: a minute clear from there, not a minute in all."""
    firing, _ = run(LOW, every("over", MIN, 6))
    at = [(7 * MIN + k * 10 * SECOND, "between" if k == 5 else "clear") for k in range(13)]
    _, happened = run(LOW, at, firing)
    assert happened == [(7 * MIN + 120 * SECOND, "cleared")]


@pytest.mark.parametrize(
    ("side", "value", "expected"),
    [
        ("below", 0.5999, "over"),
        ("below", 0.60, "between"),
        ("below", 0.6499, "between"),
        ("below", 0.65, "clear"),
        ("above", 0.6001, "over"),
        ("above", 0.60, "between"),
        ("above", 0.5501, "between"),
        ("above", 0.5, "clear"),
        ("above", None, "none"),
    ],
)
def test_a_figure_is_over_between_or_clear(side, value, expected) -> None:
    rule = Rule(side=side, level=0.60, margin=0.05)
    assert seen(rule, value, enough=True, counts=True) == expected
    assert seen(rule, value, enough=False, counts=True) == "none"
    assert seen(rule, value, enough=True, counts=False) == "off"


def test_it_fires_after_it_lasted_and_clears_after_it_stayed_clear() -> None:
    looks = every("over", MIN, 6) + every("between", 10 * MIN, 3) + every("clear", 20 * MIN, 3)
    memory, happened = run(LOW, looks)
    assert happened == [(6 * MIN, "raised"), (21 * MIN, "cleared")]
    assert memory.state == "ok"


def test_a_short_dip_and_one_that_recovers_half_way_raise_nothing() -> None:
    looks = (
        every("over", MIN, 5) + every("between", 6 * MIN, 1) + every("over", 7 * MIN, 5) + every("clear", 12 * MIN, 1)
    )
    assert run(LOW, looks)[1] == []


def test_no_data_neither_raises_nor_clears_and_is_said_after_a_while() -> None:
    firing, _ = run(LOW, every("over", MIN, 7))
    silent, happened = run(LOW, every("none", 8 * MIN, 40), firing)
    assert silent.state == "firing"
    assert [event for _, event in happened] == ["no_data"]
    assert happened[0][0] == 7 * MIN + NO_DATA_MS
    back, happened = run(LOW, every("over", 50 * MIN, 3), silent)
    assert [event for _, event in happened] == ["data"]
    assert back.state == "firing"


def test_time_outside_the_shifts_does_not_count() -> None:
    pending, _ = run(LOW, every("over", MIN, 4))
    night, happened = run(LOW, every("off", 5 * MIN, 600), pending)
    assert happened == []
    assert (night.state, night.held_ms) == ("pending", pending.held_ms)
    assert [event for _, event in run(LOW, every("over", 605 * MIN, 3), night)[1]] == ["raised"]


def test_a_restart_forgets_nothing_and_the_time_nobody_looked_counts_little() -> None:
    pending, _ = run(LOW, every("over", MIN, 2))
    kept = Memory(**{name: getattr(pending, name) for name in Memory.__slots__})
    later, happened = run(LOW, [(500 * MIN, "over")], kept)
    assert happened == []
    assert later.held_ms == pending.held_ms + LONGEST_STEP_MS


def test_what_flaps_is_held_until_it_is_steady() -> None:
    rule = Rule(side="below", level=0.6, margin=0.0)
    looks: list[tuple[int, Seen]] = []
    for turn in range(30):  # 3 min over, 3 min clear, for three hours
        looks += every("over", (1 + 6 * turn) * MIN, 3) + every("clear", (4 + 6 * turn) * MIN, 3)
    memory, happened = run(rule, looks)
    raised = [at for at, event in happened if event == "raised"]
    assert len(raised) == FLAPS
    assert memory.state in {"firing", "recovering"}
    _, happened = run(rule, every("clear", looks[-1][0] + MIN, 20), memory)
    assert [event for _, event in happened] == ["cleared"]


looks = st.lists(
    st.tuples(st.integers(1, 10 * MIN), st.sampled_from(["over", "between", "clear", "none", "off"])), max_size=120
)
rules = st.builds(
    Rule,
    side=st.just("below"),
    level=st.just(0.6),
    margin=st.sampled_from([0.0, 0.05]),
    for_ms=st.integers(0, 20 * MIN),
)


@settings(max_examples=40, derandomize=True)
@given(rules, looks)
def test_for_every_history(rule: Rule, gaps: list[tuple[int, Seen]]) -> None:
    memory, at, standing = Memory(), 1, False
    raised: list[int] = []
    over_ms = 0
    for gap, what in gaps:
        at += gap
        before = memory
        memory, events = step(rule, memory, what, at)
        if what in {"none", "off"}:
            assert memory.state == before.state
            assert not {"raised", "cleared"} & set(events)
        counted = min(gap, LONGEST_STEP_MS)
        over_ms = (
            over_ms + counted
            if before.state == "pending" and what == "over"
            else over_ms
            if what in {"none", "off"}
            else 0
        )
        if "raised" in events:
            assert not standing  # never raised twice without being cleared
            assert what == "over"
            assert over_ms >= rule.for_ms  # counted time, all of it over
            standing = True
            raised.append(at)
        if "cleared" in events:
            assert standing
            assert what == "clear"
            standing = False
        assert standing == (memory.state in {"firing", "recovering"})
        assert memory.held_ms <= LONGEST_STEP_MS + max(rule.for_ms, RECOVER_MS, STEADY_MS) or memory.state in {
            "ok",
            "firing",
        }
    for first in raised:  # the brake: FLAPS quick ones, and then only after STEADY_MS of calm each
        within = [one for one in raised if first <= one < first + FLAP_WINDOW_MS]
        assert len(within) <= FLAPS + FLAP_WINDOW_MS // STEADY_MS
