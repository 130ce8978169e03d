"""A real HTTP receiver of webhooks of whom one can ask to be slow, to refuse, to go away and to come back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tests.servers import free_port


@dataclass
class Receiver:
    """Takes posts on `port`, and answers as it was told to."""

    port: int = field(default_factory=free_port)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """(headers in small letters, body) of every post."""
    status: str = "200 OK"
    more: str = ""
    """Further headers of the answer."""
    hold: asyncio.Event | None = None
    """Nothing is answered before it is set."""
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/T0KEN-of-the-plant"

    @property
    def said(self) -> list[dict[str, Any]]:
        """Give what was posted, as JSON says it."""
        return [json.loads(body) for _, body in self.posts]

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            if self.hold is not None:
                self.hold.set()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(_header(line) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append((headers, body))
            if self.hold is not None:
                await self.hold.wait()
            writer.write(
                f"HTTP/1.1 {self.status}\r\n{self.more}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # the sender gave up
            pass
        finally:
            writer.close()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value
