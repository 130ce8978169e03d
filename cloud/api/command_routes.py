"""/api/v1/commands: what was asked of gateways, by whom, and what each answered."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import schemas
from cloud.api.errors import invalid, not_found
from cloud.api.routes import Source, Tenant
from cloud.database import Connection
from cloud.remote import commands
from sync.topics import Address

router = APIRouter(prefix="/api/v1", responses={code: {"model": schemas.ProblemAnswer} for code in (400, 404, 503)})


class CommandOrder(BaseModel):
    """What is asked of one gateway."""

    model_config = ConfigDict(extra="forbid")

    site: str
    gateway: str
    kind: str
    """approve, reject, act, mode, kill, trust, model or feedback."""
    arguments: dict[str, Any] = {}
    actor: Annotated[str, Field(min_length=1, max_length=100)]
    """Who asks; on record at the gateway and here."""
    expires_s: Annotated[int, Field(ge=10, le=7 * 86_400)] = 3600


class CommandAnswer(schemas.Answer):
    """One command to one gateway; times are ISO 8601, UTC."""

    tenant: str
    site: str
    gateway: str
    command: str
    """Id."""
    kind: str
    arguments: dict[str, Any]
    actor: str
    given: str
    expires: str
    sent: str | None
    """When the gateway was told the last time."""
    answered: str | None
    """By the gateway's clock."""
    state: Literal["given", "done", "refused", "expired"]
    why: str
    """What the gateway said."""


class CommandPage(schemas.Page):
    """Commands, newest first."""

    items: list[CommandAnswer]


class CommandGiven(schemas.Answer):
    """It will be said to the gateway until it answers or it is over."""

    command: str


@router.get("/commands", response_model=CommandPage)
async def listed(
    source: Source,
    tenant: Tenant,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Commands to this tenant's gateways, newest first."""
    now_ms, skipped = time.time_ns() // 1_000_000, (page - 1) * page_size
    items, total = await source.database.read(
        lambda connection: commands.listed(connection, now_ms, tenant=tenant, limit=page_size, offset=skipped)
    )
    answer = {"items": items, "total": total, "page": page, "page_size": page_size}
    return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post("/commands", response_model=CommandGiven)
async def give(source: Source, tenant: Tenant, order: CommandOrder) -> Response:
    """Ask a gateway. It decides, and answers; an answer is seen here once it has come up."""
    now_ms = time.time_ns() // 1_000_000
    given = commands.Given(uuid.uuid4().hex, order.kind, order.arguments, order.actor, now_ms + order.expires_s * 1000)
    address = Address(tenant, order.site, order.gateway)

    def write(connection: Connection) -> bool:
        row = connection.one(
            "select 1 from gateway where tenant=? and site=? and name=?", (tenant, order.site, order.gateway)
        )
        if row is not None:
            commands.give(connection, address, given, now_ms)
        return row is not None

    try:
        known = await source.database.write(write)
    except commands.CommandError as error:
        raise invalid(str(error), "GET /api/v1/commands shows what was asked before") from error
    if not known:
        raise not_found(f"no gateway {order.site}/{order.gateway} was ever heard", "GET /api/v1/gateways lists them")
    return Response(
        orjson.dumps({"command": given.command}),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
