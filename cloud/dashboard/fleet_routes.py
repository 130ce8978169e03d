"""The fleet's address."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud.api.routes import Source, Tenant
from cloud.dashboard import fleet
from cloud.dashboard.frame import Whom, answer, banner, fragment
from cloud.dashboard.render import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/fleet")
@router.get("/fragments/fleet")
async def fleet_page(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """Every gateway, what runs on its lines, and the account of every stream."""
    overview, completeness, hours, rulesets, models, around = await asyncio.gather(
        source.overview(tenant),
        source.completeness(tenant, count=False),
        source.oversight.hours(tenant, None, None, None),
        source.spoken.rulesets(tenant),
        source.spoken.models(tenant),
        banner(source, tenant, whom),
    )
    told = fleet.Told(overview=overview, completeness=completeness, hours=hours, rulesets=rulesets, models=models)
    model = fleet.fleet(told, around["places"], whom.words, whom.zone)
    page = "_fleet.html" if fragment(request) else "fleet.html"
    return answer(request, render(page, whom, **model, **around))


@router.get("/gateways")
async def gateways(request: Request) -> Response:
    """Where the fleet was before; people keep addresses."""
    asked = request.url.query
    return RedirectResponse("/fleet" + (f"?{asked}" if asked else ""), 308)
