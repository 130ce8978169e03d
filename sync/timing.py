"""How far a wall clock may be trusted: said with every chunk, because a box without a battery boots in 1970."""

from __future__ import annotations

from typing import Final

import msgspec

UNSET_BEFORE_NS: Final = 1_704_067_200 * 10**9
"""2024-01-01: a wall clock that shows an earlier time was never set since the machine started."""


class ClockState(msgspec.Struct, frozen=True, array_like=True):
    """The gateway's clock at a commit; wall times of records with the same `boot` differ from it by nothing but steps."""

    sync: str
    """synced (a time service holds it), free (set once, nobody holds it now), unset (never set: 1970 or before the
    software was built)."""
    uptime: int
    """ns since the machine started; never jumps (CLOCK_BOOTTIME)."""
    error_ms: int = -1
    """The kernel's bound on the error while synced; -1 when unknown."""
    offset_ms: int | None = None
    """This clock minus the cloud's, as of the last session; None before the first."""
