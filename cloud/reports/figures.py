"""What a shift or a week came to, as plain data read from one snapshot: every figure of every form of a report.

Ratios come from the semantic layer, times and pieces by their names there; names of lines and reasons are kept in both
languages, so that the data say the same whoever reads them. `digest` is of the figures alone: two reports with the same
digest say the same, whenever they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.bi.analyses.check import level
from cloud.bi.kpi import MEASURES, Sums
from cloud.bi.line import line_detail
from cloud.bi.semantic.catalogue import METRICS
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.plan import Filter
from cloud.bi.semantic.scope import Scope
from cloud.bi.semantic.snapshot import Snapshot
from cloud.bi.semantic.table import Cell, Table
from cloud.bi.times import iso
from cloud.bi.waterfall import waterfall
from cloud.database import Connection
from cloud.plant import Plant, Plants
from cloud.reports import findings
from cloud.reports.subject import NoSuchShiftError, Subject, instances

Json = dict[str, Any]

CARDS: Final = (
    *("oee", "availability", "effectiveness", "quality_ratio", "good", "defect_rate", "schedule_attainment"),
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
MOST_CAUSES: Final = 8


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
        "defects": _defects(look, subject, here),
        "verdicts": findings.verdicts(connection, plant, subject, (start_ms, end_ms)),
        "actions": findings.actions(connection, subject, (iso(start_ms), iso(end_ms)), now_ms),
        "quality": findings.quality(connection, plant, subject, (start_ms, end_ms, now_ms)),
    }
    found["digest"] = digest(found)
    found["lacks"] = findings.lacks(connection, plants, subject, whole, (start_ms, min(end_ms, now_ms), now_ms))
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
        aim = (
            look.target(name) if metric.kind != "sum" else None
        )  # a sum's target is of a length of time that is not ours
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
    """Give what stopped the lines; what was planned is no stop."""
    table = look.table(
        ("stop_time", "stops"), period=subject.period, dimensions=("stop_reason", "time_element"), filters=here
    )
    sums: dict[str, list[float]] = {}
    for row in table.rows:
        if row.keys[1] != "planned_down":
            known = sums.setdefault(row.keys[0], [0.0, 0.0])
            for k, cell in enumerate(row.cells):
                known[k] = round(known[k] + (cell.value or 0), 3)
    return _largest(look, "stop_reason", sums)


def _defects(look: Snapshot, subject: Subject, here: tuple[Filter, ...]) -> list[Json]:
    table = look.table(("defects",), period=subject.period, dimensions=("defect",), filters=here)
    return _largest(look, "defect", {row.keys[0]: [row.cells[0].value or 0.0] for row in table.rows})


def _largest(look: Snapshot, dimension: str, sums: Mapping[str, list[float]]) -> list[Json]:
    """Give the largest first, and what is left of them together."""
    rows: list[Json] = [
        {"code": code, "name": look.label(dimension, code), "values": values}
        for code, values in sums.items()
        if values[0]
    ]
    rows.sort(key=lambda row: (-row["values"][0], row["code"]))
    if len(rows) > MOST_CAUSES:
        rest = [row["values"] for row in rows[MOST_CAUSES - 1 :]]
        together = [round(sum(column), 3) for column in zip(*rest, strict=True)]
        rows = [*rows[: MOST_CAUSES - 1], {"code": "", "name": {"ko": "기타", "en": "other"}, "values": together}]
    return rows
