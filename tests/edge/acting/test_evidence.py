"""Evidence counted from facts: ratings that are replaced, actions that failed, days, and a restart in between."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.acting.evidence import DAY_NS, MOST_RATINGS, Evidence, kind_of
from edge.acting.trust import Metrics, demotion
from sync.judgment import ActionDecided, ActionEnded, FeedbackGiven
from tests.edge.acting.gateway import LINE, TARGET, verdict_of

NOW = 1_790_000_000 * 10**9


def feedback(number: int, kind: str, *, actor: str = "kim", target: str = "", at: int = 0, ruleset: str = "filler"):
    return FeedbackGiven(
        at=at or number, feedback=f"f{number}", target=target or f"v{number}", type=kind, actor=actor, ruleset=ruleset
    )


def decided(action: str, decision: str = "auto_execute", verdict: str = "v1") -> ActionDecided:
    return ActionDecided(
        at=1, work_unit=LINE, action=action, verdict_id=verdict, action_type="parameter_adjust", target=TARGET,
        ruleset="filler", trust=2, score=0.5, risk="LOW", mode="control", decision=decision,
    )  # fmt: skip


def over(action: str, status: str) -> ActionEnded:
    return ActionEnded(at=1, work_unit=LINE, action=action, status=status)


def test_nobody_rated_is_none_and_not_one():
    evidence = Evidence()
    evidence.take([verdict_of("v1")], NOW)
    metrics = evidence.metrics("filler", NOW)
    assert (metrics.runs, metrics.accuracy, metrics.feedback, metrics.consistency) == (1, None, None, None)
    assert evidence.history("filler", NOW) is None
    assert evidence.metrics("never seen", NOW) == Metrics()


def test_a_later_word_of_the_same_person_replaces_the_earlier_and_the_same_word_counts_once():
    evidence = Evidence()
    evidence.take([feedback(1, "negative", target="v")], NOW)
    evidence.take([feedback(1, "negative", target="v")], NOW)
    assert evidence.metrics("filler", NOW).accuracy == 0
    assert evidence.metrics("filler", NOW).negatives_in_a_row == 1
    evidence.take([feedback(2, "positive", target="v")], NOW)
    assert evidence.metrics("filler", NOW) == Metrics(accuracy=1.0, feedback=1.0)
    evidence.take([feedback(3, "negative", target="v", at=1)], NOW)  # said before, heard after
    assert evidence.metrics("filler", NOW).accuracy == 1
    evidence.take([feedback(4, "correction", target="v", actor="lee")], NOW)
    assert evidence.metrics("filler", NOW).accuracy == 0.5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()), max_size=60))
def test_ratings_are_those_of_a_plain_dictionary(words):
    evidence, plain = Evidence(), dict[tuple[str, int], bool]()
    for number, (actor, target, good) in enumerate(words, 1):
        word = feedback(number, "positive" if good else "negative", actor=actor, target=f"v{target}")
        evidence.take([word], NOW + number * DAY_NS // 7)
        plain.pop((actor, target), None)
        plain[actor, target] = good
    metrics = evidence.metrics("filler", NOW + len(words) * DAY_NS // 7)
    assert metrics.accuracy == (sum(plain.values()) / len(plain) if plain else None)
    streak = 0
    for good in reversed(plain.values()):
        if good:
            break
        streak += 1
    assert metrics.negatives_in_a_row == streak


def test_runs_and_ratings_of_late_leave_with_their_days():
    evidence = Evidence()
    for day in range(40):
        evidence.take([verdict_of(f"v{day}"), feedback(day + 1, "positive")], NOW + day * DAY_NS)
    late = NOW + 39 * DAY_NS
    metrics = evidence.metrics("filler", late)
    assert (metrics.runs, metrics.runs_7d, metrics.age_days, metrics.level_days) == (40, 7, 39, 39)
    assert len(evidence.records["filler"].days) <= 31
    evidence.take([feedback(99, "negative")], late)
    assert evidence.metrics("filler", late).feedback == 30 / 31
    assert evidence.metrics("filler", late).accuracy == 40 / 41


def test_a_failed_automatic_action_is_a_critical_failure_and_a_correct_alarm_never_is():
    evidence = Evidence()
    for number in range(500):
        evidence.take([verdict_of(f"v{number}", decision="critical")], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 0
    assert demotion(3, evidence.metrics("filler", NOW)) is None
    evidence.take([decided("a1"), over("a1", "EXECUTED")], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 0
    evidence.take([decided("a2"), over("a2", "FAILED"), decided("a3", "require_approval"), over("a3", "FAILED")], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 1  # a person wanted the other one
    assert demotion(3, evidence.metrics("filler", NOW)) is not None
    assert evidence.metrics("filler", NOW + 8 * DAY_NS).critical_failures_7d == 0


def test_an_automatic_action_that_people_call_wrong_is_a_critical_failure_until_they_change_their_mind():
    evidence = Evidence()
    evidence.take([decided("a1", verdict="v1"), over("a1", "EXECUTED"), feedback(1, "negative")], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 1
    evidence.take([feedback(2, "positive", target="v1")], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 0


def test_what_was_blocked_or_refused_is_no_failure_of_the_ruleset():
    evidence = Evidence()
    for number, status in enumerate(("REJECTED", "EXPIRED")):
        evidence.take([decided(f"a{number}"), over(f"a{number}", status)], NOW)
    assert evidence.metrics("filler", NOW).critical_failures_7d == 0
    assert evidence.standing("filler", kind_of("parameter_adjust", LINE, TARGET), NOW).executed_s is None


def test_failures_in_a_row_and_the_last_success_are_of_one_kind_of_action():
    evidence, kind = Evidence(), kind_of("parameter_adjust", LINE, TARGET)
    for number, status in enumerate(("EXECUTED", "FAILED", "UNKNOWN")):
        evidence.take([decided(f"a{number}"), over(f"a{number}", status)], NOW + number * 10**9)
    standing = evidence.standing("filler", kind, NOW + 12 * 10**9)
    assert (standing.failures, standing.executed_s, standing.succeeded_s) == (2, 10, 12)
    assert evidence.standing("filler", "another", NOW).failures == 0


def test_the_same_inputs_again_are_a_comparison():
    evidence = Evidence()
    for decision in ("normal",) * 5 + ("warning",):
        evidence.take([verdict_of("same", decision=decision)], NOW)
    assert evidence.metrics("filler", NOW).consistency == 4 / 5
    evidence.compared("filler", same=5, compared=5)
    assert evidence.metrics("filler", NOW).consistency == 9 / 10


def test_a_clock_that_was_never_set_makes_nobody_older():
    evidence = Evidence()
    evidence.take([verdict_of("v1"), feedback(1, "positive")], 5 * 10**9)
    assert evidence.metrics("filler", 6 * 10**9).age_days == 0
    evidence.take([verdict_of("v2")], NOW)
    metrics = evidence.metrics("filler", NOW + DAY_NS)
    assert (metrics.runs, metrics.age_days, metrics.level_days) == (2, 1, 1)
    evidence.take([verdict_of("v3")], 5 * 10**9)  # the box came up without its clock: its days stay
    assert evidence.metrics("filler", NOW + DAY_NS).runs_7d == 2


def test_a_restart_in_between_changes_nothing():
    rng = random.Random(5)
    through, kept, files = Evidence(), Evidence(), dict[str, bytes]()
    for number in range(400):
        now = NOW + number * DAY_NS // 11
        facts = rng.choice([
            [verdict_of(f"v{number}")],
            [feedback(number, rng.choice(["positive", "negative"]), target=f"v{rng.randrange(40)}")],
            [decided(f"a{number}", verdict=f"v{rng.randrange(40)}")],
            [over(f"a{rng.randrange(max(1, number))}", rng.choice(["EXECUTED", "FAILED"]))],
        ])  # fmt: skip
        for evidence in (through, kept):
            evidence.take(facts, now)
        files |= kept.dump()
        if rng.random() < 0.2:
            kept = Evidence()
            kept.restore(["filler"], files.get, now)
        assert kept.metrics("filler", now) == through.metrics("filler", now), number


def test_ratings_are_bounded():
    evidence = Evidence()
    evidence.take([feedback(number, "negative") for number in range(1, MOST_RATINGS + 200)], NOW)
    assert len(evidence.records["filler"].ratings) == MOST_RATINGS
    assert evidence.metrics("filler", NOW).accuracy == 0
    assert evidence.records["filler"].negative == MOST_RATINGS + 199
