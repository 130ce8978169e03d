"""Time comes in through here, so that a test can hand in its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep of one process."""

    def now(self) -> int:
        """Give the wall clock: ns since 1970 UTC. It may jump."""
        ...

    def monotonic(self) -> int:
        """Give a clock that never jumps: ns since an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class WallClock:
    """The machine's own clocks."""

    def now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Steady:
    """The wall clock as it was at the start, going on evenly: it may be wrong, but it never jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now() - clock.monotonic()

    def now(self) -> int:
        return self._clock.monotonic() + self._ahead


def backoff(first_s: float = 0.4, longest_s: float = 10.0) -> Iterator[float]:
    """Give growing waits, each a random part of its limit: a hall of gateways must not come back at once."""
    limit = first_s
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - spreading, not a secret
        limit = min(longest_s, limit * 2)
