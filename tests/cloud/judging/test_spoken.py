"""What people say through the cloud: a word is one fact and counts once, a yes or no is the gateway's to take."""

from __future__ import annotations

import time

import msgspec
import pytest

from sync.facts import ActionDecided, ActionEnded, ApprovalAnswered, FeedbackGiven
from sync.judgment import CommandAnswered
from tests.cloud.judging import fleet as line
from tests.cloud.judging.conftest import Fleet
from tests.cloud.judging.fleet import LINE, S

WORD = {"type": "correction", "corrected": "warning", "comment": "it was warm", "actor": "kim"}


async def verdict(fleet: Fleet):
    (fact,) = line.verdicts(line.filler(), [line.well(line.now_ns() - 600 * S)])
    await fleet.say(fact)
    return fact


def recorded(fact, command: str, **said) -> FeedbackGiven:
    """Give the fact that a gateway makes of the command (edge/commanded.py)."""
    return FeedbackGiven(
        at=time.time_ns(), work_unit=LINE, feedback=command, target=fact.verdict_id, ruleset=fact.ruleset,
        ruleset_version=fact.ruleset_version, decision=fact.decision, **said,
    )  # fmt: skip


async def test_a_word_waits_for_its_gateway_then_is_one_fact_and_counts_once(fleet: Fleet) -> None:
    fact = await verdict(fleet)
    given = await fleet.post("/feedback", WORD | {"target": fact.verdict_id})
    assert (given["state"], given["gateway"]) == ("given", "demo/seoul/gw-1")
    assert await fleet.post("/feedback", WORD | {"target": fact.verdict_id}) == given
    ((kind, arguments),) = await fleet.rows("select kind, arguments from command")
    assert kind == "feedback"
    # The gateway makes its fact of exactly these words.
    said = msgspec.json.decode(arguments)
    made = msgspec.convert({"kind": "feedback", "feedback": "x", **said, "at": 1, "actor": "kim"}, FeedbackGiven)
    assert (made.target, made.corrected, made.ruleset, made.decision) == (
        fact.verdict_id,
        "warning",
        "filler",
        "normal",
    )
    page = await fleet.get("/feedback")
    assert (page["total"], [one["state"] for one in page["waiting"]], page["stats"]) == (0, ["given"], [])
    await fleet.say(CommandAnswered(at=time.time_ns(), command=given["feedback"], done=True))
    assert (await fleet.get(f"/verdicts/{fact.verdict_id}"))["feedback"][0]["state"] == "done"
    await fleet.say(recorded(fact, given["feedback"], **WORD))
    page = await fleet.get("/feedback")
    assert (page["total"], page["waiting"]) == (1, [])
    assert page["stats"] == [
        {"ruleset": "filler", "days": 30, "positive": 0, "rated": 1, "accuracy": 0.0, "history": 0.675}
    ]
    (shown,) = (await fleet.get(f"/verdicts/{fact.verdict_id}"))["feedback"]
    assert (shown["state"], shown["comment"]) == ("recorded", "it was warm")


async def test_the_newest_word_of_a_person_stands_and_totals_are_exact(fleet: Fleet) -> None:
    fact = await verdict(fleet)
    words = [recorded(fact, f"f{n}", type="negative", actor=f"p{n % 3}") for n in range(9)]
    await fleet.say(*words, recorded(fact, "last", type="positive", actor="p1"))
    page = await fleet.get("/feedback?page_size=2")
    assert (page["total"], len(page["items"]), page["items"][0]["feedback"]) == (3, 2, "last")
    assert len((await fleet.get("/feedback?page_size=2&page=2"))["items"]) == 1
    assert page["stats"][0]["rated"] == 3
    assert (await fleet.get("/feedback?to=2001-01-01T00:00:00Z"))["total"] == 0
    await fleet.get("/feedback?page=0", 400)


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"target": "' or 1=1", "type": "great", "actor": ""}, {"target", "type", "actor"}),
        ({"target": "a" * 32, "type": "positive", "corrected": "warning", "actor": "k"}, {""}),
        ({"target": "a" * 32, "type": "correction", "actor": "k"}, {""}),
        ({"target": "a" * 32, "type": "positive", "actor": "nul\0", "comment": "\0"}, {"actor", "comment"}),
        ({"target": "a" * 32, "type": "positive", "actor": "k", "comment": "x" * 1001, "also": 1}, {"comment", "also"}),
    ],
)
async def test_a_word_that_is_none_names_every_field(fleet: Fleet, said, fields: set[str]) -> None:
    answer = (await fleet.post("/feedback", said, 400))["error"]
    assert {one["field"] for one in answer["fields"]} == fields


async def test_a_word_on_nothing_or_on_what_it_says_already_is_refused(fleet: Fleet) -> None:
    fact = await verdict(fleet)
    await fleet.post("/feedback", {"target": "0" * 32, "type": "positive", "actor": "k"}, 404)
    same = {"target": fact.verdict_id, "type": "correction", "corrected": "normal", "actor": "k"}
    assert (await fleet.post("/feedback", same, 400))["error"]["fields"][0]["field"] == "corrected"
    assert await fleet.rows("select 1 from command") == []


def decided(action: str, decision: str = "require_approval", *, verdict_id: str | None = None, lasts_s: int = 600):
    now = time.time_ns()
    return ActionDecided(
        at=now, work_unit=LINE, action=action, verdict_id=verdict_id, action_type="parameter_adjust",
        target=f"{LINE}/speed", value=68.0, ruleset="filler", trust=1, score=0.7, risk="MEDIUM", mode="control",
        decision=decision, reasons=['the text "decision":"require_approval" in a reason'], expires=now + lasts_s * S,
    )  # fmt: skip


async def test_actions_are_told_by_what_became_of_them(fleet: Fleet) -> None:
    fact = await verdict(fleet)
    now = time.time_ns()
    await fleet.say(
        decided("waits", verdict_id=fact.verdict_id), decided("late", lasts_s=-1), decided("no", "reject"),
        decided("auto", "auto_execute"), decided("done"),
        ApprovalAnswered(at=now, work_unit=LINE, action="done", approved=True, actor="lee"),
        ApprovalAnswered(at=now + 1, work_unit=LINE, action="done", approved=False, actor="kim", place="cloud",
                         superseded=True),
        ActionEnded(at=now + 2, work_unit=LINE, action="done", status="EXECUTED", before=60.0, written=68.0, read_back=68.0),
    )  # fmt: skip
    found = {}
    for state in ("waiting", "decided", "ended"):
        page = await fleet.get(f"/actions?state={state}")
        assert page["total"] == len(page["items"])
        found |= {one["action"]: (state, one["state"]) for one in page["items"]}
    assert found == {
        "waits": ("waiting", "waiting"), "late": ("waiting", "overdue"), "auto": ("decided", "executing"),
        "no": ("ended", "REJECTED"), "done": ("ended", "EXECUTED"),
    }  # fmt: skip
    everything = await fleet.get("/actions?page_size=2")
    assert (everything["total"], len(everything["items"])) == (5, 2)
    done = next(one for one in (await fleet.get("/actions?state=ended"))["items"] if one["action"] == "done")
    assert [(answer["actor"], answer["superseded"]) for answer in done["answers"]] == [("lee", False), ("kim", True)]
    assert done["end"]["read_back"] == 68.0
    (acted,) = (await fleet.get(f"/verdicts/{fact.verdict_id}"))["acted"]
    assert acted["action"] == "waits"


async def test_a_yes_is_asked_of_the_gateway_once_and_only_while_it_waits(fleet: Fleet) -> None:
    await fleet.say(decided("waits"), decided("late", lasts_s=-1))
    given = await fleet.post("/actions/waits/approve", {"actor": "kim", "comment": "go"})
    assert await fleet.post("/actions/waits/approve", {"actor": "kim"}) == given
    rows = await fleet.rows("select kind, arguments, actor, gateway from command")
    assert rows == [("approve", '{"action":"waits","comment":"go"}', "kim", "gw-1")]
    await fleet.say(CommandAnswered(at=time.time_ns(), command=given["command"], done=True, why="superseded"))
    waiting = {one["action"]: one for one in (await fleet.get("/actions?state=waiting"))["items"]}
    assert [(one["state"], one["why"]) for one in waiting["waits"]["asked"]] == [("done", "superseded")]
    await fleet.post("/actions/late/reject", {"actor": "kim"}, 409)
    await fleet.post("/actions/waits/reject", {"actor": " "}, 400)
    await fleet.post("/actions/waits/reject", {}, 400)
    for name in ("none", "%00", "' or 1=1 --"):
        await fleet.post(f"/actions/{name}/approve", {"actor": "kim"}, 404)
    await fleet.get("/actions?state=all", 400)
