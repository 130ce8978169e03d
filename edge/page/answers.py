"""What every answer of the page has in common: its headers, and how it says no."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse, Response

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def refused(status: int, code: str, message: str) -> Response:
    """Give an error as the API says it."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=HEADERS)
