"""A TCP link that a test can cut and mend: between a client under test and a real server."""

from __future__ import annotations

import asyncio
from typing import Self

from tests.servers import free_port


class Link:
    """Listens on `port` and carries bytes to the server's port and back, until it is cut."""

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self._to = to
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._carrying = 0

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._carrying:
            for end in list(self._ends):
                end.transport.abort()
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrying += 1
        ends = [writer]
        self._ends.add(writer)
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._to)
            ends.append(there)
            self._ends.add(there)
            await asyncio.gather(_pump(reader, there), _pump(back, writer))
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()
                self._ends.discard(end)
            self._carrying -= 1


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry until one end is gone; then the other one goes too."""
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.transport.abort()
