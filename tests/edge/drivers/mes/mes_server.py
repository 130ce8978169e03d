"""A MES of the tests: a real HTTP server on loopback that answers what a test put there, and fails as it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.connections import Mes
from edge.drivers.driver import Surroundings
from edge.drivers.mes.rest import MesSource
from sync.clock import WallClock
from tests.contracts.driver_contract import until
from tests.servers import free_port

FILLER, PACKER = "bottling/line-1/filler", "packaging/line-4/packer"


class MesServer:
    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.status = 200
        """Of everything."""
        self.failing: dict[str, list[tuple[int, dict[str, str]]]] = {}
        """Resource → what its next answers are instead."""
        self.token: str | None = None
        self.basic: str | None = None
        self.raw: dict[str, bytes] = {}
        """Resource → its whole body."""
        self.lacks: set[str] = set()
        self.filters = True
        """Whether it heeds ?work_unit=…"""
        self.page: dict[str, int] = {}
        """Resource → rows a page; then it is paged."""
        self.links = True
        """Whether the next page is in the Link header; else in the body."""
        self.leads: dict[str, str] = {}
        """Address of a page → where it says the next is."""
        self.asked: list[str] = []
        """Resources, in order."""
        self.answered: list[int] = []
        self.put: list[tuple[str, dict[str, Any]]] = []
        self.put_status = 204
        self.polled = asyncio.Event()
        self.rows: dict[str, list[dict[str, Any]]] = {
            "products": [
                {"product": "cola-330", "name": {"ko": "콜라", "en": "Cola"}, "ideal_cycle_ms": {FILLER: 600.0}}
            ],
            "inventory": [
                {"material": "caps", "location": "W1", "quantity": 1000, "unit": "C62", "daily_usage": 250.5}
            ],
            "lots": [{"lot": "L1", "product": "cola-330", "quantity": 1200, "unit": "C62", "state": "released"}],
            "quality-results": [
                {
                    "characteristic": "brix", "at": "2026-01-02T06:10:00Z", "work_unit": FILLER, "value": 10.6,
                    "unit": "brix", "low": 10.2, "high": 11, "passed": True, "sample": "S1", "order": "A-1",
                }
            ],
            "shifts": [self.shift(FILLER), self.shift(PACKER)],
            "job-orders": [self.order("A-1", FILLER), self.order("B-1", PACKER)],
        }  # fmt: skip
        self.contexts: dict[str, dict[str, Any]] = {
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

    def shift(self, work_unit: str, **more: Any) -> dict[str, Any]:
        times = {"start": "2026-01-01T21:00:00Z", "end": "2026-01-02T05:00:00Z"}
        return {"shift": "day", "work_unit": work_unit, **times, "team": "blue", **more}

    def config(self, **more: Any) -> Mes:
        return Mes(**{"driver": "mes", "name": "mes", "url": f"http://127.0.0.1:{self.port}", "period_s": 0.2, **more})

    def source(self, folder: Path = Path(), cursor: bytes = b"", **more: Any) -> MesSource:
        around = Surroundings(folder=folder, data=folder, gateway="gw")
        return MesSource(self.config(**more), [FILLER, PACKER], WallClock(), around, cursor=cursor)

    async def _answer(self, request: Request) -> Response:
        what = request.path_params["what"]
        if not self._knows(request):
            return Response(status_code=401)
        self.asked.append(what)
        if self.failing.get(what):
            status, headers = self.failing[what].pop(0)
            self.answered.append(status)
            return Response(status_code=status, headers=headers)
        content: Any = self._content(what, request)
        if content is None or what in self.lacks:
            self.answered.append(404)
            return Response(status_code=404)
        links: dict[str, str] = {}
        if what in self.page:
            first = int(request.query_params.get("from", "0"))
            following = first + self.page[what]
            more = following < len(content)
            address = str(request.url.include_query_params(**{"from": following}))
            address = self.leads.get(str(request.url), address)
            content = content[first:following]
            if self.links and more:
                links["link"] = f'<{address}>; rel="next"'
            if not self.links:
                content = {"items": content, "next": address if more else None}
        body = self.raw.get(what, json.dumps(content).encode())
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        status = 304 if self.status == 200 and request.headers.get("if-none-match") == etag else self.status
        self.answered.append(status)
        self.polled.set()
        return Response(b"" if status == 304 else body, status, {"etag": etag, **links}, "application/json")

    def _knows(self, request: Request) -> bool:
        if self.token is not None:
            return request.headers.get("authorization") == f"Bearer {self.token}"
        if self.basic is not None:
            expected = base64.b64encode(self.basic.encode()).decode()
            return request.headers.get("authorization") == f"Basic {expected}"
        return True

    def _content(self, what: str, request: Request) -> Any:
        unit = request.query_params.get("work_unit")
        if what == "context":
            return self.contexts.get(unit or "")
        rows = self.rows[what]
        return [row for row in rows if unit is None or not self.filters or row.get("work_unit") == unit]

    async def _put(self, request: Request) -> Response:
        if not self._knows(request):
            return Response(status_code=401)
        if 200 <= self.put_status < 300:
            self.put.append((request.path_params["response"], await request.json()))
        return Response("the order is closed" if self.put_status >= 400 else b"", self.put_status)

    @contextlib.asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[MesServer]:
        routes = [
            Route("/api/job-responses/{response}", self._put, methods=["PUT"]),
            Route("/api/{what}", self._answer),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=1, **options
        )
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
