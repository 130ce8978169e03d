"""Push to pages: an in-process bus, coalesced per listener. Lossy on purpose: newest values win, nothing is replayed.

`overview` replaces an older one that was not sent yet; `readings` are merged per listener until they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Final

import orjson

GATHER_S: Final = 0.1
"""How long a listener's frame waits for more."""
PIECE: Final = 65_536
"""Bytes that are handed to a connection at once; the next piece waits until it has taken the last."""

Value = tuple[float | str | int | None, int, int]
"""(value, StatusCode, source time in ms)."""


class Listener:
    """One open event stream."""

    def __init__(self) -> None:
        self._overview: bytes | None = None
        self._readings: dict[str, Value] = {}
        self._something = asyncio.Event()

    def overview(self, body: bytes) -> None:
        self._overview = body
        self._something.set()

    def readings(self, values: dict[str, Value]) -> None:
        self._readings.update(values)
        self._something.set()

    async def take(self) -> list[tuple[str, bytes]]:
        """Give what there is, waiting for it; each event's name and body."""
        await self._something.wait()
        await asyncio.sleep(GATHER_S)
        self._something.clear()
        events: list[tuple[str, bytes]] = []
        if self._overview is not None:
            events.append(("overview", self._overview))
        if self._readings:
            events.append(("readings", orjson.dumps(self._readings)))
        self._overview, self._readings = None, {}
        return events


class Bus:
    """Who listens, by tenant, and the newest value of every tag."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._newest: dict[str, dict[str, Value]] = {}
        self.changed = asyncio.Event()
        """Something that the overview shows has changed."""
        self.closing = asyncio.Event()
        """Set when the process ends, so that open streams end too."""

    @contextlib.contextmanager
    def listen(self, tenant: str) -> Generator[Listener]:
        """Give a listener of a tenant's events until the block ends; it starts with all newest values."""
        listener = Listener()
        if newest := self._newest.get(tenant):
            listener.readings(newest)
        everyone = self._listeners.setdefault(tenant, set())
        everyone.add(listener)
        try:
            yield listener
        finally:
            everyone.discard(listener)

    def listeners(self, tenant: str) -> int:
        return len(self._listeners.get(tenant, ()))

    def readings(self, tenant: str, values: dict[str, Value]) -> None:
        """Tell the newest values of some tags; an older source time never replaces a newer one."""
        newest = self._newest.setdefault(tenant, {})
        fresh = {tag: value for tag, value in values.items() if tag not in newest or newest[tag][2] <= value[2]}
        newest.update(fresh)
        for listener in self._listeners.get(tenant, ()):
            listener.readings(fresh)

    def overview(self, tenant: str, body: bytes) -> None:
        for listener in self._listeners.get(tenant, ()):
            listener.overview(body)


def frame(event: str, body: bytes, number: int) -> Iterator[bytes]:
    """Give one server-sent event, a piece at a time. The body is JSON on one line.

    Of an overview of many lines a listener that does not read has one piece in its connection, and not the whole.
    """
    head = b"id: %d\nevent: %s\ndata: " % (number, event.encode())
    if len(body) <= PIECE:
        yield head + body + b"\n\n"
        return
    yield head
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
    yield b"\n\n"


async def events(
    bus: Bus, tenant: str, first: list[tuple[str, bytes]], *, idle_s: float = 10.0
) -> AsyncIterator[bytes]:
    """Give a tenant's stream of server-sent events until the process or the listener ends."""
    number = 0
    with bus.listen(tenant) as listener:
        for event, body in first:
            number += 1
            for piece in frame(event, body, number):
                yield piece
        closing = asyncio.ensure_future(bus.closing.wait())
        try:
            while not closing.done():
                taking = asyncio.ensure_future(listener.take())
                try:
                    await asyncio.wait({taking, closing}, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
                    if not taking.done():
                        yield b": still here\n\n"  # tells proxies and us whether anybody is there
                        continue
                    for event, body in taking.result():
                        number += 1
                        for piece in frame(event, body, number):
                            yield piece
                finally:
                    taking.cancel()
        finally:
            closing.cancel()
