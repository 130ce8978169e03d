"""/api/v1/alerts/… beyond the lists of oversight_routes, /api/v1/watches and /api/v1/outgoing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime

from cloud.alerting.listing import Wanted
from cloud.alerting.rows import Watch
from cloud.api import desk_schemas as shapes
from cloud.api import schemas
from cloud.api.bodies import body, described
from cloud.api.routes import Source, Tenant

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": schemas.ProblemAnswer} for code in (400, 404, 409, 503)}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]


def _json(answer: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/alerts/list", response_model=shapes.AlertList)
async def alert_list(
    source: Source,
    tenant: Tenant,
    *,
    state: Literal["standing", "past", "all"] = "standing",
    severity: Literal["critical", "warning", "info"] | None = None,
    kind: Annotated[str | None, Query(max_length=64, pattern=r"^[a-z_]+$")] = None,
    site: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
    work_unit: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    unseen: bool = False,
    page: PageNumber = 1,
    page_size: PageSize = 20,
) -> Response:
    """Alerts of gateways, the ledger, marts and watched figures together, with who has seen them."""
    wanted = Wanted(state=state, severity=severity, kind=kind, site=site, work_unit=work_unit, unseen=unseen)
    return _json(await source.desk.alerts(tenant, wanted, page=page, page_size=page_size))


@router.post("/alerts/{alert}/acknowledge", response_model=shapes.AlertItem, openapi_extra=described(shapes.AckOrder))
async def acknowledge(source: Source, tenant: Tenant, alert: Number, request: Request) -> Response:
    """Say that somebody has seen an alert: letters about it stop being repeated."""
    order = await body(request, shapes.AckOrder)
    return _json(await source.desk.acknowledge(tenant, alert, by=order.by, note=order.note))


@router.post("/alerts/{alert}/silence", response_model=shapes.AlertItem, openapi_extra=described(shapes.SilenceOrder))
async def silence(source: Source, tenant: Tenant, alert: Number, request: Request) -> Response:
    """Let an alert, and the watch it came from, tell nobody for a while."""
    order = await body(request, shapes.SilenceOrder)
    return _json(await source.desk.silence(tenant, alert, by=order.by, minutes=order.minutes))


@router.get("/watches", response_model=shapes.WatchList)
async def watches(source: Source, tenant: Tenant) -> Response:
    """Every watched figure and how it stands."""
    return _json(await source.desk.watches(tenant))


@router.get("/watches/{watch}", response_model=shapes.WatchItem)
async def watch(source: Source, tenant: Tenant, watch: Number) -> Response:
    """One watch and how it stands."""
    return _json(await source.desk.watch(tenant, watch))


@router.post("/watches", response_model=shapes.WatchItem, status_code=201, openapi_extra=described(shapes.WatchOrder))
async def add_watch(source: Source, tenant: Tenant, request: Request) -> Response:
    """Watch a figure."""
    return _json(await source.desk.put_watch(tenant, _watch(tenant, await body(request, shapes.WatchOrder))), 201)


@router.put("/watches/{watch}", response_model=shapes.WatchItem, openapi_extra=described(shapes.WatchChange))
async def change_watch(source: Source, tenant: Tenant, watch: Number, request: Request) -> Response:
    """Change a watch; it begins anew, and what it had raised stands no longer, unless only name, readers or language change."""
    order = await body(request, shapes.WatchChange)
    return _json(await source.desk.put_watch(tenant, _watch(tenant, order, watch), read=order.changed))


@router.delete("/watches/{watch}", response_model=shapes.Removed)
async def remove_watch(
    source: Source,
    tenant: Tenant,
    watch: Number,
    by: Annotated[str, Query(min_length=1, max_length=100, pattern=r"^[^\x00]+$")],
    changed: AwareDatetime | None = None,
) -> Response:
    """Take a watch away; its past alerts stay. changed: of the watch as it was read; 409 where it was changed since."""
    return _json(await source.desk.remove_watch(tenant, watch, by=by, read=changed))


@router.get("/outgoing", response_model=shapes.LetterList)
async def outgoing(
    source: Source,
    tenant: Tenant,
    cause: Literal["report", "alert", "escalation"] | None = None,
    page: PageNumber = 1,
    page_size: PageSize = 20,
) -> Response:
    """Letters, newest first, and what became of each for each of its readers, in the server's own words."""
    return _json(await source.desk.letters(tenant, cause, page=page, page_size=page_size))


def _watch(tenant: str, order: shapes.WatchOrder, number: int = 0) -> Watch:
    given = order.model_dump(exclude={"by", "changed"})
    return Watch(number=number, tenant=tenant, changed_by=order.by, **given)
