"""One business date of one line, summed up from its shifts; and its OEE by shift, for people who ask with SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from cloud.bi import kpi
from cloud.database import Connection, Row
from cloud.marts.ledger import DAY_MS, date_ms
from cloud.marts.shifts import Rows
from cloud.plant import Place
from cloud.tables import MEASURES

MILLION: Final = 1_000_000
AROUND_MS: Final = 14 * 3_600_000
"""A date begins within this time of UTC's, wherever it is."""
TIMES: Final = ("apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")

WITHIN: Final = "tenant=? and site=? and work_unit=? and start_ms>=? and start_ms<? and business_date=?"


def within(place: Place, business_date: str) -> tuple[Any, ...]:
    """Give the values for WITHIN: a line's rows of a date, found by their begin."""
    start = date_ms(business_date)
    return (*place, start - AROUND_MS, start + DAY_MS + AROUND_MS, business_date)


def compute(connection: Connection, place: Place, business_date: str) -> Rows:
    """Give the rows of a day bucket from the marts of the shift grain; only reads."""
    where = within(place, business_date)
    rows = connection.execute(
        f"select product, shift, start_ms, {', '.join(MEASURES)} from mart_shift where {WITHIN}",  # noqa: S608 - ours
        where,
    )
    if not rows:
        return {"mart_day": [], "mart_day_stop": [], "mart_day_defect": [], "mv_oee_daily": []}
    start = min(row[2] for row in rows)
    stops = connection.execute(
        "select element, reason, sum(duration_ms), sum(stops) from mart_stop"  # noqa: S608 - WITHIN is ours
        f" where {WITHIN} group by element, reason",
        where,
    )
    defects = connection.execute(
        f"select product, defect, sum(quantity) from mart_defect where {WITHIN} group by product, defect",  # noqa: S608
        where,
    )
    day = (*place, business_date)
    return {
        "mart_day": [
            (*day, product, start, *(sums[name] for name in MEASURES)) for product, sums in _by(rows, 0).items()
        ],
        "mart_day_stop": sorted((*day, element, reason, start, int(ms), int(n)) for element, reason, ms, n in stops),
        "mart_day_defect": sorted((*day, product, defect, start, int(n)) for product, defect, n in defects),
        "mv_oee_daily": [(*day, shift, *_oee_row(sums)) for shift, sums in _by(rows, 1).items()],
    }


def _by(rows: Sequence[Row], column: int) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        add(found.setdefault(row[column], dict.fromkeys(MEASURES, 0)), row[3:])
    return dict(sorted(found.items()))


def add(sums: dict[str, int], values: Iterable[int]) -> None:
    """Add a row's measures, in the order of MEASURES."""
    for name, value in zip(MEASURES, values, strict=True):
        sums[name] += value


def _oee_row(sums: dict[str, int]) -> tuple[Any, ...]:
    pieces = tuple(sums[name] for name in ("produced", "good", "scrap", "planned_micro"))
    figures, reason, implausible = oee_columns(sums)
    return (*time_columns(sums), *pieces, *figures, achievement(sums), reason, implausible)


def time_columns(sums: dict[str, int]) -> tuple[int, ...]:
    """Give planned busy time, and what it and the day went into."""
    return (sum(sums[name] for name in TIMES) - sums["planned_down_ms"], *(sums[name] for name in TIMES))


def oee_columns(sums: dict[str, int]) -> tuple[tuple[float | None, ...], str | None, int]:
    """Give OEE and its parts as the mv_ tables have them; why OEE is null; whether a part is implausible."""
    told = kpi.oee(kpi.sums_of(sums))
    busy = sum(sums[name] for name in TIMES) - sums["planned_down_ms"]
    without_setup = kpi.ratio(sums["apt_ms"], busy - sums["setup_ms"])
    performance = None if told.effectiveness is None else min(1.0, told.effectiveness)
    shown = [told.availability, performance, told.quality_ratio, told.oee]
    percent = tuple(None if value is None else value * 100 for value in shown)
    parts = (told.availability, without_setup, performance, told.effectiveness, told.quality_ratio, told.oee)
    return (*parts, *percent), told.reason, int(told.implausible)


def achievement(sums: dict[str, int]) -> float | None:
    """Give pieces over planned pieces."""
    return kpi.ratio(sums["produced"] * MILLION, sums["planned_micro"])
