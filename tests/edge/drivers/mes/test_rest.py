from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.connections import Mes
from edge.drivers import open_source
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.mes.rest import MesSource
from sync.clock import WallClock
from sync.facts import Context, InventoryCounted, JobOrderPlanned, ProductDefined
from sync.secret import Credential, SecretError
from tests.contracts.driver_contract import until
from tests.servers import free_port

FILLER, PACKER = "bottling/line-1/filler", "packaging/line-4/packer"


class MesServer:
    """A real HTTP server that answers what a test put there."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 200
        self.token: str | None = None
        self.raw: bytes | None = None
        self.answered: list[int] = []
        self.polled = asyncio.Event()
        self.orders: list[dict[str, Any]] = [self.order("A-1", FILLER), self.order("B-1", PACKER)]
        self.products = [
            {"product": "cola-330", "name": {"ko": "콜라", "en": "Cola"}, "ideal_cycle_ms": {FILLER: 600.0}},
        ]
        self.inventory = [
            {"material": "caps", "location": "W1", "quantity": 1000, "unit": "C62", "daily_usage": 250.5},
        ]
        self.contexts = {
            FILLER: {"order": "A-1", "product": "cola-330", "lot": "L1", "shift": "day"},
            PACKER: {"order": None, "product": None, "lot": None, "shift": "day"},
        }
        self._server: uvicorn.Server | None = None

    def order(self, number: str, work_unit: str, **more: Any) -> dict[str, Any]:
        return {
            "order": number, "product": "cola-330", "lot": "L1", "work_unit": work_unit, "quantity": 1200,
            "start": "2026-01-02T06:00:00Z", "end": "2026-01-02T15:00:00+09:00", "state": "running",
            "ideal_cycle_ms": 600, **more,
        }  # fmt: skip

    def config(self, **more: Any) -> Mes:
        return Mes(**{"driver": "mes", "name": "mes", "url": f"http://127.0.0.1:{self.port}", "period_s": 0.2, **more})

    def source(self) -> MesSource:
        return MesSource(self.config(), [FILLER, PACKER], WallClock())

    async def _answer(self, request: Request) -> Response:
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(status_code=401)
        unit = request.query_params.get("work_unit")
        content: Any = {
            "job-orders": [order for order in self.orders if order["work_unit"] == unit],
            "products": self.products,
            "inventory": self.inventory,
            "context": self.contexts.get(unit or ""),
        }[request.path_params["what"]]
        if content is None:
            return Response(status_code=404)
        body = self.raw if self.raw is not None else json.dumps(content).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        status = 304 if self.status == 200 and request.headers.get("if-none-match") == etag else self.status
        self.answered.append(status)
        self.polled.set()
        return Response(b"" if status == 304 else body, status, {"etag": etag}, "application/json")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[MesServer]:
        app = Starlette(routes=[Route("/api/{what}", self._answer)])
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None
        listener = socket.create_server(("127.0.0.1", self.port))
        task = asyncio.create_task(self._server.serve([listener]))
        await until(lambda: self._server.started, "the MES serves")
        try:
            yield self
        finally:
            self._server.should_exit = True
            await task
            listener.close()

    def connections(self) -> int:
        return len(self._server.server_state.connections)


async def test_the_first_poll_gives_orders_products_stock_and_context() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        news = (await anext(facts)).facts
        at = news[0].at
        start, end = 1_767_333_600 * 10**9, 1_767_333_600 * 10**9
    common = {"product": "cola-330", "lot": "L1", "quantity": 1200, "start": start, "end": end, "state": "running"}
    assert news == [
        ProductDefined(at=at, product="cola-330", name={"ko": "콜라", "en": "Cola"}, ideal_cycle_ms={FILLER: 600.0}),
        InventoryCounted(at=at, material="caps", location="W1", quantity=1000.0, unit="C62", daily_usage=250.5),
        JobOrderPlanned(at=at, work_unit=FILLER, order="A-1", ideal_cycle_ms=600.0, **common),
        JobOrderPlanned(at=at, work_unit=PACKER, order="B-1", ideal_cycle_ms=600.0, **common),
    ]
    assert source.contexts == {
        FILLER: Context(order="A-1", product="cola-330", lot="L1", shift="day"),
        PACKER: Context(shift="day"),
    }


async def test_afterwards_only_what_is_new_or_changed_is_given() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        mes.answered.clear()
        assert (await anext(facts)).facts == []
        assert mes.answered == [304] * 6
        mes.orders[0] = mes.order("A-1", FILLER, state="completed")
        mes.orders.append(mes.order("A-2", FILLER))
        mes.contexts[FILLER] = {"order": "A-2", "product": "cola-330", "lot": "L2", "shift": "day"}
        news = (await anext(facts)).facts
        assert [(fact.order, fact.state) for fact in news] == [("A-1", "completed"), ("A-2", "running")]
        assert source.contexts[FILLER] == Context(order="A-2", product="cola-330", lot="L2", shift="day")


@pytest.mark.parametrize(
    ("status", "raw", "said"),
    [
        (401, None, "token"),
        (500, None, "MES's own log"),
        (404, None, "url"),
        (200, b"<html>", "agreed JSON"),
        (200, b'[{"product": 7}]', r"\$\[0\].product"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_an_error_that_says_what_to_check(status, raw, said) -> None:
    async with MesServer().running() as mes:
        mes.status, mes.raw = status, raw
        with pytest.raises(DriverError, match=said):
            async with mes.source():
                pass


async def test_a_work_unit_where_nothing_runs_has_an_empty_context() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        running = mes.contexts.pop(FILLER)
        await anext(facts)
        assert source.contexts[FILLER] == Context()
        mes.contexts[FILLER] = running
        await anext(facts)
        assert source.contexts[FILLER].order == "A-1"


async def test_a_time_without_a_zone_is_refused() -> None:
    async with MesServer().running() as mes, mes.source() as source, aclosing(source.facts()) as facts:
        mes.orders = [mes.order("A-1", FILLER, start="2026-01-02T06:00:00")]
        with pytest.raises(DriverError, match="order A-1 has a time without zone"):
            await anext(facts)


async def test_a_lost_mes_makes_the_context_stale_and_a_new_source_reads_again() -> None:
    server = MesServer()
    async with server.running(), server.source() as source, aclosing(source.facts()) as facts:
        await anext(facts)
        server.status = 503
        with pytest.raises(DriverError, match="503"):
            await anext(facts)
        assert source.contexts[FILLER] == Context(order="A-1", product="cola-330", lot="L1", shift="day", stale=True)
    with pytest.raises(DriverError, match="check"):
        async with asyncio.timeout(5), server.source():
            pass
    server.status = 200
    async with server.running(), server.source() as source, aclosing(source.facts()) as facts:
        assert len((await anext(facts)).facts) == 4


async def test_cancelling_leaves_nothing_open() -> None:
    async with MesServer().running() as mes:

        async def watch() -> None:
            async with mes.source() as source, aclosing(source.facts()) as facts:
                async for _ in facts:
                    pass

        mes.polled.clear()
        watcher = asyncio.create_task(watch())
        await mes.polled.wait()
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher
        await until(lambda: mes.connections() == 0, "the connection is closed")


async def test_the_token_is_read_from_its_credential_file(tmp_path: Path) -> None:
    async with MesServer().running() as mes:
        mes.token = "open-sesame"
        config = mes.config(token=Credential(credential="mes.token"))
        with pytest.raises(SecretError, match=r"mes\.token"):
            open_source(config, [FILLER], WallClock(), Surroundings(folder=tmp_path, data=tmp_path, gateway="gw"))
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials" / "mes.token").write_text("open-sesame\n")
        async with (
            open_source(
                config, [FILLER], WallClock(), Surroundings(folder=tmp_path, data=tmp_path, gateway="gw")
            ) as source,
            aclosing(source.facts()) as facts,
        ):
            assert len((await anext(facts)).facts) == 3
