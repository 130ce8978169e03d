"""/api/v1/pins: the questions that people keep in sight. A pin that cannot be answered is not taken."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cloud.api import schemas
from cloud.api.bodies import body, described
from cloud.api.errors import not_found
from cloud.api.pins import MOST
from cloud.api.routes import Source, Tenant
from cloud.bi.semantic.plan import Plan
from cloud.bi.semantic.scope import Scope

router = APIRouter(
    prefix="/api/v1", responses={code: {"model": schemas.ProblemAnswer} for code in (400, 404, 409, 413, 415, 503)}
)


def _printable(text: str) -> str:
    said = " ".join(text.split())
    if not said or not said.isprintable():
        raise ValueError("is empty, or holds characters that cannot be printed")
    return said


Title = Annotated[str, Field(max_length=120), AfterValidator(_printable)]
Version = Annotated[int, Field(ge=1, le=2**53)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PinOrder(_Said):
    """A question to keep."""

    title: Title
    plan: Plan


class PinChange(_Said):
    """What becomes different about a pin."""

    version: Version
    """The one you saw; 409 when it was changed since."""
    title: Title | None = None
    plan: Plan | None = None
    place: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """0: the first."""

    @model_validator(mode="after")
    def _something(self) -> PinChange:
        if self.title is None and self.plan is None and self.place is None:
            raise ValueError("nothing is changed: give `title`, `plan` or `place`")
        return self


class PinAnswer(schemas.Answer):
    """A question that is kept; times are ISO 8601, UTC."""

    id: int
    title: str
    plan: dict[str, Any]
    """As POST /api/v1/bi/ask takes it."""
    place: int
    version: int
    created: str
    changed: str


class PinList(schemas.Answer):
    """All pins, in their order."""

    pins: list[PinAnswer]
    most: int
    """So many may be kept."""


def _json(answer: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(answer), status, media_type="application/json", headers=headers)


def _number(pin: str) -> int:
    """Read a pin's id; what is no number is no pin."""
    if not (pin.isascii() and pin.isdigit() and len(pin) <= 15):
        raise not_found(f"there is no pin {pin[:40]!r}", "GET /api/v1/pins lists them")
    return int(pin)


@router.get("/pins", response_model=PinList)
async def listed(source: Source, tenant: Tenant) -> Response:
    """Give every pin; its answer is asked with its plan."""
    return _json({"pins": await source.pins.listed(tenant), "most": MOST})


@router.post("/pins", response_model=PinAnswer, status_code=201, openapi_extra=described(PinOrder))
async def add(source: Source, tenant: Tenant, request: Request) -> Response:
    """Keep a question: {title, plan}. It is answered once before it is kept."""
    order = await body(request, PinOrder)
    await source.bi.ask(Scope(tenant), order.plan)
    return _json(await source.pins.add(tenant, order.title, order.plan), 201)


@router.patch("/pins/{pin}", response_model=PinAnswer, openapi_extra=described(PinChange))
async def change(source: Source, tenant: Tenant, pin: str, request: Request) -> Response:
    """Rename a pin, ask another question with it, or move it: {version, title?, plan?, place?}."""
    order = await body(request, PinChange)
    if order.plan is not None:
        await source.bi.ask(Scope(tenant), order.plan)
    changed = await source.pins.change(
        tenant, _number(pin), order.version, title=order.title, plan=order.plan, place=order.place
    )
    return _json(changed)


@router.delete("/pins/{pin}", status_code=204)
async def remove(
    source: Source,
    tenant: Tenant,
    pin: str,
    version: Annotated[int, Query(ge=1, le=2**53, description="the one you saw")],
) -> Response:
    """Forget a pin."""
    await source.pins.remove(tenant, _number(pin), version)
    return Response(status_code=204)
