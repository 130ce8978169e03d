"""One shift instance of one line, from base rows: its time, pieces, orders, verdicts, stops and defects."""

from __future__ import annotations

from typing import Any, Final

from cloud.database import Connection
from cloud.marts import history
from cloud.marts.calendar import Instance
from cloud.marts.measure import times
from cloud.plant import Place
from cloud.tables import JUDGED, MEASURES, PIECES

Rows = dict[str, list[tuple[Any, ...]]]
"""Table → its rows of one bucket, in the order of its columns and sorted by its key."""

NS: Final = 1_000_000

_PIECES: Final = """
select coalesce(job_order, ''), coalesce(lot, ''), coalesce(product, ''), sum(produced), sum(good), sum(scrap),
  sum(rework), sum(case when ideal_us is null then produced else 0 end), coalesce(sum(ideal_us), 0),
  coalesce(sum(ideal_good_us), 0), sum(energy_wh)
from production where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<?
group by coalesce(job_order, ''), coalesce(lot, ''), coalesce(product, '')
"""
_JUDGMENTS: Final = """
select coalesce(product, ''), ruleset, ruleset_version, model, count(*),
  sum(case when decision='warning' then 1 else 0 end), sum(case when decision='critical' then 1 else 0 end),
  sum(case when decision='unknown' then 1 else 0 end), sum(needs_human), sum(confidence_ppm)
from judgment where tenant=? and site=? and work_unit=? and at>? and at<=?
group by coalesce(product, ''), ruleset, ruleset_version, model
"""
_DEFECTS: Final = """
select coalesce(product, ''), defect, sum(quantity) from production_defect
where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? group by coalesce(product, ''), defect
"""


def compute(connection: Connection, place: Place, instance: Instance, now_ms: int) -> Rows:
    """Give the rows of a shift bucket; only reads.

    One of which nothing is recorded has none until it is over (`cloud.marts.over`), and before its line began.
    """
    start, end = instance.start_ms, instance.end_ms
    when = (instance.business_date, instance.shift)
    row = connection.one(
        "select data_at, first_ms, closed_ms from work_unit where tenant=? and site=? and work_unit=?", place
    )
    data_at, first, closed = row or (None, None, None)
    known_until = start if data_at is None else data_at // NS
    passed = first is not None and closed is not None and first < end <= closed
    states = history.states(connection, place, start, end)
    gaps = history.gaps(connection, place, start, end)
    spent = times(instance, states, gaps, known_until_ms=max(start, known_until), now_ms=now_ms)
    plan = history.planned(connection, place, start, end)
    seen = passed or bool(gaps or plan) or any(state.at_ms >= start or known_until > start for state in states)
    measures = {product: dict(sums) for product, sums in spent.by_product.items()}
    orders: list[tuple[Any, ...]] = []
    for order, lot, product, *values in connection.execute(_PIECES, (*place, start, end)):
        pieces = [int(value) for value in values]
        orders.append((*place, start, order, lot, product, *when, *pieces))
        _add(measures.setdefault(product, {}), PIECES, pieces)
    judgments: list[tuple[Any, ...]] = []
    for product, *by, count, warnings, criticals, unknowns, human, ppm in connection.execute(
        _JUDGMENTS, (*place, start * NS, end * NS)
    ):
        judged = [int(value) for value in (count, warnings, criticals, unknowns)]
        judgments.append((*place, start, product, *by, *when, *judged, int(human), int(ppm)))
        _add(measures.setdefault(product, {}), JUDGED, judged)
    for product, micro in plan.items():
        _add(measures.setdefault(product, {}), ("planned_micro",), [micro])
    defects = connection.execute(_DEFECTS, (*place, start, end))
    if not (seen or orders or judgments):
        return {"mart_shift": [], "mart_stop": [], "mart_defect": [], "mart_order": [], "mart_judgment": []}
    return {
        "mart_shift": [
            (*place, start, product, end, *when, *(sums.get(name, 0) for name in MEASURES))
            for product, sums in sorted(measures.items())
        ],
        "mart_stop": [(*place, start, *key, *value, *when) for key, value in sorted(spent.stops.items())],
        "mart_defect": sorted((*place, start, product, defect, int(n), *when) for product, defect, n in defects),
        "mart_order": sorted(orders),
        "mart_judgment": sorted(judgments),
    }


def _add(sums: dict[str, int], names: tuple[str, ...], values: list[int]) -> None:
    for name, value in zip(names, values, strict=True):
        sums[name] = sums.get(name, 0) + value


_HOUR: Final = """
select coalesce(product, ''), sum(produced), sum(good), sum(scrap), sum(rework), sum(energy_wh) from production
where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? group by coalesce(product, '')
"""


def compute_hour(connection: Connection, place: Place, start_ms: int, end_ms: int) -> Rows:
    """Give the rows of an hour of a line."""
    made = connection.execute(_HOUR, (*place, start_ms, end_ms))
    return {"mart_hour": sorted((*place, start_ms, product, *map(int, values)) for product, *values in made)}


_QUALITY: Final = """
select coalesce(product, ''), coalesce(lot, ''), characteristic, coalesce(unit, ''), count(*),
  sum(case when passed then 1 else 0 end), sum(case when not passed then 1 else 0 end),
  sum(case when passed is null then 1 else 0 end), count(value_micro), coalesce(sum(value_micro), 0), min(value_micro),
  max(value_micro)
from quality_measurement where tenant=? and site=? and work_unit=? and at>=? and at<?
group by coalesce(product, ''), coalesce(lot, ''), characteristic, coalesce(unit, '')
"""


def compute_quality(connection: Connection, place: Place, instance: Instance) -> Rows:
    """Give the rows of a shift's quality results."""
    span = (instance.start_ms * NS, instance.end_ms * NS)
    when = (instance.business_date, instance.shift)
    rows = [
        (*place, instance.start_ms, *key, *when, *map(int, sums), low, high)
        for *key, measured, passed, failed, untold, valued, total, low, high in connection.execute(
            _QUALITY, (*place, *span)
        )
        for sums in [(measured, passed, failed, untold, valued, total)]
    ]
    return {"mart_quality": sorted(rows, key=lambda row: row[:8])}
