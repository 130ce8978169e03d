"""What would be different: a plan's edits applied to measures. Exact integers; nothing is a coefficient of ours. Pure.

A part is the sum of one product on one line. Time won goes to production and yields at the pace and the quality that the
part has now; time lost takes as much away. Pieces are rounded down: what is not whole is not promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from cloud.bi.kpi import Sums
from cloud.bi.semantic.plan import Edit

Element = Literal["down", "setup", "delay", "unknown", "planned_down"]
COLUMN: Final[dict[str, str]] = {
    "down": "down_ms",
    "setup": "setup_ms",
    "delay": "delay_ms",
    "unknown": "unknown_ms",
    "planned_down": "planned_down_ms",
}
_PIECES: Final = ("produced", "good", "scrap", "rework", "ideal_us", "ideal_good_us", "energy_wh")

Stops = Mapping[tuple[str, str], int]
"""(time element, stop reason) → ms."""


class EditError(ValueError):
    """An edit has nothing to work on; `code` says why."""

    def __init__(self, code: str, **told: object) -> None:
        super().__init__(code)
        self.code = code
        self.told = told


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an edit came to."""

    edit: Edit
    time_ms: int = 0
    """Time won for production; below zero it is lost."""
    pieces: int = 0
    """Good pieces more."""


def apply(parts: Sequence[Sums], edit: Edit, stops: Stops, shifts: int) -> tuple[list[Sums], Applied]:
    """Apply one edit. `shifts`: scheduled shifts in the parts together. Raises EditError."""
    before = sum(part.good for part in parts)
    after, won = _apply(parts, edit, stops, shifts)
    return after, Applied(edit=edit, time_ms=won, pieces=sum(part.good for part in after) - before)


def _apply(parts: Sequence[Sums], edit: Edit, stops: Stops, shifts: int) -> tuple[list[Sums], int]:
    share = (edit.percent or 0.0) / 100
    match edit.what:
        case "stop" if edit.value:
            known = {element: ms for (element, why), ms in stops.items() if why == edit.value and element in COLUMN}
            if not sum(known.values()):
                raise EditError("unknown_stop_reason", known=sorted({why for _, why in stops if why}))
            after, won = list(parts), 0
            for element, ms in known.items():
                after, more = _move(after, element, -round(ms * share))
                won += more
            return after, won
        case "stop" | "setup" | "delay" | "planned_down":
            element = "down" if edit.what == "stop" else edit.what
            lost = sum(getattr(part, COLUMN[element]) for part in parts)
            if not lost:
                raise EditError("nothing_to_change", what=edit.what)
            return _move(parts, element, -round(lost * share))
        case "speed":
            if not any(part.produced for part in parts):
                raise EditError("no_production")
            return [_more(part, round(part.apt_ms * share), part.apt_ms) for part in parts], 0
        case "scrap":
            return [_scrapped(part, edit) for part in parts], 0
        case "extra_shift":
            return _extra(parts, edit.count or 0, shifts)


def _move(parts: Sequence[Sums], element: str, won: int) -> tuple[list[Sums], int]:
    """Move time from an element to production (or back), shared by the production time of the parts."""
    column = COLUMN[element]
    producing = [part.apt_ms for part in parts]
    held = [getattr(part, column) for part in parts]
    if not sum(producing):
        raise EditError("no_production")
    won = max(-sum(producing), min(sum(held), won))
    taken = _shared(won, held if won > 0 else producing)
    given = _shared(won, producing)
    after: list[Sums] = []
    for part, take, give in zip(parts, taken, given, strict=True):
        grown = _more(part, give, part.apt_ms)
        after.append(replace(grown, apt_ms=part.apt_ms + give, **{column: getattr(part, column) - take}))
    # Time taken on one part and used on another moves the planned time with it: only the whole is scheduled as before.
    return [_closed(part, old) for part, old in zip(after, parts, strict=True)], won


def _closed(part: Sums, old: Sums) -> Sums:
    """Keep the part's own closure: its scheduled time follows its elements, and so does its calendar."""
    grown = (part.planned_busy_ms + part.planned_down_ms) - (old.planned_busy_ms + old.planned_down_ms)
    return replace(part, scheduled_ms=part.scheduled_ms + grown, calendar_ms=part.calendar_ms + grown)


def _shared(whole: int, weights: Sequence[int]) -> list[int]:
    """Share an integer by weights; the parts sum to it exactly."""
    total, given, shares = sum(weights), 0, list[int]()
    running = 0
    for weight in weights:
        running += weight
        level = whole * running // total if total else 0
        shares.append(level - given)
        given = level
    return shares


def _more(part: Sums, time: int, of: int) -> Sums:
    """Give the part with the pieces of so much more time, at its own pace and quality."""
    if not of or not time:
        return part
    grown = {name: max(0, (value := getattr(part, name)) + value * time // of) for name in _PIECES}
    if part.produced:
        grown["ideal_us"] = part.ideal_us * grown["produced"] // part.produced
    if part.good:
        grown["ideal_good_us"] = part.ideal_good_us * grown["good"] // part.good
    return replace(part, **grown)


def _scrapped(part: Sums, edit: Edit) -> Sums:
    if edit.points is not None:
        wanted = part.scrap + round(part.produced * edit.points / 100)
    else:
        wanted = part.scrap + round(part.scrap * (edit.percent or 0.0) / 100)
    scrap = max(0, min(wanted, part.scrap + part.good))
    good = part.good + part.scrap - scrap
    each = part.ideal_us // part.produced if part.produced else 0
    ideal = part.ideal_good_us * good // part.good if part.good else each * good
    return replace(part, scrap=scrap, good=good, ideal_good_us=ideal)


def _extra(parts: Sequence[Sums], count: int, shifts: int) -> tuple[list[Sums], int]:
    """Add shifts like the mean of those there are, out of time that is not scheduled yet."""
    if not shifts:
        raise EditError("no_production")
    free = sum(part.calendar_ms - part.scheduled_ms for part in parts)
    needed = sum(part.scheduled_ms for part in parts) * count // shifts
    if needed > free:
        raise EditError("no_free_time", free_h=round(free / 3_600_000, 1), needed_h=round(needed / 3_600_000, 1))
    after: list[Sums] = []
    times = ("scheduled_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms", "apt_ms", "failures")
    for part in parts:
        grown = _more(part, count, shifts)
        added = {name: getattr(part, name) + getattr(part, name) * count // shifts for name in times}
        # What is rounded away stays production time, so that the elements still make up what is scheduled.
        elements = sum(added[name] for name in times[1:6])
        accounted = part.planned_busy_ms + part.planned_down_ms
        missing = part.scheduled_ms - accounted
        added["apt_ms"] = added["scheduled_ms"] - elements - (missing + missing * count // shifts)
        after.append(replace(grown, **added))
    free_parts = _shared(sum(a.scheduled_ms - p.scheduled_ms for a, p in zip(after, parts, strict=True)), [max(0, p.calendar_ms - p.scheduled_ms) for p in parts])  # fmt: skip
    won = sum(part.apt_ms for part in after) - sum(part.apt_ms for part in parts)
    # The calendar of each part follows what it takes; the whole calendar stays as long as it is.
    grown = [
        replace(a, calendar_ms=p.calendar_ms + (a.scheduled_ms - p.scheduled_ms) - taken)
        for a, p, taken in zip(after, parts, free_parts, strict=True)
    ]
    return grown, won


def capped(part: Sums, now: Sums) -> tuple[Sums, int]:
    """Give the part with no more pieces than job orders plan (or than are made now): the time left over waits, as delay.

    Without orders for the product nothing is known of its demand, and nothing is cut. Second: the pieces cut.
    """
    most = max(now.produced, now.planned_micro // 1_000_000)
    if not now.planned_micro or part.produced <= most:
        return part, 0
    cut = part.produced - most
    time = part.apt_ms * cut // part.produced
    less = {
        "produced": most,
        "good": part.good * most // part.produced,
        "rework": part.rework * most // part.produced,
        "energy_wh": part.energy_wh * most // part.produced,
        "ideal_us": part.ideal_us * most // part.produced,
        "ideal_good_us": part.ideal_good_us * most // part.produced,
    }
    less["scrap"] = min(part.scrap, most - less["good"] - less["rework"])
    return replace(part, **less, apt_ms=part.apt_ms - time, delay_ms=part.delay_ms + time), cut
