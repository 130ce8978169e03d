"""Levels of trust against the tables of their specification, written down a second time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.acting.trust import LEVELS, Metrics, demotion, evaluate, lacking, promotion, score

ACCURACIES = (None, 0.0, 0.79, 0.80, 0.84, 0.85, 0.86, 0.89, 0.90, 0.94, 0.95, 1.0)
RUNS = (0, 49, 50, 99, 100, 199, 200)
DAYS = (0.0, 6.9, 7.0, 13.9, 14.0, 29.9, 30.0)
STREAKS = (0, 2, 3, 4, 5, 9, 10)
FAILURES = (0, 1, 2)


def falls(level, m) -> bool:
    """The table of demotions as it stands in the specification."""
    accuracy = 1.0 if m.accuracy is None else m.accuracy  # nobody rated: accuracy takes nothing away
    match level:
        case 3:
            return accuracy < 0.90 or m.negatives_in_a_row >= 3 or m.critical_failures_7d > 0
        case 2:
            return accuracy < 0.85 or m.negatives_in_a_row >= 5 or m.critical_failures_7d > 1
        case 1:
            return accuracy < 0.80 or m.negatives_in_a_row >= 10
        case _:
            return False


def rises(level, m) -> bool:
    """The table of promotions."""
    needed = {0: (50, 0.85, 7), 1: (100, 0.90, 14), 2: (200, 0.95, 30)}.get(level)
    if needed is None or m.accuracy is None:
        return False
    return m.runs >= needed[0] and m.accuracy >= needed[1] and m.level_days >= needed[2]


def test_every_corner_of_the_tables():
    for level, accuracy, runs, days, streak, failures in itertools.product(
        LEVELS, ACCURACIES, RUNS, DAYS, STREAKS, FAILURES
    ):
        m = Metrics(
            runs=runs, accuracy=accuracy, level_days=days, negatives_in_a_row=streak, critical_failures_7d=failures
        )
        change = evaluate(level, m)
        expected = level - 1 if falls(level, m) else level + 1 if rises(level, m) else level
        assert (change.level if change else level) == expected, (level, m)
        if change is not None:
            assert change.previous == level
            assert change.reason
            assert change.needs_admin == (change.level == 3)


def test_fifty_runs_accuracy_86_and_a_week_reach_level_one():
    m = Metrics(runs=50, accuracy=0.86, level_days=7)
    assert (evaluate(0, m).previous, evaluate(0, m).level) == (0, 1)
    assert lacking(0, m) == []


def test_three_negatives_in_a_row_take_full_trust_away():
    m = Metrics(runs=5_000, accuracy=0.99, level_days=400, negatives_in_a_row=3)
    assert evaluate(3, m).level == 2
    assert evaluate(2, m) is not None  # the record would carry it up again: only an administrator can
    assert evaluate(2, m).needs_admin


def test_demotion_comes_before_promotion():
    m = Metrics(runs=1_000, accuracy=0.97, level_days=60, negatives_in_a_row=5)
    assert rises(2, m)
    assert evaluate(2, m).level == 1
    assert promotion(2, m) is None


def test_accuracy_zero_is_the_worst_and_no_accuracy_is_none():
    for level in (1, 2, 3):
        assert demotion(level, Metrics(runs=500, accuracy=0.0)).level == level - 1
        assert demotion(level, Metrics(runs=500, accuracy=None)) is None
    for level in LEVELS:
        unrated = Metrics(runs=10_000, accuracy=None, level_days=1_000)
        assert evaluate(level, unrated) is None
        assert level == 3 or "nobody rated it" in lacking(level, unrated)[0]
    assert demotion(0, Metrics(accuracy=0.0, negatives_in_a_row=99, critical_failures_7d=9)) is None


def test_the_reason_names_all_there_is():
    reason = demotion(3, Metrics(accuracy=0.5, negatives_in_a_row=4, critical_failures_7d=2)).reason
    assert "accuracy 0.5000" in reason
    assert "4 negative" in reason
    assert "2 automatic actions" in reason


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (Metrics(), round(0.35 * 0.5 + 0.25 * 0.5 + 0.15 * 0.5, 4)),
        (Metrics(accuracy=1.0, consistency=1.0, runs_7d=51, feedback=1.0, age_days=90), 1.0),
        (Metrics(accuracy=0.0, consistency=0.0, feedback=0.0), 0.0),
        (Metrics(accuracy=0.9, consistency=0.8, runs_7d=10, feedback=0.7, age_days=45), 0.715),
        (Metrics(accuracy=0.9, consistency=0.8, runs_7d=11, feedback=0.7, age_days=9000), 0.81),
    ],
)
def test_the_score_weighs_five_parts(metrics, expected):
    assert score(metrics) == expected


share = st.none() | st.floats(0, 1)


@given(share, share, st.integers(0, 10**6), share, st.floats(0, 10**4), st.floats(0, 1))
def test_a_better_accuracy_never_lowers_the_score(accuracy, consistency, runs, feedback, days, better):
    m = Metrics(accuracy=accuracy, consistency=consistency, runs_7d=runs, feedback=feedback, age_days=days)
    assert 0 <= score(m) <= 1
    if accuracy is not None and better >= accuracy:
        improved = Metrics(accuracy=better, consistency=consistency, runs_7d=runs, feedback=feedback, age_days=days)
        assert score(improved) >= score(m)
