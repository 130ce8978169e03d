"""Two clients with one id, told from the way connections end: each one's coming ends the other's, for ever.

A broker that follows the standard says so (0x8E); mosquitto 2.0 only hangs up. Both look like a flapping network to
whoever sees one connection at a time, so this is kept across connections.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sync.transport import CloneError

WITHIN_S: Final = 60.0
TOLD: Final = 2
"""So many times told within a minute; once may be our own process before a restart."""
UNTOLD: Final = 5
"""So many silent hang-ups of young connections within a minute, and no failed attempt between them."""
YOUNG_S: Final = 15.0
SUSPECT_S: Final = 900.0
"""Once suspected, the next such end within this time is enough."""


class SuspectedCloneError(CloneError):
    """The broker lets us in and hangs up without a word, again and again: most likely another client with our id."""

    wait_s = 30.0


class Takeovers:
    """How connections under one client id ended lately. Times are seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._told: deque[float] = deque(maxlen=TOLD)
        self._untold: deque[float] = deque(maxlen=UNTOLD)
        self._suspected_at: float | None = None

    def failed(self) -> None:
        """Note an attempt that did not come about: then the broker itself was away, and silence says nothing."""
        self._untold.clear()

    def ended(self, now: float, lasted_s: float, *, told: bool) -> type[CloneError] | None:
        """Note that the broker ended a connection (told: with 0x8E); give the error when it is a clone's doing."""
        kind: type[CloneError] = CloneError if told else SuspectedCloneError
        if self._suspected_at is not None and now - self._suspected_at > SUSPECT_S:
            self._suspected_at = None
        times = self._told if told else self._untold
        if not told and lasted_s > (SUSPECT_S if self._suspected_at is not None else YOUNG_S):
            times.clear()
            return None
        times.append(now)
        if self._suspected_at is None and not (len(times) == times.maxlen and now - times[0] <= WITHIN_S):
            return None
        self._suspected_at = now
        return kind
