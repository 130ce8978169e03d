"""What goes on behind the pages for ever, and outlives its own bugs: none of it ends ingest, and none vanishes unseen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from sync.clock import backoff

log = logging.getLogger(__name__)

WAIT_S: Final = (1.0, 60.0)
"""First and longest wait before work that a bug ended begins again."""
STEADY_S: Final = 300.0
"""Work that went on this long begins again with a short wait."""


class Lasting:
    """Begins work again whenever a bug ends it, and counts how often that was."""

    def __init__(self, registry: CollectorRegistry, waits_s: tuple[float, float] = WAIT_S) -> None:
        self._waits_s = waits_s
        self._faults = Counter(
            "triflow_background_faults",
            "Times that a bug ended work behind the pages, which then began again",
            ["work"],
            registry=registry,
        )

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do work until it returns. name: as logs and metrics say it."""
        waits = backoff(*self._waits_s)
        self._faults.labels(name)  # from the start, so that an alarm on it has something to look at
        while True:
            began = time.monotonic()
            try:
                await work()
            except Exception:  # a bug; whoever reads the log mends it, and everybody else's work goes on meanwhile
                log.exception("work behind the pages failed and begins again: %s", name)
                self._faults.labels(name).inc()
            else:
                return
            if time.monotonic() - began > STEADY_S:
                waits = backoff(*self._waits_s)
            await asyncio.sleep(next(waits))
