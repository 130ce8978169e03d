"""May this one action be done now: mode, kill switch, permit, range, rate, interlock, hold, time. Pure; all reasons said.

Looked at when an action is asked for, when it is about to begin, and once more when its intent is on disk and the write
is next: what was true then may be so no longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.acting.matrix import Ruling, stricter
from edge.interlock import Met, doubt
from edge.permits import Mode
from edge.permitting import Permit
from models.window import TagWindow

MODES: Final[tuple[Mode, ...]] = ("monitor", "advise", "control")
"""From the tightest to the freest."""
MINUTE_NS: Final = 60_000_000_000
Value = float | bool


@dataclass(frozen=True, slots=True)
class Move:
    """A write that was made to a tag."""

    at: int
    change: float
    """How far it moved the value; 0 where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Everything about the moment that an action is held against."""

    now: int
    mode: Mode
    killed: str | None
    """Why nothing is done any more; None while the kill switch is not thrown."""
    permit: Permit | None
    interlock: Met
    present: TagWindow | None
    """The tag to be written, as its line has it now."""
    connected: bool
    moves: Sequence[Move] = ()
    """Writes to this tag, of the last minute at least."""
    held_by: str | None = None
    """Who else has the tag in his hands; None: nobody, or who asks."""
    expires: int = 0
    """ns; 0: no end."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason against."""

    why: str
    passes: bool
    """It may go away while a person thinks it over; the others make it no question at all."""


def obstacles(value: Value, seen: Circumstances) -> list[Obstacle]:
    """Give everything that stands against writing a value now; empty when nothing does."""
    found: list[Obstacle] = []
    if seen.killed is not None:
        found.append(Obstacle(f"kill switch: {seen.killed}", passes=False))
    if seen.mode == "monitor":
        found.append(Obstacle("mode monitor: nothing is done", passes=False))
    if seen.expires and seen.now > seen.expires:
        found.append(Obstacle("it has expired", passes=False))
    if seen.permit is None:
        found.append(Obstacle("the site file has no [[acting.write]] for this tag", passes=False))
        return found
    found += [Obstacle(why, passes=False) for why in _value_faults(value, seen.permit)]
    if seen.held_by is not None:
        found.append(Obstacle(f"the tag is held by {seen.held_by}", passes=True))
    if not seen.connected:
        found.append(Obstacle(f"connection {seen.permit.tag.connection} is down", passes=True))
    if seen.interlock.met is not True:
        state = "not met" if seen.interlock.met is False else "not known, so not met"
        found.append(Obstacle(f"interlock {state}: {seen.interlock.why}", passes=True))
    found += [Obstacle(why, passes=True) for why in _rate_faults(value, seen, seen.permit)]
    return found


def _value_faults(value: Value, permit: Permit) -> list[str]:
    entry = permit.entry
    if permit.tag.spec.type == "bool":
        return [] if isinstance(value, bool) else [f"{value!r} is not true or false"]
    if isinstance(value, bool) or not math.isfinite(value):
        return [f"{value!r} is no number to write"]
    if entry.low is None or entry.high is None or not entry.low <= value <= entry.high:
        low, high = ("?" if bound is None else f"{bound:g}" for bound in (entry.low, entry.high))
        return [f"{value:g} is outside {low} to {high}"]
    return []


def _rate_faults(value: Value, seen: Circumstances, permit: Permit) -> list[str]:
    entry, found = permit.entry, list[str]()
    recent = [move for move in seen.moves if seen.now - move.at < MINUTE_NS]
    if len(recent) >= entry.writes_per_min:
        found.append(f"{len(recent)} writes within a minute, {entry.writes_per_min} may be")
    if entry.max_change is None and entry.max_change_per_min is None:
        return found
    why = doubt(seen.present, round(entry.fresh_s * 1e9))
    step = change(value, seen.present)
    if why is not None or step is None:
        return [*found, f"the value that stands is not known, so neither is the change ({permit.tag.id} {why})"]
    if entry.max_change is not None and step > entry.max_change:
        found.append(f"a change by {step:g}, {entry.max_change:g} may be")
    total = sum(move.change for move in recent) + step
    if entry.max_change_per_min is not None and total > entry.max_change_per_min:
        found.append(f"changes by {total:g} within a minute, {entry.max_change_per_min:g} may be")
    return found


def change(value: Value, present: TagWindow | None) -> float | None:
    """Give how far a value would move a tag; None when that is not known."""
    if present is None or present.last is None or isinstance(present.last, str):
        return None
    return abs(float(value) - float(present.last))


def rule(ruled: Ruling, value: Value, seen: Circumstances) -> Ruling:
    """Give the decision on an action that is asked for: what the matrix says, and everything else.

    What may pass refuses what would be done at once, and is told to the person who is asked.
    """
    decision, reasons = ruled.decision, list(ruled.reasons)
    if seen.mode == "advise" and decision == "auto_execute":
        decision = "require_approval"
        reasons.append("mode advise: a person says yes to everything")
    for obstacle in obstacles(value, seen):
        if not obstacle.passes or decision == "auto_execute":
            decision = stricter(decision, "reject")
        reasons.append(obstacle.why if not obstacle.passes or decision == "reject" else f"not yet: {obstacle.why}")
    return Ruling(decision, tuple(reasons))


def lower(one: Mode, other: Mode) -> Mode:
    """Give the mode that allows less."""
    return MODES[min(MODES.index(one), MODES.index(other))]
