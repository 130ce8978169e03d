"""What a report says besides its figures: verdicts and actions of note, quality, and what the data lack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cloud.bi import quality as measurements
from cloud.bi.hours import by_hour
from cloud.bi.semantic.table import Table
from cloud.bi.spc import RULE_SETS
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.judging import actions as decided
from cloud.plant import Plant, Plants
from cloud.reports.subject import Subject

Json = dict[str, Any]

MOST_VERDICTS: Final = 12
MOST_ACTIONS: Final = 8
MOST_MEASURED: Final = 6


def verdicts(connection: Connection, plant: Plant, subject: Subject, span: tuple[int, int]) -> Json:
    """Give the verdicts on what was made in a span: a window that ends with it lies in it, as the marts have it."""
    counted = {
        decision: int(count)
        for decision, count in connection.execute(
            "select decision, count(*) from judgment where tenant=? and site=? and at>? and at<=? group by decision",
            (subject.tenant, subject.site, *(ms * 1_000_000 for ms in span)),
        )
    }
    rows = connection.execute(
        "select verdict_id, work_unit, decision, at, summary from judgment where tenant=? and site=? and at>? and at<=?"
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


def actions(connection: Connection, subject: Subject, span: tuple[str, str], now_ms: int) -> list[Json]:
    found, _ = decided.page(connection, subject.tenant, None, limit=200, offset=0, now_ms=now_ms)
    mine = [one for one in found if one["site"] == subject.site and span[0] <= one["at"] < span[1]]
    keep = ("action", "action_type", "state", "at", "target", "value", "ruleset")
    return [{name: one.get(name) for name in keep} for one in mine[:MOST_ACTIONS]]


def quality(connection: Connection, plant: Plant, subject: Subject, times: tuple[int, int, int]) -> Json:
    start_ms, end_ms, _ = times
    dates = measurements.Dates(
        first=subject.business_date, last=str(subject.period.last), start_ms=start_ms, end_ms=end_ms
    )
    measured: list[Json] = []
    for one in measurements.characteristics(connection, subject.tenant, dates):
        if one["site"] != subject.site or len(measured) == MOST_MEASURED:
            continue
        place = (subject.tenant, subject.site, one["work_unit"])
        about = measurements.Subject(one["characteristic"], one["product"] or None)
        chart = measurements.control_chart(connection, place, about, dates, next(iter(RULE_SETS)))
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
        one
        for one in measurements.ccp_records(connection, subject.tenant, dates, None)
        if one.get("site") == subject.site
    ]
    return {"measured": measured, "ccp": len(records), "ccp_failed": sum(_failed(one) for one in records)}


def _failed(record: Mapping[str, Any]) -> bool:
    return record.get("within") is False or record.get("passed") is False or record.get("conforms") is False


def lacks(connection: Connection, plants: Plants, subject: Subject, whole: Table, times: tuple[int, int, int]) -> Json:
    """Say what the figures lack: records on their way or lost, silent gateways, buckets to recompute, facts held back."""
    start_ms, end_ms, now_ms = times
    gateways: list[Json] = []
    enrolled = [one.gateway for one in plants.gateways(subject.tenant) if one.site == subject.site]
    unheard: list[str] = []
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
        if one.accounts.as_of_ms is None or any(hour.state == "unknown" for hour in one.hours):
            unheard.append(one.accounts.gateway)
    unheard += [name for name in enrolled if name not in {one["gateway"] for one in gateways}]  # never came in
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
        "unheard": unheard,
        "complete": not any(one["waiting"] or one["lost"] or one["unaccounted"] for one in gateways)
        and not unheard
        and not fresh.pending_buckets
        and not held[0][0],
    }
