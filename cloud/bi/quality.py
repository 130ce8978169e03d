"""Quality of lines: sums from marts, points from base rows by index and a bounded number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.bi.frozen import frozen
from cloud.bi.kpi import ratio
from cloud.bi.spc import Chart, Measured, RuleSet, capable, measured_chart, proportion_chart
from cloud.bi.times import iso, iso_ns
from cloud.database import Connection, Row
from cloud.plant import Place
from models.spc import RULES
from models.spc.capability import Capability, Index, Specification
from sync.judgment import CcpRecorded

NS: Final = 1_000_000
MICRO: Final = 1_000_000
MOST_POINTS: Final = 500
MOST_VALUES: Final = 2_500
"""Newest values that one chart is made of: points in subgroups of five."""
CCP_ROWS: Final = 200
CCP_COUNTED: Final = 5_000
"""Newest records of control points that are looked at one by one; an hour of 20 lines that look every minute has 1,200."""

_ccp: Final = msgspec.json.Decoder(CcpRecorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """A period in business dates, both included, and the instants it spans at its site."""

    first: str
    last: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a chart is of."""

    characteristic: str
    product: str | None = None
    """None: whatever was made."""


def characteristics(connection: Connection, tenant: str, dates: Dates) -> list[dict[str, Any]]:
    """Give what was measured on which line of which product: counts, and the mean of what has a value."""
    rows = connection.execute(
        "select site, work_unit, characteristic, product, unit, sum(measured), sum(passed), sum(failed), sum(untold),"
        " sum(total_micro), sum(valued) from mart_quality where tenant=? and business_date>=? and business_date<=?"
        " group by site, work_unit, characteristic, product, unit order by 1, 2, 3, 4, 5",
        (tenant, dates.first, dates.last),
    )
    return [
        {
            "site": site,
            "work_unit": unit,
            "characteristic": name,
            "product": product,
            "unit": measure,
            **dict(zip(("measured", "passed", "failed", "untold"), map(int, counts), strict=True)),
            "mean": None if not valued else int(total) / MICRO / int(valued),
        }
        for site, unit, name, product, measure, *counts, total, valued in rows
    ]


def yields(connection: Connection, tenant: str, dates: Dates, place: Place | None) -> list[dict[str, Any]]:
    """Give pieces and first-pass yield by business date, of one line or of all."""
    where, values = _where(place, tenant)
    rows = connection.execute(
        "select business_date, sum(produced), sum(good), sum(scrap), sum(rework) from mart_shift where"  # noqa: S608 - our texts
        f" {where} and business_date>=? and business_date<=? group by business_date order by 1",
        (*values, dates.first, dates.last),
    )
    return [{"date": date, **_pieces(sums)} for date, *sums in rows]


def _pieces(sums: Sequence[Any]) -> dict[str, Any]:
    produced, good, scrap, rework = map(int, sums)
    return {
        "produced": produced,
        "good": good,
        "scrap": scrap,
        "rework": rework,
        "first_pass_yield": ratio(good, produced),
        "defect_rate": ratio(produced - good, produced),
        "scrap_ratio": ratio(scrap, produced),
    }


def total(days: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the whole period's pieces and ratios: of sums, never of the days' ratios."""
    return _pieces([sum(day[name] for day in days) for name in ("produced", "good", "scrap", "rework")])


def defects(connection: Connection, tenant: str, dates: Dates, place: Place | None) -> list[dict[str, Any]]:
    """Give defects by type, most first, with each one's share and the share of all so far."""
    where, values = _where(place, tenant)
    rows = connection.execute(
        f"select defect, sum(quantity) from mart_defect where {where} and business_date>=? and business_date<=?"  # noqa: S608 - our texts
        " group by defect order by 2 desc, 1",
        (*values, dates.first, dates.last),
    )
    whole = sum(int(quantity) for _, quantity in rows)
    so_far, found = 0, list[dict[str, Any]]()
    for defect, quantity in rows:
        so_far += int(quantity)
        found.append(
            {
                "defect": defect,
                "quantity": int(quantity),
                "share": ratio(int(quantity), whole),
                "cumulative": ratio(so_far, whole),
            }
        )
    return found


def _where(place: Place | None, tenant: str) -> tuple[str, tuple[str, ...]]:
    return ("tenant=?", (tenant,)) if place is None else ("tenant=? and site=? and work_unit=?", place)


def defect_chart(connection: Connection, place: Place, dates: Dates, rules: RuleSet) -> dict[str, Any]:
    """Give the p chart of scrap by shift: each shift's faulty pieces among all it made."""
    rows = connection.execute(
        "select start_ms, sum(scrap), sum(produced) from mart_shift where tenant=? and site=? and work_unit=? and"
        " start_ms>=? and start_ms<? group by start_ms order by start_ms desc limit ?",
        (*place, dates.start_ms, dates.end_ms, MOST_POINTS),
    )
    counted = [(start * NS, int(scrap), int(produced)) for start, scrap, produced in reversed(rows)]
    return chart_answer(proportion_chart(counted, rules))


def measurements(connection: Connection, place: Place, subject: Subject, dates: Dates) -> list[Measured]:
    """Give the newest values of a characteristic in the period, the oldest of them first."""
    product = subject.product
    named = "" if product is None else " and product=?"
    rows = connection.execute(
        "select at, value, sample, product, lot, low, high, passed from quality_measurement where tenant=? and site=?"  # noqa: S608 - our text
        f" and work_unit=? and characteristic=? and at>=? and at<? and value is not null{named}"
        " order by at desc, inc desc, seq desc limit ?",
        (
            *place,
            subject.characteristic,
            dates.start_ms * NS,
            dates.end_ms * NS,
            *(() if product is None else (product,)),
            MOST_VALUES,
        ),
    )
    return [
        Measured(
            at=at,
            value=value,
            sample=sample or "",
            product=made,
            lot=lot,
            low=low,
            high=high,
            passed=None if passed is None else bool(passed),
        )
        for at, value, sample, made, lot, low, high, passed in reversed(rows)
    ]


def control_chart(
    connection: Connection, place: Place, subject: Subject, dates: Dates, rules: RuleSet
) -> dict[str, Any]:
    """Give a characteristic's chart, its limits and where they come from, and what the process is capable of."""
    found = measurements(connection, place, subject, dates)
    chart = measured_chart(found, rules, frozen(connection, place, subject.characteristic, subject.product))
    able, specification, why = capable(found)
    answer = chart_answer(chart)
    answer["points"] = answer["points"][-MOST_POINTS:]
    return answer | {
        "values": len(found),
        "truncated": len(found) == MOST_VALUES or len(chart.points) > MOST_POINTS,
        "specification": None if specification is None else {"low": specification.lower, "high": specification.upper},
        "capability": None if able is None else _capability(able, specification),
        "no_capability": why or None,
    }


def chart_answer(chart: Chart) -> dict[str, Any]:
    """Give a chart as the API says it."""
    limits = chart.limits
    return {
        "kind": chart.kind,
        "points": [
            {
                "at": iso_ns(point.at),
                "value": point.value,
                "size": point.size,
                "counted": point.counted,
                "spread": point.spread,
                "lower": point.lower,
                "upper": point.upper,
                "lot": point.lot,
                "sample": point.sample or None,
                "signals": [
                    {"rule": signal.rule, "side": signal.side, "line": signal.line, "points": len(signal.points)}
                    for signal in point.signals
                ],
            }
            for point in chart.points
        ],
        "limits": None
        if limits is None
        else {
            "center": limits.center,
            "sigma": limits.sigma,
            "sigma_z": limits.sigma_z,
            "source": chart.source,
            "points_used": chart.used or None,
            "excluded": chart.excluded,
            "ruleset": chart.ruleset or None,
            "version": chart.version or None,
            "spread_center": chart.spread_center,
            "spread_lower": chart.spread_lower,
            "spread_upper": chart.spread_upper,
            "doubts": [dict(doubt) for doubt in chart.doubts],
        },
        "no_limits": chart.why or None,
        "rules": _rules(chart),
    }


def _rules(chart: Chart) -> list[dict[str, Any]]:
    """Give every rule that signalled, with how often, in words; the most frequent first."""
    seen: dict[str, int] = {}
    for point in chart.points:
        for signal in point.signals:
            seen[signal.rule] = seen.get(signal.rule, 0) + 1
    return [
        {"rule": name, "count": count, "text": _said(name)}
        for name, count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    ]


_BESIDE: Final = {
    "moving_range": {
        "ko": "이웃한 두 점의 차이가 한계를 벗어남",
        "en": "two neighbouring points are further apart than the limit",
    },
    "spread": {"ko": "부분군 안의 산포가 한계를 벗어남", "en": "the spread within a sample is beyond its limit"},
}


def _said(name: str) -> dict[str, str]:
    known = RULES.get(name)
    return _BESIDE.get(name, {"ko": name, "en": name}) if known is None else {"ko": known.ko, "en": known.en}


def _capability(able: Capability, specification: Specification | None) -> dict[str, Any]:
    return {
        "values": able.count,
        "mean": able.mean,
        "within": able.within,
        "overall": able.overall,
        **{name: _index(getattr(able, name)) for name in ("cp", "cpk", "pp", "ppk", "cpm")},
        "beyond": able.beyond,
        "normal_p": able.normal_p,
        "warnings": list(able.warnings),
        "low": None if specification is None else specification.lower,
        "high": None if specification is None else specification.upper,
    }


def _index(index: Index | None) -> dict[str, float] | None:
    return None if index is None else {"value": index.value, "low": index.low, "high": index.high}


_CCP: Final = (
    "select f.body, s.site, g.name from fact_subject s join fact f on f.inc=s.inc and f.stream=s.stream and f.seq=s.seq"
    " join gateway g on g.id=s.gateway where s.tenant=? and s.kind='ccp'"
)


def ccp_records(connection: Connection, tenant: str, dates: Dates, place: Place | None) -> list[dict[str, Any]]:
    """Give the newest records of critical control points in the period."""
    mine, values = ("", ()) if place is None else (" and s.site=? and s.work_unit=?", place[1:])
    rows = connection.execute(
        f"{_CCP} and s.at>=? and s.at<?{mine} order by s.at desc, s.inc desc, s.seq desc limit ?",
        (tenant, dates.start_ms * NS, dates.end_ms * NS, *values, CCP_COUNTED),
    )
    return [ccp_answer(row) for row in rows]


def ccp_of_lot(connection: Connection, tenant: str, lot: str, most: int) -> list[dict[str, Any]]:
    """Give the records of critical control points made while a lot was made, in the order of time."""
    return [
        ccp_answer(row)
        for row in connection.execute(f"{_CCP} and s.lot=? order by s.at, s.inc, s.seq limit ?", (tenant, lot, most))
    ]


def ccp_answer(row: Row) -> dict[str, Any]:
    """Give a row of _CCP as the API says it."""
    body, site, gateway = row
    fact = _ccp.decode(body)
    return {
        "at": iso_ns(fact.at),
        "site": site,
        "work_unit": fact.work_unit,
        "gateway": gateway,
        "ccp": fact.ccp,
        "value": fact.value,
        "unit": fact.unit,
        "low": fact.low,
        "high": fact.high,
        "within": fact.within,
        "lot": fact.context.lot,
        "product": fact.context.product,
        "verdict_id": fact.verdict_id or None,
        "ruleset": fact.ruleset or None,
        "ruleset_version": fact.ruleset_version or None,
    }


def summary(connection: Connection, tenant: str, dates: Dates, place: Place | None, now_ms: int) -> dict[str, Any]:
    """Give the answer of GET /quality: the period's pieces, yields, defects, what was measured, control points."""
    days = yields(connection, tenant, dates, place)
    records = ccp_records(connection, tenant, dates, place)
    return {
        "as_of": iso(now_ms),
        "start": iso(dates.start_ms),
        "end": iso(dates.end_ms),
        "first": dates.first,
        "last": dates.last,
        "total": total(days),
        "days": days,
        "defects": defects(connection, tenant, dates, place),
        "characteristics": [
            one
            for one in characteristics(connection, tenant, dates)
            if place is None or (one["site"], one["work_unit"]) == place[1:]
        ],
        "ccp": records[:CCP_ROWS],
        "ccp_counts": {
            "records": len(records),
            "out": sum(one["within"] is False for one in records),
            "untold": sum(one["within"] is None for one in records),
        },
        "ccp_truncated": len(records) == CCP_COUNTED,
        "deviations": [one for one in records if one["within"] is False][:CCP_ROWS],
    }
