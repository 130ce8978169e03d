"""One line over a period: states, output against plan, stops, defects, verdicts, and a few measurements."""

from __future__ import annotations

import json
from typing import Any, Final

from cloud.bi import kpi
from cloud.bi.line_time import shift_time
from cloud.bi.overview import NS, SILENT_MS, VERDICT_SQL, timeline, verdict_answer
from cloud.bi.times import iso
from cloud.bi.today import targets
from cloud.database import Connection
from cloud.marts.calendar import Calendar, Instance
from cloud.marts.history import gaps, states
from cloud.marts.measure import segments
from cloud.plant import Place, Plant

MAX_DAYS: Final = 62
TRENDS: Final = 8
TREND_POINTS: Final = 480
WHOLE_MINUTES: Final = 7 * 1_440
"""Longer than this, measurements are looked at every so many minutes and not at each."""
TARGETED: Final = ("oee", "availability", "effectiveness", "quality_ratio", "defect_rate", "first_pass_yield")


def line_detail(
    connection: Connection,
    plant: Plant,
    place: Place,
    overview_line: dict[str, Any],
    *,
    start_ms: int,
    end_ms: int,
    now_ms: int,
) -> dict[str, Any]:
    """Give the whole answer of GET /lines/{work_unit}; `overview_line` is the line's part of the overview."""
    row = connection.one("select data_at from work_unit where tenant=? and site=? and work_unit=?", place)
    data_at = row[0] if row else None
    known_ms = now_ms if data_at is not None and now_ms - data_at // NS <= SILENT_MS else (data_at or 0) // NS
    calendar = plant.calendar
    until = max(start_ms, min(end_ms, now_ms))
    instances = calendar.between(start_ms, end_ms)
    cut = segments(
        start_ms,
        until,
        states(connection, place, start_ms, until),
        breaks=[pause for instance in instances for pause in instance.breaks],
        gaps=gaps(connection, place, start_ms, until),
        known_until_ms=max(known_ms, start_ms),
    )
    spent = shift_time(connection, calendar, place, instances, (data_at, now_ms))
    return {
        "as_of": iso(now_ms),
        "start": iso(start_ms),
        "end": iso(end_ms),
        "line": overview_line,
        "timeline": timeline(cut),
        "hours": _hours(connection, calendar, place, start_ms, end_ms),
        "oee": spent.oee(),
        "pieces": spent.pieces(),
        "waterfall": spent.waterfall(),
        "targets": _targets(connection, place),
        "stops": _stops(connection, place, instances),
        "defects": _defects(connection, place, instances),
        "decisions": {
            decision: int(count)
            for decision, count in connection.execute(
                "select decision, count(*) from judgment where tenant=? and site=? and work_unit=? and at>? and at<=?"
                " group by decision",
                (*place, start_ms * NS, end_ms * NS),
            )
        },
        "verdicts": [
            verdict_answer(row)
            for row in connection.execute(
                f"{VERDICT_SQL} where tenant=? and site=? and work_unit=? and at>? and at<=? order by at desc limit 50",
                (*place, start_ms * NS, end_ms * NS),
            )
        ],
        "trends": _trends(connection, place, start_ms, until),
    }


def _bounds(instances: list[Instance]) -> tuple[int, int]:
    return (instances[0].start_ms, instances[-1].end_ms) if instances else (0, 0)


def _targets(connection: Connection, place: Place) -> dict[str, dict[str, float]]:
    names = ("target", "warning", "critical")
    return {
        metric: dict(zip(names, aim, strict=True))
        for metric, aim in targets(connection, place[0], place).items()
        if metric in TARGETED
    }


def _hours(
    connection: Connection, calendar: Calendar, place: Place, start_ms: int, end_ms: int
) -> list[dict[str, Any]]:
    made = {
        row[0]: [int(x) for x in row[1:]]
        for row in connection.execute(
            "select start_ms, sum(produced), sum(good), sum(scrap) from mart_hour where tenant=? and site=? and"
            " work_unit=? and start_ms>=? and start_ms<? group by start_ms",
            (*place, calendar.hour(start_ms), end_ms),
        )
    }
    orders = connection.execute(
        "select quantity, start, end_at from job_order where tenant=? and site=? and work_unit=? and start<? and"
        " end_at>? and state<>'cancelled'",
        (*place, end_ms * NS, start_ms * NS),
    )
    found: list[dict[str, Any]] = []
    hour = calendar.hour(start_ms)
    while hour < end_ms:
        following = calendar.hour_end(hour)
        planned = [
            quantity * max(0, min(end, following * NS) - max(begin, hour * NS)) / (end - begin)
            for quantity, begin, end in orders
            if end > begin and begin < following * NS and end > hour * NS
        ]
        produced, good, scrap = made.get(hour, [0, 0, 0])
        found.append(
            {
                "start": iso(hour),
                "produced": produced,
                "good": good,
                "scrap": scrap,
                "planned": round(sum(planned)) if planned else None,
            }
        )
        hour = following
    return found


def _stops(connection: Connection, place: Place, instances: list[Instance]) -> list[dict[str, Any]]:
    return [
        {"time_element": element, "reason": reason, "duration_s": int(spent) / 1000, "stops": int(stops)}
        for element, reason, spent, stops in connection.execute(
            "select element, reason, sum(duration_ms), sum(stops) from mart_stop where tenant=? and site=? and"
            " work_unit=? and start_ms>=? and start_ms<? group by element, reason order by 3 desc, 1, 2",
            (*place, *_bounds(instances)),
        )
    ]


def _defects(connection: Connection, place: Place, instances: list[Instance]) -> list[dict[str, Any]]:
    return [
        {"defect": defect, "quantity": int(quantity)}
        for defect, quantity in connection.execute(
            "select defect, sum(quantity) from mart_defect where tenant=? and site=? and work_unit=? and start_ms>=?"
            " and start_ms<? group by defect order by 2 desc, 1",
            (*place, *_bounds(instances)),
        )
    ]


def _trends(connection: Connection, place: Place, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """Give measurements by minute, coarser where a period is long: at most TREND_POINTS points each."""
    first, last = start_ms // 60_000, (end_ms - 1) // 60_000
    step = max(1, -(-(last - first + 1) // TREND_POINTS))
    stride = step if last - first > WHOLE_MINUTES else 1
    found: list[dict[str, Any]] = []
    for number, name, unit, low, high in connection.execute(
        "select t.id, t.name, t.unit, t.low, t.high from tag t join gateway g on g.id=t.gateway where t.tenant=? and"
        " g.site=? and t.work_unit=? and t.role='measurement' order by t.id limit ?",
        (*place, TRENDS),
    ):
        # (minute, tag) is the table's own order: one step per minute, whatever other tags there are.
        minutes = connection.execute(
            "with recursive m(minute) as (select cast(? as bigint) union all select minute+? from m where minute+?<=?)"
            " select x.minute, x.good, x.bad, x.total, x.low, x.high from m join tag_minute x on x.minute=m.minute and"
            " x.tag=? order by x.minute",
            (first, stride, stride, last, number),
        )
        found.append(
            {
                "tag": name,
                "unit": unit,
                "low": low,
                "high": high,
                "points": _points(minutes, step),
            }
        )
    return found


def _points(minutes: list[tuple[Any, ...]], step: int) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    groups: dict[int, list[tuple[Any, ...]]] = {}
    for row in minutes:
        groups.setdefault(row[0] // step * step, []).append(row)
    for minute, rows in groups.items():
        good = sum(row[1] for row in rows)
        lows = [row[4] for row in rows if row[4] is not None]
        highs = [row[5] for row in rows if row[5] is not None]
        points.append(
            {
                "at": iso(minute * 60_000),
                "mean": kpi.ratio(sum(row[3] for row in rows), good),
                "low": min(lows, default=None),
                "high": max(highs, default=None),
                "bad": sum(row[2] for row in rows),
            }
        )
    return points


def verdict_detail(connection: Connection, tenant: str, verdict_id: str) -> dict[str, Any] | None:
    """Give one verdict whole, or None."""
    row = connection.one(
        "select f.body, j.site, g.name, i.inc, j.stream, j.seq, j.start, j.at from judgment j"
        " join fact f on f.inc=j.inc and f.stream=j.stream and f.seq=j.seq join incarnation i on i.id=j.inc"
        " join gateway g on g.id=i.gateway where j.tenant=? and j.verdict_id=? order by j.at desc limit 1",
        (tenant, verdict_id),
    )
    if row is None:
        return None
    body, site, gateway, inc, stream, seq, start, at = row
    fact = json.loads(body)
    plain = {name: fact[name] for name in ("decision", "severity", "confidence", "policy", "source")}
    rules = {name: fact[name] for name in ("ruleset", "ruleset_version", "ruleset_hash")}
    lists = {name: fact.get(name, []) for name in ("matched", "checks", "actions")}
    maps = {name: fact.get(name, {}) for name in ("summary", "inputs", "components", "context")}
    empty_check: dict[str, Any] = {"value": None, "threshold": None, "unit": None}
    lists["checks"] = [{**empty_check, **check} for check in lists["checks"]]
    return {
        "verdict_id": verdict_id,
        "site": site,
        "work_unit": fact.get("work_unit", ""),
        "gateway": gateway,
        "start": iso(start // NS),
        "at": iso(at // NS),
        **plain,
        **rules,
        **lists,
        **maps,
        "needs_human": fact.get("needs_human", False),
        "record": f"{inc}/{stream}/{seq}",
    }
