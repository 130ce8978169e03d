"""Acting on the page: who may look, who may say, what an answer counts, with the network cut; and who may not."""

from __future__ import annotations

import httpx
import pytest

from edge.page.protect import KEY_HEADER, MOST_BYTES, MOST_WRONG
from sync.judgment import ActionDecided, ActionEnded, ApprovalAnswered, ModeChanged
from tests.edge.acting.flows import PAGE, flowing
from tests.edge.acting.gateway import LINE, MEDIUM, TARGET
from tests.edge.acting.test_acting import modbus  # noqa: F401 - the same machine
from tests.edge.stores import until

KIM = {"actor": "kim"}


async def test_what_waits_is_shown_answered_and_done_on_the_page(modbus, tmp_path):  # noqa: F811
    async with flowing(modbus.site(tmp_path, mode="advise", permit=MEDIUM)) as running, running.client(**PAGE) as page:
        await running.judge("v1", ("speed_setpoint", 50.0))
        (waiting,) = (await page.get("/api/approvals")).json()["approvals"]
        assert (waiting["target"], waiting["value"], waiting["present"]) == (TARGET, 50, 30)
        assert waiting["risk"] == "MEDIUM"
        assert 0 < waiting["expires_s"] <= 600
        assert waiting["reasons"]
        place = f"/api/approvals/{waiting['action']}"
        assert (await page.post(place, json={"approve": "yes", **KIM})).status_code == 422
        assert (await page.post(place, json={"approve": True})).status_code == 422
        assert (await page.post(place, json={"approve": True, "actor": " "})).status_code == 422
        assert (await page.post("/api/approvals/nothing", json={"approve": True, **KIM})).status_code == 404
        answer = await page.post(place, json={"approve": True, "comment": "door is shut", **KIM})
        assert answer.json() == {"action": waiting["action"], "answer": "approved"}
        await until(lambda: running.of(ActionEnded), "it is done")
        late = await page.post(place, json={"approve": False, "actor": "lee"})
        assert late.status_code == 409
        assert "it is over: EXECUTED" in late.json()["error"]["message"]
        assert [word.actor for word in running.of(ApprovalAnswered)] == ["kim", "lee"]
        told = (await page.get("/api/actions")).json()
        assert [each["kind"] for each in told["recent"]] == ["approval", "action", "approval", "action_decision"]
        assert told["open"] == []
        assert told["held"][0]["target"] == TARGET
        assert modbus.writes == 1


async def test_modes_and_the_kill_switch_by_the_page(modbus, tmp_path):  # noqa: F811
    async with flowing(modbus.site(tmp_path, mode="monitor", permit=MEDIUM)) as running, running.client(**PAGE) as page:
        assert (await page.get("/api/actions")).json()["mode"] == "monitor"
        assert (await page.post("/api/mode", json={"mode": "control", "reason": "no", **KIM})).status_code == 422
        assert (await page.post("/api/mode", json={"mode": "full", "reason": "a reason", **KIM})).status_code == 422
        wrong = {"mode": "control", "reason": "a reason", "work_unit": "hall/x/y", **KIM}
        assert "no line 'hall/x/y'" in (await page.post("/api/mode", json=wrong)).text
        told = await page.post("/api/mode", json={"mode": "advise", "reason": "a trial", "work_unit": LINE, **KIM})
        assert told.json()["lines"][0] == {
            "work_unit": LINE, "mode": "monitor", "own": "advise",
            "ordered": {"actor": "kim", "reason": "a trial", "at": told.json()["lines"][0]["ordered"]["at"]},
        }  # fmt: skip
        told = await page.post("/api/kill", json={"on": True, **KIM})  # who has to be quick gives no reason
        assert told.json()["killed"]["actor"] == "kim"
        assert (tmp_path / "data" / "kill").exists()
        assert (await page.post("/api/kill", json={"on": False, **KIM})).status_code == 422
        told = await page.post("/api/kill", json={"on": False, "reason": "looked after it", **KIM})
        assert told.json()["killed"] is None
        assert (await page.post("/api/kill", json={"on": False, "reason": "again, please", **KIM})).status_code == 422
        await page.post("/api/kill", json={"on": True, "models": True, **KIM})
        assert running.acting.models_off
        assert [(fact.mode, fact.killed) for fact in running.of(ModeChanged)] == [
            ("advise", False), ("monitor", True), ("monitor", False),
        ]  # fmt: skip


async def test_trust_is_shown_with_what_the_next_level_lacks(modbus, tmp_path):  # noqa: F811
    async with flowing(modbus.site(tmp_path)) as running, running.client() as page:
        await running.judge("v1")
        (told,) = (await page.get("/api/trust")).json()["trust"]
        assert (told["ruleset"], told["level"], told["metrics"]["runs"]) == ("filler", 0, 1)
        assert told["metrics"]["accuracy"] is None
        assert told["lacking"][0] == "1 of 50 runs"


CHANGES = [
    ("/api/mode", {"mode": "control", "reason": "a reason", **KIM}),
    ("/api/kill", {"on": True, **KIM}),
    ("/api/approvals/x", {"approve": True, **KIM}),
]


@pytest.mark.parametrize(("place", "given"), CHANGES)
async def test_without_a_key_only_who_sits_at_the_gateway_changes_anything(modbus, tmp_path, place, given):  # noqa: F811
    async with flowing(modbus.site(tmp_path, mode="monitor", permit=MEDIUM)) as running:
        await running.judge("v1", ("speed_setpoint", 50.0))
        async with running.client("10.0.0.7", **PAGE) as page:
            answer = await page.post(place, json=given)
            assert answer.status_code == 403
            assert "ssh -L" in answer.text
            assert (await page.get("/api/actions")).status_code == 200  # looking is open
        foreign = [
            {},  # a form
            {**PAGE, "Origin": "http://evil.example"},
            {**PAGE, "Sec-Fetch-Site": "cross-site"},
            {**PAGE, "Host": "evil.example:8090"},  # a name somebody pointed here
        ]
        for headers in foreign:
            async with running.client() as page:
                assert (await page.post(place, json=given, headers=headers)).status_code == 403, headers
        async with running.client(**PAGE) as page:
            form = await page.post(place, content=b"actor=kim", headers={"Content-Type": "text/plain"})
            assert (form.status_code, "send JSON" in form.text) == (400, True)
            for raw in (b"[1]", b"{", b'{"a":' + b"1" * MOST_BYTES + b"}", b"[" * 10_000):
                answer = await page.post(place, content=raw, headers={"Content-Type": "application/json"})
                assert answer.status_code == 400
        assert not (tmp_path / "data" / "kill").exists()
        assert running.acting.hands.modes.of("") == "monitor"
        assert not running.of(ApprovalAnswered)
        assert [each.decision for each in running.of(ActionDecided)] == ["reject"]


async def test_with_a_key_it_is_asked_for_from_everywhere_and_guessing_costs_time(modbus, tmp_path):  # noqa: F811
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "page-key").write_text("482913\n")
    site = modbus.site(tmp_path, key='key = {credential = "page-key"}')
    order = {"mode": "advise", "reason": "a reason", **KIM}

    async def post(page: httpx.AsyncClient, key: str | None) -> int:
        headers = PAGE if key is None else {**PAGE, KEY_HEADER: key}
        return (await page.post("/api/mode", json=order, headers=headers)).status_code

    async with flowing(site) as running, running.client("10.0.0.7") as page, running.client() as here:
        assert await post(here, None) == 401
        assert await post(page, "482913") == 200
        assert running.acting.hands.modes.of("") == "advise"
    async with flowing(site) as running, running.client("10.0.0.7") as page:
        for guess in range(MOST_WRONG):
            assert await post(page, str(guess)) == 401
        assert await post(page, "482913") == 429
