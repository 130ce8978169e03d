"""The thin client against a running cloud, and CSV beside every list."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import exports
from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.client import ApiFailure, Cloud, UnreachableError
from cloud.config import load
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from cloud.seed import example
from sync import facts as f
from tests.cloud.api.conftest import served  # noqa: F401 - a fixture
from tests.cloud.gateway import Start
from tests.servers import free_port

PLAN = {
    "analysis": "RANK",
    "metrics": ["defect_rate"],
    "dimensions": ["line"],
    "period": {"relative": "last_7_days"},
    "order": "worst",
}


@pytest.fixture
def cloud(served):  # noqa: F811
    with Cloud(served.url) as client:
        yield client


def test_the_clients_methods_meet_a_running_cloud(cloud):
    lines = {line["work_unit"] for line in cloud.overview()["lines"]}
    assert "assembly/line-a/eq-501" in lines
    assert cloud.line("assembly/line-a/eq-501")["line"]["work_unit"] == "assembly/line-a/eq-501"
    assert [one["id"] for one in cloud.gateways()] == ["seed"]
    assert cloud.completeness(count=True)["gateways"][0]["streams"][0]["missing"] == 0
    day = datetime.now(UTC) - timedelta(days=1)
    assert "work_unit" in cloud.complete("assembly/line-a/eq-501", start=day, end=day + timedelta(hours=2))
    assert isinstance(cloud.alerts(), list)
    assert list(cloud.audit(actor="nobody")) == []


def test_lists_are_walked_page_by_page_and_as_csv_they_are_the_same(cloud):
    verdicts = list(cloud.verdicts(decision="warning"))
    assert len(verdicts) == cloud.get("verdicts", decision="warning", page_size=1)["total"] > 20
    assert len({one["verdict_id"] for one in verdicts}) == len(verdicts)
    assert cloud.verdict(verdicts[0]["verdict_id"])["decision"] == "warning"
    rows = list(cloud.csv("verdicts", decision="warning"))
    assert [row["verdict_id"] for row in rows] == [one["verdict_id"] for one in verdicts]
    assert rows[0]["summary.en"] == verdicts[0]["summary"]["en"]
    facts = list(cloud.csv("facts", kind="job_order"))
    assert len(facts) == cloud.get("facts", kind="job_order", page_size=1)["total"]
    everything = sum(1 for _ in cloud.csv("facts"))  # more than one part
    assert everything == cloud.get("facts", page_size=1)["total"] > 2 * exports.PART
    assert sum(1 for _ in cloud.facts(kind="production", work_unit="packaging/line-b/eq-503")) > 100


def test_a_question_is_answered_and_not_again_while_it_has_not_changed(cloud):
    answer = cloud.ask(PLAN)
    assert answer is not None
    assert answer.refused is None
    assert answer.rows[0]["line"] == "assembly/line-a/eq-501"
    assert answer.sentences["ko"]
    assert answer.sentences["en"]
    assert len(list(cloud.csv("bi/ask", plan=PLAN))) == len(answer.rows)
    again = cloud.ask(PLAN, etag=answer.etag)
    assert again is None or again.rows == answer.rows  # the day goes on while the test runs
    assert any(metric["id"] == "oee" for metric in cloud.catalogue()["metrics"])
    assert {one["value"] for one in cloud.values("line")} >= {"assembly/line-a/eq-501"}
    assert cloud.explain(PLAN)


def test_orders_are_ranked_by_their_pieces_although_none_lasts_five_shifts(cloud):
    ranked = cloud.ask(PLAN | {"dimensions": ["order"]})
    placed = [row for row in ranked.rows if row["rank"] is not None]
    assert placed
    assert all(row["low"] <= row["defect_rate"] <= row["high"] for row in placed)


def test_what_is_refused_says_why_and_what_to_check(cloud):
    with pytest.raises(ApiFailure) as refused:
        cloud.ask(PLAN | {"metrics": ["defect_rat"]})
    assert (refused.value.status, refused.value.code) == (404, "ERR_BI_METRIC_NOT_FOUND")
    assert refused.value.check
    with pytest.raises(ApiFailure, match="NOT_FOUND"):
        cloud.verdict("none")
    with pytest.raises(ApiFailure) as impossible:
        cloud.line("assembly/line-a/eq-501", start=datetime(1800, 1, 1, tzinfo=UTC))
    assert impossible.value.status == 400
    with pytest.raises(ApiFailure):
        list(cloud.csv("verdicts", decision="splendid"))
    with pytest.raises(ValueError, match="no time zone"):
        cloud.line("assembly/line-a/eq-501", start=datetime(2026, 1, 1))  # noqa: DTZ001
    with (
        Cloud(f"http://127.0.0.1:{free_port()}") as nobody,
        pytest.raises(UnreachableError, match="does the cloud run"),
    ):
        nobody.overview()


# --- CSV beside every list ---

ITSELF = {
    "/api/v1/overview": "a picture of now, no list; verdicts, alarms and gateways have their own",
    "/api/v1/lines/{work_unit}": "charts of one line; figures are bi/ask.csv",
    "/api/v1/lines/{work_unit:path}": "charts of one line; figures are bi/ask.csv",
    "/api/v1/verdicts/{verdict_id}": "one verdict",
    "/api/v1/completeness/answer": "one answer",
    "/api/v1/audit/stats": "counts of the list beside it",
    "/api/v1/bi/catalogue": "definitions",
    "/api/v1/bi/ask": "has its own",
    "/api/v1/quality": "its parts have their own: quality/ccp.csv and others",
}


def test_every_list_of_the_api_has_its_csv(tmp_path):
    settings = load(example.write(tmp_path))
    database = Database(f"sqlite:///{tmp_path / 'none.db'}")
    app = create_app(Answers(database, Plants(settings), Bus()), CollectorRegistry())
    database.close()
    paths = {route.path for route in exports.routes_of(app)}
    said = app.openapi()
    lists = []
    for path, operations in said["paths"].items():
        answer = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        name = answer.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        fields = said["components"]["schemas"].get(name, {}).get("properties", {})
        if path.startswith("/api/v1/") and ("total" in fields or "items" in fields):
            lists.append(path)
    assert len(lists) > 8
    assert not [path for path in lists if f"{path}.csv" not in paths and path not in ITSELF]
    assert not [path for path in exports.LISTS if path in paths and f"{path}.csv" not in paths]


async def test_a_cell_that_a_spreadsheet_would_run_is_text_and_an_empty_list_has_its_columns(
    settings, database, plants, monkeypatch
):
    start = Start()
    alarm = f.AlarmChanged(
        at=1_790_000_000 * 10**9,
        work_unit="bottling/line-1/filler",
        alarm='=cmd|"/c calc"!A1',
        active=True,
        severity="critical",
        summary={"ko": "+1", "en": 'said "stop",\nloudly'},
    )
    items = [Item(start.address, start.resume()), Item(start.address, *start.facts(alarm))]
    await database.write(lambda c: Ingest(plants).store(c, items))
    app = create_app(Answers(database, plants, Bus()), CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cloud") as web:
        answer = await web.get("/api/v1/alarms.csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.content.startswith(b"\xef\xbb\xbf")
        (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
        assert row["alarm"] == '\'=cmd|"/c calc"!A1'
        empty = (await web.get("/api/v1/verdicts.csv")).content.decode("utf-8-sig").splitlines()
        assert len(empty) == 1
        assert "decision" in empty[0].split(",")
        monkeypatch.setattr(exports, "MOST_ROWS", 0)
        refused = await web.get("/api/v1/alarms.csv")
        assert refused.status_code == 400
        assert "several files" in refused.json()["error"]["check"]
