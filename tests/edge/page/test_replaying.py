"""Replay over HTTP, in the process of a gateway whose store is open: answers, and every way of saying no."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from edge.page.replaying import MOST_BODY, replay_routes
from edge.replaying import open_replays
from tests.edge.stores import store_in
from tests.scenarios.recorded_plant import WORK_UNIT, prepare, record

ROOT = Path(__file__).parents[3]
RULES = (ROOT / "demo" / "rules" / "filler.toml").read_text("utf-8")


@pytest.fixture
async def page(tmp_path) -> AsyncIterator[tuple[httpx.AsyncClient, list[dict]]]:
    """Give a page over twenty minutes of the plant, while its store is open, and the verdicts in it."""
    prepare(tmp_path)
    await record(tmp_path, 1 / 3, None, None)
    data = tmp_path / "gw-opcua"
    with open_replays(data) as replays:
        verdicts = [json.loads(raw) for raw in replays.history.verdicts()]
    async with (
        store_in(data),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=replay_routes(data))), base_url="http://gateway"
        ) as client,
    ):
        yield client, verdicts


async def test_a_verdict_comes_with_its_rules_and_with_what_can_be_changed(page):
    client, verdicts = page
    told = (await client.get(f"/api/verdicts/{verdicts[5]['verdict_id']}")).json()
    assert told["verdict"] == verdicts[5]
    assert told["rules"]["ruleset"]["name"] == "bottle_filler"
    inputs = {one["name"]: one for one in told["changeable"]}
    assert inputs["product_temperature.mean"]["unit"] == "CEL"
    assert inputs["product_temperature.mean"]["type"] == "double"
    assert (await client.get(f"/api/verdicts/{'0' * 32}")).status_code == 404


async def test_a_verdict_is_judged_again_imagined_and_compared(page):
    client, verdicts = page
    fact = next(one for one in verdicts if one.get("state") == "EXECUTE" and one["decision"] == "normal")
    again = (await client.post("/api/replay", json={"verdict": fact["verdict_id"]})).json()
    assert again["exact"] is True
    asked = {"verdict": fact["verdict_id"], "overrides": {"product_temperature": 30, "context.product": None}}
    (imagined,) = (await client.post("/api/replay", json=asked)).json()["what_if"]
    assert imagined["modified_input"]["product_temperature.mean"] == 30.0
    stricter = RULES.replace("warning_high = 7.5", "warning_high = 1.0").replace('"1.0.0"', '"2.0.0"')
    asked = {"verdict": fact["verdict_id"], "rules": [RULES, stricter]}
    versions = (await client.post("/api/replay", json=asked)).json()["versions"]
    assert [one["comparison"]["ruleset_changed"] for one in versions] == [False, True]


async def test_a_batch_runs_in_a_process_of_its_own(page):
    client, verdicts = page
    stricter = RULES.replace("warning_high = 7.5", "warning_high = 1.0")
    whole = await client.post("/api/replay/batch", json={"rules": stricter})
    assert whole.json()["lines"][WORK_UNIT]["total"] == len(verdicts)
    asked = {"rules": stricter, "sample": 10, "sampling": "sequential", "end": verdicts[20]["at"], "line": WORK_UNIT}
    some = (await client.post("/api/replay/batch", json=asked)).json()
    assert [one["verdict_id"] for one in some["outcomes"]] == [one["verdict_id"] for one in verdicts[:10]]


async def test_everything_wrong_with_a_request_is_said_at_once(page):
    client, verdicts = page
    verdict = verdicts[0]["verdict_id"]

    async def said(path: str, **asked) -> tuple[int, dict]:
        answer = await client.post(path, json=asked)
        fields = answer.json()["error"].get("fields", [])
        return answer.status_code, {one["field"]: one["message"] for one in fields}

    status, fields = await said("/api/replay", verdict="x", overrides={"a": []}, more=1)
    assert status == 422
    assert {"verdict", "more"} <= fields.keys()
    status, fields = await said("/api/replay", verdict=verdict, overrides={"produkt_temperature": 1.0, "state": 2.0})
    assert (status, fields.keys()) == (422, {"overrides.produkt_temperature", "overrides.state"})
    status, fields = await said(
        "/api/replay", verdict=verdict, rules=RULES.replace("fill_pressure.mean", "fil_pressure.mean")
    )
    assert status == 422
    assert "fill_pressure" in fields["rules"]
    status, fields = await said("/api/replay", verdict=verdict, rules=[RULES] * 6)
    assert status == 422
    status, fields = await said("/api/replay/batch", rules="", sample=1001, sampling="best")
    assert (status, fields.keys()) == (422, {"rules", "sample", "sampling"})
    status, fields = await said("/api/replay/batch", rules="[ruleset]")
    assert status == 422
    assert fields
    assert (await said("/api/replay", verdict="0" * 32))[0] == 404


async def test_what_is_too_large_or_no_json_is_refused(page):
    client, verdicts = page
    verdict = verdicts[0]["verdict_id"]
    eleven = {"verdict": verdict, "overrides": {"context.product": "x" * 11_000}}
    assert (await client.post("/api/replay", json=eleven)).status_code == 413
    assert (await client.post("/api/replay", json={"rules": "x" * MOST_BODY})).status_code == 413
    assert (await client.post("/api/replay", content=b"verdict=1")).status_code == 415
    json_type = {"Content-Type": "application/json"}
    assert (await client.post("/api/replay", content=b"{", headers=json_type)).status_code == 400
