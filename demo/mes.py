"""The MES over HTTP, as docs/drivers/mes-rest.md has it: what is to be made, of what, when, and what was made of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo.mes_store import MesStore


def mes_app(store: MesStore) -> Starlette:
    """Give the application over a store; every answer has an ETag."""

    def job_orders(request: Request) -> Response:
        return _answer(request, store.job_orders(request.query_params.get("work_unit")))

    def products(request: Request) -> Response:
        return _answer(request, store.products())

    def inventory(request: Request) -> Response:
        return _answer(request, store.inventory())

    def lots(request: Request) -> Response:
        return _answer(request, store.lots())

    def quality_results(request: Request) -> Response:
        return _answer(request, store.quality_results())

    def shifts(request: Request) -> Response:
        work_unit = request.query_params.get("work_unit")
        if work_unit is None:
            return _problem(400, "say which work unit: /api/shifts?work_unit=area/work-center/work-unit")
        return _answer(request, store.shifts(work_unit))

    def responses(request: Request) -> Response:
        return _answer(request, store.responses())

    async def respond(request: Request) -> Response:
        try:
            store.respond(request.path_params["response"], await request.json())
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            return _problem(422, f"not a job response: {error!r}")
        return Response(status_code=204)

    def context(request: Request) -> Response:
        work_unit = request.query_params.get("work_unit")
        if work_unit is None:
            return _problem(400, "say which work unit: /api/context?work_unit=area/work-center/work-unit")
        found = store.context(work_unit)
        if found is None:
            return _problem(404, f"no order runs on {work_unit!r}; is it a work unit of this plant?")
        return _answer(request, found)

    return Starlette(
        routes=[
            Route("/api/job-orders", _inline(job_orders)),
            Route("/api/products", _inline(products)),
            Route("/api/inventory", _inline(inventory)),
            Route("/api/lots", _inline(lots)),
            Route("/api/quality-results", _inline(quality_results)),
            Route("/api/shifts", _inline(shifts)),
            Route("/api/job-responses", _inline(responses)),
            Route("/api/job-responses/{response}", respond, methods=["PUT"]),
            Route("/api/context", _inline(context)),
        ]
    )


def _inline(answer: Any) -> Any:
    """Run a quick answer on the loop itself: SQLite's connection lives in this thread."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return endpoint


def _answer(request: Request, content: object) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _problem(status: int, what: str) -> Response:
    return Response(json.dumps({"error": what}, ensure_ascii=False), status_code=status, media_type="application/json")
