"""The web application: API, pages, health; one object put together from what is handed in."""

from __future__ import annotations

import contextlib

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api import (
    alert_routes,
    bi_routes,
    command_routes,
    description,
    errors,
    etl_routes,
    exports,
    judging_routes,
    oversight_routes,
    package_routes,
    pin_routes,
    quality_routes,
    report_routes,
    routes,
    schemas,
    spoken_routes,
    today_routes,
)
from cloud.api.answers import Answers
from cloud.api.gauges import Gauges
from cloud.dashboard import routes as pages
from cloud.database import DatabaseError
from cloud.packages import routes as packages
from cloud.packages.store import Packages, beside_the_database

_PARTS = (
    routes,
    bi_routes,
    oversight_routes,
    alert_routes,
    report_routes,
    etl_routes,
    package_routes,
    command_routes,
    judging_routes,
    spoken_routes,
    pin_routes,
    quality_routes,
    today_routes,
)
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """Adds what keeps a browser from loading anything from elsewhere; streams pass through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)


def create_app(answers: Answers, registry: CollectorRegistry) -> FastAPI:
    """Give the application. /openapi.json is served; FastAPI's own /docs loads scripts from elsewhere and is not.

    `state.describe` describes the API, which takes a moment the first time.
    """
    app = FastAPI(
        title="Triflow cloud",
        version="1",
        description="Lines, verdicts, completeness. All times are UTC.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.answers = answers
    app.state.describe = description.install(app)
    gauges = Gauges(answers, registry)
    errors.install(app)
    for part in _PARTS:  # not include_router, which makes every route anew on the first request
        app.routes.extend(part.router.routes)

    @app.get("/health", response_model=schemas.Health)
    async def health() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        """The process lives."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/ready", response_model=schemas.Readiness)
    async def ready(response: Response) -> schemas.Readiness:  # pyright: ignore[reportUnusedFunction] - a route
        """Whether the database answers; 503 when not. A broker that is away does not make us unready."""
        try:
            await answers.database.read(lambda connection: connection.execute("select 1"))
            database = "ok"
        except DatabaseError as error:
            database = str(error)
            response.status_code = 503
        return schemas.Readiness(ready=database == "ok", database=database, broker=answers.broker())

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        """Prometheus metrics; without the gateways' while the database does not answer."""
        with contextlib.suppress(DatabaseError):  # /ready says so; the process's own figures matter all the more
            await gauges.read()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    exports.install(app)
    pages.install(app)
    packages.install(app, Packages(beside_the_database(answers.plants.settings)), answers.plants.keys)
    app.add_middleware(SecurityHeaders)
    return app
