"""A Modbus server of bytes: it answers rightly, late, twice, half, or as somebody else, as its script says, in both framings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from pymodbus.framer import FramerRTU

from edge.connections import Modbus
from edge.drivers.modbus.driver import ModbusDriver
from edge.tags import Tag
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND
from tests.modbus_servers import bit, word

PING = (1, 0, 1)
"""Function, address and count of a question that only settles what a unit owes; tags here are no coils."""


class Asked(NamedTuple):
    """A request as it came."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int


Script = Callable[[Asked], str]
"""Request → how to answer: right, silent, late, twice, truncated, foreign, noise, wrong id, refused, …"""


def framed(framing: str, transaction: int, unit: int, pdu: bytes) -> bytes:
    body = bytes([unit]) + pdu
    if framing == "tcp":
        return transaction.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


class Adversary:
    """Serve loopback until the block ends; `script` decides on every read, pings are answered unless `deaf`."""

    def __init__(self, framing: str, script: Script = lambda _: "right", *, deaf: bool = False) -> None:
        """framing: tcp or rtu_over_tcp."""
        self.framing = framing
        self.script = script
        self.deaf = deaf
        self.asked: list[Asked] = []
        """Every read, in order."""
        self.pings = 0
        self.dead: set[int] = set()
        """Units without power: they answer nothing at all."""
        self.held: list[bytes] = []
        """Late answers: they go out before the answer to the next request, whoever asks it."""
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def driver(self, tags: list[Tag], **more: Any) -> ModbusDriver:
        config = Modbus(**{
            "driver": "modbus", "name": "machine", "host": "127.0.0.1", "port": self.port, "period_ms": 20,
            "timeout_s": 0.1, "transport": self.framing, **more,
        })  # fmt: skip
        return ModbusDriver(config, tags, WallClock(), AROUND)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                if self.framing == "tcp":
                    head = await reader.readexactly(6)
                    body = await reader.readexactly(int.from_bytes(head[4:], "big"))
                    transaction = int.from_bytes(head[:2], "big")
                else:
                    body = (await reader.readexactly(8))[:-2]  # all reads are of eight bytes
                    transaction = 0
                asked = self.request(body[0], body[1:], transaction)
                await self._answer(asked, writer)
        writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        def out(pdu: bytes, *, transaction: int = asked.transaction, unit: int = asked.unit) -> bytes:
            return framed(self.framing, transaction, unit, pdu)

        held, self.held = self.held, []
        for frame in held:
            writer.write(frame)
            await asyncio.sleep(0)
        if asked[2:] == PING:
            self.pings += 1
            if not self.deaf and asked.unit not in self.dead:
                writer.write(out(self.right(asked)))
            return
        self.asked.append(asked)
        right = self.right(asked)
        match "silent" if asked.unit in self.dead else self.script(asked):
            case "right":
                writer.write(out(right))
            case "silent":
                pass
            case "late":
                self.held.append(out(right))
            case "twice":
                writer.write(out(right) * 2)
            case "again later":
                writer.write(out(right))
                self.held.append(out(right))
            case "truncated":
                writer.write(out(right)[:-3])
            case "short":
                writer.write(out(bytes([asked.function, len(right) - 4]) + right[2:-2]))
            case "long":
                writer.write(out(bytes([asked.function, len(right)]) + right[2:] + b"\x11\x22"))
            case "another function":
                writer.write(out(bytes([asked.function ^ 7]) + right[1:]))
            case "another unit":
                writer.write(out(right, unit=asked.unit ^ 5))
            case "another transaction":
                writer.write(out(right, transaction=asked.transaction - 1 & 0xFFFF))
            case "transaction 0":
                writer.write(out(right, transaction=0))
            case "broadcast first":
                writer.write(out(right[:-1] + b"\x7f", unit=0) + out(right))
            case "noise first":
                writer.write((b"" if self.framing == "tcp" else b"\x00\xff\x01\x03") + out(right))
            case "spoiled":
                frame = bytearray(out(right))
                frame[-1] ^= 0xFF  # the CRC, or the last register: only RTU can tell
                writer.write(bytes(frame) if self.framing != "tcp" else b"")
            case "in pieces":
                for byte in out(right):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
            case "nobody there":
                writer.write(out(bytes([asked.function | 0x80, 11])))
            case "refused":
                writer.write(out(bytes([asked.function | 0x80, 6])))
            case what:
                raise AssertionError(what)

    @staticmethod
    def request(unit: int, pdu: bytes, transaction: int = 0) -> Asked:
        return Asked(transaction, unit, pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big"))

    @staticmethod
    def right(asked: Asked) -> bytes:
        """Give the answer's PDU: every register says where it is."""
        if asked.function in {1, 2}:
            bits = [bit(asked.address + i, asked.unit) for i in range(asked.count)]
            data = bytes(sum(on << i for i, on in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))
        else:
            data = b"".join(
                word(asked.address + i, asked.unit, asked.function).to_bytes(2, "big") for i in range(asked.count)
            )
        return bytes([asked.function, len(data)]) + data
