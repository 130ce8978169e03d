"""Which records were committed in which hour: one fact for every hour that is over, pure.

Hours are those of the gateway's wall clock, which may jump: then the hour that runs ends there, and one begins.
"""

from __future__ import annotations

from typing import Final

from edge.store.lanes import Start
from sync.facts import Stream, Tallied

HOUR_NS: Final = 3_600 * 10**9
STEP_NS: Final = 2 * 10**9
"""How far wall and monotonic clock may part between two commits without its being a jump."""


class Hours:
    """Watches the wall clock for the end of an hour, and for jumps."""

    def __init__(self, now: int, monotonic: int) -> None:
        self._ahead = now - monotonic

    def over(self, start: Start, now: int, monotonic: int) -> int | None:
        """Give when the running hour of a start ended, ns by the clock it began under; None while it runs."""
        before, self._ahead = self._ahead, now - monotonic
        if not start.hour:
            return None
        if abs(self._ahead - before) > STEP_NS:
            return monotonic + before
        return now if hour_of(now) != start.hour else None


def hour_of(at: int) -> int:
    """Give the begin of the hour that contains a time."""
    return at - at % HOUR_NS


def tally(start: Start, at: int, *, itself: bool = False) -> Tallied | None:
    """Give the fact that ends a start's hour; None when nothing was committed in it.

    With `itself` the fact is the start's next event and counts itself: nothing comes after it.
    """
    lanes = {
        str(int(lane.stream)): (lane.tallied + 1, lane.last)
        for lane in sorted(start.lanes.values(), key=lambda lane: lane.stream)
        if lane.last > lane.tallied
    }
    if not start.hour or not lanes:
        return None
    if itself:
        event = start.lane(Stream.EVENT)
        lanes[str(int(Stream.EVENT))] = (event.tallied + 1, event.last + 1)
    return Tallied(at=at, start=start.hour, inc=start.inc, lanes=dict(sorted(lanes.items())))


def ended(start: Start, hour: int) -> None:
    """Note that all so far is tallied and which hour runs now (0: none)."""
    start.hour = hour
    for lane in start.lanes.values():
        lane.tallied = lane.last
