"""When to poll next: a fixed beat that a slow answer does not shift, and that never piles up."""

from __future__ import annotations

from sync.clock import Clock


class Beat:
    """Beats every period of the monotonic clock, the first at once."""

    def __init__(self, clock: Clock, period_s: float) -> None:
        self._clock = clock
        self._period = round(period_s * 1e9)
        self._next: int | None = None

    async def wait(self) -> int:
        """Return at the next beat with the number of beats that were missed since the last."""
        now = self._clock.monotonic()
        if self._next is None:
            self._next = now + self._period
            return 0
        missed = max(0, (now - self._next) // self._period) if now > self._next else 0
        due = self._next + missed * self._period
        self._next = due + self._period
        if due > now:
            await self._clock.sleep((due - now) / 1e9)
        return missed
