"""Ruleset files: what the example means, and what every fault is told as."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import window_environment
from models.policy import PolicySettings
from models.rulesets import Limit, Rule, RulesetError, Table, load, load_document

EXAMPLE = Path(__file__).parents[2] / "models" / "examples" / "filler.toml"
ENVIRONMENT = window_environment({"oil_temperature": "float32", "filling_pressure": "float32", "vibration": "float32"})

HEAD = '[ruleset]\nname = "r"\nversion = "1.0.0"\n'
LIMIT = '[[limit]]\nname = "oil"\nvalue = "oil_temperature"\nwarning_high = 70\n'
RULE = '[[rule]]\nname = "hot"\nwhen = "oil_temperature > 70"\nseverity = "warning"\n'
TABLE = """[[table]]
name = "rates"
inputs = { rate = "counts.scrap / counts.produced", product = "context.product" }
value = "rate"
[[table.row]]
when = { rate = "> 0.02", product = "A" }
severity = "critical"
[[table.row]]
when = { rate = ">= 0.01 && < 0.02" }
severity = "warning"
"""


def told(text: str) -> str:
    with pytest.raises(RulesetError) as error:
        load(text, ENVIRONMENT)
    return str(error.value)


def test_the_example_is_a_good_ruleset():
    ruleset = load(EXAMPLE, ENVIRONMENT)
    assert (ruleset.name, ruleset.version, ruleset.policy) == ("filler", "1.0.0", "rule_only")
    assert ruleset.title == {"ko": "충전기 기본 규칙", "en": "Filler basics"}
    assert {(check.name, type(check)) for check in ruleset.checks} == {
        ("oil_temperature", Limit),
        ("filling_pressure", Limit),
        ("vibration", Limit),
        ("defect_rate", Table),
        ("reject_streak", Rule),
        ("cooling_lost", Rule),
    }
    assert ruleset.tags == ("oil_temperature", "filling_pressure", "vibration")
    oil = ruleset.checks[0]
    assert (oil.hysteresis, oil.delay_ns, oil.unit) == (2.0, 10_000_000_000, "CEL")


def test_the_hash_is_of_the_content_not_of_its_spaces():
    text = EXAMPLE.read_text()
    first = load(text, ENVIRONMENT).hash
    assert first == load(EXAMPLE, ENVIRONMENT).hash
    assert (
        first == load(text.replace("# ", "#  ").replace("warning_high = 75", "warning_high   =  75"), ENVIRONMENT).hash
    )
    assert first != load(text.replace("warning_high = 75", "warning_high = 76"), ENVIRONMENT).hash


def test_a_file_without_new_keys_keeps_the_hash_it_always_had():
    """Computed by the first version of the form; what these lines mean has not changed since."""
    assert load(HEAD + LIMIT, ENVIRONMENT).hash == "88b31e4fb25e5513267aaafaeebefedf788176a06c63e62269d8789d7c96b0ae"


def test_the_head_says_how_rules_and_model_are_weighed():
    plain = load(HEAD + LIMIT, ENVIRONMENT)
    assert (plain.policy, plain.settings, plain.model) == ("rule_only", PolicySettings(), None)
    keys = (
        'policy = "escalate"\nsafety_first = false\nweights = { rule = 1, ml = 3 }\ngate = 0.8\naccept = 0.6\n'
        "escalate = 0.75\nescalated = 0.5\nreview = 0.9\ncache_s = 60\ndrifted_aside = true\n"
    )
    ruleset = load(HEAD + keys + '[model]\nname = "wear-1"\n' + LIMIT, ENVIRONMENT)
    assert ruleset.model == "wear-1"
    assert ruleset.settings == PolicySettings(
        policy="escalate", safety_first=False, rule_weight=1.0, ml_weight=3.0, gate=0.8, accept=0.6, escalate=0.75,
        escalated=0.5, review=0.9, cache_s=60.0, drifted_aside=True,
    )  # fmt: skip
    assert load_document(ruleset.document, ENVIRONMENT).settings == ruleset.settings
    asked_by_none = load(HEAD + '[model]\nname = "wear"\n' + LIMIT, ENVIRONMENT)
    assert asked_by_none.model is None
    assert "policy rule_only asks no model" in str(asked_by_none.warnings[0])


def test_what_was_kept_and_is_no_ruleset_is_refused():
    for kept in ("{", "[]", "{}", '{"ruleset": {"name": "r"}}'):
        with pytest.raises(RulesetError):
            load_document(kept, ENVIRONMENT)


def test_a_known_status_carries_its_severity():
    ruleset = load(HEAD + RULE.replace('severity = "warning"', 'status = "STOP_LINE"'), ENVIRONMENT)
    assert ruleset.checks[0].outcome.severity == "critical"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the table [ruleset] is missing; it holds name and version"),
        (HEAD, "1:1: there is nothing to judge by; add a [[limit]], [[table]] or [[rule]]"),
        ("[ruleset\n", "1:9: not TOML: Expected ']' at the end of a table declaration; check quotes and brackets"),
        (HEAD + HEAD, "4:9: not TOML: Cannot declare ('ruleset',) twice"),
        (HEAD + LIMIT + "[[rulle]]\nx = 1\n", "8:1: unknown table 'rulle'; nearest is rule"),
        (HEAD + '[limit]\nname = "x"\n', "4:1: [limit] must be [[limit]]; each stands in double brackets"),
        ('[ruleset]\nname = "r"\n' + LIMIT, "1:1: ruleset: 'version' is missing"),
        (HEAD.replace("1.0.0", "1") + LIMIT, "3:1: ruleset, version: '1' is not of the form needed; three numbers"),
        (
            HEAD + 'policy = "hybrid_gate"\n' + LIMIT,
            "4:1: ruleset, policy: policy 'hybrid_gate' asks a model, and none is named; add [model] with name",
        ),
        (HEAD + 'policy = "both"\n' + LIMIT, "4:1: ruleset, policy: input should be 'rule_only', 'ml_only',"),
        (HEAD + "gate = 1.5\n" + LIMIT, "4:1: ruleset, gate: input should be less than or equal to 1, not 1.5"),
        (HEAD + "weights = { rule = 0, ml = 0 }\n" + LIMIT, "rule and ml are both 0; give one of them weight"),
        (HEAD + "[model]\nname = 5\n" + LIMIT, "5:1: model, name: input should be a valid string, not 5"),
        (HEAD + LIMIT + "priority = 101\n", "8:1: limit oil, priority: input should be less than or equal to 100"),
        (HEAD + 'titel = "x"\n' + LIMIT, "4:1: ruleset: unknown key 'titel'"),
        (HEAD + LIMIT + "hysterisis = 1\n", "8:1: limit oil: unknown key 'hysterisis'; nearest is hysteresis"),
        (HEAD + LIMIT.replace("warning_high = 70\n", ""), "limit oil: a limit needs a threshold: critical_low"),
        (HEAD + LIMIT + "critical_high = 60\n", "limit oil: warning_high 70 is not below critical_high 60"),
        (
            HEAD + LIMIT + "warning_low = 69\nhysteresis = 1\n",
            "leaves nothing between warning_low 69 and warning_high 70",
        ),
        (
            HEAD + LIMIT.replace("70", '"hot"'),
            "7:1: limit oil, warning_high: input should be a valid number, not 'hot'",
        ),
        (HEAD + LIMIT.replace("70", "nan"), "7:1: limit oil, warning_high: input should be a finite number, not nan"),
        (
            HEAD + LIMIT + "delay_s = -1\n",
            "8:1: limit oil, delay_s: input should be greater than or equal to 0, not -1",
        ),
        (HEAD + LIMIT + 'unit = "degC"\n', "8:1: limit oil, unit: 'degC' is not of the form needed; a UNECE code"),
        (HEAD + LIMIT.replace('"oil"', '"Oil 1"'), "5:1: limit Oil 1, name: 'Oil 1' is not of the form needed"),
        (HEAD + LIMIT.replace('"oil"', '"inputs"'), "limit inputs, name: 'inputs' is the alarm for inputs"),
        (HEAD + LIMIT + LIMIT, "9:1: limit oil: this name is taken; line 5 has it already"),
        (
            HEAD + LIMIT + 'message = { en = "{vaule}" }\n',
            "limit oil, message, en: {vaule} is no placeholder; there are {value}",
        ),
        (HEAD + LIMIT + 'message = { en = "{value" }\n', "8:13: limit oil, message, en:"),
        (HEAD + LIMIT + "message = {}\n", "8:1: limit oil, message: give ko, en or both"),
        (
            HEAD + LIMIT + 'action = [{ action_type = "explode", en = "x" }]\n',
            "limit oil, action, action_type: input should be",
        ),
        (
            HEAD + LIMIT + 'action = [{ action_type = "stop" }]\n',
            "limit oil, action: say what to do: give ko, en or both",
        ),
        (
            HEAD + LIMIT.replace("oil_temperature", "oil_temprature"),
            "6:10: limit oil, value: unknown name oil_temprature; nearest is oil_temperature",
        ),
        (
            HEAD + LIMIT.replace('"oil_temperature"', '"oil_temperature > 5"'),
            "6:26: limit oil, value: gives bool, but a number (double) is needed here",
        ),
        (HEAD + LIMIT + 'only_when = "state = 5"\n', "8:20: limit oil, only_when: unexpected character '='; write =="),
        (
            HEAD + LIMIT + 'only_when = """\nstate ==\n  5"""\n',
            "9:7: limit oil, only_when: `==` cannot compare string with int",
        ),
        (HEAD + RULE.replace('severity = "warning"\n', ""), "rule hot: severity is missing: add severity = 'info'"),
        (
            HEAD + RULE.replace('severity = "warning"', 'status = "ODD"'),
            "rule hot: severity is missing: status 'ODD' says nothing about it; add severity",
        ),
        (HEAD + RULE + 'status = "HIGH_DEFECT"\n', "status 'HIGH_DEFECT' means critical, but severity says warning"),
        (
            HEAD + RULE + "confidence = 1.2\n",
            "8:1: rule hot, confidence: input should be less than or equal to 1, not 1.2",
        ),
        (
            HEAD + TABLE.replace('value = "rate"', 'value = "rat"'),
            "7:10: table rates, value: 'rat' is no input; nearest is rate",
        ),
        (
            HEAD + TABLE.replace('rate = "> 0.02"', 'rat = "> 0.02"'),
            "9:17: table rates, row, 0, when, rat: 'rat' is no input of this table; nearest is rate",
        ),
        (
            HEAD + TABLE.replace('"> 0.02"', "\"> 'a'\""),
            "9:18: table rates, row, 0, when, rate: `>` cannot compare double with string",
        ),
        (
            HEAD + TABLE.replace('product = "A"', "product = 5"),
            "table rates, row, 0, when, product: `==` cannot compare string",
        ),
        (HEAD + TABLE.replace('">= 0.01 && < 0.02"', '">= 0.01 && 0.02"'), "a cell's test begins with a comparison"),
        (
            HEAD + TABLE.replace('{ rate = "> 0.02", product = "A" }', '{ rate = "-" }'),
            "12:1: table rates, row 2: row 2 can never answer; row 1 fits always",
        ),
        (HEAD + TABLE.split("[[table.row]]", maxsplit=1)[0], "4:1: table rates: 'row' is missing"),
    ],
)
def test_a_fault_is_told_with_its_place_and_what_to_check(text, expected):
    assert expected in told(text)


def test_all_faults_are_told_at_once_in_the_order_of_the_file():
    text = (
        HEAD.replace("1.0.0", "one")
        + LIMIT.replace("oil_temperature", "oil").replace("70", "true")
        + RULE.replace("oil_temperature", "oel_temperature")
        + TABLE.replace("counts.scrap", "counts.scraps").replace('product = "A"', 'prodct = "A"')
    )
    lines = [line.removeprefix("ruleset:").split(":")[0] for line in told(text).split("\n")]
    assert lines == ["3", "6", "7", "10", "14", "17"]


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(RulesetError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", ENVIRONMENT)
    broken = tmp_path / "latin.toml"
    broken.write_bytes(b'[ruleset]\nname = "\xe4"\n')
    with pytest.raises(RulesetError, match=r"latin.toml:2:1: is not UTF-8; save the file as UTF-8"):
        load(broken, ENVIRONMENT)
    with pytest.raises(RulesetError, match="bytes; at most"):
        load("#" * 300_000, ENVIRONMENT)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_never_more(data):
    text = EXAMPLE.read_text()
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 40))
    text = text[:at] + data.draw(st.text(max_size=8)) + text[at + length :]
    try:
        ruleset = load(text, ENVIRONMENT)
    except RulesetError as error:
        places = [(fault.line, fault.column) for fault in error.faults]
    else:
        places = [(1, 1)] * len(ruleset.checks)
    assert places
    assert min(places) >= (1, 1)


@pytest.mark.parametrize("text", ["a" + ".a" * 5_000 + " = 1", "[x." + ".".join("a" * 3_000) + "]\nb = 1"])
def test_a_key_of_a_thousand_dots_is_a_fault_like_any_other(text: str):
    with pytest.raises(RulesetError, match="nested more than 32 deep; look for a key with many dots"):
        load(text, window_environment({}))
