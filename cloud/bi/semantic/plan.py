"""A question as data: what every asker of figures fills in, and nothing else reaches the database.

A plan is checked here for its form and against the catalogue by `compile`; names of metrics and dimensions are ids of
the catalogue, values are bound, never pasted.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Analysis = Literal[
    "CHECK", "TREND", "COMPARE", "RANK", "CORRELATE", "FIND_CAUSE", "DETECT_ANOMALY", "PREDICT", "WHAT_IF"
]
Grain = Literal["hour", "shift", "day", "week", "month"]
"""Shift instances and hours in order of time; days are business dates: a night shift belongs to the day it began."""

Relative = Literal[
    "this_shift",
    "last_shift",
    "today",
    "yesterday",
    "last_7_days",
    "last_30_days",
    "last_90_days",
    "this_week",
    "last_week",
    "this_month",
    "last_month",
]
"""`last_7_days` and its like end with today; weeks begin on Monday (ISO 8601)."""

Against = Literal["previous", "same_last_week", "same_last_year"]
"""`previous`: the period of equal length just before."""

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
Value = Annotated[str, Field(max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Period(_Model):
    """Business dates, both included; or a word for them."""

    relative: Relative | None = None
    first: date | None = None
    last: date | None = None
    shift: Annotated[str, Field(max_length=16)] | None = None
    """Only the shifts of this code on those dates: how one shift is told by its date."""

    @model_validator(mode="after")
    def _one_way(self) -> Period:
        dated = self.first is not None or self.last is not None
        if (self.relative is None) == (not dated):
            raise ValueError("give either `relative`, or `first` and `last`")
        if dated and (self.first is None or self.last is None):
            raise ValueError("`first` and `last` go together")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError("`first` is after `last`")
        if self.shift is not None and not dated:
            raise ValueError("`shift` goes with `first` and `last`; `this_shift` and `last_shift` need none")
        return self


class Filter(_Model):
    """Only rows whose dimension is (or is not) one of these values."""

    dimension: Name
    op: Literal["in", "not_in"] = "in"
    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=100)]


class Edit(_Model):
    """One thing that would be different, for WHAT_IF; exactly one of percent, points and count."""

    what: Literal["stop", "setup", "delay", "speed", "scrap", "planned_down", "extra_shift"]
    """stop: time lost to `value` (a stop reason; all of them without); speed: the effective rate while producing;
    scrap: pieces that fail; extra_shift: whole shifts more, at what a shift makes now."""
    value: Value | None = None
    percent: Annotated[float, Field(ge=-100, le=1000)] | None = None
    points: Annotated[float, Field(ge=-100, le=100)] | None = None
    """Percentage points, for scrap."""
    count: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Edit:
        if sum(amount is not None for amount in (self.percent, self.points, self.count)) != 1:
            raise ValueError("give exactly one of `percent`, `points` and `count`")
        if (self.count is not None) != (self.what == "extra_shift"):
            raise ValueError("`count` is for extra_shift, and extra_shift needs it")
        if self.points is not None and self.what != "scrap":
            raise ValueError("`points` is for scrap")
        return self


class Plan(_Model):
    """One question. What a plan of each analysis needs beyond the rest is said in `cloud.bi.analyses`."""

    analysis: Analysis
    metrics: Annotated[tuple[Name, ...], Field(min_length=1, max_length=4)]
    dimensions: Annotated[tuple[Name, ...], Field(max_length=3)] = ()
    filters: Annotated[tuple[Filter, ...], Field(max_length=10)] = ()
    period: Period = Period(relative="last_7_days")
    grain: Grain | None = None
    against: Against | Period | None = None
    """What COMPARE and FIND_CAUSE hold the period against; `previous` by default."""
    order: Literal["best", "worst", "most", "least"] | None = None
    """best and worst know which direction is good; `worst` by default."""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    horizon: Annotated[int, Field(ge=1, le=60)] = 7
    """How many steps of the grain PREDICT looks ahead."""
    edits: Annotated[tuple[Edit, ...], Field(max_length=10)] = ()
