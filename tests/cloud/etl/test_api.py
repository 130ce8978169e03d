from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import etl_schemas as shapes
from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Database
from cloud.etl import mismatches
from cloud.etl.recompute import Difference
from cloud.plant import Plants
from tests.cloud.etl.conftest import HOUR, MS, Cloud, now_ms
from tests.cloud.gateway import LINE, produced, state

WHO = {"by": "kim", "reason": "miscounted"}


@pytest.fixture
async def web(database: Database, plants: Plants, cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(Answers(database, plants, Bus()), CollectorRegistry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud/api/v1") as client:
        yield client


async def get(web: httpx.AsyncClient, path: str, shape: type, **query):
    answer = await web.get(path, params=query)
    assert answer.status_code == 200, answer.text
    shape.model_validate(answer.json())
    return answer.json()


async def test_facts_are_corrected_released_and_restated_over_the_api(cloud: Cloud, web: httpx.AsyncClient) -> None:
    at = (now_ms() - 30 * HOUR) * MS
    fact = produced(at, at + 60_000 * MS, 10, 10)
    await cloud.send(fact, msgspec.structs.replace(fact, start=at - 5, good=1100), state(at, "EXECUTE"))
    await cloud.refresh()
    inc = cloud.start.inc
    better = msgspec.to_builtins(msgspec.structs.replace(fact, good=8, scrap=2))
    done = await web.post(f"/facts/{inc}/2/1/correction", json={**WHO, "replacement": better})
    assert done.json() == {"rev": 1, "state": "counts", "new": True, "buckets": 2}
    again = await web.post(f"/facts/{inc}/2/1/correction", json={**WHO, "replacement": better, "rev": 1})
    assert again.json() == {"rev": 1, "state": "standing", "new": False, "buckets": 0}
    await cloud.refresh()
    assert await cloud.rows("select good from mart_shift where produced>0") == [(8,)]
    told = await get(web, f"/facts/{inc}/2/1/revisions", shapes.Revisions)
    assert [(one["rev"], one["state"], one["body"]["good"]) for one in told["revisions"]] == [
        (0, "superseded", 10),
        (1, "standing", 8),
    ]
    # Of a fact that has not arrived yet.
    early = await web.post(f"/facts/{inc}/2/4/correction", json={**WHO, "replacement": None})
    assert early.json()["state"] == "waiting"
    assert not (await get(web, f"/facts/{inc}/2/4/revisions", shapes.Revisions))["arrived"]
    await cloud.send(produced(at, at + 50_000 * MS, 99, 99))
    await cloud.refresh()
    assert await cloud.rows("select produced from mart_shift where produced>0") == [(10,)]

    held = await get(web, "/etl/dead-letters", shapes.LetterPage, held=True, state="open")
    assert (held["total"], held["items"][0]["code"]) == (1, "more_than_produced")
    letter = held["items"][0]
    assert letter["why"]["en"] == "1100 good and 0 scrap of 10 produced"
    assert (letter["gateway"], letter["work_unit"], letter["inc"], letter["seq"]) == ("gw-1", LINE, inc, 2)
    lines = (await web.get("/etl/dead-letters.csv", params={"held": True})).text.lstrip("\ufeff")
    assert [row["id"] for row in csv.DictReader(io.StringIO(lines))] == [letter["id"]]
    retried = await web.post("/etl/dead-letters/retry", json=WHO)
    assert retried.json() == {"passed": 0, "still_held": 1}
    assert (await web.post(f"/etl/dead-letters/{letter['id']}/release", json=WHO)).json()["state"] == "released"
    await cloud.refresh()
    assert await cloud.rows("select sum(produced) from mart_shift") == [(20,)]

    period = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    job = await web.post("/etl/restatements", json={**WHO, **period, "lines": [LINE], "dry_run": True})
    assert job.status_code == 202
    rebuild = await web.post("/bi/mv-refresh", json=WHO)
    await cloud.work()
    found = await get(web, f"/etl/jobs/{rebuild.json()['id']}", shapes.JobDetail)
    assert (found["state"], found["equal"], found["figures"]) == ("done", True, [])
    listed = await get(web, "/etl/jobs", shapes.JobPage)
    assert [(one["kind"], one["state"]) for one in listed["items"]] == [("rebuild", "done"), ("restate", "done")]
    audit = await get(web, "/etl/audit", shapes.DeedPage)
    assert [one["action"] for one in audit["items"]] == ["rebuild", "restate", "release", "retry", "retract", "correct"]

    status = await get(web, "/etl/status", shapes.EtlStatus)
    marts = {one["name"]: one for one in status["marts"]}
    assert marts["mart_shift"]["status"] == "fresh"
    assert marts["mart_shift"]["duration_ms"] > 0
    assert marts["mart_shift"]["rows"] == (await cloud.rows("select count(*) from mart_shift"))[0][0]
    assert {
        "mv_defect_trend",
        "mv_oee_daily",
        "mv_inventory_coverage",
        "mv_line_performance",
        "mv_quality_summary",
    } <= set(marts)
    assert status["dead_letters"]["released"] == 1
    assert [one["gateway"] for one in status["ingest"]] == ["gw-1", "gw-2"]
    assert (await get(web, "/bi/mv-status", shapes.MvStatus))["items"] == status["marts"]
    assert len((await get(web, "/etl/rules", shapes.Rules))["items"]) > 15


INC = "0" * 32
WRONG = [
    ("post", f"/facts/{INC}/2/1/correction", {"by": "", "reason": "x", "replacement": None}, 400),
    ("post", f"/facts/{INC}/2/1/correction", {"by": "k", "reason": "x"}, 400),
    ("post", f"/facts/{INC}/2/1/correction", {**WHO, "replacement": {"kind": "nothing"}}, 400),
    ("post", f"/facts/{INC}/2/1/correction", {**WHO, "replacement": None, "rev": 0}, 400),
    ("post", f"/facts/{INC}/9/1/correction", {**WHO, "replacement": None}, 400),
    ("post", f"/facts/{INC}/2/{2**70}/correction", {**WHO, "replacement": None}, 404),
    ("post", "/facts/'; drop table fact;--/2/1/correction", {**WHO, "replacement": None}, 404),
    ("get", f"/facts/{INC}/2/1/revisions", None, 404),
    ("get", "/etl/jobs/999999", None, 404),
    ("get", f"/etl/jobs/{2**70}", None, 404),
    ("get", "/etl/dead-letters?state=lost", None, 400),
    ("get", "/etl/dead-letters?code=' or 1=1--", None, 400),
    ("get", "/etl/dead-letters?page=0", None, 400),
    ("get", "/etl/dead-letters.csv?colour=blue", None, 400),
    ("post", "/etl/dead-letters/f999/release", WHO, 404),
    ("post", "/etl/dead-letters/f'/release", WHO, 404),
    ("post", "/etl/dead-letters/c1/release", WHO, 409),
    ("post", "/etl/restatements", {**WHO, "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, 400),
    ("post", "/etl/restatements", {**WHO, "from": "soon", "to": "2026-01-01T00:00:00Z"}, 400),
    ("post", "/bi/mv-refresh", {"by": "kim"}, 400),
]  # fmt: skip


async def test_what_cannot_be_is_said_and_changes_nothing(cloud: Cloud, web: httpx.AsyncClient) -> None:
    for method, path, body, status in WRONG:
        answer = await web.request(method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]
        assert error["check"]
    assert await cloud.rows("select count(*) from deed") == [(0,)]
    assert await cloud.rows("select count(*) from correction") == [(0,)]


async def test_what_differs_and_is_no_number_is_said_on_the_data_page_too(cloud: Cloud, web: httpx.AsyncClient) -> None:
    where = {
        "place": ("demo", "seoul", LINE),
        "kind": "shift",
        "start_ms": now_ms(),
        "mart": "mart_shift",
        "line": "{}",
    }
    wrong = [
        Difference(**where, measure="shift", stored='"night"', recomputed='"morning"'),
        Difference(**where, measure="produced", stored="12345", recomputed=None),
    ]
    await cloud.do(lambda c: mismatches.note(c, wrong, now_ms()))
    page = await web.get("http://cloud/data")
    assert page.status_code == 200
    assert all(said in page.text for said in (">night<", ">morning<", ">12,345<"))
