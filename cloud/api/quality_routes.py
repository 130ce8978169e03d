"""/api/v1/quality: charts, control points, lots and the trace of one; CSV beside every table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from cloud.api import quality_schemas as shapes
from cloud.api import schemas
from cloud.api.quality import Asked
from cloud.api.routes import Source, Tenant
from cloud.bi.quality import Subject
from cloud.bi.spc import RuleSet
from cloud.reports.sheets import Head, Sheet, csv_lines

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": schemas.ProblemAnswer} for code in (400, 404, 503)}
_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {}}}}
router = APIRouter(prefix="/api/v1/quality", responses=_PROBLEMS)

First = Annotated[date | None, Query(description="first business date")]
Last = Annotated[date | None, Query(description="last business date, included")]
Text = Annotated[str, Query(max_length=100)]
MaybeText = Annotated[str | None, Query(max_length=100)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]
Part = Literal["measurements", "ccp", "actions", "stops", "alarms", "gaps", "versions", "verdicts", "people"]

COLUMNS: Final[dict[Part, tuple[str, ...]]] = {
    "measurements": (
        *("at", "site", "work_unit", "characteristic", "value", "unit", "low", "high", "passed", "sample", "product"),
    ),
    "ccp": (
        *("at", "site", "work_unit", "ccp", "value", "unit", "low", "high", "within", "lot", "product"),
        *("ruleset", "ruleset_version", "verdict_id", "gateway"),
    ),
    "actions": ("at", "gateway", "action", "action_type", "target", "value", "risk", "trust", "ruleset", "state"),
    "stops": ("site", "work_unit", "start", "end", "time_element", "state", "reason"),
    "alarms": ("at", "site", "work_unit", "alarm", "active", "severity", "verdict_id"),
    "gaps": ("site", "work_unit", "source", "start", "end", "tags", "reason"),
    "versions": ("site", "work_unit", "kind", "name", "version", "hash", "state", "since"),
    "verdicts": ("at", "site", "work_unit", "decision", "severity", "confidence", "ruleset", "verdict_id"),
    "people": ("actor", "part", "times"),
}


def _json(answer: Any) -> Response:
    return Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})


def _csv(name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> StreamingResponse:
    sheet = Sheet(
        name=name, columns=[Head(title=column) for column in columns], rows=([row[c] for c in columns] for row in rows)
    )
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(csv_lines(sheet), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("", response_model=shapes.Quality)
async def quality(
    source: Source, tenant: Tenant, work_unit: MaybeText = None, first: First = None, last: Last = None
) -> Response:
    """Pieces and yields by day, defects, what was measured, and control points: of one line or of all, over seven days."""
    return _json(await source.quality.summary(tenant, Asked(first=first, last=last, work_unit=work_unit)))


@router.get("/ccp.csv", responses=_CSV)
async def ccp_csv(
    source: Source, tenant: Tenant, work_unit: MaybeText = None, first: First = None, last: Last = None
) -> StreamingResponse:
    """The newest records of critical control points of a period, as CSV."""
    found = await source.quality.summary(tenant, Asked(first=first, last=last, work_unit=work_unit))
    return _csv("ccp", COLUMNS["ccp"], found["ccp"])


@router.get("/characteristics.csv", responses=_CSV)
async def characteristics_csv(
    source: Source, tenant: Tenant, work_unit: MaybeText = None, first: First = None, last: Last = None
) -> StreamingResponse:
    """What was measured in a period, counted, as CSV."""
    found = await source.quality.summary(tenant, Asked(first=first, last=last, work_unit=work_unit))
    columns = (
        "site",
        "work_unit",
        "characteristic",
        "product",
        "unit",
        "measured",
        "passed",
        "failed",
        "untold",
        "mean",
    )
    return _csv("characteristics", columns, found["characteristics"])


@router.get("/defects.csv", responses=_CSV)
async def defects_csv(
    source: Source, tenant: Tenant, work_unit: MaybeText = None, first: First = None, last: Last = None
) -> StreamingResponse:
    """Defects of a period by type, as CSV."""
    found = await source.quality.summary(tenant, Asked(first=first, last=last, work_unit=work_unit))
    return _csv("defects", ("defect", "quantity", "share", "cumulative"), found["defects"])


@router.get("/charts", response_model=shapes.CharacteristicChart)
async def chart(  # noqa: PLR0917 - parameters of the address
    source: Source,
    tenant: Tenant,
    work_unit: Text,
    characteristic: Text,
    product: MaybeText = None,
    first: First = None,
    last: Last = None,
    rules: RuleSet = "usual",
) -> Response:
    """One characteristic's control chart: X-bar of samples with several values, else I-MR; limits, signals, capability.

    Limits are those frozen in the line's rules, or made of the oldest part of the period.
    """
    asked = Asked(first=first, last=last, work_unit=work_unit)
    return _json(await source.quality.chart(tenant, asked, Subject(characteristic, product), rules))


@router.get("/charts.csv", responses=_CSV)
async def chart_csv(  # noqa: PLR0917 - parameters of the address
    source: Source,
    tenant: Tenant,
    work_unit: Text,
    characteristic: Text,
    product: MaybeText = None,
    first: First = None,
    last: Last = None,
    rules: RuleSet = "usual",
) -> StreamingResponse:
    """The points of one characteristic's control chart, as CSV."""
    asked = Asked(first=first, last=last, work_unit=work_unit)
    found = await source.quality.chart(tenant, asked, Subject(characteristic, product), rules)
    rows = [point | {"rules": " ".join(one["rule"] for one in point["signals"])} for point in found["points"]]
    return _csv("chart", ("at", "value", "size", "spread", "lower", "upper", "lot", "sample", "rules"), rows)


@router.get("/defect-chart", response_model=shapes.LineChart)
async def defect_chart(  # noqa: PLR0917 - parameters of the address
    source: Source, tenant: Tenant, work_unit: Text, first: First = None, last: Last = None, rules: RuleSet = "usual"
) -> Response:
    """The p chart of a line's scrap by shift; with Laney's factor, for thousands of pieces vary more than chance."""
    return _json(await source.quality.defect_chart(tenant, Asked(first=first, last=last, work_unit=work_unit), rules))


@router.get("/lots", response_model=shapes.LotPage)
async def lots(  # noqa: PLR0917 - parameters of the address
    source: Source,
    tenant: Tenant,
    search: Text = "",
    work_unit: MaybeText = None,
    page: PageNumber = 1,
    page_size: PageSize = 20,
) -> Response:
    """Lots, those made last first; `search` finds a part of the lot's, the order's or the product's name."""
    return _json(await source.quality.lots(tenant, search, work_unit, page=page, page_size=page_size))


@router.get("/lots.csv", responses=_CSV)
async def lots_csv(
    source: Source, tenant: Tenant, search: Text = "", work_unit: MaybeText = None, page: PageNumber = 1
) -> StreamingResponse:
    """A hundred lots at a time, as CSV."""
    found = await source.quality.lots(tenant, search, work_unit, page=page, page_size=100)
    columns = ("lot", "products", "orders", "site", "work_unit", "first", "last", "produced", "good", "scrap", "rework")
    rows = [one | {name: " ".join(one[name]) for name in ("products", "orders")} for one in found["items"]]
    return _csv("lots", columns, rows)


@router.get("/trace.csv", responses=_CSV)
async def trace_csv(source: Source, tenant: Tenant, lot: Text, part: Part = "measurements") -> StreamingResponse:
    """One table of a lot's trace, as CSV."""
    found = await source.quality.lot(tenant, lot)
    if part == "verdicts":
        rows = [
            one | {name: line[name] for name in ("site", "work_unit")}
            for line in found["judgments"]
            for one in line["verdicts"]
        ]
    else:
        rows = found[part]
    return _csv(f"lot-{part}", COLUMNS[part], rows)


@router.get("/lots/{lot:path}", response_model=shapes.LotTrace)
async def lot(source: Source, tenant: Tenant, lot: str) -> Response:
    """Everything about one lot: where and when it was made, measured, judged; versions, actions, people, stops, gaps.

    `completeness` says of each line whether every record of those hours is stored, or which are missing and why.
    """
    return _json(await source.quality.lot(tenant, lot))
