"""A TCP link that a test can cut, stall and mend: between a client under test and a real server.

With `mqtt=True` it knows MQTT packets, and can lose acknowledgements or carry a publish twice, as networks and brokers do.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Self

from tests.servers import free_port

PUBLISH, PUBACK = 3, 4
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends a reset."""


@dataclass(slots=True)
class Trouble:
    """What is wrong with a link just now; a link reads it at every packet."""

    delay_s: float = 0.0
    """Added to each packet, both ways."""
    hold_up: bool = False
    """Nothing goes up any more, and nobody is told: a black hole, until it is mended."""
    hold_down: bool = False
    swallow_puback: float = 0.0
    """Share of PUBACKs from the server that never arrive."""
    twice: float = 0.0
    """Share of PUBLISH packets that arrive twice, both ways."""


class Link:
    """Listens on `port` and carries bytes to the server's port and back, until it is cut."""

    def __init__(self, to: int, *, host: str = "127.0.0.1", mqtt: bool = False, seed: int = 1) -> None:
        self.port = free_port()
        self.trouble = Trouble()
        self.done: Counter[str] = Counter()
        """What was really done to packets and connections."""
        self._to = to
        self._host = host
        self._mqtt = mqtt
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._carrying = 0

    async def mend(self) -> None:
        """Let connections through, and everything in them."""
        self.trouble = Trouble()
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.done["cut"] += 1
        while self._carrying:
            for end in list(self._ends):
                end.transport.abort()
            await asyncio.sleep(0.01)

    async def reset(self) -> None:
        """Break every connection with a TCP reset; new ones get through."""
        for end in list(self._ends):
            sock: socket.socket | None = end.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()
            self.done["reset"] += 1

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
            back, there = await asyncio.open_connection(self._host, self._to)
            ends.append(there)
            self._ends.add(there)
            await asyncio.gather(self._pump(reader, there, up=True), self._pump(back, writer, up=False))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
                self._ends.discard(end)
            self._carrying -= 1

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        """Carry until one end is gone; then the other one goes too."""
        try:
            async for packet in _packets(source) if self._mqtt else _bytes(source):
                await self._stalled(up=up)
                for copy in self._copies(packet, up=up):
                    sink.write(copy)
                await sink.drain()
        finally:
            sink.transport.abort()

    async def _stalled(self, *, up: bool) -> None:
        """Return when a packet may go on."""
        if self.trouble.delay_s:
            self.done["delayed"] += 1
            await asyncio.sleep(self.trouble.delay_s)
        if self.trouble.hold_up if up else self.trouble.hold_down:
            self.done["held up" if up else "held down"] += 1
            while self.trouble.hold_up if up else self.trouble.hold_down:
                await asyncio.sleep(0.02)

    def _copies(self, packet: bytes, *, up: bool) -> list[bytes]:
        """Give what arrives of a packet: nothing, itself, or itself twice."""
        if not self._mqtt or not packet:
            return [packet]
        kind = packet[0] >> 4
        if kind == PUBACK and not up and self._random.random() < self.trouble.swallow_puback:
            self.done["puback swallowed"] += 1
            return []
        if kind == PUBLISH and self._random.random() < self.trouble.twice:
            self.done["publish twice"] += 1
            return [packet, bytes([packet[0] | 0x08 if packet[0] & 0x06 else packet[0]]) + packet[1:]]
        return [packet]


async def _bytes(source: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    while data := await source.read(65_536):
        yield data


async def _packets(source: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """Give whole MQTT packets. Ends with the connection."""
    while head := await source.read(1):
        length, shift = 0, 0
        while True:
            head += await source.readexactly(1)
            length |= (head[-1] & 0x7F) << shift
            shift += 7
            if not head[-1] & 0x80:
                break
        yield head + (await source.readexactly(length) if length else b"")
