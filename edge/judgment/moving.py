"""How checks on movement look at a window: a rate of change, a value that is stuck."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from edge.judgment.finding import Finding, Seen
from edge.judgment.state import Held, step_limit
from models.expression_interpreter import Cause, Indeterminate
from models.ruleset_change import Change, Stuck

POINTS: Final = 10
"""Into how many steps `over_s` is cut: so much older than it the past may be, and so few values are remembered."""


def look_at_change(check: Change, seen: Seen) -> Finding:
    """Hold the change since at least `over_s` ago against the thresholds, with hysteresis and delay.

    Until there is such a past (at the beginning, after the check did not apply, after a gap of twice `over_s`) it is
    unknown.
    """
    value, end = seen.value, seen.end
    if isinstance(value, Indeterminate) or not isinstance(value, float | int) or not math.isfinite(value):
        return seen.unknown(check, value.causes if isinstance(value, Indeterminate) else (Cause("", "not_finite"),))
    number = float(value)
    oldest = end - 2 * check.over_ns - 2 * (end - seen.given.start)
    times = zip(seen.held.times, seen.held.numbers, strict=False)  # a damaged checkpoint stops no line
    points = [(at, was) for at, was in times if oldest <= at < end]
    base = next((point for point in reversed(points) if end - point[0] >= check.over_ns), None)
    kept = [point for point in points if base is None or point[0] >= base[0]]
    if not kept or end - kept[-1][0] >= check.over_ns / POINTS:
        kept.append((end, number))
    past = {"times": [at for at, _ in kept], "numbers": [was for _, was in kept]}
    if base is None:
        return seen.unknown(check, (Cause("", "no_history"),), msgspec.structs.replace(seen.held, **past))
    rate = (number - base[1]) / (end - base[0]) * check.per_ns
    if not math.isfinite(rate):
        return seen.unknown(check, (Cause("", "overflow"),), msgspec.structs.replace(seen.held, **past))
    after = msgspec.structs.replace(step_limit(check, rate, seen.held, end), **past)
    return seen.bounded(check, rate, after)


def look_at_stuck(check: Stuck, seen: Seen) -> Finding:
    """Tell whether the value has stayed within its band for `for_s`.

    The band is laid around the values since it was last left, so a value that comes to rest slowly is found late, and one
    that moves is never found. A bad reading is no movement; a gap between windows lets the time begin anew.
    """
    value, held, end = seen.value, seen.held, seen.end
    if value is None or isinstance(value, Indeterminate):
        return seen.unknown(check, value.causes if isinstance(value, Indeterminate) else (Cause("", "missing"),))
    texts, numbers = list[str](), list[float]()
    if isinstance(value, str):
        rests, texts = held.texts == [value], [value]
    else:
        number = float(value)
        if not math.isfinite(number):
            return seen.unknown(check, (Cause("", "not_finite"),))
        low, high = min([number, *held.numbers]), max([number, *held.numbers])
        rests = bool(held.numbers) and high - low <= check.band
        numbers = [low, high] if rests else [number, number]
    severity = check.outcome.severity
    since = held.since.get(severity, end) if rests else end
    in_force = rests and (held.level == severity or end - since >= check.for_ns)
    after = Held(level=severity if in_force else None, since={severity: since}, numbers=numbers, texts=texts)
    if not in_force:
        return Finding(check=check, level="ok", value=value, unit=seen.unit, held=after)
    return seen.matched(check, check.outcome, value, after)
