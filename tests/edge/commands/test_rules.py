"""`triflow rules`: check, test and explain, with and without a tag book; what is wrong is said with its place."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.commands import rules_test
from edge.commands.rules import main
from edge.drivers.finding import texts
from models.expression import window_environment
from models.rulesets import load
from models.yaml_places import read
from tests.edge.judgment.conftest import TAGS

EXAMPLES = Path(__file__).parents[3] / "models" / "examples"
FILLER = str(EXAMPLES / "filler.toml")
PASTEURIZER = str(EXAMPLES / "pasteurizer.toml")
BOOK = """
title = "A machine"
[[tag]]
name = "speed"
address = "holding:0"
unit = "RPM"
low = 0
high = 3000
required = true
[[tag]]
name = "mode"
address = "holding:10"
type = "string"
length = 4
[[virtual]]
name = "slow"
value = "speed < 100.0"
"""
RULES = """
[ruleset]
name = "machine"
version = "1.0.0"
[[limit]]
name = "speed"
value = "speed"
unit = "RPM"
warning_high = 2500
[[rule]]
name = "slow"
when = 'slow && mode == "AUTO"'
severity = "critical"
delay_s = 10
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "book.toml").write_text(BOOK)
    (tmp_path / "rules.toml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


# --- the examples are the reference of the form


@pytest.mark.parametrize("name", ["filler.toml", "pasteurizer.toml", "pasteurizer.yaml"])
def test_the_examples_are_good_and_nothing_in_them_is_suspicious(name, capsys):
    assert main(["check", str(EXAMPLES / name), "--strict"]) == 0
    told = capsys.readouterr()
    assert f"{name}: good: " in told.out
    assert told.err == ""


def test_the_example_in_yaml_is_the_one_in_toml():
    document = tomllib.loads((EXAMPLES / "pasteurizer.toml").read_text())
    assert read((EXAMPLES / "pasteurizer.yaml").read_text())[0] == document


def test_the_cases_of_the_example_are_as_expected(capsys):
    assert main(["test", PASTEURIZER, str(EXAMPLES / "pasteurizer_cases.toml")]) == 0
    assert "6 case(s), 6 as expected, 0 not" in capsys.readouterr().out


# --- check


def test_check_says_what_it_holds_and_that_names_were_guessed(folder, capsys):
    put(folder, "rules.toml", RULES.replace("slow && ", "!slow && "))
    assert main(["check", "rules.toml"]) == 0
    assert "2 checks (1 limit, 1 rule), rule_only" in (told := capsys.readouterr().out)
    assert "names of tags were taken as they are" in told
    assert main(["check", "rules.toml", "--book", "book.toml"]) == 0
    assert "taken as they are" not in capsys.readouterr().out


def test_check_with_a_book_knows_names_types_units_and_ranges(folder, capsys):
    put(folder, "rules.toml", RULES.replace("2500", "3500").replace("mode ==", "mood =="))
    assert main(["check", "rules.toml", "--book", "book.toml"]) == 78
    assert "rules.toml:12:17: rule slow, when: unknown name mood; nearest is mode" in (told := capsys.readouterr().err)
    assert told.endswith("1 fault(s)\n")
    put(folder, "rules.toml", RULES.replace("2500", "3500"))
    assert main(["check", "rules.toml", "--book", "book.toml"]) == 0
    assert "limit speed, warning_high: speed has no good value beyond 3500" in capsys.readouterr().err
    assert main(["check", "rules.toml", "--book", "book.toml", "--strict"]) == 1
    capsys.readouterr()
    put(folder, "rules.toml", RULES.replace('"RPM"', '"CEL"'))
    assert main(["check", "rules.toml", "--book", "book.toml"]) == 78
    assert "speed is RPM, not CEL" in capsys.readouterr().err


def test_check_as_a_program_reads_it(folder, capsys):
    assert main(["check", "rules.toml", "--book", "book.toml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["name"], told["faults"], told["warnings"]) == (True, "machine", [], [])
    assert told["checks"][1] == {"name": "slow", "kind": "rule", "priority": 0, "uses": ["slow", "mode"]}
    put(folder, "rules.toml", RULES.replace("warning_high = 2500", ""))
    assert main(["check", "rules.toml", "--json"]) == 78
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["faults"][0]["line"], told["faults"][0]["where"]) == (False, 5, "limit speed")
    assert main(["check", "rules.toml", "--book", "none.toml", "--json"]) == 78
    assert "cannot read it" in json.loads(capsys.readouterr().out)["faults"][0]["problem"]


def test_check_finds_the_line_of_a_site(folder, capsys):
    site = """
[gateway]
tenant = "t"
site = "s"
id = "g"
[[connection]]
name = "plc"
driver = "modbus"
host = "10.0.0.1"
[[line]]
work_unit = "area/line/filler"
connection = "plc"
book = "book.toml"
"""
    put(folder, "site.toml", site)
    assert main(["check", "rules.toml", "--site", "site.toml"]) == 0
    assert main(["check", "rules.toml", "--site", "site.toml", "--line", "area/line/filer"]) == 78
    assert "no line 'area/line/filer'" in capsys.readouterr().err


def test_a_file_that_is_not_there_and_a_word_that_is_none(folder, capsys):
    assert main(["check", "none.toml"]) == 78
    assert "cannot be read: No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as status:
        main(["chek", "rules.toml"])
    assert status.value.code == 2
    with pytest.raises(SystemExit) as status:
        main([])
    assert status.value.code == 2


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_explained_in_both_forms(folder, data):
    name = data.draw(st.sampled_from(["pasteurizer.toml", "pasteurizer.yaml"]))
    text = (EXAMPLES / name).read_text()
    at, length = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 60))
    put(folder, name, text[:at] + data.draw(st.text(max_size=6)) + text[at + length :])
    window = put(folder, "w.json", '{"tags": {"flow": 9.0, "holding_temperature": 70.0}}')
    for line in (["check", name], ["explain", name, "--window", window]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(line) in {0, 78}


# --- test

CASES = """
[given]
tags = { speed = 1000, mode = "AUTO" }
[[case]]
name = "runs"
expect = { decision = "normal", matched = [], alarms = [] }
[[case]]
name = "slow for ten seconds"
tags = { speed = 50 }
[[case.window]]
expect = { checks = { slow = "ok" } }
[[case.window]]
expect = { decision = "critical", matched = ["slow"], confidence_min = 0.8, severity = "critical" }
[[case]]
name = "after a pause the delay begins anew"
tags = { speed = 50 }
window = [{}, { pause_s = 60 }]
expect = { decision = "normal" }
[[case]]
name = "without its required tag nothing can be said"
tags = { speed = { quality = "bad" } }
expect = { decision = "unknown", needs_human = true, alarms = ["inputs"] }
"""


def test_cases_are_judged_one_window_after_the_other(folder, capsys):
    put(folder, "cases.toml", CASES)
    assert main(["test", "rules.toml", "cases.toml", "--book", "book.toml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "machine 1.0.0: 4 case(s), 4 as expected, 0 not"


def test_every_difference_is_told_with_what_was_said_instead(folder, capsys):
    wrong = CASES.replace(
        'matched = ["slow"], confidence_min = 0.8', 'matched = ["speed"], status = "SLOW", confidence = 0.1'
    )
    put(folder, "cases.toml", wrong)
    assert main(["test", "rules.toml", "cases.toml", "--book", "book.toml"]) == 1
    told = capsys.readouterr().out
    assert "FAIL  slow for ten seconds\n" in told
    assert "window 2, matched: expected [speed], got [slow]" in told
    assert "window 2, status: expected SLOW, got none" in told
    assert "window 2, confidence: expected 0.1, got 0." in told
    assert "window 2, it said: Critical: slow" in told
    assert told.splitlines()[-1] == "machine 1.0.0: 4 case(s), 3 as expected, 1 not"


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("speed = 1000", "sped = 1000", "cases.toml:3: given.tags: there is no tag 'sped'"),
        ('matched = ["slow"]', 'matched = ["slwo"]', "cases.toml:13: case[1].window[1].expect: there is no check 'slwo'"),
        ('decision = "normal", matched', 'decison = "normal", matched', "cases.toml:6: case[0].expect.decison: unknown key"),
        ('expect = { decision = "normal" }', "", "nothing is expected; add expect"),
        ('decision = "unknown"', 'decision = "bad"', "cases.toml:22: case[3].expect.decision"),
        ("[given]", "[given", "is not TOML"),
        ("pause_s = 60", "pause_s = -1", "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_cases_is_refused(folder, capsys, was, now, expected):
    assert was in CASES
    put(folder, "cases.toml", CASES.replace(was, now))
    assert main(["test", "rules.toml", "cases.toml", "--book", "book.toml"]) == 78
    assert expected in capsys.readouterr().err


def test_the_example_in_the_help_is_a_good_file_of_cases(folder, capsys):
    shown = (rules_test.__doc__ or "").split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    put(folder, "cases.toml", "\n".join(line.strip() for line in shown.splitlines()))
    assert main(["test", FILLER, "cases.toml"]) == 0, capsys.readouterr().out


def test_what_makes_state_and_counts_need_not_be_given_as_tags_too(folder, capsys):
    roles = """
[[tag]]
name = "state"
address = "holding:20"
type = "uint16"
role = "state"
required = true
[[tag]]
name = "made"
address = "holding:21"
type = "uint32"
role = "counter"
counter = "produced"
required = true
"""
    put(folder, "book.toml", BOOK + roles)
    window = put(folder, "window.toml", "counts = { produced = 5 }\ntags = { speed = 2600 }\n")
    assert main(["explain", "rules.toml", "--book", "book.toml", "--window", window, "--language", "en"]) == 0
    assert "Verdict: Warning" in capsys.readouterr().out
    window = put(folder, "window.toml", "counts = { produced = 5 }\n")
    assert main(["explain", "rules.toml", "--book", "book.toml", "--window", window, "--language", "en"]) == 0
    assert "cannot be judged, required inputs cannot be used: speed" in capsys.readouterr().out


def test_a_value_older_than_the_window_has_no_statistics_in_it(folder, capsys):
    put(folder, "rules.toml", RULES.replace('value = "speed"', 'value = "speed.mean"'))
    window = put(folder, "window.toml", "tags = { speed = { last = 2600, age_s = 45 } }\n")
    assert main(["explain", "rules.toml", "--window", window, "--check", "speed", "--language", "en"]) == 0
    assert "cannot be told - because of speed.mean stale" in capsys.readouterr().out


def test_a_case_may_say_what_the_model_says(folder, capsys):
    head = 'version = "1.0.0"\npolicy = "ml_only"'
    put(folder, "rules.toml", RULES.replace('version = "1.0.0"', head) + '[model]\nname = "wear"\n')
    cases = '[[case]]\nname = "m"\ntags = { speed = 50, mode = "AUTO" }\nmodel = { decision = "warning", confidence = 0.9 }\n'
    put(folder, "cases.toml", cases + 'expect = { decision = "warning", confidence = 0.9 }\n')
    assert main(["test", "rules.toml", "cases.toml", "--book", "book.toml"]) == 0, capsys.readouterr().out


# --- explain


def test_a_ruleset_is_said_in_both_languages_check_by_check(capsys):
    for language, words in (
        ("en", ["Watches holding_temperature.min.", "Critical below 72 °C.", "Critical control point (HACCP)", "yes: critical (BEARING_WEAR), 0.93"]),
        ("ko", ["감시 값: holding_temperature.min.", "72 °C 미만 시 위험.", "중요관리점(HACCP)", "예: 위험 (BEARING_WEAR), 0.93"]),
    ):  # fmt: skip
        assert main(["explain", PASTEURIZER, "--language", language]) == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words)
        for check in load(EXAMPLES / "pasteurizer.yaml", window_environment({**TAGS, **_named()})).checks:
            assert f"{check.title[language]} ({check.name})" in told


def _named() -> dict[str, str]:
    names = [
        "holding_temperature",
        "flow",
        "flow_setpoint",
        "pump_vibration",
        "pump_temperature",
        "raw_pressure",
        "product_pressure",
    ]
    return {**dict.fromkeys(names, "float64"), "divert_valve": "bool"}


def test_a_window_is_judged_and_the_way_told(folder, capsys):
    tags = {"pump_vibration": 5.0, "pump_temperature": 71.0, "holding_temperature": 74.0, "flow": 9.0}
    put(folder, "window.json", json.dumps({"tags": tags, "context": {"product": "CIP"}}))
    assert main(["explain", PASTEURIZER, "--window", "window.json", "--language", "en"]) == 0
    told = capsys.readouterr().out
    assert "Verdict: Critical: The pump's bearing seems worn: vibration 5 mm/s." in told
    assert (
        "Pump bearing (pump_bearing): critical - The pump's bearing seems worn: vibration 5 mm/s; way: shaking: yes → hot: yes"
        in told
    )
    assert "silenced by cleaning" in told
    assert "Sudden temperature change (cooling_down): cannot be told - because of not enough history yet" in told
    assert main(["explain", PASTEURIZER, "--window", "window.json", "--check", "gasket"]) == 0
    assert "판형 열교환기 개스킷 (gasket): 판단 불가" in (told := capsys.readouterr().out)
    assert "펌프" not in told


def test_what_waits_for_its_delay_says_so(folder, capsys):
    put(folder, "window.toml", 'tags = { speed = 50, mode = "AUTO" }\n')
    assert main(["explain", "rules.toml", "--book", "book.toml", "--window", "window.toml", "--language", "en"]) == 0
    assert "slow (slow): ok - beyond it, but not for long enough yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("w.json", "{", "w.json: is not JSON"),
        ("w.json", '{"tgas": {}}', "w.json: tgas: Extra inputs are not permitted"),
        ("w.toml", "tgas = {}", "w.toml:1: tgas: unknown key; did you mean 'tags'?"),
        ("w.toml", "tags = { speeed = 1.0 }", "w.toml: tags: there is no tag 'speeed'"),
    ],
)
def test_a_wrong_window_is_refused(folder, capsys, name, text, expected):
    put(folder, name, text)
    assert main(["explain", "rules.toml", "--book", "book.toml", "--window", name]) == 78
    assert expected in capsys.readouterr().err
    assert main(["explain", "rules.toml", "--book", "book.toml", "--window", "none.json"]) == 78
    assert main(["explain", "rules.toml", "--book", "book.toml", "--check", "sped"]) == 78
    assert "sped(이)라는 검사가 없습니다" in capsys.readouterr().err


def test_every_sentence_is_there_in_both_languages():
    told = {key: entry for key, entry in texts().items() if key.startswith("rules.")}
    assert told
    assert all(set(entry) == {"ko", "en"} and all(entry.values()) for entry in told.values())


def test_a_gateway_without_yaml_files_never_loads_the_parser():
    import subprocess

    script = "import sys, models.rulesets, edge.judgment; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert yaml.__version__
