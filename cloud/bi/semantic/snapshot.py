"""One reader's view of the marts at one moment: `Look` over one connection within one snapshot of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, TypeVar

from cloud.bi.overview import NS
from cloud.bi.semantic import catalogue, periods, tail
from cloud.bi.semantic.compile import Chosen, Part, Query, route, statement, stock_statement
from cloud.bi.semantic.dimensions import Dimension, dimension
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.fold import CARRIED_DAYS, Fold
from cloud.bi.semantic.ground import Aim, Ground, ground
from cloud.bi.semantic.metrics import Metric
from cloud.bi.semantic.names import Names
from cloud.bi.semantic.places import Allowed, Level, Line, Places
from cloud.bi.semantic.plan import Against, Filter, Grain, Period, Plan
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.table import Freshness, Table
from cloud.bi.semantic.values import Known, Values
from cloud.database import Connection
from cloud.plant import Plants

T = TypeVar("T")
_Question = tuple[tuple[str, ...], Period, tuple[str, ...], tuple[Filter, ...], Grain | None]


@dataclass(frozen=True, slots=True)
class Aimed:
    """What a figure should be, in the metric's unit."""

    target: float
    warning: float
    critical: float


class Snapshot:
    """Answers every question of one analysis from the same state of the database."""

    def __init__(
        self, connection: Connection, plants: Plants, scope: Scope, now_ms: int, known: Known | None = None
    ) -> None:
        """now_ms: the moment that words such as `today` and the running shift are read at.

        known: values that filters were found to have, kept from one snapshot to the next.
        """
        self._known: Known = set() if known is None else known
        self._connection = connection
        self._plants = plants
        self.scope = scope
        self._now_ms = now_ms
        self._spans: dict[Period, dict[str, periods.Span]] = {}
        self._queries: dict[_Question, Query] = {}
        self._fresh: dict[Any, Freshness] = {}
        self.touched: set[str] = set()
        """Tables that answered so far."""
        self.live = False
        """Something that answered is of a running shift, and holds time."""
        self.clocked = False
        """Somebody asked what time it is."""
        self.truncated = False

    @property
    def now_ms(self) -> int:
        self.clocked = True
        return self._now_ms

    @property
    def second(self) -> int:
        """Give the moment itself, for keys; figures that ask for `now_ms` say that they depend on it."""
        return self._now_ms

    @cached_property
    def _ground(self) -> Ground:
        return ground(self._connection, self.scope.tenant)

    @property
    def data_at(self) -> dict[Line, int | None]:
        """Give every line that was ever heard of, within the scope or not, and its newest datum in ns."""
        return self._ground.data_at

    @cached_property
    def places(self) -> Places:
        return Places(self._plants, self.scope, self.data_at)

    @cached_property
    def tails(self) -> list[tail.Tail]:
        return tail.tails(self._connection, self.places, self.data_at, self._now_ms)

    @property
    def versions(self) -> dict[str, int]:
        """Give how often each mart of the tenant was refreshed."""
        return self._ground.versions

    @property
    def aims(self) -> dict[tuple[str, str, str], Aim]:
        """Give (metric, site, work unit) → target, warning, critical; empty texts for everywhere."""
        return self._ground.aims

    @cached_property
    def _names(self) -> Names:
        return Names(self._connection, self.places)

    @cached_property
    def _values(self) -> Values:
        return Values(self._connection, self.places, self._known)

    def silent(self, sites: Sequence[str]) -> tuple[str, ...]:
        """Give the enrolled gateways of sites that are offline now."""
        seen = self._ground.gateways
        limit = self._plants.file.offline_after_s * 1000
        found: list[str] = []
        for address in self._plants.gateways(self.scope.tenant):
            if address.site not in sites:
                continue
            last, gone = seen.get((address.site, address.gateway), (None, None))
            online = last is not None and not (gone is not None and gone >= last) and self._now_ms - last <= limit
            if not online:
                found.append(address.gateway)
        return tuple(found)

    def table(
        self,
        metrics: tuple[str, ...],
        *,
        period: Period,
        dimensions: tuple[str, ...] = (),
        filters: tuple[Filter, ...] = (),
        grain: Grain | None = None,
        limit: int = 10_000,
    ) -> Table:
        """Give figures. Raises PlanError for what the catalogue or the scope does not know."""
        query = self.query(metrics, period=period, dimensions=dimensions, filters=filters, grain=grain)
        parts = route(query)
        fold = Fold(query, self.places, parts)
        for part in parts:
            self._run(query, part, fold)
        rows = fold.rows()
        self.truncated = self.truncated or len(rows) > limit
        starts = [one.start_ms for one in query.spans.values()] or [self._now_ms]
        ends = [one.end_ms for one in query.spans.values()] or [self._now_ms]
        firsts, lasts = ([getattr(one, end) for one in query.spans.values()] or [""] for end in ("first", "last"))
        return Table(
            metrics=tuple(one.id for one in query.metrics),
            dimensions=tuple(one.id for one in query.dimensions),
            rows=tuple(rows[:limit]),
            period_ms=(min(starts), max(ends)),
            dates=(min(firsts), max(lasts)),
            freshness=self.freshness(query),
            mart=tuple(part.mart.table for part in parts),
            truncated=len(rows) > limit,
        )

    def _run(self, query: Query, part: Part, fold: Fold) -> None:
        self.touched.add(part.mart.table)
        if not query.allowed.lines or not query.spans:
            return
        if part.mart.name == "inventory":
            first = date.fromisoformat(min(one.first for one in query.spans.values()))
            made = stock_statement(query, part, (first - timedelta(days=CARRIED_DAYS)).isoformat())
            fold.add_stock(part, self._connection.execute(made.sql, made.values))
            return
        made = statement(query, part)
        fold.add(part, self._connection.execute(made.sql, made.values))
        if part.mart.name in tail.HOLD_TIME and tail.running(query, self.places, self._now_ms):
            self.live = True
            fold.add(part, tail.rows(query, part, self.tails), counted=False)

    @cached_property
    def stamp(self) -> str:
        """Give what names and targets depend on beside the marts, as text."""
        return f"{self._ground.products} {sorted(self.aims.items())}"

    def query(
        self,
        metrics: tuple[str, ...],
        *,
        period: Period,
        dimensions: tuple[str, ...] = (),
        filters: tuple[Filter, ...] = (),
        grain: Grain | None = None,
    ) -> Query:
        """Settle a question's names, places and dates. Raises PlanError, naming the part of the plan at fault."""
        question = (metrics, period, dimensions, filters, grain)
        found = self._queries.get(question)
        if found is None:
            found = self._queries[question] = self._settled(*question)
        return found

    def _settled(
        self,
        metrics: tuple[str, ...],
        period: Period,
        dimensions: tuple[str, ...],
        filters: tuple[Filter, ...],
        grain: Grain | None,
    ) -> Query:
        self.places.first()
        meant = tuple(_at(f"metrics.{i}", catalogue.metric, name) for i, name in enumerate(metrics))
        split = tuple(_at(f"dimensions.{i}", dimension, name) for i, name in enumerate(dimensions))
        if len(set(split)) < len(split):
            raise PlanError("a dimension stands here twice", "name each once").at("dimensions")
        chosen: list[Chosen] = []
        derived: list[tuple[Dimension, bool, frozenset[str]]] = []
        places: list[tuple[Level, bool, frozenset[Line]]] = []
        for i, one in enumerate(filters):
            about = _at(f"filters.{i}.dimension", dimension, one.dimension)
            wanted = one.op == "in"
            try:
                if about.level is not None:
                    places.append((about.level, wanted, self.places.matching(about.level, one.values)))
                    continue
                values = self._values.checked(about, one.values)
            except PlanError as error:
                raise error.at(f"filters.{i}.values") from None
            if about.key is None:
                chosen.append(Chosen(about.id, about.columns[0], wanted, values))
            else:
                derived.append((about, wanted, frozenset(values)))
        try:
            allowed = self.places.allowed(places)
            spans = self.spans(period)
        except PlanError as error:
            raise error.at("period") from None
        return Query(
            metrics=meant,
            dimensions=split,
            chosen=tuple(chosen),
            derived=tuple(derived),
            grain=grain,
            tenant=self.scope.tenant,
            allowed=Allowed(tuple(line for line in allowed.lines if line[0] in spans)),
            lines_named=any(level != "site" for level, _, _ in places),
            spans={site: spans[site] for site in allowed.sites if site in spans},
            lines=self.places.lines,
        )

    def spans(self, period: Period) -> dict[str, periods.Span]:
        """Give what a period means at each site of the scope. Raises PlanError."""
        found = self._spans.get(period)
        if found is None:
            found = self._spans[period] = periods.spans(period, self.places.plants, self._now_ms)
        return found

    def explain(self, plan: Plan) -> dict[str, Any]:
        """Say which marts answer a plan's own figures and why, by what SQL, and within which places and dates."""
        query = self.query(
            plan.metrics, period=plan.period, dimensions=plan.dimensions, filters=plan.filters, grain=plan.grain
        )
        parts = route(query)
        return {
            "plan": plan.model_dump(mode="json"),
            "metrics": [{"id": one.id, "kind": one.kind, "hash": one.hash} for one in query.metrics],
            "marts": [
                {
                    "mart": part.mart.table,
                    "metrics": list(part.metrics),
                    "grouped_by": list(part.columns),
                    "measures": list(part.measures),
                    "why": part.why,
                    "sql": statement(query, part).sql,
                }
                for part in parts
            ],
            "sites": list(query.allowed.sites),
            "lines": None
            if not query.allowed.narrowed
            else [f"{site}/{unit}" for site, units in query.allowed.lines for unit in sorted(units or ())],
            "dates": {site: [one.first, one.last] for site, one in query.spans.items()},
        }

    def freshness(self, query: Query) -> Freshness:
        """Tell how current what a query reads is."""
        within = (query.allowed, tuple(query.spans.items()))
        found = self._fresh.get(within)
        if found is None:
            found = self._fresh[within] = self._freshness(query)
        return found

    def _freshness(self, query: Query) -> Freshness:
        lines = [line for line in self.places.lines if query.allowed.holds(*line)]
        newest = [self.data_at.get(line) for line in lines]
        oldest = None if not newest or None in newest else min(at for at in newest if at is not None) // NS
        return Freshness(
            as_of_ms=self._now_ms,
            data_at_ms=oldest,
            pending_buckets=self._pending(query),
            silent=self.silent(query.allowed.sites),
        )

    def _pending(self, query: Query) -> int:
        if not query.spans:
            return 0
        rows = self._connection.execute(
            "select site, work_unit, count(*) from dirty_bucket where tenant=? and due_ms<=? and start_ms>=? and"
            " start_ms<? group by site, work_unit",
            (
                self.scope.tenant,
                self._now_ms,
                min(one.start_ms for one in query.spans.values()),
                max(one.end_ms for one in query.spans.values()),
            ),
        )
        return sum(
            int(count)
            for site, unit, count in rows
            if (query.allowed.holds(site, unit) if unit else site in query.allowed.sites)
        )

    def dated(self, period: Period) -> Period:
        """Give the business dates that a period's word means now, at the first site within the scope."""
        return periods.dated(period, self.places.first(), self._now_ms)

    def against(self, period: Period, against: Against | Period) -> Period:
        """Give the dated period that another is held against."""
        return periods.against(period, against, self.places.first(), self._now_ms)

    def metric(self, name: str) -> Metric:
        return catalogue.metric(name)

    def dimension(self, name: str) -> Dimension:
        return dimension(name)

    def label(self, dimension: str, value: str) -> dict[str, str]:
        """Give the name of a dimension's value in both languages; the code itself where nobody named it."""
        return self._names.label(dimension, value)

    def values(self, name: str, limit: int = 200) -> list[str]:
        """Give values that a dimension has within the scope, to choose from."""
        return self._values.some(dimension(name), limit)

    def target(self, metric: str, line: str | None = None, site: str | None = None) -> Aimed | None:
        """Give the target in force: the line's own, else its site's, else the catalogue's; None where nobody set one.

        Without a line and a site it is the first site's within the scope: see `common`.
        """
        name = catalogue.metric(metric).id
        place = None if line is None else self.places.line(line)
        own, unit = place or (next(iter(self.places.sites(site)), ""), "")
        tried = ((name, own, unit), (name, own, ""), (name, "", ""))
        found = next((self.aims[key] for key in tried if key in self.aims), None)
        return None if found is None else Aimed(*found)

    def common(self, metric: str) -> Aimed | None:
        """Give the target that is in force at every site within the scope; None where sites differ."""
        found = {self.target(metric, site=site) for site in self.places.sites(None)}
        return found.pop() if len(found) == 1 else None


def _at(field: str, look: Callable[[str], T], name: str) -> T:
    try:
        return look(name)
    except PlanError as error:
        raise error.at(field) from None
