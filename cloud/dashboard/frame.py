"""What every page's route needs: whom the page is for, the answer with its headers, and the banner of alerts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse

from cloud.api.answers import Answers
from cloud.dashboard import ledger
from cloud.dashboard.render import Reader
from cloud.wording.texts import LANGUAGES, Words, choose

YEAR_S: Final = 31_536_000
PLANT_ZONE: Final = "Asia/Seoul"
"""Where no site is configured yet."""

_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none';"
    " form-action 'self'"
)


def reader(request: Request) -> Reader:
    """Find out whom the page is for."""
    asked, theme = request.query_params.get("lang"), request.cookies.get("theme", "auto")
    source: Answers = request.app.state.answers
    plants = [plant for tenant in source.plants.tenants for plant in source.plants.of_tenant(tenant)]
    return Reader(
        words=Words(choose(asked, request.cookies.get("lang"), request.headers.get("accept-language"))),
        theme=theme if theme in {"light", "dark"} else "auto",
        zone=ZoneInfo(plants[0].site.timezone if plants else PLANT_ZONE),
        path=request.url.path,
        query=tuple((name, value) for name, value in request.query_params.multi_items() if name != "lang"),
    )


async def _reader(request: Request) -> Reader:
    return reader(request)  # as a dependency it would go through a thread if it were `def`


Whom = Annotated[Reader, Depends(_reader)]


def answer(request: Request, body: str, status: int = 200) -> Response:
    """Answer with a page: never cached, nothing from elsewhere, and the language that was asked for is remembered."""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"}
    response = HTMLResponse(body, status, headers)
    if (asked := request.query_params.get("lang")) in LANGUAGES:
        response.set_cookie("lang", str(asked), max_age=YEAR_S, samesite="lax")
    return response


async def banner(source: Answers, tenant: str, whom: Reader) -> dict[str, Any]:
    """Give what a page says at its top of alerts that stand, and `places`: how it addresses and calls lines."""
    standing, places = await asyncio.gather(source.oversight.alerts(tenant), source.lines(tenant))
    return ledger.banner(standing, whom.words) | {"places": places}


def fragment(request: Request) -> bool:
    """Tell whether only the page's inside is asked for, to take over what changed."""
    return request.url.path.startswith("/fragments/")
