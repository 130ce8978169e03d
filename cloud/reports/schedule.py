"""When which report is due. Pure: local times become instants here, and each shift or week has exactly one.

A local time that the clocks skip is taken with the offset before the change, one that they repeat the first time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cloud.outgoing.config import Report
from cloud.plant import Plant
from cloud.reports.subject import Kind

LOOK_BACK = {"shift": 7, "week": 28}
"""How many days back what was missed is still made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One report of one schedule."""

    kind: Kind
    business_date: str
    shift: str
    due_ms: int


def due(plant: Plant, report: Report, now_ms: int, since_ms: int) -> list[Due]:
    """Give what a schedule has had to make by now, oldest first, and not before it was set up."""
    zone = ZoneInfo(report.timezone) if report.timezone else plant.calendar.zone
    made = _weeks(report, zone, now_ms) if report.kind == "week" else _shifts(plant, report, zone, now_ms)
    return sorted(
        (one for one in made if since_ms <= one.due_ms <= now_ms), key=lambda one: (one.due_ms, one.business_date)
    )


def _instant(day: date, report: Report, zone: tzinfo) -> int:
    at = datetime.combine(day, report.at or datetime.min.time(), zone)
    return int(at.timestamp()) * 1000


def _shifts(plant: Plant, report: Report, zone: tzinfo, now_ms: int) -> list[Due]:
    found: list[Due] = []
    back_ms = LOOK_BACK["shift"] * 86_400_000
    for one in plant.calendar.between(now_ms - back_ms, now_ms + 1):
        if not one.scheduled or (report.shifts and one.shift not in report.shifts) or one.end_ms > now_ms:
            continue
        at = one.end_ms + report.after_min * 60_000
        if report.at is not None:
            day = datetime.fromtimestamp(one.end_ms / 1000, zone).date()
            at = next(when for k in range(3) if (when := _instant(day + timedelta(days=k), report, zone)) >= one.end_ms)
        found.append(Due(kind="shift", business_date=one.business_date, shift=one.shift, due_ms=at))
    return found


def _weeks(report: Report, zone: tzinfo, now_ms: int) -> list[Due]:
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    found: list[Due] = []
    for back in range(LOOK_BACK["week"] + 1):
        day = today - timedelta(days=back)
        if day.isoweekday() == report.day:
            monday = day - timedelta(days=day.isoweekday() - 1) - timedelta(days=7)
            found.append(
                Due(kind="week", business_date=monday.isoformat(), shift="", due_ms=_instant(day, report, zone))
            )
    return found
