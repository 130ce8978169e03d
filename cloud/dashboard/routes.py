"""The pages' addresses. Every figure comes from `Answers`, the same code that the API answers with.

A page and its fragment (what `live.js` fetches when something changed) share one template, so that a page looks the
same whether it was opened now or has been open since yesterday.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from cloud.api.answers import Answers
from cloud.api.errors import ApiError, invalid
from cloud.api.lines import AmbiguousLineError
from cloud.api.routes import Source, Tenant
from cloud.bi import lists
from cloud.bi.audit import Filter
from cloud.bi.times import iso, ms_of
from cloud.dashboard import (
    alert_routes,
    analysis_routes,
    cards,
    data_routes,
    fleet_routes,
    ledger,
    periods,
    pins,
    quality_routes,
    report_routes,
    verdicts,
    views,
    wall_routes,
)
from cloud.dashboard.frame import YEAR_S, Whom, answer, banner, fragment, reader
from cloud.dashboard.pictures import Pictures, off_loop
from cloud.dashboard.render import STATIC, VERSION, render
from cloud.database import DatabaseError
from cloud.drawing.charts import WIDE

RETRY_S: Final = 5
FILTERS: Final = ("gateway", "actor", "action", "target", "text", "from", "to")
AUDIT_ROWS: Final = 50
ACTION_ROWS: Final = 20
HALL_PINS: Final = 6
DECIDED_ROWS: Final = 50

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
Decision = Literal["normal", "warning", "critical", "unknown"] | None


@router.get("/")
@router.get("/fragments/hall")
async def hall(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """The hall: every line, the alarms, the newest verdicts, and the proof."""
    if request.query_params.get("wall") == "1":
        return await wall_routes.display(request, source, tenant, whom)
    page = "_hall.html" if fragment(request) else "hall.html"
    seen, today = await source.overview(tenant), await source.today.answer(tenant)
    model = views.hall(seen) | {"today": today, "cards": cards.cards(today, seen, whom.words)}
    model |= await pins.tiles(source, tenant, whom, most=HALL_PINS)
    return answer(request, render(page, whom, **model, **await banner(source, tenant, whom)))


@router.get("/lines/{work_unit:path}")
@router.get("/fragments/lines/{work_unit:path}")
async def line(
    request: Request, source: Source, tenant: Tenant, whom: Whom, work_unit: str, *, decision: Decision = None
) -> Response:
    """One line over a period; `decision` shows the verdicts that said so."""
    card = await source.card(tenant, work_unit)
    plant = source.plants[tenant, card["site"]]
    code, start, end = periods.of_line(request.query_params, plant.calendar, datetime.now(UTC))
    detail = await source.line(tenant, work_unit, start, end)
    begin_ms, end_ms = (ms_of(datetime.fromisoformat(detail[name])) for name in ("start", "end"))
    if decision is not None:
        asked = lists.Query(
            page_size=DECIDED_ROWS,
            site=card["site"],
            work_unit=card["work_unit"],
            decision=decision,
            start_ms=begin_ms,
            end_ms=end_ms,
        )
        detail = detail | {"verdicts": (await source.page("verdicts", tenant, asked))["items"]}
    key = (
        tenant,
        code,
        whom.language,
        (detail["start"], detail["end"]) if code == "dates" else "",
        (detail["line"]["site"], detail["line"]["work_unit"]),
    )
    drawn = await request.app.state.pictures.of(
        (*key, views.line_shape(detail)), (end_ms - begin_ms) / 1000 / WIDE, partial(views.line_drawn, detail, whom)
    )
    model = views.line(detail, whom, code, decision, drawn=drawn)
    dates = [plant.calendar.at(ms).business_date for ms in (begin_ms, end_ms - 1)]
    model["tag_of"] = partial(source.plants.tag, tenant, card["site"])
    model["dates"] = dict(zip(("first", "last"), dates, strict=True))
    page = "_line_page.html" if fragment(request) else "line.html"
    return answer(request, render(page, whom, **model, **await banner(source, tenant, whom)))


@router.get("/completeness")
@router.get("/fragments/completeness")
async def completeness(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """Every gateway's last 48 hours, what is safe, and who speaks under which identity."""
    hours, known = await source.oversight.hours(tenant, None, None, None), await source.oversight.ledger(tenant)
    model = ledger.completeness(hours, known, whom.words, whom.zone) | ledger.banner(
        known["alerts"], whom.words, whole=True
    )
    return answer(request, render("_completeness.html" if fragment(request) else "completeness.html", whom, **model))


@router.get("/audit")
async def audit(request: Request, source: Source, tenant: Tenant, whom: Whom, *, page: PageNumber = 1) -> Response:
    """The audit log, with filters."""
    asked = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    limit = AUDIT_ROWS
    selection = _selection(asked, whom.zone)
    found = await source.audit.page(tenant, selection, limit=limit, offset=(page - 1) * limit)
    model = ledger.audit(found, await source.audit.choices(tenant), asked, whom.words)
    times = {"from": selection.start_ms, "to": selection.end_ms}
    query = {name: value for name, value in asked.items() if value and name not in times}
    query |= {name: iso(ms) for name, ms in times.items() if ms is not None} | {"tenant": tenant}
    model |= {"now": iso(time.time_ns() // 1_000_000), "csv": f"/api/v1/audit/export.csv?{urlencode(query)}"}
    return answer(request, render("audit.html", whom, **model, **await banner(source, tenant, whom)))


def _selection(asked: dict[str, str], zone: tzinfo) -> Filter:
    """Read the filters of the address; times without a zone are the plant's."""
    times: dict[str, int | None] = {}
    for name in ("from", "to"):
        try:
            at = datetime.fromisoformat(asked[name]) if asked[name] else None
        except ValueError as error:
            raise invalid(f"`{name}` is no time: {asked[name]!r}", "give it as ISO 8601") from error
        times[name] = None if at is None else ms_of(at if at.tzinfo is not None else at.replace(tzinfo=zone))
    named = {name: asked[name] or None for name in ("actor", "action", "target", "gateway", "text")}
    return Filter(**named, start_ms=times["from"], end_ms=times["to"])


@router.get("/fragments/verdicts/{verdict_id}")
async def evidence(request: Request, source: Source, tenant: Tenant, whom: Whom, verdict_id: str) -> Response:
    """Why a verdict is what it is: the content of the drawer."""
    return answer(request, render("_evidence.html", whom, verdict=await source.verdict(tenant, verdict_id)))


@router.get("/verdicts/{verdict_id}")
async def verdict(request: Request, source: Source, tenant: Tenant, whom: Whom, verdict_id: str) -> Response:
    """One verdict whole: why, the same again or not, what if, other rules, people's words, what was done."""
    found = await source.verdict(tenant, verdict_id, whom.language)
    model = await off_loop(partial(verdicts.verdict, found, whom, iso(time.time_ns() // 1_000_000)))
    return answer(request, render("verdict.html", whom, **model, **await banner(source, tenant, whom)))


@router.get("/actions")
async def actions(
    request: Request,
    source: Source,
    tenant: Tenant,
    whom: Whom,
    *,
    state: Literal["waiting", "decided", "ended"] = "waiting",
    page: PageNumber = 1,
) -> Response:
    """What waits for a person's yes or no, what is under way, what ended."""
    found = await source.spoken.actions(tenant, state, page=page, page_size=ACTION_ROWS)
    model = verdicts.actions(found, state, iso(time.time_ns() // 1_000_000))
    return answer(request, render("actions.html", whom, **model, **await banner(source, tenant, whom)))


@router.get("/static/{version}/{name}")
async def static(version: str, name: str) -> Response:
    """A style sheet, script or picture; kept by browsers for ever under the version's own address."""
    if name not in STATIC:
        raise HTTPException(404)
    body, media = STATIC[name]
    lasting = f"public, max-age={YEAR_S}, immutable" if version == VERSION else "no-cache"
    return Response(body, media_type=media, headers={"Cache-Control": lasting})


def install(app: FastAPI) -> None:
    """Add the pages to the app, and let people who open one see what went wrong as a page too."""
    app.state.pictures = Pictures()
    app.include_router(router)
    app.include_router(alert_routes.router)
    app.include_router(analysis_routes.router)
    app.include_router(data_routes.router)
    app.include_router(fleet_routes.router)
    app.include_router(quality_routes.router)
    app.include_router(wall_routes.router)
    app.include_router(report_routes.router)
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
    path, choices = request.url.path, list[tuple[str, dict[str, str]]]()
    if not isinstance(error, DatabaseError) and path.startswith("/lines/") and status == 404:
        try:
            source: Answers = request.app.state.answers
            known = [row for tenant in source.plants.tenants for row in (await source.overview(tenant))["lines"]]
        except DatabaseError as busy:
            error = busy
    words, retry = whom.words, None
    if isinstance(error, AmbiguousLineError):
        choices = _choices(request, error)
    if isinstance(error, DatabaseError):
        request.app.state.outage.say(error)
        status, retry = 503, RETRY_S
        title, text = words("problem.busy_title"), words("problem.busy_text")
    elif choices:
        title, text = words("problem.which_title", name=getattr(error, "name", "")), words("problem.which_text")
    elif path.startswith("/lines/") and status == 404:
        title = words("problem.line_title", name=path.removeprefix("/lines/"))
        text = words("problem.line_text")
    elif status == 404:
        title, text = words("problem.not_found_title"), words("problem.not_found_text", path=path)
    else:
        title, text = words("problem.refused_title"), str(getattr(error, "message", error))
    body = render(
        "problem.html", whom, status=status, title=title, text=text, known=known, choices=choices, retry_s=retry
    )
    return answer(request, body, status)


def _choices(request: Request, error: AmbiguousLineError) -> list[tuple[str, dict[str, str]]]:
    """Give the address that was asked for once for every line it may mean, with the line's name."""
    source: Answers = request.app.state.answers
    tenant = request.query_params.get("tenant") or source.plants.tenants[0]
    found: list[tuple[str, dict[str, str]]] = []
    for site, unit in error.choices:
        key = f"{site}:{unit}"
        path = f"/lines/{quote(key)}" if request.url.path.startswith("/lines/") else request.url.path
        asked = [(name, key if value == error.name else value) for name, value in request.query_params.multi_items()]
        name = source.plants[tenant, site].full_label(unit)
        found.append((path + (f"?{urlencode(asked)}" if asked else ""), name | {"key": key}))
    return found
