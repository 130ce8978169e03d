"""/api/v1/today: the hall's figures so far, with their targets and what they were at the same time the day before."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Response

from cloud.api import schemas
from cloud.api.routes import Source, Tenant
from cloud.api.schemas import Answer

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": schemas.ProblemAnswer} for code in (400, 503)}
router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)


class Card(Answer):
    """One figure; `reason` says why there is none, `better` whether the change since `before` is for the better."""

    id: str
    metric: str
    unit: str
    value: float | None
    reason: str | None
    higher_is_better: bool
    target: float | None
    tone: Literal["met", "below", "warning", "critical"] | None
    before: float | None
    change: float | None
    better: bool | None


class TodayAnswer(Answer):
    """Today so far, over all lines; `compared_to` is the business date of `before`."""

    as_of: str
    date: str | None
    lines: int
    planned: int
    stops: int
    cards: list[Card]
    compared_to: str | None


@router.get("/today", response_model=TodayAnswer)
async def today(source: Source, tenant: Tenant) -> Response:
    """OEE, output, defect rate, downtime, schedule attainment and energy per piece of the business date so far."""
    answer = orjson.dumps(await source.today.answer(tenant))
    return Response(answer, media_type="application/json", headers={"Cache-Control": "no-store"})
