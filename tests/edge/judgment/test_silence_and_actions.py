"""What findings say of themselves, who is silenced, and what is recommended."""

from __future__ import annotations

import msgspec

from edge.judgment import gather, judged
from edge.judgment.result import result
from sync.facts import Context
from tests.edge.judgment.conftest import tag, window
from tests.edge.judgment.test_models_part import LIMIT, run, under


def test_braces_that_are_meant_stay_and_placeholders_are_filled():
    rules = under(
        "rule_only",
        rules='[[rule]]\nname = "a"\nwhen = "true"\nseverity = "warning"\nmessage = { en = "{{x}} {title} in {lot}", ko = "{lot}" }\n',
    )
    verdict = run(rules, window(context=Context(lot="{value} {boom} {")))
    assert verdict.summary["en"].startswith("Warning: {x} a in {value} {boom} {")


def test_a_composite_names_its_members_and_a_tree_its_way():
    rules = under(
        "rule_only",
        rules=LIMIT + '[[rule]]\nname = "shaking"\nwhen = "vibration > 4.5"\nseverity = "warning"\n'
        '[[composite]]\nname = "both"\ntitle = "Hot {and} shaking"\nall = ["oil", "shaking"]\nseverity = "critical"\n',
    )
    verdict = run(rules, window(oil=80.0, tags=[tag("vibration", 5.0)]))
    assert verdict.summary["en"].startswith(
        "Critical: Hot {and} shaking: the condition holds (oil, shaking). Also found: Oil 80 °C (limit 75 °C), shaking."
    )
    assert "경고" not in verdict.summary["ko"].split(".")[0]


STOP = '[[{kind}.action]]\naction_type = "stop"\nen = "stop {kind}"\n'


def test_a_silenced_finding_decides_alarms_and_recommends_nothing_and_stays_in_the_record():
    silenced = (
        '[[rule]]\nname = "shaking"\nwhen = "vibration > 4.5"\nseverity = "critical"\nconfidence = 0.3\nsuppressed_by = ["oil"]\n'
        + STOP.format(kind="rule")
    )
    rules = under("rule_only", rules=LIMIT + silenced)
    shaking = tag("vibration", 5.0)
    alone = run(rules, window(0, oil=60.0, tags=[shaking]))
    assert (alone.decision, [a["action_type"] for a in alone.actions]) == ("critical", ["stop"])
    both = run(rules, window(1, oil=80.0, tags=[shaking]), state=alone.state)
    assert (both.decision, both.severity, both.actions) == ("warning", "warning", ())
    assert both.confidence == run(under("rule_only"), window(1, oil=80.0)).confidence
    assert [(a.alarm, a.active) for a in both.alarms] == [("oil", True), ("shaking", False)]
    assert both.alarms[1].summary["en"] == "shaking: covered by oil."
    assert "shaking" not in both.summary["en"]
    checks = {check.name: check for check in judged(both).checks}
    assert (checks["shaking"].status, checks["shaking"].suppressed_by) == ("critical", "oil")
    again = run(rules, window(2, oil=60.0, tags=[shaking]), state=both.state)
    assert [(a.alarm, a.active) for a in again.alarms] == [("oil", False), ("shaking", True)]


def test_there_is_no_zero_below_zero_among_what_is_given():
    given = gather(under("rule_only"), window(oil=-0.0))
    assert msgspec.json.encode(given.values) == b'{"oil_temperature":0.0}'


def test_two_writes_are_two_actions_and_the_same_twice_is_one():
    write = '[[rule.action]]\naction_type = "{}"\nen = "slow down"\nwrite = {{ tag = "vibration", value = {} }}\n'
    rules = under(
        "rule_only",
        rules='[[rule]]\nname = "a"\nwhen = "true"\nseverity = "warning"\n'
        + write.format("parameter_adjust", 68.0) + write.format("parameter_adjust", 70.0) + write.format("parameter_adjust", 68.0),
    )  # fmt: skip
    actions = run(rules, window()).actions
    assert [(a["action_type"], a["tag"], a["value"]) for a in actions] == [
        ("parameter_adjust", "vibration", "68.0"),
        ("parameter_adjust", "vibration", "70.0"),
    ]
    assert [a["value"] for a in result(judged(run(rules, window())))["recommended_actions"]] == [68.0, 70.0]
