"""The same analyses over the real marts, asked as everybody asks, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud.api.bi import Bi
from cloud.bi.semantic.plan import Edit, Filter, Period, Plan
from cloud.bi.semantic.scope import Scope
from cloud.config import load
from cloud.database import Database
from cloud.plant import Plants
from cloud.tables.marts import MEASURES
from tests.cloud.bi.analyses.plant import days, shift_of
from tests.cloud.bi.analyses.test_analyses import story
from tests.cloud.bi.semantic.conftest import Truth, store

LAST = date(2026, 11, 22)
NOW = round(datetime(2026, 11, 23, 3, tzinfo=UTC).timestamp()) * 1000
LINES = {"LINE-A": "bottling/line-1/filler", "LINE-B": "bottling/line-2/filler"}


@pytest.fixture
async def bi(cloud_toml: Path, database: Database) -> Bi:
    """Four weeks of two lines and two products, with the planted story, its stops and its defects."""
    plants = Plants(load(cloud_toml))
    truth = Truth({name: [] for name in ("shift", "stop", "defect")})
    for day in days(28, LAST):
        for one in plants["demo", "seoul"].calendar.day(day.isoformat()):
            for name, unit in LINES.items():
                at = {"tenant": "demo", "site": "seoul", "work_unit": unit, "start_ms": one.start_ms}
                when = {"business_date": one.business_date, "shift": one.shift}
                stop = 0
                for product in ("PROD-W", "PROD-X"):
                    measures = dict.fromkeys(MEASURES, 0) | story(day, one.shift, name, product)
                    stop += measures["down_ms"]
                    truth.marts["shift"].append({**at, **when, "product": product, "end_ms": one.end_ms, **measures})
                    found = {"product": product, "defect": "scratch", "quantity": measures["scrap"]}
                    truth.marts["defect"].append({**at, **when, **found})
                for why, ms in (("jam", stop // 2), ("film_roll", stop - stop // 2)):
                    truth.marts["stop"].append(
                        {**at, **when, "element": "down", "reason": why, "duration_ms": ms, "stops": 1}
                    )
    await store(database, truth)
    return Bi(database, plants, now=lambda: NOW)


async def ask(bi: Bi, analysis: str, *metrics: str, **more: Any) -> dict[str, Any]:
    plan = {"analysis": analysis, "metrics": metrics, "period": Period(first=days(14, LAST)[0], last=LAST), **more}
    answer = (await bi.ask(Scope("demo"), Plan.model_validate(plan), language="en")).data
    assert len(answer["sentences"]["ko"]) == len(answer["sentences"]["en"]) > 0
    assert all(len(row) == len(answer["columns"]) for row in answer["rows"])
    return answer


async def test_the_planted_story_is_told_from_the_marts(bi: Bi):
    ranked = await ask(bi, "RANK", "scrap_ratio", dimensions=("line",))
    assert [row[0] for row in ranked["rows"]] == [1, 2]
    assert ranked["rows"][0][1].endswith("bottling/line-1/filler")
    cause = await ask(bi, "FIND_CAUSE", "scrap_ratio", dimensions=("line", "product", "shift"))
    standing = cause["findings"]["standing_out"]
    assert standing[0]["dimensions"] == ["line", "product"]
    assert standing[0]["keys"][1] == "PROD-X"
    assert (standing[1]["dimensions"], standing[1]["keys"]) == (["shift"], ["C"])
    assert {"line", "product", "shift", "line×product", "defect"} <= set(cause["findings"]["views"])
    for view in cause["findings"]["views"].values():
        assert view["sum"] == pytest.approx(cause["findings"]["change"], abs=1e-12)
    losses = await ask(bi, "FIND_CAUSE", "oee")
    for view in losses["findings"]["views"].values():
        assert view["sum"] == pytest.approx(losses["findings"]["change"], abs=1e-12)
    assert {"loss", "stop_reason"} <= set(losses["findings"]["views"])


async def test_what_if_is_recomputed_from_the_marts(bi: Bi):
    answer = await ask(
        bi, "WHAT_IF", "oee", edits=(Edit(what="stop", value="jam", percent=-100), Edit(what="scrap", percent=-50))
    )
    assert answer["refused"] is None
    steps = {step["name"]: step for step in answer["findings"]["waterfall"]}
    now = await bi.table(
        Scope("demo"), ("downtime", "produced", "oee"), period=Period(first=days(14, LAST)[0], last=LAST)
    )
    downtime, produced, oee = (cell.value or 0.0 for cell in now.rows[0].cells)
    assert steps["down"]["before_ms"] == round(downtime * 1000)
    assert steps["down"]["difference_ms"] == pytest.approx(-downtime * 500, abs=200)
    figures = answer["findings"]["figures"]
    assert figures["oee"]["before"] == pytest.approx(oee)
    assert figures["good"]["after"] > figures["good"]["before"]
    assert figures["good"]["after"] < produced * 1.1


QUESTIONS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("CHECK", ("oee", "scrap_ratio"), {}),
    ("CHECK", ("oee",), {"dimensions": ("line",)}),
    ("TREND", ("oee",), {}),
    ("TREND", ("scrap_ratio",), {"dimensions": ("line",), "grain": "shift"}),
    ("COMPARE", ("produced",), {"dimensions": ("shift",)}),
    ("COMPARE", ("stop_time",), {"dimensions": ("stop_reason",)}),
    ("RANK", ("stop_time",), {"dimensions": ("stop_reason",), "order": "most"}),
    ("CORRELATE", ("downtime", "produced"), {}),
    ("DETECT_ANOMALY", ("scrap_ratio",), {"filters": (Filter(dimension="shift", op="not_in", values=("C",)),)}),
    ("PREDICT", ("oee",), {"horizon": 5, "period": Period(first=days(28, LAST)[0], last=LAST)}),
    ("PREDICT", ("produced",), {"horizon": 5, "grain": "shift"}),
    ("FIND_CAUSE", ("stop_time",), {}),
    ("RANK", ("mtbf",), {"dimensions": ("line", "product")}),
)


async def test_every_analysis_answers_over_the_marts(bi: Bi):
    for analysis, metrics, more in QUESTIONS:
        answer = await ask(bi, analysis, *metrics, **more)
        assert answer["refused"] in {None, "worse_than_naive"}
        assert answer["rows"]
        assert answer["chart"] is not None


async def test_stocks_have_no_shifts_to_be_sampled(bi: Bi):
    for analysis in ("RANK", "COMPARE", "FIND_CAUSE", "CHECK"):
        more = {"dimensions": ("material",)} if analysis != "CHECK" else {}
        answer = await ask(bi, analysis, "inventory_coverage", **more)
        assert answer["refused"] or "no data" in " ".join(answer["sentences"]["en"])


def test_the_story_closes():
    assert sum(story(LAST, "A", "LINE-A", "PROD-X")[name] for name in ("apt_ms", "setup_ms", "down_ms")) == 160 * 60_000
    assert shift_of()["scheduled_ms"] == 480 * 60_000
