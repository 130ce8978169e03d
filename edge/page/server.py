"""The gateway's HTTP server: uvicorn inside our own event loop, without its signal handlers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.applications import Starlette
from typing_extensions import override


class PortTakenError(OSError):
    """The page's address cannot be listened on. Choose another `page.port`, or stop who has it."""


class _Server(uvicorn.Server):
    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the composition root, which has more to close than this server."""
        yield


async def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until cancelled. Raises PortTakenError."""
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise PortTakenError(
            f"the page cannot listen on {host}:{port} ({error.strerror}); is another gateway running there? (page.port in the site file)"
        ) from error
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    with listener:
        await _Server(config).serve(sockets=[listener])
