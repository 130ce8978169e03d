"""The addresses of the pages of reports."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.routes import Source, Tenant
from cloud.dashboard import reports
from cloud.dashboard.frame import Whom, answer, banner
from cloud.dashboard.pictures import off_loop
from cloud.dashboard.render import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/reports")
async def report_list(
    request: Request, source: Source, tenant: Tenant, whom: Whom, *, page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
) -> Response:
    """Reports that are kept, when others come by themselves, and what became of the letters that brought them."""
    found, schedules, letters = await asyncio.gather(
        source.desk.reports(tenant, {}, page=page, page_size=reports.ROWS),
        source.desk.schedules(tenant),
        source.desk.letters(tenant, "report", page=1, page_size=10),
    )
    model = reports.listing(
        found, schedules, letters, whom.words, plants=source.plants, tenant=tenant, now_ms=time.time_ns() // 1_000_000
    )
    return answer(request, render("reports.html", whom, **model, **await banner(source, tenant, whom)))


@router.get("/reports/{report}")
async def one_report(
    request: Request, source: Source, tenant: Tenant, whom: Whom, report: Annotated[int, Path(ge=1, le=2**63 - 1)]
) -> Response:
    """One report as a page that prints well."""
    head, data = await source.desk.report(tenant, report)
    model = await off_loop(partial(reports.report, head, data, whom.words))
    return answer(request, render("report.html", whom, **model, places=await source.lines(tenant)))
