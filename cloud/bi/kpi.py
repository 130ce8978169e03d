"""ISO 22400-2 KPIs as pure functions of sums. Never an average of ratios; no data is None with a reason, never 0.

Letters of the standard: APT apt_ms · AUST setup_ms · ADET delay_ms · ADOT down_ms · PBT planned_busy_ms (planned
operation time less planned downtime) · PQ produced · GQ good · PRI ideal cycle, summed up in ideal_us (PRI x PQ) and
ideal_good_us (PRI x GQ).

OEE = availability x effectiveness x quality = sum(PRI x GQ) / sum(PBT). The quality inside OEE is weighted with ideal
time, the only one for which that product holds over several products; pieces over pieces is `first_pass` below.
An effectiveness above 1 is a fault of the data (a wrong ideal cycle, usually): it is kept as it is and flagged.
Where the time goes between the calendar and the effective time is told by `cloud.bi.waterfall`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

Reason = Literal[
    "no_states",
    "no_plan",
    "no_shift",
    "unknown_state",
    "no_ideal_cycle",
    "no_production",
    "no_pieces",
    "no_failures",
    "no_demand",
    "below_zero",
    "no_orders",
    "no_meter",
]
"""no_states: nothing recorded; no_plan: no planned busy time; no_shift: outside every shift; unknown_state: nobody saw
the machine; no_ideal_cycle: pieces whose planned run time is not known; no_production: the machine did
not produce; no_pieces: nothing was made; no_failures: nothing failed; no_demand: nothing is used up;
below_zero: a stock below zero is a fault of the data; no_orders: nothing was planned; no_meter: no energy was counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Additive measures of whatever grain: add up as many buckets as wanted."""

    calendar_ms: int = 0
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
    energy_wh: int = 0
    planned_micro: int = 0
    """Pieces that job orders planned, in millionths."""
    failures: int = 0
    """Unplanned stops of the machine that began here."""

    @property
    def planned_busy_ms(self) -> int:
        return self.apt_ms + self.setup_ms + self.delay_ms + self.down_ms + self.unknown_ms

    def __add__(self, other: Sums) -> Sums:
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in MEASURES})


MEASURES: Final = tuple(field.name for field in fields(Sums))


def sums_of(measures: Mapping[str, int]) -> Sums:
    """Pick what KPIs are made of from measures by name; one that is missing is 0."""
    return Sums(**{name: measures[name] for name in MEASURES if name in measures})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One KPI: a value, or the reason why there is none."""

    value: float | None
    reason: Reason | None = None


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


def defect_rate(sums: Sums) -> float | None:
    """Give pieces that were not good at the first pass over all pieces: scrap, rework, and what nobody sorted."""
    return ratio(sums.produced - sums.good, sums.produced)


def scrap_ratio(sums: Sums) -> float | None:
    """Give scrapped pieces over all pieces."""
    return ratio(sums.scrap, sums.produced)


def teep(sums: Sums, calendar_ms: int) -> float | None:
    """Give good ideal time over all time there is."""
    return ratio(sums.ideal_good_us, calendar_ms * 1000)


def _figure(numerator: float, denominator: float, otherwise: Reason) -> Figure:
    value = ratio(numerator, denominator)
    return Figure(value=value, reason=otherwise if value is None else None)


def _ideal(sums: Sums, time_ms: int, otherwise: Reason) -> Figure:
    """Give good ideal time over a time."""
    if time_ms > 0 and sums.unrated:
        return Figure(value=None, reason="no_ideal_cycle")
    return _figure(sums.ideal_good_us, time_ms * 1000, otherwise)


def ooe(sums: Sums) -> Figure:
    """Give overall operations effectiveness: good ideal time over planned busy time and planned downtime."""
    return _ideal(sums, sums.planned_busy_ms + sums.planned_down_ms, "no_plan")


def nee(sums: Sums) -> Figure:
    """Give net equipment effectiveness: OEE that does not charge setup, (APT + AUST) / PBT x effectiveness x quality.

    ISO 22400 NEE. Setup counts as if it had produced at the pace and quality of the production time.
    """
    if sums.planned_busy_ms and sums.unrated:
        return Figure(value=None, reason="no_ideal_cycle")
    if sums.planned_busy_ms and not sums.apt_ms:
        return Figure(value=None, reason="no_production")
    return _figure(
        sums.ideal_good_us * (sums.apt_ms + sums.setup_ms), sums.apt_ms * sums.planned_busy_ms * 1000, "no_plan"
    )


def allocation_efficiency(sums: Sums) -> Figure:
    """Give busy time (production, setup and delay) over planned busy time."""
    return _figure(sums.apt_ms + sums.setup_ms + sums.delay_ms, sums.planned_busy_ms, "no_plan")


def utilisation_efficiency(sums: Sums) -> Figure:
    """Give production time over busy time."""
    return _figure(sums.apt_ms, sums.apt_ms + sums.setup_ms + sums.delay_ms, "no_production")


def technical_efficiency(sums: Sums) -> Figure:
    """Give production time over production and delay time."""
    return _figure(sums.apt_ms, sums.apt_ms + sums.delay_ms, "no_production")


def setup_ratio(sums: Sums) -> Figure:
    """Give setup time over processing time (production and setup)."""
    return _figure(sums.setup_ms, sums.apt_ms + sums.setup_ms, "no_production")


def mtbf_ms(sums: Sums) -> Figure:
    """Give the mean production time between failures, ms: what ran over what failed."""
    return _figure(sums.apt_ms, sums.failures, "no_failures")


def mttr_ms(sums: Sums) -> Figure:
    """Give the mean unplanned downtime of a failure, ms."""
    return _figure(sums.down_ms, sums.failures, "no_failures")


def rework_ratio(sums: Sums) -> Figure:
    """Give reworked pieces over all pieces."""
    return _figure(sums.rework, sums.produced, "no_pieces")


def throughput(sums: Sums) -> Figure:
    """Give pieces per hour of planned busy time."""
    return _figure(sums.produced * 3_600_000, sums.planned_busy_ms, "no_plan")


def schedule_attainment(sums: Sums) -> Figure:
    """Give pieces made over pieces planned; above 1 more was made than asked for."""
    return _figure(sums.produced * 1_000_000, sums.planned_micro, "no_orders")


def energy_per_piece(sums: Sums) -> Figure:
    """Give Wh for a piece made."""
    if not sums.energy_wh:
        return Figure(value=None, reason="no_meter")
    return _figure(sums.energy_wh, sums.produced, "no_pieces")


def coverage_days(stock_micro: int, usage_micro: int, days: int) -> Figure:
    """Give how many days a stock lasts at the mean daily usage of the last `days` days that were worked.

    Both in millionths of the material's unit. Nothing used is no demand, not for ever.
    """
    if stock_micro < 0 or usage_micro < 0:
        return Figure(value=None, reason="below_zero")
    return _figure(stock_micro * days, usage_micro, "no_demand")
