"""When a model is not asked any more: a breaker per line and package. Pure; time is the caller's monotonic clock.

closed → five failures in a row → open (the rules answer at once) → after the cool-down one window is asked again
(half open) → answered: closed; failed: open, for twice as long. What a person is told of it is told at most every
ten minutes: the alarm stays up until the breaker has been closed and ten minutes have passed since it was raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

FAILURES: Final = 5
COOL_NS: Final = 30 * 10**9
LONGEST_NS: Final = 600 * 10**9
QUIET_NS: Final = 600 * 10**9
"""Between two raisings of the alarm; and steady for so long, the cool-down is short again."""

State = Literal["closed", "open", "half_open"]
Change = Literal["raised", "cleared"]


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What outlives a restart. Monotonic clocks do not, so times are left out."""

    failures: int = 0
    open: bool = False
    cool_ns: int = COOL_NS
    alarmed: bool = False


@dataclass(slots=True)
class Breaker:
    """One breaker. `allows` before a model is asked, then `worked` or `failed`; `due` for the alarm."""

    failures: int = 0
    """In a row."""
    opened: int | None = None
    """When it opened; None while closed."""
    cool_ns: int = COOL_NS
    trying: bool = False
    """One window is being asked although it is open."""
    closed_at: int | None = None
    """When it closed after having been open."""
    why: str = ""
    """Of the newest failure."""
    alarmed: bool = False
    alarmed_at: int | None = None

    def state(self, now: int) -> State:
        """Tell how it stands; half_open: the next window is asked, or one is."""
        if self.opened is None:
            return "closed"
        return "half_open" if self.trying or now - self.opened >= self.cool_ns else "open"

    def allows(self, now: int) -> bool:
        """Tell whether the model may be asked about this window; asking one while open is its try."""
        if self.opened is None:
            return True
        if self.trying or now - self.opened < self.cool_ns:
            return False
        self.trying = True
        return True

    def worked(self, now: int) -> None:
        """The model answered."""
        self.failures = 0
        self.trying = False
        if self.opened is not None:
            self.opened, self.closed_at = None, now
        elif self.closed_at is not None and now - self.closed_at >= QUIET_NS:
            self.closed_at, self.cool_ns = None, COOL_NS

    def failed(self, now: int, why: str) -> None:
        """The model gave no answer, through its own fault."""
        self.failures += 1
        self.why = why
        if self.opened is not None:  # the try failed, or one that was asked before it opened
            if self.trying:
                self.trying, self.opened = False, now
                self.cool_ns = min(LONGEST_NS, self.cool_ns * 2)
        elif self.failures >= FAILURES:
            if self.closed_at is not None:  # open again soon after it closed
                self.cool_ns = min(LONGEST_NS, self.cool_ns * 2)
            self.opened, self.closed_at = now, None

    def spared(self) -> None:
        """The window that was its try was not asked after all, or failed for reasons that are not the model's."""
        self.trying = False

    def due(self, now: int) -> Change | None:
        """Tell whether the alarm is to be raised or cleared now; what it tells once it does not tell again."""
        if self.opened is not None and not self.alarmed:
            self.alarmed, self.alarmed_at = True, now
            return "raised"
        quiet = self.alarmed_at is None or now - self.alarmed_at >= QUIET_NS
        if self.opened is None and self.alarmed and quiet:
            self.alarmed = False
            return "cleared"
        return None

    def dump(self) -> Kept:
        """Give what outlives a restart."""
        return Kept(min(self.failures, FAILURES), self.opened is not None, self.cool_ns, self.alarmed)


def resumed(kept: Kept, now: int) -> Breaker:
    """Give a breaker as it goes on after a restart.

    An open one tries the new process at once, and if that fails waits twice as long as it had come to.
    """
    breaker = Breaker(failures=kept.failures, cool_ns=min(LONGEST_NS, max(COOL_NS, kept.cool_ns)), alarmed=kept.alarmed)
    if kept.open:
        breaker.opened = now - breaker.cool_ns
        breaker.why = "open before the restart"
    if kept.alarmed:
        breaker.alarmed_at = now
    return breaker
