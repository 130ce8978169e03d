"""One business date of one site: its lines side by side with their ranks, and its quality in one row."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from cloud.bi import kpi
from cloud.database import Connection
from cloud.marts.calendar import Calendar
from cloud.marts.days import achievement, add, oee_columns, time_columns
from cloud.marts.shifts import Rows
from cloud.tables import MEASURES

NS: Final = 1_000_000
WEIGHTS: Final = (0.3, 0.4, 0.3)
"""Of availability, yield and achievement within the performance score."""

_OF_DATE: Final = "where tenant=? and site=? and business_date=?"


def compute(connection: Connection, tenant: str, site: str, business_date: str, calendar: Calendar) -> Rows:
    """Give the rows of a site's date from the marts of the shift grain, and its alarms; only reads."""
    key = (tenant, site, business_date)
    lines: dict[str, dict[str, int]] = {}
    products: dict[str, set[str]] = {}
    for unit, product, *values in connection.execute(
        f"select work_unit, product, {', '.join(MEASURES)} from mart_shift {_OF_DATE}",  # noqa: S608 - ours
        key,
    ):
        sums = dict.fromkeys(MEASURES, 0)
        add(sums, values)
        add(lines.setdefault(unit, dict.fromkeys(MEASURES, 0)), values)
        if sums["produced"] > 0:
            products.setdefault(unit, set()).add(product)
    alarms = _alarms(connection, tenant, site, calendar, business_date)
    rows = [
        _line(key, unit, sums, len(products.get(unit, ())), alarms.get(unit, 0)) for unit, sums in sorted(lines.items())
    ]
    return {"mv_line_performance": _ranked(rows), "mv_quality_summary": _summary(connection, key, lines)}


def _line(
    key: tuple[str, str, str], unit: str, sums: dict[str, int], products: int, alarms: int
) -> tuple[tuple[Any, ...], float | None]:
    """Give a line's row without its rank, and its score."""
    tenant, site, business_date = key
    rejected = sums["produced"] - sums["good"]
    pieces = (sums["produced"], sums["good"], sums["scrap"], rejected, sums["planned_micro"])
    figures, reason, _ = oee_columns(sums)
    achieved = achievement(sums)
    counts = tuple(sums[name] for name in ("judgments", "warnings", "criticals"))
    used = kpi.ratio(sums["ideal_us"], sums["scheduled_ms"] * 1000) if sums["unrated"] == 0 else None
    parts = (figures[0], kpi.ratio(sums["good"], sums["produced"]), achieved)
    score = None
    if None not in parts:
        score = 100 * sum(weight * (part or 0.0) for weight, part in zip(WEIGHTS, parts, strict=True))
    row = (
        *(tenant, site, unit, business_date, *time_columns(sums), sums["scheduled_ms"], *pieces),
        *(kpi.ratio(rejected, sums["produced"]), *figures, achieved, reason, products, *counts, alarms),
        *(sums["failures"], used, score),
    )
    return row, score


def _ranked(rows: list[tuple[tuple[Any, ...], float | None]]) -> list[tuple[Any, ...]]:
    """Give every row its rank by score: equal ones share it, and a line without a score has none."""
    scores = [score for _, score in rows if score is not None]
    return [(*row, None if score is None else 1 + sum(other > score for other in scores)) for row, score in rows]


def _alarms(connection: Connection, tenant: str, site: str, calendar: Calendar, business_date: str) -> dict[str, int]:
    """Count the alarms that became active, by line: each line has its own, not everybody's."""
    instances = calendar.day(business_date)
    if not instances:
        return {}
    span = (instances[0].start_ms * NS, instances[-1].end_ms * NS)
    return dict(
        connection.execute(
            "select work_unit, count(*) from alarm_change where tenant=? and at>=? and at<? and site=? and active"
            " group by work_unit",
            (tenant, *span, site),
        )
    )


def _summary(
    connection: Connection, key: tuple[str, str, str], lines: dict[str, dict[str, int]]
) -> list[tuple[Any, ...]]:
    whole: Counter[str] = Counter()
    for sums in lines.values():
        whole.update({name: sums[name] for name in ("produced", "good", "scrap", "rework")})
    (classified,) = connection.execute(f"select coalesce(sum(quantity), 0) from mart_defect {_OF_DATE}", key)[0]  # noqa: S608
    told = connection.execute(
        "select coalesce(sum(measured), 0), coalesce(sum(passed), 0), coalesce(sum(failed), 0),"  # noqa: S608
        f" coalesce(sum(untold), 0) from mart_quality {_OF_DATE}",
        key,
    )[0]
    measured, passed, failed, untold = map(int, told)
    if not lines and not measured:
        return []
    rejected = whole["produced"] - whole["good"]
    rate = kpi.ratio(rejected, whole["produced"])
    pieces = (whole["produced"], whole["good"], rejected, whole["scrap"], whole["rework"], int(classified))
    results = (measured, passed, failed, untold, kpi.ratio(failed, passed + failed))
    return [(*key, *pieces, rate, None if rate is None else rate * 100, *results)]
