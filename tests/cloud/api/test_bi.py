"""Questions through the API: answers, their keys, and everything that is refused; on both databases."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import bi_schemas as shapes
from cloud.api.answers import Answers
from cloud.api.bi import Bi
from cloud.api.errors import ApiError
from cloud.app import create_app
from cloud.bi.semantic.cache import Cache, Kept
from cloud.bi.semantic.plan import Filter, Period, Plan
from cloud.bi.semantic.scope import Scope
from cloud.bus import Bus
from cloud.config import load
from cloud.database import Database
from cloud.plant import Plants
from tests.cloud.bi.semantic.conftest import BERLIN, FIRST, NOW, Truth, make, store
from tests.cloud.conftest import write_cloud_toml

DEMO = Scope("demo")
WEEK = {"first": "2026-03-23", "last": "2026-03-29"}


@pytest.fixture
def cloud_toml(tmp_path: Path, database_url: str) -> Path:
    path = write_cloud_toml(tmp_path, database_url)
    path.write_text(path.read_text(encoding="utf-8") + BERLIN, encoding="utf-8")
    return path


@dataclass
class World:
    """A cloud with two plants' marts, and a clock that a test moves."""

    web: httpx.AsyncClient
    bi: Bi
    database: Database
    plants: Plants
    truth: Truth
    clock: list[int] = field(default_factory=lambda: [NOW])

    async def ask(self, scope: Scope = DEMO, language: Any = None, **plan: Any) -> Any:
        asked = {"analysis": "TREND", "metrics": ["produced"], "period": WEEK, "grain": "day", **plan}
        return await self.bi.ask(scope, Plan.model_validate(asked), language=language)

    async def post(self, path: str = "ask", headers: Any = None, **plan: Any) -> httpx.Response:
        asked = {"analysis": "TREND", "metrics": ["oee"], "period": WEEK, "grain": "day", **plan}
        return await self.web.post(f"/api/v1/bi/{path}?tenant=demo", json=asked, headers=headers)

    async def bump(self, mart: str) -> None:
        await self.database.write(
            lambda c: c.execute(
                "insert into mart_version(tenant, mart, version, refreshed_ms) values('demo',?,1,1)"
                " on conflict(tenant, mart) do update set version=mart_version.version+1",
                (mart,),
            )
        )


@pytest.fixture
async def world(database: Database, cloud_toml: Path) -> AsyncIterator[World]:
    plants = Plants(load(cloud_toml))
    truth = make(plants, random.Random(3))
    await store(database, truth)
    answers = Answers(database, plants, Bus())
    clock = [NOW]
    answers.bi = Bi(database, plants, now=lambda: clock[0])
    transport = httpx.ASGITransport(create_app(answers, CollectorRegistry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as web:
        yield World(web, answers.bi, database, plants, truth, clock)


async def test_a_question_is_answered_as_the_contract_says(world: World) -> None:
    answer = await world.post(metrics=["yield", "oee"])
    assert answer.status_code == 200, answer.text
    said = shapes.Asked.model_validate_json(answer.content, strict=True)
    assert (said.analysis, said.from_cache, said.cached_at, said.refused) == ("TREND", False, None, None)
    assert set(said.definitions) == {"first_pass_yield", "oee"}
    assert said.marts == ["mart_day"]
    assert (said.period.first, said.period.last) == (WEEK["first"], WEEK["last"])
    assert said.sentences["ko"]
    assert len(said.sentences["ko"]) == len(said.sentences["en"])
    # None of the lines was ever heard of, and no gateway either: that is said beside the figures.
    assert said.freshness.data_at is None
    assert set(said.freshness.silent) == {"gw-1", "gw-2"}
    again = shapes.Asked.model_validate_json((await world.post(metrics=["first_pass_yield", "oee"])).content)
    assert (again.from_cache, again.rows) == (True, said.rows)


async def test_the_rows_are_the_figures(world: World) -> None:
    said = (await world.ask(metrics=["produced"], filters=[{"dimension": "site", "values": ["Seoul"]}])).data
    made: dict[str, int] = {}
    for row in world.truth.marts["shift"]:
        if row["site"] == "seoul" and WEEK["first"] <= row["business_date"] <= WEEK["last"]:
            made[row["business_date"]] = made.get(row["business_date"], 0) + row["produced"]
    at = [column["name"] for column in said["columns"]].index("produced")
    assert {row[0]: row[at] for row in said["rows"]} == made


async def test_a_refused_answer_says_why_in_its_file_too(world: World) -> None:
    plan = json.dumps({"analysis": "PREDICT", "metrics": ["oee"], "period": {"relative": "yesterday"}})
    answer = await world.web.get("/api/v1/bi/ask.csv", params={"tenant": "demo", "plan": plan, "language": "en"})
    head, told = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert head == ["refused", "why"]
    assert told[0] in {"not_enough_history", "no_data"}
    assert told[1]


async def test_csv_has_the_same_rows(world: World) -> None:
    plan = json.dumps({"analysis": "TREND", "metrics": ["produced"], "period": WEEK, "grain": "day"})
    answer = await world.web.get("/api/v1/bi/ask.csv", params={"tenant": "demo", "plan": plan, "language": "en"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    said = (await world.ask(metrics=["produced"])).data
    assert len(rows) == len(said["rows"]) + 1
    assert [row[0] for row in rows[1:]] == [row[0] for row in said["rows"]]
    by_address = await world.web.get("/api/v1/bi/ask", params={"tenant": "demo", "plan": plan})
    assert by_address.json()["rows"] == said["rows"]


async def test_catalogue_values_and_explanation(world: World) -> None:
    found = await world.web.get("/api/v1/bi/catalogue", params={"tenant": "demo"})
    shapes.Catalogue.model_validate_json(found.content, strict=True)
    answer = await world.web.get("/api/v1/bi/values", params={"tenant": "demo", "dimension": "defect"})
    said = shapes.Values.model_validate_json(answer.content, strict=True)
    assert [one.value for one in said.items] == ["crack", "dent", "scratch"]
    for grain, mart, why in (
        ("day", "mart_day", "sums of whole days are enough"),
        ("shift", "mart_shift", "grain shift needs what is kept by shift"),
    ):
        told = shapes.Explained.model_validate_json((await world.post("explain", grain=grain)).content, strict=True)
        assert [part.mart for part in told.marts] == [mart]
        assert why in told.marts[0].why
        assert "tenant=?" in told.marts[0].sql
    hours = shapes.Explained.model_validate_json((await world.post("explain", grain="hour", metrics=["good"])).content)
    assert hours.marts[0].mart == "mart_hour"


REFUSED: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"metrics": ["oeee"]}, 404, "ERR_BI_METRIC_NOT_FOUND", "did you mean 'oee'", "metrics.0"),
    ({"metrics": ["oee", "nonsense"]}, 404, "ERR_BI_METRIC_NOT_FOUND", "there is no metric", "metrics.1"),
    ({"dimensions": ["linee"]}, 404, "ERR_BI_DATASET_NOT_FOUND", "did you mean 'line'", "dimensions.0"),
    ({"dimensions": ["lot"]}, 400, "ERR_BI_PLAN_FAILED", "oee is not kept by lot", "metrics.0"),
    (
        {"metrics": ["produced", "oee"], "dimensions": ["lot"]},
        400,
        "ERR_BI_PLAN_FAILED",
        "oee is not kept by lot, which produced is",
        "metrics.1",
    ),
    (
        {"metrics": ["oee", "availability"], "dimensions": ["line"]},
        400,
        "ERR_BI_PLAN_FAILED",
        "TREND by a dimension is of one metric",
        "metrics.1",
    ),
    ({"analysis": "RANK", "metrics": ["oee", "produced"]}, 400, "ERR_BI_PLAN_FAILED", "of one metric", "metrics.1"),
    ({"grain": "hour"}, 400, "ERR_BI_PLAN_FAILED", "oee is not kept by the hour", "metrics.0"),
    ({"dimensions": ["line", "line"]}, 400, "ERR_BI_PLAN_FAILED", "twice", "dimensions"),
    (
        {"filters": [{"dimension": "product", "values": ["P11"]}]},
        400,
        "ERR_BI_PLAN_FAILED",
        "did you mean 'P",
        "filters.0.values",
    ),
    (
        {"filters": [{"dimension": "shift", "values": ["Z"]}]},
        400,
        "ERR_BI_PLAN_FAILED",
        "there is no shift 'Z'",
        "filters.0.values",
    ),
    ({"period": {"first": "2031-01-01", "last": "2031-01-02"}}, 400, "ERR_BI_PLAN_FAILED", "future", "period"),
    ({"period": {"first": "2020-01-01", "last": "2026-01-02"}}, 400, "ERR_BI_PLAN_FAILED", "five years", "period"),
    ({"period": {"first": "2026-01-02", "last": "2026-01-01"}}, 400, "ERR_VALIDATION", "is after", "period"),
    ({"period": {}}, 400, "ERR_VALIDATION", "give either", "period"),
    ({"metrics": []}, 400, "ERR_VALIDATION", "at least 1", "metrics"),
    ({"metrics": ["oee'; drop table fact"]}, 400, "ERR_VALIDATION", "pattern", "metrics.0"),
    ({"sql": "select 1"}, 400, "ERR_VALIDATION", "not permitted", "sql"),
    ({"limit": 10_000_000}, 400, "ERR_VALIDATION", "less than or equal", "limit"),
]


async def test_what_cannot_be_asked_is_said_clearly(world: World) -> None:
    for plan, status, code, text, at in REFUSED:
        answer = await world.post(**{"metrics": ["oee"], **plan})
        assert answer.status_code == status, (plan, answer.text)
        error = answer.json()["error"]
        assert error["code"] == code, plan
        assert text in f"{error['message']}; {error['check']}"
        assert error["fields"][0]["field"] == at
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text


async def test_other_bodies_are_refused(world: World) -> None:
    path = "/api/v1/bi/ask?tenant=demo"
    assert (await world.web.post(path, content=b"analysis=TREND")).status_code == 415
    json_type = {"content-type": "application/json"}
    assert (await world.web.post(path, content=b"{", headers=json_type)).status_code == 400
    assert (await world.web.post(path, content=b"[" * 60_000, headers=json_type)).status_code == 400
    assert (await world.web.post(path, content=b" " * 70_000, headers=json_type)).status_code == 413
    assert (await world.web.post("/api/v1/bi/ask?tenant=nobody", json={})).status_code == 400
    long = await world.web.get("/api/v1/bi/ask", params={"tenant": "demo", "plan": "x" * 20_000})
    assert long.status_code == 400


async def test_too_long_a_question_ends_with_a_504(world: World) -> None:
    slow = Bi(world.database, world.plants, now=lambda: NOW, deadline_s=0.0)
    with pytest.raises(ApiError) as caught:
        await slow.table(DEMO, ("oee",), period=Period(relative="last_30_days"))
    assert (caught.value.status, caught.value.code) == (504, "ERR_BI_QUERY_TIMEOUT")


async def test_the_same_question_has_one_etag_and_costs_a_304(world: World) -> None:
    first = await world.post()
    again = await world.post(headers={"If-None-Match": f'"else", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    await world.bump("mart_day")
    changed = await world.post(headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["from_cache"] is False


async def test_every_part_of_a_question_is_in_its_key(world: World) -> None:
    """The same plan at two grains is two answers (fault F8), and so is every other difference."""
    asked = [
        {},
        {"grain": "week"},
        {"grain": "shift"},
        {"analysis": "CHECK"},
        {"metrics": ["availability"]},
        {"metrics": ["produced", "availability"]},
        {"dimensions": ["line"]},
        {"dimensions": ["product"]},
        {"filters": [{"dimension": "shift", "values": ["A"]}]},
        {"filters": [{"dimension": "shift", "op": "not_in", "values": ["A"]}]},
        {"period": {"first": "2026-03-23", "last": "2026-03-28"}},
        {"period": {"first": "2026-03-23", "last": "2026-03-29", "shift": "A"}},
        {"limit": 3},
        {"horizon": 9},
        {"language": "en"},
        {"scope": Scope("demo", sites=frozenset({"seoul"}))},
        {"scope": Scope("demo", lines=frozenset({("seoul", "bottling/line-1/filler")}))},
        {"scope": Scope("demo", lines=frozenset({("berlin", "bottling/line-1/filler")}))},
    ]
    tags = [(await world.ask(**one)).etag for one in asked]
    assert len(set(tags)) == len(asked)
    assert world.bi.made == len(asked)
    assert [(await world.ask(**one)).etag for one in asked] == tags
    assert world.bi.made == len(asked)
    daily, weekly = (await world.ask(**asked[0])).data, (await world.ask(**asked[1])).data
    assert len(daily["rows"]) > len(weekly["rows"])


async def test_a_narrower_scope_never_gets_the_wider_answer(world: World) -> None:
    narrow = Scope("demo", lines=frozenset({("seoul", "bottling/line-2/filler")}))
    wide = (await world.ask(dimensions=["line"], metrics=["produced"])).data
    mine = (await world.ask(narrow, dimensions=["line"], metrics=["produced"])).data
    assert mine["from_cache"] is False
    assert "line-1" not in json.dumps(mine["rows"])
    assert "berlin" not in json.dumps(mine).lower()
    assert len(json.dumps(wide["rows"])) > len(json.dumps(mine["rows"]))
    stranger = Scope("rival")
    assert "bottling" not in (await world.ask(stranger, metrics=["produced"])).body.decode()


async def test_an_answer_lasts_until_a_mart_it_read_changes(world: World) -> None:
    await world.ask()
    await world.bump("mart_order")
    assert (await world.ask()).data["from_cache"] is True
    world.clock[0] += 3_600_000  # time alone changes no past
    assert (await world.ask()).data["from_cache"] is True
    await world.bump("mart_day")
    assert (await world.ask()).data["from_cache"] is False
    assert (await world.ask()).data["from_cache"] is True


async def test_words_are_read_anew_when_the_day_is_over(world: World) -> None:
    today = (await world.ask(period={"relative": "yesterday"})).data
    world.clock[0] += 86_400_000
    tomorrow = (await world.ask(period={"relative": "yesterday"})).data
    assert tomorrow["from_cache"] is False
    assert today["period"] != tomorrow["period"]


async def test_a_target_that_is_set_makes_the_answer_anew(world: World) -> None:
    await world.ask(analysis="CHECK", metrics=["oee"], grain=None)
    sql = "insert into kpi_target(tenant, site, work_unit, kpi, target, warning, critical) values('demo','seoul','','oee',0.9,0.8,0.7)"  # fmt: skip
    await world.database.write(lambda c: c.execute(sql))
    assert (await world.ask(analysis="CHECK", metrics=["oee"], grain=None)).data["from_cache"] is False

    def read(look: Any) -> Any:
        assert look.target("teep") is None
        aims = [look.target("oee"), look.target("oee", "press/line-9/press")]
        return [(aim.target, aim.critical) for aim in aims]

    assert await world.bi.look(DEMO, read) == [(0.9, 0.7), (0.85, 0.60)]


async def test_the_silence_of_a_running_shift_grows_by_the_second(world: World) -> None:
    """A line that stopped telling: its unknown time is of the second asked, and the past stays where it was."""
    plant = world.plants["demo", "seoul"]
    shift = plant.calendar.at(NOW)
    assert shift.scheduled
    row = world.truth.marts["shift"][0] | {"site": "seoul", "work_unit": "bottling/line-1/filler", "product": ""}
    row |= {"start_ms": shift.start_ms, "end_ms": shift.end_ms, "business_date": shift.business_date, "shift": shift.shift}  # fmt: skip
    await store(world.database, Truth({"shift": [row]}))

    async def unknown() -> float:
        table = await world.bi.table(DEMO, ("unknown_time",), period=Period(relative="today"), filters=SEOUL)
        return table.rows[0].cells[0].numerator

    before, first = await unknown(), await world.ask(period={"relative": "today"})
    assert (await world.ask(period={"relative": "today"})).data["from_cache"] is True
    world.clock[0] += 1_000
    assert await unknown() == before + 1_000
    later = await world.ask(period={"relative": "today"})
    assert (later.data["from_cache"], later.etag != first.etag) == (False, True)


SEOUL = (Filter(dimension="site", values=("seoul",)),)


async def test_many_who_ask_the_same_wait_for_one_answer(world: World) -> None:
    found = await asyncio.gather(*(world.ask(dimensions=["product"], grain="shift") for _ in range(12)))
    assert len({one.etag for one in found}) == 1
    assert world.bi.made < 12
    assert world.bi.cache.bytes > 0


async def test_an_error_of_one_is_no_answer_for_the_next(world: World) -> None:
    for _ in range(2):
        with pytest.raises(ApiError):
            await world.ask(metrics=["oee"], dimensions=["lot"])
    assert (await world.ask()).data["refused"] is None


def test_the_cache_is_bounded_in_bytes() -> None:
    cache = Cache(most=10_000)
    for number in range(100):
        cache.put(f"k{number}", Kept(b"x" * 1_000, 0))
        assert cache.bytes <= 10_000
    assert cache.get("k99") is not None
    assert cache.get("k0") is None
    cache.put("huge", Kept(b"x" * 5_000, 0))
    assert cache.get("huge") is None
    kept = {f"k{n}" for n in range(100) if cache.get(f"k{n}")}
    cache.get(min(kept, key=lambda k: int(k[1:])))
    cache.put("new", Kept(b"x" * 1_000, 0))
    assert cache.get(min(kept, key=lambda k: int(k[1:]))) is not None


async def test_one_look_is_one_moment(world: World) -> None:
    """What is written while an analysis reads is not in it."""
    began, wrote = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(look: Any) -> tuple[Any, Any]:
        ask = {"period": Period(first=FIRST, last=FIRST)}
        first = look.table(("produced",), **ask).rows
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(wrote.wait(), loop).result(10)
        return first, look.table(("produced",), **ask).rows

    async def change() -> None:
        await began.wait()
        await world.database.write(lambda c: c.execute("update mart_day set produced=produced+1000"))
        wrote.set()

    (first, second), _ = await asyncio.gather(world.bi.look(DEMO, work), change())
    assert first == second
    (after,) = (await world.bi.table(DEMO, ("produced",), period=Period(first=FIRST, last=FIRST))).rows
    assert after.cells[0].value > first[0].cells[0].value


async def test_the_wall_clock_is_the_clock(world: World) -> None:
    bi = Bi(world.database, world.plants)
    table = await bi.table(DEMO, ("oee",), period=Period(relative="today"))
    assert abs(table.freshness.as_of_ms - time.time_ns() // 1_000_000) < 60_000
