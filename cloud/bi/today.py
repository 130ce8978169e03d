"""Today's figures of the whole hall so far, against the same time of the day before: the row of cards above the lines.

Today is the business date, from its first shift to now. The day before is cut at the same distance from its own first
shift: shifts that were over by then come from the marts, the one that was running is summed anew up to that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, Literal

from cloud.bi import kpi
from cloud.bi.kpi import Figure, Sums, sums_of
from cloud.bi.overview import silent_tail
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.marts import history, shifts
from cloud.marts.calendar import Calendar, Instance
from cloud.plant import Place, Plant, Plants
from cloud.tables import MEASURES as COLUMNS

LOOK_BACK: Final = 7
"""Days that are looked through for one on which something was made."""

Tone = Literal["met", "below", "warning", "critical"]
"""met: the target; below: short of it, and not at the warning level."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a card shows: a figure of sums, how it is told, and the question behind it."""

    id: str
    metric: str
    """Of the catalogue; also the name of its target."""
    unit: Literal["1", "pieces", "s", "Wh"]
    higher: bool
    per_line: bool = False
    """Whether the target is for one line and not for the hall."""


CARDS: Final = (
    Card("oee", "oee", "1", higher=True),
    Card("output", "good", "pieces", higher=True),
    Card("defect_rate", "defect_rate", "1", higher=False),
    Card("downtime", "downtime", "s", higher=False, per_line=True),
    Card("schedule_attainment", "schedule_attainment", "1", higher=True),
    Card("energy_per_piece", "energy_per_piece", "Wh", higher=False),
)

Aim = tuple[float, float, float]
"""Target, warning, critical."""


def today(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> dict[str, Any]:
    """Give the answer of GET /today, without what is compared (`before`)."""
    total, lines = Sums(), 0
    for plant in plants.of_tenant(tenant):
        business = plant.calendar.at(now_ms).business_date
        for place in _places(connection, plant):
            found = _so_far(connection, plant.calendar, place, business, now_ms)
            total += found
            lines += found.calendar_ms > 0
    aims = targets(connection, tenant)
    return {
        "as_of": iso(now_ms),
        "date": next((plant.calendar.at(now_ms).business_date for plant in plants.of_tenant(tenant)), None),
        "lines": lines,
        "planned": total.planned_micro // history.MILLION,
        "stops": total.failures,
        "cards": [_card(card, total, lines, aims.get(card.metric)) for card in CARDS],
    }


def before(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> dict[str, Any]:
    """Give {date, values: card → figure} of the day before, cut at the same time; of an earlier one if none was worked."""
    for back in range(1, LOOK_BACK + 1):
        total, day = Sums(), ""
        for plant in plants.of_tenant(tenant):
            calendar = plant.calendar
            here = calendar.at(now_ms)
            earlier = (date.fromisoformat(here.business_date) - timedelta(days=back)).isoformat()
            elapsed = now_ms - _begin(calendar, here.business_date, here)
            cut_ms = _begin(calendar, earlier, None) + elapsed
            day = day or earlier
            for place in _places(connection, plant):
                total += _until(connection, calendar, place, earlier, cut_ms)
        if total.produced:
            return {"date": day, "values": {card.id: figure(card.id, total).value for card in CARDS}}
    return {"date": None, "values": {}}


def _begin(calendar: Calendar, business: str, otherwise: Instance | None) -> int:
    starts = [one.start_ms for one in calendar.day(business)]
    return min(starts) if starts else otherwise.start_ms if otherwise else 0


def _places(connection: Connection, plant: Plant) -> list[Place]:
    tenant, site = plant.site.tenant, plant.site.id
    units = [
        unit
        for (unit,) in connection.execute(
            "select work_unit from work_unit where tenant=? and site=? order by work_unit", (tenant, site)
        )
    ]
    return [(tenant, site, unit) for unit in units]


def _mart(connection: Connection, place: Place, business: str) -> dict[int, dict[str, int]]:
    """Give the sums of the marts by shift instance."""
    columns = ", ".join(f"sum({name})" for name in COLUMNS)
    rows = connection.execute(
        f"select start_ms, {columns} from mart_shift where tenant=? and site=? and work_unit=? and business_date=?"  # noqa: S608 - our columns
        " group by start_ms",
        (*place, business),
    )
    return {row[0]: {name: int(value) for name, value in zip(COLUMNS, row[1:], strict=True)} for row in rows}


def _so_far(connection: Connection, calendar: Calendar, place: Place, business: str, now_ms: int) -> Sums:
    found = _mart(connection, place, business)
    row = connection.one("select data_at from work_unit where tenant=? and site=? and work_unit=?", place)
    total = Sums()
    for instance in calendar.day(business):
        sums = found.get(instance.start_ms)
        if sums is None or instance.start_ms > now_ms:
            continue
        if now_ms < instance.end_ms:
            grown = silent_tail(sums, instance, None if row is None else row[0], now_ms)
            grown |= {"calendar_ms": sums["calendar_ms"] + grown["scheduled_ms"] - sums["scheduled_ms"]}
            grown["planned_micro"] = sum(history.planned(connection, place, instance.start_ms, now_ms).values())
            sums = grown
        total += sums_of(sums)
    return total


def _until(connection: Connection, calendar: Calendar, place: Place, business: str, cut_ms: int) -> Sums:
    """Give a past date's sums up to a moment."""
    found = _mart(connection, place, business)
    total = Sums()
    for instance in calendar.day(business):
        if instance.start_ms not in found or instance.start_ms >= cut_ms:
            continue
        if instance.end_ms <= cut_ms:
            total += sums_of(found[instance.start_ms])
            continue
        part = replace(instance, end_ms=cut_ms, breaks=_clipped(instance.breaks, cut_ms))
        for row in shifts.compute(connection, place, part, cut_ms)["mart_shift"]:
            total += sums_of(dict(zip(COLUMNS, row[-len(COLUMNS) :], strict=True)))
    return total


def _clipped(breaks: Sequence[tuple[int, int]], end_ms: int) -> tuple[tuple[int, int], ...]:
    return tuple((start, min(stop, end_ms)) for start, stop in breaks if start < end_ms)


def figure(card: str, sums: Sums) -> Figure:
    """Give a card's figure of sums."""
    match card:
        case "oee":
            told = kpi.oee(sums)
            return Figure(value=told.oee, reason=told.reason)
        case "output":
            return Figure(
                value=sums.good if sums.calendar_ms else None, reason=None if sums.calendar_ms else "no_states"
            )
        case "defect_rate":
            value = kpi.defect_rate(sums)
            return Figure(value=value, reason="no_pieces" if value is None else None)
        case "downtime":
            known = sums.calendar_ms > 0
            return Figure(value=sums.down_ms / 1000 if known else None, reason=None if known else "no_states")
        case "schedule_attainment":
            return kpi.schedule_attainment(sums)
        case _:
            return kpi.energy_per_piece(sums)


def _card(card: Card, sums: Sums, lines: int, aim: Aim | None) -> dict[str, Any]:
    told = figure(card.id, sums)
    if card.id == "output":
        planned = sums.planned_micro / history.MILLION
        aim = (planned, 0.98 * planned, 0.9 * planned) if planned else None
    elif aim is not None and card.per_line:
        target, warning, critical = aim
        aim = (target * lines, warning * lines, critical * lines)
    return {
        "id": card.id,
        "metric": card.metric,
        "unit": card.unit,
        "value": told.value,
        "reason": told.reason,
        "higher_is_better": card.higher,
        "target": None if aim is None else aim[0],
        "tone": None if told.value is None or aim is None else tone(told.value, aim, higher=card.higher),
    }


def tone(value: float, aim: Aim, *, higher: bool) -> Tone:
    """Tell how a figure stands; a limit that is reached exactly counts as kept, as in the analysis CHECK."""
    sign = 1 if higher else -1
    target, warning, critical = (sign * level for level in aim)
    if sign * value < critical:
        return "critical"
    if sign * value < warning:
        return "warning"
    return "met" if sign * value >= target else "below"


def targets(connection: Connection, tenant: str, place: Place | None = None) -> dict[str, Aim]:
    """Give target, warning and critical by metric: a line's own, else its site's, else everybody's."""
    found: dict[str, Aim] = {
        name: (target, warning, critical)
        for name, target, warning, critical in connection.execute(
            "select kpi, target, warning, critical from dim_kpi where target is not null and warning is not null and"
            " critical is not null"
        )
    }
    own: list[tuple[bool, str, Aim]] = []
    for site, unit, name, target, warning, critical in connection.execute(
        "select site, work_unit, kpi, target, warning, critical from kpi_target where tenant=?", (tenant,)
    ):
        if (place is None and not unit) or (place is not None and site == place[1] and unit in {"", place[2]}):
            own.append((bool(unit), name, (target, warning, critical)))
    own.sort(key=lambda one: one[0])  # a line's own come last
    return found | {name: aim for _, name, aim in own}


def compared(answer: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Give the whole answer: every card with what it was at the same time before, and the change since."""
    cards: list[dict[str, Any]] = []
    for card in answer["cards"]:
        was = earlier["values"].get(card["id"])
        change = None if was is None or card["value"] is None else card["value"] - was
        better = None if not change else (change > 0) == card["higher_is_better"]
        cards.append(card | {"before": was, "change": change, "better": better})
    return answer | {"cards": cards, "compared_to": earlier["date"]}
