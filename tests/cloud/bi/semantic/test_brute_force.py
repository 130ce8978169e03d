"""Every metric, split every way it can be, equals what plain Python makes of the same rows; on both databases."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import defaultdict
from datetime import date, timedelta
from typing import Any

import pytest

from cloud.bi import kpi
from cloud.bi.semantic.book import book, possible
from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.dimensions import DIMENSIONS
from cloud.bi.semantic.plan import Filter, Period
from cloud.bi.semantic.scope import Scope
from tests.cloud.bi.semantic.conftest import DAYS, FIRST, LINES, Truth, looked

LAST = FIRST + timedelta(days=DAYS - 1)
WHOLE = Period(first=FIRST, last=LAST)


def busy(s: dict[str, int]) -> int:
    return s["apt_ms"] + s["setup_ms"] + s["delay_ms"] + s["down_ms"] + s["unknown_ms"]


def over(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def planned(s: dict[str, int], value: float | None) -> float | None:
    return value if busy(s) else None


def rated(s: dict[str, int], value: float | None) -> float | None:
    return None if s["unrated"] else value


# Written down a second time on purpose, by hand: metric → (mart, value of its sums).
SHIFT: dict[str, Any] = {
    **{
        name: (lambda s, n=name: s[n])
        for name in ("produced", "good", "scrap", "rework", "failures", "judgments", "warnings", "criticals")
    },
    "unknown_verdicts": lambda s: s["unknowns"],
    "planned": lambda s: s["planned_micro"] / 1e6,
    "oee": lambda s: rated(s, None if s["unknown_ms"] == busy(s) else over(s["ideal_good_us"] / 1000, busy(s))),
    "availability": lambda s: over(s["apt_ms"], busy(s)),
    "effectiveness": lambda s: planned(s, rated(s, over(s["ideal_us"] / 1000, s["apt_ms"]))),
    "quality_ratio": lambda s: rated(s, over(s["ideal_good_us"], s["ideal_us"])),
    "teep": lambda s: rated(s, over(s["ideal_good_us"] / 1000, s["calendar_ms"])),
    "first_pass_yield": lambda s: over(s["good"], s["produced"]),
    "defect_rate": lambda s: over(s["produced"] - s["good"], s["produced"]),
    "scrap_ratio": lambda s: over(s["scrap"], s["produced"]),
    "rework_ratio": lambda s: over(s["rework"], s["produced"]),
    "planned_busy_time": lambda s: busy(s) / 1000,
    "production_time": lambda s: s["apt_ms"] / 1000,
    "setup_time": lambda s: s["setup_ms"] / 1000,
    "delay_time": lambda s: s["delay_ms"] / 1000,
    "downtime": lambda s: s["down_ms"] / 1000,
    "planned_downtime": lambda s: s["planned_down_ms"] / 1000,
    "unknown_time": lambda s: s["unknown_ms"] / 1000,
    "calendar_time": lambda s: s["calendar_ms"] / 1000,
    "mtbf": lambda s: over(s["apt_ms"] / 3_600_000, s["failures"]),
    "mttr": lambda s: over(s["down_ms"] / 60_000, s["failures"]),
    "throughput": lambda s: over(s["produced"] * 3_600_000, busy(s)),
    "schedule_attainment": lambda s: over(s["produced"], s["planned_micro"] / 1e6),
    "energy": lambda s: s["energy_wh"],
    "energy_per_piece": lambda s: over(s["energy_wh"], s["produced"]) if s["energy_wh"] else None,
    "critical_ratio": lambda s: over(s["criticals"], s["judgments"]),
}
OTHERS: dict[str, tuple[str, Any]] = {
    "defects": ("defect", lambda s: s["quantity"]),
    "stops": ("stop", lambda s: s["stops"]),
    "stop_time": ("stop", lambda s: s["duration_ms"] / 1000),
    "confidence": ("judgment", lambda s: over(s["confidence_ppm"] / 1e6, s["judgments"])),
    "measured": ("quality", lambda s: s["measured"]),
    "quality_failed_ratio": ("quality", lambda s: over(s["failed"], s["measured"])),
    "measured_mean": ("quality", lambda s: None if len(s["units"]) > 1 else over(s["total_micro"] / 1e6, s["valued"])),
}
ORDERS = ("produced", "good", "scrap", "rework", "first_pass_yield", "defect_rate", "scrap_ratio", "rework_ratio", "quality_ratio", "energy", "energy_per_piece")  # fmt: skip
VERDICTS = ("judgments", "warnings", "criticals", "unknown_verdicts", "critical_ratio")
HOURS = ("produced", "good", "scrap", "rework", "first_pass_yield", "defect_rate", "scrap_ratio", "rework_ratio", "energy", "energy_per_piece")  # fmt: skip


def place(row: dict[str, Any], depth: int) -> str:
    return _place(row["site"], row["work_unit"], depth)


@functools.cache
def _place(at: str, work_unit: str, depth: int) -> str:
    path = "/".join(work_unit.split("/")[:depth])
    owners = {site for site, units in LINES.items() for unit in units if unit.startswith(path)}
    return f"{at}:{path}" if len(owners) > 1 else path


@functools.cache
def iso_week(day: str) -> str:
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02d}"


@functools.cache
def _weekday(day: str) -> str:
    return str(date.fromisoformat(day).isoweekday())


KEY: dict[str, Any] = {
    "site": lambda r: r["site"],
    "area": lambda r: place(r, 1),
    "work_center": lambda r: place(r, 2),
    "line": lambda r: place(r, 3),
    "order": lambda r: r["job_order"],
    "date": lambda r: r["business_date"],
    "week": lambda r: iso_week(r["business_date"]),
    "month": lambda r: r["business_date"][:7],
    "weekday": lambda r: _weekday(r["business_date"]),
    "stop_reason": lambda r: r["reason"],
    "time_element": lambda r: r["element"],
}
STEP: dict[str | None, Any] = {
    None: lambda r: "",
    "shift": lambda r: (f"{r['business_date']} {r['shift']}".strip(), 0 if r["shift"] else r["start_ms"]),
    "day": lambda r: r["business_date"],
    "week": lambda r: iso_week(r["business_date"]),
    "month": lambda r: r["business_date"][:7],
    "hour": lambda r: r["start_ms"],
}


def key_of(name: str) -> Any:
    return KEY.get(name, lambda r: r[name])


def home(metric: str, dims: tuple[str, ...], grain: str | None) -> tuple[str, Any]:
    """Give the mart of the finest grain that knows this, and the formula."""
    if metric in OTHERS:
        return OTHERS[metric]
    mart = "shift"
    if grain == "hour":
        mart = "hour"
    elif {"order", "lot"} & set(dims):
        mart = "order"
    elif {"ruleset", "ruleset_version", "model"} & set(dims):
        mart = "judgment"
    return mart, SHIFT[metric]


def summed(truth: Truth, mart: str, dims: tuple[str, ...], grain: str | None, keep: Any = None) -> dict[Any, Any]:
    sums: dict[Any, Any] = {}
    step, keys = STEP[grain], [key_of(name) for name in dims]
    for row in truth.marts[mart]:
        if keep is None or keep(row):
            found = sums.setdefault((step(row), tuple([key(row) for key in keys])), defaultdict(int, units=set()))
            found["units"].add(row.get("unit"))
            for name, value in row.items():
                if value and isinstance(value, int):
                    found[name] += value
    return sums


def same(a: float | None, b: float | None) -> bool:
    return a is b is None or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12))


def check(
    table: Any, truth: Truth, metrics: list[str], dims: tuple[str, ...], grain: str | None, keep: Any = None
) -> None:
    got = {}
    for row in table.rows:
        step: Any = row.label
        if grain == "hour":
            step = row.start_ms
        if grain == "shift":
            step = (row.label, 0 if " " in row.label else row.start_ms)
        group = (step, row.keys)
        assert group not in got, "a group stands there twice"
        got[group] = row
    sums: dict[str, dict[Any, Any]] = {}
    for position, metric in enumerate(metrics):
        mart, formula = home(metric, dims, grain)
        if mart not in sums:
            sums[mart] = summed(truth, mart, dims, grain, keep)
        want = {group: formula(s) for group, s in sums[mart].items()}
        for group, value in want.items():
            if group not in got:  # nothing happened between two shifts
                assert grain == "shift", (metric, dims, grain, group)
                assert not group[0][0].count(" "), (metric, group)
                assert not value, (metric, group, value)
                continue
            cell = got[group].cells[position]
            assert same(cell.value, value), (metric, dims, grain, group, cell, value)
            assert (cell.value is None) == (cell.reason is not None), (metric, cell)
        for group, row in got.items():
            if group not in want:  # another metric's mart has it
                assert row.cells[position].value in {None, 0}, (metric, group, row.cells[position])


STOCKS = {"inventory", "inventory_coverage", "product_variety", "defects_per_piece"}
"""Tested on their own below."""


def able(dims: tuple[str, ...], grain: Any) -> list[str]:
    split = tuple(DIMENSIONS[name] for name in dims)
    return [name for name, metric in METRICS.items() if name not in STOCKS and possible(metric, split, grain)]


async def test_every_metric_split_every_way_equals_brute_force(database, two, truth: Truth) -> None:
    rng = random.Random(11)
    pairs = rng.sample(list(itertools.permutations(DIMENSIONS, 2)), 40)
    splits = [(), *((name,) for name in DIMENSIONS), *pairs]

    def ask(look: Any) -> int:
        asked = 0
        for dims, grain in itertools.product(splits, STEP):
            if metrics := able(dims, grain):
                asked += len(metrics)
                table = look.table(tuple(metrics), period=WHOLE, dimensions=dims, grain=grain, limit=100_000)
                assert not table.truncated
                check(table, truth, metrics, dims, grain)
                assert list(table.rows) == sorted(table.rows, key=lambda r: (r.start_ms or 0, r.label, r.keys))
        return asked

    assert await looked(database, two, ask) > 1_500


def test_what_can_be_asked_is_what_brute_force_knows() -> None:
    """The catalogue offers what the marts hold, no more and no less."""
    marts = {
        "shift": {"shift", "product"},
        "order": {"shift", "product", "order", "lot"},
        "judgment": {"shift", "product", "ruleset", "ruleset_version", "model"},
        "quality": {"shift", "product", "lot", "characteristic"},
        "defect": {"shift", "product", "defect"},
        "stop": {"shift", "stop_reason", "time_element"},
    }
    always = {"site", "area", "work_center", "line", "date", "week", "month", "weekday"}
    for entry in book()["metrics"]:
        name = entry["id"]
        if name in STOCKS:
            continue
        homes = ["shift" if name in SHIFT else OTHERS[name][0]]
        homes += ["order"] * (name in ORDERS) + ["judgment"] * (name in VERDICTS)
        assert set(entry["dimensions"]) == always.union(*(marts[one] for one in homes)), name
        assert ("hour" in entry["grains"]) == (name in HOURS), name
    assert possible(METRICS["inventory"], (DIMENSIONS["material"],), "day")
    assert not possible(METRICS["inventory"], (DIMENSIONS["line"],))
    assert not possible(METRICS["inventory"], (DIMENSIONS["weekday"],))


async def test_filters_equal_brute_force(database, two, truth: Truth) -> None:
    rng = random.Random(5)
    values = {
        "site": ["seoul", "berlin"],
        "line": ["seoul:bottling/line-1/filler", "press/line-9/press", "Line 2"],
        "product": ["P1", "P2", ""],
        "shift": ["A", "B", "N", ""],
        "weekday": ["1", "6", "7"],
        "week": ["2026-W12", "2026-W14"],
        "month": ["2026-03"],
        "date": ["2026-03-29", "2026-03-30"],
    }
    lines = {"Line 2": "bottling/line-2/filler"}

    def ask(look: Any) -> None:
        for _ in range(60):
            names = rng.sample(list(values), rng.randrange(1, 4))
            chosen = [
                (n, rng.random() < 0.7, rng.sample(values[n], rng.randrange(1, len(values[n]) + 1))) for n in names
            ]
            filters = tuple(Filter(dimension=n, op="in" if w else "not_in", values=tuple(v)) for n, w, v in chosen)
            first = FIRST + timedelta(days=rng.randrange(DAYS))
            last = first + timedelta(days=rng.randrange(DAYS))

            def keep(row: Any) -> bool:
                inside = first.isoformat() <= row["business_date"] <= last.isoformat()  # noqa: B023
                return inside and all((key_of(n)(row) in [lines.get(x, x) for x in v]) == w for n, w, v in chosen)  # noqa: B023

            dims, grain = (
                rng.choice([(), ("line",), ("product", "site"), ("weekday",)]),
                rng.choice([None, "shift", "day"]),
            )
            metrics = rng.sample(sorted(SHIFT), 4)
            period = Period(first=first, last=last)
            table = look.table(tuple(metrics), period=period, dimensions=dims, filters=filters, grain=grain)
            check(table, truth, metrics, dims, grain, keep)

    await looked(database, two, ask)


async def test_the_sum_over_any_split_is_the_total(database, two, truth: Truth) -> None:
    def ask(look: Any) -> None:
        for name, metric in METRICS.items():
            if metric.kind != "sum":
                continue
            (total,) = look.table((name,), period=WHOLE).rows
            for dimension in DIMENSIONS.values():
                if possible(metric, (dimension,)):
                    if dimension.id in {"order", "lot", "ruleset", "model", "ruleset_version"} and name in SHIFT:
                        continue  # another mart, of other random rows
                    rows = look.table((name,), period=WHOLE, dimensions=(dimension.id,)).rows
                    assert sum(row.cells[0].numerator for row in rows) == total.cells[0].numerator, (name, dimension.id)

    await looked(database, two, ask)


@pytest.mark.parametrize(
    "scope",
    [
        Scope("demo", sites=frozenset({"berlin"})),
        Scope("demo", lines=frozenset({("seoul", "bottling/line-2/filler"), ("berlin", "press/line-9/press")})),
        Scope("demo", sites=frozenset({"seoul"}), lines=frozenset({("berlin", "press/line-9/press")})),
    ],
    ids=["site", "lines", "nothing"],
)
async def test_a_scope_is_in_every_query(database, two, truth: Truth, scope: Scope) -> None:
    def ask(look: Any) -> None:
        metrics = [name for name in METRICS if name not in STOCKS]
        metrics = [name for name in metrics if name in SHIFT or name in OTHERS]
        for name in metrics:
            table = look.table((name,), period=WHOLE, dimensions=("site",))
            check(table, truth, [name], ("site",), None, lambda r: scope.allows(r["site"], r["work_unit"]))
        stock = look.table(("inventory",), period=WHOLE, dimensions=("site",))
        assert {row.keys[0] for row in stock.rows} <= {site for site in LINES if scope.allows(site)}

    if scope.sites and scope.lines:  # contradicting: nothing may be seen
        from cloud.bi.semantic.errors import PlanError

        with pytest.raises(PlanError, match="nothing here that you may see"):
            await looked(database, two, ask, scope=scope)
    else:
        await looked(database, two, ask, scope=scope)


async def test_a_stock_adds_up_over_places_and_the_last_counts_over_time(database, two, truth: Truth) -> None:
    counts = truth.marts["inventory"]

    def last(until: str, keep: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for row in sorted(counts, key=lambda r: r["business_date"]):
            if row["business_date"] <= until and keep(row):
                found[row["site"], row["material"], row["location"]] = row
        return found

    def ask(look: Any) -> None:
        (row,) = look.table(("inventory", "inventory_coverage"), period=WHOLE).rows
        whole = last(LAST.isoformat(), lambda r: True).values()
        stock, usage = sum(r["quantity_micro"] for r in whole), sum(r["usage_micro"] or 0 for r in whole)
        assert row.cells[0].value == stock / 1e6
        assert same(row.cells[1].value, over(stock, usage))
        by = look.table(("inventory",), period=WHOLE, dimensions=("material",), grain="day")
        for row in by.rows:
            there = last(row.label, lambda r, m=row.keys[0]: r["material"] == m).values()
            assert row.cells[0].value == sum(r["quantity_micro"] for r in there) / 1e6, row
        carried = look.table(
            ("inventory",), period=Period(first=LAST + timedelta(days=1), last=LAST + timedelta(days=1))
        )
        assert carried.rows[0].cells[0].value == stock / 1e6

    await looked(database, two, ask)


async def test_marts_are_summed_before_they_meet(database, two, truth: Truth) -> None:
    """Production beside three kinds of defects is not three times as much (fault F1)."""

    def ask(look: Any) -> None:
        table = look.table(("produced", "defects", "defects_per_piece"), period=WHOLE, dimensions=("product",))
        for row in table.rows:
            made = sum(r["produced"] for r in truth.marts["shift"] if r["product"] == row.keys[0])
            found = sum(r["quantity"] for r in truth.marts["defect"] if r["product"] == row.keys[0])
            assert [cell.value for cell in row.cells] == [made, found, made and found / made]
        kinds = {r["product"] for r in truth.marts["shift"] if r["produced"]}
        assert look.table(("product_variety",), period=WHOLE).rows[0].cells[0].value == len(kinds)

    await looked(database, two, ask)


async def test_oee_is_the_kpi_of_the_same_sums(database, two, truth: Truth) -> None:
    def ask(look: Any) -> None:
        metrics = ("oee", "availability", "effectiveness", "quality_ratio")
        for row in look.table(metrics, period=WHOLE, dimensions=("line", "product"), grain="shift").rows:
            figures = kpi.oee(kpi.sums_of(row.sums))
            if kpi.sums_of(row.sums).planned_busy_ms:
                assert [cell.value for cell in row.cells] == [getattr(figures, name) for name in metrics]
                assert row.cells[0].reason == figures.reason

    await looked(database, two, ask)
