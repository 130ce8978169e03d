"""From a question to SQL: which marts answer it, why those, and one statement for each.

Every mart is summed to what the question splits by before anything is put together, so no row is ever counted twice.
Identifiers come from `stars` alone, values are bound, and tenant, sites and lines of the asker's scope stand in every
WHERE. What Python makes of a column (weeks, areas) is grouped by that column here and folded afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.semantic.dimensions import Dimension
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.metrics import Distinct, Metric
from cloud.bi.semantic.periods import Span
from cloud.bi.semantic.places import Allowed, Line
from cloud.bi.semantic.plan import Grain
from cloud.bi.semantic.stars import MARTS, TIME_MODEL, Mart, kept_by

GRAIN_COLUMNS: Final[dict[Grain, tuple[str, ...]]] = {
    "hour": ("start_ms",),
    "shift": ("start_ms", "business_date", "shift"),
    "day": ("business_date",),
    "week": ("business_date",),
    "month": ("business_date",),
}
NAMED: Final = 256
"""So many lines at most are named one by one; beyond that a table's index by date finds them all."""
_SIDE_BY_SIDE: Final = frozenset(name for name in TIME_MODEL if name.endswith(("_ms", "_us")))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Values of one column that are wanted, or not."""

    dimension: str
    column: str
    wanted: bool
    values: tuple[str, ...]

    def holds(self, value: str) -> bool:
        return (value in self.values) == self.wanted


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question whose names are known and whose places and dates are settled."""

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    chosen: tuple[Chosen, ...]
    """Filters that SQL takes."""
    derived: tuple[tuple[Dimension, bool, frozenset[str]], ...]
    """Filters on what is made of a column: dimension, wanted or not, keys."""
    grain: Grain | None
    tenant: str
    allowed: Allowed
    lines_named: bool
    """A filter names places below the site."""
    spans: Mapping[str, Span]
    lines: tuple[Line, ...] = ()
    """Every line within the scope: rows are found by naming them, in the table's own order, and need no sorting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One mart's share of an answer, and why it is this mart."""

    mart: Mart
    metrics: tuple[str, ...]
    measures: tuple[str, ...]
    columns: tuple[str, ...]
    """Grouped by, in this order."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """SQL with its values, bound in order."""

    part: Part
    sql: str
    values: tuple[Any, ...]


def route(query: Query) -> tuple[Part, ...]:
    """Choose the marts. Raises PlanError for what no mart knows."""
    wanted: dict[str, list[tuple[Metric, tuple[str, ...]]]] = {}
    for position, metric in enumerate(query.metrics):
        try:
            for mart, measures in _of(query, metric):
                wanted.setdefault(mart.name, []).append((metric, measures))
        except PlanError as error:
            raise error.at(f"metrics.{position}") from None
    marts = {mart.name: mart for mart in MARTS}
    parts: list[Part] = []
    for name, uses in wanted.items():
        mart = marts[name]
        measures = {one for _, own in uses for one in own}
        if measures & _SIDE_BY_SIDE and query.grain is None:  # analyses of its parts read the time model as a whole
            measures |= {one for one in TIME_MODEL if one in mart.measures}
        columns = dict.fromkeys(_columns(query))
        for metric, _ in uses:
            if isinstance(metric.what, Distinct):
                columns[metric.what.column] = None
            if "one_unit" in metric.guards and not metric.stock:
                columns["unit"] = None
        parts.append(
            Part(
                mart=mart,
                metrics=tuple(dict.fromkeys(metric.id for metric, _ in uses)),
                measures=tuple(one for one in mart.measures if one in measures),
                columns=tuple(columns),
                why=_why(query, mart),
            )
        )
    return tuple(parts)


def _columns(query: Query) -> list[str]:
    found = list(GRAIN_COLUMNS[query.grain]) if query.grain else []
    found += [column for one in query.dimensions for column in one.columns]
    found += [column for one, _, _ in query.derived for column in one.columns]
    return list(dict.fromkeys(found))


def _needed(query: Query) -> dict[str, str]:
    """Give every column that a mart must be kept by, and what of the question asks for it."""
    needed: dict[str, str] = {}
    if query.grain:
        needed |= dict.fromkeys(GRAIN_COLUMNS[query.grain], f"grain {query.grain}")
    for one in (*query.dimensions, *(dimension for dimension, _, _ in query.derived)):
        needed |= {column: one.id for column in one.columns if column not in needed}
    needed |= {one.column: one.dimension for one in query.chosen if one.column not in needed}
    if query.lines_named:
        needed.setdefault("work_unit", "line")
    if query.grain != "hour" and any(span.instances for span in query.spans.values()):
        needed.setdefault("start_ms", "one shift")
    if query.grain != "hour" and any(span.shift is not None for span in query.spans.values()):
        needed.setdefault("shift", "one shift")
    return needed


def _fits(query: Query, mart: Mart, measures: Sequence[str], needed: Mapping[str, str]) -> bool:
    if (mart.name == "hour") != (query.grain == "hour"):
        return False
    return set(measures) <= set(mart.measures) and set(needed) <= set(mart.keys)


def _of(query: Query, metric: Metric) -> list[tuple[Mart, tuple[str, ...]]]:
    needed = _needed(query)
    if metric.stock and (over := [one.id for one in query.dimensions if one.columns == ("business_date",)]):
        raise PlanError(
            f"{metric.id} does not add up over time, so it has no {over[0]}",
            "ask for a grain of day, week or month: each step then has its last count",
        )
    if isinstance(metric.what, Distinct):
        needed.setdefault(metric.what.column, metric.id)
    if "one_unit" in metric.guards:
        needed = {column: what for column, what in needed.items() if column != "unit"}
    whole = (*metric.measures, *metric.watched)
    for mart in MARTS:
        if _fits(query, mart, whole, needed):
            return [(mart, whole)]
    found: list[tuple[Mart, tuple[str, ...]]] = []
    for measures in (metric.numerator, metric.denominator, metric.watched):
        if measures:
            mart = next((one for one in MARTS if _fits(query, one, measures, needed)), None)
            if mart is None:
                raise _refuse(query, metric, measures, needed)
            found.append((mart, measures))
    return found


def _refuse(query: Query, metric: Metric, measures: Sequence[str], needed: Mapping[str, str]) -> PlanError:
    """Say what keeps a metric from being told this way, naming it, the dimension, and another metric that has it."""
    if query.grain == "hour" and not any(m.name == "hour" and set(measures) <= set(m.measures) for m in MARTS):
        return PlanError(f"{metric.id} is not kept by the hour", "ask for a grain of shift or day")
    holding = [mart for mart in MARTS if set(measures) <= set(mart.measures) and mart.name != "hour"]
    if query.grain == "hour":
        holding = [mart for mart in MARTS if mart.name == "hour"]
    best = max(holding, key=lambda mart: len(set(needed) & set(mart.keys)), default=None)
    if best is None:
        return PlanError(f"{metric.id} has parts that no mart holds together", "ask for its parts one by one")
    missing = next((needed[column] for column in needed if column not in best.keys), "all of this at once")
    others = [
        other.id
        for other in query.metrics
        if other is not metric and any(_fits(query, mart, other.measures, needed) for mart in MARTS)
    ]
    beside = f", which {others[0]} is" if others else ""
    return PlanError(
        f"{metric.id} is not kept by {missing}{beside}; it can be split by: {kept_by(best)}",
        f"leave out {missing}, or ask for {metric.id} on its own",
    )


def _why(query: Query, mart: Mart) -> str:
    if mart.name == "hour":
        return "hours are asked for"
    asked = [what for column, what in _needed(query).items() if column in mart.keys]
    if mart.name.startswith("day"):
        return "no shift is asked for: sums of whole days are enough"
    by_shift = {"shift", "start_ms"} & set(_needed(query))
    if mart.name in {"shift", "stop", "defect"} and by_shift:
        return f"{_needed(query)[min(by_shift)]} needs what is kept by shift"
    special = [what for what in asked if what not in {"site", "line", "area", "work_center", "date", "product"}]
    return f"only {mart.table} holds it by {', '.join(dict.fromkeys(special))}" if special else f"kept in {mart.table}"


def statement(query: Query, part: Part) -> Statement:
    """Compile one mart's share."""
    mart = part.mart
    values: list[Any] = [query.tenant]
    where = ["tenant=?", _where(query, mart, values)]
    for one in query.chosen:
        where.append(f"{one.column} {'in' if one.wanted else 'not in'} ({_marks(one.values)})")
        values += one.values
    grouped = ", ".join(part.columns)
    sums = [f"cast(sum({mart.measures[name]}) as bigint)" for name in part.measures]
    # Without a group there is always one row; the count tells whether it stands for anything.
    selected = ", ".join([*part.columns, "count(*)", *sums])
    sql = f"select {selected} from {mart.table} where {' and '.join(where)}"  # noqa: S608 - names of `stars` only
    return Statement(part=part, sql=f"{sql} group by {grouped}" if grouped else sql, values=tuple(values))


def stock_statement(query: Query, part: Part, before: str) -> Statement:
    """Compile the counts of a stock, day by day, from a date before the period on: what is there is carried forward."""
    values: list[Any] = [query.tenant, before, max(span.last for span in query.spans.values())]
    where = ["tenant=?", "business_date>=?", "business_date<=?", f"site in ({_marks(query.allowed.sites)})"]
    values += query.allowed.sites
    for one in query.chosen:
        where.append(f"{one.column} {'in' if one.wanted else 'not in'} ({_marks(one.values)})")
        values += one.values
    sql = (
        "select site, material, location, business_date, unit, quantity_micro, coalesce(usage_micro, 0)"  # noqa: S608
        f" from {part.mart.table} where {' and '.join(where)} order by business_date"
    )
    return Statement(part=part, sql=sql, values=tuple(values))


def _marks(values: Sequence[Any] | frozenset[str]) -> str:
    return ",".join("?" * len(values))


def _where(query: Query, mart: Mart, values: list[Any]) -> str:
    """Give the places and times that may be read, sites that share their dates together."""
    groups: dict[tuple[str, tuple[Any, ...]], list[tuple[str, frozenset[str] | None]]] = {}
    by_line = "work_unit" in mart.keys
    for site, units in query.allowed.lines:
        if (span := query.spans.get(site)) is not None:
            if units is None and by_line and len(query.lines) <= NAMED:
                units = frozenset(unit for own, unit in query.lines if own == site) or None  # noqa: PLW2901
            when = _when(mart, span, narrow=by_line and units is not None)
            groups.setdefault(when, []).append((site, units if by_line else None))
    if not groups:
        return "1=0"
    either: list[str] = []
    for (when, bounds), sites in groups.items():
        values += bounds
        either.append(f"({when} and ({_places(sites, values)}))")
    return either[0] if len(either) == 1 else f"({' or '.join(either)})"


def _when(mart: Mart, span: Span, *, narrow: bool) -> tuple[str, tuple[Any, ...]]:
    if mart.name == "hour":
        return "start_ms>=? and start_ms<?", span.hours
    if span.instances:
        return f"start_ms in ({_marks(span.instances)})", span.instances
    sql, bounds = "business_date>=? and business_date<=?", (span.first, span.last)
    if narrow and "start_ms" in mart.keys:  # says nothing new, and lets the table's own order find the line's rows
        sql, bounds = f"{sql} and start_ms>=? and start_ms<?", (*bounds, span.start_ms, span.end_ms)
    if span.shift is not None:
        sql, bounds = f"{sql} and shift=?", (*bounds, span.shift)
    return sql, bounds


def _places(sites: list[tuple[str, frozenset[str] | None]], values: list[Any]) -> str:
    whole = [site for site, units in sites if units is None]
    either: list[str] = []
    if whole:
        either.append(f"site in ({_marks(whole)})")
        values += whole
    for site, units in sites:
        if units is not None:
            either.append(f"site=? and work_unit in ({_marks(units)})")
            values += [site, *sorted(units)]
    return " or ".join(either)
