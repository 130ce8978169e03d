"""/wall: the hall for a screen that nobody touches."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.answers import Answers
from cloud.api.routes import Source, Tenant
from cloud.dashboard import wall
from cloud.dashboard.frame import Whom, answer, fragment
from cloud.dashboard.render import Reader, render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/wall")
@router.get("/fragments/wall")
async def page(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """Scenes that take turns; `seconds` says how long each stays, `theme=light` is for a bright hall."""
    return await display(request, source, tenant, whom)


async def display(request: Request, source: Answers, tenant: str, whom: Reader) -> Response:
    """Give the wall display; the hall's page with `wall=1` is the same."""
    model = wall.wall(await source.overview(tenant), await source.today.answer(tenant), whom.words)
    model["places"] = await source.lines(tenant)
    model["seconds"] = wall.seconds(request.query_params.get("seconds"))
    model["light"] = request.query_params.get("theme") == "light"
    return answer(request, render("_wall.html" if fragment(request) else "wall.html", whom, **model))
