"""Defects of one line by date, product and shift, and how a day stands against the six calendar days before it.

Production and defects are each brought to one row before they meet, so that no total is multiplied; the moving figure
is a ratio of sums over seven calendar days of the line and product, not a mean of ratios over seven rows.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

from cloud.bi import kpi
from cloud.database import Connection
from cloud.marts.days import AROUND_MS, WITHIN, within
from cloud.marts.ledger import DAY_MS, date_ms, day_of
from cloud.marts.shifts import Rows
from cloud.plant import Place

DAYS: Final = 7
TOP: Final = 5
RISE: Final = 1.1
FALL: Final = 0.9


def compute(connection: Connection, place: Place, business_date: str) -> Rows:
    """Give the rows of a trend bucket from the marts of the shift grain; only reads."""
    date = date_ms(business_date)
    first = day_of(date - (DAYS - 1) * DAY_MS)
    today: dict[tuple[str, str], Counter[str]] = {}
    before: dict[str, Counter[str]] = {}
    for day, product, shift, produced, good in connection.execute(
        "select business_date, product, shift, sum(produced), sum(good) from mart_shift"
        " where tenant=? and site=? and work_unit=? and start_ms>=? and start_ms<? and business_date between ? and ?"
        " group by business_date, product, shift",
        (*place, date - (DAYS - 1) * DAY_MS - AROUND_MS, date + DAY_MS + AROUND_MS, first, business_date),
    ):
        sums = (
            today.setdefault((product, shift), Counter())
            if day == business_date
            else before.setdefault(product, Counter())
        )
        sums.update(produced=int(produced), good=int(good))
    defects: dict[tuple[str, str], Counter[str]] = {}
    for product, shift, defect, quantity in connection.execute(
        "select product, shift, defect, sum(quantity) from mart_defect"  # noqa: S608 - WITHIN is ours
        f" where {WITHIN} group by product, shift, defect",
        within(place, business_date),
    ):
        defects.setdefault((product, shift), Counter())[defect] += int(quantity)
        today.setdefault((product, shift), Counter())
    whole: dict[str, Counter[str]] = {}
    for (product, _), sums in today.items():
        whole.setdefault(product, Counter()).update(sums)
    rows: list[tuple[object, ...]] = []
    for (product, shift), sums in sorted(today.items()):
        produced, good = sums["produced"], sums["good"]
        kinds = defects.get((product, shift), Counter())
        if not produced and not kinds:
            continue
        moving, word = _held_against(whole[product], before.get(product, Counter()))
        top = sorted(kinds.items(), key=lambda one: (-one[1], one[0]))[:TOP]
        rates = (kpi.ratio(produced - good, produced), kpi.ratio(good, produced), moving)
        counts = (produced, good, produced - good, kinds.total())
        said = json.dumps([list(one) for one in top], ensure_ascii=False)
        rows.append((*place, business_date, product, shift, *counts, *rates, word, said))
    return {"mv_defect_trend": rows}


def _held_against(today: Counter[str], before: Counter[str]) -> tuple[float | None, str | None]:
    """Give the defect rate of all seven days, and the word for today against the others; None without both."""
    produced = today["produced"] + before["produced"]
    moving = kpi.ratio(produced - today["good"] - before["good"], produced)
    now = kpi.ratio(today["produced"] - today["good"], today["produced"])
    usual = kpi.ratio(before["produced"] - before["good"], before["produced"])
    if now is None or usual is None:
        return moving, None
    return moving, "increasing" if now > usual * RISE else "decreasing" if now < usual * FALL else "stable"
