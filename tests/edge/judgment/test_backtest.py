"""A back-test in columns says of every window what `judge` says, with the record's memory and with its own."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from edge.judgment import gather, judge, judged
from edge.judgment.backtest import evaluate
from edge.judgment.names import LineNames
from edge.judgment.past import Past
from edge.judgment.replay import Bundle, replay
from edge.judgment.state import State
from models.expression import window_environment
from models.rulesets import load
from sync.facts import Context, Judged
from tests.edge.judgment.conftest import TAGS, S, tag, window

BAD = 0x8000_0000
LINE = "bottling/line-1/filler"
NAMES = LineNames(
    work_unit=LINE, tags=TAGS, units={name: {"oil_temperature": "CEL", "filling_pressure": "BAR", "vibration": "C16"}.get(name) for name in TAGS}, required=["oil_temperature"],
    ranges={"oil_temperature": (0.0, 150.0)},
)  # fmt: skip
ENVIRONMENT = window_environment(TAGS)


def windows(seed: int, count: int, lines: int = 1):
    """Give windows of a history in which everything happens: gaps, a clock set back, bad, stale and missing inputs."""
    draw = random.Random(seed)
    made = []
    for line in range(lines):
        number, oil, vibration = draw.randrange(5), 60.0, 2.0
        for _ in range(count):
            number += draw.choice([1, 1, 1, 1, 1, 1, 2, 5, -1])
            oil = min(max(oil + draw.choice([-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0]), 40.0), 160.0)
            vibration = min(max(vibration + draw.choice([-1.0, -0.5, 0.0, 0.5, 1.0]), 0.0), 12.0)
            fault = draw.random()
            sick = {"status": BAD} if fault < 0.06 else {"age_ns": 40 * S} if fault < 0.1 else {}
            produced = draw.choice([0, 0, 50, 100])
            scrap = draw.choice([0, 0, 1, 3, 5])
            made.append(
                window(
                    number,
                    work_unit=f"{LINE}{line or ''}",
                    tags=(
                        tag("oil_temperature", oil, unit="CEL", required=True, low=0.0, high=150.0, count=0 if sick else 10, **sick),
                        tag("vibration", vibration, unit="C16", **({"status": BAD} if draw.random() < 0.05 else {})),
                        tag("sku", draw.choice(["A", "B", "C"])),
                    ),
                    state=draw.choice(["EXECUTE", "EXECUTE", "EXECUTE", "HELD", "UNDEFINED"]),
                    context=Context(order="O-1", product=draw.choice(["COLA-500", "WATER", None]), lot="L-7", shift="A"),
                    counts={"produced": produced, "good": max(0, produced - scrap), "scrap": scrap},
                )
            )  # fmt: skip
    return made


def record(ruleset, seen, rated=(None,)) -> list[Judged]:
    """Judge windows as a line does and give the facts."""
    memory: dict[str, State] = {}
    facts = []
    for number, one in enumerate(seen):
        verdict = judge(
            ruleset,
            gather(ruleset, one, memory=memory.get(one.work_unit), history=rated[number % len(rated)]),
        )
        memory[one.work_unit] = verdict.state
        facts.append(judged(verdict))
    return facts


EXPRESSIONS = [
    "oil_temperature", "oil_temperature.mean", "vibration", "counts.produced", "100.0 * counts.scrap / counts.produced",
    "oil_temperature + 3.0 * vibration", "state == 'EXECUTE' ? vibration : 0.0",
]  # fmt: skip
CONDITIONS = [
    "oil_temperature > 80.0", "vibration > 5.0 && state == 'EXECUTE'", "counts.produced == 0.0",
    "context.product == 'COLA-500' || vibration > 6.0", "100.0 * counts.scrap / counts.produced > 2.0", "sku in ['A', 'B']",
    "!(state == 'HELD')",
]  # fmt: skip


PLAIN = ("limit", "limit", "rule", "table")
EVERY = (*PLAIN, "change", "stuck", "tree", "chart", "composite")


def ruleset_of(draw: random.Random, checks: int, kinds: tuple[str, ...] = EVERY):
    """Give a ruleset of random checks of these kinds, some with memory, gates, priorities and suppression."""
    parts = ['[ruleset]\nname = "r"\nversion = "1.0.0"\n']
    names = [f"c{i}" for i in range(checks)]
    # one condition that is info here and critical there would be refused as a contradiction
    severities = draw.choice([["info", "warning"], ["warning", "critical"]])
    for position, name in enumerate(names):
        common = f'name = "{name}"\n'
        if draw.random() < 0.4:
            common += f'only_when = "{draw.choice(CONDITIONS)}"\n'
        if draw.random() < 0.3:
            common += f"priority = {draw.randrange(100)}\n"
        if position and draw.random() < 0.25:
            common += f'suppressed_by = ["{draw.choice(names[:position])}"]\n'
        sure = f"confidence = {draw.choice([0.5, 0.75, 0.99])}\n" if draw.random() < 0.4 else ""
        delay = f"delay_s = {draw.choice([0, 0, 10, 20, 35])}\n"
        match draw.choice(kinds):
            case "limit":
                value = draw.choice(EXPRESSIONS)
                high = draw.choice([3.0, 5.0, 70.0, 80.0])
                both = f"warning_low = {high - 40}\n" if draw.random() < 0.5 else ""
                worse = f"critical_high = {high + draw.choice([1, 5, 10])}\n" if draw.random() < 0.6 else ""
                hysteresis = f"hysteresis = {draw.choice([0, 0, 1, 4])}\n"
                parts.append(
                    f'[[limit]]\n{common}value = "{value}"\nwarning_high = {high}\n{both}{worse}{hysteresis}{delay}{sure}'
                )
            case "rule":
                severity = draw.choice(severities)
                parts.append(
                    f'[[rule]]\n{common}when = "{draw.choice(CONDITIONS)}"\nseverity = "{severity}"\n{delay}{sure}'
                )
            case "change":
                parts.append(
                    f'[[change]]\n{common}value = "oil_temperature"\nper = "minute"\nover_s = {draw.choice([0, 20])}\n'
                    f"warning_up = {draw.choice([5, 20])}\ncritical_down = {draw.choice([10, 30])}\n{delay}{sure}"
                )
            case "stuck":
                parts.append(
                    f'[[stuck]]\n{common}value = "vibration"\nband = {draw.choice([0.0, 1.0])}\n'
                    f'for_s = {draw.choice([10, 30])}\nseverity = "warning"\n'
                )
            case "tree":
                parts.append(
                    f'[[tree]]\n{common}[[tree.node]]\nname = "hot"\nwhen = "oil_temperature > 75.0"\nyes = "shaking"\n'
                    'no = { severity = "info" }\n[[tree.node]]\nname = "shaking"\nwhen = "vibration > 4.0"\n'
                    'yes = { severity = "critical", confidence = 0.8 }\nno = { status = "WARNING" }\n'
                )
            case "chart":
                parts.append(
                    f'[[chart]]\n{common}kind = "{draw.choice(["individuals", "ewma", "cusum"])}"\nvalue = "oil_temperature.mean"\n'
                    'limits = { center = 65.0, sigma = 5.0, version = "1" }\n'
                )
            case "composite" if position > 1:
                members = ", ".join(f'"{one}"' for one in names[: draw.randrange(2, position + 1)])
                parts.append(
                    f'[[composite]]\n{common}{draw.choice(["any", "all"])} = [{members}]\nseverity = "critical"\n{delay}'
                )
            case _:
                parts.append(
                    f'[[table]]\n{common}[table.inputs]\noil = "oil_temperature"\nshake = "vibration"\n'
                    f'[[table.row]]\nwhen = {{ oil = "> 90", shake = "> 4" }}\nstatus = "CRITICAL"\n{sure}'
                    '[[table.row]]\nwhen = { oil = "> 70" }\nstatus = "WARNING"\n'
                    '[[table.row]]\nwhen = { shake = "> 9" }\nstatus = "OK"\nconfidence = 0.6\n'
                )
    return load("\n".join(parts), ENVIRONMENT)


def said(fact: Judged) -> tuple:
    return fact.decision, fact.severity, fact.confidence, fact.source, fact.status, fact.needs_human


def told(test, row: int) -> tuple:
    one = test.at(row)
    found = one.combined
    return found.decision, found.severity, found.confidence, found.source, one.status, found.needs_human


@settings(max_examples=80, deadline=None)
@given_by(seed=st.integers(0, 2**32))
def test_every_row_is_what_judge_says(seed):
    draw = random.Random(seed)
    seen = windows(seed, 60, lines=draw.choice([1, 2]))
    now, other = ruleset_of(draw, draw.randrange(1, 7)), ruleset_of(draw, draw.randrange(1, 7))
    facts = record(now, seen, rated=(None, 0.9, 1.0))
    past = Past(facts)
    own = evaluate(past, now, names=NAMES)
    assert [told(own, row) for row in range(past.rows)] == [said(fact) for fact in facts], "its own rules"
    alive = evaluate(past, now, names=NAMES, memory="continuous")
    assert [told(alive, row) for row in range(past.rows)] == [said(fact) for fact in facts], "its own memory"
    for names in (NAMES, None):
        again = [said(replay(fact, Bundle(ruleset=other, names=names)).fact) for fact in facts]
        test = evaluate(past, other, names=names)
        assert [told(test, row) for row in range(past.rows)] == again, "other rules, the record's memory"


@settings(max_examples=30, deadline=None)
@given_by(seed=st.integers(0, 2**32))
def test_a_ruleset_that_lived_through_history_says_what_it_would_have_said(seed):
    """Recorded by rules that read everything, judged by others with a memory of their own: as if they had judged."""
    draw = random.Random(seed)
    seen = windows(seed, 60)
    everything = load(
        '[ruleset]\nname = "all"\nversion = "1.0.0"\n'
        + "".join(f'[[rule]]\nname = "e{i}"\nwhen = "({e}) > 1.0"\nseverity = "info"\n' for i, e in enumerate((*EXPRESSIONS, "oil_temperature.count")))
        + "".join(f'[[rule]]\nname = "k{i}"\nwhen = "{e}"\nseverity = "info"\n' for i, e in enumerate(CONDITIONS)),
        ENVIRONMENT,
    )  # fmt: skip
    candidate = ruleset_of(draw, draw.randrange(1, 7))
    test = evaluate(Past(record(everything, seen)), candidate, names=NAMES, memory="continuous")
    assert [told(test, row) for row in range(len(seen))] == [said(fact) for fact in record(candidate, seen)]


@settings(max_examples=30, deadline=None)
@given_by(seed=st.integers(0, 2**32), block=st.integers(1, 40))
def test_a_history_in_blocks_gives_the_answers_of_the_whole(seed, block):
    draw = random.Random(seed)
    rules = ruleset_of(draw, draw.randrange(1, 7))
    facts = record(rules, windows(seed, 60))
    before, blocks = None, []
    for start in range(0, len(facts), block):
        past = Past(facts[start : start + block])
        test = evaluate(past, rules, names=NAMES, memory="continuous", before=before)
        before = test.memory
        blocks += [told(test, row) for row in range(past.rows)]
    assert blocks == [said(fact) for fact in facts]


def test_rows_that_decide_themselves_are_not_stepped_through(filler):
    facts = record(filler, windows(7, 200))
    test = evaluate(Past(facts), filler, names=NAMES, memory="continuous")
    assert sum(test.stepped.values()) < 200 * len(filler.checks)
    assert test.confidences().tolist() == [fact.confidence for fact in facts]
    assert test.decisions().tolist() == [fact.decision for fact in facts]


def test_verdicts_of_form_one_are_counted_and_left_out(filler):
    facts = record(filler, windows(3, 3))
    old = [msgspec.structs.replace(fact, form=1) for fact in facts[:1]]
    past = Past(old + facts[1:])
    assert (past.rows, past.unrepeatable) == (2, 1)


def test_a_past_without_verdicts_is_judged_too(filler):
    test = evaluate(Past([]), filler)
    assert test.decisions().tolist() == []
    assert np.array_equal(test.confidences(), [])


@pytest.mark.parametrize("memory", ["recorded", "continuous"])
def test_a_missing_input_is_unknown_in_columns_too(memory, filler):
    """The recorded rules read no vibration: a candidate that needs it cannot say."""
    narrow = load('[ruleset]\nname = "n"\nversion = "1.0.0"\n[[limit]]\nname = "oil"\nvalue = "oil_temperature"\nwarning_high = 70\n', ENVIRONMENT)  # fmt: skip
    shaky = load('[ruleset]\nname = "s"\nversion = "1.0.0"\n[[limit]]\nname = "shake"\nvalue = "vibration"\nwarning_high = 1\n', ENVIRONMENT)  # fmt: skip
    test = evaluate(Past(record(narrow, windows(1, 5))), shaky, names=NAMES, memory=memory)
    assert set(test.decisions().tolist()) == {"unknown"}
