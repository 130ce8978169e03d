"""HTTP of the gateway: status, tags, verdicts, health, metrics, and the page that shows them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.health import Health
from edge.judgment.wording import FAILURE, LANGUAGES, UNIT_SYMBOLS, WHY, symbol
from edge.page.acting import acting_routes
from edge.page.answers import HEADERS, refused
from edge.page.certificates import certificate_routes
from edge.page.feedback import feedback_routes
from edge.page.judging import Requests, judge_routes
from edge.page.protect import Guard
from edge.page.replaying import replay_routes

HERE: Final = Path(__file__).parent
MAX_WATCHERS: Final = 50
MOST_VERDICTS: Final = 500
WORDS: Final = {
    "unit": {code: dict.fromkeys(LANGUAGES, symbol) for code, symbol in UNIT_SYMBOLS.items()}
    | {"C62": {language: symbol("C62", language) for language in LANGUAGES}},
    "why": WHY,
    "failure": FAILURE,
}
"""What the page says in the words of the verdicts themselves."""


def page_app(health: Health) -> Starlette:
    """Give the ASGI application of the gateway's page."""
    watchers, flow = 0, health.flow
    guard = Guard(flow.site, flow.clock.monotonic)
    """For everything that changes something."""

    async def page(_: Request) -> Response:
        return HTMLResponse((HERE / "page.html").read_text(encoding="utf-8"), headers=HEADERS)

    async def status(_: Request) -> Response:
        return JSONResponse(health.status(), headers=HEADERS)

    async def tags(_: Request) -> Response:
        return JSONResponse({"tags": health.tags()}, headers=HEADERS)

    async def verdicts(request: Request) -> Response:
        text = request.query_params.get("limit", "50")
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST_VERDICTS:
            return refused(400, "VALIDATION", f"limit={text!r}: give a number from 1 to {MOST_VERDICTS}")
        line = request.query_params.get("line")
        recent = await health.flow.store.recent(["verdict"], int(text) if line is None else MOST_VERDICTS)
        recent = [fact for fact in recent if line is None or fact.work_unit == line][: int(text)]
        return JSONResponse({"verdicts": msgspec.to_builtins(recent)}, headers=HEADERS)

    async def words(_: Request) -> Response:
        return JSONResponse(WORDS, headers=HEADERS)

    async def stream(request: Request) -> Response:
        nonlocal watchers
        if watchers >= MAX_WATCHERS:
            return refused(503, "SERVICE_UNAVAILABLE", f"{MAX_WATCHERS} pages are watching already; close one")

        async def events() -> AsyncIterator[str]:
            nonlocal watchers
            watchers += 1
            try:
                while not await request.is_disconnected():
                    yield f"event: status\ndata: {json.dumps(health.status(), ensure_ascii=False)}\n\n"
                    await asyncio.sleep(1)
            finally:
                watchers -= 1

        return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "alive"}, headers=HEADERS)

    async def ready(_: Request) -> Response:
        good, parts = health.ready()
        return JSONResponse({"ready": good, "parts": parts}, status_code=200 if good else 503, headers=HEADERS)

    async def metrics(_: Request) -> Response:
        return Response(health.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def missing(request: Request, _: Exception) -> Response:
        return refused(404, "NOT_FOUND", f"{request.url.path}: there is no such page; the gateway's page is at /")

    handlers: dict[Any, Any] = {404: missing}
    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/status", status),
            Route("/api/tags", tags),
            Route("/api/verdicts", verdicts),
            Route("/api/words", words),
            Route("/api/stream", stream),
            *certificate_routes(health),
            *acting_routes(flow.acting, flow.site, flow.store, flow.clock, guard),
            *feedback_routes(flow.recording, guard, lambda: flow.recording.online),
            *replay_routes(flow.site.data),
            *judge_routes(
                Requests(flow.site, flow.clock, ask=flow.ask, model=flow.package, history=flow.acting.history)
            ),
            Route("/health", alive),
            Route("/ready", ready),
            Route("/metrics", metrics),
            Mount("/static", StaticFiles(directory=HERE / "static", check_dir=False)),
        ],
        exception_handlers=handlers,
    )
