"""/api/v1/packages/offers: what was offered to gateways, and what became of it."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Response

from cloud.api import schemas
from cloud.api.routes import Source, Tenant
from cloud.packages.offers import listed

router = APIRouter(prefix="/api/v1", responses={code: {"model": schemas.ProblemAnswer} for code in (400, 404, 503)})


class OfferAnswer(schemas.Answer):
    """One package offered to one gateway; times are ISO 8601, UTC."""

    tenant: str
    site: str
    gateway: str
    digest: str
    """SHA-256, hex."""
    size: int
    """Bytes."""
    name: str
    offered_by: str
    offered: str
    expires: str
    sent: str | None
    """When the gateway was told the last time."""
    answered: str | None
    """When it was received or refused, by the gateway's clock."""
    state: Literal["offered", "received", "refused", "expired"]
    why: str
    """Why it was refused, as the gateway said."""


class OfferPage(schemas.Page):
    """Offers, newest first."""

    items: list[OfferAnswer]


@router.get("/packages/offers", response_model=OfferPage)
async def offers(
    source: Source,
    tenant: Tenant,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Packages offered to this tenant's gateways, newest first."""
    now_ms, skipped = time.time_ns() // 1_000_000, (page - 1) * page_size
    items, total = await source.database.read(
        lambda connection: listed(connection, now_ms, tenant=tenant, limit=page_size, offset=skipped)
    )
    answer = {"items": items, "total": total, "page": page, "page_size": page_size}
    return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})
