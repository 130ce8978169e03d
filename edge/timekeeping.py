"""The box's own clock: how far it may be trusted, and a record of every jump. Nothing is ordered or timed by it.

Order is by sequence number, windows and waits go by clocks that never jump (`Steady`, monotonic). The wall clock only
dates what has no date of a machine's own; so its state travels with every chunk, and a jump is a fact.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sync.clock import Clock
from sync.facts import Audited, ClockStepped, Fact
from sync.timing import UNSET_BEFORE_NS, ClockState

log = logging.getLogger(__name__)

STEP_NS: Final = 1_000_000_000
"""A change of the wall clock against the monotonic one between two looks that counts as a jump; slewing makes 0.3 ms."""
LOOK_S: Final = 0.5
ASK_NS: Final = 1_000_000_000
"""So long the kernel's answer holds."""
_UNSYNCHRONISED: Final = 0x40


class _Timex(ctypes.Structure):
    """Linux's struct timex as far as it is read here, and more room than any libc needs."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def kernel_clock() -> tuple[bool | None, int]:
    """Ask the kernel (whether something keeps its clock, its bound on the error in ms); (None, -1): not known.

    ntpd, chrony, timesyncd and PTP all tell it.
    """
    if platform.system() != "Linux":
        return None, -1
    asked = _Timex(modes=0)  # 0: only read
    try:
        said = _libc().adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None, -1
    if said < 0:
        return None, -1
    kept = not asked.status & _UNSYNCHRONISED
    return kept, asked.maxerror // 1000 if kept else -1


def uptime() -> int:
    """Give the time since the machine started, suspended time included, ns."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()


class Timekeeping:
    """The wall clock's state, for every commit; and who notices its jumps. `stamp` may be called from any thread."""

    def __init__(self, clock: Clock, ask: Callable[[], tuple[bool | None, int]] = kernel_clock) -> None:
        self.offset_ms: int | None = None
        """Our clock minus the cloud's, as of the last session; the uplink sets it."""
        self.steps = 0
        """Jumps since the start."""
        self._clock, self._ask = clock, ask
        self._held, self._error_ms, self._asked = *ask(), clock.monotonic()
        self._ahead = clock.now() - clock.monotonic()
        self._was = self.stamp()

    def stamp(self) -> ClockState:
        """Give the state now."""
        now = self._clock.monotonic()
        if now - self._asked >= ASK_NS:
            self._held, self._error_ms = self._ask()
            self._asked = now
        unset = self._clock.now() < UNSET_BEFORE_NS
        sync = "unset" if unset else "synced" if self._held else "free"
        return ClockState(sync, uptime(), self._error_ms if sync == "synced" else -1, self.offset_ms)

    def step(self) -> list[Fact]:
        """Give what is to be recorded about a jump since the last call; nothing when there was none."""
        ahead = self._clock.now() - self._clock.monotonic()
        was, self._was = self._was, self.stamp()
        step, self._ahead = ahead - self._ahead, ahead
        if abs(step) < STEP_NS:
            return []
        self.steps += 1
        at, sync = self._clock.now(), self._was.sync
        log.warning("the wall clock jumped: step_s=%.3f was=%s now=%s; order and windows do not depend on it",
                    step / 1e9, was.sync, sync)  # fmt: skip
        detail: dict[str, Any] = {"step_ms": step // 1_000_000, "was": was.sync, "sync": sync}
        return [
            ClockStepped(at=at, step=step, uptime=self._was.uptime, was=was.sync, sync=sync),
            Audited(at=at, actor="system", action="clock.stepped", detail=detail),
        ]

    async def watch(self, commit: Callable[[Sequence[Fact]], Awaitable[Any]]) -> None:
        """Record every jump within a second of it, until cancelled."""
        while True:
            if facts := self.step():
                await commit(facts)
            await self._clock.sleep(LOOK_S)
