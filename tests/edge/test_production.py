"""States, counters and context of one work unit become facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.production import Production, gain
from edge.tags import Tag, TagSpec
from sync import quality
from sync.facts import Context, Fact, Produced, StateChanged

MINUTE = 60_000_000_000
T0 = 1_700_000_040_000_000_000 // MINUTE * MINUTE

SPECS = [
    TagSpec(name="state", address="s", role="state"),
    TagSpec(name="stop_reason", address="r", role="reason", values={"0": "", "7": "jam"}),
    TagSpec(name="made", address="p", role="counter", counter="produced", rollover=65536),
    TagSpec(name="good", address="g", role="counter", counter="good", rollover=65536),
    TagSpec(name="cap_rejects", address="d", role="counter", counter="defect", defect="cap"),
    TagSpec(name="product", address="c", role="context", context="product"),
]
STATE, REASON, MADE, GOOD, CAP, PRODUCT = range(6)


def production() -> Production:
    tags = [Tag(index=i, work_unit="a/b/c", connection="x", address=s.address, spec=s) for i, s in enumerate(SPECS)]
    return Production("a/b/c", tags, MINUTE)


def produced(facts: list[Fact]) -> list[Produced]:
    return [fact for fact in facts if isinstance(fact, Produced)]


@pytest.mark.parametrize(
    ("previous", "now", "rollover", "expected"),
    [
        (10, 14, None, 4),
        (65535, 3, 65536, 4),
        (70, 5, None, 5),
        (30_000, 12, 65536, 12),  # too far from the top to be a roll-over: the PLC restarted
        (5, 5, 65536, 0),
    ],
)
def test_a_step_back_is_a_roll_over_or_a_reset_never_a_loss(previous, now, rollover, expected):
    assert gain(previous, now, rollover) == expected


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=60))
def test_gains_over_a_rolling_counter_sum_to_what_was_made(steps):
    count, total = 65_000, 0
    for step in steps:
        after = (count + step) % 65536
        total += gain(count, after, 65536)
        count = after
    assert total == sum(steps)


def test_the_first_count_is_a_baseline_and_the_minute_is_reported():
    line = production()
    assert line.take([(MADE, 1000.0, 0, T0), (GOOD, 990.0, 0, T0)]) == []
    assert line.take([(MADE, 1012.0, 0, T0 + 30), (GOOD, 1001.0, 0, T0 + 30), (CAP, 1.0, 0, T0 + 30)]) == []
    facts = produced(line.take([(MADE, 1013.0, 0, T0 + MINUTE + 1), (GOOD, 1002.0, 0, T0 + MINUTE + 1)]))
    assert [(f.start, f.at, f.produced, f.good) for f in facts] == [(T0, T0 + MINUTE, 12, 11)]


def test_what_is_counted_at_a_boundary_was_gained_before_it():
    line = production()
    line.take([(MADE, 0.0, 0, T0)])
    assert line.take([(MADE, 40.0, 0, T0 + MINUTE)]) == []
    assert [(f.at, f.produced) for f in produced(line.tick(T0 + MINUTE + 1))] == [(T0 + MINUTE, 40)]


def test_state_and_reason_of_one_moment_make_one_fact():
    line = production()
    facts = line.take([(STATE, 11.0, 0, T0), (REASON, 7.0, 0, T0)])
    assert [(f.state, f.reason) for f in facts if isinstance(f, StateChanged)] == [("HELD", "jam")]


def test_a_bad_state_is_unknown_and_says_why():
    line = production()
    line.take([(STATE, 6.0, 0, T0)])
    (fact,) = line.take([(STATE, None, quality.BAD_SENSOR_FAILURE, T0 + 5)])
    assert isinstance(fact, StateChanged)
    assert (fact.state, fact.status) == ("UNDEFINED", quality.BAD_SENSOR_FAILURE)


def test_a_change_of_product_closes_the_count_of_the_one_before():
    line = production()
    line.take([(PRODUCT, "cola", 0, T0), (MADE, 100.0, 0, T0)])
    line.take([(MADE, 110.0, 0, T0 + 5)])
    facts = line.take([(PRODUCT, "juice", 0, T0 + 9), (MADE, 112.0, 0, T0 + 10)])
    assert [(f.produced, f.context.product) for f in produced(facts)] == [(10, "cola")]
    assert [(f.produced, f.context.product) for f in produced(line.tick(T0 + MINUTE + 1))] == [(2, "juice")]


def test_a_restart_neither_repeats_nor_forgets_a_piece():
    line = production()
    line.take([(MADE, 100.0, 0, T0)])
    line.take([(MADE, 105.0, 0, T0 + 5)])
    again = production()
    again.restore(line.dump())
    again.take([(MADE, 140.0, 0, T0 + 50)])  # made while we were away
    assert sum(f.produced for f in produced(again.tick(T0 + MINUTE + 1))) == 40


def test_the_mes_context_is_used_where_the_machine_says_nothing():
    line = production()
    line.take([(PRODUCT, "cola", 0, T0), (STATE, 6.0, 0, T0)])
    facts = line.tell(Context(order="A-1", product="juice", lot="L7"), {"cola": 400.0}, T0 + 1)
    assert line.context == Context(order="A-1", product="cola", lot="L7")
    assert [f.context.order for f in facts if isinstance(f, StateChanged)] == ["A-1"]
    line.take([(MADE, 1.0, 0, T0 + 2), (MADE, 3.0, 0, T0 + 3)])
    assert produced(line.tick(T0 + MINUTE + 1))[0].ideal_cycle_ms == 400.0


def test_a_lost_connection_makes_the_state_unknown_once():
    line = production()
    line.take([(STATE, 6.0, 0, T0)])
    assert [f.state for f in line.lost(T0 + 9) if isinstance(f, StateChanged)] == ["UNDEFINED"]
    assert line.lost(T0 + 10) == []


def test_a_state_older_than_our_blindness_ends_it():
    line = production()
    line.take([(STATE, 6.0, 0, T0)])
    line.lost(T0 + 50)
    (fact,) = line.take([(STATE, 6.0, 0, T0)])  # the server is back and says: EXECUTE, since T0
    assert isinstance(fact, StateChanged)
    assert (fact.state, fact.at) == ("EXECUTE", T0 + 51)
