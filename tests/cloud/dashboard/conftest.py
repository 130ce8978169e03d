"""A running cloud with real records in a real database, and a real browser to look at it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright
from prometheus_client import CollectorRegistry

from cloud import config
from cloud.api.answers import Answers
from cloud.api.pulse import run_pulse
from cloud.app import create_app
from cloud.bus import Bus
from cloud.database import Connection, Database, open_database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from sync import facts as f
from sync.frames import Loss
from sync.topics import Address
from tests.cloud.gateway import Start
from tests.servers import free_port

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CHROMIUM += ["--disable-sync", "--no-first-run", "--disable-default-apps", "--disable-dev-shm-usage"]

FILE = """
safe = "stored"
{link}
[http]
port = {port}

[[site]]
tenant = "demo"
id = "seoul"
name = {{ko = "서울 공장", en = "Seoul plant"}}
timezone = "Asia/Seoul"

[[site.shift]]
code = "D"
start = 00:00:00
end = 00:00:00

[[site.work_unit]]
path = "bottling/line-1/filler"
name = {{ko = "1라인 충전기", en = "Line 1 filler"}}

[[site.work_unit]]
path = "bottling/line-2/filler"
name = {{ko = "2라인 충전기", en = "Line 2 filler"}}

[[gateway]]
tenant = "demo"
site = "seoul"
id = "gw-opcua"
key = {{credential = "gw-opcua.key"}}
page = "http://127.0.0.1:8091/"
"""

SECOND = 1_000_000_000
LINE_1, LINE_2 = "bottling/line-1/filler", "bottling/line-2/filler"


@dataclass
class Hall:
    """A cloud that serves on `url`, and the pen that writes records into it as its gateway would."""

    url: str
    database: Database
    plants: Plants
    bus: Bus
    start: Start = field(default_factory=lambda: Start(address=Address("demo", "seoul", "gw-opcua")))

    async def say(self, *facts: f.Fact) -> None:
        """Store facts as a chunk of the event stream and recompute what they touch."""
        await self._store(self.start.facts(*facts))

    async def beat(self, *, waiting: int = 0, losses: list[Loss] | None = None) -> None:
        """Beat as a gateway that holds `waiting` records more than it sent, and has lost some for ever."""
        stream, start = int(f.Stream.EVENT), self.start
        sent = start.last.get(stream, 0)
        start.losses[stream] = losses or []
        gone = sum(loss.last - loss.first + 1 for loss in start.losses[stream])
        last = start.last[stream] = sent + gone + waiting
        start.held[stream] = [(last - waiting + 1, last)] if waiting else []
        await self._store((start.resume(), b""), (start.heartbeat(), b""))

    async def _store(self, *frames: tuple[Any, bytes]) -> None:
        items = [Item(self.start.address, frame, body) for frame, body in frames]

        def work(connection: Connection) -> None:
            Ingest(self.plants).store(connection, items)
            refresh(connection, self.plants, time.time_ns() // 1_000_000 + 10_000)  # what is due in a moment, too

        await self.database.write(work)
        self.bus.changed.set()

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient(base_url=self.url) as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()


class Switch:
    """A link control server as the demo has one: GET and POST /link on its own port."""

    def __init__(self) -> None:
        switch = self
        self.cut = False
        self.orders: list[bool] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                switch.cut = orjson.loads(self.rfile.read(int(self.headers["content-length"])))["cut"]
                switch.orders.append(switch.cut)
                self._answer()

            def _answer(self) -> None:
                body = orjson.dumps({"cut": switch.cut})
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def switch() -> Iterator[Switch]:
    running = Switch()
    thread = Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.05}, name="pytest-switch")
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@contextlib.asynccontextmanager
async def running_cloud(folder: Path, link: str | None = None, more: str = "") -> AsyncIterator[Hall]:
    """Serve the real application over a fresh database in `folder`. more: what cloud.toml holds besides."""
    port = free_port()
    (folder / "credentials").mkdir()
    (folder / "credentials" / "gw-opcua.key").write_text(secrets.token_hex(32))
    text = FILE.format(port=port, link=f'link_control = "{link}"' if link else "")
    (folder / "cloud.toml").write_text(text + more)
    plants = Plants(config.load(folder / "cloud.toml"))
    async with open_database(plants.settings.database_url) as database:
        bus = Bus()
        answers = Answers(database, plants, bus)
        app = create_app(answers, CollectorRegistry())
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off", ws="none"))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(), name="http")
            pulse = tasks.create_task(run_pulse(answers), name="pulse")
            while not server.started:
                await asyncio.sleep(0.01)
            yield Hall(f"http://127.0.0.1:{port}", database, plants, bus)
            bus.closing.set()
            server.should_exit = True
            await serving
            pulse.cancel()


@pytest.fixture
async def cloud(tmp_path: Path, switch: Switch) -> AsyncIterator[Hall]:
    async with running_cloud(tmp_path, switch.url) as hall:
        yield hall


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        program = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield program
        await program.close()


class Visitor:
    """One person's browser: opens pages, and notes every request that leaves and every complaint of the console."""

    def __init__(self, context: BrowserContext, page: Page, home: str) -> None:
        self.context, self.page, self.home = context, page, home
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    async def open(self, path: str) -> Page:
        """Open a page and wait until it is live."""
        await self.page.goto(self.home + path)
        await self.page.wait_for_selector("body[data-stream=live]")
        return self.page

    def check(self) -> None:
        """Nothing went elsewhere, and the console has nothing to say."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(self.home + "/")] == []


@dataclass
class Door:
    """Lets visitors in, each with own cookies, language, light and screen."""

    browser: Browser
    home: str

    @contextlib.asynccontextmanager
    async def visitor(
        self, *, language: str = "en-GB", scheme: str = "light", width: int = 1440, height: int = 900
    ) -> AsyncIterator[Visitor]:
        context = await self.browser.new_context(
            locale=language,
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
        )
        visitor = Visitor(context, await context.new_page(), self.home)
        yield visitor
        await context.close()


@pytest.fixture
def door(browser: Browser, cloud: Hall) -> Door:
    return Door(browser, cloud.url)


def shift_of_work(now: int) -> list[f.Fact]:
    """What two lines of a hall do in half an hour: one runs, one breaks down and is judged critical."""
    made = f.Context(order="WO-1", product="water-500", lot="L-1")
    start = now - 1800 * SECOND
    facts: list[f.Fact] = [
        f.StateChanged(at=start, work_unit=LINE_1, state="EXECUTE", context=made),
        f.StateChanged(at=start, work_unit=LINE_2, state="EXECUTE", context=made),
        f.JobOrderPlanned(
            at=start,
            work_unit=LINE_1,
            order="WO-1",
            product="water-500",
            quantity=4000,
            start=start,
            end=now + 3600 * SECOND,
            state="running",
            ideal_cycle_ms=600.0,
        ),
    ]
    for minute in range(0, 30, 5):
        at = start + (minute + 5) * 60 * SECOND
        facts += [
            f.Produced(
                at=at,
                work_unit=unit,
                start=at - 300 * SECOND,
                produced=210,
                good=205,
                scrap=5,
                defects={"underfill": 3, "cap": 2},
                ideal_cycle_ms=1000.0,
                context=made,
            )
            for unit in (LINE_1, LINE_2)
        ]
    summary = {"ko": "베어링 진동이 12.4 mm/s로 기준을 넘었습니다.", "en": "Bearing vibration is 12.4 mm/s, too high."}
    fine = {"ko": "모두 기준 안에 있습니다.", "en": "All within limits."}
    rules: dict[str, Any] = {
        "ruleset": "filler",
        "ruleset_version": "1.0.0",
        "ruleset_hash": "ab" * 32,
        "policy": "rule_only",
        "source": "rule",
    }
    facts += [
        f.StateChanged(at=now - 300 * SECOND, work_unit=LINE_2, state="ABORTED", reason="bearing_fault", context=made),
        f.Judged(
            at=now - 5 * SECOND,
            start=now - 15 * SECOND,
            work_unit=LINE_1,
            verdict_id="a" * 32,
            decision="normal",
            severity="info",
            confidence=0.88,
            summary=fine,
            context=made,
            **rules,
        ),
        f.Judged(
            at=now - 4 * SECOND,
            start=now - 14 * SECOND,
            work_unit=LINE_2,
            verdict_id="b" * 32,
            decision="critical",
            severity="critical",
            confidence=0.93,
            summary=summary,
            context=made,
            checks=[f.Check(name="vibration", status="critical", value=12.4, threshold=11.2, unit="C16")],
            inputs={"vibration": 12.4},
            components={"match": 0.9, "quality": 1.0},
            actions=[{"action_type": "stop", "ko": "정지하십시오.", "en": "Stop the line."}],
            **rules,
        ),
        f.AlarmChanged(
            at=now - 4 * SECOND,
            work_unit=LINE_2,
            alarm="vibration",
            active=True,
            severity="critical",
            summary=summary,
            verdict_id="b" * 32,
        ),
    ]
    return facts
