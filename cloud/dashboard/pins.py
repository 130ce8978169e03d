"""Pinned questions as tiles, each answered anew: figure, chart and how current it is."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from cloud.api.answers import Answers
from cloud.api.errors import ApiError
from cloud.bi.semantic.plan import Plan
from cloud.bi.semantic.scope import Scope
from cloud.dashboard import analysis, plans
from cloud.dashboard.pictures import off_loop
from cloud.dashboard.render import Reader

TILE: Final = 330
"""Width in px that a tile's chart is drawn with."""


async def tiles(source: Answers, tenant: str, whom: Reader, most: int | None = None) -> dict[str, Any]:
    """Give the model of the tiles, in the order people chose: {pins: […], most_pins}."""
    kept = (await source.pins.listed(tenant))[:most]
    return {"pins": [await _tile(source, tenant, whom, pin) for pin in kept]}


async def _tile(source: Answers, tenant: str, whom: Reader, pin: dict[str, Any]) -> dict[str, Any]:
    """Give one tile. A question that cannot be answered any more says why, and takes nothing else along."""
    draft = plans.of_plan(pin["plan"])
    tile = pin | {"address": plans.page(draft), "analysis": draft.analysis, "answer": None, "problem": None}
    try:
        said = (await source.bi.ask(Scope(tenant), Plan.model_validate(pin["plan"]), language=whom.language)).data
    except ApiError as error:
        return tile | {"problem": error.message}
    sentences = said["sentences"][whom.language]
    chart = await off_loop(partial(analysis.draw, said["chart"], " ".join(sentences), (TILE, TILE)))
    return tile | {"answer": said, "sentence": sentences[0] if sentences else "", "chart": chart and chart["narrow"]}
