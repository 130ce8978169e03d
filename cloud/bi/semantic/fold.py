"""From rows of several marts to one table: folded to the same groups, put together, and divided last. Pure.

A group is a step of the grain and a key for every dimension. Each mart comes with at most one row for each of its own
groups, so putting them together multiplies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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


_NONE: Final[Mapping[str, set[str]]] = {}


class Group:
    """What a group comes to, by mart."""

    __slots__ = ("distinct", "scheduled", "start_ms", "sums", "units")

    def __init__(self, start_ms: int | None) -> None:
        self.start_ms = start_ms
        self.sums: dict[str, dict[str, int]] = {}
        self.units: Mapping[str, set[str]] = _NONE
        self.distinct: Mapping[str, set[str]] = _NONE
        self.scheduled = False
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
        unit, shift, first, groups = at.get("unit"), at.get("shift"), width + counted, self._groups
        distinct = [
            (m.what.column, at[m.what.column], first + measures.index(m.what.measure))
            for m in self._query.metrics
            if isinstance(m.what, Distinct) and m.what.column in at and m.what.measure in measures
        ]
        for row in rows:
            if (counted and not row[width]) or (keep is not None and not keep(row)):
                continue
            found, start = key(row)
            group = groups.get(found)
            if group is None:
                group = groups[found] = Group(start)
            elif start is not None and group.start_ms is not None and start < group.start_ms:
                group.start_ms = start
            sums = group.sums.get(mart)
            if sums is None:
                group.sums[mart] = dict(zip(measures, row[first:], strict=True))
            else:
                for name, value in zip(measures, row[first:], strict=True):
                    sums[name] += value
            if shift is None or row[shift]:
                group.scheduled = True
            if unit is not None and row[unit]:
                group.units = {**group.units, mart: {*group.units.get(mart, ()), row[unit]}}
            for column, named, measured in distinct:
                if row[measured] > 0:
                    group.distinct = {**group.distinct, column: {*group.distinct.get(column, ()), row[named]}}

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

    def _filter(self, at: Mapping[str, int]) -> Callable[[Sequence[Any]], bool] | None:
        tests = [
            (at[one.columns[0]], one.key, wanted, values)
            for one, wanted, values in self._query.derived
            if one.columns[0] in at
        ]
        if not tests:
            return None
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
        one = makers[0] if len(makers) == 1 else None

        def key(row: Sequence[Any]) -> tuple[Key, int | None]:
            named, start = step(row)
            return (named, tuple([make(row) for make in makers]) if one is None else (one(row),)), start

        return key

    def _place(self, level: Any, site: int, unit: int | None) -> Callable[[Sequence[Any]], str]:
        known: dict[tuple[str, str], str] = {}

        def make(row: Sequence[Any]) -> str:
            line = (row[site], "" if unit is None else row[unit])
            found = known.get(line)
            if found is None:
                found = known[line] = self._places.key(level, *line)
            return found

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
        known: dict[str, tuple[Step, int | None]] = {}

        def named(row: Sequence[Any]) -> tuple[Step, int | None]:
            text = row[day]
            found = known.get(text)
            if found is None:
                begins = first.day(_begin(grain, text))
                day_one = date.fromisoformat(_begin(grain, text))
                found = known[text] = (
                    (_named(grain, text), 0),
                    begins[0].start_ms if begins else midnight(first, day_one),
                )
            return found

        return named

    def rows(self) -> list[Row]:
        """Give the rows in order of time, then of keys."""
        found: list[Row] = []
        homes = [
            (one, [part for part in self._parts if one.id in part.metrics], isinstance(one.what, Distinct))
            for one in self._query.metrics
        ]
        alone = len(self._parts) == 1 and not any(distinct for _, _, distinct in homes)
        for (step, keys), group in self._groups.items():
            if len(group.sums) == 1:
                (sums,) = group.sums.values()
            else:
                sums = {name: value for own in reversed(group.sums.values()) for name, value in own.items()}
            if alone and not group.units:
                cells = tuple([metric.cell(sums) for metric, _, _ in homes])
            else:
                cells = tuple([self._cell(metric, parts, group) for metric, parts, _ in homes])
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
