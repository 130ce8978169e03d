"""Errors as the API says them: a code, what is wrong, and what to check; one place renders all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cloud.database import DatabaseError

log = logging.getLogger(__name__)

QUIET_S: Final = 60.0

Field = dict[str, str]
"""{field, message}: one field of a request that cannot be used."""


class ApiError(Exception):
    """An answer that is not 2xx; the handler below renders it."""

    def __init__(self, status: int, code: str, message: str, check: str, fields: Sequence[Field] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.check, self.fields = status, code, message, check, list(fields)


def not_found(what: str, check: str, field: str = "") -> ApiError:
    return ApiError(404, "NOT_FOUND", what, check, named(what, field))


def invalid(what: str, check: str, field: str = "") -> ApiError:
    return ApiError(400, "ERR_VALIDATION", what, check, named(what, field))


def named(what: str, field: str) -> list[Field]:
    """Give the field at fault, by which pages say it in their language; none where it is not one field."""
    return [{"field": field, "message": what}] if field else []


def unusable(fields: Sequence[Field]) -> ApiError:
    """Say everything that is wrong with a request at once."""
    told = "; ".join(f"{one['field'] or 'body'}: {one['message']}" for one in fields)
    return ApiError(400, "ERR_VALIDATION", told, "put right every field that `fields` names", fields)


def _answer(status: int, code: str, message: str, check: str, fields: Sequence[Field] = ()) -> Response:
    said = {"code": code, "message": message, "check": check} | ({"fields": fields} if fields else {})
    return Response(orjson.dumps({"error": said}), status, media_type="application/json")


_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 400: "ERR_VALIDATION"}


def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this type only
    return _answer(error.status, error.code, error.message, error.check, error.fields)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    code = _CODES.get(error.status_code, "ERROR")
    return _answer(
        error.status_code, code, str(error.detail), f"check the address {request.url.path}; see /openapi.json"
    )


def _bad_input(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    fields = [
        {"field": ".".join(map(str, fault["loc"][1:])), "message": fault["msg"]}
        for fault in error.errors()
        if len(fault["loc"]) > 1
    ]
    return _answer(400, "ERR_VALIDATION", faults, "see /openapi.json for names and types of the parameters", fields)


class Outage:
    """Says in the log that the database cannot answer: at once, and then once in a while, however many ask."""

    def __init__(self) -> None:
        self._said, self._since = -QUIET_S, 0

    def say(self, error: Exception) -> None:
        self._since += 1
        if time.monotonic() - self._said < QUIET_S:
            return
        log.warning("the database cannot answer (%d asked since this was last said): %s", self._since, error)
        self._said, self._since = time.monotonic(), 0


def _no_database(request: Request, error: Exception) -> Response:
    request.app.state.outage.say(error)
    return _answer(503, "SERVICE_UNAVAILABLE", str(error), "look at /ready and at the cloud's log")


def install(app: FastAPI) -> None:
    """Make the app answer errors in this form, and its description say so."""
    app.state.outage = Outage()
    app.openapi = lambda: _described(app)  # pyright: ignore[reportAttributeAccessIssue] - FastAPI's own way to change it
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_input)
    app.add_exception_handler(DatabaseError, _no_database)


def _described(app: FastAPI) -> dict[str, Any]:
    """Give the description without the 422 that FastAPI writes to every route: bad input is a 400 here."""
    if app.openapi_schema is None:
        said = FastAPI.openapi(app)
        for path in said["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            said.get("components", {}).get("schemas", {}).pop(name, None)
    return FastAPI.openapi(app)
