"""Stock of one site on one business date: the last count of each place, and how many days it lasts.

A stock adds up over places, never over time. What is used up per day is the mean of what the counts of seven calendar
days said. No usage is not an endless stock, and a stock below zero is a fault of the data: both are null, with a reason.
"""

from __future__ import annotations

from typing import Any, Final

from cloud.database import Connection
from cloud.marts.calendar import Calendar
from cloud.marts.ledger import DAY_MS, date_ms, day_of
from cloud.marts.shifts import Rows

NS: Final = 1_000_000
MILLION: Final = 1_000_000
DAYS: Final = 7
EXCESS: Final = 3
"""Times the safety stock."""

_COUNTS: Final = """
select n.material, n.location, n.at, n.quantity_micro, n.usage_micro, n.unit from inventory n
join incarnation i on i.id=n.inc where n.tenant=? and n.site=? and n.at>=? and n.at<? and n.quantity_micro is not null
order by n.at, i.ord, n.inc, n.seq
"""


def compute(connection: Connection, tenant: str, site: str, business_date: str, calendar: Calendar) -> Rows:
    """Give the rows of a stock bucket from the counts; only reads."""
    last = date_ms(business_date)
    days = [day_of(last - back * DAY_MS) for back in range(DAYS)]
    counts = {day: _last_counts(connection, tenant, site, calendar, day) for day in days}
    policies = {
        material: (of, safety, reorder)
        for material, of, safety, reorder in connection.execute(
            "select material, unit, safety_micro, reorder_micro from dim_material where tenant=? and site=?",
            (tenant, site),
        )
    }
    stored: list[tuple[Any, ...]] = []
    coverage: list[tuple[Any, ...]] = []
    for (material, location), (at, quantity, usage, unit) in sorted(counts[business_date].items()):
        stored.append((tenant, site, material, location, business_date, quantity, usage, unit, at))
        used = [told[2] for day in days if (told := counts[day].get((material, location))) and told[2] is not None]
        mean = sum(used) // len(used) if used else None
        of, safety, reorder = policies.get(material, ("", None, None))
        if of and unit and of != unit:  # counted in another unit than it was set in
            safety = reorder = None
        figures = _coverage(quantity, mean, safety, reorder)
        coverage.append((tenant, site, business_date, material, location, quantity, unit, safety, mean, *figures, at))
    return {"mart_inventory": stored, "mv_inventory_coverage": sorted(coverage, key=lambda row: row[:5])}


def _last_counts(
    connection: Connection, tenant: str, site: str, calendar: Calendar, business_date: str
) -> dict[tuple[str, str], tuple[int, int, int | None, str]]:
    """Give (material, location) → the date's last count: (at, quantity, usage, unit)."""
    instances = calendar.day(business_date)
    if not instances:
        return {}
    span = (instances[0].start_ms * NS, instances[-1].end_ms * NS)
    rows = connection.execute(_COUNTS, (tenant, site, *span))
    return {(material, location): (at, quantity, usage, unit) for material, location, at, quantity, usage, unit in rows}


def _coverage(quantity: int, mean: int | None, safety: int | None, reorder: int | None) -> tuple[Any, ...]:
    """Give stock, safety stock, usage, coverage, why it is null, status, whether and how much to reorder."""
    reason = "below_zero" if quantity < 0 else "no_usage" if mean is None else "no_demand" if mean <= 0 else None
    days = quantity / mean if reason is None and mean else None
    point = reorder if reorder is not None or safety is None else safety * 3 // 2
    status = None
    if safety is not None and point is not None and quantity >= 0:
        status = "excess" if quantity > EXCESS * safety else "normal"
        status = "critical" if quantity < safety else "low" if quantity < point else status
    known = (_units(quantity), _units(safety), _units(mean), days, reason, status)
    if point is None:
        return (*known, None, None)
    return (*known, int(quantity < point), max(0, point - quantity) / MILLION)


def _units(micro: int | None) -> float | None:
    return None if micro is None else micro / MILLION
