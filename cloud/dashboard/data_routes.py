"""The address of the data page."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.routes import Source, Tenant
from cloud.bi.times import iso, now_ms
from cloud.dashboard import data, restating
from cloud.dashboard.frame import Whom, answer, banner, fragment
from cloud.dashboard.render import render
from cloud.etl.letters import Filter

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/data")
@router.get("/fragments/data")
async def data_page(
    request: Request,
    source: Source,
    tenant: Tenant,
    whom: Whom,
    *,
    letters: Literal["open", "released", "corrected", "passed"] = "open",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """How current every mart is, what the auditor found, and the records that wait for a decision."""
    status, found = await asyncio.gather(
        source.etl.status(tenant),
        source.etl.dead_letters(tenant, Filter(state=letters), page, data.LETTER_ROWS),
    )
    model = data.data(status, found, letters, whom.words)
    model["hours"] = {one["id"]: restating.hour_of(source.plants, tenant, one) for one in model["standing"]}
    name = "_data.html" if fragment(request) else "data.html"
    if not fragment(request):
        model["offer"] = restating.offer(source.plants, tenant, await source.etl.products(tenant), whom.words)
    return answer(request, render(name, whom, **model, **await banner(source, tenant, whom)))


@router.get("/fragments/jobs/{number}")
async def job(
    request: Request,
    source: Source,
    tenant: Tenant,
    whom: Whom,
    number: Annotated[int, Path(ge=1, le=2**62)],
) -> Response:
    """How far a job is, and the figures it changed or would change."""
    found = await source.etl.job(tenant, number)
    model = restating.job(found, source.plants, tenant, whom.words)
    return answer(request, render("_job.html", whom, job=model))


@router.get("/fragments/facts/{inc}/{stream}/{seq}")
async def record(
    request: Request, source: Source, tenant: Tenant, whom: Whom, *, inc: str, stream: int, seq: int
) -> Response:
    """A record as it stands, to be put right."""
    found = await source.etl.revisions(tenant, inc, stream, seq)
    model = restating.record(found, source.plants, tenant, whom.words)
    return answer(request, render("_record.html", whom, **model, now=iso(now_ms())))
