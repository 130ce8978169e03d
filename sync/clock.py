"""Time comes in through here, so that a test can hand in its own."""

from __future__ import annotations

import asyncio
import time
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
