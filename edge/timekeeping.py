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
from pathlib import Path
from typing import Any, Final

import msgspec

from sync.clock import Clock
from sync.facts import Audited, ClockStepped, Fact
from sync.timing import UNSET_BEFORE_NS, ClockState

log = logging.getLogger(__name__)

STEP_NS: Final = 1_000_000_000
"""A change of the wall clock against the monotonic one between two looks that counts as a jump; slewing makes 0.3 ms."""
LOOK_S: Final = 0.5
ASK_NS: Final = 1_000_000_000
"""So long the kernel's answer holds."""
CHECKPOINT: Final = "clock:boot"
KIN: Final = 256
"""Incarnations of one boot that are remembered: enough for two days of a start every ten minutes."""
_UNSYNCHRONISED: Final = 0x40
_kin: Final = msgspec.json.Decoder(tuple[str, list[str]])


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


def boot_id() -> str:
    """Give what the kernel names this boot by; empty where it does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Timekeeping:
    """The wall clock's state, for every commit; and who notices its jumps. `stamp` may be called from any thread."""

    def __init__(
        self, clock: Clock, ask: Callable[[], tuple[bool | None, int]] = kernel_clock, *, boot: str | None = None
    ) -> None:
        self.offset_ms: int | None = None
        """Our clock minus the cloud's, as of the last session."""
        self.steps = 0
        """Jumps since the start."""
        self._clock, self._ask = clock, ask
        self._held, self._error_ms, self._asked = *ask(), clock.monotonic()
        self._ahead = clock.now() - clock.monotonic()
        self._was = self.stamp()
        self._boot = boot_id() if boot is None else boot
        self._incarnations: list[str] = []

    def compared(self, offset_ms: int) -> None:
        """Note by how much our clock was ahead of the cloud's at the begin of a session."""
        self.offset_ms = offset_ms

    def recall(self, checkpoint: bytes | None) -> None:
        """Take up which incarnations this boot had before; those of another boot are another clock's."""
        if checkpoint is None:
            return
        try:
            boot, incarnations = _kin.decode(checkpoint)
        except msgspec.MsgspecError as error:
            log.warning("checkpoint %s not usable, earlier starts of this boot keep their dates: %s", CHECKPOINT, error)
            return
        if boot and boot == self._boot:
            self._incarnations = incarnations

    def born(self, incarnation: str) -> dict[str, bytes]:
        """Note the present incarnation; give the checkpoint to commit, empty when it is known."""
        if incarnation in self._incarnations:
            return {}
        self._incarnations = [*self._incarnations[1 - KIN :], incarnation]
        return {CHECKPOINT: msgspec.json.encode((self._boot, self._incarnations))}

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
            ClockStepped(
                at=at,
                step=step,
                uptime=self._was.uptime,
                was=was.sync,
                sync=sync,
                incarnations=list(self._incarnations) if was.sync == "unset" else [],
            ),
            Audited(at=at, actor="system", action="clock.stepped", detail=detail),
        ]

    async def watch(
        self, commit: Callable[[Sequence[Fact], dict[str, bytes]], Awaitable[Any]], incarnation: Callable[[], str]
    ) -> None:
        """Record every jump within a second of it, and every incarnation of this boot, until cancelled."""
        while True:
            checkpoints, facts = self.born(incarnation()), self.step()
            if facts or checkpoints:
                await commit(facts, checkpoints)
            await self._clock.sleep(LOOK_S)
