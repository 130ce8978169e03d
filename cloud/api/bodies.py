"""Bodies of requests: bounded before they are read, checked whole, every field that cannot be used said at once."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from cloud.api.errors import ApiError, Field, unusable

MOST: Final = 64 * 1024
Model = TypeVar("Model", bound=BaseModel)


async def body(request: Request, model: type[Model], most: int = MOST) -> Model:
    """Give a request's JSON as what it has to be. Raises ApiError 400, 413, 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "ERR_VALIDATION", "this is no JSON", "send it with Content-Type: application/json")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > most:
            raise ApiError(413, "TOO_LARGE", f"the body has more than {most} bytes", "send less")
    try:
        said = orjson.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise ApiError(400, "ERR_VALIDATION", f"the body is no JSON: {error}", "look at the place it names") from error
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise unusable(faults(error)) from error


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Give what a route that reads its body with `body` tells of it in /openapi.json (`openapi_extra`)."""
    schema = model.model_json_schema()
    named = schema.pop("$defs", {})
    content = {"application/json": {"schema": _whole(schema, named)}}
    problem = {"description": "The body cannot be used."}
    return {"requestBody": {"required": True, "content": content}, "responses": {"413": problem, "415": problem}}


def _whole(schema: Any, named: dict[str, Any]) -> Any:
    """Give a schema with every reference replaced by what it names: its names mean nothing in another document."""
    if isinstance(schema, list):
        return [_whole(part, named) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(named[schema["$ref"].rpartition("/")[2]], named)
    return {key: _whole(value, named) for key, value in schema.items() if key != "discriminator"}


def faults(error: ValidationError) -> list[Field]:
    """Give every field that cannot be used, and why."""
    return [
        {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]}
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
