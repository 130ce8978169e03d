"""/api/v1: one route per answer, the JSON made once and sent as bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cloud.api import line_schemas, oversight_schemas, schemas
from cloud.api.answers import Answers
from cloud.api.errors import invalid
from cloud.bi import lists
from cloud.bi.times import ms_of
from cloud.bus import events
from sync.settings import nearest

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.ProblemAnswer},
    404: {"model": schemas.ProblemAnswer},
    503: {"model": schemas.ProblemAnswer},
}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)

EARLIEST: Final = 1900
LATEST: Final = 2200
"""Years that can be asked for: what lies beyond does not fit into ns of 64 bits."""


async def answers(request: Request) -> Answers:
    """Give what the app was built with. Not `def`: FastAPI would send it, and every request, through a thread."""
    return request.app.state.answers


Source = Annotated[Answers, Depends(answers)]


async def tenant_of(
    source: Source, tenant: Annotated[str | None, Query(description="needed when several are configured")] = None
) -> str:
    """Give the tenant whose data is asked for. The one place where sign-in will decide it later."""
    known = source.plants.tenants
    if tenant is None and len(known) == 1:
        return known[0]
    if tenant is None or tenant not in known:
        if not known:
            raise invalid("no site is configured", "add a [[site]] to cloud.toml")
        raise invalid("say which tenant" if tenant is None else f"no tenant {tenant!r}", nearest(tenant or "", known))
    return tenant


def _plausible(at: datetime) -> datetime:
    if not EARLIEST <= at.year <= LATEST:
        raise ValueError(f"a time between {EARLIEST} and {LATEST} is asked for")
    return at


Tenant = Annotated[str, Depends(tenant_of)]
Instant = Annotated[datetime, AfterValidator(_plausible)]
Start = Annotated[Instant | None, Query(alias="from", description="ISO 8601")]
End = Annotated[Instant | None, Query(alias="to", description="ISO 8601")]


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


class Part(BaseModel):
    """Which page of a list, and of what period and line."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    tenant: str | None = None
    """Read by `tenant_of`; named here because unknown parameters are refused."""
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    work_unit: str | None = None
    start: Annotated[Instant | None, Field(alias="from")] = None
    end: Annotated[Instant | None, Field(alias="to")] = None

    def query(self, **more: str | None) -> lists.Query:
        """Give it as the list's own query."""
        return lists.Query(
            page=self.page,
            page_size=self.page_size,
            work_unit=self.work_unit,
            start_ms=None if self.start is None else ms_of(self.start),
            end_ms=None if self.end is None else ms_of(self.end),
            **more,
        )


class VerdictPart(Part):
    """… and of which decision."""

    decision: Literal["normal", "warning", "critical", "unknown"] | None = None


class FactPart(Part):
    """… and of which kind."""

    kind: str | None = None


@router.get("/overview", response_model=schemas.Overview)
async def overview(source: Source, tenant: Tenant) -> Response:
    """The hall now: lines, alarms, newest verdicts, gateways, and the proof that nothing is lost."""
    return _json(await source.overview_bytes(tenant))


@router.get("/lines/{work_unit:path}", response_model=line_schemas.LineDetail)
async def line(source: Source, tenant: Tenant, work_unit: str, start: Start = None, end: End = None) -> Response:
    """One line over a period: the present shift unless `from` and `to` say otherwise."""
    return _json(orjson.dumps(await source.line(tenant, work_unit, start, end)))


@router.get("/verdicts", response_model=schemas.VerdictPage)
async def verdicts(source: Source, tenant: Tenant, part: Annotated[VerdictPart, Query()]) -> Response:
    """Verdicts, newest first."""
    return _json(orjson.dumps(await source.page("verdicts", tenant, part.query(decision=part.decision))))


@router.get("/verdicts/{verdict_id}", response_model=schemas.VerdictDetail)
async def verdict(
    source: Source, tenant: Tenant, verdict_id: str, language: Annotated[Literal["ko", "en"], Query()] = "en"
) -> Response:
    """One verdict whole: what was looked at, what it said, how sure it is and why; what was said and done about it."""
    return _json(orjson.dumps(await source.verdict(tenant, verdict_id, language)))


@router.get("/alarms", response_model=schemas.AlarmPage)
async def alarms(source: Source, tenant: Tenant, part: Annotated[Part, Query()]) -> Response:
    """Alarms as they came and went, newest first."""
    return _json(orjson.dumps(await source.page("alarms", tenant, part.query())))


@router.get("/facts", response_model=schemas.FactPage)
async def facts(source: Source, tenant: Tenant, part: Annotated[FactPart, Query()]) -> Response:
    """Facts as they came, newest first; readings are not among them."""
    return _json(orjson.dumps(await source.page("facts", tenant, part.query(kind=part.kind))))


@router.get("/gateways", response_model=schemas.Gateways)
async def gateways(source: Source, tenant: Tenant) -> Response:
    """Every enrolled gateway as it last told."""
    return _json(orjson.dumps(await source.gateways(tenant)))


@router.get("/completeness", response_model=oversight_schemas.Completeness)
async def completeness(
    source: Source, tenant: Tenant, count: Annotated[bool, Query(description="count every row anew")] = False
) -> Response:
    """Account for every record: produced = stored + waiting + lost, by gateway, incarnation and stream."""
    return _json(orjson.dumps(await source.completeness(tenant, count=count)))


@router.get("/stream", responses={200: {"content": {"text/event-stream": {}}}})
async def stream(source: Source, tenant: Tenant) -> StreamingResponse:
    """Server-sent events: `hello`, then `overview` and `readings` as they change."""
    first = [("hello", orjson.dumps({"tenant": tenant})), ("overview", await source.overview_bytes(tenant))]

    async def body() -> AsyncIterator[bytes]:
        async for event in events(source.bus, tenant, first):
            yield event

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body(), media_type="text/event-stream", headers=headers)


@router.get("/link", response_model=schemas.Link)
async def link(source: Source) -> Response:
    """How the demo's link between gateways and broker stands."""
    return _json(orjson.dumps(await source.link.state()))


@router.post("/link", response_model=schemas.Link, responses={409: {"model": schemas.ProblemAnswer}})
async def set_link(source: Source, order: schemas.LinkOrder) -> Response:
    """Cut or heal the demo's link; refused where cloud.toml names no switch."""
    return _json(orjson.dumps(await source.set_link(order.cut)))
