"""/api/v1/bi: the catalogue, and questions as plans."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import ValidationError

from cloud.api import bi_schemas as shapes
from cloud.api import schemas
from cloud.api.bi import Answer
from cloud.api.bodies import body, described, faults
from cloud.api.errors import invalid, unusable
from cloud.api.routes import Source, Tenant
from cloud.bi.semantic.plan import Plan
from cloud.bi.semantic.scope import Scope
from cloud.reports.sheets import Head, Kind, Sheet, csv_lines, xlsx

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": schemas.ProblemAnswer} for code in (400, 404, 413, 415, 503, 504)
}
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
router = APIRouter(prefix="/api/v1/bi", responses=_PROBLEMS)

_PLAN_BODY = described(Plan)
Language = Annotated[Literal["ko", "en"], Query(description="of the chart's names; sentences come in both")]
Known = Annotated[str | None, Header(alias="If-None-Match")]


def _answer(found: Answer, known: str | None) -> Response:
    headers = {"ETag": found.etag, "Cache-Control": "private, no-cache"}
    if known is not None and found.etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type="application/json", headers=headers)


def plan_of(text: str) -> Plan:
    """Read a plan from a query string. Raises ApiError 400 with every field that cannot be used."""
    if len(text) > 16_384:
        raise invalid("the plan is too long", "POST it to /api/v1/bi/ask")
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        raise unusable(faults(error)) from error


Asked = Annotated[str, Query(alias="plan", description="a Plan as JSON, as POST /api/v1/bi/ask takes it")]


@router.get("/catalogue", response_model=shapes.Catalogue)
async def catalogue(source: Source, tenant: Tenant) -> Response:
    """Every metric with its definition and what it can be split by, and every dimension."""
    return Response(orjson.dumps(source.bi.catalogue(tenant)), media_type="application/json")


@router.get("/values", response_model=shapes.Values)
async def values(
    source: Source,
    tenant: Tenant,
    dimension: Annotated[str, Query(max_length=64)],
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> Response:
    """Values of a dimension to filter by."""
    found = await source.bi.values(Scope(tenant), dimension, limit)
    return Response(orjson.dumps({"dimension": dimension, "items": found}), media_type="application/json")


@router.post("/ask", response_model=shapes.Asked, openapi_extra=described(Plan), responses={304: {"model": None}})
async def ask(
    source: Source, tenant: Tenant, request: Request, language: Language = "ko", known: Known = None
) -> Response:
    """Answer a plan: rows, findings, a chart, sentences in Korean and English, and how current all of it is."""
    plan = await body(request, Plan)
    return _answer(await source.bi.ask(Scope(tenant), plan, language=language), known)


@router.get("/ask", response_model=shapes.Asked, responses={304: {"model": None}})
async def ask_by_address(
    source: Source, tenant: Tenant, plan: Asked, language: Language = "ko", known: Known = None
) -> Response:
    """Answer a plan that stands in the address: for links, and for screens that ask again with If-None-Match."""
    return _answer(await source.bi.ask(Scope(tenant), plan_of(plan), language=language), known)


@router.get("/ask.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def ask_csv(source: Source, tenant: Tenant, plan: Asked, language: Language = "ko") -> Response:
    """Give the rows of an answer as CSV."""
    found = await source.bi.ask(Scope(tenant), plan_of(plan), language=language)

    def made() -> tuple[str, str]:
        sheet = _sheet(found.data, language)
        return sheet.name, "".join(csv_lines(sheet))

    name, text = await asyncio.to_thread(made)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/ask.xlsx", response_class=Response, responses={200: {"content": {XLSX: {}}}})
async def ask_xlsx(source: Source, tenant: Tenant, plan: Asked, language: Language = "ko") -> Response:
    """Give an answer as a spreadsheet: its rows, and when and by which definitions it was read."""
    found = await source.bi.ask(Scope(tenant), plan_of(plan), language=language)

    def made() -> tuple[str, bytes]:
        said = found.data
        sheet = _sheet(said, language)
        notes = [("as of", str(said["as_of"])), ("plan", str(said["plan_hash"]))]
        notes += [(one["title"][language], one["formula"][language]) for one in said["definitions"].values()]
        return sheet.name, xlsx([sheet], title=said["analysis"], notes=notes)

    name, book = await asyncio.to_thread(made)
    return Response(book, media_type=XLSX, headers={"Content-Disposition": f'attachment; filename="{name}.xlsx"'})


def _sheet(said: dict[str, Any], language: Language) -> Sheet:
    """Give an answer's rows as a table; ratios are percentages where a sheet can say so. A refusal gives its reason."""
    heads = [
        Head(title=one["title"][language], unit="" if one["unit"] == "1" else one["unit"], kind=_kind(one))
        for one in said["columns"]
    ]
    name = f"{said['analysis'].lower()}_{said['period']['first']}_{said['period']['last']}"
    if said["refused"] and not said["rows"]:
        why = {"ko": ("거절", "이유"), "en": ("refused", "why")}[language]
        rows = [[said["refused"], " ".join(said["sentences"][language])]]
        return Sheet(name=name, columns=[Head(title=one) for one in why], rows=rows)
    return Sheet(name=name, columns=heads, rows=said["rows"])


def _kind(column: dict[str, Any]) -> Kind:
    if column["kind"] != "metric":
        return "text"
    return "percent" if column["unit"] == "1" else "number"


@router.post("/explain", response_model=shapes.Explained, openapi_extra=described(Plan))
async def explain(source: Source, tenant: Tenant, request: Request) -> Response:
    """Say which marts a plan's figures come from and why, and by what SQL."""
    plan = await body(request, Plan)
    return Response(orjson.dumps(await source.bi.explain(Scope(tenant), plan)), media_type="application/json")
