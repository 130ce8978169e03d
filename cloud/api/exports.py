"""CSV of every list of the API: beside each list stands the same address with `.csv`, with the same parameters.

The whole selection comes, part by part, as UTF-8 with a byte order mark (RFC 4180; nothing in it runs in a
spreadsheet); `page` and `page_size` are not read. Columns are the fields of an item, a field of a field with a dot
(`summary.en`); what is a list stands in its cell as JSON. What came in after the first part was read is not in it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, get_args, get_origin

import orjson
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from cloud.api.errors import invalid
from cloud.reports.sheets import Head, Sheet, csv_lines

MOST_ROWS: Final = 100_000
PART: Final = 1_000
SPOKEN: Final = frozenset({"summary", "title", "name"})
"""Fields that hold a text in both languages."""

LISTS: Final = {
    "/api/v1/verdicts": "items",
    "/api/v1/alarms": "items",
    "/api/v1/facts": "items",
    "/api/v1/gateways": "gateways",
    "/api/v1/completeness": "gateways.streams",
    "/api/v1/completeness/hours": "gateways.hours",
    "/api/v1/alerts": "items",
    "/api/v1/alerts/history": "items",
    "/api/v1/audit": "items",
    "/api/v1/packages/offers": "items",
    "/api/v1/commands": "items",
    "/api/v1/feedback": "items",
    "/api/v1/actions": "items",
    "/api/v1/rulesets": "lines",
    "/api/v1/models": "lines",
    "/api/v1/trust": "items",
    "/api/v1/pins": "pins",
    "/api/v1/bi/values": "items",
    "/api/v1/etl/jobs": "items",
    "/api/v1/etl/dead-letters": "items",
    "/api/v1/bi/mv-status": "items",
    "/api/v1/etl/rules": "items",
    "/api/v1/etl/audit": "items",
    "/api/v1/reports": "items",
    "/api/v1/watches": "items",
    "/api/v1/alerts/list": "items",
    "/api/v1/outgoing": "items",
}
"""Address of a list → the field of its answer that holds it; `a.b`: a row for every b of every a. An address that the
app does not have is passed over."""

Endpoint = Callable[..., Awaitable[Response]]
Item = dict[str, Any]


def install(app: FastAPI) -> None:
    """Add the addresses; after the routes they stand beside."""
    routes = list(routes_of(app))
    here = {route.path for route in routes}
    for route in routes:
        if "GET" not in (route.methods or set()) or route.path not in LISTS:
            continue
        if f"{route.path}.csv" in here:  # it has one of its own
            continue
        name = route.path.removeprefix("/api/v1/").replace("/", "_").replace("-", "_")
        endpoint = _export(route.endpoint, LISTS[route.path], _columns(route), name)
        app.add_api_route(
            f"{route.path}.csv",
            endpoint,
            methods=["GET"],
            name=f"{name}_csv",
            description=f"The same as CSV, at most {MOST_ROWS:,} rows. {inspect.getdoc(route.endpoint) or ''}",
            response_class=StreamingResponse,
            responses={**route.responses, 200: {"content": {"text/csv": {}}}},
        )


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Give every route, also those of included routers."""
    for one in app.routes:
        inner = getattr(one, "original_router", None)  # since FastAPI keeps what was included as a whole
        yield from (route for route in ([one] if inner is None else inner.routes) if isinstance(route, APIRoute))


def _export(endpoint: Endpoint, where: str, columns: Sequence[str], name: str) -> Endpoint:
    async def export(**given: Any) -> StreamingResponse:
        given = _pinned(given)
        answer = await _part(endpoint, given, 1)
        found = _items(answer, where)
        total = int(answer.get("total", len(found)))
        if max(total, len(found)) > MOST_ROWS:
            raise invalid(
                f"{total:,} rows are more than the {MOST_ROWS:,} that one file may have",
                "restrict the list, with `from` and `to` for example, and take several files",
            )
        heads = columns or list(dict.fromkeys(key for item in found for key in _flat(item, set())))

        async def lines() -> AsyncGenerator[str]:
            rows, page = found, 1
            yield await asyncio.to_thread(_text, name, heads, rows, first=True)
            while len(rows) == PART and _pages(given):
                page += 1
                rows = _items(await _part(endpoint, given, page), where)
                yield await asyncio.to_thread(_text, name, heads, rows, first=False)

        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.csv"'}
        return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)

    export.__signature__ = inspect.signature(endpoint, eval_str=True)  # pyright: ignore[reportFunctionMemberAccess] - it takes what the list takes
    return export


def _items(answer: Item, where: str) -> list[Item]:
    outer, _, inner = where.partition(".")
    if not inner:
        return answer[outer]
    return [
        {key: value for key, value in one.items() if not isinstance(value, list | dict)} | row
        for one in answer[outer]
        for row in one[inner]
    ]


def _pages(given: dict[str, Any]) -> bool:
    return "page" in given or any(
        isinstance(value, BaseModel) and "page" in type(value).model_fields for value in given.values()
    )


def _pinned(given: dict[str, Any]) -> dict[str, Any]:
    """End an open selection now, so that what comes in meanwhile moves no page."""
    now = datetime.now(UTC)
    pinned = dict(given)
    if "page" in pinned and "end" in pinned and pinned["end"] is None:
        pinned["end"] = now
    for name, value in given.items():
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            ends = {"end": now} if "end" in fields and getattr(value, "end", now) is None else {}
            cut = {field: None for field in ("limit", "offset") if field in fields}
            pinned[name] = value.model_copy(update=ends | cut)
    return pinned


async def _part(endpoint: Endpoint, given: dict[str, Any], page: int) -> dict[str, Any]:
    asked = dict(given)
    if "page" in asked:
        asked |= {"page": page, "page_size": PART}
    for name, value in given.items():
        if isinstance(value, BaseModel) and "page" in type(value).model_fields:
            asked[name] = value.model_copy(update={"page": page, "page_size": PART})
    return orjson.loads((await endpoint(**asked)).body)


def _text(name: str, heads: Sequence[str], items: Sequence[Item], *, first: bool) -> str:
    """Give a part of the file: on a thread, a few hundred kB take longer than others should wait for theirs."""
    known = set(heads)
    flat = (_flat(item, known) for item in items)
    sheet = Sheet(
        name=name, columns=[Head(title=head) for head in heads], rows=([one.get(h) for h in heads] for one in flat)
    )
    lines = csv_lines(sheet, bom=first)
    if not first:
        next(lines)
    return "".join(lines)


def _flat(item: Item, known: set[str], before: str = "") -> Item:
    """Give an item's fields side by side; what is a column as it stands is not taken apart."""
    found: Item = {}
    for key, value in item.items():
        name = before + key
        if isinstance(value, dict) and value and name not in known:
            found |= _flat(value, known, f"{name}.")
        elif isinstance(value, dict | list):
            found[name] = orjson.dumps(value).decode() if value else ""
        else:
            found[name] = value
    return found


def _columns(route: APIRoute) -> list[str]:
    """Give the columns that the answer's type tells, so that an empty list has them too; none where it tells none."""
    outer, _, inner = LISTS[route.path].partition(".")
    item = _listed(route.response_model, outer)
    if item is None or not inner:
        return [] if item is None else list(_fields(item))
    row = _listed(item, inner)
    plain = [name for name, field in item.model_fields.items() if not _models_in(field.annotation)]
    return [] if row is None else list(dict.fromkeys([*plain, *_fields(row)]))


def _listed(model: Any, field: str) -> type[BaseModel] | None:
    """Give the type of the items of a model's list."""
    if not (inspect.isclass(model) and issubclass(model, BaseModel)) or field not in model.model_fields:
        return None
    return next(iter(_models_in(model.model_fields[field].annotation)), None)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    kinds = get_args(annotation) or (annotation,)
    return [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseModel)]


def _fields(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _models_in(field.annotation)
        if inner and get_origin(field.annotation) is not list:
            yield from _fields(inner[0], f"{before}{name}.")
        elif name in SPOKEN and field.annotation == dict[str, str]:
            yield from (f"{before}{name}.{language}" for language in ("ko", "en"))
        else:
            yield before + name
