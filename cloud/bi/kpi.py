"""ISO 22400-2 KPIs as pure functions of sums. Never an average of ratios; no data is None with a reason, never 0.

Letters of the standard: APT apt_ms · AUST setup_ms · ADET delay_ms · ADOT down_ms · PBT planned_busy_ms (planned
operation time less planned downtime) · PQ produced · GQ good · PRI ideal cycle, summed up in ideal_us (PRI x PQ) and
ideal_good_us (PRI x GQ).

OEE = availability x effectiveness x quality = sum(PRI x GQ) / sum(PBT). The quality inside OEE is weighted with ideal
time, the only one for which that product holds over several products; pieces over pieces is `first_pass` below.
An effectiveness above 1 is a fault of the data (a wrong ideal cycle, usually): it is kept as it is and flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["no_states", "no_plan", "no_shift", "unknown_state", "no_ideal_cycle"]
"""no_states: nothing recorded; no_plan: no planned busy time; no_shift: outside every shift; unknown_state: nobody saw
the machine; no_ideal_cycle: pieces whose planned run time is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Additive measures of whatever grain: add up as many buckets as wanted."""

    scheduled_ms: int = 0
    apt_ms: int = 0
    setup_ms: int = 0
    delay_ms: int = 0
    down_ms: int = 0
    planned_down_ms: int = 0
    unknown_ms: int = 0
    produced: int = 0
    good: int = 0
    scrap: int = 0
    rework: int = 0
    unrated: int = 0
    """Pieces whose ideal cycle nobody knows."""
    ideal_us: int = 0
    ideal_good_us: int = 0

    @property
    def planned_busy_ms(self) -> int:
        return self.apt_ms + self.setup_ms + self.delay_ms + self.down_ms + self.unknown_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Oee:
    """OEE and its three parts, 0 to 1; a part that cannot be told is None, and `reason` says why OEE is."""

    oee: float | None
    availability: float | None
    effectiveness: float | None
    quality_ratio: float | None
    reason: Reason | None
    implausible: bool
    """Effectiveness above 1: check the ideal cycle."""


def ratio(numerator: float, denominator: float) -> float | None:
    """Divide, or give None where there is nothing to divide by."""
    return numerator / denominator if denominator > 0 else None


def oee(sums: Sums) -> Oee:
    """Give OEE of any sum of buckets."""
    busy = sums.planned_busy_ms
    rated = sums.unrated == 0
    availability = ratio(sums.apt_ms, busy)
    effectiveness = ratio(sums.ideal_us, sums.apt_ms * 1000) if rated else None
    quality = ratio(sums.ideal_good_us, sums.ideal_us) if rated else None
    value: float | None = None
    reason: Reason | None = None
    if busy == 0:
        reason = "no_plan" if sums.scheduled_ms else "no_states"
    elif sums.unknown_ms == busy:
        reason = "unknown_state"
    elif not rated:
        reason = "no_ideal_cycle"
    else:
        # Nothing made in planned time is a true 0: all of it is lost.
        value = sums.ideal_good_us / (busy * 1000)
    return Oee(
        oee=value,
        availability=availability,
        effectiveness=effectiveness,
        quality_ratio=quality,
        reason=reason,
        implausible=effectiveness is not None and effectiveness > 1,
    )


def first_pass(sums: Sums) -> float | None:
    """Give good pieces over all pieces, by count; not the quality inside OEE."""
    return ratio(sums.good, sums.produced)


def scrap_ratio(sums: Sums) -> float | None:
    """Give scrapped pieces over all pieces."""
    return ratio(sums.scrap, sums.produced)


def teep(sums: Sums, calendar_ms: int) -> float | None:
    """Give good ideal time over all time there is."""
    return ratio(sums.ideal_good_us, calendar_ms * 1000)
