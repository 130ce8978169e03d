"""The pages' addresses. Every figure comes from `Answers`, the same code that the API answers with.

A page and its fragment (what `live.js` fetches when something changed) share one template, so that a page looks the
same whether it was opened now or has been open since yesterday.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from cloud.api.answers import Answers
from cloud.api.errors import ApiError
from cloud.api.routes import Source, Tenant
from cloud.dashboard import views
from cloud.dashboard.render import STATIC, VERSION, Reader, render
from cloud.dashboard.texts import LANGUAGES, Words, choose
from cloud.database import DatabaseError

log = logging.getLogger(__name__)

YEAR_S: Final = 31_536_000
RETRY_S: Final = 5
PLANT_ZONE: Final = "Asia/Seoul"
"""Where no site is configured yet."""

_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none';"
    " form-action 'self'"
)

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def reader(request: Request) -> Reader:
    """Find out whom the page is for."""
    asked, theme = request.query_params.get("lang"), request.cookies.get("theme", "auto")
    source: Answers = request.app.state.answers
    plants = [plant for tenant in source.plants.tenants for plant in source.plants.of_tenant(tenant)]
    return Reader(
        words=Words(choose(asked, request.cookies.get("lang"), request.headers.get("accept-language"))),
        theme=theme if theme in {"light", "dark"} else "auto",
        zone=ZoneInfo(plants[0].site.timezone if plants else PLANT_ZONE),
        path=request.url.path,
        query=tuple((name, value) for name, value in request.query_params.items() if name != "lang"),
    )


Whom = Annotated[Reader, Depends(reader)]
Period = Annotated[Literal["shift", "8h", "24h", "7d"], Query(alias="range")]


def _page(request: Request, body: str, status: int = 200) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"}
    response = HTMLResponse(body, status, headers)
    if (asked := request.query_params.get("lang")) in LANGUAGES:
        response.set_cookie("lang", str(asked), max_age=YEAR_S, samesite="lax")
    return response


@router.get("/")
@router.get("/fragments/hall")
async def hall(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """The hall: every line, the alarms, the newest verdicts, and the proof."""
    page = "_hall.html" if _fragment(request) else "hall.html"
    return _page(request, render(page, whom, **views.hall(await source.overview(tenant), whom.words)))


@router.get("/lines/{work_unit:path}")
@router.get("/fragments/lines/{work_unit:path}")
async def line(
    request: Request, source: Source, tenant: Tenant, whom: Whom, work_unit: str, *, period: Period = "shift"
) -> Response:
    """One line over a period."""
    back = views.PERIODS[period]
    now = datetime.now(UTC)
    start, end = (None, None) if back is None else (now - back, now)
    detail = await source.line(tenant, work_unit, start, end)
    model = await asyncio.to_thread(views.line, detail, whom, period)
    return _page(request, render("_line_page.html" if _fragment(request) else "line.html", whom, **model))


@router.get("/gateways")
@router.get("/fragments/gateways")
async def gateways(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """The fleet, and the account of every stream."""
    overview, ledger = await source.overview(tenant), await source.completeness(tenant, count=False)
    model = views.gateways(overview, ledger, whom.words)
    return _page(request, render("_gateways.html" if _fragment(request) else "gateways.html", whom, **model))


@router.get("/fragments/verdicts/{verdict_id}")
async def evidence(request: Request, source: Source, tenant: Tenant, whom: Whom, verdict_id: str) -> Response:
    """Why a verdict is what it is: the content of the drawer."""
    return _page(request, render("_evidence.html", whom, verdict=await source.verdict(tenant, verdict_id)))


@router.get("/static/{version}/{name}")
async def static(version: str, name: str) -> Response:
    """A style sheet, script or picture; kept by browsers for ever under the version's own address."""
    if name not in STATIC:
        raise HTTPException(404)
    body, media = STATIC[name]
    lasting = f"public, max-age={YEAR_S}, immutable" if version == VERSION else "no-cache"
    return Response(body, media_type=media, headers={"Cache-Control": lasting})


def _fragment(request: Request) -> bool:
    return request.url.path.startswith("/fragments/")


def install(app: FastAPI) -> None:
    """Add the pages to the app, and let people who open one see what went wrong as a page too."""
    app.include_router(router)
    for kind in (HTTPException, ApiError, DatabaseError, RequestValidationError):
        app.add_exception_handler(kind, _as_page(app.exception_handlers[kind]))


def _as_page(otherwise: Any) -> ExceptionHandler:
    """Answer with a page where a browser asks for one, and as before where a program asks the API."""

    async def handle(request: Request, error: Exception) -> Response:
        wants = "text/html" in request.headers.get("accept", "")
        if not wants or request.url.path.startswith(("/api/", "/static/")):
            return otherwise(request, error)
        return await _problem(request, error)

    return handle


async def _problem(request: Request, error: Exception) -> Response:
    whom, status, known = reader(request), getattr(error, "status", getattr(error, "status_code", 400)), []
    path = request.url.path
    if not isinstance(error, DatabaseError) and path.startswith("/lines/") and status == 404:
        try:
            source: Answers = request.app.state.answers
            known = [row for tenant in source.plants.tenants for row in (await source.overview(tenant))["lines"]]
        except DatabaseError as busy:
            error = busy
    words, retry = whom.words, None
    if isinstance(error, DatabaseError):
        log.warning("no page, the database cannot answer: %s", error)
        status, retry = 503, RETRY_S
        title, text = words("problem.busy_title"), words("problem.busy_text")
    elif path.startswith("/lines/") and status == 404:
        title = words("problem.line_title", name=path.removeprefix("/lines/"))
        text = words("problem.line_text")
    elif status == 404:
        title, text = words("problem.not_found_title"), words("problem.not_found_text", path=path)
    else:
        title, text = words("problem.refused_title"), str(getattr(error, "message", error))
    body = render("problem.html", whom, status=status, title=title, text=text, known=known, retry_s=retry)
    return _page(request, body, status)
