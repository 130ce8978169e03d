"""The hall at a glance: one answer from marts and small state tables, independent of how much history there is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.bi import kpi, since
from cloud.bi.completeness import accounts
from cloud.bi.lines import Lines
from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row
from cloud.marts.calendar import Instance
from cloud.marts.measure import COLUMN, Segment, State, segments
from cloud.plant import Place, Plant, Plants
from sync.equipment import equipment, time_element

LATEST_VERDICTS: Final = 20
SILENT_MS: Final = 30_000
"""Data may be this old before the time since then counts as unknown."""

SUM_COLUMNS: Final = tuple(kpi.Sums.__dataclass_fields__)
NS: Final = 1_000_000


@dataclass(slots=True)
class _Line:
    """What one line's card is made of."""

    place: Place
    plant: Plant
    instance: Instance
    row: Row | None = None
    sums: dict[str, int] = field(default_factory=dict[str, int])
    pending: int = 0
    planned_now: int | None = None
    planned_shift: int | None = None
    alarms: int = 0
    states: list[State] = field(default_factory=list[State])
    gaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


_WORK_UNITS = """
select w.tenant, w.site, w.work_unit, g.name, w.data_at, w.state, w.state_at, w.reason, w.job_order, w.product, w.lot,
  w.context_stale, w.verdict_id, w.verdict_at, w.decision, w.severity, w.confidence, w.summary
from work_unit w left join gateway g on g.id = w.gateway where w.tenant=?"""


def overview(
    connection: Connection, plants: Plants, tenant: str, *, now_ms: int, link: dict[str, Any]
) -> dict[str, Any]:
    """Give the whole answer of GET /overview for one tenant."""
    lines = _lines(connection, plants, tenant, now_ms)
    known = Lines(plants, tenant, (line.place[1:] for line in lines))
    return {
        "as_of": iso(now_ms),
        "lines": [{**_line(line, now_ms), "key": known.key(*line.place[1:])} for line in lines],
        "alarms": active_alarms(connection, tenant),
        "verdicts": latest_verdicts(connection, tenant),
        "gateways": gateways(connection, plants, tenant, now_ms),
        "proof": [one.total() for one in accounts(connection, tenant)],
        "link": link,
    }


def now() -> int:
    """Give the wall clock in ms."""
    return time.time_ns() // NS


def _lines(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[_Line]:
    current = {(plant.site.tenant, plant.site.id): plant.calendar.at(now_ms) for plant in plants.of_tenant(tenant)}
    lines: dict[Place, _Line] = {}
    for plant in plants.of_tenant(tenant):
        for unit in plant.order:
            place = (tenant, plant.site.id, unit)
            lines[place] = _Line(place, plant, current[tenant, plant.site.id])
    for row in connection.execute(_WORK_UNITS, (tenant,)):
        place: Place = row[:3]
        if place[:2] in current:
            line = lines.setdefault(place, _Line(place, plants[place[:2]], current[place[:2]]))
            line.row = row
    if not lines:
        return []
    earliest = min(instance.start_ms for instance in current.values())
    _add_sums(connection, tenant, lines, earliest, now_ms)
    _add_plan(connection, tenant, lines, earliest, now_ms)
    for tenant_, site, unit, count in connection.execute(
        "select tenant, site, work_unit, count(*) from alarm where tenant=? and active group by tenant, site, work_unit",
        (tenant,),
    ):
        if (line := lines.get((tenant_, site, unit))) is not None:
            line.alarms = count
    for start in {line.instance.start_ms for line in lines.values()}:  # one, where the sites' shifts begin together
        sites = sorted(site for (_, site), instance in current.items() if instance.start_ms == start)
        told = since.states(connection, tenant, sites, start, now_ms)
        silent = since.gaps(connection, tenant, sites, start, now_ms)
        for line in lines.values():
            if line.instance.start_ms == start:
                line.states, line.gaps = told.get(line.place[1:], []), silent.get(line.place[1:], [])
    return sorted(lines.values(), key=lambda x: (x.place[1], x.plant.order.get(x.place[2], 10_000), x.place[2]))


def _add_sums(connection: Connection, tenant: str, lines: dict[Place, _Line], earliest: int, now_ms: int) -> None:
    summed = ", ".join(f"sum({column})" for column in SUM_COLUMNS)
    for row in connection.execute(
        f"select tenant, site, work_unit, start_ms, {summed} from mart_shift where tenant=? and business_date>=? and start_ms>=?"  # noqa: S608 - our columns
        " group by tenant, site, work_unit, start_ms",
        (tenant, min(line.instance.business_date for line in lines.values()), earliest),
    ):
        line = lines.get(row[:3])
        if line is not None and line.instance.start_ms == row[3]:
            line.sums = {name: int(value) for name, value in zip(SUM_COLUMNS, row[4:], strict=True)}
    for row in connection.execute(
        "select tenant, site, work_unit, count(*) from dirty_bucket where tenant=? and due_ms<=?"
        " group by tenant, site, work_unit",
        (tenant, now_ms),
    ):
        if (line := lines.get(row[:3])) is not None:
            line.pending = row[3]


def _add_plan(connection: Connection, tenant: str, lines: dict[Place, _Line], earliest: int, now_ms: int) -> None:
    latest = max(line.instance.end_ms for line in lines.values())
    whole: dict[Place, float] = {}
    so_far: dict[Place, float] = {}
    for tenant_, site, unit, quantity, start, end in connection.execute(
        "select tenant, site, work_unit, quantity, start, end_at from job_order"
        " where tenant=? and start<? and end_at>? and state<>'cancelled'",
        (tenant, latest * NS, earliest * NS),
    ):
        line = lines.get((tenant_, site, unit))
        if line is None or end <= start:
            continue
        for sums, until in ((whole, line.instance.end_ms), (so_far, min(now_ms, line.instance.end_ms))):
            overlap = min(end, until * NS) - max(start, line.instance.start_ms * NS)
            sums[line.place] = sums.get(line.place, 0.0) + quantity * max(0, overlap) / (end - start)
    for place, planned in whole.items():
        lines[place].planned_shift = round(planned)
        lines[place].planned_now = round(so_far[place])


def silent_tail(sums: dict[str, int], instance: Instance, data_at: int | None, now_ms: int) -> dict[str, int]:
    """Add the time since the newest data as unknown, once the line has been silent for too long."""
    known = instance.start_ms if data_at is None else max(instance.start_ms, data_at // NS)
    if not sums or not instance.scheduled or now_ms - known <= SILENT_MS:
        return sums
    tail = segments(known, min(now_ms, instance.end_ms), (), breaks=instance.breaks, known_until_ms=known)
    grown = dict(sums)
    for part in tail:
        for column in ("scheduled_ms", COLUMN[part.element]):
            grown[column] += part.end_ms - part.start_ms
    return grown


def oee_answer(sums: dict[str, int], instance: Instance | None, pending: int) -> dict[str, Any]:
    """Give OEE and its parts as the API says them."""
    if instance is not None and not instance.scheduled:
        none = dict.fromkeys(("oee", "availability", "effectiveness", "quality_ratio"))
        return {**none, "reason": "no_shift", "implausible": False, "pending_buckets": pending}
    figures = kpi.oee(kpi.Sums(**sums))
    return {
        "oee": figures.oee,
        "availability": figures.availability,
        "effectiveness": figures.effectiveness,
        "quality_ratio": figures.quality_ratio,
        "reason": figures.reason,
        "implausible": figures.implausible,
        "pending_buckets": pending,
    }


def timeline(cut: list[Segment]) -> list[dict[str, Any]]:
    """Give stretches as the API says them, neighbours that are the same joined; the last is open when it reaches now."""
    joined: list[Segment] = []
    for part in cut:
        last = joined[-1] if joined else None
        if last and (last.element, last.state, last.reason) == (part.element, part.state, part.reason):
            joined[-1] = last._replace(end_ms=part.end_ms)
        else:
            joined.append(part)
    return [
        {
            "state": part.state,
            "reason": part.reason,
            "time_element": part.element,
            "start": iso(part.start_ms),
            "end": iso(part.end_ms),
        }
        for part in joined
    ]


def _line(line: _Line, now_ms: int) -> dict[str, Any]:
    where = equipment(line.place[2])
    row = line.row
    data_at = row[4] if row else None
    age_s = None if data_at is None else max(0.0, (now_ms - data_at // NS) / 1000)
    silent = data_at is None or now_ms - data_at // NS > SILENT_MS
    known_ms = line.instance.start_ms if data_at is None else data_at // NS
    if not silent:
        known_ms = now_ms
    cut = segments(
        line.instance.start_ms,
        max(line.instance.start_ms, min(now_ms, line.instance.end_ms)),
        line.states,
        breaks=line.instance.breaks,
        gaps=line.gaps,
        known_until_ms=max(known_ms, line.instance.start_ms),
    )
    state, reason = (row[5], row[7]) if row else ("UNDEFINED", None)
    made = {name: line.sums.get(name, 0) for name in ("produced", "good", "scrap")}
    return {
        "work_unit": line.place[2],
        "site": line.place[1],
        "area": where.area,
        "work_center": where.work_center,
        "name": line.plant.full_label(line.place[2]),
        "gateway": row[3] if row else None,
        "state": state,
        "state_since": iso_ns(row[6]) if row and row[6] else None,
        "reason": reason,
        "time_element": time_element(state, reason),
        "order": row[8] if row else None,
        "product": row[9] if row else None,
        "lot": row[10] if row else None,
        "context_stale": bool(row[11]) if row else False,
        "shift": shift_answer(line.instance),
        "oee": oee_answer(silent_tail(line.sums, line.instance, data_at, now_ms), line.instance, line.pending),
        "output": {**made, "planned_now": line.planned_now, "planned_shift": line.planned_shift},
        "verdict": _verdict(row) if row and row[12] else None,
        "alarms_active": line.alarms,
        "data_at": iso_ns(data_at),
        "data_age_s": age_s,
        "timeline": timeline(cut),
    }


def shift_answer(instance: Instance) -> dict[str, str] | None:
    """Give a shift instance as the API says it; None outside every shift."""
    if not instance.scheduled:
        return None
    return {
        "code": instance.shift,
        "business_date": instance.business_date,
        "start": iso(instance.start_ms),
        "end": iso(instance.end_ms),
    }


def _verdict(row: Row) -> dict[str, Any]:
    return {
        "work_unit": row[2],
        "verdict_id": row[12],
        "at": iso_ns(row[13]),
        "decision": row[14],
        "severity": row[15],
        "confidence": row[16],
        "summary": json.loads(row[17] or "{}"),
    }


_SAME_ALARM: Final = "c.tenant=a.tenant and c.site=a.site and c.work_unit=a.work_unit and c.alarm=a.alarm"
_SINCE: Final = (
    f"select min(c.at) from alarm_change c where {_SAME_ALARM} and c.active and c.at > coalesce("  # noqa: S608
    f"(select max(c.at) from alarm_change c where {_SAME_ALARM} and not c.active), -1)"
)
"""A change of severity does not begin an alarm anew: it is up since the first change after it was last gone."""


def active_alarms(connection: Connection, tenant: str) -> list[dict[str, Any]]:
    """Give what is active now, worst and newest first."""
    rows = connection.execute(
        f"select a.alarm, a.site, a.work_unit, a.severity, coalesce(({_SINCE}), a.changed_at), a.summary, a.verdict_id"  # noqa: S608
        " from alarm a where a.tenant=? and a.active",
        (tenant,),
    )
    rank = {"critical": 0, "warning": 1}
    rows.sort(key=lambda row: (rank.get(row[3], 2), -row[4]))
    return [
        {
            "alarm": name,
            "site": site,
            "work_unit": unit,
            "severity": severity,
            "since": iso_ns(at),
            "summary": json.loads(summary),
            "verdict_id": verdict,
        }
        for name, site, unit, severity, at, summary, verdict in rows
    ]


def latest_verdicts(connection: Connection, tenant: str, limit: int = LATEST_VERDICTS) -> list[dict[str, Any]]:
    """Give the newest verdicts, newest first."""
    return [
        verdict_answer(row)
        for row in connection.execute(f"{VERDICT_SQL} where tenant=? order by at desc limit {limit}", (tenant,))
    ]


VERDICT_SQL: Final = (
    "select site, work_unit, verdict_id, start, at, decision, severity, confidence, ruleset, summary from judgment"
)


def verdict_answer(row: Row) -> dict[str, Any]:
    """Give a row of VERDICT_SQL as the API says it."""
    site, unit, verdict, start, at, decision, severity, confidence, ruleset, summary = row
    return {
        "verdict_id": verdict,
        "site": site,
        "work_unit": unit,
        "start": iso_ns(start),
        "at": iso_ns(at),
        "decision": decision,
        "severity": severity,
        "confidence": confidence,
        "ruleset": ruleset,
        "summary": json.loads(summary),
    }


_GATEWAYS = """
select site, name, last_seen_ms, gone_ms, clock_offset_ms, waiting, waiting_bytes, oldest_at, disk_free_bytes,
  autonomy_hours, data_at, sources, software, conflicts from gateway where tenant=?"""


def gateways(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[dict[str, Any]]:
    """Give every enrolled gateway's health, in the order of the file."""
    known = {(row[0], row[1]): row for row in connection.execute(_GATEWAYS, (tenant,))}
    limit_ms = plants.file.offline_after_s * 1000
    found: list[dict[str, Any]] = []
    for address in plants.gateways(tenant):
        row = known.get((address.site, address.gateway))
        seen = row[2] if row else None
        gone = row is not None and row[3] is not None and seen is not None and row[3] >= seen
        online = seen is not None and not gone and now_ms - seen <= limit_ms
        found.append(
            {
                "id": address.gateway,
                "site": address.site,
                "online": online,
                "state": "connected" if online else "offline" if seen is not None else "never",
                "last_seen": None if seen is None else iso(seen),
                "waiting": row[5] if row else 0,
                "waiting_bytes": row[6] if row else 0,
                "oldest_age_s": max(0.0, (now_ms - row[7] // NS) / 1000) if row and row[7] is not None else None,
                "autonomy_hours": row[9] if row else None,
                "data_age_s": max(0.0, (now_ms - row[10] // NS) / 1000) if row and row[10] is not None else None,
                "disk_free_bytes": row[8] if row else None,
                "sources": json.loads(row[11]) if row else {},
                "clock_offset_ms": row[4] if row else None,
                "software": row[12] if row else "",
                "conflicts": row[13] if row else 0,
                "page": plants.page_of(address),
            }
        )
    return found
