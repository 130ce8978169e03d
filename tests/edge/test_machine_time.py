"""Clocks that jump: ours, which no window may notice, and the machine's, which windows follow."""

from __future__ import annotations

from sync import quality
from sync.facts import EventNotified, Fact, Judged, Produced
from sync.reading import readings
from tests.edge.test_pipeline import MADE, OIL, SECOND, STATE, T0, pipeline

HOUR = 3600


def feed(line, at: float, *rows: tuple[int, object], clock: float = 0.0, ours: float = 0.0) -> list[Fact]:
    """Feed rows that come `at` seconds after T0 by an even clock; the machine's clock is off by `clock`, ours by `ours`."""
    source = T0 + round((at + clock) * SECOND)
    received = T0 + round((at + ours) * SECOND)
    batch = [
        (tag, value, quality.GOOD if value is not None else quality.BAD, source if value is not None else received)
        for tag, value in rows
    ]
    return line.feed(readings(batch, received=received), T0 + round(at * SECOND)).facts


def verdicts(facts: list[Fact]) -> list[Judged]:
    return [fact for fact in facts if isinstance(fact, Judged)]


def set_back(facts: list[Fact]) -> list[EventNotified]:
    return [fact for fact in facts if isinstance(fact, EventNotified)]


def produced(facts: list[Fact]) -> int:
    return sum(fact.produced for fact in facts if isinstance(fact, Produced))


def test_setting_our_clock_moves_no_window():
    line = pipeline()
    facts: list[Fact] = []
    for second in range(60):
        ours = 0.0 if second < 20 else 56 * 365 * 24 * HOUR  # a box that learns the time of day while it runs
        facts += feed(line, second, (STATE, 6), (OIL, 60), ours=ours)
        facts += line.tick(T0 + round((second + 0.7) * SECOND)).facts
    assert [v.at - T0 for v in verdicts(facts)] == [10 * k * SECOND for k in range(1, 6)]
    assert not set_back(facts)


def test_a_machine_clock_that_is_set_back_is_followed_and_no_piece_is_lost_or_doubled():
    line = pipeline()
    facts: list[Fact] = []
    for second in range(181):
        clock = 0 if second < 63 else -HOUR
        facts += feed(line, second, (STATE, 6), (OIL, 60), (MADE, 10 * second), clock=clock)
        facts += line.tick(T0 + round((second + 0.7) * SECOND)).facts
    (event,) = set_back(facts)
    assert event.type == "ClockSetBack"
    assert round(event.fields["seconds"]) in range(HOUR - 5, HOUR + 1)
    after = [v for v in verdicts(facts) if v.at < T0]
    assert len(after) >= 9, "judging goes on within seconds, in the machine's new time"
    assert all(v.start >= T0 - HOUR * SECOND for v in after)
    assert produced(facts) == 1800, "each piece once"


def test_a_step_back_within_one_batch_is_noticed_as_well():
    """A busy box gets what came before and after the step together."""
    line = pipeline()
    facts: list[Fact] = []
    for second in range(61):
        facts += feed(line, second, (STATE, 6), (OIL, 60))
    both = [(OIL, 60, quality.GOOD, T0 + 61 * SECOND), (OIL, 60, quality.GOOD, T0 + (62 - HOUR) * SECOND)]
    facts += line.feed(readings(both, received=T0 + 62 * SECOND), T0 + 62 * SECOND).facts
    for second in range(63, 120):
        facts += feed(line, second, (STATE, 6), (OIL, 60), clock=-HOUR)
        facts += line.tick(T0 + round((second + 0.7) * SECOND)).facts
    (told,) = set_back(facts)
    assert abs(told.fields["seconds"] - HOUR) <= 5
    assert [v.at for v in verdicts(facts)][-1] > T0 + (100 - HOUR) * SECOND
    assert len([v for v in verdicts(facts) if v.at < T0]) >= 4


def test_a_step_back_is_still_noticed_after_a_restart():
    line = pipeline()
    for second in range(30):
        feed(line, second, (STATE, 6), (OIL, 60))
    again = pipeline()
    assert again.restore(line.dump())
    facts: list[Fact] = []
    for second in range(30, 60):
        facts += feed(again, second, (STATE, 6), (OIL, 60), clock=-HOUR)
    assert len(set_back(facts)) == 1


def test_a_server_that_shows_old_times_again_has_not_set_its_clock_back():
    line = pipeline()
    facts: list[Fact] = []
    for second in range(30):
        facts += feed(line, second, (STATE, 6), (OIL, 60))
    facts += feed(line, 31, (STATE, 6), (OIL, 60), clock=-HOUR)  # as they were when it was started
    facts += feed(line, 36, (STATE, 6), clock=-HOUR - 5)
    facts += feed(line, 37, (OIL, 61))
    facts += feed(line, 42, (OIL, 61))
    assert not set_back(facts)
    assert [v.at - T0 for v in verdicts(facts)] == [10 * k * SECOND for k in range(1, 5)]


def test_a_bad_value_that_carries_our_time_does_not_push_a_slow_machine_s_windows_ahead():
    line = pipeline()
    facts: list[Fact] = []
    for second in range(60):
        value = None if second % 10 == 5 else 60
        facts += feed(line, second, (STATE, 6), (OIL, value), clock=-HOUR)
    facts += feed(line, 60, (OIL, None), clock=-HOUR)
    assert [v.at - T0 + HOUR * SECOND for v in verdicts(facts)] == [10 * k * SECOND for k in range(1, 7)]
    assert not set_back(facts)


def test_a_box_that_did_not_know_the_time_when_it_stopped_guesses_no_outage():
    line = pipeline()
    line.feed(readings([(OIL, 60, 0, T0)], received=5 * SECOND), 5 * SECOND)
    again = pipeline()
    assert again.restore(line.dump())
    assert not verdicts(again.tick(T0 + 10**6 * SECOND).facts), "it may have been off for a second or for years"
