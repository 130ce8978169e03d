"""Rules and a model in one verdict: whom the policy asks, what is said of it, which alarm it raises, what is recorded."""

from __future__ import annotations

import random
import re

import msgspec
import pytest

from edge.judgment import Given, State, asks_model, gather, judge, judged
from edge.judgment.evidence import evidence, explanation, importance
from edge.judgment.result import result
from models.expression import window_environment
from models.policy import POLICIES
from models.ruleset_file import MODEL_ALARM
from models.rulesets import RulesetError, load
from sync.facts import Judged
from sync.judgment import Scored
from tests.edge.judgment.conftest import EXAMPLE, TAGS, tag, window
from tests.edge.judgment.judged_again import RULES
from tests.edge.judgment.judged_again import ruleset as all_kinds

LIMIT = '[[limit]]\nname = "oil"\ntitle = { ko = "유온", en = "Oil" }\nvalue = "oil_temperature"\nwarning_high = 75\ncritical_high = 85\n'


def under(policy: str, head: str = "", rules: str = LIMIT):
    model = "" if policy == "rule_only" else '[model]\nname = "bearing_wear"\n'
    text = f'[ruleset]\nname = "r"\nversion = "1.0.0"\npolicy = "{policy}"\n{head}\n{model}{rules}'
    return load(text, window_environment(TAGS))


def scored(decision: str, confidence: float, **given) -> Scored:
    return Scored(
        model="bearing_wear", version="1.2.0", sha256="ab" * 32, decision=decision, confidence=confidence, **given
    )


def run(rules, seen, answer=None, *, state=None, history=None):
    return judge(rules, gather(rules, seen, memory=state, history=history), scored=answer)


# --- whom it asks -------------------------------------------------------------------------------------------------------


class Counting:
    """A model behind a counter, asked as the line asks it."""

    def __init__(self, answer: Scored) -> None:
        self.answer, self.calls = answer, 0

    def verdict(self, rules, given: Given):
        if not asks_model(rules, given):
            return judge(rules, given)
        self.calls += 1
        return judge(rules, given, scored=self.answer)


def test_rules_surer_than_the_gate_leave_the_model_alone():
    model = Counting(scored("critical", 0.99))
    rules = under("hybrid_gate")
    verdict = model.verdict(rules, gather(rules, window(), history=0.95))  # 0.4·0.9 + 0.3 + 0.285
    assert (verdict.decision, verdict.confidence, verdict.source) == ("normal", 0.945, "rule")
    assert model.calls == 0
    unsure = gather(rules, window(), history=0.0)  # 0.66
    assert model.verdict(rules, unsure).source == "hybrid_ml"
    assert model.calls == 1


def test_five_defects_in_a_hundred_never_ask_the_model_under_rule_fallback():
    text = EXAMPLE.read_text().replace('policy = "rule_only"', 'policy = "rule_fallback"')
    rules = load(text.replace("[[", '[model]\nname = "bearing_wear"\n\n[[', 1), window_environment(TAGS))
    assert rules.policy == "rule_fallback"
    model = Counting(scored("normal", 0.99))
    given = gather(rules, window(counts={"produced": 100, "good": 95, "scrap": 5}), history=0.9)
    verdict = model.verdict(rules, given)
    assert model.calls == 0
    assert (verdict.status, verdict.decision, verdict.severity) == ("HIGH_DEFECT", "critical", "critical")
    assert verdict.confidence >= 0.95
    for language in ("ko", "en"):
        assert "5 %" in verdict.summary[language]
        assert "2 %" in verdict.summary[language]


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_required_input_nobody_is_asked(policy):
    rules = under(policy)
    given = gather(rules, window(tags=[tag("oil_temperature", 60.0, required=True, status=0x8000_0000)]))
    assert not asks_model(rules, given)
    verdict = judge(rules, given, scored=scored("normal", 1.0))
    assert (verdict.decision, verdict.source, verdict.needs_human) == ("unknown", "none", True)
    assert verdict.scored is None


@pytest.mark.parametrize("policy", POLICIES)
def test_an_answer_nobody_asked_for_changes_no_byte(policy):
    for seed in range(40):
        draw = random.Random(seed)
        rules = under(policy)
        given = gather(rules, window(oil=draw.uniform(60, 95)), history=draw.random())
        answer = scored(draw.choice(["normal", "warning", "critical"]), draw.random())
        with_it, without = judge(rules, given, scored=answer), judge(rules, given)
        if not asks_model(rules, given):
            assert msgspec.json.encode([judged(with_it), *with_it.facts]) == msgspec.json.encode(
                [judged(without), *without.facts]
            )
        else:
            assert with_it.verdict_id != without.verdict_id


def test_the_verdict_id_follows_the_package_and_its_features():
    rules, seen = under("ml_only"), window()
    plain = run(rules, seen, scored("normal", 0.9, features={"rms": 1.0}))
    assert run(rules, seen, scored("normal", 0.9, features={"rms": 1.0}, latency_us=77)).verdict_id == plain.verdict_id
    assert run(rules, seen, scored("normal", 0.9, features={"rms": 1.5})).verdict_id != plain.verdict_id
    other = msgspec.structs.replace(scored("normal", 0.9, features={"rms": 1.0}), sha256="cd" * 32)
    assert run(rules, seen, other).verdict_id != plain.verdict_id


# --- scenarios ----------------------------------------------------------------------------------------------------------


def test_critical_rules_are_not_outvoted():
    rules = under("hybrid_weighted", rules=LIMIT + "confidence = 0.1\n")
    verdict = run(rules, window(oil=90.0), scored("normal", 0.9), history=0.866)
    assert verdict.components["rule_confidence"] == pytest.approx(0.6, abs=1e-3)
    assert (verdict.decision, verdict.severity, verdict.needs_human) == ("critical", "critical", True)
    assert verdict.summary["en"] == (
        "Critical: Oil is 90 °C, above the critical limit of 85 °C. Model bearing_wear 1.2.0 says normal (0.9), "
        "rules say critical (0.6); they differ; safety first: who says critical is believed. "
        "0 of 1 checks passed, policy hybrid_weighted, confidence 0.6."
    )
    lax = under("hybrid_weighted", "safety_first = false", rules=LIMIT + "confidence = 0.1\n")
    outvoted = run(lax, window(oil=90.0), scored("normal", 0.9), history=0.866)
    assert (outvoted.decision, outvoted.severity) == ("normal", "critical")
    for language, word in (("en", "rules say critical"), ("ko", "규칙 판정 위험")):
        assert word in outvoted.summary[language], "severity critical beside normal is never left unexplained"


@pytest.mark.parametrize(
    ("failure", "english", "korean"),
    [
        ("not_finite", "its output is not a finite number", "유한하지 않은 출력"),
        ("deadline: 500 ms", "it was too slow: 500 ms", "시간 초과: 500 ms"),
        ("breaker_open", "it failed too often and is switched off for now", "연속 실패로 차단됨"),
        ("error: segmentation fault", "it failed: segmentation fault", "모델 오류: segmentation fault"),
        ("strange", "strange", "strange"),
    ],
)
def test_a_model_that_fails_is_said_and_the_rules_answer(failure, english, korean):
    verdict = run(under("hybrid_weighted"), window(oil=80.0), scored("unknown", 0.0, failure=failure))
    assert (verdict.decision, verdict.source) == ("warning", "rule_fallback")
    assert f"Model bearing_wear 1.2.0 has no answer ({english}), rules say warning" in verdict.summary["en"]
    assert f"모델 bearing_wear 1.2.0 응답 없음({korean}), 규칙 판정 경고" in verdict.summary["ko"]
    fact = judged(verdict)
    assert fact.ml is not None
    assert fact.ml.failure == failure
    assert fact.evidence == {"rule": "warning", "reasons": ["model_failed"]}
    assert explanation(fact)["source_details"]["model"]["failure"] == failure


def test_a_line_without_a_model_falls_back_and_says_so():
    verdict = run(under("ml_fallback"), window())
    assert (verdict.decision, verdict.source) == ("normal", "rule_fallback")
    assert "Model has no answer (this line has no model)" in verdict.summary["en"]


def test_answers_that_no_fact_could_hold_are_made_sound():
    odd = scored("dunno", 0.9, scores={"a": float("nan"), "b": 1.0}, features={"x": float("inf"), "y": None})
    verdict = run(under("hybrid_weighted"), window(), odd)
    assert verdict.scored is not None
    assert verdict.scored.failure == "unknown_decision: dunno"
    assert verdict.scored.scores == {"b": 1.0}
    assert verdict.scored.features == {"x": None, "y": None}
    assert verdict.source == "rule_fallback"
    for confidence in (float("nan"), 1.5, -0.1):
        heard = run(under("ml_only"), window(), scored("warning", confidence))
        assert (heard.decision, heard.confidence) == ("warning", 0.5)


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "rule_only"])
@pytest.mark.parametrize("oil", [60.0, 80.0, 90.0])
def test_a_window_that_is_none_for_the_model_is_judged_as_by_rules_alone(policy, oil):
    aside = scored("unknown", 0.0, failure='not_applicable: only when state == "EXECUTE"', drifted=True)
    verdict, alone = (
        run(under(policy), window(oil=oil), aside, history=0.1),
        run(under("rule_only"), window(oil=oil), history=0.1),
    )
    assert (verdict.decision, verdict.severity, verdict.confidence, verdict.source, verdict.needs_human) == (
        alone.decision, alone.severity, alone.confidence, "rule", alone.needs_human,
    )  # fmt: skip
    assert verdict.summary == alone.summary
    assert [alarm.alarm for alarm in verdict.alarms] == [alarm.alarm for alarm in alone.alarms]
    fact = judged(verdict)
    assert fact.evidence["reasons"] == ["not_applicable"]
    assert explanation(fact)["source_details"]["model"] == {
        "name": "bearing_wear", "version": "1.2.0", "drifted": True, "applies": False,
    }  # fmt: skip


def test_without_rules_a_window_that_is_none_for_the_model_is_normal():
    rules = under("ml_only", rules="")
    aside = scored("unknown", 0.0, failure="not_applicable: the line stands still")
    verdict = run(rules, window(), aside)
    assert (verdict.decision, verdict.severity, verdict.source, verdict.needs_human) == (
        "normal",
        "info",
        "rule",
        False,
    )
    assert verdict.summary == {
        "ko": "정상: 지금 적용되는 검사가 없습니다. 신뢰도 0.885.",
        "en": "Normal: no check applies now. Confidence 0.885.",
    }
    broken = run(rules, window(), scored("unknown", 0.0, failure="deadline"))
    assert (broken.decision, broken.source) == ("unknown", "none")
    up = run(rules, window(), scored("warning", 0.9))
    gone = run(rules, window(1), aside, state=up.state)
    assert [(a.alarm, a.active, a.summary["en"]) for a in gone.alarms] == [
        ("model", False, "Model: does not apply now.")
    ]


# --- what is said -------------------------------------------------------------------------------------------------------


def test_a_model_that_decides_is_named_with_what_drove_it():
    answer = scored(
        "warning", 0.83, label="worn", features={"rms": 4.2, "kurtosis": 5.0, "t": 60.0},
        contributions={"rms": 0.6, "kurtosis": -0.7, "t": 0.01},
    )  # fmt: skip
    verdict = run(under("ml_fallback"), window(), answer)
    assert verdict.status == "worn"
    assert verdict.summary == {
        "en": "Warning: model bearing_wear 1.2.0 says warning (worn, 0.83), mostly by kurtosis 5, rms 4.2, rules say normal (0.885). "
        "1 of 1 checks passed, policy ml_fallback, confidence 0.83.",
        "ko": "경고: 모델 bearing_wear 1.2.0 판정 경고 (worn, 0.83), 주요 근거 kurtosis 5, rms 4.2, 규칙 판정 정상 (0.885). "
        "검사 1건 중 1건 통과, 정책 ml_fallback, 신뢰도 0.83.",
    }
    assert importance(judged(verdict)) == {"kurtosis": 0.5344, "rms": 0.458, "t": 0.0076}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("answer", [None, scored("normal", 0.9), scored("critical", 0.4), scored("unknown", 0.5),
                                    scored("warning", 0.8, drifted=True), scored("unknown", 0, failure="deadline")])  # fmt: skip
@pytest.mark.parametrize("oil", [60.0, 80.0, 90.0])
def test_every_policy_speaks_in_two_to_four_sentences_of_both_languages(policy, answer, oil):
    verdict = run(under(policy), window(oil=oil), answer, history=0.3)
    fact = judged(verdict)
    for language, text in verdict.summary.items():
        assert 2 <= len(re.findall(r"\.(?: |$)", text)) <= 4, text
        assert "None" not in text
        assert "{" not in text
        told = explanation(fact, language)
        assert told["summary"] == text
        assert (told["policy"], told["language"]) == (policy, language)
        if verdict.decision not in {"unknown", "normal"} and verdict.source == "rule":
            assert re.search(r"(75|85) °C", text), text
    if verdict.severity == "critical" and verdict.decision != "critical":
        assert "critical" in verdict.summary["en"]
    assert explanation(fact, "de")["language"] == "en"


def test_evidence_is_made_of_the_record_and_invents_nothing():
    verdict = run(under("rule_only"), window(oil=80.0))
    fact = msgspec.json.decode(msgspec.json.encode(judged(verdict)), type=Judged)
    found = evidence(fact)
    assert found["input_values"] == {"oil_temperature": 80.0}
    assert found["thresholds"] == {"oil": 75.0}
    assert found["rule_checks"] == [
        {"name": "oil", "status": "warning", "value": 80.0, "threshold": 75.0, "unit": "CEL", "passed": False}
    ]
    assert found["calculated_metrics"] == {}, "no counts among the inputs, no defect rate"
    assert not {"historical_avg", "similar_cases_count"} & found.keys()
    assert {"type": "tag", "id": "bottling/line-1/filler/oil_temperature", "name": "oil_temperature"} in found[
        "data_refs"
    ]
    more = evidence(fact, historical_avg={"oil_temperature": 61.5}, similar_cases=3)
    assert (more["historical_avg"], more["similar_cases_count"]) == ({"oil_temperature": 61.5}, 3)
    told = explanation(fact, "ko")
    assert told["reasoning"] == ["oil: 경고, 80 °C (기준 75 °C)"]
    assert [reference["type"] for reference in told["references"]] == ["rule", "data"]
    assert importance(fact) == {"oil": 1.0}


def test_rates_come_from_the_counts_that_were_judged(filler):
    fact = judged(run(filler, window(counts={"produced": 100, "good": 95, "scrap": 5})))
    assert evidence(fact)["calculated_metrics"]["defect_rate"] == 5.0


def test_an_answer_has_every_key_whatever_was_asked():
    short = result(judged(run(under("rule_only"), window())), need_evidence=False, need_explanation=False)
    full = result(judged(run(under("hybrid_gate"), window(), scored("normal", 0.9), history=0.0)), language="ko")
    assert short.keys() == full.keys()
    assert (short["evidence"], short["explanation"], short["ml_result"]) == (None, None, None)
    assert full["ml_result"]["drift_flag"] is False
    assert full["executed_at"] == "1970-01-01T00:00:10.000Z"


# --- alarms -------------------------------------------------------------------------------------------------------------


def test_the_model_alarm_is_up_while_it_makes_a_verdict_worse():
    rules, state, told = under("ml_fallback"), State(), []
    answers = [
        scored("normal", 0.9), scored("warning", 0.8), scored("warning", 0.9), scored("unknown", 0.0, failure="deadline"),
        scored("critical", 0.9), scored("normal", 0.9), None,
    ]  # fmt: skip
    for number, answer in enumerate(answers):
        verdict = run(rules, window(number), answer, state=state)
        told += [(number, a.alarm, a.active, a.severity) for a in verdict.alarms]
        state = verdict.state
    assert told == [
        (1, MODEL_ALARM, True, "warning"),
        (4, MODEL_ALARM, True, "critical"),
        (5, MODEL_ALARM, False, "critical"),
    ]


@pytest.mark.parametrize("name", ["inputs", "model"])
def test_no_check_takes_the_name_of_an_alarm_of_ours(name):
    with pytest.raises(RulesetError, match=f"'{name}' is the alarm for .*; take another name"):
        under("rule_only", rules=LIMIT.replace('"oil"', f'"{name}"'))


def test_what_the_rules_say_as_well_is_no_alarm_of_the_model():
    verdict = run(under("ml_fallback"), window(oil=80.0), scored("warning", 0.9))
    assert [alarm.alarm for alarm in verdict.alarms] == ["oil"]


# --- the order of checks -----------------------------------------------------------------------------------------------


def test_the_order_of_checks_decides_nothing():
    head, *blocks = re.split(r"\n(?=\[\[[a-z]+\]\])", RULES)
    blocks = [block for block in blocks if "composite" not in block and "suppressed_by" not in block]
    plain = "\n".join([head, *blocks])
    seen = 0
    for seed in range(60):
        draw = random.Random(seed)
        policy = draw.choice(POLICIES)
        order = draw.sample(blocks, len(blocks))
        first, second = (_all_kinds_of(policy, text) for text in (plain, "\n".join(order)))
        lines = window(
            tags=[
                tag(name, draw.uniform(0, 120)) for name in ("oil", "pressure", "vibration", "alarm", "why", "verdict")
            ]
            + [tag("sku", "B"), tag("unit", draw.choice(["개", "x"])), tag("running", draw.choice([0.0, 1.0]))],
            counts={"produced": 100, "scrap": draw.randint(0, 5), "defect.why": 2},
        )
        answer = scored(draw.choice(["normal", "warning", "critical", "unknown"]), draw.random())
        one, two = run(first, lines, answer), run(second, lines, answer)
        assert (one.decision, one.severity, one.confidence, one.source, one.needs_human) == (
            two.decision, two.severity, two.confidence, two.source, two.needs_human,
        )  # fmt: skip
        assert one.components == two.components
        seen |= {"normal": 1, "warning": 2, "critical": 4, "unknown": 8}[one.decision]
    assert seen & 6 == 6


def _all_kinds_of(policy: str, rules: str):
    model = "" if policy == "rule_only" else '[model]\nname = "bearing_wear"\n'
    text = f'[ruleset]\nname = "all_kinds"\nversion = "2.1.0"\npolicy = "{policy}"\n{model}{rules}'
    return load(text, window_environment(*_NAMES))


_NAMES = (
    {name: "string" if name in {"sku", "unit"} else "bool" if name == "running" else "float32"
     for name in ("oil", "pressure", "vibration", "running", "sku", "held", "alarm", "verdict", "why", "unit")},
    ("produced", "good", "scrap", "defect.why", "defect.fault", "defect.age_ns"),
)  # fmt: skip


def test_a_control_point_is_recorded_in_every_window_it_applies_in():
    rules = all_kinds("rule_only")
    verdict = run(rules, window(tags=[tag("oil", 90.0, unit="CEL")]))
    (point,) = verdict.control_points
    assert (point.ccp, point.value, point.low, point.high, point.within) == ("oil", 90.0, -5.0, 85.0, False)
    assert point.verdict_id == verdict.verdict_id
    assert verdict.facts[-1] is point
    lost = run(rules, window(tags=[tag("oil", 90.0, status=0x8000_0000, count=0)]))
    assert lost.control_points[0].within is None
