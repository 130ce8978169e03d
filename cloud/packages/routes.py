"""GET and HEAD /packages/{digest}: the bytes, in ranges, to a gateway of the tenant they belong to."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse

from cloud.packages.admission import Admission, Denied
from cloud.packages.store import Packages
from sync.ticket import NOW_HEADER
from sync.topics import Address


class OneRange(FileResponse):
    """A file, whole or one range of it; whoever asks for several gets the whole (RFC 9110 allows it)."""

    max_ranges = 1


def install(app: FastAPI, packages: Packages, keys: Mapping[Address, bytes]) -> None:
    """Add the route."""
    admission = Admission(keys)

    @app.api_route("/packages/{digest}", methods=["GET", "HEAD"], include_in_schema=False)
    async def package(digest: str, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        """Give a package's bytes. 401 without a genuine ticket, 404 for what this tenant does not have, 416."""
        peer = request.client.host if request.client is not None else ""
        header = request.headers.get("authorization", "")
        try:
            gateway = admission.admit(header, request.method, request.url.path, peer, time.time())
        except Denied as denied:
            answer = Response(status_code=denied.status, headers={NOW_HEADER: str(int(time.time()))})
            if denied.status == 401:
                answer.headers["WWW-Authenticate"] = "Triflow"
            else:
                answer.headers["Retry-After"] = str(denied.retry_after_s)
            return answer
        path = packages.find(gateway.tenant, digest)
        if path is None:
            return Response(status_code=404)
        headers = {"ETag": f'"{digest}"', "Cache-Control": "private, immutable"}
        return OneRange(path, headers=headers, media_type="application/octet-stream")
