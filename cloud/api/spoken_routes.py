"""/api/v1/feedback, /actions, /trust and /models: what people say and ask; the gateways decide and record.

There is no sign-in yet: whoever asks says in `actor` who asks, and that name is on record here and at the gateway.
"""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cloud.api import schemas
from cloud.api.bodies import body, described
from cloud.api.routes import End, Source, Start, Tenant
from cloud.bi.times import ms_of
from edge.acting.trust import FULL

router = APIRouter(
    prefix="/api/v1", responses={code: {"model": schemas.ProblemAnswer} for code in (400, 404, 409, 413, 415, 503)}
)


def _plain(text: str) -> str:
    if not text.isprintable() and any(ord(one) < 32 and one not in "\n\t" for one in text):
        raise ValueError("holds control characters")
    return text


Actor = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
Comment = Annotated[str, Field(max_length=1_000), AfterValidator(_plain)]
Decision = Literal["normal", "warning", "critical", "unknown"]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class FeedbackOrder(_Said):
    """One word on one verdict, as at the line."""

    target: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
    """verdict_id."""
    type: Literal["positive", "negative", "correction"]
    corrected: Decision | None = None
    """What it should have been; a correction has one, nothing else does."""
    reason: Literal["incorrect", "incomplete", "irrelevant", "unclear", "slow", "other"] | None = None
    comment: Comment = ""
    actor: Actor

    @model_validator(mode="after")
    def _whole(self) -> FeedbackOrder:
        if (self.type == "correction") != (self.corrected is not None):
            raise ValueError("a correction says what it should have been (corrected), and nothing else does")
        return self


class AnswerOrder(_Said):
    """A yes or no to an action that waits."""

    actor: Actor
    comment: Comment = ""


class TrustOrder(_Said):
    """A level that is asked for."""

    ruleset: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]+$")]
    level: Annotated[int, Field(ge=0, le=3)]
    reason: Annotated[str, Field(min_length=5, max_length=1_000), AfterValidator(_plain)]
    gateway: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """None: every gateway that judges by it."""
    confirmed: bool = False
    """Full trust (3) needs it."""
    actor: Actor

    @model_validator(mode="after")
    def _seen(self) -> TrustOrder:
        if self.level == FULL and not self.confirmed:
            raise ValueError("full trust is confirmed by a person: confirmed has to be true")
        return self


def _json(answer: object) -> Response:
    return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/feedback")
async def feedback(
    source: Source,
    tenant: Tenant,
    *,
    page: PageNumber = 1,
    page_size: PageSize = 20,
    start: Start = None,
    end: End = None,
) -> Response:
    """The newest word of every person on every verdict, words that wait for a gateway, and each ruleset's last 30 days."""
    since, until = (None if at is None else ms_of(at) for at in (start, end))
    return _json(await source.spoken.feedback(tenant, page=page, page_size=page_size, since_ms=since, until_ms=until))


@router.post("/feedback", openapi_extra=described(FeedbackOrder))
async def say(source: Source, tenant: Tenant, request: Request) -> Response:
    """Say what a verdict was worth. Its gateway records it, and it counts once: there and here."""
    order = await body(request, FeedbackOrder)
    return _json(await source.spoken.say(tenant, order.model_dump()))


@router.get("/actions")
async def actions(
    source: Source,
    tenant: Tenant,
    state: Literal["waiting", "decided", "ended"] | None = None,
    page: PageNumber = 1,
    page_size: PageSize = 20,
) -> Response:
    """Actions, newest first: what gateways decided, what people said, what became of it."""
    return _json(await source.spoken.actions(tenant, state, page=page, page_size=page_size))


@router.post("/actions/{action}/approve", openapi_extra=described(AnswerOrder))
async def approve(source: Source, tenant: Tenant, action: str, request: Request) -> Response:
    """Ask the gateway to take a yes. The first answer counts there; a later one is on record as superseded."""
    order = await body(request, AnswerOrder)
    return _json(await source.spoken.answer(tenant, action, approved=True, actor=order.actor, comment=order.comment))


@router.post("/actions/{action}/reject", openapi_extra=described(AnswerOrder))
async def reject(source: Source, tenant: Tenant, action: str, request: Request) -> Response:
    """Ask the gateway to take a no."""
    order = await body(request, AnswerOrder)
    return _json(await source.spoken.answer(tenant, action, approved=False, actor=order.actor, comment=order.comment))


@router.get("/rulesets")
async def rulesets(source: Source, tenant: Tenant) -> Response:
    """Which ruleset judges every line now, and which versions of each stand side by side."""
    return _json(await source.spoken.rulesets(tenant))


@router.get("/models")
async def models(source: Source, tenant: Tenant) -> Response:
    """Per line: model, version, state, breaker, drift; by model: whether one line drifts alone or several together."""
    return _json(await source.spoken.models(tenant))


@router.get("/trust")
async def trust(source: Source, tenant: Tenant) -> Response:
    """Per gateway and ruleset: level, score with its parts, what the next level lacks, what is proposed, history."""
    return _json(await source.spoken.trust(tenant))


@router.post("/trust", openapi_extra=described(TrustOrder))
async def set_trust(source: Source, tenant: Tenant, request: Request) -> Response:
    """Ask gateways for a ruleset's level. Nothing is promoted by itself."""
    order = await body(request, TrustOrder)
    return _json(await source.spoken.set_trust(tenant, order.model_dump()))
