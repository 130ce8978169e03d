"""A Modbus machine whose every tag counts the scans in which it was answered: 1, 2, 3, … without a hole.

It lives in the campaign's own process, so no fault of ours can make it forget where it was; what a gateway must have
seen is known from the numbers alone.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter

from tests.servers import free_port

TAGS = 100
BOOK = 'title = "Machine that counts"\n' + "".join(
    f'[[tag]]\nname = "n{i:02}"\naddress = "holding:{2 * i}"\ntype = "uint32"\n' for i in range(TAGS)
)


class Machine:
    """Holding registers 2i and 2i + 1 are tag i's number; `answering = False` lets it refuse every connection."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answered: Counter[int] = Counter()
        """Tag → number last given."""
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                function, first, count = struct.unpack(">BHH", (await reader.readexactly(length - 1))[:5])
                writer.write(self._answer(transaction, unit, function, first, count))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    def _answer(self, transaction: int, unit: int, function: int, first: int, count: int) -> bytes:
        if function != 3 or first + count > 2 * TAGS:
            body = struct.pack(">BB", function | 0x80, 1 if function != 3 else 2)
        else:
            registers: list[int] = []
            for register in range(first, first + count):
                tag, low = divmod(register, 2)
                if not low and register + 1 < first + count:
                    self.answered[tag] += 1
                registers.append(self.answered[tag] & 0xFFFF if low else self.answered[tag] >> 16)
            body = struct.pack(f">BB{count}H", function, 2 * count, *registers)
        return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body
