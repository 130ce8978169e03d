"""A verdict judged again from its record alone is the same, byte for byte: in this process and in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.judgment import NotRepeatableError, State, asks_model, dump, gather, judge, judged, recalled, restore
from edge.judgment.given import Given, told
from models.policy import POLICIES
from sync.chunk import decode, encode_facts
from sync.facts import Context, Judged
from sync.judgment import Scored
from tests.edge.judgment.conftest import S, tag, window
from tests.edge.judgment.judged_again import COUNTERS, TAGS, again, ruleset, spoken

RULESETS = {policy: ruleset(policy) for policy in POLICIES}
STATUSES = st.sampled_from([0, 0, 0, 0x4000_0000, 0x8000_0000])
FLOATS = st.one_of(
    st.floats(-20, 120),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-7, 0.1 + 0.2, 1e15, 1e22, 1.7976931348623157e308, 75.0, 85.0]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
)
TEXTS = st.one_of(
    st.sampled_from(["A", "B", "개", "콜라", "", "{value}", "a.why", "x:y", '"\\\n']), st.text(max_size=8)
)


@st.composite
def windows(draw, number):
    tags = []
    for name, kind in TAGS.items():
        if draw(st.integers(0, 15)) == 0:
            continue
        last = draw(TEXTS if kind == "string" else FLOATS) if draw(st.integers(0, 15)) else None
        number_ = None if isinstance(last, str) else last
        spread = draw(st.sampled_from([0.0, 1.0, 4.0]))
        tags.append(
            replace(
                tag(name, None, unit=draw(st.sampled_from([None, "CEL", "C16", "P1", "C62"]))),
                last=last,
                first=last,
                mean=number_,
                min=None if number_ is None else number_ - spread,
                max=None if number_ is None else number_ + spread,
                stddev=spread,
                status=draw(STATUSES),
                age_ns=draw(st.sampled_from([0, S, 40 * S, 2**62])),
                count=draw(st.sampled_from([0, 10])),
                required=name in {"oil", "held"} and draw(st.integers(0, 9)) == 0,
                low=draw(st.sampled_from([None, 0.0])),
                high=draw(st.sampled_from([None, 100.0])),
            )
        )
    produced = draw(st.integers(0, 200))
    counts = {"produced": produced, "good": produced, "scrap": draw(st.integers(0, 9))}
    counts |= {name: draw(st.integers(0, 5)) for name in COUNTERS[3:] if draw(st.booleans())}
    seen = window(
        number,
        state=draw(st.sampled_from(["EXECUTE", "STOPPED", "UNDEFINED"])),
        context=Context(product=draw(st.none() | TEXTS), lot=draw(st.none() | TEXTS), stale=draw(st.booleans())),
        counts=counts,
    )
    return replace(seen, tags={t.name: t for t in tags})


UNIT = st.floats(0, 1)
answers = st.none() | st.builds(
    Scored,
    model=st.just("bearing_wear"),
    version=st.just("1.2.0"),
    sha256=st.sampled_from(["ab" * 32, "cd" * 32]),
    decision=st.sampled_from(["normal", "warning", "critical", "unknown", "dunno"]),
    confidence=st.one_of(UNIT, st.sampled_from([float("nan"), -1.0, 2.0])),
    label=st.none() | TEXTS,
    scores=st.dictionaries(TEXTS, FLOATS, max_size=2),
    features=st.dictionaries(TEXTS, st.none() | FLOATS, max_size=3),
    contributions=st.dictionaries(TEXTS, FLOATS, max_size=3),
    failure=st.sampled_from([None, None, None, "deadline", "error: {x}", "not_finite", "not_applicable: {state}"]),
    latency_us=st.integers(0, 10**6),
    drifted=st.booleans(),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.sampled_from(POLICIES),
    st.tuples(*[windows(number) for number in (0, 1, 2, 7)]),
    st.lists(answers, min_size=4, max_size=4),
    st.floats(0, 1),
)
def test_a_record_gives_the_verdict_again(policy, seen, scored, accuracy):
    rules, state = RULESETS[policy], State()
    for one, answer in zip(seen, scored, strict=True):
        stood_on = gather(rules, one, memory=state, history=accuracy)
        verdict = judge(rules, stood_on, scored=answer)
        fact = judged(verdict)
        record = msgspec.json.encode(fact)
        back = msgspec.json.decode(record, type=Judged)
        assert back == fact, "the record holds all of the fact"
        assert msgspec.json.encode(back) == record
        assert recalled(back) == stood_on
        assert spoken(again(rules, record)) == spoken(verdict)
        assert dump(again(rules, record).state) == dump(verdict.state)
        (travelled,) = decode(encode_facts([fact]), 1)
        assert msgspec.json.encode(travelled) == record
        if not asks_model(rules, stood_on):
            assert verdict.scored is None
            assert spoken(judge(rules, stood_on)) == spoken(verdict), "an answer nobody asked for changes nothing"
        for text in verdict.summary.values():
            assert text
        state = restore(dump(verdict.state))


def test_another_process_with_other_hashes_says_the_same():
    lines: list[str] = []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(POLICIES), st.tuples(windows(0), windows(1)), answers)
    def collect(policy, seen, answer):
        rules, state = RULESETS[policy], State()
        for one in seen:
            verdict = judge(rules, gather(rules, one, memory=state), scored=answer)
            fact = msgspec.json.encode(judged(verdict)).decode()
            lines.append(json.dumps({"policy": policy, "fact": fact, "spoken": spoken(verdict).decode()}))
            state = verdict.state

    collect()
    assert len(lines) >= 100
    for seed in ("1", "4711"):
        there = subprocess.run(
            [sys.executable, "-m", "tests.edge.judgment.judged_again"],
            input="\n".join(lines), env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=False, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert there.returncode == 0, there.stdout + there.stderr
        assert there.stdout.strip() == str(len(lines))


ANY = judged(judge(RULESETS["rule_only"], gather(RULESETS["rule_only"], window())))
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True)
values = st.one_of(st.none(), st.booleans(), st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False))
givens = st.builds(
    Given,
    work_unit=st.just(ANY.work_unit),
    start=st.just(0),
    end=st.just(10 * S),
    state=st.text(max_size=5),
    context=st.just(Context(product="콜라")),
    values=st.dictionaries(names, values, max_size=5),
    causes=st.dictionaries(names, st.sampled_from(["missing", "stale", "bad"]), max_size=3),
    faults=st.dictionaries(names, st.sampled_from(["missing", "stale", "out_of_range"]), max_size=3),
    ages=st.dictionaries(names, st.integers(0, 2**62), max_size=2),
    needed=st.integers(0, 500),
    blind=st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), max_size=3),
    units=st.dictionaries(names, st.sampled_from(["CEL", "C16"]), max_size=2),
    memory=st.builds(State, at=st.integers(0, 2**62), alarms=st.dictionaries(names, st.sampled_from(["warning", "critical"]))),
    history=st.floats(0, 1),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(givens)
def test_what_is_told_is_recalled_whatever_the_names(stood_on):
    fact = msgspec.structs.replace(ANY, state=stood_on.state, context=stood_on.context, inputs=told(stood_on))
    back = msgspec.json.decode(msgspec.json.encode(fact), type=Judged)
    assert recalled(back) == stood_on


@pytest.mark.parametrize(
    "broken",
    [{}, {"verdict:needed": 1.0}, {"verdict:needed": "x", "verdict:memory": "{}", "verdict:history": 1.0},
     {"verdict:needed": 1.0, "verdict:memory": 7.0, "verdict:history": 1.0},
     {"verdict:needed": 1.0, "verdict:memory": "[]", "verdict:history": 1.0},
     {"verdict:needed": 1.0, "verdict:memory": "{}", "verdict:history": None}],
)  # fmt: skip
def test_an_incomplete_record_is_named(broken):
    with pytest.raises(NotRepeatableError, match="its record is incomplete"):
        recalled(msgspec.structs.replace(ANY, inputs=broken))
    with pytest.raises(NotRepeatableError, match="before verdicts kept all their inputs"):
        recalled(msgspec.structs.replace(ANY, form=1))
