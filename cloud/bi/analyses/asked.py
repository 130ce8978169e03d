"""A question with everything that its analysis looks up again and again: names, dates, tables, figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from cloud.bi.analyses import words
from cloud.bi.analyses.look import Look, MetricLike
from cloud.bi.analyses.result import Column, Drill, Result
from cloud.bi.analyses.words import LANGUAGES, Language, Text
from cloud.bi.semantic.plan import Filter, Grain, Period, Plan
from cloud.bi.semantic.table import Cell, Row, Table

PROPORTIONS: Final = frozenset(
    {"first_pass_yield", "scrap_ratio", "defect_rate", "rework_ratio", "critical_ratio", "quality_failed_ratio"}
)
"""Ratios of things that were counted one by one: a part of a whole, so Wilson's interval and p charts are theirs."""

SHARES: Final = PROPORTIONS | {"availability", "quality_ratio", "confidence"}
"""Never below 0 nor above 1. (OEE and effectiveness can exceed 1 where the ideal cycle is wrong: that must be seen.)"""

WORKED: Final = frozenset(
    {"produced", "good", "scrap", "rework", "defects", "stops", "failures", "energy", "judgments", "warnings", "criticals"}
    | {"unknown_verdicts", "measured", "production_time", "setup_time", "delay_time", "downtime", "stop_time"}
)  # fmt: skip
"""Sums that grow with the time that was planned: of two periods of different planned time they are told per hour."""

OF_STOCKS: Final = frozenset({"inventory", "inventory_coverage"})
"""Of what lies in store: over time the last counts, and no shift is a sample of it."""

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A plan, dated, and where to look."""

    plan: Plan
    look: Look
    language: Language
    period: Period

    @property
    def name(self) -> str:
        return self.plan.metrics[0]

    @property
    def metric(self) -> MetricLike:
        return self.look.metric(self.name)

    @property
    def unit(self) -> str:
        return self.metric.unit

    @property
    def is_proportion(self) -> bool:
        return self.name in PROPORTIONS

    @property
    def by_shift(self) -> bool:
        """Tell whether it is a ratio whose parts add up over shifts, so that shifts are samples of it."""
        return self.metric.kind == "ratio" and self.name not in OF_STOCKS

    @property
    def good_is_up(self) -> bool | None:
        """Tell which direction is good; None where neither is."""
        better = self.metric.better
        return None if better is None else better == "higher"

    def table(
        self,
        metrics: tuple[str, ...] | None = None,
        *,
        dimensions: tuple[str, ...] = (),
        grain: Grain | None = None,
        period: Period | None = None,
        filters: tuple[Filter, ...] | None = None,
    ) -> Table:
        """Give figures within the plan's period and filters unless told otherwise."""
        return self.look.table(
            metrics or (self.name,),
            period=period or self.period,
            dimensions=dimensions,
            filters=self.plan.filters if filters is None else filters,
            grain=grain,
        )

    # --- names

    def title(self, metric: str | None = None) -> Text:
        return self.look.metric(metric or self.name).title

    def where(self) -> dict[str, str]:
        """Give what the filters leave, as words; empty text for everything."""
        told: dict[str, str] = {}
        for language in LANGUAGES:
            parts: list[str] = []
            for one in self.plan.filters:
                names = words.listed([self.label(one.dimension, v)[language] for v in one.values], language)
                without = {"ko": f"{names} 제외", "en": f"without {names}"}[language]
                parts.append(names if one.op == "in" else without)
            told[language] = ", ".join(parts)
        return told

    def label(self, dimension: str, value: str) -> Text:
        """Give a value's name; a word for none."""
        return self.look.label(dimension, value) if value else {"ko": "지정 없음", "en": "not given"}

    def group(self, dimensions: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
        """Give the name of a group of several dimensions; a code of a letter or two says what it is: `Shift C`."""
        told: dict[str, str] = {}
        for language in LANGUAGES:
            names: list[str] = []
            for dimension, key in zip(dimensions, keys, strict=True):
                name = self.label(dimension, key)[language]
                names.append(
                    f"{self.look.dimension(dimension).title[language]} {name}"
                    if 0 < len(name) <= 2 and name.isascii()
                    else name
                )
            told[language] = " · ".join(names)
        return told

    def labels(self, dimensions: Sequence[str], keys: Iterable[Sequence[str]]) -> dict[str, dict[str, Text]]:
        """Give dimension → value → its names, for the values in the rows: rows hold codes, which no language changes."""
        found: dict[str, dict[str, Text]] = {dimension: {} for dimension in dimensions}
        for key in keys:
            for dimension, value in zip(dimensions, key, strict=True):
                found[dimension].setdefault(value, dict(self.label(dimension, value)))
        return found

    def subject(self, metric: str | None = None) -> dict[str, str]:
        """Give `OEE, Filler 1 (2026-11-16 – 2026-11-22)`: what the first sentence is about."""
        title, where, when = self.title(metric), self.where(), words.span(*dates(self.period))
        return {
            language: f"{title[language]}{', ' + where[language] if where[language] else ''} ({when})"
            for language in LANGUAGES
        }

    def said(self, value: float | None, language: Language, unit: str | None = None) -> str:
        return words.figure(value, self.unit if unit is None else unit, language)

    # --- columns and drill-downs

    def column(self, metric: str | None = None, name: str | None = None) -> Column:
        known = self.look.metric(metric or self.name)
        return Column(name=name or known.id, kind="metric", title=known.title, unit=known.unit)

    def dimension_column(self, dimension: str) -> Column:
        return Column(name=dimension, kind="dimension", title=self.look.dimension(dimension).title)

    def closer(self, title: Text, **changes: Any) -> Drill:
        """Give a plan to ask next: this one with changes."""
        plan = Plan.model_validate({**self.plan.model_dump(), "period": self.period, **changes})
        return Drill(title=title, plan=plan.model_dump(mode="json", exclude_defaults=True))

    def only(self, dimension: str, value: str) -> tuple[Filter, ...]:
        """Give the filters with one dimension held to a value."""
        others = tuple(one for one in self.plan.filters if one.dimension != dimension)
        return (*others, Filter(dimension=dimension, values=(value,)))

    def line_page(
        self, dimensions: Sequence[str], keys: Sequence[str], first: str = "", last: str = ""
    ) -> Drill | None:
        """Give the way to a line's own page and its verdicts, where the group names a line."""
        for dimension, key in zip(dimensions, keys, strict=True):
            if dimension == "line" and key:
                begin, end = dates(self.period)
                return Drill(
                    title={"ko": f"{self.label('line', key)['ko']}: 판정 보기", "en": f"{self.label('line', key)['en']}: verdicts"},
                    line=key, first=first or begin, last=last or end,
                )  # fmt: skip
        return None

    def one(self, dimension: str) -> str | None:
        """Give the one value of a dimension that the plan is about."""
        found = [one.values for one in self.plan.filters if one.dimension == dimension and one.op == "in"]
        return next((values[0] for values in found if len(values) == 1), None)

    def named_line(self) -> tuple[Drill, ...]:
        """Give the line's page where the plan is about one line."""
        for one in self.plan.filters:
            if one.dimension == "line" and one.op == "in" and len(one.values) == 1:
                found = self.line_page(("line",), one.values)
                return (found,) if found is not None else ()
        return ()


def dates(period: Period) -> tuple[str, str]:
    """Give first and last business date of a dated period."""
    return str(period.first), str(period.last)


def days(period: Period) -> int:
    """Give how many business dates a dated period has."""
    assert period.first is not None and period.last is not None  # noqa: S101, PT018 - dated by `Look.dated`
    return (period.last - period.first).days + 1


def of_dates(first: date, last: date) -> Period:
    """Give a dated period."""
    return Period(first=first, last=last)


def scale(rows: Iterable[Row], column: int = 0) -> float:
    """Give the factor between a metric's value and numerator / denominator (1000 for a metric in ms kept in s, …)."""
    best: tuple[float, float] = (0.0, 1.0)
    for row in rows:
        cell = row.cells[column]
        raw = cell.numerator / (cell.denominator or 1.0) if cell.denominator != 0 else 0.0
        if cell.value and raw and abs(cell.numerator) > best[0]:
            best = (abs(cell.numerator), cell.value / raw)
    return best[1]


def pooled(cells: Sequence[Cell], factor: float = 1.0) -> float | None:
    """Give the figure of several cells together: a ratio of their sums, or their sum; None where there is nothing."""
    if not cells:
        return None
    top = sum(cell.numerator for cell in cells)
    if cells[0].denominator is None:
        return top * factor
    bottom = sum(cell.denominator or 0.0 for cell in cells)
    return top / bottom * factor if bottom > 0 else None


def refusal(asked: Asked, code: str, text: Text, **findings: Any) -> Result:
    """Give an answer that says why there is none; its numbers are findings like any other."""
    begin = asked.subject()
    return Result(
        columns=(),
        rows=(),
        findings={"reason": code, "dates": dates(asked.period), **findings},
        sentences={language: (f"{begin[language]}: {text[language].removesuffix('.')}.",) for language in LANGUAGES},
        refused=code,
    )


def also(result: Result, **findings: Any) -> Result:
    """Give a result with more findings."""
    return replace(result, findings={**result.findings, **findings})
