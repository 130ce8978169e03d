"""/openapi.json: described once and kept as bytes; FastAPI would take a third of a second for it on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from fastapi import FastAPI, Response


def install(app: FastAPI) -> Callable[[], Awaitable[bytes]]:
    """Add the address; gives what describes everything that was added till then or later, the first time it is asked."""
    said: list[bytes] = []
    once = asyncio.Lock()

    async def description() -> bytes:
        async with once:
            if not said:
                said.append(await asyncio.to_thread(lambda: orjson.dumps(app.openapi())))
        return said[0]

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        """Describe the API (OpenAPI 3.1)."""
        return Response(await description(), media_type="application/json")

    return description
