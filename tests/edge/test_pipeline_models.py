"""Windows that wait for their model, and virtual tags: one work unit, no clock, no I/O."""

from __future__ import annotations

import dataclasses

import pytest

from edge.judgment.asked import Asked
from edge.pipeline import LinePipeline
from edge.production import counters_of
from edge.tags import Tag
from models.expression import window_environment
from models.rulesets import load
from models.virtual import VirtualTag, compile_virtual
from models.window import Window
from sync.facts import Faulted, Judged
from sync.judgment import Scored
from tests.edge.test_pipeline import FIRST, MADE, OIL, RULES, SECOND, SPECS, feed, gained, verdicts

HYBRID = RULES.replace('policy = "rule_only"', 'policy = "hybrid_weighted"') + '\n[model]\nname = "wear"\n'
TAGS = [Tag(index=FIRST + i, work_unit="a/b/c", connection="x", address=s.address, spec=s) for i, s in enumerate(SPECS)]
TYPES = {s.name: s.type for s in SPECS}


def line(rules: str = HYBRID, **more) -> LinePipeline:
    made = LinePipeline(
        "a/b/c",
        TAGS,
        load(rules, window_environment(TYPES, counters_of(TAGS))),
        window_ns=10 * SECOND,
        report_ns=60 * SECOND,
        **more,
    )
    made.prepare = prepare
    return made


def prepare(window: Window) -> Asked:
    return Asked(model="wear", version="1.0.0", sha256="ab", features={"oil": window.tags["oil"].mean}, at=window.end)


def says(decision: str, confidence: float = 0.9) -> Scored:
    return Scored(model="wear", version="1.0.0", sha256="ab", decision=decision, confidence=confidence)


def test_a_window_that_ends_waits_for_its_model_and_production_does_not():
    pipeline = line()
    facts = feed(pipeline, (OIL, 60.0, 1), (OIL, 61.0, 11))
    assert not verdicts(facts)
    assert pipeline.waiting == 1
    up = pipeline.next_up()
    assert up is not None
    assert up.asked.features == {"oil": 60.0}
    (verdict,) = verdicts(pipeline.settle(says("normal")).facts)
    assert (verdict.ml.decision, verdict.policy, pipeline.waiting, pipeline.judged) == (
        "normal",
        "hybrid_weighted",
        0,
        1,
    )
    assert pipeline.next_up() is None
    assert pipeline.settle(says("normal")).facts == []


def test_windows_are_judged_in_their_order_each_with_the_memory_of_the_one_before():
    """The delay of 20 s runs over windows that waited together."""
    waited, at_once = line(), line(RULES)
    rows = [(OIL, 75.0, at) for at in range(1, 52, 10)]
    expected = verdicts(feed(at_once, *rows))
    feed(waited, *rows)
    assert waited.waiting == 5
    judged = [verdicts(waited.settle(None).facts)[0] for _ in range(5)]
    assert [one.start for one in judged] == [one.start for one in expected]
    assert [[check.status for check in one.checks] for one in judged] == [
        [check.status for check in one.checks] for one in expected
    ]
    assert judged[-1].matched == ["oil"]


def test_a_crash_loses_no_window_that_waited():
    pipeline = line()
    feed(pipeline, *[(OIL, 75.0, at) for at in range(1, 42, 10)])
    first = pipeline.settle(says("normal"))
    checkpoint = pipeline.dump()
    rest = [pipeline.settle(says("warning")).facts for _ in range(3)]

    again = line()
    assert again.restore(checkpoint)
    assert again.waiting == 3
    assert [again.settle(says("warning")).facts for _ in range(3)] == rest, "the same verdicts, the same ids"
    assert verdicts(first.facts)[0].verdict_id not in {fact.verdict_id for facts in rest for fact in verdicts(facts)}


def test_what_waited_for_a_model_is_judged_by_rules_that_ask_none():
    pipeline = line()
    feed(pipeline, (OIL, 60.0, 1), (OIL, 61.0, 11), (OIL, 62.0, 21))
    assert pipeline.waiting == 2
    alone = line(RULES)
    assert alone.restore(pipeline.dump())
    starts = [verdict.start for verdict in verdicts(feed(alone, (OIL, 63.0, 31), (OIL, 64.0, 41)))]
    assert [start - starts[0] for start in starts] == [0, 10 * SECOND, 20 * SECOND, 30 * SECOND], "in their order"
    assert alone.waiting == 0
    silent = line()
    silent.ruleset = None
    assert silent.restore(pipeline.dump())
    assert silent.waiting == 0


def test_a_checkpoint_from_before_models_is_taken_back():
    import msgspec
    import zstandard

    pipeline = line(RULES)
    feed(pipeline, (OIL, 60.0, 1))
    saved = msgspec.msgpack.decode(zstandard.decompress(pipeline.dump()))
    del saved["waiting"]
    again = line()
    assert again.restore(msgspec.msgpack.encode(saved))
    assert again.waiting == 0


def test_without_anyone_who_asks_models_the_rules_answer():
    pipeline = line()
    pipeline.prepare = LinePipeline("a/b/c", TAGS, None, window_ns=1, report_ns=1).prepare
    feed(pipeline, (OIL, 60.0, 1), (OIL, 61.0, 11))
    up = pipeline.next_up()
    assert up is not None
    assert up.asked.failure == "no_model"
    (verdict,) = verdicts(pipeline.settle(None).facts)
    assert (verdict.decision, verdict.source) == ("normal", "rule_fallback")


def test_the_history_of_a_ruleset_weighs_in_its_confidence():
    def confidence(history: float | None) -> float:
        pipeline = line(RULES)
        pipeline.history = lambda: history
        return verdicts(feed(pipeline, (OIL, 60.0, 1), (OIL, 61.0, 11)))[0].confidence

    assert confidence(1.0) > confidence(None) > confidence(0.2)


VIRTUAL = RULES.replace('value = "oil.mean"\nwarning_high = 70', 'value = "heat"\nwarning_high = 150')


def derived(*, required: bool = False) -> dict:
    made = compile_virtual(
        [VirtualTag(name="heat", value="oil.mean * 2.0 + counts.produced", unit="CEL", required=required)],
        TYPES,
        counters_of(TAGS),
    )
    ruleset = load(VIRTUAL.replace("delay_s = 20", "delay_s = 0"), made.environment)
    return {"ruleset": ruleset, "virtual": made}


def virtual_line(**options) -> LinePipeline:
    return LinePipeline("a/b/c", TAGS, **derived(**options), window_ns=10 * SECOND, report_ns=60 * SECOND)


def test_rules_judge_virtual_tags_like_any_other():
    facts = feed(virtual_line(), (OIL, 80.0, 1), (OIL, 61.0, 11), (OIL, 61.0, 21))
    hot, cool = verdicts(facts)
    assert (hot.decision, hot.checks[0].value) == ("warning", 160.0)
    assert (cool.decision, cool.checks[0].value) == ("normal", 122.0)


def test_a_required_virtual_tag_that_cannot_be_told_blinds_the_line():
    facts = feed(virtual_line(required=True), (OIL, None, 1), (OIL, 61.0, 11))
    (verdict,) = verdicts(facts)
    assert verdict.decision == "unknown"
    assert "heat" in verdict.summary["en"]


@pytest.mark.parametrize("seconds", [0.5, 9.9])
def test_the_open_window_can_be_looked_at_without_closing_it(seconds):
    pipeline = line(RULES)
    assert pipeline.now(0) is None
    feed(pipeline, (OIL, 60.0, 1), (OIL, 64.0, 2))
    received = pipeline.time.fed or 0
    window = pipeline.now(received + round(seconds * SECOND))
    assert window is not None
    assert window.tags["oil"].mean == 62.0
    assert window.end == pipeline.newest + round(seconds * SECOND)
    (verdict,) = [fact for fact in feed(pipeline, (OIL, 66.0, 3), (OIL, 61.0, 11)) if isinstance(fact, Judged)]
    assert verdict.inputs["oil.mean"] == pytest.approx((60 + 64 + 66) / 3)


class Broken:
    """A program with a bug in it."""

    def __init__(self, variables) -> None:
        self.variables = variables

    def run(self, *_args, **_kwargs):
        raise ZeroDivisionError("a bug of ours")


def test_a_bug_in_judging_costs_verdicts_and_neither_readings_nor_counts_nor_the_gateway(caplog):
    """It is told once, the window that met it does not come back after a restart, and judging goes on when it is mended."""
    for rules in (RULES, HYBRID):
        pipeline = line(rules)
        whole = pipeline.ruleset
        pipeline.ruleset = dataclasses.replace(whole, program=Broken(whole.program.variables))
        facts = feed(pipeline, *((OIL, 60.0, at) for at in (1, 11, 21)))
        feed(pipeline, (MADE, 5, 22), (MADE, 9, 23))
        told = facts + [fact for _ in range(2) for fact in pipeline.settle(None).facts]
        assert [fact.why for fact in told if isinstance(fact, Faulted)] == [
            "judging: ZeroDivisionError('a bug of ours')"
        ]
        assert not verdicts(told)
        assert pipeline.waiting == 0
        again = line(rules)
        assert again.restore(pipeline.dump())
        assert again.waiting == 0
        pipeline.ruleset = whole
        mended = feed(pipeline, (OIL, 60.0, 31))
        assert len(verdicts(mended + pipeline.settle(None).facts)) == 1
        assert gained(pipeline) == 4
    assert len([record for record in caplog.records if "could not be judged" in record.message]) == 2
