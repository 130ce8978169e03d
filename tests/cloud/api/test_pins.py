"""Pins over HTTP, on both databases: bounded, in order, and nobody overwrites what he has not seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api.answers import Answers
from cloud.api.pins import MOST
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Database
from cloud.plant import Plants

PLAN: dict[str, Any] = {"analysis": "CHECK", "metrics": ["oee"], "period": {"relative": "last_7_days"}}
PATH = "/api/v1/pins"


@pytest.fixture
async def web(database: Database, plants: Plants) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(Answers(database, plants, Bus()), CollectorRegistry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
        yield client


async def pin(web: httpx.AsyncClient, title: str, plan: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await web.post(PATH, json={"title": title, "plan": plan or PLAN})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def titles(web: httpx.AsyncClient) -> list[str]:
    pins = (await web.get(PATH)).json()["pins"]
    assert [one["place"] for one in pins] == list(range(len(pins)))
    return [one["title"] for one in pins]


async def test_a_pin_is_kept_moved_renamed_and_forgotten(web: httpx.AsyncClient) -> None:
    assert (await web.get(PATH)).json() == {"pins": [], "most": MOST}
    first, _, third = [await pin(web, title) for title in ("a", "b", "  c\n c ")]
    assert (first["version"], first["place"], third["title"]) == (1, 0, "c c")
    moved = await web.patch(f"{PATH}/{third['id']}", json={"version": 1, "place": 0})
    assert (moved.json()["place"], moved.json()["version"]) == (0, 1)
    assert await titles(web) == ["c c", "a", "b"]
    plan = PLAN | {"metrics": ["availability"]}
    changed = (await web.patch(f"{PATH}/{first['id']}", json={"version": 1, "title": "A", "plan": plan})).json()
    assert (changed["title"], changed["plan"]["metrics"], changed["version"]) == ("A", ["availability"], 2)
    assert (await web.patch(f"{PATH}/{first['id']}", json={"version": 2, "place": MOST})).status_code == 200
    assert await titles(web) == ["c c", "b", "A"]
    assert (await web.delete(f"{PATH}/{third['id']}?version=1")).status_code == 204
    assert await titles(web) == ["b", "A"]


async def test_what_somebody_else_changed_is_not_overwritten(web: httpx.AsyncClient) -> None:
    kept = await pin(web, "mine")
    where = f"{PATH}/{kept['id']}"
    said = await asyncio.gather(*(web.patch(where, json={"version": 1, "title": f"{n}"}) for n in range(5)))
    assert sorted(answer.status_code for answer in said) == [200, 409, 409, 409, 409]
    late = next(answer for answer in said if answer.status_code == 409).json()["error"]
    assert late["code"] == "CONFLICT"
    assert "it is version 2, not 1" in late["message"]
    assert (await web.delete(f"{where}?version=1")).status_code == 409
    assert (await web.delete(f"{where}?version=2")).status_code == 204
    for answer in (await web.delete(f"{where}?version=2"), await web.patch(where, json={"version": 2, "place": 0})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_there_are_never_more_than_fit_however_many_ask_at_once(web: httpx.AsyncClient) -> None:
    said = await asyncio.gather(*(web.post(PATH, json={"title": f"{n}", "plan": PLAN}) for n in range(MOST + 4)))
    assert sorted(answer.status_code for answer in said) == [201] * MOST + [409] * 4
    assert len(set(await titles(web))) == MOST


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"title": "", "plan": PLAN}, 400, "ERR_VALIDATION", "title"),
    ({"title": "\0\n", "plan": PLAN}, 400, "ERR_VALIDATION", "title"),
    ({"title": "x" * 121, "plan": PLAN}, 400, "ERR_VALIDATION", "title"),
    ({"title": "x", "plan": PLAN | {"metrics": []}}, 400, "ERR_VALIDATION", "plan.metrics"),
    ({"title": "x", "plan": PLAN | {"sql": "drop table pin"}}, 400, "ERR_VALIDATION", "plan.sql"),
    ({"title": "x", "plan": PLAN | {"metrics": ["oeee"]}}, 404, "ERR_BI_METRIC_NOT_FOUND", "metrics.0"),
    ({"title": "x", "plan": PLAN, "tenant": "other"}, 400, "ERR_VALIDATION", "tenant"),
]


async def test_what_cannot_be_asked_is_not_kept(web: httpx.AsyncClient) -> None:
    for sent, status, code, field in REFUSED:
        answer = await web.post(PATH, json=sent)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["fields"][0]["field"]) == (status, code, field), sent
    assert await titles(web) == []


async def test_hostile_ids_and_bodies_are_answered_and_change_nothing(web: httpx.AsyncClient) -> None:
    await pin(web, "'); drop table pin; --")
    for name in ("0", "-1", "1 or 1=1", "9" * 30, "٣", "%00"):
        assert (await web.patch(f"{PATH}/{name}", json={"version": 1, "place": 0})).status_code == 404
        assert (await web.delete(f"{PATH}/{name}?version=1")).status_code == 404
    assert (await web.delete(f"{PATH}/1?version=x")).status_code == 400
    assert (await web.patch(f"{PATH}/1", json={"version": 1})).status_code == 400
    assert (await web.patch(f"{PATH}/1", json={"version": 1, "place": -1})).status_code == 400
    assert (await web.post(PATH, content=b"[", headers={"Content-Type": "application/json"})).status_code == 400
    assert (await web.post(PATH, content=b"title=x")).status_code == 415
    assert await titles(web) == ["'); drop table pin; --"]
