from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import httpx
import pytest
import uvicorn
from httpx_sse import aconnect_sse
from prometheus_client import CollectorRegistry

from cloud.api import line_schemas, schemas
from cloud.api.answers import Answers
from cloud.api.pulse import run_pulse
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Database
from cloud.ingest.flow import Flow
from cloud.ingest.items import Item
from cloud.ingest.metrics import Metrics
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh, run_refresher
from cloud.plant import Plants
from sync import facts as f
from sync.mqtt import Mqtt
from sync.reading import readings
from sync.topics import EVERYTHING_UP
from tests.cloud.gateway import LINE, S, Start, produced, state, verdict
from tests.cloud.peer import peer
from tests.servers import Broker, free_port

MS = 1_000_000


@pytest.fixture
def answers(database: Database, plants: Plants) -> Answers:
    return Answers(database, plants, Bus())


@pytest.fixture
async def web(answers: Answers) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(answers, CollectorRegistry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
        yield client


async def a_shift(database: Database, plants: Plants, *more: f.Fact) -> Start:
    """Store a little of the present shift: it runs since its begin, has made 100 pieces, 90 of them good."""
    now = time.time_ns()
    begin = plants["demo", "seoul"].calendar.at(now // MS).start_ms * MS
    start = Start()
    facts = [
        f.JobOrderPlanned(
            at=begin,
            work_unit=LINE,
            order="O1",
            product="P1",
            quantity=1000,
            start=begin,
            end=begin + 8 * 3600 * S,
            state="running",
        ),
        state(begin, "EXECUTE"),
        produced(begin, now, 100, 90, scrap=10, defects={"underfill": 7, "label": 3}, cycle_ms=2.0),
        verdict(now - S, "critical", number=7),
        f.AlarmChanged(at=now, work_unit=LINE, alarm="hot", active=True, severity="critical", verdict_id=f"{7:016x}"),
        *more,
    ]
    dictionary = start.facts(start.dictionary([f"{LINE}/temperature"]), stream=3)
    values = start.readings(readings([(0, 61.5, 0, now)], received=now), "0123456789abcdef")
    items = [Item(start.address, start.resume()), Item(start.address, *start.facts(*facts))]
    items += [Item(start.address, *dictionary), Item(start.address, *values)]
    start.held = {}
    items.append(Item(start.address, start.heartbeat()))
    ingest = Ingest(plants)
    await database.write(lambda c: ingest.store(c, items))
    await database.write(lambda c: refresh(c, plants, time.time_ns() // MS + 10_000))
    return start


async def test_the_overview_says_what_the_contract_says(web, database: Database, plants: Plants) -> None:
    await a_shift(database, plants)
    answer = await web.get("/api/v1/overview")
    overview = schemas.Overview.model_validate_json(answer.content, strict=True)
    line, idle = overview.lines
    assert (line.work_unit, line.area, line.work_center) == (LINE, "bottling", "line-1")
    assert line.name == {"ko": "1호기", "en": "Line 1"}
    assert (line.state, line.time_element, line.order, line.product) == ("EXECUTE", "production", "O1", "P1")
    assert (line.output.produced, line.output.good, line.output.scrap) == (100, 90, 10)
    assert line.output.planned_shift == 1000
    assert line.oee.quality_ratio == pytest.approx(0.9)
    assert line.oee.availability == pytest.approx(1.0)
    assert line.oee.reason is None
    assert line.alarms_active == 1
    assert line.verdict is not None
    assert line.verdict.decision == "critical"
    assert line.timeline[0].state == "EXECUTE"
    assert (idle.state, idle.oee.oee, idle.oee.reason, idle.verdict) == ("UNDEFINED", None, "no_states", None)
    gateway, never = overview.gateways
    assert (gateway.state, gateway.online, gateway.autonomy_hours) == ("connected", True, 120.5)
    assert (never.state, never.online, never.last_seen) == ("never", False, None)
    (proof,) = overview.proof
    assert (proof.produced, proof.stored, proof.waiting, proof.lost, proof.balanced) == (7, 7, 0, 0, True)
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_a_line_over_a_period(web, database: Database, plants: Plants) -> None:
    await a_shift(database, plants)
    answer = await web.get(f"/api/v1/lines/{LINE}")
    detail = line_schemas.LineDetail.model_validate_json(answer.content, strict=True)
    assert len(detail.hours) == 8
    assert sum(hour.produced for hour in detail.hours) == 100
    assert sum(hour.planned or 0 for hour in detail.hours) == 1000
    assert [(d.defect, d.quantity) for d in detail.defects] == [("underfill", 7), ("label", 3)]
    assert [v.verdict_id for v in detail.verdicts] == [f"{7:016x}"]
    (trend,) = detail.trends
    assert [(p.mean, p.bad) for p in trend.points] == [(61.5, 0)]
    week = await web.get(f"/api/v1/lines/{LINE}", params={"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z"})
    empty = line_schemas.LineDetail.model_validate_json(week.content)
    assert (empty.oee.oee, empty.oee.reason) == (None, "no_states")
    assert len(empty.hours) == 7 * 24


async def test_a_verdict_whole(web, database: Database, plants: Plants) -> None:
    start = await a_shift(database, plants)
    answer = await web.get(f"/api/v1/verdicts/{7:016x}")
    detail = schemas.VerdictDetail.model_validate_json(answer.content)
    assert detail.record == f"{start.inc}/2/4"
    assert detail.checks[0]["value"] == 61.5
    assert detail.summary["ko"] == "모두 정상입니다."


async def test_lists_page_with_exact_totals(web, database: Database, plants: Plants) -> None:
    now = time.time_ns()
    await a_shift(database, plants, *(verdict(now - i * S, "warning", number=100 + i) for i in range(2, 47)))
    answer = schemas.VerdictPage.model_validate_json((await web.get("/api/v1/verdicts?page=3&page_size=20")).content)
    assert (answer.total, len(answer.items)) == (46, 6)
    only = (await web.get("/api/v1/verdicts?decision=critical")).json()
    assert only["total"] == 1
    facts = schemas.FactPage.model_validate_json((await web.get("/api/v1/facts?kind=production")).content)
    assert facts.total == 1
    assert facts.items[0].body["defects"] == {"underfill": 7, "label": 3}
    alarms = schemas.AlarmPage.model_validate_json((await web.get("/api/v1/alarms")).content)
    assert [alarm.alarm for alarm in alarms.items] == ["hot"]
    assert (await web.get("/api/v1/gateways")).json()["gateways"][0]["page"] == "http://127.0.0.1:8091/"


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/api/v1/lines/bottling/line-9/filler", 404, "NOT_FOUND"),
        ("/api/v1/verdicts/nothing", 404, "NOT_FOUND"),
        ("/api/v1/verdicts?page=0", 400, "ERR_VALIDATION"),
        ("/api/v1/verdicts?page_size=1000", 400, "ERR_VALIDATION"),
        ("/api/v1/verdicts?decisoin=critical", 400, "ERR_VALIDATION"),
        ("/api/v1/overview?tenant=other", 400, "ERR_VALIDATION"),
        (f"/api/v1/lines/{LINE}?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "ERR_VALIDATION"),
        (f"/api/v1/lines/{LINE}?from=2020-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "ERR_VALIDATION"),
        (f"/api/v1/lines/{LINE}?from=yesterday", 400, "ERR_VALIDATION"),
        ("/api/v1/facts?kind=' or 1=1 --", 200, None),
        ("/api/v1/nothing", 404, "NOT_FOUND"),
        ("/docs", 404, "NOT_FOUND"),
    ],
)
async def test_errors_have_a_code_and_say_what_to_check(web, address: str, status: int, code: str | None) -> None:
    answer = await web.get(address)
    assert answer.status_code == status
    if code is None:
        assert answer.json()["total"] == 0
    else:
        problem = schemas.ProblemAnswer.model_validate_json(answer.content).error
        assert problem.code == code
        assert problem.check


async def test_metrics_tell_of_every_gateway(web, database: Database, plants: Plants) -> None:
    await a_shift(database, plants)
    text = (await web.get("/metrics")).text
    assert 'triflow_gateway_online{gateway="gw-1",site="seoul",tenant="demo"} 1.0' in text
    assert 'triflow_gateway_online{gateway="gw-2",site="seoul",tenant="demo"} 0.0' in text
    assert 'triflow_gateway_missing_records{gateway="gw-1",tenant="demo"} 0.0' in text


async def test_openapi_describes_every_answer(web) -> None:
    document = (await web.get("/openapi.json")).json()
    assert set(document["paths"]) >= {
        "/api/v1/overview",
        "/api/v1/lines/{work_unit}",
        "/api/v1/completeness",
        "/health",
    }
    overview = document["paths"]["/api/v1/overview"]["get"]["responses"]["200"]
    assert overview["content"]["application/json"]["schema"]["$ref"].endswith("/Overview")


async def test_there_is_no_link_switch_unless_one_is_configured(web) -> None:
    assert (await web.get("/api/v1/link")).json() == {"controllable": False, "cut": None}
    answer = await web.post("/api/v1/link", json={"cut": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await web.post("/api/v1/link", json={"cut": "yes"})).status_code == 400


async def test_the_link_switch_is_forwarded(web, answers: Answers) -> None:
    orders: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0]) if "content-length" in head else 0
        if length:
            orders.append(await reader.readexactly(length))
        body = b'{"cut": true}' if orders else b'{"cut": false}'
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        answers.link._control = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await web.get("/api/v1/link")).json() == {"controllable": True, "cut": False}
        assert (await web.post("/api/v1/link", json={"cut": True})).json() == {"controllable": True, "cut": True}
        assert [json.loads(order) for order in orders] == [{"cut": True}]
        assert (await web.get("/api/v1/overview")).json()["link"] == {"controllable": True, "cut": True}


@asynccontextmanager
async def serving(answers: Answers, broker: Broker) -> AsyncIterator[str]:
    """Run everything of one process: ingest, marts, pulse and the web, on a real socket."""
    port, registry = free_port(), CollectorRegistry()
    flow = Flow(answers.database, answers.plants, answers.bus, Metrics(registry))

    def connect() -> Mqtt:
        return Mqtt("127.0.0.1", broker.port, client_id="cloud", subscriptions=[EVERYTHING_UP])

    server = uvicorn.Server(uvicorn.Config(create_app(answers, registry), port=port, log_config=None, lifespan="off"))
    server.capture_signals = nullcontext
    tasks = [
        asyncio.create_task(flow.run(connect)),
        asyncio.create_task(run_refresher(answers.database, answers.plants, answers.bus)),
        asyncio.create_task(run_pulse(answers)),
    ]
    web = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        answers.bus.closing.set()
        server.should_exit = True
        await web
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_reading_reaches_an_open_page_by_itself(answers: Answers, broker: Broker) -> None:
    start = Start()
    tag = f"{LINE}/temperature"
    async with (
        serving(answers, broker) as address,
        httpx.AsyncClient(timeout=20) as client,
        aconnect_sse(client, "GET", f"{address}/api/v1/stream") as stream,
        peer(broker.port) as gateway,
    ):
        events = stream.aiter_sse()
        assert (await anext(events)).event == "hello"
        first = await anext(events)
        assert schemas.Overview.model_validate_json(first.data).lines[0].state == "UNDEFINED"
        await gateway.resume(start)
        now = time.time_ns()
        await gateway.send(start.facts(state(now, "EXECUTE")))
        await gateway.send(start.facts(start.dictionary([tag]), stream=3))
        await gateway.send(start.readings(readings([(0, 61.5, 0, now)], received=now), "0123456789abcdef"))
        seen: dict[str, object] = {}
        async with asyncio.timeout(20):
            async for event in events:
                if event.event == "readings":
                    seen |= json.loads(event.data)
                if event.event == "overview":
                    seen["state"] = json.loads(event.data)["lines"][0]["state"]
                if seen.get("state") == "EXECUTE" and tag in seen:
                    break
        assert seen[tag] == [61.5, 0, now // MS]
