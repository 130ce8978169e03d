"""The audit log's API: totals that are exact, filters that mean the same for items, totals, sums and the export."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from cloud.api import oversight_schemas as shapes
from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bi.audit import csv_line
from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import facts as f
from sync.topics import Address
from tests.cloud.gateway import S, Start

ZERO = 1_767_225_600 * S
"""2026-01-01T00:00:00Z."""
ACTORS = ("kim", "lee", "system")
ACTIONS = ("setpoint.changed", "gateway.started")


def audited(number: int) -> f.Audited:
    detail = {"값": f"조정_{number}%", "n": number} if number % 5 == 0 else {}
    return f.Audited(
        at=ZERO + number // 4 * 60 * S,  # four at once
        actor=ACTORS[number % 3],
        action=ACTIONS[number % 2],
        target=f"Press-{number % 7}",
        detail=detail,
    )


@pytest.fixture
async def web(database: Database, plants: Plants) -> AsyncIterator[httpx.AsyncClient]:
    """Give the API over 1,100 records of two gateways."""
    items: list[Item] = []
    for name, numbers in (("gw-1", range(800)), ("gw-2", range(800, 1100))):
        start = Start(address=Address("demo", "seoul", name))
        items.append(Item(start.address, start.resume()))
        for first in range(numbers.start, numbers.stop, 100):
            batch = [audited(i) for i in range(first, first + 100)]
            items.append(Item(start.address, *start.facts(*batch, stream=1)))
    await database.write(lambda c: Ingest(plants).store(c, items))
    await database.write(lambda c: Ingest(plants).store(c, items))  # all of it came twice
    app = create_app(Answers(database, plants, Bus()), CollectorRegistry())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud/api/v1") as client:
        yield client


async def get(web: httpx.AsyncClient, path: str = "/audit", **query) -> dict:
    answer = await web.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_total_is_exact_on_every_page(web: httpx.AsyncClient) -> None:
    seen: list[tuple] = []
    for page in range(1, 13):
        found = await get(web, page=page, page_size=100)
        shapes.AuditPage.model_validate(found, strict=True)
        assert (found["total"], found["total_pages"], found["page"]) == (1100, 11, page)
        assert found["has_next"] is (page < 11)
        assert len(found["items"]) == (100 if page < 12 else 0)
        seen += [(item["gateway"], item["inc"], item["seq"]) for item in found["items"]]
    assert len(set(seen)) == len(seen) == 1100


async def test_the_order_is_stable_where_times_are_equal(web: httpx.AsyncClient) -> None:
    items = (await get(web, page_size=100))["items"]
    keys = [(item["at"], item["gateway"], item["seq"]) for item in items]
    assert keys == sorted(keys, key=lambda key: (-int(key[0][11:13]) * 60 - int(key[0][14:16]), key[1], -key[2]))
    assert items == (await get(web, limit=100, offset=0))["items"]


async def test_default_sizes_and_both_ways_to_ask(web: httpx.AsyncClient) -> None:
    assert len((await get(web))["items"]) == 20
    cut = await get(web, offset=40)
    assert (len(cut["items"]), cut["page_size"], cut["page"]) == (100, 100, 1)
    paged = await get(web, page=3)
    assert paged["items"] == cut["items"][:20]
    assert (await get(web, limit=500))["has_next"]


async def test_filters_mean_the_same_for_items_total_and_sums(web: httpx.AsyncClient) -> None:
    everything = (await get(web, limit=500))["items"]
    for offset in (500, 1000):
        everything += (await get(web, limit=500, offset=offset))["items"]
    queries = [
        ({"actor": "kim"}, lambda i: i["actor"] == "kim"),
        (
            {"action": "gateway.started", "gateway": "gw-2"},
            lambda i: i["action"] == "gateway.started" and i["gateway"] == "gw-2",
        ),
        ({"target": "Press-3"}, lambda i: i["target"] == "Press-3"),
        ({"text": "조정_5"}, lambda i: "조정_5" in i["detail"].get("값", "")),
        ({"text": "5% KIM"}, lambda i: "5%" in i["detail"].get("값", "") and i["actor"] == "kim"),
        ({"text": "press-2 lee"}, lambda i: i["target"] == "Press-2" and i["actor"] == "lee"),
        ({"from": "2026-01-01T01:00:00Z", "to": "2026-01-01T02:00:00Z"}, lambda i: "T01:" in i["at"]),
        ({"text": "previous"}, lambda i: False),
        ({"text": "%"}, lambda i: "%" in str(i["detail"])),
        ({"text": "_"}, lambda i: "_" in str(i["detail"])),
        ({"actor": ""}, lambda i: True),
    ]
    for query, wanted in queries:
        expected = [item for item in everything if wanted(item)]
        found = await get(web, limit=500, **query)
        assert found["items"] == expected[:500], query
        assert found["total"] == len(expected), query
        stats = await get(web, "/audit/stats", **query)
        shapes.AuditStats.model_validate(stats, strict=True)
        assert stats["total"] == len(expected)
        for name, column in (("actors", "actor"), ("actions", "action"), ("gateways", "gateway")):
            assert sum(row["count"] for row in stats[name]) == len(expected)
            assert all(row["count"] == sum(i[column] == row[column] for i in expected) for row in stats[name])


async def test_the_export_streams_the_whole_selection(web: httpx.AsyncClient) -> None:
    answer = await web.get("/audit/export.csv", params={"actor": "kim"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    items = (await get(web, actor="kim", limit=500))["items"]
    assert [(row["gateway"], int(row["seq"]), row["target"]) for row in rows] == [
        (item["gateway"], item["seq"], item["target"]) for item in items
    ]
    whole = await web.get("/audit/export.csv")
    assert len(whole.text.splitlines()) == 1101


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    assert csv_line(["=cmd()", "+1", "-x", "@a", 'say "no", please', None, -5]) == (
        '\'=cmd(),\'+1,\'-x,\'@a,"say ""no"", please",,-5\r\n'
    )


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"page_size": 101},
        {"limit": 501},
        {"offset": -1},
        {"page": 1, "limit": 5},
        {"who": "kim"},
        {"from": "x"},
    ],
)
async def test_what_is_not_understood_is_refused(web: httpx.AsyncClient, query: dict) -> None:
    answer = await web.get("/audit", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "ERR_VALIDATION"


async def test_a_log_that_cannot_be_read_is_an_error_and_never_empty(
    web: httpx.AsyncClient, database: Database
) -> None:
    await database.write(lambda c: c.execute("alter table audit_entry rename to elsewhere"))
    for path in ("/audit", "/audit/stats", "/audit/export.csv"):
        answer = await web.get(path)
        assert answer.status_code in {500, 503}, path
        assert "items" not in answer.text


async def test_another_tenant_sees_nothing_of_it(web: httpx.AsyncClient, database: Database) -> None:
    assert (await web.get("/audit", params={"tenant": "other"})).status_code == 400
    assert (await get(web, tenant="demo"))["total"] == 1100


async def test_a_record_is_whole(web: httpx.AsyncClient) -> None:
    (item,) = (await get(web, text="조정_795%"))["items"]
    assert item["detail"] == {"값": "조정_795%", "n": 795}
    assert (item["gateway"], item["ord"], item["stream"], item["seq"]) == ("gw-1", 1, 1, 796)
    assert item["received"] is not None
