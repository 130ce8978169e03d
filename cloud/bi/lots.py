"""Lots: which there are, and the trace of one: all that was measured, judged, done and missed while it was made.

The marts say in which shifts of which lines a lot was made; base rows are then read by the line's own index within those
shifts, so that a lot of two years ago costs what one of today costs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.bi.overview import NS, timeline
from cloud.bi.quality import ccp_of_lot
from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row
from cloud.judging import actions
from cloud.marts.history import gaps, states
from cloud.marts.measure import segments
from cloud.plant import Place, Plants
from sync.judgment import FeedbackGiven, ModelChanged, RulesetActivated

MOST: Final = 1_000
"""Of each kind of row in one trace; more are counted, and said to be."""
MOST_VERDICTS: Final = 200
LATER_NS: Final = 90 * 86_400 * 1_000_000_000
"""A person's word on a verdict of the lot may come so long after it."""

_word: Final = msgspec.json.Decoder(FeedbackGiven)
_rules: Final = msgspec.json.Decoder(RulesetActivated)
_model: Final = msgspec.json.Decoder(ModelChanged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Where and when a lot was made: from the first piece to the last, ns."""

    place: Place
    start: int
    end: int

    @property
    def period_ms(self) -> tuple[int, int]:
        return self.start // NS, -(-self.end // NS)


def lot_list(
    connection: Connection, tenant: str, search: str, line: tuple[str | None, str | None], *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Give lots, those made last first, and how many there are. search: a part of the lot's, order's or product's name.

    line: (site, work unit), each None for any.
    """
    where, values = "tenant=? and lot<>''", [tenant]
    if search:
        like = "%" + search.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        where += " and (lower(lot) like ? escape '!' or lower(job_order) like ? escape '!' or lower(product) like ? escape '!')"
        values += [like, like, like]
    for column, value in zip(("site", "work_unit"), line, strict=True):
        if value is not None:
            where += f" and {column}=?"
            values.append(value)
    count = connection.execute(f"select count(distinct lot) from mart_order where {where}", values)[0][0]  # noqa: S608 - our texts
    rows = connection.execute(
        "select lot, min(product), max(product), min(job_order), max(job_order), min(site || ':' || work_unit),"  # noqa: S608 - our texts
        " count(distinct site || ':' || work_unit), min(business_date), max(business_date), sum(produced), sum(good), sum(scrap), sum(rework), max(start_ms)"
        f" from mart_order where {where} group by lot order by max(start_ms) desc, lot desc limit ? offset ?",
        (*values, limit, offset),
    )
    return [_listed(row) for row in rows], int(count)


def _listed(row: Row) -> dict[str, Any]:
    lot, product, other, order, another, line, units, first, last, *pieces, _ = row
    site, _, unit = line.partition(":")
    names = ("produced", "good", "scrap", "rework")
    return {
        "lot": lot,
        "products": sorted({product, other}),
        "orders": sorted({order, another}),
        "site": site,
        "work_unit": unit,
        "work_units": int(units),
        "first": first,
        "last": last,
        **dict(zip(names, map(int, pieces), strict=True)),
    }


def trace(connection: Connection, plants: Plants, tenant: str, lot: str, now_ms: int) -> dict[str, Any] | None:
    """Give the answer of GET /quality/lots/{lot}; None for a lot nobody ever heard of."""
    made = where_made(connection, tenant, lot)
    measured = _measured(connection, tenant, lot)
    points = ccp_of_lot(connection, tenant, lot, MOST)
    if not made and not measured and not points:
        return None
    judged = [_judged(connection, one, lot) for one in made]
    done = _actions(connection, tenant, lot, now_ms)
    words = _feedback(connection, tenant, lot, made)
    return {
        "as_of": iso(now_ms),
        "lot": lot,
        "made": [_made(connection, plants, one, lot) for one in made],
        "characteristics": _by_characteristic(measured),
        "measurements": measured,
        "control_points": _by_point(points),
        "ccp": points,
        "judgments": judged,
        "versions": [version for one in made for version in _versions(connection, one)],
        "actions": done,
        "feedback": words,
        "people": _people(done, words),
        "stops": [stop for one in made for stop in _stops(connection, plants, one)],
        "alarms": [alarm for one in made for alarm in _alarms(connection, one)],
        "gaps": [gap for one in made for gap in _gaps(connection, one)],
        "truncated": max(len(measured), len(points), len(done), len(words)) >= MOST,
    }


def where_made(connection: Connection, tenant: str, lot: str) -> list[Made]:
    """Give the lines that made a lot, each from its first piece to its last."""
    found: list[Made] = []
    for site, unit, first, last in connection.execute(
        "select o.site, o.work_unit, min(o.start_ms), max(s.end_ms) from mart_order o join mart_shift s on s.tenant=o.tenant"
        " and s.site=o.site and s.work_unit=o.work_unit and s.start_ms=o.start_ms where o.tenant=? and o.lot=?"
        " group by o.site, o.work_unit order by 3, 1, 2",
        (tenant, lot),
    ):
        exact = connection.one(
            "select min(start), max(at) from production where tenant=? and site=? and work_unit=? and counted_ms>=?"
            " and counted_ms<? and lot=?",
            (tenant, site, unit, first, last, lot),
        )
        if exact is not None and exact[0] is not None:
            found.append(Made(place=(tenant, site, unit), start=exact[0], end=exact[1]))
    return found


def _made(connection: Connection, plants: Plants, one: Made, lot: str) -> dict[str, Any]:
    sums = connection.execute(
        "select product, job_order, sum(produced), sum(good), sum(scrap), sum(rework), sum(energy_wh) from mart_order"
        " where tenant=? and site=? and work_unit=? and lot=? and start_ms>=? and start_ms<=? group by product, job_order"
        " order by 3 desc, 1, 2",
        (*one.place, lot, one.period_ms[0] - 2 * 86_400_000, one.period_ms[1]),
    )
    names = ("produced", "good", "scrap", "rework", "energy_wh")
    return {
        "site": one.place[1],
        "work_unit": one.place[2],
        "name": plants[one.place[:2]].full_label(one.place[2]),
        "start": iso_ns(one.start),
        "end": iso_ns(one.end),
        "products": sorted({row[0] for row in sums if row[0]}),
        "orders": sorted({row[1] for row in sums if row[1]}),
        **{name: sum(int(row[2 + at]) for row in sums) for at, name in enumerate(names)},
    }


def _measured(connection: Connection, tenant: str, lot: str) -> list[dict[str, Any]]:
    names = ("site", "work_unit", "at", "characteristic", "value", "unit", "low", "high", "passed", "sample", "product")
    rows = connection.execute(
        "select site, work_unit, at, characteristic, value, unit, low, high, passed, sample, product from"
        " quality_measurement where tenant=? and lot=? order by at, inc, seq limit ?",
        (tenant, lot, MOST),
    )
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [
        one | {"at": iso_ns(one["at"]), "passed": None if one["passed"] is None else bool(one["passed"])}
        for one in found
    ]


def _by_characteristic(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in measured:
        groups.setdefault((one["site"], one["work_unit"], one["characteristic"]), []).append(one)
    found: list[dict[str, Any]] = []
    for (site, unit, name), rows in sorted(groups.items()):
        values = [row["value"] for row in rows if row["value"] is not None]
        found.append(
            {
                "site": site,
                "work_unit": unit,
                "characteristic": name,
                "unit": rows[-1]["unit"],
                "measured": len(rows),
                "failed": sum(row["passed"] is False for row in rows),
                "untold": sum(row["passed"] is None for row in rows),
                "mean": sum(values) / len(values) if values else None,
                "smallest": min(values, default=None),
                "largest": max(values, default=None),
                "low": rows[-1]["low"],
                "high": rows[-1]["high"],
            }
        )
    return found


def _by_point(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in points:
        groups.setdefault((one["site"], one["work_unit"], one["ccp"]), []).append(one)
    return [
        {
            "site": site,
            "work_unit": unit,
            "ccp": name,
            "unit": rows[-1]["unit"],
            "records": len(rows),
            "out": sum(row["within"] is False for row in rows),
            "untold": sum(row["within"] is None for row in rows),
            "low": rows[-1]["low"],
            "high": rows[-1]["high"],
        }
        for (site, unit, name), rows in sorted(groups.items())
    ]


def _judged(connection: Connection, one: Made, lot: str) -> dict[str, Any]:
    """Give how often each decision was taken, and the verdicts that were not normal."""
    within = "tenant=? and site=? and work_unit=? and at>=? and at<=? and lot=?"
    values = (*one.place, one.start, one.end, lot)
    counts = connection.execute(
        f"select decision, count(*) from judgment where {within} group by decision order by 1",  # noqa: S608 - our text
        values,
    )
    rows = connection.execute(
        "select verdict_id, at, decision, severity, confidence, ruleset, summary from judgment where"  # noqa: S608 - our text
        f" {within} and decision<>'normal' order by at, inc, seq limit ?",
        (*values, MOST_VERDICTS),
    )
    versions = connection.execute(
        "select ruleset, ruleset_version, model, count(*), min(at), max(at) from judgment where"  # noqa: S608 - our text
        f" {within} group by ruleset, ruleset_version, model order by 5, 1, 2, 3",
        values,
    )
    names = ("verdict_id", "at", "decision", "severity", "confidence", "ruleset", "summary")
    told = [dict(zip(names, row, strict=True)) for row in rows]
    return {
        "site": one.place[1],
        "work_unit": one.place[2],
        "decisions": {decision: int(count) for decision, count in counts},
        "by_version": [
            {
                "ruleset": ruleset,
                "ruleset_version": version,
                "model": model,
                "judgments": int(count),
                "first": iso_ns(first),
                "last": iso_ns(last),
            }
            for ruleset, version, model, count, first, last in versions
        ],
        "verdicts": [one | {"at": iso_ns(one["at"]), "summary": json.loads(one["summary"])} for one in told],
    }


def _versions(connection: Connection, one: Made) -> list[dict[str, Any]]:
    """Give the rulesets and models in force on a line while it made the lot, each with the time from which it was."""
    found: list[dict[str, Any]] = []
    for kind in ("ruleset", "model"):
        sql = (
            "select s.at, f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
            " where s.kind=? and s.tenant=? and s.site=? and s.work_unit=?"
        )
        before = connection.execute(
            f"{sql} and s.at<=? order by s.at desc, s.seq desc limit 1", (kind, *one.place, one.start)
        )
        within = connection.execute(
            f"{sql} and s.at>? and s.at<=? order by s.at, s.seq", (kind, *one.place, one.start, one.end)
        )
        for at, body in (*before, *within):
            told = _version(kind, body) | {
                "kind": kind,
                "site": one.place[1],
                "work_unit": one.place[2],
                "since": iso_ns(at),
            }
            if told not in found:  # a large ruleset comes in several facts
                found.append(told)
    return found


def _version(kind: str, body: str) -> dict[str, Any]:
    if kind == "ruleset":
        rules = _rules.decode(body)
        return {"name": rules.ruleset, "version": rules.ruleset_version, "hash": rules.ruleset_hash, "state": "active"}
    model = _model.decode(body)
    return {"name": model.model, "version": model.version, "hash": model.sha256, "state": model.state}


def _actions(connection: Connection, tenant: str, lot: str, now_ms: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        "select f.body, s.site, g.name, s.gateway from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and"
        " f.seq=s.seq join gateway g on g.id=s.gateway where s.tenant=? and s.lot=? and s.kind='action_decision'"
        " order by s.at, s.inc, s.seq limit ?",
        (tenant, lot, MOST),
    )
    return actions.told(connection, tenant, rows, now_ms)


def _feedback(connection: Connection, tenant: str, lot: str, made: Sequence[Made]) -> list[dict[str, Any]]:
    if not made:
        return []
    rows = connection.execute(
        "select f.body from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
        " where s.tenant=? and s.kind='feedback' and s.at>=? and s.at<? and exists(select 1 from judgment j where"
        " j.tenant=s.tenant and j.verdict_id=s.subject and j.lot=?) order by s.at limit ?",
        (tenant, min(one.start for one in made), max(one.end for one in made) + LATER_NS, lot, MOST),
    )
    return [
        {
            "at": iso_ns(word.at),
            "verdict_id": word.target,
            "type": word.type,
            "actor": word.actor,
            "corrected": word.corrected,
            "comment": word.comment,
        }
        for word in (_word.decode(body) for (body,) in rows)
    ]


def _people(done: Sequence[dict[str, Any]], words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give who had a part: who said yes or no to an action, who spoke on a verdict; each with how often."""
    parts: dict[tuple[str, str], int] = {}
    for action in done:
        for answer in action["answers"]:
            key = (answer["actor"], "approved" if answer["approved"] else "refused")
            parts[key] = parts.get(key, 0) + 1
    for word in words:
        parts[word["actor"], "feedback"] = parts.get((word["actor"], "feedback"), 0) + 1
    return [{"actor": actor, "part": part, "times": times} for (actor, part), times in sorted(parts.items()) if actor]


def _stops(connection: Connection, plants: Plants, one: Made) -> list[dict[str, Any]]:
    start_ms, end_ms = one.period_ms
    calendar = plants[one.place[:2]].calendar
    cut = segments(
        start_ms,
        end_ms,
        states(connection, one.place, start_ms, end_ms),
        breaks=[pause for instance in calendar.between(start_ms, end_ms) for pause in instance.breaks],
        gaps=gaps(connection, one.place, start_ms, end_ms),
        known_until_ms=end_ms,
    )
    found = [part for part in timeline(cut) if part["time_element"] != "production"]
    return [part | {"site": one.place[1], "work_unit": one.place[2]} for part in found[:MOST]]


def _alarms(connection: Connection, one: Made) -> list[dict[str, Any]]:
    return [
        {
            "site": one.place[1],
            "work_unit": one.place[2],
            "at": iso_ns(at),
            "alarm": alarm,
            "active": bool(active),
            "severity": severity,
            "summary": json.loads(summary),
            "verdict_id": verdict,
        }
        for at, alarm, active, severity, summary, verdict in connection.execute(
            "select at, alarm, active, severity, summary, verdict_id from alarm_change where tenant=? and site=? and"
            " work_unit=? and at>=? and at<=? order by at, inc, seq limit ?",
            (*one.place, one.start, one.end, MOST),
        )
    ]


def _gaps(connection: Connection, one: Made) -> list[dict[str, Any]]:
    """Give the silences that were declared: of what was not read while the lot was made."""
    return [
        {
            "site": one.place[1],
            "work_unit": one.place[2],
            "source": source,
            "start": iso_ns(start),
            "end": iso_ns(at),
            "reason": reason,
            "tags": tags,
        }
        for source, start, at, reason, tags in connection.execute(
            "select source, start, at, reason, tags from gap where tenant=? and site=? and work_unit=? and at>? and start<?"
            " order by start limit ?",
            (*one.place, one.start, one.end, MOST),
        )
    ]
