"""From states to time elements: one work unit, one shift instance, integer ms that add up. Pure.

Rules
- A state holds until the next one. What nobody saw is unknown: before the first state, during a `Gap`, and after the
  newest data. A silent line is not running, and what it was to make is not known either.
- A break is planned downtime, whatever the machine says, except while it produces: then the break was worked through.
- While the shift lasts, time counts up to the newest data; once it is over, all of it counts.
- Outside every shift time is scheduled only while the line produces: what it makes there took time, too. No other
  time is charged there.
So per bucket: apt + setup + delay + down + planned_down + unknown = scheduled, exactly.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud.marts.calendar import Instance
from sync.equipment import TimeElement, time_element

COLUMN: dict[TimeElement, str] = {
    "production": "apt_ms",
    "setup": "setup_ms",
    "delay": "delay_ms",
    "down": "down_ms",
    "planned_down": "planned_down_ms",
    "unknown": "unknown_ms",
}


class State(NamedTuple):
    """A state from `at_ms` on."""

    at_ms: int
    state: str
    reason: str | None
    product: str


class Segment(NamedTuple):
    """A stretch of time that counts towards one element."""

    start_ms: int
    end_ms: int
    element: TimeElement
    state: str
    reason: str | None
    product: str


@dataclass
class Times:
    """The time measures of one bucket."""

    by_product: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    stops: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict[tuple[str, str], tuple[int, int]])
    """(element, reason or state) → (ms, how many began here); everything but production."""


def fails(states: Sequence[State], at_ms: int) -> bool:
    """Tell whether the line went from anything else to unplanned downtime with the state that began then."""
    times = [s.at_ms for s in states]
    now, before = bisect_right(times, at_ms) - 1, bisect_left(times, at_ms) - 1
    if now == before or time_element(states[now].state, states[now].reason) != "down":
        return False
    return before < 0 or time_element(states[before].state, states[before].reason) != "down"


def segments(
    start_ms: int,
    end_ms: int,
    states: Sequence[State],
    *,
    breaks: Sequence[tuple[int, int]] = (),
    gaps: Sequence[tuple[int, int]] = (),
    known_until_ms: int,
) -> list[Segment]:
    """Cut [start, end) at everything that happens in it. `states` in order of time; of equal times the last holds."""
    cuts = {start_ms, end_ms, known_until_ms}
    cuts.update(s.at_ms for s in states)
    for first, last in (*breaks, *gaps):
        cuts |= {first, last}
    inside = sorted(cut for cut in cuts if start_ms <= cut <= end_ms)
    times = [s.at_ms for s in states]
    found: list[Segment] = []
    for begin, stop in itertools.pairwise(inside):
        place = bisect_right(times, begin) - 1
        if place < 0:
            state, reason, product = "UNDEFINED", None, ""
        else:
            _, state, reason, product = states[place]
        element = time_element(state, reason)
        if begin >= known_until_ms or any(a <= begin < b for a, b in gaps):
            element, state, reason, product = "unknown", "UNDEFINED", None, ""
        if element != "production" and any(a <= begin < b for a, b in breaks):
            element, reason = "planned_down", "break"
        found.append(Segment(begin, stop, element, state, reason, product))
    return found


def times(
    instance: Instance,
    states: Sequence[State],
    gaps: Sequence[tuple[int, int]],
    *,
    known_until_ms: int,
    now_ms: int,
) -> Times:
    """Measure one instance: the time by product, and the stops by reason."""
    over = instance.end_ms <= now_ms
    until = instance.end_ms if over else max(instance.start_ms, min(instance.end_ms, known_until_ms))
    result = Times()
    cut = segments(instance.start_ms, until, states, breaks=instance.breaks, gaps=gaps, known_until_ms=known_until_ms)
    if not instance.scheduled:
        for part in cut:
            length, worked = part.end_ms - part.start_ms, part.element == "production"
            sums = result.by_product.setdefault(part.product if worked else "", {})
            for column in ("calendar_ms", "scheduled_ms", "apt_ms") if worked else ("calendar_ms",):
                sums[column] = sums.get(column, 0) + length
        return result
    began = {s.at_ms for s in states}
    for part in cut:
        length = part.end_ms - part.start_ms
        sums = result.by_product.setdefault(part.product, {})
        for column in ("calendar_ms", "scheduled_ms", COLUMN[part.element]):
            sums[column] = sums.get(column, 0) + length
        if part.element == "down" and part.start_ms in began and fails(states, part.start_ms):
            sums["failures"] = sums.get("failures", 0) + 1
        if part.element != "production":
            key = (part.element, part.reason or part.state)
            spent, count = result.stops.get(key, (0, 0))
            new = part.start_ms in began and part.reason != "break"
            result.stops[key] = (spent + length, count + new)
    return result
