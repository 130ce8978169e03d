"""Stores with something in them, for the tests of store and uplink. Light to import: children start with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.store import open_store
from edge.store.tally import HOUR_NS
from sync.clock import Clock, WallClock
from sync.facts import StateChanged, TagDictionary, TagEntry
from sync.reading import Readings

LINE = "bottling/line-1/filler"
MB = 1 << 20


class Daylight(WallClock):
    """The machine's clock, set so that the present hour has just begun: no test runs into the next one by chance."""

    BACK = time.time_ns() % HOUR_NS

    def now(self) -> int:
        return time.time_ns() - self.BACK


def store_in(folder: Path, *, quota: int = 256 * MB, ballast: int = 0, clock: Clock | None = None, **more):
    return open_store(
        folder, clock=clock or Daylight(), quota_bytes=quota, ballast_bytes=ballast, software="test", **more
    )


def dictionary(tags: int = 50) -> TagDictionary:
    entries = [TagEntry(id=f"{LINE}/tag_{i}", unit="CEL") for i in range(tags)]
    return TagDictionary(at=time.time_ns(), version=f"{tags:016x}", tags=entries)


def batch(n: int, tags: int = 50, *, noise: bool = False, start: int = 0) -> Readings:
    """Give n readings; with `noise` they hardly compress."""
    at = time.time_ns() + np.arange(n, dtype=np.int64) * 1_000
    value = np.random.default_rng(start).random(n) if noise else np.arange(start, start + n, dtype=np.float64)
    return Readings(
        tag=(np.arange(n) % tags).astype(np.int32),
        value=value,
        status=np.zeros(n, np.uint32),
        source_time=at,
        server_time=at,
        received=time.time_ns(),
    )


def state(number: int) -> StateChanged:
    return StateChanged(at=time.time_ns(), work_unit=LINE, state="EXECUTE", reason=f"r{number}")


async def until(true: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Return as soon as `true()` is: for what happens in tasks that offer no event of their own."""
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None
