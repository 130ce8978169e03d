"""How a watch stands: a table of states, hysteresis, a time it has to last, and a brake on what flaps. Pure.

A figure is over its level, clear of it by the margin, or between; where it cannot be told (no data, too small a sample)
or does not count (outside every shift) nothing moves: what is not known neither raises nor clears. Time counts only
while somebody looks, at most LONGEST_STEP_MS from one look to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

State = Literal["ok", "pending", "firing", "recovering"]
Seen = Literal["over", "between", "clear", "none", "off"]
Event = Literal["raised", "cleared", "no_data", "data"]
Side = Literal["below", "above"]

LONGEST_STEP_MS: Final = 120_000
NO_DATA_MS: Final = 30 * 60_000
"""So long without a figure in working time is said."""
RECOVER_MS: Final = 60_000
"""How long a figure has to stay clear."""
FLAPS: Final = 3
FLAP_WINDOW_MS: Final = 3_600_000
MOST_FLIPS: Final = 20
STEADY_MS: Final = 15 * 60_000
"""… and how long when it came FLAPS times within FLAP_WINDOW_MS."""

NEXT: Final[dict[tuple[State, Seen], State]] = {
    ("ok", "over"): "pending",
    ("ok", "between"): "ok",
    ("ok", "clear"): "ok",
    ("pending", "over"): "pending",  # firing once it has lasted
    ("pending", "between"): "ok",
    ("pending", "clear"): "ok",
    ("firing", "over"): "firing",
    ("firing", "between"): "firing",
    ("firing", "clear"): "recovering",  # ok once it has lasted
    ("recovering", "over"): "firing",
    ("recovering", "between"): "firing",
    ("recovering", "clear"): "recovering",
}
"""`none` and `off` keep every state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a watch asks for."""

    side: Side
    """Where trouble is."""
    level: float
    margin: float = 0.0
    """How far beyond the level a figure is clear of it."""
    for_ms: int = 0
    """How long it has to be over."""

    @property
    def recovery(self) -> float:
        """Give the level from which on it is clear."""
        return self.level + self.margin if self.side == "below" else self.level - self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the next step needs."""

    state: State = "ok"
    since_ms: int = 0
    """When it came into this state."""
    held_ms: int = 0
    """Counted time in it, towards the next."""
    looked_ms: int = 0
    flips: tuple[int, ...] = ()
    """When it was raised or came back before it was cleared: the last MOST_FLIPS within FLAP_WINDOW_MS."""
    missing_ms: int = 0
    """Counted time without a figure."""
    no_data: bool = False


def seen(rule: Rule, value: float | None, *, enough: bool, counts: bool) -> Seen:
    """Say where a figure lies. enough: the sample is large enough; counts: it is working time."""
    if not counts:
        return "off"
    if value is None or not enough:
        return "none"
    if value < rule.level if rule.side == "below" else value > rule.level:
        return "over"
    clear = value >= rule.recovery if rule.side == "below" else value <= rule.recovery
    return "clear" if clear else "between"


def flapping(memory: Memory, now_ms: int) -> bool:
    """Tell whether it came too often of late."""
    return sum(at > now_ms - FLAP_WINDOW_MS for at in memory.flips) >= FLAPS


def step(rule: Rule, memory: Memory, what: Seen, now_ms: int) -> tuple[Memory, tuple[Event, ...]]:
    """Take one step: the new memory and what happened."""
    passed = min(max(0, now_ms - memory.looked_ms), LONGEST_STEP_MS) if memory.looked_ms else 0
    now = replace(memory, looked_ms=max(now_ms, memory.looked_ms))
    if what == "off":
        return now, ()
    if what == "none":
        now = replace(now, missing_ms=now.missing_ms + passed)
        if now.missing_ms >= NO_DATA_MS and not now.no_data:
            return replace(now, no_data=True), ("no_data",)
        return now, ()
    events: list[Event] = ["data"] if now.no_data else []
    now = replace(now, missing_ms=0, no_data=False)
    to = NEXT[memory.state, what]
    if to == memory.state:
        now = replace(now, held_ms=now.held_ms + passed)
    else:
        now = replace(now, state=to, since_ms=now_ms, held_ms=0)
    if now.state == "pending" and now.held_ms >= rule.for_ms:
        now = replace(_flip(now, now_ms), state="firing", since_ms=now_ms, held_ms=0)
        events.append("raised")
    elif memory.state == "recovering" and what == "over":
        now = _flip(now, now_ms)
    elif now.state == "recovering" and now.held_ms >= (STEADY_MS if flapping(now, now_ms) else RECOVER_MS):
        now = replace(now, state="ok", since_ms=now_ms, held_ms=0)
        events.append("cleared")
    return now, tuple(events)


def _flip(memory: Memory, now_ms: int) -> Memory:
    recent = (*(at for at in memory.flips if at > now_ms - FLAP_WINDOW_MS), now_ms)
    return replace(memory, flips=recent[-MOST_FLIPS:])
