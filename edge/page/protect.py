"""Who may change anything over the page: a person at it, on this very page, with the key where there is one.

Without a key in the site file only requests over loopback count (a screen of the box, an SSH tunnel, a proxy that knows
its users). With `[page] key` every change has to bring it, from wherever it comes; wrong ones cost time. In both cases
it must come from this page (its own header, its own origin, JSON) under a name that is the gateway's, so that no other
site in the same browser can act instead. The key travels as it is: beyond loopback put TLS in front of the page.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections import deque
from typing import Any, Final, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from edge.page.answers import refused
from edge.site import Site

OWN_HEADER: Final = "X-Triflow"
"""Only scripts of this page can set it: a form of another site cannot, and a script of one would have to ask first."""
KEY_HEADER: Final = "X-Triflow-Key"
MOST_BYTES: Final = 16_384
"""Of a request's body."""
MOST_WRONG: Final = 5
"""Wrong keys within a minute; then nobody is let in for the rest of it."""
MINUTE_NS: Final = 60_000_000_000


class Guard:
    """The page's guard; counts wrong keys."""

    def __init__(self, site: Site, monotonic: Any) -> None:
        """monotonic: gives ns of a clock that never jumps."""
        self._site, self._monotonic = site, monotonic
        self._wrong: deque[int] = deque(maxlen=MOST_WRONG)

    def refusal(self, request: Request) -> Response | None:
        """Give the answer to a request that must change nothing; None to one that may."""
        page = self._site.file.page
        if page.key is None and not at_the_gateway(request):
            why = (
                "without a key ([page] key in the site file) changes are made at the gateway itself: open this page "
                "there (also through `ssh -L 8090:127.0.0.1:8090`), or use the command `triflow edge act`"
            )
            return refused(403, "FORBIDDEN", why)
        why = not_from_this_page(request, page.host)
        if why is not None:
            return refused(403, "FORBIDDEN", why)
        if page.key is None:
            return None
        now = self._monotonic()
        if len(self._wrong) == MOST_WRONG and now - self._wrong[0] < MINUTE_NS:
            return refused(429, "TOO_MANY_REQUESTS", "too many wrong keys; wait a minute")
        key = page.key.read(self._site.folder).get_secret_value()
        if not hmac.compare_digest(request.headers.get(KEY_HEADER, "").encode(), key.encode()):
            self._wrong.append(now)
            return refused(401, "UNAUTHENTICATED", f"the page's key is missing or wrong (header {KEY_HEADER})")
        return None


class BadBodyError(Exception):
    """A request's body is not what was asked for; the message says what is."""


async def body(request: Request) -> dict[str, Any]:
    """Give a request's JSON object. Raises BadBodyError; a form of another site cannot send this content type unasked."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise BadBodyError("send JSON (Content-Type: application/json)")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MOST_BYTES:
            raise BadBodyError(f"more than {MOST_BYTES} bytes")
    try:
        given: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadBodyError(f"no JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadBodyError("send a JSON object")
    return cast("dict[str, Any]", given)


def at_the_gateway(request: Request) -> bool:
    """Tell whether the request came over loopback."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def not_from_this_page(request: Request, page_host: str) -> str | None:
    """Say why a request does not count as made on this page; None if it does."""
    if request.headers.get(OWN_HEADER) != "page":
        return f"decisions come from the gateway's own page (header {OWN_HEADER}: page)"
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return "another site asked for this in your browser; decide on the gateway's own page"
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"the request came from {origin}, not from this page"
    name = (urlsplit(f"//{host}").hostname or "").lower()
    if not _ours(name, page_host):
        return f"{name!r} is no name of this gateway (somebody may have pointed it here): use its address or localhost"
    return None


def _ours(name: str, page_host: str) -> bool:
    """Tell whether a name in the address bar is this box: any address is, and of names only those nobody can register."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = socket.gethostname().lower()
        return name in {"localhost", own, f"{own}.local", page_host.lower()}
    return True
