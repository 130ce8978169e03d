"""Models and trust over the fleet: what every gateway told last, and what the evidence of all of them speaks for."""

from __future__ import annotations

import time

import msgspec
import pytest

from sync.facts import FeedbackGiven
from sync.judgment import ActionDecided, ActionEnded, DriftMeasured, ModelChanged, TrustChanged
from sync.topics import Address
from tests.cloud.gateway import LINE, LINE_2, S, Start, verdict
from tests.cloud.judging.conftest import Fleet

DAY = 86_400 * S
WEAR = {"model": "wear", "version": "1.0.0", "sha256": "ab" * 32}


def drift(at: int, unit: str, level: str, sha256: str = "ab" * 32) -> DriftMeasured:
    made = WEAR | {"sha256": sha256}
    alarmed = [] if level == "ok" else ["rms"]
    return DriftMeasured(at=at, work_unit=unit, start=at - S, samples=300, level=level, alarmed=alarmed, **made)


async def test_models_tell_their_newest_state_and_drift(fleet: Fleet) -> None:
    now = time.time_ns()
    active = [ModelChanged(at=now - 9 * S, work_unit=unit, state="active", **WEAR) for unit in (LINE, LINE_2)]
    await fleet.say(
        *active, ModelChanged(at=now - 5 * S, work_unit=LINE, state="breaker_open", why="5 failures", **WEAR)
    )
    found = await fleet.get("/models")
    assert [(one["work_unit"], one["state"], one["breaker"]) for one in found["lines"]] == [
        (LINE, "active", "open"),
        (LINE_2, "active", "closed"),
    ]
    assert found["models"][0]["hint"] == "unmeasured"
    assert found["models"][0]["breakers_open"] == [f"gw-1/{LINE}"]
    await fleet.say(drift(now - 4 * S, LINE, "critical"))
    assert (await fleet.get("/models"))["models"][0]["hint"] == "cannot_tell"
    await fleet.say(drift(now - 4 * S, LINE_2, "ok"))
    (model,) = (await fleet.get("/models"))["models"]
    assert (model["hint"], model["drifted"], model["features"]) == ("one_line", [f"gw-1/{LINE}"], ["rms"])
    assert "센서" in model["text"]["ko"]
    await fleet.say(drift(now - 3 * S, LINE_2, "warning"))
    assert (await fleet.get("/models"))["models"][0]["hint"] == "process"
    # Drift of the version before says nothing of the new one; one that was left is not among the active.
    await fleet.say(
        ModelChanged(at=now, work_unit=LINE, state="active", **(WEAR | {"sha256": "cd" * 32, "version": "2"}))
    )
    await fleet.say(ModelChanged(at=now, work_unit=LINE_2, state="retired", **WEAR))
    found = await fleet.get("/models")
    assert [(one["version"], one["state"], one["drift"] is None) for one in found["lines"]] == [
        ("2", "active", True),
        ("1.0.0", "retired", False),
    ]
    assert (found["models"][0]["active"], found["models"][0]["hint"]) == (1, "unmeasured")
    assert (await fleet.get("/models?tenant=demo"))["lines"]
    await fleet.get("/models?tenant=other", 400)


def words(now: int, good: int, bad: int, days: float = 1.0) -> list[FeedbackGiven]:
    """Give words on the ruleset: first the good ones, then the bad ones."""
    types = ["positive"] * good + ["negative"] * bad
    return [
        FeedbackGiven(at=now - round(days * DAY) + n, work_unit=LINE, feedback=f"{days}{n}", target=f"v{n}", type=kind,
                      actor="kim", ruleset="filler", decision="normal")
        for n, kind in enumerate(types)
    ]  # fmt: skip


async def judged(fleet: Fleet, now: int, count: int = 60, days: float = 8.0) -> None:
    await fleet.say(*(verdict(now - round(days * DAY) + n * 10 * S, number=n + 1) for n in range(count)))


async def test_a_promotion_is_proposed_by_the_lines_own_table_and_only_proposed(fleet: Fleet) -> None:
    now = time.time_ns()
    await judged(fleet, now, days=6.0)
    (item,) = (await fleet.get("/trust"))["items"]
    assert (item["ruleset"], item["gateway"], item["level"], item["proposed"]) == ("filler", "gw-1", 0, None)
    assert "nobody rated it" in " ".join(item["lacking"])
    await judged(fleet, now, count=1, days=8.0)
    await fleet.say(*words(now, 9, 1)[::-1])
    (item,) = (await fleet.get("/trust"))["items"]
    assert (item["metrics"]["runs"], item["metrics"]["accuracy"], item["lacking"]) == (61, 0.9, [])
    assert item["proposed"] == {"level": 1, "reason": item["proposed"]["reason"], "needs_admin": False}
    assert await fleet.rows("select 1 from command") == []


async def test_a_demotion_is_looked_at_first_and_failures_of_automatic_actions_count(fleet: Fleet) -> None:
    now = time.time_ns()
    await judged(fleet, now)
    await fleet.say(
        TrustChanged(at=now - 5 * DAY, ruleset="filler", previous=2, level=3, reason="earned", triggered_by="manual"),
        *words(now, 100, 0),
        ActionDecided(at=now - DAY, work_unit=LINE, action="x", action_type="t", ruleset="filler", trust=3, score=1.0,
                      risk="LOW", mode="control", decision="auto_execute"),
        ActionEnded(at=now - DAY, work_unit=LINE, action="x", status="FAILED"),
    )  # fmt: skip
    (item,) = (await fleet.get("/trust"))["items"]
    assert (item["level"], item["metrics"]["accuracy"], item["metrics"]["critical_failures_7d"]) == (3, 1.0, 1.0)
    assert item["proposed"]["level"] == 2
    assert "failed or were called wrong" in item["proposed"]["reason"]
    assert [change["level"] for change in item["history"]] == [3]
    assert round(item["metrics"]["level_days"]) == 5


async def test_accuracy_zero_is_the_worst_and_none_is_none(fleet: Fleet) -> None:
    now = time.time_ns()
    await judged(fleet, now)
    up = TrustChanged(at=now - DAY, ruleset="filler", previous=0, level=1, reason="earned", triggered_by="manual")
    await fleet.say(up)
    assert (await fleet.get("/trust"))["items"][0]["proposed"] is None
    await fleet.say(*words(now, 0, 1))
    assert (await fleet.get("/trust"))["items"][0]["proposed"]["level"] == 0


async def test_a_level_is_asked_of_the_gateways_that_judge_by_the_ruleset(fleet: Fleet) -> None:
    now = time.time_ns()
    await judged(fleet, now, count=2)
    await fleet.say(verdict(now, number=99, line=LINE_2), start=Start(Address("demo", "seoul", "gw-2")))
    said = {"ruleset": "filler", "level": 2, "reason": "a month without a wrong one", "actor": "kim"}
    given = (await fleet.post("/trust", said))["given"]
    assert [one["gateway"] for one in given] == ["demo/seoul/gw-1", "demo/seoul/gw-2"]
    ((kind, arguments),) = set(await fleet.rows("select kind, arguments from command"))
    assert (kind, msgspec.json.decode(arguments)["level"]) == ("trust", 2)
    assert len((await fleet.post("/trust", said | {"gateway": "gw-2"}))["given"]) == 1
    await fleet.post("/trust", said | {"gateway": "gw-9"}, 404)
    await fleet.post("/trust", said | {"ruleset": "' or 1=1"}, 404)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"reason": "ok", "level": 4, "actor": "", "ruleset": "\0"}, {"reason", "level", "actor", "ruleset"}),
        ({"level": 3}, {""}),
        ({"level": "2", "confirmed": "yes"}, {"level", "confirmed"}),
    ],
)
async def test_an_order_of_trust_that_is_none_names_every_field(fleet: Fleet, wrong, fields: set[str]) -> None:
    said = {"ruleset": "filler", "level": 2, "reason": "long enough", "actor": "kim"} | wrong
    answer = (await fleet.post("/trust", said, 400))["error"]
    assert {one["field"] for one in answer["fields"]} == fields
