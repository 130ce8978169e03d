"""A verdict that is larger than a fact may be: recorded with less, which it says, and its line judges on."""

from __future__ import annotations

import logging

import msgspec
import pytest

from edge.archiving import Archiving
from edge.judgment import NotRepeatableError, gather, judge, judged, recalled, repeatable
from edge.judgment.batch import Wanted
from edge.judgment.evidence import evidence
from edge.judgment.past import Past
from edge.judgment.room import fitted, left_out
from edge.recording import Recording
from edge.replaying import open_replays
from edge.site import load
from edge.store.chunks import request
from models.ruleset import Ruleset
from sync.chunk import decode
from sync.clock import WallClock
from sync.fact import MAX_FACT_BYTES, Context
from sync.facts import AlarmChanged, Check, Judged, Stream
from sync.judgment import Scored
from sync.reading import readings
from tests.edge.judgment.conftest import ruleset, tag, window
from tests.edge.page.test_page import BOOK, RULES
from tests.edge.stores import store_in

S = 1_000_000_000
SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
ballast_mb = 0

[[connection]]
name = "press-plc"
driver = "simulated"

[[line]]
work_unit = "forming/line-1/press"
connection = "press-plc"
book = "press.toml"
rules = "press.rules.toml"
window_s = 1
"""
CHARTS = "".join(
    f'[[chart]]\nname = "oil_{i}"\nkind = "individuals"\nvalue = "oil_temperature"\n'
    'limits = { center = 85.0, sigma = 5.0, version = "1" }\n'
    for i in range(499)
)


def size(fact: Judged) -> int:
    return len(msgspec.json.encode(fact))


def hot(oil: float) -> Judged:
    """Give a verdict over a text of 100,000 characters, looked at by a rule that repeats it in its message."""
    rules = ruleset(
        '[[rule]]\nname = "sku"\nwhen = "sku == sku"\nvalue = "sku"\nseverity = "critical"\n'
        f'message = {{ en = "{"{value}{order}" * 35}" }}\n'
    )
    verdict = judge(
        rules,
        gather(
            rules, window(oil=oil, tags=[tag("sku", "바" * 100_000)], context=Context(order="O" * 100_000, product="P"))
        ),
    )
    assert all(len(msgspec.json.encode(alarm)) < 60_000 for alarm in verdict.alarms)
    assert isinstance(verdict.alarms[0], AlarmChanged)
    return judged(verdict)


async def test_a_line_whose_verdicts_grow_too_large_judges_on_and_says_so(tmp_path, caplog):
    """500 checks, nearly all with a memory: the largest ruleset there may be."""
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "press.toml").write_text(BOOK)
    (tmp_path / "press.rules.toml").write_text(RULES + CHARTS)
    site = load(tmp_path / "site.toml")
    async with store_in(site.data) as store:
        await store.commit(dictionary=site.table.dictionary(1))
        recording = Recording(site, store, WallClock())
        await Archiving(recording, set).keep()
        (pipeline,) = recording.pipelines.values()
        begin = 1_700_000_000 * S
        with caplog.at_level(logging.WARNING, "edge.recording"):
            for second in range(18):
                at = begin + second * S
                await recording.commit(
                    [
                        (
                            pipeline,
                            pipeline.feed(readings([(1, 80.0 + second * 0.7390851332151607 % 7, 0, at)], received=at)),
                        )
                    ]
                )
        chunks = await store.kept(store.incarnation, Stream.EVENT, 1, 100)
    told = [f for chunk in chunks for f in decode(chunk.body, chunk.count) if isinstance(f, Judged)]
    assert len(told) == pipeline.judged == 17
    short = [fact for fact in told if left_out(fact)]
    assert len(short) == pipeline.shortened > 2
    assert not left_out(told[0])
    assert all(left_out(fact) == ("memory",) and fact.evidence["bytes"] > MAX_FACT_BYTES for fact in short)
    assert {len(fact.checks) for fact in told} == {500}
    assert {fact.decision for fact in told} == {"critical"}
    said = [record.message for record in caplog.records if "too large for their records" in record.message]
    assert len(said) == 1
    assert "left_out=memory" in said[0]
    with open_replays(site.data) as replays:
        proof = replays.proven(Wanted())
    assert (proof.total, proof.exact, proof.unrepeatable) == (17, 17 - len(short), len(short))
    assert not proof.different


def test_what_left_something_out_is_never_judged_again_as_if_it_were_whole():
    fact = hot(60.0)
    assert left_out(fact) == ("memory", "texts")
    assert size(fact) <= MAX_FACT_BYTES
    assert "sku" not in fact.inputs
    assert fact.checks[0].value is None
    with pytest.raises(NotRepeatableError, match=r"too large for its record \(\d+ bytes\) and left out memory, texts"):
        recalled(fact)
    assert not repeatable(fact)
    assert Past([fact]).unrepeatable == 1
    assert evidence(fact)["left_out"] == ["memory", "texts"]
    back = msgspec.json.decode(msgspec.json.encode(fact), type=Judged)
    assert left_out(back) == ("memory", "texts")
    assert back == fact == hot(60.0)
    assert hot(61.0).decision == fact.decision == "critical"


def test_a_verdict_that_fits_is_the_very_same():
    rules: Ruleset = ruleset('[[limit]]\nname = "oil"\nvalue = "oil_temperature.mean"\nwarning_high = 70\n')
    fact = judged(judge(rules, gather(rules, window())))
    assert fitted(fact) is fact
    assert left_out(fact) == ()
    assert "left_out" not in evidence(fact)


def test_more_and_more_is_left_out_until_it_fits_and_the_verdict_itself_never():
    text = "\x00바" * 600
    whole = Judged(
        at=1,
        work_unit="a/b/c",
        verdict_id="7f",
        start=0,
        ruleset="r",
        ruleset_version="1.0.0",
        ruleset_hash="ab",
        decision="critical",
        severity="critical",
        confidence=0.9,
        policy="hybrid_weighted",
        source="hybrid",
        status=text,
        summary={"ko": text, "en": text},
        matched=[f"check_{i}" for i in range(500)],
        checks=[
            Check(name=f"check_{i}", status="ok" if i % 2 else "warning", value=float(i), path=["node: yes"])
            for i in range(500)
        ],
        inputs={"verdict:memory": text, "sku": text, "oil": 1.0} | {f"x{i}": 1.0 / (i + 1) for i in range(500)},
        actions=[{"action_type": "alert", "priority": "high", "ko": text, "en": text}] * 500,
        context=Context(order=text, product=text, lot=text, shift=text),
        ml=Scored(
            model="m", version="1.0.0", sha256="cd", label=text, failure=text, features={f"f{i}": 0.5 for i in range(256)}
        ),
        evidence={"rule": "critical", "reasons": ["safety_first"]},
    )  # fmt: skip
    steps = ("memory", "texts", "inputs", "passed", "checks", "words")
    fact = whole
    for number in range(1, len(steps) + 1):
        fact = fitted(whole, size(fact) - 1)  # a byte less than it has: the next thing must go
        assert left_out(fact) == steps[:number]
        assert (fact.decision, fact.severity, fact.confidence, fact.verdict_id, fact.at) == (
            "critical", "critical", 0.9, "7f", 1,
        )  # fmt: skip
        assert fact.evidence["reasons"] == ["safety_first"]
    assert fitted(whole, 1) == fact
    assert size(fact) < MAX_FACT_BYTES
    assert request([fitted(whole)], [], None, {}, known_dictionary=False).records == 1
