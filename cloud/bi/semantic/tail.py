"""The running shift's silent tail: what nobody has heard of since is unknown time, the same here as in the hall.

Marts count a running shift up to the newest data. Once a line has been silent for too long, the hall adds the time
since as unknown (`overview.silent_tail`); here the very same is added as rows of the marts that hold time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.overview import NS, SILENT_MS, silent_tail
from cloud.bi.semantic.compile import Part, Query
from cloud.bi.semantic.periods import Span
from cloud.bi.semantic.places import Line, Places
from cloud.database import Connection
from cloud.marts.calendar import Instance
from cloud.marts.measure import COLUMN

HOLD_TIME: Final = frozenset({"day", "shift", "day_stop", "stop"})
"""Marts whose running shift goes on without data."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What one line has been silent about in its running shift."""

    line: Line
    instance: Instance
    sums: Mapping[str, int]
    """Measure → ms."""

    def row(self, part: Part) -> list[list[Any]]:
        """Give it as rows of a mart: columns, then measures."""
        site, unit = self.line
        base = {
            "site": site,
            "work_unit": unit,
            "start_ms": self.instance.start_ms,
            "business_date": self.instance.business_date,
            "shift": self.instance.shift,
            "product": "",
        }
        if part.mart.name in {"day", "shift"}:
            return [[base[c] for c in part.columns] + [self.sums.get(m, 0) for m in part.measures]]
        made: list[list[Any]] = []
        for element, column in COLUMN.items():
            if spent := self.sums.get(column, 0):
                more = {"element": element, "reason": "break" if element == "planned_down" else "UNDEFINED"}
                values = [(base | more)[c] for c in part.columns]
                made.append(values + [spent if m == "stop_ms" else 0 for m in part.measures])
        return made

    def keys(self, part: Part) -> list[dict[str, str]]:
        """Give what filters are held against, for each of its rows."""
        site, unit = self.line
        base = {"site": site, "work_unit": unit, "shift": self.instance.shift, "product": ""}
        base["business_date"] = self.instance.business_date
        if part.mart.name in {"day", "shift"}:
            return [base]
        return [
            base | {"element": element, "reason": "break" if element == "planned_down" else "UNDEFINED"}
            for element, column in COLUMN.items()
            if self.sums.get(column, 0)
        ]


def tails(connection: Connection, places: Places, data_at: Mapping[Line, int | None], now_ms: int) -> list[Tail]:
    """Give what every line of the scope that went silent has not told of its running shift. data_at: ns."""
    found: list[Tail] = []
    current = {site: plant.calendar.at(now_ms) for site, plant in places.plants.items()}
    for line in places.lines:
        instance, newest = current[line[0]], data_at.get(line)
        if not instance.scheduled or (newest is not None and now_ms - newest // NS <= SILENT_MS):
            continue
        zero = dict.fromkeys(("scheduled_ms", *COLUMN.values()), 0)
        grown = silent_tail(zero, instance, newest, now_ms)
        if grown is zero or not grown["scheduled_ms"]:
            continue
        grown["calendar_ms"] = grown["scheduled_ms"]
        found.append(Tail(line, instance, grown))
    # Where nothing of this shift has been told yet there is no figure; the hall says so, too.
    told = {one for site, instance in current.items() for one in _told(connection, places, site, instance, found)}
    return [one for one in found if one.line in told]


def _told(
    connection: Connection, places: Places, site: str, instance: Instance, found: Sequence[Tail]
) -> Iterable[Line]:
    units = [tail.line[1] for tail in found if tail.line[0] == site]
    if not units:
        return []
    sql = (
        "select distinct work_unit from mart_shift where tenant=? and site=?"  # noqa: S608 - marks only
        f" and work_unit in ({','.join('?' * len(units))}) and start_ms=?"
    )
    rows = connection.execute(sql, (places.scope.tenant, site, *units, instance.start_ms))
    return [(site, unit) for (unit,) in rows]


def running(query: Query, places: Places, now_ms: int) -> bool:
    """Tell whether a question holds a shift that still lasts."""
    return any(_holds(span, places.plants[site].calendar.at(now_ms)) for site, span in query.spans.items())


def within(query: Query, tail: Tail) -> bool:
    """Tell whether a line's running shift lies within a question's places and dates."""
    span = query.spans.get(tail.line[0])
    return span is not None and query.allowed.holds(*tail.line) and _holds(span, tail.instance)


def _holds(span: Span, instance: Instance) -> bool:
    if span.instances:
        return instance.start_ms in span.instances
    return span.first <= instance.business_date <= span.last and span.shift in {None, instance.shift}


def rows(query: Query, part: Part, found: Iterable[Tail]) -> list[Sequence[Any]]:
    """Give the tails that a mart's share of an answer has to count."""
    made: list[Sequence[Any]] = []
    for tail in found:
        if within(query, tail):
            made += [
                row
                for row, keys in zip(tail.row(part), tail.keys(part), strict=True)
                if all(one.holds(keys.get(one.column, "")) for one in query.chosen)
            ]
    return made
