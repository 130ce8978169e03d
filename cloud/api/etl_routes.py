"""/api/v1/etl/…, /api/v1/facts/…/correction, /api/v1/bi/mv-…: facts and figures, and what people decide about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import etl_schemas as shapes
from cloud.api import schemas
from cloud.api.errors import invalid
from cloud.api.routes import Source, Tenant
from cloud.bi.times import ms_of
from cloud.etl.jobs import Restatement
from cloud.etl.letters import Filter
from cloud.etl.rules import RULES
from cloud.reports.sheets import Head, Sheet, csv_lines

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": schemas.ProblemAnswer} for code in (400, 404, 409, 413, 503)
}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)

Number = Annotated[int, Query(ge=1, le=1_000_000)]
Size = Annotated[int, Query(ge=1, le=100)]


def _json(answer: Any, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(answer), status, media_type="application/json", headers=headers)


class Letters(BaseModel):
    """What of the dead letters."""

    model_config = ConfigDict(extra="forbid")

    tenant: str | None = None
    """Read by `tenant_of`; named here because unknown parameters are refused."""
    state: Literal["open", "released", "corrected", "passed"] | None = None
    severity: Literal["info", "warning", "error", "critical"] | None = None
    code: Annotated[str | None, Field(max_length=100, pattern=r"^[a-z_]+$")] = None
    held: bool | None = None
    work_unit: Annotated[str | None, Field(max_length=500, pattern=r"^[^\x00]*$")] = None

    def filter(self) -> Filter:
        """Give it as the list's own filter."""
        return Filter(
            state=self.state, severity=self.severity, code=self.code, held=self.held, work_unit=self.work_unit
        )


class LetterPart(Letters):
    """… and which page."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20


@router.get("/etl/status", response_model=shapes.EtlStatus)
async def status(source: Source, tenant: Tenant) -> Response:
    """How far figures are behind facts: marts, ledger, gateways, dead letters, auditor, jobs."""
    return _json(await source.etl.status(tenant))


@router.get("/bi/mv-status", response_model=shapes.MvStatus)
async def mv_status(source: Source, tenant: Tenant) -> Response:
    """Every mart and mv_ table: when it was refreshed, how long that took, its rows, what waits."""
    return _json(await source.etl.mv_status(tenant))


@router.post("/bi/mv-refresh", response_model=shapes.JobDetail, status_code=202)
async def mv_refresh(source: Source, tenant: Tenant, order: shapes.Reasoned) -> Response:
    """Recompute everything and hold it against what stands; the job ends with `equal`. Nothing is mended silently."""
    return _json(await source.etl.rebuild(tenant, order.by, order.reason), 202)


@router.get("/etl/rules", response_model=shapes.Rules)
async def rules() -> Response:
    """What is asked of every fact before it counts."""
    items = [
        {"code": one.code, "severity": one.severity, "holds": one.holds, "title": one.title, "why": one.why}
        for one in RULES.values()
    ]
    return _json({"items": items})


@router.get("/etl/dead-letters", response_model=shapes.LetterPage)
async def dead_letters(source: Source, tenant: Tenant, part: Annotated[LetterPart, Query()]) -> Response:
    """What does not count and why, and what was warned of, newest first; `total` is exact."""
    return _json(await source.etl.dead_letters(tenant, part.filter(), part.page, part.page_size))


_COLUMNS = (
    "id", "recorded", "severity", "code", "held", "state", "site", "gateway", "work_unit", "kind", "inc", "stream",
    "seq", "rev", "count", "at", "settled", "settled_by", "settled_why",
)  # fmt: skip


@router.get("/etl/dead-letters.csv", responses={200: {"content": {"text/csv": {}}}})
async def dead_letters_csv(source: Source, tenant: Tenant, part: Annotated[Letters, Query()]) -> StreamingResponse:
    """The whole list as CSV (RFC 4180, UTF-8)."""
    items = await source.etl.every_letter(tenant, part.filter())
    heads = [Head(title=name) for name in (*_COLUMNS, "why_en", "why_ko")]
    rows = [[*(one[name] for name in _COLUMNS), one["why"]["en"], one["why"]["ko"]] for one in items]
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="dead-letters.csv"'}
    sheet = Sheet(name="dead-letters", columns=heads, rows=rows)
    return StreamingResponse(csv_lines(sheet), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/etl/dead-letters/retry", response_model=shapes.Retried)
async def retry(source: Source, tenant: Tenant, order: shapes.RetryOrder) -> Response:
    """Look at held facts again by the rules of today, at most 500 at once."""
    return _json(await source.etl.retry(tenant, order.code, order.by, order.reason))


@router.post("/etl/dead-letters/{letter}/release", response_model=shapes.Released)
async def release(source: Source, tenant: Tenant, letter: str, order: shapes.Reasoned) -> Response:
    """Let a held fact count as it is: somebody knows better than the rule."""
    return _json(await source.etl.release(tenant, letter, order.by, order.reason))


@router.get("/facts/{inc}/{stream}/{seq}/revisions", response_model=shapes.Revisions)
async def revisions(source: Source, tenant: Tenant, inc: str, stream: int, seq: int) -> Response:
    """A fact as it came, and everything that was put right since."""
    return _json(await source.etl.revisions(tenant, inc, stream, seq))


@router.post("/facts/{inc}/{stream}/{seq}/correction", response_model=shapes.CorrectionDone)
async def correction(
    source: Source, tenant: Tenant, inc: str, *, stream: int, seq: int, order: shapes.CorrectionOrder
) -> Response:
    """Put a fact right, or take it back with a null replacement. The fact stays as it came; figures follow."""
    return _json(await source.etl.correct(tenant, inc, stream, seq, order.model_dump()))


@router.get("/etl/jobs", response_model=shapes.JobPage)
async def jobs(source: Source, tenant: Tenant, page: Number = 1, page_size: Size = 20) -> Response:
    """Restatements and rebuilds, newest first."""
    return _json(await source.etl.jobs(tenant, page, page_size))


@router.get("/etl/jobs/{number}", response_model=shapes.JobDetail)
async def job(source: Source, tenant: Tenant, number: int) -> Response:
    """One job, and the figures it changed or would change."""
    return _json(await source.etl.job(tenant, number))


@router.post("/etl/restatements", response_model=shapes.JobDetail, status_code=202)
async def restate(source: Source, tenant: Tenant, order: shapes.RestateOrder) -> Response:
    """Compute shifts anew and say which figures changed; dry, only which would."""
    try:
        zone = ZoneInfo(order.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise invalid(
            f"there is no time zone {order.timezone!r}", "give an IANA name such as Asia/Seoul", "timezone"
        ) from error
    asked = Restatement(
        from_ms=_local_ms(order.start, zone),
        to_ms=_local_ms(order.end, zone),
        lines=order.lines,
        actor=order.by,
        reason=order.reason,
        dry_run=order.dry_run,
        product=order.product,
        cycle_ms=order.ideal_cycle_ms,
    )
    return _json(await source.etl.restate(tenant, asked), 202)


def _local_ms(at: datetime, zone: ZoneInfo) -> int:
    return ms_of(at if at.tzinfo is not None else at.replace(tzinfo=zone))


@router.get("/etl/audit", response_model=shapes.DeedPage)
async def audit(source: Source, tenant: Tenant, page: Number = 1, page_size: Size = 20) -> Response:
    """Who corrected, released, restated what, when and why; newest first."""
    return _json(await source.etl.deeds(tenant, page, page_size))
