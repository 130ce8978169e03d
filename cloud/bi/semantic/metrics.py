"""Metrics as types: what a figure is made of decides what may be done with it.

`Additive` adds up over everything; `Stock` adds up over places, and over time the last counts; `Ratio` is one sum over
another and takes only sums, so that an average of ratios cannot be written down; `Distinct` counts different ones.
Units are checked when a metric is made: what cannot be added or does not come to the metric's unit is a UnitError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

from cloud.bi import kpi
from cloud.bi.analyses.look import Better, Kind
from cloud.bi.semantic.stars import UNIT_OF
from cloud.bi.semantic.table import Cell
from cloud.bi.semantic.units import factor, same

Guard = Literal["planned", "seen", "rated", "metered", "not_below_zero", "one_unit"]
"""What has to hold before there is a figure: planned busy time; not all of it unseen; every piece's ideal cycle known;
energy was counted; no stock below zero; all measurements in one unit."""

BUSY = ("apt_ms", "setup_ms", "delay_ms", "down_ms", "unknown_ms")
"""Planned busy time: planned operation time less planned downtime."""


@dataclass(frozen=True, slots=True)
class Additive:
    """A sum of measures of one unit."""

    measures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stock:
    """What is there at the end of a step."""

    measure: str

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.measure,)


@dataclass(frozen=True, slots=True)
class Ratio:
    """One sum over another, divided last."""

    of: Additive | Stock
    to: Additive | Stock

    def __post_init__(self) -> None:
        for part in (self.of, self.to):
            _only_sums(part)


def _only_sums(part: object) -> None:
    if not isinstance(part, (Additive, Stock)):
        raise TypeError("a ratio is made of sums, never of ratios")


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values a column has where a measure is above zero."""

    column: str
    measure: str

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.measure,)


_KINDS: dict[type, Kind] = {Additive: "sum", Stock: "stock", Ratio: "ratio", Distinct: "distinct"}
Words = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One definition of one figure."""

    id: str
    what: Additive | Stock | Ratio | Distinct
    unit: str
    better: Better | None
    source: str
    """The standard and clause it follows, or `house`."""
    version: int = 1
    guards: tuple[Guard, ...] = ()
    empty: str = "no_data"
    """Why there is none when there is nothing to divide by."""
    title: Words = field(default_factory=dict[str, str])
    description: Words = field(default_factory=dict[str, str])
    formula: Words = field(default_factory=dict[str, str])
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __post_init__(self) -> None:
        _ = self.factor  # a definition whose units do not fit is no definition

    @property
    def kind(self) -> Kind:
        return _KINDS[type(self.what)]

    @property
    def stock(self) -> bool:
        """Tell whether it is of stocks: over time the last counts."""
        parts = (self.what.of, self.what.to) if isinstance(self.what, Ratio) else (self.what,)
        return any(isinstance(part, Stock) for part in parts)

    @cached_property
    def _busy(self) -> bool:
        return "planned" in self.guards or "seen" in self.guards

    @cached_property
    def numerator(self) -> tuple[str, ...]:
        return self.what.of.measures if isinstance(self.what, Ratio) else self.what.measures

    @cached_property
    def denominator(self) -> tuple[str, ...]:
        return self.what.to.measures if isinstance(self.what, Ratio) else ()

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Give every measure that its value needs; those that a guard reads besides are `watched`."""
        return tuple(dict.fromkeys((*self.numerator, *self.denominator)))

    @cached_property
    def watched(self) -> tuple[str, ...]:
        more: dict[Guard, tuple[str, ...]] = {
            "planned": (*BUSY, "scheduled_ms", "calendar_ms"),
            "seen": BUSY,
            "rated": ("unrated",),
            "metered": (),
            "not_below_zero": (),
            "one_unit": (),
        }
        return tuple(dict.fromkeys(name for guard in self.guards for name in more[guard]))

    @cached_property
    def factor(self) -> Fraction:
        """Give by what numerator / denominator is multiplied to come to the unit. Raises UnitError."""
        if isinstance(self.what, Distinct):
            return factor(same({"different ones": "times"}), self.unit)
        given = same({name: UNIT_OF[name] for name in self.numerator})
        if self.denominator:
            given = given / same({name: UNIT_OF[name] for name in self.denominator})
        return factor(given, self.unit)

    @cached_property
    def _scale(self) -> tuple[int, int]:
        return self.factor.numerator, self.factor.denominator

    @cached_property
    def hash(self) -> str:
        """Give the hash of the definition: two answers with the same hash mean the same by their figure."""
        said = [self.id, self.kind, self.version, self.unit, self.numerator, self.denominator, self.guards]
        return hashlib.sha256(json.dumps([*said, str(self.factor), self.source]).encode()).hexdigest()[:16]

    def cell(self, sums: Mapping[str, int], *, known: bool = True, units: int = 1) -> Cell:
        """Make the figure of a group's sums.

        known: whether the group has data of this metric at all. units: in how many units its values were measured.
        """
        over = _total(sums, self.numerator)
        reason = "no_data" if not known else self._why(sums, units) if self.guards else None
        if not self.denominator:
            return Cell(value=None if reason else _times(over, self.factor), numerator=over, reason=reason)
        under = _total(sums, self.denominator)
        value = None
        if reason is None:
            by, to = self._scale
            value = kpi.ratio(over * by, under * to)
            reason = self.empty if value is None else None
        return Cell(value=value, numerator=over, denominator=under, reason=reason)

    def _why(self, sums: Mapping[str, int], units: int) -> str | None:
        busy = _total(sums, BUSY) if self._busy else 0
        for guard in self.guards:
            if guard == "planned" and busy == 0:
                if sums.get("scheduled_ms", 0):
                    return "no_plan"
                return "no_shift" if sums.get("calendar_ms", 0) else "no_states"
            if guard == "seen" and sums.get("unknown_ms", 0) == busy:
                return "unknown_state"
            if guard == "rated" and sums.get("unrated", 0):
                return "no_ideal_cycle"
            if guard == "metered" and not sums.get("energy_wh", 0):
                return "no_meter"
            if guard == "not_below_zero" and any(sums.get(name, 0) < 0 for name in self.measures):
                return "below_zero"
            if guard == "one_unit" and units > 1:
                return "mixed_units"
        return None


def _total(sums: Mapping[str, int], names: tuple[str, ...]) -> int:
    if len(names) == 1:
        return sums.get(names[0], 0)
    total = 0
    for name in names:
        total += sums.get(name, 0)
    return total


def _times(whole: int, by: Fraction) -> float:
    made = whole * by
    return made.numerator if made.denominator == 1 else float(made)
