"""The address of the analysis page. The question stands in it, so that an answer can be shared and gone back to."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.answers import Answers
from cloud.api.errors import ApiError, invalid
from cloud.api.routes import Source, Tenant
from cloud.bi.semantic.dimensions import DIMENSIONS
from cloud.bi.semantic.plan import Plan
from cloud.bi.semantic.scope import Scope
from cloud.bi.times import iso
from cloud.dashboard import analysis, pins, plans, questions
from cloud.dashboard.frame import Whom, answer, banner, fragment
from cloud.dashboard.pictures import off_loop
from cloud.dashboard.plans import Draft, Fault
from cloud.dashboard.render import Reader, render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/analysis")
@router.get("/fragments/analysis")
async def analysis_page(request: Request, source: Source, tenant: Tenant, whom: Whom) -> Response:
    """A question in chips, and its answer; without a question the board of pins and questions to begin with."""
    try:
        draft = plans.read(request.query_params.multi_items())
    except ValueError as error:
        raise invalid(f"`plan` cannot be read: {error}", "open /analysis and ask again") from error
    model: dict[str, Any] = {"asked": draft is not None, "now": iso(time.time_ns() // 1_000_000)}
    if draft is None:
        model |= await _begin(source, tenant, whom)
    else:
        model |= await _question(source, tenant, whom, draft, request.query_params.get("sort", "")[:80])
    page = "_analysis.html" if fragment(request) else "analysis.html"
    return answer(request, render(page, whom, **model, **await banner(source, tenant, whom)))


async def _begin(source: Answers, tenant: str, whom: Reader) -> dict[str, Any]:
    empty = questions.completed(Draft(metrics=("oee",)), datetime.now(whom.zone).date())
    return {
        **analysis.chips(empty, [], [], whom.words),
        **await pins.tiles(source, tenant, whom),
        "gallery": [(key, draft.analysis, plans.page(draft)) for key, draft in questions.GALLERY],
    }


async def _question(source: Answers, tenant: str, whom: Reader, draft: Draft, sort: str) -> dict[str, Any]:
    """Give the model of a question and its answer; what is wrong stands at the chip it is wrong with."""
    words, scope = whom.words, Scope(tenant)
    draft = questions.completed(draft, datetime.now(whom.zone).date())
    faults = questions.faults(draft, words)
    values = [
        await source.bi.values(scope, where.dimension) if where.dimension in DIMENSIONS else []
        for where in draft.wheres
    ]
    chips = [questions.filter_chip(where, found, words) for where, found in zip(draft.wheres, values, strict=True)]
    reasons = await source.bi.values(scope, "stop_reason") if draft.shows("edits") else []
    plan = plans.asked(draft)
    if not isinstance(plan, Plan):
        faults += [one for one in plan if one.control not in {fault.control for fault in faults}]
    model: dict[str, Any] = {"answer": None, "problem": None, "stop_reasons": reasons}
    if isinstance(plan, Plan) and not faults:
        try:
            said = await source.bi.ask(scope, plan, language=words.language)
            model |= await off_loop(partial(analysis.answer, draft, said.data, sort, whom))
        except ApiError as error:
            faults, problem = _placed(error, draft)
            model["problem"] = problem
    return {**model, **analysis.chips(draft, chips, faults, words), "plan_json": plans.plan_json(draft)}


_CONTROL: Final = {"metrics": "metric", "dimensions": "by", "edits": "edit"}


def _placed(error: ApiError, draft: Draft) -> tuple[list[Fault], dict[str, str] | None]:
    """Give what is wrong at the chips that are at fault; what no chip can help stands for itself."""
    if error.status >= 500:
        raise error
    faults: list[Fault] = []
    for one in error.fields:
        name, _, rest = one["field"].partition(".")
        place = rest.partition(".")[0]
        if name == "filters" and place.isdigit():
            chosen = [where for where in draft.wheres if where.values]
            control = f"where.{chosen[int(place)].dimension}"
        else:
            control = f"{_CONTROL[name]}.{place or 0}" if name in _CONTROL else name
        faults.append(Fault(control, one["message"], (one["nearest"],) if one.get("nearest") else ()))
    return faults, None if faults else {"code": error.code, "message": error.message, "check": error.check}
