"""Verdicts: decision, confidence, explanation, alarms, memory, and that the same inputs give the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import judgment
from edge.judgment import State, dump, gather, history, judged, restore
from sync.facts import Context, Judged
from tests.edge.judgment.conftest import EXAMPLE, S, ruleset, tag, window

BAD = 0x8000_0000
UNCERTAIN = 0x4000_0000
FIVE_OF_HUNDRED = {"produced": 100, "good": 95, "scrap": 5}


def judge(ruleset, seen, *, state=None, history_accuracy=None):
    return judgment.judge(ruleset, gather(ruleset, seen, memory=state, history=history_accuracy))


def test_five_defects_in_a_hundred_against_two_percent_is_a_high_defect(filler):
    verdict = judge(filler, window(counts=FIVE_OF_HUNDRED), history_accuracy=history(18, 20))
    assert (verdict.decision, verdict.status, verdict.severity) == ("critical", "HIGH_DEFECT", "critical")
    assert verdict.confidence >= 0.95
    assert (verdict.source, verdict.needs_human) == ("rule", True)
    assert verdict.summary == {
        "ko": "위험: 불량률 5 %가 임계 2 %를 초과했습니다. 검사 6건 중 5건 통과, 신뢰도 0.97.",
        "en": "Critical: The defect rate is 5 %, over the threshold of 2 %. 5 of 6 checks passed, confidence 0.97.",
    }
    assert verdict.actions == (
        {
            "action_type": "inspect",
            "priority": "high",
            "ko": "충전 헤드와 캡핑 토크를 점검하세요.",
            "en": "Check filling heads and capping torque.",
        },
    )


def test_a_ruleset_nobody_rated_reaches_what_the_formula_allows(filler):
    verdict = judge(filler, window(counts=FIVE_OF_HUNDRED))
    assert verdict.components == {"rule_confidence": 0.925, "match": 1.0, "quality": 1.0, "history": 0.75}


def test_a_quiet_window_is_normal_and_names_what_is_nearest_to_its_limit(filler):
    verdict = judge(filler, window())
    assert (verdict.decision, verdict.severity, verdict.confidence) == ("normal", "info", 0.885)
    assert verdict.summary["en"] == (
        "Normal: 6 applied checks passed. Nearest to its limit: Oil temperature 60 °C (limit 75 °C). "
        "6 of 6 checks passed, confidence 0.885."
    )
    assert verdict.alarms == ()


def test_the_fact_holds_all_of_the_verdict(filler):
    verdict = judge(filler, window(3, counts=FIVE_OF_HUNDRED))
    fact = msgspec.json.decode(msgspec.json.encode(judged(verdict)), type=Judged)
    assert fact == judged(verdict)
    assert (fact.at, fact.start, fact.work_unit) == (40 * S, 30 * S, "bottling/line-1/filler")
    assert (fact.ruleset, fact.ruleset_version, fact.ruleset_hash) == ("filler", "1.0.0", filler.hash)
    assert (fact.policy, fact.matched) == ("rule_only", ["defect_rate"])
    assert fact.inputs["counts.scrap"] == 5.0
    assert fact.context == Context(order="O-1", product="COLA-500", lot="L-7", shift="A")
    rate = next(check for check in fact.checks if check.name == "defect_rate")
    assert (rate.status, rate.value, rate.threshold, rate.unit) == ("critical", 5.0, 2.0, "P1")


def test_rows_are_tried_from_the_top_and_the_first_that_fits_answers(filler):
    juice = Context(product="JUICE-1000")
    assert judge(filler, window(counts=FIVE_OF_HUNDRED, context=juice)).status == "HIGH_DEFECT"
    three = {"produced": 100, "good": 97, "scrap": 3}
    assert judge(filler, window(counts=three, context=juice)).decision == "normal"
    assert judge(filler, window(counts=three)).status == "HIGH_DEFECT"
    moderate = judge(filler, window(counts={"produced": 1000, "good": 985, "scrap": 15}))
    assert (moderate.decision, moderate.status) == ("warning", "MODERATE_DEFECT")
    assert moderate.summary["en"].startswith("Warning: Defect rate 1.5 %, held against 1 % (MODERATE_DEFECT).")


# --- inputs that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"status": BAD}, "bad signal"),
        ({"age_ns": 42 * S}, "stale for 42 s"),
        ({"last": None, "mean": None}, "no values"),
    ],
)
def test_without_a_required_tag_the_decision_is_unknown_never_normal(filler, given, why):
    oil = replace(tag("oil_temperature", 60.0, unit="CEL", required=True), **given)
    verdict = judge(filler, window(tags=[oil]))
    assert (verdict.decision, verdict.needs_human, verdict.confidence) == ("unknown", True, 0.0)
    assert verdict.severity == "warning"
    assert f"oil_temperature ({why})" in verdict.summary["en"]
    assert [(alarm.alarm, alarm.active) for alarm in verdict.alarms] == [("inputs", True)]


def test_a_critical_finding_is_not_hidden_by_a_lost_sensor(filler):
    oil = tag("oil_temperature", 60.0, required=True, status=BAD)
    verdict = judge(filler, window(tags=[oil], counts=FIVE_OF_HUNDRED))
    assert (verdict.decision, verdict.severity) == ("unknown", "critical")
    assert {alarm.alarm for alarm in verdict.alarms} == {"inputs", "defect_rate"}
    assert "Also found: Defect rate 5 % (limit 2 %)" in verdict.summary["en"]


def test_a_stale_tag_nobody_requires_costs_confidence_and_is_named(filler):
    stale = tag("filling_pressure", 3.0, unit="BAR", age_ns=95 * S)
    verdict, fresh = judge(filler, window(tags=[stale])), judge(filler, window())
    assert verdict.decision == "normal"
    assert verdict.components["quality"] == pytest.approx(2 / 3, abs=1e-4)
    assert verdict.confidence < fresh.confidence
    assert "Inputs in doubt: filling_pressure (stale for 95 s)" in verdict.summary["en"]
    assert "filling_pressure (오래된 값 95초)" in verdict.summary["ko"]
    assert verdict.inputs["filling_pressure"] is None
    assert verdict.inputs["fault:filling_pressure"] == "stale"


def test_statistics_of_a_window_without_values_are_as_stale_as_the_last_one(filler):
    stale = tag("vibration", 2.0, count=0, age_ns=95 * S)
    assert judge(filler, window(tags=[stale])).inputs["vibration.max"] is None
    quiet = tag("vibration", 2.0, count=0)
    assert judge(filler, window(tags=[quiet])).inputs["vibration.max"] == 2.0


def test_a_value_outside_its_range_or_uncertain_is_used_but_trusted_less(filler):
    for doubtful in (
        tag("vibration", 2.0, status=UNCERTAIN),
        tag("vibration", 2.0, high=1.0),
    ):
        verdict = judge(filler, window(tags=[doubtful]))
        assert verdict.inputs["vibration.max"] == 2.0
        assert verdict.components["quality"] == pytest.approx(2 / 3, abs=1e-4)


def test_when_nothing_that_applies_could_be_checked_the_decision_is_unknown():
    rules = ruleset('[[rule]]\nname = "rate"\nwhen = "counts.scrap / counts.produced > 0.02"\nseverity = "warning"\n')
    verdict = judge(rules, window(counts={"produced": 0, "scrap": 0}, tags=[tag("oil_temperature", 60.0)]))
    assert (verdict.decision, verdict.source) == ("unknown", "none")
    assert verdict.summary["en"].startswith("No check could be made: rate (division by zero).")


def test_no_tag_of_a_type_nobody_expected_breaks_the_judge(filler):
    verdict = judge(filler, window(tags=[tag("vibration", "broken"), tag("filling_pressure", float("inf"))]))
    assert {f.check.name for f in verdict.findings if f.level == "unknown"} >= {"filling_pressure"}
    assert "filling_pressure" in verdict.inputs


# --- limits that remember ---------------------------------------------------------------------------------------------

LIMIT = """[[limit]]
name = "oil"
title = "Oil"
value = "oil_temperature"
warning_high = 75
critical_high = 85
hysteresis = 2
"""


def walk(rules, temperatures, **given):
    """Judge one window per temperature; give levels and the changes of alarms."""
    state, levels, changes = State(), [], []
    for number, oil in enumerate(temperatures):
        verdict = judge(rules, window(number, oil=oil, **given), state=state)
        state = restore(dump(verdict.state))
        levels.append(verdict.findings[0].level)
        changes += [(number, alarm.alarm, alarm.active, alarm.severity) for alarm in verdict.alarms]
    return levels, changes


def test_a_limit_comes_back_only_inside_its_hysteresis_and_its_alarm_is_told_once():
    levels, changes = walk(ruleset(LIMIT), [75.0, 75.1, 74.0, 73.1, 73.0, 72.9, 75.1])
    assert levels == ["ok", "warning", "warning", "warning", "ok", "ok", "warning"]
    assert changes == [(1, "oil", True, "warning"), (4, "oil", False, "warning"), (6, "oil", True, "warning")]


def test_a_value_that_only_hysteresis_holds_is_not_said_to_be_beyond_its_limit():
    rules = ruleset(LIMIT.replace("value =", 'unit = "CEL"\nwarning_low = 20\nvalue ='))
    for beyond, held, told in ((80.0, 74.0, ("above 75", "상한 75")), (15.0, 21.0, ("below 20", "하한 20"))):
        state = judge(rules, window(0, oil=beyond)).state
        said = judge(rules, window(1, oil=held), state=state).summary
        assert f"Oil is {held:g} °C; the warning {told[0]} °C stays until it is 2 °C inside." in said["en"]
        assert f"Oil {held:g} °C, 경고 {told[1]} °C 안으로 돌아왔으나 2 °C 안쪽까지는 유지됩니다." in said["ko"]


def test_a_limit_that_gets_worse_tells_the_new_severity():
    levels, changes = walk(ruleset(LIMIT), [80.0, 86.0, 84.0, 82.9, 60.0])
    assert levels == ["warning", "critical", "critical", "warning", "ok"]
    assert changes == [
        (0, "oil", True, "warning"),
        (1, "oil", True, "critical"),
        (3, "oil", True, "warning"),
        (4, "oil", False, "warning"),
    ]


def test_a_delay_waits_until_the_value_was_beyond_for_so_long():
    levels, _ = walk(ruleset(LIMIT + "delay_s = 20\n"), [80.0, 80.0, 60.0, 80.0, 80.0, 80.0, 86.0, 86.0, 86.0])
    assert levels == ["ok", "ok", "ok", "ok", "ok", "warning", "warning", "warning", "critical"]


def test_a_gap_between_windows_starts_a_delay_anew():
    rules = ruleset(LIMIT + "delay_s = 20\n")
    first = judge(rules, window(0, oil=80.0))
    assert judge(rules, window(5, oil=80.0), state=first.state).findings[0].level == "ok"


def test_hysteresis_of_one_side_does_not_hold_the_other():
    rules = ruleset(
        '[[limit]]\nname = "oil"\nvalue = "oil_temperature"\nwarning_low = 20\nwarning_high = 75\nhysteresis = 2\n'
    )
    assert walk(rules, [19.0, 74.0, 76.0, 21.0])[0] == ["warning", "ok", "warning", "ok"]


def test_an_unknown_value_leaves_the_alarm_as_it_was():
    rules = ruleset(LIMIT)
    up = judge(rules, window(0, oil=80.0))
    lost = judge(rules, window(1, tags=[tag("oil_temperature", 60.0, status=BAD)]), state=up.state)
    assert lost.alarms == ()
    assert judge(rules, window(2, oil=60.0), state=lost.state).alarms[0].active is False


def test_a_limit_that_does_not_apply_clears_its_alarm():
    rules = ruleset(LIMIT + "only_when = 'state == \"EXECUTE\"'\n")
    up = judge(rules, window(0, oil=80.0))
    stopped = judge(rules, window(1, oil=80.0, state="STOPPED"), state=up.state)
    assert stopped.decision == "normal"
    assert [(a.active, a.summary["en"]) for a in stopped.alarms] == [(False, "Oil: does not apply now.")]


def test_the_alarm_of_a_rule_that_is_gone_is_cleared():
    up = judge(ruleset(LIMIT), window(0, oil=80.0))
    other = judge(ruleset(LIMIT.replace('"oil"', '"other"')), window(1), state=up.state)
    assert [(a.alarm, a.active) for a in other.alarms] == [("oil", False)]


def test_a_rule_waits_its_delay_too_and_may_raise_no_alarm():
    rules = ruleset(
        '[[rule]]\nname = "hot"\nwhen = "oil_temperature > 70"\nseverity = "critical"\ndelay_s = 10\nalarm = false\n'
    )
    levels, changes = walk(rules, [80.0, 80.0, 60.0, 80.0])
    assert levels == ["ok", "critical", "ok", "ok"]
    assert changes == []


# --- merging ------------------------------------------------------------------------------------------------------------


def test_actions_are_told_once_most_urgent_first_and_stop_beats_continue():
    action = '[[rule.action]]\naction_type = "{}"\npriority = "{}"\nen = "{}"\n'
    rules = ruleset(
        '[[rule]]\nname = "a"\nwhen = "oil_temperature > 10.0"\nseverity = "warning"\n'
        + action.format("inspect", "low", "look")
        + action.format("continue", "immediate", "go on")
        + '[[rule]]\nname = "b"\nwhen = "vibration > 1.0"\nseverity = "critical"\n'
        + action.format("stop", "high", "stop")
        + action.format("inspect", "immediate", "look")
    )
    actions = judge(rules, window()).actions
    assert [(a["action_type"], a["priority"]) for a in actions] == [("inspect", "immediate"), ("stop", "high")]


def test_messages_name_product_lot_and_state_and_units_as_people_write_them():
    rules = ruleset(
        '[[rule]]\nname = "a"\nwhen = "true"\nseverity = "warning"\nvalue = "vibration"\nthreshold = 1.25\n'
        'message = { en = "{title}: {value} {unit} over {threshold} in {lot} of {product} ({state}, {shift})." }\n'
    )
    assert (
        judge(rules, window()).summary["en"].startswith("Warning: a: 2 mm/s over 1.25 in L-7 of COLA-500 (EXECUTE, A).")
    )


# --- confidence ---------------------------------------------------------------------------------------------------------


def test_history_leans_on_three_quarters_while_there_are_few_ratings():
    assert history(0, 0) == 0.75
    assert history(1, 1) == pytest.approx(1.0 * 0.1 + 0.75 * 0.9)
    assert history(0, 5) == pytest.approx(0.75 * 0.5)
    assert history(8, 10) == 0.8
    assert history(0, 40) == 0.0


@pytest.mark.parametrize(
    ("failing", "severity", "match"), [(1, "critical", 0.8875), (1, "warning", 0.7875), (0, "info", 0.9)]
)
def test_match_strength_follows_the_share_of_checks_that_passed(failing, severity, match):
    rules = "".join(
        f'[[rule]]\nname = "r{n}"\nwhen = "{"true" if n < failing else "false"}"\nseverity = "{severity}"\n'
        for n in range(4)
    )
    assert judge(ruleset(rules), window()).components["match"] == match


def test_every_applied_part_of_the_formula_is_in_the_components(filler):
    parts = judge(filler, window(), history_accuracy=0.5).components
    assert parts["rule_confidence"] == round(0.4 * parts["match"] + 0.3 * parts["quality"] + 0.3 * 0.5, 3)


# --- the same twice -------------------------------------------------------------------------------------------------------

numbers = st.one_of(st.floats(-200, 200, allow_nan=False), st.none())


@st.composite
def windows(draw, number=0):
    tags = [
        tag(
            name,
            draw(numbers),
            status=draw(st.sampled_from([0, UNCERTAIN, BAD])),
            age_ns=draw(st.sampled_from([S, 40 * S])),
            required=draw(st.booleans()),
        )
        for name in ("oil_temperature", "filling_pressure", "vibration")
    ]
    produced = draw(st.integers(0, 200))
    scrap = draw(st.integers(0, produced))
    return window(
        number,
        tags=tags,
        state=draw(st.sampled_from(["EXECUTE", "STOPPED"])),
        context=Context(product=draw(st.sampled_from([None, "COLA-500", "JUICE-1000"]))),
        counts=draw(st.sampled_from([{}, {"produced": produced, "good": produced - scrap, "scrap": scrap}])),
    )


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[windows(number) for number in range(4)]), st.floats(0, 1))
def test_whatever_comes_the_verdict_is_sound_and_the_same_twice(seen, accuracy):
    rules = ruleset(EXAMPLE.read_text().split("policy", 1)[1].split("\n", 1)[1])
    state, up = State(), set()
    for one in seen:
        verdict = judge(rules, one, state=state, history_accuracy=accuracy)
        again = judge(rules, one, state=restore(dump(state)), history_accuracy=accuracy)
        assert msgspec.json.encode([judged(verdict), list(verdict.alarms)]) == msgspec.json.encode(
            [judged(again), list(again.alarms)]
        )
        assert dump(verdict.state) == dump(again.state)
        blind = any(
            t.required and (t.status == BAD or t.last is None or t.age_ns > t.max_age_ns) for t in one.tags.values()
        )
        assert not blind or verdict.decision == "unknown"
        assert verdict.needs_human == (verdict.decision in {"unknown", "critical"} or verdict.confidence < 0.7)
        assert 0 <= verdict.confidence <= 1
        levels = {finding.level for finding in verdict.findings}
        assert verdict.decision != "normal" or not levels & {"warning", "critical"}
        for alarm in verdict.alarms:
            assert alarm.active or alarm.alarm in up, "cleared what was not up"
            up = up | {alarm.alarm} if alarm.active else up - {alarm.alarm}
        assert up == set(verdict.state.alarms)
        for text in verdict.summary.values():
            assert 1 <= len(re.findall(r"\.(?: |$)", text)) <= 4
            assert "{" not in text
        state = verdict.state


def test_another_process_gives_the_same_bytes(filler):
    program = (
        "import sys, msgspec; from tests.edge.judgment.conftest import EXAMPLE, TAGS, window;"
        "from models.expression import window_environment; from models.rulesets import load;"
        "from edge.judgment import gather, judge, judged;"
        "r = load(EXAMPLE, window_environment(TAGS));"
        "v = judge(r, gather(r, window(oil=88.5, counts={'produced': 100, 'scrap': 5})));"
        "sys.stdout.buffer.write(msgspec.json.encode([judged(v), list(v.alarms)]))"
    )
    verdict = judge(filler, window(oil=88.5, counts={"produced": 100, "scrap": 5}))
    here = msgspec.json.encode([judged(verdict), list(verdict.alarms)])
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert there.stdout == here


def test_the_verdict_id_follows_rules_window_and_inputs(filler):
    plain = judge(filler, window()).verdict_id
    assert re.fullmatch("[0-9a-f]{32}", plain)
    assert judge(filler, window()).verdict_id == plain
    assert judge(filler, window(1)).verdict_id != plain
    assert judge(filler, window(oil=60.5)).verdict_id != plain
    assert judge(filler, window(work_unit="bottling/line-2/filler")).verdict_id != plain
    assert judge(ruleset(LIMIT), window()).verdict_id != plain


def test_a_checkpoint_of_something_else_is_refused():
    with pytest.raises(msgspec.DecodeError):
        restore(b"[]")
    assert restore(None) == State()
