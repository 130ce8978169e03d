"""A gateway's end of the wire for tests: sealed frames over a real broker, one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sync.frames import Batch, Challenge, Hello, Receipt, Stale, Welcome, open_down, seal
from sync.mqtt import Mqtt
from sync.topics import Address
from sync.transport import NobodyListensError, Transport
from tests.cloud.gateway import KEY, Start


class Peer:
    def __init__(self, transport: Transport, address: Address, key: bytes) -> None:
        self.transport, self.address, self.key = transport, address, key
        self.nonce = ""
        self._arriving = transport.messages()

    async def say(self, what: str, frame, body: bytes = b"") -> None:
        await self.transport.publish(self.address.up(what), seal(frame, self.key, body))

    async def hear(self, kind):
        """Give the next frame of this kind; others are passed over."""
        async with asyncio.timeout(15):
            async for message in self._arriving:
                frame = open_down(message.payload, KEY)
                if isinstance(frame, kind):
                    return frame
        raise AssertionError("the link ended")

    async def resume(self, start: Start, *others: Start) -> Welcome:
        """Say hello until the cloud listens, answer its challenge."""
        hello = Hello(session="ab" * 8, inc=start.inc, software="test 1.0")
        async with asyncio.timeout(15):
            while True:
                try:
                    await self.say("ctl", hello)
                    break
                except NobodyListensError:
                    await asyncio.sleep(0.05)
        challenge = await self.hear(Challenge)
        self.nonce = challenge.nonce
        await self.say("ctl", start.resume(*others, nonce=self.nonce))
        return await self.hear(Welcome)

    async def send(self, chunk: tuple[Batch, bytes]) -> None:
        import msgspec

        batch, body = chunk
        await self.say(f"b/{batch.stream}", msgspec.structs.replace(batch, nonce=self.nonce), body)

    async def receipt(self) -> Receipt:
        """Give the next receipt that names a stream; others set the window or bring a countersignature."""
        while not (receipt := await self.hear(Receipt)).watermarks:
            pass
        return receipt

    async def stale(self) -> Stale:
        return await self.hear(Stale)


@asynccontextmanager
async def peer(port: int, address: Address | None = None, *, key: bytes = KEY) -> AsyncIterator[Peer]:
    address = address or Address("demo", "seoul", "gw-1")
    async with Mqtt(
        "127.0.0.1", port, client_id=f"test-{address.gateway}", subscriptions=[address.down("#")]
    ) as transport:
        yield Peer(transport, address, key)
