"""What is wrong with a fact on the face of it. Pure: facts and a time in, findings out, no database.

These run for every fact that comes in; a plain comparison or two each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.bi.times import iso
from cloud.etl.rules import RULES
from sync.facts import Fact, Gap, InventoryCounted, Judged, Produced, QualityMeasured, StateChanged

MS: Final = 1_000_000
EARLIEST_NS: Final = 946_684_800 * 1_000_000_000
LATEST_NS: Final = 4_102_444_800 * 1_000_000_000
"""2000 to 2100, as the projection has it."""
_AHEAD_NS: Final = RULES["time_ahead"].limit * MS
_BEHIND_NS: Final = RULES["time_behind"].limit * MS
_MOST: Final = RULES["too_large"].limit
_IMPOSSIBLE: Final = RULES["impossible_rate"].limit
_FAST: Final = RULES["fast_rate"].limit
_HOUR_NS: Final = 3_600_000_000_000
_LONG_NS: Final = RULES["long_interval"].limit * MS

CHECKED: Final = (Produced, StateChanged, QualityMeasured, InventoryCounted, Gap, Judged)
"""What marts are made of."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is wrong."""

    code: str
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    subject: str = ""
    """What a warning is counted by; empty for the record itself."""

    @property
    def holds(self) -> bool:
        return RULES[self.code].holds


def check(fact: Fact, now_ns: int) -> list[Found]:
    """Give everything that is wrong with one fact as it stands."""
    start = getattr(fact, "start", fact.at)
    if not (EARLIEST_NS <= fact.at < LATEST_NS and EARLIEST_NS <= start < LATEST_NS):
        odd = start if EARLIEST_NS <= fact.at < LATEST_NS else fact.at
        return [Found("time_impossible", {"at": _instant(odd)})]
    if type(fact) is StateChanged and now_ns - _BEHIND_NS <= fact.at <= now_ns + _AHEAD_NS:
        return []
    return list(_all(fact, start, now_ns))


def _all(fact: Fact, start: int, now_ns: int) -> Iterator[Found]:
    if fact.at > now_ns + _AHEAD_NS:
        hours = round((fact.at - now_ns) / 3_600e9, 1)
        yield Found("time_ahead", {"at": _instant(fact.at), "hours": hours}, fact.work_unit)
    elif fact.at < now_ns - _BEHIND_NS:
        yield Found("time_behind", {"at": _instant(fact.at)}, fact.work_unit)
    if start > fact.at:
        yield Found("reversed", {"start": _instant(start), "end": _instant(fact.at)}, fact.work_unit)
    elif isinstance(fact, Produced):
        yield from _production(fact)
    elif isinstance(fact, QualityMeasured):
        yield from _quality(fact)
    elif isinstance(fact, InventoryCounted):
        yield from _inventory(fact)


def _production(fact: Produced) -> Iterator[Found]:
    produced, good, scrap, rework = fact.produced, fact.good, fact.scrap, fact.rework
    energy, cycle = fact.energy_wh or 0, fact.ideal_cycle_ms
    if min(produced, good, scrap, rework, energy, *fact.defects.values()) < 0 or (cycle is not None and not cycle > 0):
        yield _first_odd(fact, low=True)
        return
    if max(produced, good, scrap, rework, energy, *fact.defects.values()) > _MOST or (cycle or 0) > _MOST:
        yield _first_odd(fact, low=False)
        return
    if good + scrap > produced:
        if _beyond(fact, good + scrap - produced, RULES["more_than_produced"].limit):
            yield Found("more_than_produced", {"good": good, "scrap": scrap, "produced": produced})
        else:
            yield Found("counters_apart", {"what": "good + scrap", "excess": good + scrap - produced}, fact.work_unit)
    elif fact.defects and (defects := sum(fact.defects.values())) > produced - good:
        if _beyond(fact, defects - (produced - good), RULES["defects_exceed"].limit):
            yield Found("defects_exceed", {"defects": defects, "bad": produced - good, "produced": produced})
        else:
            yield Found("counters_apart", {"what": "defects", "excess": defects - (produced - good)}, fact.work_unit)
    span_ns = fact.at - fact.start
    if span_ns > _LONG_NS:
        yield Found("long_interval", {"hours": round(span_ns / 3_600e9, 1)}, fact.work_unit)
    product = fact.context.product or ""
    if cycle is None:
        if produced and product:
            yield Found("no_cycle", {}, product)
        return
    # A counter counts whole pieces: two of them may fall into any interval however short.
    ideal_ns = max(0, produced - 2) * cycle * MS
    if ideal_ns > span_ns * _FAST:
        factor = round(ideal_ns / max(1, span_ns), 1)
        if ideal_ns > span_ns * _IMPOSSIBLE and span_ns >= _HOUR_NS:
            seconds = round(span_ns / 1e9, 3)
            said = {"produced": produced, "seconds": seconds, "factor": factor, "cycle_ms": cycle}
            yield Found("impossible_rate", said)
        else:
            yield Found("fast_rate", {"factor": factor}, product or fact.work_unit)


def _beyond(fact: Produced, excess: int, minutes: int) -> bool:
    """Tell whether counters are further apart than reading them one after the other explains."""
    if excess * 20 <= fact.produced:
        return False
    if fact.ideal_cycle_ms:
        return excess * fact.ideal_cycle_ms > minutes * 60_000
    rate = (fact.produced + excess) / max(1, fact.at - fact.start)  # its own, where nobody knows the ideal one
    return excess > rate * minutes * 60_000_000_000


def _first_odd(fact: Produced, *, low: bool) -> Found:
    said: dict[str, float] = {name: getattr(fact, name) for name in ("produced", "good", "scrap", "rework")}
    said |= {"energy_wh": fact.energy_wh or 0, **{f"defects.{name}": n for name, n in sorted(fact.defects.items())}}
    if fact.ideal_cycle_ms is not None:
        said["ideal_cycle_ms"] = fact.ideal_cycle_ms
    for name, value in said.items():
        if (value < 0 or (name == "ideal_cycle_ms" and not value > 0)) if low else value > _MOST:
            return Found("negative" if low else "too_large", {"name": name, "value": value})
    raise AssertionError(said)


def _quality(fact: QualityMeasured) -> Iterator[Found]:
    low, high, value = fact.low, fact.high, fact.value
    if low is not None and high is not None and low > high:
        yield Found("limits_reversed", {"low": low, "high": high, "characteristic": fact.characteristic})
    if isinstance(value, int | float):
        if abs(value) > _MOST:
            yield Found("too_large", {"name": fact.characteristic, "value": value})
        outside = (low is not None and value < low) or (high is not None and value > high)
        if outside and fact.passed:
            yield Found("contradiction", {"value": value, "low": low, "high": high}, fact.characteristic)
        if not fact.unit:
            yield Found("no_unit", {}, fact.characteristic)


def _inventory(fact: InventoryCounted) -> Iterator[Found]:
    usage = fact.daily_usage or 0.0
    if max(abs(fact.quantity), abs(usage)) > _MOST:
        yield Found("too_large", {"name": fact.material, "value": max(abs(fact.quantity), abs(usage))})
    elif usage < 0:
        yield Found("negative", {"name": "daily_usage", "value": usage})
    elif fact.quantity < 0:
        yield Found("negative_stock", {"value": fact.quantity}, fact.material)
    if not fact.unit:
        yield Found("no_unit", {}, fact.material)


def _instant(ns: int) -> str:
    ms = ns // MS
    return iso(ms) if -62_135_596_800_000 <= ms < 253_402_300_800_000 else f"{ns} ns"
