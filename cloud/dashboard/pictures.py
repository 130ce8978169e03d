"""Charts of pages that stay open: drawn once for everybody who looks, and anew when time has moved by a pixel of them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

KEPT: Final = 64
"""Sets of charts; those nobody looked at for longest go first."""
SHORTEST_S: Final = 5.0
LONGEST_S: Final = 120.0

_WAITING: Final = ThreadPoolExecutor(4, "ThreadPoolExecutor-pictures")
"""Threads that wait for the drawing process, so that nothing else has to wait for them."""


async def off_loop(draw: Callable[[], T]) -> T:
    """Run what draws on a thread that may wait."""
    return await asyncio.get_running_loop().run_in_executor(_WAITING, draw)


class Pictures:
    """Sets of charts by what they show."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Future[Any]]] = OrderedDict()

    async def of(self, key: Hashable, pixel_s: float, draw: Callable[[], T]) -> T:
        """Give what `draw` drew for this key, drawn anew after a pixel's worth of time (s, within bounds).

        Whoever asks while it is being drawn waits for that drawing. One that fails is not kept; its error is raised.
        """
        known = self._kept.get(key)
        if known is None or self._now() - known[0] > min(max(pixel_s, SHORTEST_S), LONGEST_S):
            known = self._kept[key] = (self._now(), asyncio.ensure_future(off_loop(draw)))
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        try:
            return await asyncio.shield(known[1])
        except Exception:  # whatever it was, it is not kept, and it goes on up
            if self._kept.get(key) is known:
                del self._kept[key]
            raise
