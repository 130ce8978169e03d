"""/api/v1/reports: what is kept, a new one, and every form of one."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from cloud.api import desk_schemas as shapes
from cloud.api import schemas
from cloud.api.bodies import body, described
from cloud.api.routes import Source, Tenant
from cloud.reports.subject import Subject

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": schemas.ProblemAnswer} for code in (400, 404, 503)}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Table = Literal["figures", "lines", "losses", "hours", "days", "stops", "defects", "verdicts", "quality"]
Text = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]


def _json(answer: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/reports", response_model=shapes.ReportList)
async def reports(
    source: Source,
    tenant: Tenant,
    *,
    site: Text = None,
    kind: Literal["shift", "week"] | None = None,
    language: Literal["ko", "en"] | None = None,
    business_date: Text = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Reports that are kept, newest first."""
    asked = {"site": site or "", "kind": kind or "", "language": language or "", "business_date": business_date or ""}
    return _json(await source.desk.reports(tenant, asked, page=page, page_size=page_size))


@router.post("/reports", response_model=shapes.ReportMade, status_code=201, openapi_extra=described(shapes.ReportOrder))
async def make(source: Source, tenant: Tenant, request: Request) -> Response:
    """Make a report now; the same figures again are the report that is there, others a new version of it."""
    order = await body(request, shapes.ReportOrder)
    subject = Subject(
        tenant=tenant,
        site=order.site,
        kind=order.kind,
        business_date=order.business_date.isoformat(),
        shift=order.shift,
    )
    return _json(await source.desk.make(tenant, subject, language=order.language, by=order.by), 201)


@router.get("/reports/{report}", response_model=shapes.ReportWhole)
async def report(source: Source, tenant: Tenant, report: Number) -> Response:
    """One report as data: every figure of every form of it, with `as_of` and the hashes of its definitions."""
    head, data = await source.desk.report(tenant, report)
    return _json(head | {"report": data})


@router.get("/reports/{report}/file.{form}", responses={200: {"content": {"application/pdf": {}, "image/png": {}}}})
async def file(
    source: Source,
    tenant: Tenant,
    report: Number,
    form: Literal["pdf", "png", "xlsx", "csv"],
    *,
    page: Annotated[int, Query(ge=1, le=100, description="of PNG")] = 1,
    table: Annotated[Table, Query(description="of CSV")] = "lines",
) -> Response:
    """One report as PDF, PNG (a page), spreadsheet, or CSV (a table)."""
    name, media, content = await source.desk.file(tenant, report, form, page=page, table=table)
    headers = {"Cache-Control": "no-store", "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(content, media_type=media, headers=headers)
