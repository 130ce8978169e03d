"""From rows of several marts to one table: folded to the same groups, put together, and divided last. Pure.

A group is a step of the grain and a key for every dimension. Each mart comes with at most one row for each of its own
groups, so putting them together multiplies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from cloud.bi.semantic.compile import Part, Query
from cloud.bi.semantic.dimensions import month, week
from cloud.bi.semantic.metrics import Distinct, Metric
from cloud.bi.semantic.periods import midnight
from cloud.bi.semantic.places import Places
from cloud.bi.semantic.table import Cell, Row

CARRIED_DAYS: Final = 31
"""How long a count of a stock stands for the days after it."""

Step = tuple[str, int]
"""What a step is called, and what tells two of the same name apart (hours that the clocks repeat)."""
Key = tuple[Step, tuple[str, ...]]


@dataclass(slots=True)
class Group:
    """What a group comes to, by mart."""

    start_ms: int | None = None
    sums: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    units: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    distinct: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    scheduled: bool = False
    """Some of it lies within a shift."""


class Fold:
    """Takes the rows of every mart, gives the rows of the table."""

    def __init__(self, query: Query, places: Places, parts: Sequence[Part]) -> None:
        self._query = query
        self._places = places
        self._parts = parts
        self._groups: dict[Key, Group] = {}
        self._first = places.plants[query.allowed.sites[0]].calendar if query.allowed.sites else None

    def add(self, part: Part, rows: Iterable[Sequence[Any]], *, counted: bool = True) -> None:
        """Add a mart's rows: its columns, (how many rows it stands for,) its measures."""
        width = len(part.columns)
        at = {column: position for position, column in enumerate(part.columns)}
        keep = self._filter(at)
        key = self._key(at)
        mart, measures = part.mart.name, part.measures
        unit, shift = at.get("unit"), at.get("shift")
        distinct = {m.what.column: m.what.measure for m in self._query.metrics if isinstance(m.what, Distinct)}
        for row in rows:
            if (counted and not row[width]) or not keep(row):
                continue
            found, start = key(row)
            group = self._groups.get(found)
            if group is None:
                group = self._groups[found] = Group(start)
            elif start is not None and group.start_ms is not None:
                group.start_ms = min(group.start_ms, start)
            sums = group.sums.get(mart)
            if sums is None:
                group.sums[mart] = dict(zip(measures, row[width + counted :], strict=True))
            else:
                for name, value in zip(measures, row[width + counted :], strict=True):
                    sums[name] += value
            if shift is None or row[shift]:
                group.scheduled = True
            if unit is not None and row[unit]:
                group.units.setdefault(mart, set()).add(row[unit])
            for column, measure in distinct.items():
                if column in at and measure in measures and row[width + counted + measures.index(measure)] > 0:
                    group.distinct.setdefault(column, set()).add(row[at[column]])

    def add_stock(self, part: Part, rows: Iterable[Sequence[Any]]) -> None:
        """Add counts (site, material, location, date, unit, quantity, usage) by date: each step has its last ones."""
        columns = ("site", "material", "location", "business_date", "unit")
        pending = [tuple(row) for row in rows]
        last: dict[tuple[str, str, str], Sequence[Any]] = {}
        done = 0
        for end in self._ends():
            while done < len(pending) and pending[done][3] <= end:
                last[pending[done][:3]] = pending[done]
                done += 1
            oldest = (date.fromisoformat(end) - timedelta(days=CARRIED_DAYS)).isoformat()
            current = Part(
                mart=part.mart, metrics=(), measures=("quantity_micro", "usage_micro"), columns=columns, why=""
            )
            self.add(current, [(*row[:3], end, *row[4:]) for row in last.values() if row[3] > oldest], counted=False)

    def _ends(self) -> list[str]:
        """Give the last business date of every step of the grain within the period."""
        spans = self._query.spans.values()
        day, last = (
            date.fromisoformat(min(one.first for one in spans)),
            date.fromisoformat(max(one.last for one in spans)),
        )
        if self._query.grain is None:
            return [last.isoformat()]
        ends: dict[str, str] = {}
        while day <= last:
            text = day.isoformat()
            ends[_named(self._query.grain, text)] = text
            day += timedelta(days=1)
        return list(ends.values())

    def _filter(self, at: Mapping[str, int]) -> Callable[[Sequence[Any]], bool]:
        tests = [
            (at[one.columns[0]], one.key, wanted, values)
            for one, wanted, values in self._query.derived
            if one.columns[0] in at
        ]
        if not tests:
            return _everything
        return lambda row: all(((key(row[p]) if key else row[p]) in v) == wanted for p, key, wanted, v in tests)

    def _key(self, at: Mapping[str, int]) -> Callable[[Sequence[Any]], tuple[Key, int | None]]:
        makers: list[Callable[[Sequence[Any]], str]] = []
        for one in self._query.dimensions:
            if one.level is not None:
                makers.append(self._place(one.level, at["site"], at.get("work_unit")))
            elif one.key is not None:
                makers.append(_derived(one.key, at[one.columns[0]]))
            else:
                makers.append(_plain(at[one.columns[0]]))
        step = self._step(at)

        def key(row: Sequence[Any]) -> tuple[Key, int | None]:
            named, start = step(row)
            return (named, tuple([make(row) for make in makers])), start

        return key

    def _place(self, level: Any, site: int, unit: int | None) -> Callable[[Sequence[Any]], str]:
        known: dict[tuple[str, str], str] = {}

        def make(row: Sequence[Any]) -> str:
            line = (row[site], "" if unit is None else row[unit])
            if line not in known:
                known[line] = self._places.key(level, *line)
            return known[line]

        return make

    def _step(self, at: Mapping[str, int]) -> Callable[[Sequence[Any]], tuple[Step, int | None]]:
        grain, first = self._query.grain, self._first
        if grain is None or first is None:
            return _no_step
        if grain == "hour":
            p = at["start_ms"]
            return lambda row: ((f"{first.local(row[p]):%Y-%m-%d %H:%M}", row[p]), row[p])
        day = at["business_date"]
        if grain == "shift":
            p, shift = at["start_ms"], at["shift"]
            # One shift of one date is one step, also where sites in other zones begin it at other times.
            return lambda row: (
                (f"{row[day]} {row[shift]}".rstrip(), 0 if row[shift] else row[p]),
                row[p],
            )
        starts: dict[str, int] = {}

        def named(row: Sequence[Any]) -> tuple[Step, int | None]:
            text = row[day]
            if text not in starts:
                begins = first.day(_begin(grain, text))
                day_one = date.fromisoformat(_begin(grain, text))
                starts[text] = begins[0].start_ms if begins else midnight(first, day_one)
            return (_named(grain, text), 0), starts[text]

        return named

    def rows(self) -> list[Row]:
        """Give the rows in order of time, then of keys."""
        found: list[Row] = []
        homes = {one.id: [part for part in self._parts if one.id in part.metrics] for one in self._query.metrics}
        for (step, keys), group in self._groups.items():
            if len(group.sums) == 1:
                (sums,) = group.sums.values()
            else:
                sums = {name: value for own in reversed(group.sums.values()) for name, value in own.items()}
            cells = tuple([self._cell(metric, homes[metric.id], group) for metric in self._query.metrics])
            if self._query.grain == "shift" and not group.scheduled and not any(cell.numerator for cell in cells):
                continue  # nothing happened between two shifts
            found.append(Row(start_ms=group.start_ms, label=step[0], keys=keys, cells=cells, sums=sums))
        found.sort(key=lambda row: (row.start_ms or 0, row.label, row.keys))
        return found

    def _cell(self, metric: Metric, homes: Sequence[Part], group: Group) -> Cell:
        if isinstance(metric.what, Distinct):
            count = len(group.distinct.get(metric.what.column, ()))
            return Cell(value=count, numerator=count)
        own: Mapping[str, int] = {}
        known = True
        units = 1
        for part in homes:
            held = group.sums.get(part.mart.name)
            known = known and (held is not None or part.mart.sparse)
            if group.units:
                units = max(units, len(group.units.get(part.mart.name, ())))
            if held is not None:
                own = {**held, **own} if own else held
        return metric.cell(own, known=known, units=units)


def _everything(_row: Sequence[Any]) -> bool:
    return True


def _no_step(_row: Sequence[Any]) -> tuple[Step, int | None]:
    return ("", 0), None


def _plain(position: int) -> Callable[[Sequence[Any]], str]:
    return lambda row: row[position]


def _derived(key: Callable[[str], str], position: int) -> Callable[[Sequence[Any]], str]:
    return lambda row: key(row[position])


def _named(grain: str, day: str) -> str:
    return week(day) if grain == "week" else month(day) if grain == "month" else day


def _begin(grain: str, day: str) -> str:
    """Give the first date of the step that a date lies in."""
    if grain == "month":
        return f"{day[:7]}-01"
    if grain == "week":
        at = date.fromisoformat(day)
        return (at - timedelta(days=at.isoweekday() - 1)).isoformat()
    return day
