"""What a shift or a week came to, as plain data read from one snapshot: every figure of every form of a report.

Ratios come from the semantic layer, times and pieces by their names there; names of lines and reasons are kept in both
languages, so that the data say the same whoever reads them. `digest` is of the figures alone: two reports with the same
digest say the same, whenever they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from cloud.bi import quality
from cloud.bi.analyses.check import level
from cloud.bi.hours import by_hour
from cloud.bi.kpi import MEASURES, Sums
from cloud.bi.line import line_detail
from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Filter, Period
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.bi.semantic.table import Cell, Table
from cloud.bi.spc import RULE_SETS
from cloud.bi.times import iso
from cloud.bi.waterfall import waterfall
from cloud.database import Connection
from cloud.judging import actions
from cloud.marts.calendar import Instance
from cloud.plant import Plant, Plants

Json = dict[str, Any]
Kind = Literal["shift", "week"]

CARDS: Final = (
    *("oee", "availability", "effectiveness", "quality_ratio", "good", "scrap_ratio", "schedule_attainment"),
    *("downtime", "mtbf", "mttr", "throughput", "energy_per_piece"),
)
BY_LINE: Final = (
    "oee",
    "availability",
    "effectiveness",
    "quality_ratio",
    "produced",
    "good",
    "scrap",
    "planned",
    "downtime",
)
BY_DAY: Final = ("oee", "produced", "scrap")
MOST_VERDICTS: Final = 12
MOST_ACTIONS: Final = 8
MOST_CAUSES: Final = 8
MOST_MEASURED: Final = 6
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a report is about."""

    tenant: str
    site: str
    kind: Kind
    business_date: str
    """ISO; of a week its Monday."""
    shift: str = ""

    @property
    def period(self) -> Period:
        first = date.fromisoformat(self.business_date)
        if self.kind == "week":
            return Period(first=first, last=first + timedelta(days=6))
        return Period(first=first, last=first, shift=self.shift)

    @property
    def before(self) -> Period:
        """Give what it is held against: the same shift of the day before, the week before."""
        back = timedelta(days=7 if self.kind == "week" else 1)
        mine = self.period
        assert mine.first is not None and mine.last is not None  # noqa: S101, PT018 - made above
        return Period(first=mine.first - back, last=mine.last - back, shift=mine.shift)


class NoSuchShiftError(Exception):
    """The site has no such shift on that date, or it has not begun."""


def instances(plant: Plant, subject: Subject) -> list[Instance]:
    """Give the shift instances that a report is about, in order. Raises NoSuchShiftError."""
    first = date.fromisoformat(subject.business_date)
    if subject.kind == "week" and first.isoweekday() != 1:
        raise NoSuchShiftError(f"{subject.business_date} is no Monday; a week's report is named by its Monday")
    days = [first + timedelta(days=k) for k in range(7 if subject.kind == "week" else 1)]
    found = [one for day in days for one in plant.calendar.day(day.isoformat())]
    if subject.kind == "shift":
        codes = [one.shift for one in found if one.scheduled]
        found = [one for one in found if one.scheduled and one.shift == subject.shift]
        if not found:
            there = ", ".join(codes) or "none"
            raise NoSuchShiftError(f"there is no shift {subject.shift!r} on {subject.business_date}; it has {there}")
    return found


def read(connection: Connection, plants: Plants, subject: Subject, now_ms: int) -> Json:
    """Read everything a report says. Raises NoSuchShiftError."""
    plant = plants[subject.tenant, subject.site]
    about = instances(plant, subject)
    start_ms, end_ms = about[0].start_ms, about[-1].end_ms
    if start_ms >= now_ms:
        raise NoSuchShiftError(f"that {subject.kind} has not begun")
    look = Snapshot(connection, plants, Scope(subject.tenant, frozenset({subject.site})), now_ms)
    here = (Filter(dimension="site", values=(subject.site,)),)
    names = tuple(dict.fromkeys((*CARDS, *BY_LINE)))
    whole = look.table(names, period=subject.period, filters=here)
    lines = look.table(names, period=subject.period, dimensions=("line",), filters=here)
    units = sorted({row.keys[0] for row in lines.rows}, key=lambda unit: (plant.order.get(unit, 999), unit))
    details = _details(connection, plant, subject, units, (start_ms, end_ms, now_ms)) if subject.kind == "shift" else []
    found: Json = {
        "form": 1,
        "kind": subject.kind,
        "tenant": subject.tenant,
        "site": {"id": subject.site, "ko": plant.site.name.ko, "en": plant.site.name.en},
        "timezone": plant.site.timezone,
        "business_date": subject.business_date,
        "last_date": str(subject.period.last),
        "shift": subject.shift,
        "start": iso(start_ms),
        "end": iso(end_ms),
        "as_of": iso(now_ms),
        "ended": end_ms <= now_ms,
        "cards": _cards(look, whole, _try(look, subject, here)),
        "lines": [_line(look, plant, row.keys[0], row.cells, names) for row in _ordered(lines, units)],
        "waterfall": _waterfall(connection, subject, (start_ms, min(end_ms, now_ms))),
        "timelines": [
            {"work_unit": unit, "name": plant.label(unit), "segments": one["timeline"]} for unit, one in details
        ],
        "hours": [{"work_unit": unit, "name": plant.label(unit), "hours": one["hours"]} for unit, one in details],
        "days": _days(look, plant, subject, here) if subject.kind == "week" else [],
        "stops": _stops(look, subject, here),
        "defects": _ranked(look, ("defects",), "defect", subject, here),
        "verdicts": _verdicts(connection, plant, subject, (start_ms, end_ms)),
        "actions": _actions(connection, subject, (iso(start_ms), iso(end_ms)), now_ms),
        "quality": _quality(connection, plant, subject, (start_ms, end_ms, now_ms)),
    }
    found["digest"] = digest(found)
    found["lacks"] = _lacks(connection, plants, subject, whole, (start_ms, min(end_ms, now_ms), now_ms))
    found["definitions"] = {
        name: {"title": METRICS[name].title, "formula": METRICS[name].formula, "hash": METRICS[name].hash}
        for name in names
    }
    found["plan_hash"] = hashlib.sha256(
        json.dumps([subject.kind, subject.business_date, subject.shift, [METRICS[n].hash for n in names]]).encode()
    ).hexdigest()
    return found


def digest(found: Mapping[str, Any]) -> str:
    """Give the hash of a report's figures; when it was read is none of them."""
    said = {name: value for name, value in found.items() if name not in {"as_of", "lacks", "digest", "definitions"}}
    return hashlib.sha256(json.dumps(said, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def restated(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Json]:
    """Give the figures that a later version says otherwise: of the site and of each line."""
    before = {("", card["metric"]): card["value"] for card in old["cards"]}
    before |= {(line["work_unit"], name): value for line in old["lines"] for name, value in line["values"].items()}
    after = {("", card["metric"]): card["value"] for card in new["cards"]}
    after |= {(line["work_unit"], name): value for line in new["lines"] for name, value in line["values"].items()}
    return [
        {"work_unit": unit, "metric": name, "before": before.get((unit, name)), "after": value}
        for (unit, name), value in after.items()
        if before.get((unit, name)) != value
    ]


def _try(look: Snapshot, subject: Subject, here: tuple[Filter, ...]) -> Table | None:
    try:
        return look.table(CARDS, period=subject.before, filters=here)
    except PlanError:  # that shift was not there the day before
        return None


def _plain(value: float | None) -> float | None:
    return None if value is None else round(value, 9)


def _cards(look: Snapshot, whole: Table, before: Table | None) -> list[Json]:
    now = _by_name(whole)
    then = _by_name(before) if before is not None else {}
    cards: list[Json] = []
    for name in CARDS:
        metric, cell, past = METRICS[name], now.get(name), then.get(name)
        value = None if cell is None else cell.value
        was = None if past is None else past.value
        aim = look.target(name)
        cards.append(
            {
                "metric": name,
                "title": metric.title,
                "unit": metric.unit,
                "better": metric.better,
                "value": _plain(value),
                "reason": (cell.reason if cell is not None else "no_states") if value is None else None,
                "before": _plain(was),
                "target": None if aim is None else aim.target,
                "level": level(value, aim, up=metric.better != "lower"),
            }
        )
    return cards


def _by_name(table: Table) -> dict[str, Cell]:
    return dict(zip(table.metrics, table.rows[0].cells, strict=True)) if table.rows else {}


def _ordered(table: Table, units: Sequence[str]) -> list[Any]:
    return sorted(table.rows, key=lambda row: units.index(row.keys[0]))


def _line(look: Snapshot, plant: Plant, unit: str, cells: Sequence[Cell], names: Sequence[str]) -> Json:
    found = dict(zip(names, cells, strict=True))
    aim = look.target("oee", unit)
    return {
        "work_unit": unit,
        "name": plant.label(unit),
        "values": {name: _plain(found[name].value) for name in BY_LINE},
        "reasons": {name: found[name].reason for name in BY_LINE if found[name].value is None},
        "level": level(found["oee"].value, aim, up=True),
    }


def _waterfall(connection: Connection, subject: Subject, span: tuple[int, int]) -> Json:
    summed = ", ".join(f"sum({name})" for name in MEASURES)
    rows = connection.execute(
        f"select product, {summed} from mart_shift where tenant=? and site=? and start_ms>=? and start_ms<?"  # noqa: S608 - our columns
        " group by product order by product",
        (subject.tenant, subject.site, *span),
    )
    parts = [Sums(**{name: int(value or 0) for name, value in zip(MEASURES, row[1:], strict=True)}) for row in rows]
    made = waterfall(parts)
    return {"steps": [{"name": one.name, "kind": one.kind, "ms": one.ms} for one in made.steps], "reason": made.reason}


def _details(
    connection: Connection, plant: Plant, subject: Subject, units: Sequence[str], times: tuple[int, int, int]
) -> list[tuple[str, Json]]:
    start_ms, end_ms, now_ms = times
    return [
        (
            unit,
            line_detail(
                connection,
                plant,
                (subject.tenant, subject.site, unit),
                {},
                start_ms=start_ms,
                end_ms=end_ms,
                now_ms=now_ms,
            ),
        )
        for unit in units
    ]


def _days(look: Snapshot, plant: Plant, subject: Subject, here: tuple[Filter, ...]) -> list[Json]:
    table = look.table(BY_DAY, period=subject.period, dimensions=("line",), filters=here, grain="day")
    return [
        {
            "date": row.label,
            "work_unit": row.keys[0],
            "name": plant.label(row.keys[0]),
            "values": {name: _plain(cell.value) for name, cell in zip(BY_DAY, row.cells, strict=True)},
        }
        for row in table.rows
    ]


def _stops(look: Snapshot, subject: Subject, here: tuple[Filter, ...]) -> list[Json]:
    unplanned = Filter(dimension="time_element", op="not_in", values=("planned_down", "production"))
    return _ranked(look, ("stop_time", "stops"), "stop_reason", subject, (*here, unplanned))


def _ranked(
    look: Snapshot, names: tuple[str, ...], dimension: str, subject: Subject, here: tuple[Filter, ...]
) -> list[Json]:
    """Give the largest first, and what is left of them together."""
    table = look.table(names, period=subject.period, dimensions=(dimension,), filters=here)
    rows: list[Json] = [
        {
            "code": row.keys[0],
            "name": look.label(dimension, row.keys[0]),
            "values": [cell.value or 0 for cell in row.cells],
        }
        for row in table.rows
        if row.cells[0].value
    ]
    rows.sort(key=lambda row: (-row["values"][0], row["code"]))
    if len(rows) > MOST_CAUSES:
        rest = rows[MOST_CAUSES - 1 :]
        sums = [sum(row["values"][k] for row in rest) for k in range(len(names))]
        rows = [*rows[: MOST_CAUSES - 1], {"code": "", "name": {"ko": "기타", "en": "other"}, "values": sums}]
    return rows


def _verdicts(connection: Connection, plant: Plant, subject: Subject, span: tuple[int, int]) -> Json:
    counted = {
        decision: int(count)
        for decision, count in connection.execute(
            "select decision, count(*) from judgment where tenant=? and site=? and at>=? and at<? group by decision",
            (subject.tenant, subject.site, *(ms * 1_000_000 for ms in span)),
        )
    }
    rows = connection.execute(
        "select verdict_id, work_unit, decision, at, summary from judgment where tenant=? and site=? and at>=? and at<?"
        " and decision in ('critical', 'warning') order by case decision when 'critical' then 0 else 1 end, at desc,"
        " verdict_id limit ?",
        (subject.tenant, subject.site, *(ms * 1_000_000 for ms in span), MOST_VERDICTS),
    )
    noted = [
        {
            "verdict_id": identity,
            "name": plant.label(unit),
            "decision": decision,
            "at": iso(at // 1_000_000),
            "summary": json.loads(summary) if summary else {},
        }
        for identity, unit, decision, at, summary in rows
    ]
    return {"counts": counted, "noted": noted}


def _actions(connection: Connection, subject: Subject, span: tuple[str, str], now_ms: int) -> list[Json]:
    found, _ = actions.page(connection, subject.tenant, None, limit=200, offset=0, now_ms=now_ms)
    mine = [one for one in found if one["site"] == subject.site and span[0] <= one["at"] < span[1]]
    keep = ("action", "action_type", "state", "at", "target", "value", "ruleset")
    return [{name: one.get(name) for name in keep} for one in mine[:MOST_ACTIONS]]


def _quality(connection: Connection, plant: Plant, subject: Subject, times: tuple[int, int, int]) -> Json:
    start_ms, end_ms, _ = times
    dates = quality.Dates(first=subject.business_date, last=str(subject.period.last), start_ms=start_ms, end_ms=end_ms)
    measured: list[Json] = []
    for one in quality.characteristics(connection, subject.tenant, dates):
        if one["site"] != subject.site or len(measured) == MOST_MEASURED:
            continue
        place = (subject.tenant, subject.site, one["work_unit"])
        about = quality.Subject(one["characteristic"], one["product"] or None)
        chart = quality.control_chart(connection, place, about, dates, next(iter(RULE_SETS)))
        able = chart["capability"]
        measured.append(
            one
            | {
                "name": plant.label(one["work_unit"]),
                "cpk": None if able is None else able["cpk"]["value"],
                "why": chart["no_capability"],
            }
        )
    records = [
        one for one in quality.ccp_records(connection, subject.tenant, dates, None) if one.get("site") == subject.site
    ]
    return {"measured": measured, "ccp": len(records), "ccp_failed": sum(_failed(one) for one in records)}


def _failed(record: Mapping[str, Any]) -> bool:
    return record.get("within") is False or record.get("passed") is False or record.get("conforms") is False


def _lacks(connection: Connection, plants: Plants, subject: Subject, whole: Table, times: tuple[int, int, int]) -> Json:
    """Say what the figures lack: records on their way or lost, silent gateways, buckets to recompute, facts held back."""
    start_ms, end_ms, now_ms = times
    gateways: list[Json] = []
    offline_ms = plants.file.offline_after_s * 1000
    for one in by_hour(connection, subject.tenant, (start_ms, end_ms), now_ms=now_ms, offline_ms=offline_ms):
        if one.accounts.site != subject.site:
            continue
        total = [hour.total() for hour in one.hours]
        counted = {
            name: sum(getattr(each, name) for each in total)
            for name in ("produced", "stored", "waiting", "lost", "unaccounted")
        }
        gateways.append({"gateway": one.accounts.gateway, **counted})
    held = connection.execute(
        "select count(*) from finding where tenant=? and site=? and state='open' and held and at>=? and at<?",
        (subject.tenant, subject.site, start_ms * 1_000_000, end_ms * 1_000_000),
    )
    fresh = whole.freshness
    return {
        "pending": fresh.pending_buckets,
        "silent": list(fresh.silent),
        "data_at": None if fresh.data_at_ms is None else iso(fresh.data_at_ms),
        "held": int(held[0][0]),
        "gateways": gateways,
        "complete": not any(one["waiting"] or one["lost"] or one["unaccounted"] for one in gateways)
        and not fresh.pending_buckets
        and not held[0][0],
    }
