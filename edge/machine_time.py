"""A machine's clock as its readings tell it, beside an even clock of ours. Pure.

Windows run in the machine's time, but nobody's clock is to be trusted: ours may be set hours after the start of the
process, so how long ago something came is told by a clock that never jumps; the machine's may be set back, and then
windows must not wait until it has caught up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.window import NEVER
from sync.quality import is_bad
from sync.reading import Readings
from sync.timing import UNSET_BEFORE_NS

STEP_NS: Final = 5_000_000_000
"""A clock that differs by less than this was not set, its values came late."""
SURE_NS: Final = 3_000_000_000
"""So long a machine's time must run on behind before it counts as set back: a server that starts again may show old
times for values that did not change."""


class MachineTime:
    """What time it is at one work unit's machine. `now` and `fed` are of one clock that never jumps, ns."""

    def __init__(self, tags: int) -> None:
        self.newest = NEVER
        """Newest source time seen, ns; of good values where there were any."""
        self.fed: int | None = None
        """When the last batch came; None when that cannot be told."""
        self._last = np.full(tags, NEVER, np.int64)
        self._behind: tuple[int, int] | None = None
        """Since when, and at which time of the machine, it runs behind the newest."""

    def estimate(self, now: int) -> int:
        """Give the machine's time now: it is taken to have gone on as ours did since the last batch."""
        if self.fed is None:
            self.fed = now
        return self.newest + max(0, now - self.fed)

    def resume(self, newest: int, fed: int, last: NDArray[np.int64]) -> None:
        """Go on after a restart. fed: by the wall clock of then; last: newest source time of each tag."""
        self.newest, self._last = newest, last.copy()
        self.fed = fed if fed >= UNSET_BEFORE_NS else None  # a box whose clock was not set: nobody knows how long ago

    def take(self, tag: NDArray[np.int32], batch: Readings, fed: int) -> tuple[Readings, int]:
        """Note a batch's times; give it with times one can go by, and by how much the clock was set back (0: not), ns.

        tag: the work unit's own index of each row. A bad value often carries our time, because the machine gave none:
        where that is ahead of the machine's, it is put to the machine's.
        """
        good = ~is_bad(batch.status)
        if self.newest != NEVER and not good.all():
            expected = self.estimate(fed)
            ahead = ~good & (batch.source_time > expected + STEP_NS)
            if ahead.any():
                batch = replace(batch, source_time=np.where(ahead, expected, batch.source_time))
        back = self._back(tag[good], batch.source_time[good], fed) if good.any() else 0
        self.newest = self.newest - back if back else max(self.newest, int(batch.source_time.max()))
        self.fed = fed
        return batch, back

    def _back(self, tag: NDArray[np.int32], time: NDArray[np.int64], fed: int) -> int:
        before = self._last[tag]
        # The newest of each tag, not the last: a batch may hold both what came before the clock was set and after.
        np.maximum.at(self._last, tag, time)
        top = int(time.max())
        if top >= self.newest - STEP_NS:
            self._behind = None
            return 0
        if self._behind is None:
            known = before != NEVER
            if known.any() and int((before - time)[known].min()) > STEP_NS:  # each tag's own time went back
                self._behind = fed, top
            return 0
        since, at = self._behind
        if fed - since < SURE_NS:
            return 0
        drift = abs((top - at) - (fed - since))
        self._behind = fed, top
        if drift > max(STEP_NS // 5, (fed - since) // 4):
            return 0  # it does not go on as a clock does
        self._behind = None
        np.minimum(self._last, top, out=self._last)
        return self.newest - top


def in_order(tag: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give times (ns) to order rows by: those of one tag never go back, as it came, also where a clock was set meanwhile.

    A counter that is looked at in another order than it ran in seems to start again, and counts twice.
    """
    if not (time[1:] < time[:-1]).any():
        return time
    by_tag = np.argsort(tag, kind="stable")
    back = (time[by_tag][1:] < time[by_tag][:-1]) & (tag[by_tag][1:] == tag[by_tag][:-1])
    if not back.any():
        return time
    time = time.copy()
    for one in np.unique(tag[by_tag][1:][back]):
        own = tag == one
        time[own] = np.maximum.accumulate(time[own])
    return time
