"""Facts that come from a MES or an ERP: what is to be made of what, by whom it was inspected, and what is answered.

Names are ISA-95's (job order, job response, material lot).
"""

from __future__ import annotations

from sync.fact import Fact


class JobOrderPlanned(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="job_order"):
    """An ISA-95 job order as the MES holds it; a later fact for the same order replaces this one."""

    order: str
    product: str
    lot: str | None = None
    quantity: int
    start: int
    end: int
    state: str
    """planned, released, running, completed or cancelled."""
    ideal_cycle_ms: float | None = None


class ProductDefined(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="product"):
    """A product of the MES's master data."""

    product: str
    name: dict[str, str] = {}
    ideal_cycle_ms: dict[str, float] = {}
    """Work unit → planned run time per item."""


class InventoryCounted(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="inventory"):
    """Stock of a material at a location."""

    material: str
    location: str
    quantity: float
    unit: str
    daily_usage: float | None = None


class LotDefined(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="lot"):
    """A material lot (ISA-95) as the MES or ERP holds it."""

    lot: str
    product: str
    quantity: float | None = None
    unit: str | None = None
    state: str = ""
    """The source's own word: released, blocked, …"""
    order: str | None = None


class ShiftPlanned(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="shift"):
    """A shift of a work unit in [start, end), ns; the calendar itself lives in the cloud's configuration."""

    shift: str
    start: int
    end: int
    team: str | None = None


class QualityMeasured(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="quality"):
    """A quality result from the laboratory or the MES; `at` is when the sample was measured."""

    characteristic: str
    value: float | str | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    passed: bool | None = None
    """None when the source did not say."""
    sample: str = ""
    order: str | None = None
    product: str | None = None
    lot: str | None = None


class JobResponded(Fact, frozen=True, kw_only=True, omit_defaults=True, tag="job_response"):
    """What was made of a job order (ISA-95 job response) from `start` to `at`; totals, so a later one replaces it."""

    response: str
    """Id: the same order, work unit and start have the same, so that a repeat does no harm."""
    order: str
    product: str | None = None
    lot: str | None = None
    start: int
    produced: int
    good: int
    scrap: int = 0
    rework: int = 0
    complete: bool = False
    """Whether the line has turned to something else."""
