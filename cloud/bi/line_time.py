"""The time of the whole shifts that a period touches: sums by product, OEE of them, and where the rest of the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from cloud.bi.kpi import Sums, sums_of
from cloud.bi.overview import SUM_COLUMNS, oee_answer, silent_tail
from cloud.bi.times import iso
from cloud.bi.waterfall import waterfall
from cloud.database import Connection
from cloud.marts.calendar import Calendar, Instance
from cloud.plant import Place

MILLION: Final = 1_000_000


@dataclass(slots=True)
class ShiftTime:
    """What the shifts come to."""

    instances: list[Instance]
    products: dict[str, Sums] = field(default_factory=dict[str, Sums])
    pending: int = 0

    @property
    def total(self) -> Sums:
        return sum(self.products.values(), start=Sums())

    def oee(self) -> dict[str, Any]:
        """Give OEE as the API says it."""
        only = self.instances[0] if len(self.instances) == 1 else None
        total = self.total
        return oee_answer({name: getattr(total, name) for name in SUM_COLUMNS}, only, self.pending)

    def waterfall(self) -> dict[str, Any]:
        """Give the steps from the calendar down to the time of good pieces, in whole ms that close."""
        found = waterfall(self.products.values())
        return {
            "start": iso(self.instances[0].start_ms) if self.instances else None,
            "end": iso(self.instances[-1].end_ms) if self.instances else None,
            "steps": [{"name": step.name, "kind": step.kind, "ms": step.ms} for step in found.steps],
            "reason": found.reason,
        }

    def pieces(self) -> dict[str, Any]:
        """Give what was made and planned in these shifts."""
        total = self.total
        made = {name: getattr(total, name) for name in ("produced", "good", "scrap", "rework")}
        return made | {"planned": total.planned_micro // MILLION if total.planned_micro else None}


def shift_time(
    connection: Connection, calendar: Calendar, place: Place, instances: list[Instance], clocks: tuple[int | None, int]
) -> ShiftTime:
    """Sum up shifts; clocks: (newest data in ns, now in ms). What a line is silent about in its running shift is unknown."""
    data_at, now_ms = clocks
    found = ShiftTime(instances)
    bounds = (instances[0].start_ms, instances[-1].end_ms) if instances else (0, 0)
    summed = ", ".join(f"sum({column})" for column in SUM_COLUMNS)
    running: dict[str, int] = {}
    for start, product, *values in connection.execute(
        f"select start_ms, product, {summed} from mart_shift where tenant=? and site=? and work_unit=? and start_ms>=?"  # noqa: S608 - our columns
        " and start_ms<? group by start_ms, product",
        (*place, *bounds),
    ):
        sums = {name: int(value) for name, value in zip(SUM_COLUMNS, values, strict=True)}
        found.products[product] = found.products.get(product, Sums()) + sums_of(sums)
        if start <= now_ms < calendar.at(start).end_ms:
            running = {name: running.get(name, 0) + value for name, value in sums.items()}
    here = calendar.at(now_ms)
    if running:
        grown = silent_tail(running, here, data_at, now_ms)
        tail = {name: grown[name] - running[name] for name in running}
        tail["calendar_ms"] = tail["scheduled_ms"]
        found.products[""] = found.products.get("", Sums()) + sums_of(tail)
    found.pending = connection.execute(
        "select count(*) from dirty_bucket where tenant=? and site=? and work_unit=? and due_ms<=? and start_ms>=? and"
        " start_ms<?",
        (*place, now_ms, *bounds),
    )[0][0]
    return found
