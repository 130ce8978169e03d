"""/quality, the list of lots and the page of one."""

from __future__ import annotations

import time
from datetime import date
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.answers import Answers
from cloud.api.quality import Asked
from cloud.api.routes import Source, Tenant
from cloud.bi.quality import Subject
from cloud.bi.spc import RuleSet
from cloud.dashboard import periods, quality
from cloud.dashboard.frame import Whom, answer, banner, fragment
from cloud.dashboard.pictures import off_loop
from cloud.dashboard.render import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Word = Annotated[str | None, Query(max_length=100)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
LOTS: Final = 50


@router.get("/quality")
@router.get("/fragments/quality")
async def page(  # noqa: PLR0917 - parameters of the address
    request: Request,
    source: Source,
    tenant: Tenant,
    whom: Whom,
    line: Word = None,
    characteristic: Word = None,
    product: Word = None,
    code: Annotated[Literal["1d", "7d", "30d", "90d"] | None, Query(alias="range")] = None,
    first: Word = None,
    last: Word = None,
    rules: RuleSet = "usual",
) -> Response:
    """Control charts, yields, defects and control points of one line."""
    lines = (await source.overview(tenant))["lines"]
    period = periods.chosen(code, first, last, _today(source, tenant))
    unit = (await source.card(tenant, line))["key"] if line else await _busiest(source, tenant, period, lines)
    name = "_quality.html" if fragment(request) else "quality.html"
    if unit is None:
        model: dict[str, Any] = {"quality": None, "now": None}
    else:
        asked = _asked(period, unit)
        found = await source.quality.summary(tenant, asked)
        subject = _subject(found["characteristics"], characteristic, product)
        model = {
            "period": period,
            "line": unit,
            "rules": rules,
            "subject": subject,
            "products": _products(found["characteristics"], subject),
            "chart": None if subject is None else await source.quality.chart(tenant, asked, subject, rules),
            "defect_chart": await source.quality.defect_chart(tenant, asked, rules),
        }
        model = await off_loop(partial(quality.page, found, lines, model, whom))
    return answer(request, render(name, whom, **model, **await banner(source, tenant, whom)))


def _asked(period: dict[str, Any], line: str | None) -> Asked:
    first, last = (date.fromisoformat(period[name]) for name in ("first", "last"))
    return Asked(first=first, last=last, work_unit=line)


def _today(source: Answers, tenant: str) -> date:
    plants = source.plants.of_tenant(tenant)
    now_ms = time.time_ns() // 1_000_000
    return date.fromisoformat(plants[0].calendar.at(now_ms).business_date) if plants else date.today()  # noqa: DTZ011 - no site, no zone


async def _busiest(source: Answers, tenant: str, period: dict[str, Any], lines: list[dict[str, Any]]) -> str | None:
    """Give the line of which most was measured; the hall's first one where nothing was."""
    counts: dict[tuple[str, str], int] = {}
    for one in (await source.quality.summary(tenant, _asked(period, None)))["characteristics"] if lines else []:
        place = (one["site"], one["work_unit"])
        counts[place] = counts.get(place, 0) + one["measured"]
    most = max(lines, key=lambda line: counts.get((line["site"], line["work_unit"]), 0), default=None)
    return None if most is None else most["key"]


def _subject(rows: list[dict[str, Any]], characteristic: str | None, product: str | None) -> Subject | None:
    """Give what is charted: what was asked for, else what was measured most of all."""
    if characteristic is None:
        most = max(rows, key=lambda row: row["measured"], default=None)
        if most is None:
            return None
        characteristic = str(most["characteristic"])
    mine = [row for row in rows if row["characteristic"] == characteristic]
    if product is None and mine:
        product = max(mine, key=lambda row: row["measured"])["product"] or None
    return Subject(characteristic, product or None)


def _products(rows: list[dict[str, Any]], subject: Subject | None) -> list[str]:
    return sorted({row["product"] for row in rows if subject and row["characteristic"] == subject.characteristic})


@router.get("/quality/lots")
async def lots(  # noqa: PLR0917 - parameters of the address
    request: Request, source: Source, tenant: Tenant, whom: Whom, search: Word = None, page: PageNumber = 1
) -> Response:
    """Lots, those made last first, with a search."""
    found = await source.quality.lots(tenant, search or "", None, page=page, page_size=LOTS)
    model = quality.lot_list(found, search or "", whom)
    return answer(request, render("lots.html", whom, **model, **await banner(source, tenant, whom)))


@router.get("/quality/lots/{lot:path}")
async def lot(request: Request, source: Source, tenant: Tenant, whom: Whom, lot: str) -> Response:
    """The trace of one lot."""
    model = quality.lot(await source.quality.lot(tenant, lot), whom.words)
    return answer(request, render("lot.html", whom, **model, **await banner(source, tenant, whom)))
