"""Quality in the API on both databases: charts, control points, and the trace of a lot with all that belongs to it."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import quality_schemas as shapes
from cloud.api.answers import Answers
from cloud.api.today_routes import TodayAnswer
from cloud.app import create_app
from cloud.bi import today
from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.judgment import ActionDecided, ApprovalAnswered, CcpRecorded, FeedbackGiven, RulesetActivated
from tests.cloud.gateway import LINE, S, Start, state, verdict

MS = 1_000_000
LOT = "L-77/a"
MADE = f.Context(order="WO-7", product="water", lot=LOT)


@pytest.fixture
async def web(database: Database, plants: Plants) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Answers(database, plants, Bus()), CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as client:
        yield client


def history(begin: int) -> list[f.Fact]:
    """Two hours of a lot: measured in samples of three, one sample bad; a control point that left its limits."""
    draw = random.Random(5)
    facts: list[f.Fact] = [
        RulesetActivated(
            at=begin - S, work_unit=LINE, ruleset="filler", ruleset_version="1.2.0", ruleset_hash="ab" * 32, content=""
        ),
        state(begin, "EXECUTE"),
        f.StateChanged(at=begin + 3000 * S, work_unit=LINE, state="HELD", reason="jam", context=MADE),
        f.StateChanged(at=begin + 3300 * S, work_unit=LINE, state="EXECUTE", context=MADE),
        f.Gap(at=begin + 3700 * S, work_unit=LINE, start=begin + 3600 * S, source="opcua", tags=4, reason="cut"),
    ]
    for number in range(24):
        at = begin + (number + 1) * 300 * S
        facts.append(
            f.Produced(
                at=at,
                work_unit=LINE,
                start=at - 300 * S,
                produced=100,
                good=97,
                scrap=3,
                defects={"cap": 2, "label": 1},
                ideal_cycle_ms=2000.0,
                context=MADE,
            )
        )
        level = 512.0 if number == 23 else 500.0
        facts += [
            f.QualityMeasured(
                at=at + k,
                work_unit=LINE,
                characteristic="fill_weight",
                value=round(draw.gauss(level, 1), 3),
                unit="GRM",
                low=490,
                high=510,
                passed=number != 23,
                sample=f"S{number}",
                product="water",
                lot=LOT,
            )
            for k in range(3)
        ]
        warm = 8.1 if number == 20 else 5.0
        facts.append(
            CcpRecorded(
                at=at,
                work_unit=LINE,
                ccp="temperature",
                value=warm,
                unit="CEL",
                high=7.5,
                within=warm <= 7.5,
                context=MADE,
            )
        )
    judged = verdict(begin + 600 * S, "critical", number=3)
    facts += [
        f.Judged(
            **{
                name: getattr(judged, name)
                for name in judged.__struct_fields__
                if name not in {"context", "ruleset_version"}
            },
            context=MADE,
            ruleset_version="1.2.0",
        ),
        ActionDecided(
            at=begin + 601 * S,
            work_unit=LINE,
            action="act-1",
            action_type="stop_line",
            trust=2,
            score=0.8,
            risk="HIGH",
            mode="control",
            decision="require_approval",
            context=MADE,
        ),
        ApprovalAnswered(at=begin + 610 * S, work_unit=LINE, action="act-1", approved=True, actor="Kim"),
        FeedbackGiven(
            at=begin + 900 * S, work_unit=LINE, feedback="fb", target=judged.verdict_id, type="negative", actor="Lee"
        ),
    ]
    return facts


async def tell(database: Database, plants: Plants) -> int:
    """Store the history in yesterday's shift A and fill the marts; give its begin, ns."""
    calendar = plants["demo", "seoul"].calendar
    yesterday = calendar.local(time.time_ns() // MS) - timedelta(days=1)
    begin = int(yesterday.replace(hour=7, minute=0, second=0, microsecond=0).timestamp()) * S
    start = Start()
    items = [Item(start.address, start.resume()), Item(start.address, *start.facts(*history(begin)))]
    start.held = {}
    items.append(Item(start.address, start.heartbeat()))
    await database.write(lambda c: Ingest(plants).store(c, items))
    for _ in range(50):
        if not await database.write(lambda c: refresh(c, plants, time.time_ns() // MS + 10_000)):
            break
    return begin


async def get(web: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await web.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_line_is_summed_from_its_marts_and_charted_from_its_samples(
    web: httpx.AsyncClient, database: Database, plants: Plants
) -> None:
    await tell(database, plants)
    found = await get(web, "quality", work_unit=LINE)
    shapes.Quality.model_validate(found, strict=True)
    assert found["total"] == {
        "produced": 2400,
        "good": 2328,
        "scrap": 72,
        "rework": 0,
        "first_pass_yield": 0.97,
        "defect_rate": 0.03,
        "scrap_ratio": 0.03,
    }
    assert [(d["defect"], d["quantity"]) for d in found["defects"]] == [("cap", 48), ("label", 24)]
    assert found["defects"][-1]["cumulative"] == 1
    (measured,) = found["characteristics"]
    assert (measured["measured"], measured["failed"], measured["product"]) == (72, 3, "water")
    assert found["ccp_counts"] == {"records": 24, "out": 1, "untold": 0}
    assert [one["value"] for one in found["deviations"]] == [8.1]
    chart = await get(web, "quality/charts", work_unit=LINE, characteristic="fill_weight", product="water")
    shapes.CharacteristicChart.model_validate(chart, strict=True)
    assert (chart["kind"], len(chart["points"]), chart["values"]) == ("xbar", 24, 72)
    assert chart["specification"] == {"low": 490, "high": 510}
    assert "nelson_1" in [signal["rule"] for signal in chart["points"][-1]["signals"]]
    assert chart["capability"]["values"] == 72
    shapes.LineChart.model_validate(await get(web, "quality/defect-chart", work_unit=LINE), strict=True)
    whole = await get(web, "quality")
    assert whole["total"] == found["total"]


async def test_the_trace_of_a_lot_has_everything_and_says_what_is_missing(
    web: httpx.AsyncClient, database: Database, plants: Plants
) -> None:
    begin = await tell(database, plants)
    listed = await get(web, "quality/lots", search="wo-7")
    assert (listed["total"], listed["items"][0]["lot"], listed["items"][0]["good"]) == (1, LOT, 2328)
    trace = await get(web, f"quality/lots/{LOT}")
    shapes.LotTrace.model_validate(trace, strict=True)
    (made,) = trace["made"]
    assert (made["produced"], made["orders"], made["products"]) == (2400, ["WO-7"], ["water"])
    assert (len(trace["measurements"]), len(trace["ccp"])) == (72, 24)
    assert trace["control_points"][0] | {"unit": None} == {
        "site": "seoul",
        "work_unit": LINE,
        "ccp": "temperature",
        "unit": None,
        "records": 24,
        "out": 1,
        "untold": 0,
        "low": None,
        "high": 7.5,
    }
    (judged,) = trace["judgments"]
    assert judged["decisions"] == {"critical": 1}
    assert [(one["ruleset_version"], one["judgments"]) for one in judged["by_version"]] == [("1.2.0", 1)]
    assert [(one["name"], one["version"], one["hash"]) for one in trace["versions"]] == [("filler", "1.2.0", "ab" * 32)]
    assert [one["action"] for one in trace["actions"]] == ["act-1"]
    assert [(one["actor"], one["part"]) for one in trace["people"]] == [("Kim", "approved"), ("Lee", "feedback")]
    assert [stop["reason"] for stop in trace["stops"] if stop["time_element"] == "down"] == ["jam"]
    (gap,) = trace["gaps"]
    assert gap["source"] == "opcua"
    (answer,) = trace["completeness"]
    assert answer["gaps"][0]["source"] == "opcua"
    assert answer["sentence"]["ko"]
    assert trace["made"][0]["start"].startswith(time.strftime("%Y-%m-%dT%H", time.gmtime(begin / S)))


REFUSED = (
    ("quality?work_unit=bottling/line-9/filler", 404, "NOT_FOUND"),
    ("quality?first=2026-02-01&last=2026-01-01", 400, "ERR_VALIDATION"),
    ("quality?first=2020-01-01&last=2026-01-01", 400, "ERR_VALIDATION"),
    ("quality?first=yesterday", 400, "ERR_VALIDATION"),
    (f"quality/charts?work_unit={LINE}&characteristic=' or 1=1 --", 404, "NOT_FOUND"),
    (f"quality/charts?work_unit={LINE}&characteristic=fill_weight&rules=none", 400, "ERR_VALIDATION"),
    ("quality/lots/nothing", 404, "NOT_FOUND"),
    ("quality/lots/a%00b", 400, "ERR_VALIDATION"),
    ("quality/trace.csv?lot=nothing", 404, "NOT_FOUND"),
)


async def test_what_cannot_be_answered_says_why(web: httpx.AsyncClient) -> None:
    for path, status, code in REFUSED:
        answer = await web.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_every_table_is_csv_too_and_a_percent_sign_is_no_wildcard(
    web: httpx.AsyncClient, database: Database, plants: Plants
) -> None:
    await tell(database, plants)
    assert (await get(web, "quality/lots", search="%"))["total"] == 0
    for path, lines in (
        (f"quality/trace.csv?lot={LOT}&part=ccp", 25),
        (f"quality/trace.csv?lot={LOT}&part=verdicts", 2),
        (f"quality/charts.csv?work_unit={LINE}&characteristic=fill_weight", 25),
        ("quality/ccp.csv", 25),
        ("quality/defects.csv", 3),
        ("quality/characteristics.csv", 2),
        ("quality/lots.csv", 2),
    ):
        answer = await web.get(f"/api/v1/{path}")
        assert answer.headers["content-type"].startswith("text/csv")
        assert len(answer.text.strip().splitlines()) == lines, path


async def test_a_day_is_held_against_the_same_time_of_the_day_before(
    web: httpx.AsyncClient, database: Database, plants: Plants
) -> None:
    """One hour into the history's shift, a day later: 12 of its 24 five-minute counts lie before that moment."""
    begin_ms = await tell(database, plants) // MS
    later = begin_ms + 86_400_000 + 3_600_000
    was = await database.read(lambda c: today.before(c, plants, "demo", later))
    assert was["date"] == plants["demo", "seoul"].calendar.at(begin_ms).business_date
    assert (was["values"]["output"], was["values"]["defect_rate"]) == (12 * 97, 0.03)
    so_far = await database.read(lambda c: today.today(c, plants, "demo", begin_ms + 7_300_000))
    cards = {card["id"]: card for card in today.compared(so_far, was)["cards"]}
    assert (cards["output"]["value"], cards["output"]["change"], cards["output"]["better"]) == (2328, 12 * 97, True)
    assert (cards["defect_rate"]["tone"], cards["defect_rate"]["better"]) == ("below", None)
    assert cards["schedule_attainment"]["reason"] == "no_orders"
    TodayAnswer.model_validate(await get(web, "today"), strict=True)


def test_a_limit_that_is_reached_is_kept_whichever_way_is_better() -> None:
    aim = (0.85, 0.7, 0.6)
    told = [today.tone(value, aim, higher=True) for value in (0.9, 0.85, 0.8, 0.7, 0.65, 0.6, 0.5)]
    assert told == ["met", "met", "below", "below", "warning", "warning", "critical"]
    falling = (0.02, 0.05, 0.1)
    told = [today.tone(value, falling, higher=False) for value in (0.01, 0.02, 0.05, 0.06, 0.1, 0.2)]
    assert told == ["met", "met", "below", "warning", "warning", "critical"]
