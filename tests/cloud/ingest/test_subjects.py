"""What is said and done about verdicts is found by what it is about, on both databases."""

# ruff: noqa: F811 - fixtures come from next door

from __future__ import annotations

import pytest

from sync.facts import (
    ActionDecided,
    ActionEnded,
    ApprovalAnswered,
    CcpRecorded,
    Context,
    DriftMeasured,
    Fact,
    FeedbackGiven,
    ModeChanged,
    ModelChanged,
    Stream,
    TrustChanged,
)
from sync.judgment import RulesetActivated
from tests.cloud.gateway import Start
from tests.cloud.ingest.conftest import Hall, hall  # noqa: F401

LINE = "bottling/line-1/filler"


def facts(at: int) -> list[tuple[Fact, str, str | None]]:
    lot = Context(lot="L-7")
    made = {"model": "wear", "version": "1.0.0", "sha256": "ab"}
    return [
        (FeedbackGiven(at=at, work_unit=LINE, feedback="f", target="v-1", type="positive"), "v-1", None),
        (ActionDecided(at=at, work_unit=LINE, action="a-1", action_type="x", trust=2, score=0.9, risk="LOW", mode="control",
                       decision="auto_execute", context=lot), "a-1", "L-7"),
        (ApprovalAnswered(at=at, work_unit=LINE, action="a-1", approved=True, actor="kim"), "a-1", None),
        (ActionEnded(at=at, work_unit=LINE, action="a-1", status="EXECUTED"), "a-1", None),
        (TrustChanged(at=at, ruleset="filler", previous=1, level=2, reason="earned", triggered_by="auto"), "filler", None),
        (ModeChanged(at=at, mode="advise", actor="kim"), "", None),
        (ModelChanged(at=at, work_unit=LINE, state="active", **made), "wear", None),
        (DriftMeasured(at=at, work_unit=LINE, start=at - 1, samples=200, level="ok", **made), "wear", None),
        (CcpRecorded(at=at, work_unit=LINE, ccp="fill_temperature", value=72.5, within=True, context=lot), "fill_temperature",
         "L-7"),
        (RulesetActivated(at=at, work_unit=LINE, ruleset="filler", ruleset_version="1.0.0", ruleset_hash="cd"), "cd", None),
    ]  # fmt: skip


async def test_every_kind_is_found_by_its_subject_and_by_its_lot(hall: Hall):
    start = Start()
    said = facts(hall.clock.at)
    await hall.store(start, start.facts(*[fact for fact, *_ in said], stream=int(Stream.EVENT)))
    rows = await hall.rows("select kind, subject, lot, work_unit from fact_subject order by seq")
    assert [(subject, lot, unit) for _, subject, lot, unit in rows] == [
        (subject, lot, fact.work_unit) for fact, subject, lot in said
    ]
    assert [kind for kind, *_ in rows] == [str(fact.__struct_config__.tag) for fact, *_ in said]
    bodies = await hall.rows(
        "select f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
        " where s.tenant='demo' and s.lot='L-7' order by s.seq"
    )
    assert [("ccp" in body, "action_decision" in body) for (body,) in bodies] == [(False, True), (True, False)]


@pytest.mark.parametrize("at", [1, 2**62])
async def test_an_impossible_date_keeps_the_fact_and_indexes_it_only_once_it_is_known(hall: Hall, at: int):
    start = Start()
    await hall.store(start, start.facts(FeedbackGiven(at=at, feedback="f", target="v", type="positive"), stream=2))
    assert await hall.rows("select 1 from fact_subject") == []
    assert await hall.rows("select kind from fact") == [("feedback",)]


async def test_a_nul_in_a_subject_keeps_nothing_out(hall: Hall):
    start = Start()
    fact = FeedbackGiven(at=hall.clock.at, feedback="f", target="v\0", type="positive")
    await hall.store(start, start.facts(fact, stream=2))
    assert await hall.rows("select subject from fact_subject") == [("v\ufffd",)]
