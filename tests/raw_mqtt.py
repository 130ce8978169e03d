"""MQTT 5 by hand, for hundreds of connections and for measures of a broker itself."""

from __future__ import annotations

import asyncio
import ssl
import struct


class Raw:
    """MQTT 5 on a bare socket: as little as measures need, so that the broker is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.mid = reader, writer, 0

    @classmethod
    async def connect(
        cls, port: int, name: str, *, durable: bool = False, receive: int = 65_535, tls: ssl.SSLContext | None = None
    ) -> Raw:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
        properties = struct.pack(">BIBH", 0x11, 3600 if durable else 0, 0x21, receive)
        flags = 0 if durable else 2
        head = b"\x00\x04MQTT\x05" + bytes([flags]) + struct.pack(">H", 60) + bytes([len(properties)]) + properties
        link = cls(reader, writer)
        link.send(0x10, head + struct.pack(">H", len(name)) + name.encode())
        kind, body = await link.packet()
        if kind >> 4 != 2 or body[1] != 0:
            raise OSError(f"not let in: {kind:#x} {body.hex()}")
        return link

    def send(self, kind: int, body: bytes) -> None:
        length, left = b"", len(body)
        while True:
            byte, left = left % 128, left // 128
            length += bytes([byte | (128 if left else 0)])
            if not left:
                break
        self.writer.write(bytes([kind]) + length + body)

    async def packet(self) -> tuple[int, bytes]:
        kind = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, await self.reader.readexactly(length)

    async def subscribe(self, topic: str) -> None:
        self.send(0x82, b"\x00\x01\x00" + struct.pack(">H", len(topic)) + topic.encode() + b"\x01")
        await self.packet()

    def put(self, topic: str, payload: bytes) -> None:
        self.mid = self.mid % 65_535 + 1
        head = struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", self.mid) + b"\x00"
        self.send(0x32, head + payload)

    async def publish(self, topic: str, payload: bytes, count: int, window: int = 20) -> int:
        """Publish with QoS 1; gives how many the broker took (PUBACK below 0x80)."""
        sent = answered = taken = 0
        while answered < count:
            while sent < count and sent - answered < window:
                self.put(topic, payload)
                sent += 1
            await self.writer.drain()
            _, body = await self.packet()
            answered += 1
            taken += len(body) < 3 or body[2] < 0x80
        return taken

    async def take(self, quiet_s: float = 0.6, count: int = 1 << 30) -> int:
        """Take and acknowledge until nothing comes for a while; gives how many came."""
        got = 0
        while got < count:
            try:
                async with asyncio.timeout(quiet_s):
                    kind, body = await self.packet()
            except (TimeoutError, asyncio.IncompleteReadError):
                return got
            if kind >> 4 == 3:
                got += 1
                if kind & 6:
                    start = 2 + int.from_bytes(body[:2], "big")
                    self.send(0x40, body[start : start + 2])
        return got

    async def close(self) -> None:
        self.writer.transport.abort()
