"""/api/v1/completeness/…, /api/v1/alerts and /api/v1/audit."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import oversight_schemas as shapes
from cloud.api import schemas
from cloud.api.errors import invalid
from cloud.api.routes import End, Instant, Source, Start, Tenant
from cloud.bi import audit
from cloud.bi.times import iso, ms_of

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": schemas.ProblemAnswer} for code in (400, 404, 503)}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)

_PAGE_SIZE, _LIMIT = 20, 100


def _json(answer: Any) -> Response:
    return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/completeness/hours", response_model=shapes.HoursAnswer)
async def hours(
    source: Source, tenant: Tenant, gateway: str | None = None, start: Start = None, end: End = None
) -> Response:
    """By gateway, hour and stream: produced, stored, waiting, lost and why; the last 48 hours unless told otherwise."""
    return _json(await source.oversight.hours(tenant, gateway, start, end))


@router.get("/completeness/answer", response_model=shapes.LineAnswer)
async def answer(source: Source, tenant: Tenant, work_unit: str, start: Start = None, end: End = None) -> Response:
    """Is this period of this line complete, and if not, why: in numbers, and as a sentence in Korean and English.

    Hours count whole: 10:20 to 10:40 is answered for 10:00 to 11:00. Without a period, the last hour that is over.
    """
    return _json(await source.oversight.answer(tenant, work_unit, start, end))


@router.post("/completeness/request", response_model=shapes.Requested)
async def request(source: Source, tenant: Tenant, order: shapes.RequestOrder) -> Response:
    """Ask a gateway again, for any range. What it still has arrives; what it has not is said to be gone."""
    times = {name: _time(name, getattr(order, name)) for name in ("start", "end")}
    return _json(await source.oversight.request(tenant, order.model_dump() | times))


def _time(name: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid(f"`{name}` is no time: {text!r}", "give it as ISO 8601, e.g. 2026-03-04T10:00:00Z") from error


@router.get("/alerts", response_model=shapes.Alerts)
async def alerts(source: Source, tenant: Tenant) -> Response:
    """What is raised and not cleared, the most urgent first."""
    now = iso(time.time_ns() // 1_000_000)
    return _json({"as_of": now, "items": await source.oversight.alerts(tenant)})


@router.get("/alerts/history", response_model=shapes.AlertPage)
async def alert_history(
    source: Source,
    tenant: Tenant,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """All alerts, newest first, with when they were raised and cleared."""
    return _json(await source.oversight.alert_history(tenant, page, page_size))


class Selection(BaseModel):
    """What of the audit log."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    tenant: str | None = None
    """Read by `tenant_of`; named here because unknown parameters are refused."""
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    gateway: str | None = None
    text: Annotated[str | None, Field(max_length=200)] = None
    start: Annotated[Instant | None, Field(alias="from")] = None
    end: Annotated[Instant | None, Field(alias="to")] = None

    def filter(self) -> audit.Filter:
        """Give it as the log's own filter; an empty text restricts nothing."""
        return audit.Filter(
            actor=self.actor or None,
            action=self.action or None,
            target=self.target or None,
            gateway=self.gateway or None,
            text=self.text,
            start_ms=None if self.start is None else ms_of(self.start),
            end_ms=None if self.end is None else ms_of(self.end),
        )


class AuditPart(Selection):
    """… and which part: a page, or a limit and an offset."""

    page: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    page_size: Annotated[int | None, Field(ge=1, le=100)] = None
    limit: Annotated[int | None, Field(ge=1, le=500)] = None
    offset: Annotated[int | None, Field(ge=0, le=100_000_000)] = None

    def place(self) -> tuple[int, int]:
        """Give (limit, offset)."""
        paged, cut = (self.page, self.page_size), (self.limit, self.offset)
        if cut != (None, None):
            if paged != (None, None):
                raise invalid("both a page and a limit are asked for", "give page and page_size, or limit and offset")
            return self.limit or _LIMIT, self.offset or 0
        size = self.page_size or _PAGE_SIZE
        return size, ((self.page or 1) - 1) * size


@router.get("/audit", response_model=shapes.AuditPage)
async def audit_page(source: Source, tenant: Tenant, part: Annotated[AuditPart, Query()]) -> Response:
    """Who did what, newest first; `total` counts exactly what the filters select."""
    limit, offset = part.place()
    return _json(await source.audit.page(tenant, part.filter(), limit=limit, offset=offset))


@router.get("/audit/stats", response_model=shapes.AuditStats)
async def audit_stats(source: Source, tenant: Tenant, part: Annotated[Selection, Query()]) -> Response:
    """How the selection is made up."""
    return _json(await source.audit.stats(tenant, part.filter()))


@router.get("/audit/export.csv", responses={200: {"content": {"text/csv": {}}}})
async def audit_csv(source: Source, tenant: Tenant, part: Annotated[Selection, Query()]) -> StreamingResponse:
    """The whole selection as CSV (RFC 4180, UTF-8), streamed."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="audit.csv"'}
    lines = await source.audit.csv(tenant, part.filter())
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
