"""Rulesets in YAML: the same document and hash as in TOML, faults with their places, and nothing that is more than data."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models.expression import window_environment
from models.rulesets import RulesetError, load, load_document
from models.yaml_places import YamlError, read

EXAMPLE = Path(__file__).parents[2] / "models" / "examples" / "filler.toml"
ENVIRONMENT = window_environment({"oil_temperature": "float32", "filling_pressure": "float32", "vibration": "float32"})
RULES = """\
ruleset:
  name: r
  version: 1.0.0

limit:
  - name: oil           # a comment
    value: oil_temperature.mean
    warning_high: 75
    action:
      - {action_type: inspect, on: critical, en: Look}

tree:
  - name: bearing
    node:
      - name: shaking
        when: vibration.max > 4.5
        yes: {severity: critical}
        no: {severity: info}

rule:
  - name: hot
    when: >-
      oil_temperature > 80 &&
      vibration.max > 3
    severity: warning
"""


def told(text: str) -> str:
    with pytest.raises(RulesetError) as error:
        load(text, ENVIRONMENT, form="yaml")
    return str(error.value)


def test_yaml_and_toml_of_one_content_are_one_ruleset(tmp_path):
    document = tomllib.loads(EXAMPLE.read_text())
    path = tmp_path / "filler.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    first, second = load(EXAMPLE, ENVIRONMENT), load(path, ENVIRONMENT)
    assert read(path.read_text())[0] == document
    assert (first.hash, first.document) == (second.hash, second.document)
    assert first.checks == second.checks
    assert load_document(first.document, ENVIRONMENT).hash == first.hash


def test_words_that_yaml_1_1_takes_for_booleans_are_words():
    ruleset = load(RULES, ENVIRONMENT, form="yaml")
    assert [check.name for check in ruleset.checks] == ["oil", "hot", "bearing"]
    assert ruleset.checks[0].actions[0].on == "critical"
    assert read("a: {on: yes, n: 1.0.0, d: 2020-01-01, o: 0o17, f: 1e3, i: -5, t: true, q: '5'}")[0] == {
        "a": {"on": "yes", "n": "1.0.0", "d": "2020-01-01", "o": "0o17", "f": 1000.0, "i": -5, "t": True, "q": "5"}
    }


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("oil_temperature.mean", "oil_temprature.mean", "7:12: limit oil, value: unknown name oil_temprature.mean; nearest is"),
        ("oil_temperature.mean", '"oil_temperature.mean + staet"', "7:36: limit oil, value: unknown name staet; nearest is state"),
        ("75", "hot", "8:5: limit oil, warning_high: input should be a valid number, not 'hot'"),
        ("warning_high", "warning_hihg", "8:5: limit oil: unknown key 'warning_hihg'; nearest is warning_high"),
        ("on: critical", "on: hot", "10:32: limit oil, action, on: input should be 'warning' or 'critical', not 'hot'"),
        ("vibration.max > 4.5", "vibration.max >> 4.5", "16:30: tree bearing, node, 0, when: unexpected '>'"),
        (">-\n", "|\n", ""),
        ("vibration.max > 3", "vibration.mx > 3", "24:7: rule hot, when: unknown name vibration.mx"),
        ("tree:", "limit:", "12:1: 'limit' is there twice; remove one"),
        ("name: r\n", "name: &r r\n", "2:9: anchors and aliases are left out"),
        ("name: r\n", "name: !!str r\n", "2:9: tags are left out; write a plain text, number or boolean"),
        ("name: r\n", "name:\n", "2:8: there is no value here; write one, or leave the key out"),
        ("name: r\n", "name: [r\n", "3:10: not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ("limit:\n  - name: oil ", "limit:\n    name: oil ", "5:1: [limit] must be [[limit]]; each stands in double brackets (YAML: a list)"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(was, now, expected):
    text = RULES.replace(was, now, 1)
    assert text != RULES
    if was == "vibration.max > 3":  # the further lines of a block stand as they are in the file
        text = text.replace(">-", "|")
    if expected:
        assert expected in told(text)
    else:
        assert load(text, ENVIRONMENT, form="yaml").checks


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c]\n",  # billion laughs
        "a: " + "[" * 50_000,
        "a: " + "{b: " * 50_000,
        "a: !!python/object/apply:os.system ['true']",
        "<<: {a: 1}",
        "? [a, b]\n: c",
        "a: 1\n---\nb: 2",
        "a: " + "9" * 5_000,
        "a: \x00",
        "- a",
        "just a text",
        "a: 'open",
        "%TAG ! tag:example.com,2000:\n---\na: !x 1",
    ],
)
def test_what_is_more_than_data_is_refused(text):
    with pytest.raises(YamlError):
        read(text)
    assert told(text).startswith("ruleset:")


def test_big_and_deep_files_are_refused_in_both_forms():
    for form in ("yaml", "toml"):
        with pytest.raises(RulesetError, match="bytes; at most"):
            load("#" * 300_000, ENVIRONMENT, form=form)
    with pytest.raises(RulesetError, match="nested too deep to be read"):
        load("a = " + "[" * 100_000, ENVIRONMENT)
    with pytest.raises(RulesetError, match="not TOML"):
        load("a = " + "9" * 5_000, ENVIRONMENT)
    assert "the table [ruleset] is missing" in told("")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_never_more(data):
    at = data.draw(st.integers(0, len(RULES) - 1))
    length = data.draw(st.integers(0, 30))
    text = RULES[:at] + data.draw(st.text(max_size=8)) + RULES[at + length :]
    lines = sum(text.count(end) for end in "\n\r\x85\u2028\u2029") + 2
    try:
        load(text, ENVIRONMENT, form="yaml")
    except RulesetError as error:
        places = [(fault.line, fault.column) for fault in error.faults]
    else:
        places = [(1, 1)]
    assert places
    assert all(1 <= line <= lines and column >= 1 for line, column in places)


_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0xD7A3, exclude_characters="\x7f", exclude_categories=["Cc", "Cs"]),
    max_size=12,
)
_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(10**15), 10**15),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_TEXT, _VALUES, max_size=4))
def test_json_is_yaml_and_means_the_same(document):
    assert read(json.dumps(document, ensure_ascii=False))[0] == document
