"""What came from the server and waits to be taken: in order, bounded, and never dropped.

Whoever asks the server for more waits for room first. So when nobody takes, no PublishRequest and no Read is sent, the
server queues, and what its queues cannot hold it marks with its own overflow bit: nothing is lost silently.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from asyncua import ua

from edge.drivers.driver import DriverError
from edge.drivers.opcua.publish import Publish, UndecodableError
from edge.drivers.opcua.wire import Changes
from sync.reading import Readings


class EndedError(Exception):
    """A subscription is over, or something of it is lost for good. Only a new connection helps."""


LOST: Final = (OSError, TimeoutError, ua.UaError, UndecodableError, EndedError, DriverError)
"""What ends a connection."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a subscription, or the answer to a Read, and when it came (our wall clock, ns)."""

    what: Publish | Changes
    received: int


class Arrivals:
    """A queue between those who ask the server and the one who takes what it said."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._waiting: deque[Arrived | Readings | BaseException] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, thing: Arrived | Readings | BaseException) -> None:
        """Add at the end; an exception ends the connection once all before it is taken."""
        self._waiting.append(thing)
        self._some.set()
        if len(self._waiting) >= self._most:
            self._room.clear()

    async def room(self) -> None:
        """Return once there is room for more."""
        await self._room.wait()

    async def some(self) -> None:
        """Return once there is something to take."""
        await self._some.wait()

    def first(self) -> Arrived | Readings | BaseException | None:
        """Give what is next, without taking it."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> Arrived | Readings | BaseException:
        """Give what is next."""
        thing = self._waiting.popleft()
        if not self._waiting:
            self._some.clear()
        if len(self._waiting) < self._most:
            self._room.set()
        return thing
