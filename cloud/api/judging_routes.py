"""/api/v1/verdicts/{id}/replay and /api/v1/replay/batch: verdicts judged again with the line's own code; nothing is written."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cloud.api import schemas
from cloud.api.bodies import body, described
from cloud.api.errors import ApiError, invalid
from cloud.api.replays import BatchAsked
from cloud.api.routes import Source, Tenant
from cloud.bi.times import ms_of
from edge.judgment.batch import MOST, Wanted
from edge.judgment.compare import MOST_VERSIONS
from models.rulesets import MAX_BYTES

MOST_INPUT: Final = 10 * 1024
"""Bytes of what a what-if changes."""
MOST_BODY: Final = MOST_VERSIONS * MAX_BYTES + 64 * 1024

router = APIRouter(
    prefix="/api/v1",
    responses={code: {"model": schemas.ProblemAnswer} for code in (400, 404, 409, 413, 415, 429, 503)},
)
Rules = Annotated[str, Field(min_length=1, max_length=MAX_BYTES)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]+$")]


def _value(value: Any) -> Any:
    if not isinstance(value, float | int | str | bool | None):
        raise ValueError("give a number, a text, true, false or null")  # noqa: TRY004 - pydantic asks for it
    return value


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ReplayOrder(BaseModel):
    """How one verdict is to be judged again; without anything, by what judged it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overrides: dict[str, Annotated[Any, AfterValidator(_value)]] = {}
    """Input → another value (number, text, true or false, null): a what-if, by each version that is named."""
    rules: Annotated[list[Rules], Field(max_length=MOST_VERSIONS), BeforeValidator(_list)] = []
    """Texts of rulesets, each one version."""
    models: Annotated[list[Digest], Field(max_length=MOST_VERSIONS)] = []
    """SHA-256 of model packages that lie here, each one version. At most five versions in all."""


class BatchOrder(BaseModel):
    """Rules to be tried on verdicts of the past."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    rules: Rules
    start: Annotated[datetime | None, Field(alias="from")] = None
    """Ends of windows from here on …"""
    end: Annotated[datetime | None, Field(alias="to")] = None
    """… and before this."""
    line: Text | None = None
    """Work unit; `site:path` where several sites have the same."""
    decision: Literal["normal", "warning", "critical", "unknown"] | None = None
    ruleset: Text | None = None
    """Name of the ruleset that judged."""
    product: Text | None = None
    sample: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """So many, replayed whole with their models; left out: all of them, in columns, with the recorded model answers."""
    sampling: Literal["random", "stratified", "sequential"] = "random"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    """The same seed takes the same sample."""
    memory: Literal["recorded", "continuous"] = "continuous"
    """continuous: the rules live through history with their own delays and hysteresis; recorded: each with its record's."""


def answer(content: object) -> Response:
    """Give a struct as JSON."""
    return Response(msgspec.json.encode(content), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post("/verdicts/{verdict_id}/replay", openapi_extra=described(ReplayOrder))
async def replay(source: Source, tenant: Tenant, verdict_id: str, request: Request) -> Response:
    """Judge one verdict again: by what judged it (exact or not), by other versions, or with other inputs (what-if)."""
    order = await body(request, ReplayOrder, MOST_BODY)
    if len(msgspec.json.encode(order.overrides)) > MOST_INPUT:
        raise ApiError(413, "TOO_LARGE", f"overrides of more than {MOST_INPUT} bytes", "change fewer inputs at once")
    return answer(await source.replays.replay(tenant, verdict_id, order.overrides, order.rules, order.models))


@router.post("/replay/batch", openapi_extra=described(BatchOrder))
async def batch(source: Source, tenant: Tenant, request: Request) -> Response:
    """Try rules on many verdicts: how many would change, to what, and whether people's words speak for it."""
    order = await body(request, BatchOrder, MOST_BODY)
    begin, end = (None if at is None else _ns(at) for at in (order.start, order.end))
    if begin is not None and end is not None and begin >= end:
        raise invalid("`from` is not before `to`", "give both as ISO 8601 times, `from` the earlier one")
    named = {name: getattr(order, name) for name in ("line", "decision", "ruleset", "product")}
    how = {name: getattr(order, name) for name in ("rules", "sample", "sampling", "seed", "memory")}
    return answer(await source.replays.batch(tenant, BatchAsked(wanted=Wanted(begin=begin, end=end, **named), **how)))


def _ns(at: datetime) -> int:
    return max(0, ms_of(at)) * 1_000_000
