"""Figures of a small plant, kept as rows: what the analyses look at in their tests. It sums, filters and groups, no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from cloud.bi.analyses.look import Better, Kind
from cloud.bi.semantic.plan import Against, Filter, Grain, Period
from cloud.bi.semantic.table import Cell, Freshness, Row, Table

DAY_MS = 86_400_000
SHIFT_HOURS = {"A": 0, "B": 8, "C": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A metric: which measures it is made of."""

    id: str
    title: dict[str, str]
    kind: Kind
    unit: str
    better: Better | None
    top: tuple[str, ...]
    bottom: tuple[str, ...] = ()
    factor: float = 1.0
    reason: str = "no_data"


@dataclass(frozen=True, slots=True)
class Named:
    title: dict[str, str]


@dataclass(frozen=True, slots=True)
class Aim:
    target: float
    warning: float
    critical: float


BUSY = ("apt_ms", "setup_ms", "delay_ms", "down_ms", "unknown_ms")


def _known(name: str, kind: Kind, unit: str, better: Better | None, top: Sequence[str], bottom: Sequence[str] = (), factor: float = 1.0, ko: str = "", reason: str = "no_data") -> Known:  # fmt: skip
    title = {"en": name.replace("_", " "), "ko": ko or name}
    return Known(id=name, title=title, kind=kind, unit=unit, better=better, top=tuple(top), bottom=tuple(bottom), factor=factor, reason=reason)  # fmt: skip


METRICS = {
    one.id: one
    for one in (
        _known("produced", "sum", "pieces", "higher", ["produced"], ko="생산 수량"),
        _known("good", "sum", "pieces", "higher", ["good"], ko="양품 수량"),
        _known("scrap", "sum", "pieces", "lower", ["scrap"], ko="폐기 수량"),
        _known("defects", "sum", "pieces", "lower", ["defects"], ko="불량 수량"),
        _known("oee", "ratio", "1", "higher", ["ideal_good_us"], BUSY, 1e-3, "설비종합효율", "no_plan"),
        _known("availability", "ratio", "1", "higher", ["apt_ms"], BUSY, 1.0, "가동률", "no_plan"),
        _known("effectiveness", "ratio", "1", "higher", ["ideal_us"], ["apt_ms"], 1e-3, "성능", "no_production"),
        _known("scrap_ratio", "ratio", "1", "lower", ["scrap"], ["produced"], 1.0, "불량률", "no_pieces"),
        _known("planned_busy_time", "sum", "s", None, BUSY, factor=1e-3, ko="계획 가동 시간"),
        _known("downtime", "sum", "s", "lower", ["down_ms"], factor=1e-3, ko="비가동 시간"),
        _known("stop_time", "sum", "s", "lower", ["duration_ms"], factor=1e-3, ko="정지 시간"),
        _known(
            "throughput", "ratio", "pieces/h", "higher", ["produced"], BUSY, 3_600_000.0, "시간당 생산량", "no_plan"
        ),
        _known(
            "mtbf", "ratio", "h", "higher", ["apt_ms"], ["failures"], 1 / 3_600_000, "평균 고장 간격", "no_failures"
        ),
        _known("inventory", "stock", "pieces", None, ["stock"], ko="재고"),
    )
}
DIMENSIONS = {
    "line": ("라인", "Line"),
    "product": ("제품", "Product"),
    "shift": ("교대", "Shift"),
    "stop_reason": ("정지 사유", "Stop reason"),
    "time_element": ("시간 구분", "Time element"),
    "defect": ("불량 유형", "Defect"),
}
OWN = {"stop_time": "stop", "defects": "defect"}
"""Metrics of other marts: their facts have their own measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Measures of one place and shift instance."""

    day: date
    shift: str = "A"
    line: str = "L1"
    product: str = "P1"
    of: str = "shift"
    """shift, stop or defect: which mart."""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    measures: Mapping[str, int]

    def start_ms(self) -> int:
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return round(midnight.timestamp() * 1000) + SHIFT_HOURS[self.shift] * 3_600_000

    def value(self, dimension: str) -> str:
        plain = {"line": self.line, "product": self.product, "shift": self.shift}
        return plain[dimension] if dimension in plain else self.keys.get(dimension, "")


class PlantError(ValueError):
    """A name that nobody knows."""


@dataclass
class Plant:
    """A table-backed look."""

    facts: Sequence[Fact]
    today: date = date(2026, 11, 23)
    targets: Mapping[tuple[str, str | None], Aim] = field(default_factory=dict[tuple[str, str | None], Aim])
    names: Mapping[tuple[str, str], dict[str, str]] = field(default_factory=dict[tuple[str, str], dict[str, str]])
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    @property
    def now_ms(self) -> int:
        return round(datetime(self.today.year, self.today.month, self.today.day, tzinfo=UTC).timestamp() * 1000)

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
        dated = self.dated(period)
        assert dated.first is not None
        assert dated.last is not None
        for name in (*dimensions, *(one.dimension for one in filters)):
            self.dimension(name)
        self.asked.append(metrics)
        marts = {OWN.get(name, "shift") for name in metrics}
        groups: dict[tuple[str, tuple[str, ...]], dict[str, int]] = {}
        starts: dict[tuple[str, tuple[str, ...]], int] = {}
        for fact in self.facts:
            if not dated.first <= fact.day <= dated.last or fact.of not in marts:
                continue
            if any((fact.value(one.dimension) in one.values) != (one.op == "in") for one in filters):
                continue
            key = (_label(fact, grain), tuple(fact.value(one) for one in dimensions))
            sums = groups.setdefault(key, {})
            starts[key] = min(starts.get(key, fact.start_ms()), fact.start_ms())
            for name, value in fact.measures.items():
                sums[name] = sums.get(name, 0) + value
        ordered = sorted(groups, key=lambda key: (starts[key] if grain else 0, key))
        rows = tuple(
            Row(
                start_ms=starts[key] if grain else None,
                label=key[0],
                keys=key[1],
                cells=tuple(_cell(self.metric(name), groups[key]) for name in metrics),
                sums=groups[key],
            )
            for key in ordered
        )
        first = Fact(day=dated.first, measures={}).start_ms()
        return Table(
            metrics=metrics,
            dimensions=dimensions,
            rows=rows[:limit],
            period_ms=(first, Fact(day=dated.last, measures={}).start_ms() + DAY_MS),
            dates=(str(dated.first), str(dated.last)),
            freshness=Freshness(as_of_ms=self.now_ms, data_at_ms=self.now_ms, pending_buckets=0),
            mart=tuple(sorted(marts)),
            truncated=len(rows) > limit,
        )

    def dated(self, period: Period) -> Period:
        if period.relative is None:
            return period
        length = {"last_7_days": 7, "last_30_days": 30, "last_90_days": 90, "today": 1}[period.relative]
        return Period(first=self.today - timedelta(days=length - 1), last=self.today)

    def against(self, period: Period, against: Against | Period) -> Period:
        if isinstance(against, Period):
            return self.dated(against)
        dated = self.dated(period)
        assert dated.first is not None
        assert dated.last is not None
        back = {"previous": (dated.last - dated.first).days + 1, "same_last_week": 7, "same_last_year": 364}[against]
        return Period(first=dated.first - timedelta(days=back), last=dated.last - timedelta(days=back))

    def metric(self, name: str) -> Known:
        if name not in METRICS:
            raise PlantError(name)
        return METRICS[name]

    def dimension(self, name: str) -> Named:
        if name not in DIMENSIONS:
            raise PlantError(name)
        ko, en = DIMENSIONS[name]
        return Named({"ko": ko, "en": en})

    def label(self, dimension: str, value: str) -> dict[str, str]:
        return self.names.get((dimension, value), {"ko": value, "en": value})

    def target(self, metric: str, line: str | None = None, site: str | None = None) -> Aim | None:
        return self.targets.get((metric, line)) or self.targets.get((metric, None))

    def common(self, metric: str) -> Aim | None:
        return self.target(metric)


def _label(fact: Fact, grain: Grain | None) -> str:
    match grain:
        case None:
            return ""
        case "day":
            return str(fact.day)
        case "week":
            year, week, _ = fact.day.isocalendar()
            return f"{year}-W{week:02}"
        case "month":
            return f"{fact.day:%Y-%m}"
        case _:
            return f"{fact.day} {fact.shift}"


def _cell(known: Known, sums: Mapping[str, int]) -> Cell:
    top = float(sum(sums.get(name, 0) for name in known.top))
    if not known.bottom:
        return Cell(value=top * known.factor, numerator=top)
    bottom = float(sum(sums.get(name, 0) for name in known.bottom))
    if bottom <= 0:
        return Cell(value=None, numerator=top, denominator=bottom, reason=known.reason)
    return Cell(value=top / bottom * known.factor, numerator=top, denominator=bottom)


def days(count: int, last: date = date(2026, 11, 22)) -> list[date]:
    """Give `count` days up to the last."""
    return [last - timedelta(days=back) for back in range(count - 1, -1, -1)]


def shift_of(
    *, minutes: int = 480, pieces: int = 1000, bad: int = 20, down: int = 30, setup: int = 0, cycle_us: int = 20_000_000,
    planned: int | None = None, rework: int = 0,
) -> dict[str, int]:  # fmt: skip
    """Give the measures of a shift that closes: minutes planned, of them some down or in setup, the rest producing."""
    return {
        "calendar_ms": minutes * 60_000,
        "scheduled_ms": minutes * 60_000,
        "apt_ms": (minutes - down - setup) * 60_000,
        "setup_ms": setup * 60_000,
        "delay_ms": 0,
        "down_ms": down * 60_000,
        "planned_down_ms": 0,
        "unknown_ms": 0,
        "produced": pieces,
        "good": pieces - bad - rework,
        "scrap": bad,
        "rework": rework,
        "unrated": 0,
        "ideal_us": pieces * cycle_us,
        "ideal_good_us": (pieces - bad - rework) * cycle_us,
        "planned_micro": 0 if planned is None else planned * 1_000_000,
        "failures": 1 if down else 0,
    }


def grid(
    measure: Callable[[date, str, str, str], Mapping[str, int]],
    *,
    count: int,
    lines: Sequence[str] = ("L1",),
    products: Sequence[str] = ("P1",),
    shifts: Sequence[str] = ("A", "B", "C"),
    last: date = date(2026, 11, 22),
) -> list[Fact]:
    """Give facts for every day, shift, line and product."""
    return [
        Fact(day=day, shift=shift, line=line, product=product, measures=measure(day, shift, line, product))
        for day in days(count, last)
        for shift in shifts
        for line in lines
        for product in products
    ]
