"""Recorded verdicts judged again: the same to the byte, by other versions, with other inputs; one by one and in numbers."""

from __future__ import annotations

import msgspec
import pytest

from edge.judgment import NotRepeatableError, gather, judge, judged
from edge.judgment.appraisal import labels
from edge.judgment.batch import MOST, Tally, Wanted, replay_all, sample
from edge.judgment.compare import compare, versions
from edge.judgment.replay import Bundle, replay
from edge.judgment.whatif import OverrideError, parse, what_if
from models.expression import window_environment
from models.rulesets import load
from sync.facts import Judged
from sync.judgment import FeedbackGiven, Scored
from tests.edge.judgment.conftest import EXAMPLE, TAGS, S, tag, window
from tests.edge.judgment.test_backtest import ENVIRONMENT, NAMES, record, windows

WARM = """
[ruleset]
name = "warm"
version = "1.0.0"
[[limit]]
name = "temperature"
title = { ko = "온도", en = "Temperature" }
value = "oil_temperature"
warning_high = 70
critical_high = 90
"""


def rules(text: str = WARM, **changed: str):
    for old, new in changed.items():
        text = text.replace(old, new)
    return load(text, ENVIRONMENT)


def through(fact: Judged) -> Judged:
    """Give a fact as it comes back from a disk."""
    return msgspec.json.decode(msgspec.json.encode(fact), type=Judged)


def test_the_original_version_says_the_same_byte_for_byte(filler):
    for fact in record(filler, windows(11, 300)):
        again = replay(through(fact), Bundle(ruleset=filler, names=NAMES))
        assert (again.exact, again.differs, again.missing) == (True, (), ())
        assert msgspec.json.encode(again.fact) == msgspec.json.encode(fact)


def test_a_record_that_was_changed_is_not_exact(filler):
    (fact,) = record(filler, windows(1, 1))
    again = replay(msgspec.structs.replace(fact, confidence=0.123), Bundle(ruleset=filler))
    assert not again.exact
    assert again.differs == ("confidence",)


def test_a_verdict_of_form_one_is_refused_with_a_reason(filler):
    (fact,) = record(filler, windows(1, 1))
    with pytest.raises(NotRepeatableError, match="before verdicts kept all their inputs"):
        replay(msgspec.structs.replace(fact, form=1), Bundle(ruleset=filler))


def test_a_verdict_from_the_cache_is_exact_when_it_differs_in_saying_so_only(filler):
    (fact,) = record(filler, windows(1, 1))
    assert replay(msgspec.structs.replace(fact, cached=True), Bundle(ruleset=filler)).exact


def test_what_a_record_does_not_hold_is_missing_never_invented():
    (fact,) = record(rules(), [window(oil=60.0)])
    other = rules(oil_temperature="vibration")
    again = replay(fact, Bundle(ruleset=other, names=NAMES))
    assert again.missing == ("vibration",)
    assert again.fact.decision == "unknown"
    assert "vibration" in again.fact.summary["en"]


def test_what_a_record_holds_under_another_name_or_in_its_head_is_used():
    (fact,) = record(rules(), [window(oil=60.0)])
    other = rules('[ruleset]\nname = "o"\nversion = "2.0.0"\n[[rule]]\nname = "x"\nwhen = "oil_temperature.last > 50.0 && state == \'EXECUTE\' && context.product == \'COLA-500\' && window.duration_s == 10.0"\nseverity = "warning"\n')  # fmt: skip
    again = replay(fact, Bundle(ruleset=other, names=NAMES))
    assert (again.missing, again.fact.decision) == ((), "warning")
    assert compare(fact, again.fact).change_reasons[:2] == ["ruleset_version_changed", "result_different"]


def test_a_what_if_answers_with_the_change_and_its_reasons():
    """Scenario 14: temperature 68 → 75 changes normal → warning."""
    (fact,) = record(rules(), [window(oil=68.0)])
    answer = msgspec.to_builtins(what_if(fact, Bundle(ruleset=rules(), names=NAMES), {"oil_temperature": 75.0}))
    assert answer["original_input"] == {"oil_temperature": 68.0}
    assert answer["modified_input"] == {"oil_temperature": 75.0}
    assert answer["modifications"] == [{"name": "oil_temperature", "from": 68.0, "to": 75.0}]
    assert answer["original_result"]["decision"] == "normal"
    assert answer["what_if_result"]["decision"] == "warning"
    assert "75 °C" in answer["what_if_result"]["summary"]["en"]
    change = round(answer["what_if_result"]["confidence"] - answer["original_result"]["confidence"], 4)
    assert answer["impact"] == {"result_changed": True, "confidence_change": change}
    assert answer["comparison"]["result_change"] == {"from": "normal", "to": "warning"}
    assert answer["comparison"]["confidence_diff"] == change
    assert "result_different" in answer["comparison"]["change_reasons"]


def test_a_what_if_names_the_checks_that_only_wait_for_their_delay():
    patient = rules(WARM + "delay_s = 30\n")
    (fact,) = record(patient, [window(oil=60.0)])
    answer = what_if(fact, Bundle(ruleset=patient, names=NAMES), {"oil_temperature": 75.0})
    assert (answer.what_if_result.decision, answer.waiting) == ("normal", ["temperature"])
    assert what_if(fact, Bundle(ruleset=patient, names=NAMES), {"oil_temperature": 65.0}).waiting == []


def test_a_what_if_that_changes_nothing_is_the_original(filler):
    for fact in record(filler, windows(5, 20)):
        answer = what_if(fact, Bundle(ruleset=filler, names=NAMES), {})
        assert answer.comparison.change_reasons == []
        assert answer.original_result == answer.what_if_result


def test_a_tag_that_was_bad_can_be_imagined_good_and_the_other_way():
    sick = window(tags=(tag("oil_temperature", 60.0, unit="CEL", required=True, status=0x8000_0000),))
    (blind,) = record(rules(), [sick])
    assert blind.decision == "unknown"
    bundle = Bundle(ruleset=rules(), names=NAMES)
    assert what_if(blind, bundle, {"oil_temperature": 95.0}).what_if_result.decision == "critical"
    (well,) = record(rules(), [window(oil=60.0)])
    assert what_if(well, bundle, {"oil_temperature": None}).what_if_result.decision == "unknown"


def test_counts_state_and_context_can_be_changed(filler):
    (fact,) = record(filler, [window()])
    bundle = Bundle(ruleset=filler, names=NAMES)
    assert what_if(fact, bundle, {"counts.scrap": 5}).what_if_result.status == "HIGH_DEFECT"
    answer = what_if(fact, bundle, {"state": "HELD", "context.product": "WATER"})
    assert [(m.name, m.before, m.after) for m in answer.modifications] == [
        ("state", "EXECUTE", "HELD"),
        ("context.product", "COLA-500", "WATER"),
    ]


def test_every_change_that_cannot_be_made_is_named_at_once(filler):
    (fact,) = record(filler, [window()])
    wrong = {"oil_temprature": 75.0, "vibration": "much", "counts.scrap": -1, "state": 3.0, "feature.rms": 1.0}
    with pytest.raises(OverrideError) as raised:
        what_if(fact, Bundle(ruleset=filler, names=NAMES), wrong)
    told = {fault.field: fault.message for fault in raised.value.faults}
    assert told.keys() == wrong.keys()
    assert "oil_temperature" in told["oil_temprature"]
    assert told["vibration"] == "must be a number, not 'much'"
    assert "never negative" in told["counts.scrap"]
    assert "package" in told["feature.rms"]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("75", "oil_temperature", 75.0), ("7", "sku", "7"), ("null", "sku", None), ("true", "context.stale", True)],
)
def test_values_are_read_as_their_types(text, name, value):
    assert parse(text, name, window_environment(TAGS)) == value


class Doubling:
    """A model as small as one can be: says warning above 1."""

    sha256 = "ab" * 32

    def score(self, features):
        x = features["x"]
        return Scored(
            model="d", version="1.0.0", sha256=self.sha256, decision="warning" if x > 1 else "normal", confidence=0.9,
            features=dict(features),
        )  # fmt: skip


ASKING = WARM.replace('version = "1.0.0"', 'version = "1.0.0"\npolicy = "ml_only"\n[model]\nname = "d"')


def scored(x: float, **changed) -> Judged:
    answer = Doubling().score({"x": x})
    return judged(
        judge(rules(ASKING), gather(rules(ASKING), window()), scored=msgspec.structs.replace(answer, **changed))
    )


def test_a_models_answer_is_computed_again_from_its_recorded_features():
    fact = scored(2.0, latency_us=412)
    again = replay(through(fact), Bundle(ruleset=rules(ASKING), model=Doubling()))
    assert (again.exact, again.model, again.model_exact) == (True, "recomputed", True)
    lie = replay(scored(2.0, decision="normal"), Bundle(ruleset=rules(ASKING), model=Doubling()))
    assert (lie.model_exact, lie.fact.decision) == (False, "warning")


@pytest.mark.parametrize(
    "failure",
    [
        "deadline",
        "breaker_open",
        "error: ValueError",
        'not_applicable: only when state == "EXECUTE"',
        "missing_input: x",
    ],
)
def test_a_failure_of_the_moment_is_taken_as_it_was(failure):
    fact = scored(2.0, failure=failure, decision="unknown", confidence=0.0)
    again = replay(through(fact), Bundle(ruleset=rules(ASKING), model=Doubling()))
    assert (again.exact, again.model) == (True, "recorded")


def test_a_feature_of_the_model_can_be_changed():
    answer = what_if(scored(0.5), Bundle(ruleset=rules(ASKING), names=NAMES, model=Doubling()), {"feature.x": 3.0})
    assert (answer.original_result.decision, answer.what_if_result.decision) == ("normal", "warning")
    assert [(m.name, m.before, m.after) for m in answer.modifications] == [("feature.x", 0.5, 3.0)]


def test_a_model_that_was_not_asked_then_is_said_not_to_be_held():
    (fact,) = record(rules(), [window()])
    again = replay(fact, Bundle(ruleset=rules(ASKING), names=NAMES, model=Doubling()))
    assert (again.model, again.fact.source) == ("not_held", "rule_fallback")


def test_up_to_five_versions_at_once():
    (fact,) = record(rules(), [window(oil=68.0)])
    bundles = [Bundle(ruleset=rules(**{'"1.0.0"': f'"1.0.{n}"', "70": str(70 - n)}), names=NAMES) for n in range(1, 6)]
    found = versions(fact, bundles)
    assert [one.fact.decision for one, _ in found] == ["normal", "normal", "warning", "warning", "warning"]
    with pytest.raises(ValueError, match="1 to 5"):
        versions(fact, [*bundles, bundles[0]])


@pytest.mark.parametrize(
    ("difference", "changed", "reasons"),
    [(0.01, False, []), (0.0101, True, []), (0.1, True, []), (-0.1001, True, ["confidence_significantly_different"])],
)
def test_differences_of_confidence_count_from_their_bounds(difference, changed, reasons):
    (fact,) = record(rules(), [window()])
    old = msgspec.structs.replace(fact, confidence=0.5)
    told = compare(old, msgspec.structs.replace(fact, confidence=0.5 + difference))
    assert (told.confidence_diff, told.confidence_changed) == (difference, changed)
    assert told.change_reasons == reasons


def test_a_batch_of_a_thousand_counts_what_changes_and_fails_nobody(filler):
    facts = record(filler, windows(3, MOST))
    facts[10] = msgspec.structs.replace(facts[10], form=1)
    facts[20] = msgspec.structs.replace(facts[20], inputs={"broken": 1.0})
    stricter = load(EXAMPLE.read_text("utf-8").replace("warning_high = 75", "warning_high = 65"), ENVIRONMENT)
    found = replay_all(facts, lambda _: Bundle(ruleset=stricter, names=NAMES))
    summary = found.summary
    assert (summary.total, summary.failed) == (MOST, 2)
    assert summary.changed + summary.unchanged + summary.failed == MOST
    assert summary.changed == sum(summary.result_changes.values()) > 0
    assert summary.change_rate == round(100 * summary.changed / (MOST - 2), 2)
    assert [one.verdict_id for one in found.outcomes] == [fact.verdict_id for fact in facts]
    assert all(one.error for one in (found.outcomes[10], found.outcomes[20]))
    same = replay_all(facts[:10], lambda _: Bundle(ruleset=filler)).summary
    assert (same.changed, same.change_rate, same.avg_confidence_change, same.result_changes) == (0, 0.0, 0.0, {})


@pytest.mark.parametrize("sampling", ["random", "stratified", "sequential"])
def test_a_sample_is_the_same_for_the_same_seed(sampling, filler):
    facts = record(filler, windows(2, 200))
    chosen = sample(facts, 40, sampling, 7)
    assert len(chosen) == 40
    assert chosen == sample(facts, 40, sampling, 7)
    assert [facts.index(fact) for fact in chosen] == sorted(facts.index(fact) for fact in chosen)
    if sampling == "stratified":
        assert {fact.decision for fact in chosen} == {fact.decision for fact in facts}
    if sampling == "random":
        assert chosen != sample(facts, 40, sampling, 8)
    with pytest.raises(ValueError, match="1 to 1,000"):
        sample(facts, MOST + 1, sampling)


def test_filters_take_what_they_say(filler):
    facts = record(filler, windows(2, 50))
    late = Wanted(begin=200 * S, decision="normal")
    assert all(fact.at >= 200 * S and fact.decision == "normal" for fact in facts if late.takes(fact))
    assert not any(Wanted(line="elsewhere").takes(fact) for fact in facts)


def test_ratings_say_whether_the_change_is_for_the_better():
    (fact,) = record(rules(), [window()])
    facts = [msgspec.structs.replace(fact, verdict_id=f"{n:032x}") for n in range(60)]
    said = [
        FeedbackGiven(at=n, feedback=str(n), target=fact.verdict_id, type="correction", corrected="warning")
        if n < 40
        else FeedbackGiven(at=n, feedback=str(n), target=fact.verdict_id, type="positive", decision="normal")
        for n, fact in enumerate(facts)
    ]
    warns = rules(**{"70": "50"})
    found = replay_all(facts, lambda _: Bundle(ruleset=warns, names=NAMES), labels(said)).summary.appraisal
    assert (found.rated, found.baseline.accuracy, found.modified.accuracy) == (60, 0.3333, 0.6667)
    assert (found.baseline.recall, found.modified.recall, found.modified.precision) == (0.0, 1.0, 0.6667)
    assert found.p_value == pytest.approx(0.009823, abs=1e-6), "chi2 = (40 - 20)^2 / 60 = 6.667, one degree of freedom"
    assert found.significant
    assert found.recommendation["en"].endswith("Adopt it.")
    few = replay_all(facts[:5], lambda _: Bundle(ruleset=warns, names=NAMES), labels(said)).summary.appraisal
    assert few.p_value == 0.0625, "five of five, exact: 2 / 2^5"
    assert "no recommendation" in few.recommendation["en"]


def test_a_bare_no_is_no_label():
    words = [
        FeedbackGiven(at=1, feedback="a", target="x", type="positive", decision="normal"),
        FeedbackGiven(at=2, feedback="b", target="x", type="negative"),
    ]
    assert labels(words) == {}


def test_nothing_to_summarize_is_said_in_numbers():
    found = Tally({}).summary()
    assert (found.total, found.change_rate, found.appraisal.p_value) == (0, 0.0, None)
