"""Who is told what, and when: many alerts become few letters. Pure; what was told stands in the rows themselves.

Readers who get the same alerts are a group. New alerts wait GROUP_WAIT_MS for others that come with them; a group gets
one letter per BETWEEN_MS, only a critical alert does not wait for that. An alert that stands and is not acknowledged is
told again: critical every 5 min, warning every 30 min, info never. The same alarm, raised anew, is told once per
BETWEEN_MS: what was spared is counted and said in the next letter. What is over is told with the next letter, and only
if it had been told. What nobody was told for an hour (the cloud or the mail server was away) is told as late; of it what
is not critical and over by then is only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

GROUP_WAIT_MS: Final = 10_000
BETWEEN_MS: Final = 600_000
AGAIN_MS: Final = {"critical": 300_000, "warning": 1_800_000}
LATE_MS: Final = 3_600_000

Why = Literal["new", "again", "over", "unseen"]
"""unseen: told to others, because nobody has acknowledged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert that may have to be told, as its row stands."""

    number: int
    same: str
    """What makes it the same alarm as an earlier one."""
    severity: str
    raised_ms: int
    cleared_ms: int | None
    acked: bool
    silent_until_ms: int
    told_ms: int | None
    """When people were last told of it."""
    same_told_ms: int | None
    """… and of the same alarm, whichever row."""
    row: dict[str, Any]
    """What the letter says about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One alert in a letter."""

    alert: Alert
    why: Why
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now for one group."""

    letter: tuple[Said, ...]
    """Empty: nothing is to be sent now."""
    settled: tuple[int, ...] = ()
    """Alerts about which nothing is left to tell."""
    spared: tuple[int, ...] = ()
    """… and of those the ones that nobody was told of: they are counted."""


def decide(alerts: Sequence[Alert], told_ms: int | None, now_ms: int) -> Decision:
    """Decide for one group. told_ms: when its last letter was queued."""
    now: list[Said] = []
    ready: list[Said] = []  # told when a letter goes out anyway, or when one is due
    settled: list[int] = []
    spared: list[int] = []
    for alert in alerts:
        if alert.cleared_ms is not None:
            settled.append(alert.number)
            if alert.told_ms is not None and alert.silent_until_ms <= now_ms:
                ready.append(Said(alert=alert, why="over"))
            elif alert.told_ms is None and _untold(alert, now_ms):
                ready.append(Said(alert=alert, why="new", late=now_ms - alert.raised_ms >= LATE_MS))
            else:
                spared.append(alert.number)
        elif alert.silent_until_ms > now_ms:
            continue
        elif alert.told_ms is None:
            if now_ms - alert.raised_ms < GROUP_WAIT_MS:
                continue
            if alert.same_told_ms is not None and now_ms - alert.same_told_ms < BETWEEN_MS:
                continue  # the same alarm again: once per BETWEEN_MS
            one = Said(alert=alert, why="new", late=now_ms - alert.raised_ms >= LATE_MS)
            (now if alert.severity == "critical" else ready).append(one)
        elif not alert.acked and now_ms - alert.told_ms >= AGAIN_MS.get(alert.severity, 1 << 62):
            (now if alert.severity == "critical" else ready).append(Said(alert=alert, why="again"))
    due = told_ms is None or now_ms - told_ms >= BETWEEN_MS
    if now or (ready and due):
        return Decision(letter=tuple(now + ready), settled=tuple(settled), spared=tuple(spared))
    waiting = {one.alert.number for one in ready}
    return Decision(
        letter=(),
        settled=tuple(n for n in settled if n not in waiting),
        spared=tuple(n for n in spared if n not in waiting),
    )


def _untold(alert: Alert, now_ms: int) -> bool:
    """Tell whether what came and went unheard is still worth a line: critical always, others while they are fresh.

    A short one of the same alarm that was told of a moment ago is not.
    """
    if alert.same_told_ms is not None and now_ms - alert.same_told_ms < BETWEEN_MS:
        return False
    if alert.acked or alert.silent_until_ms > now_ms:
        return False
    return alert.severity == "critical" or now_ms - alert.raised_ms < LATE_MS
