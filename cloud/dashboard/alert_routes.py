"""The address of the page of alerts."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from cloud.alerting.listing import Wanted
from cloud.api.routes import Source, Tenant
from cloud.dashboard import alerts
from cloud.dashboard.frame import Whom, answer, fragment
from cloud.dashboard.render import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/alerts")
@router.get("/fragments/alerts")
async def alert_page(
    request: Request, source: Source, tenant: Tenant, whom: Whom, *, page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
) -> Response:
    """Everything that needs a person, with what people said about it, and the figures that are watched."""
    asked = alerts.asked_of(request.query_params)
    chosen = {name: value for name, value in asked.items() if value}
    found, watches, kinds = await asyncio.gather(
        source.desk.alerts(tenant, Wanted(**chosen), page=page, page_size=alerts.ROWS),  # pyright: ignore[reportArgumentType] - checked above
        source.desk.watches(tenant),
        source.desk.kinds(tenant),
    )
    model = alerts.alerts(found, watches, asked, whom.words, plants=source.plants, tenant=tenant)
    model |= {"kinds": alerts.counted(kinds, whom.words), "offer": alerts.form(whom.words, source.plants, tenant)}
    return answer(request, render("_alerts.html" if fragment(request) else "alerts.html", whom, **model))
