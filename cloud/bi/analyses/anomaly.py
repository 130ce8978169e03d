"""DETECT_ANOMALY: which steps do not belong to the rest, by control charts with our rules; each with what was expected.

Proportions stand on a p chart, where a day of few pieces has wider limits (Laney's p' where days vary more than pieces
explain), all else on a chart of individuals. Sums that grow with planned time are charted per planned hour, so that half
a shift is no anomaly; steps without planned time have no place on the chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.analyses import drawing
from cloud.bi.analyses.asked import HOUR_S, WORKED, Asked, days, refusal, scale
from cloud.bi.analyses.compare import HOURS_BY
from cloud.bi.analyses.result import Column, Drill, Result
from cloud.bi.analyses.words import LANGUAGES
from cloud.bi.semantic.plan import Grain
from cloud.bi.semantic.table import Row
from models.spc.chart import Design, Point, series
from models.spc.limits import Limits
from models.spc.phase1 import MIN_POINTS, Estimate, NotOneProcessError, PhaseOneError, Subgroup, counts, individuals
from models.spc.rules import RULES, USUAL

FEW_DAYS: Final = MIN_POINTS
"""Up to this many days the steps are shifts, unless a grain is asked: a chart needs twenty points. With more, days are
better steps: what one shift always does otherwise than the next is no anomaly, but widens the limits."""
SAID: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One point of the chart."""

    row: Row
    value: float
    """What is plotted: the figure, or per planned hour."""
    size: float
    """Pieces of a proportion, else 1."""
    times: float
    """What a plotted value is multiplied with to be in the metric's unit: planned hours, or 1."""


def detect_anomaly(asked: Asked) -> Result:
    """Chart one metric over time."""
    grain: Grain = asked.plan.grain or ("shift" if days(asked.period) <= FEW_DAYS else "day")
    per_hour = asked.name in WORKED and all(one.dimension in HOURS_BY for one in asked.plan.filters)
    table = asked.table((asked.name, "planned_busy_time") if per_hour else (asked.name,), grain=grain)
    factor = scale(table.rows)
    steps = [step for row in table.rows if (step := _step(asked, row, factor, per_hour=per_hour)) is not None]
    if len(steps) < MIN_POINTS:
        text = {
            "ko": f"관리도를 그리기에 시점이 부족합니다({len(steps)}개, 최소 {MIN_POINTS}개)",
            "en": f"{len(steps)} points are too few for a control chart; at least {MIN_POINTS} are needed",
        }
        return refusal(asked, "not_enough_history", text, points=len(steps), least_points=MIN_POINTS, grain=grain)
    try:
        estimate = _estimate(asked, steps)
    except NotOneProcessError:
        text = {
            "ko": "값이 하나의 안정된 상태에서 나온 것으로 보이지 않아 기대 범위를 정할 수 없습니다",
            "en": "the figures do not come from one steady process, so there is no range to expect",
        }
        return refusal(asked, "not_one_process", text, points=len(steps), grain=grain)
    except PhaseOneError:
        text = {"ko": "값이 변하지 않아 이상점이 없습니다", "en": "the figures never vary, so nothing stands out"}
        return refusal(asked, "no_variation", text, points=len(steps), grain=grain)
    limits = estimate.limits
    told = series(limits, Design(rules=USUAL), [Point(value=step.value, size=step.size) for step in steps])
    rows: list[tuple[Any, ...]] = []
    found: list[dict[str, Any]] = []
    for step, (_, signals) in zip(steps, told, strict=True):
        low, high = _expected(asked, limits, step)
        rules = tuple(signal.rule for signal in signals)
        side = next((signal.side for signal in signals if signal.side), None)
        rows.append(
            (step.row.label, step.row.cells[0].value, low, high, _centre(limits, step), bool(rules), ", ".join(rules))
        )
        if rules:
            found.append(
                {
                    "at": step.row.label,
                    "value": step.row.cells[0].value,
                    "low": low,
                    "high": high,
                    "rules": rules,
                    "side": side,
                }
            )
    chart_kind = "p′" if limits.kind == "p" and limits.sigma_z != 1 else limits.kind
    return Result(
        columns=(
            Column(name=grain, kind="time", title={"ko": "기간", "en": "When"}),
            asked.column(),
            Column(name="low", kind="metric", title={"ko": "기대 하한", "en": "Expected from"}, unit=asked.unit),
            Column(name="high", kind="metric", title={"ko": "기대 상한", "en": "Expected to"}, unit=asked.unit),
            Column(name="centre", kind="metric", title={"ko": "중심", "en": "Centre"}, unit=asked.unit),
            Column(name="anomaly", kind="text", title={"ko": "이상", "en": "Anomaly"}),
            Column(name="rules", kind="text", title={"ko": "규칙", "en": "Rules"}),
        ),
        rows=tuple(rows),
        findings={
            "chart": chart_kind,
            "centre": limits.center,
            "sigma": limits.sigma,
            "sigma_z": limits.sigma_z,
            "points": len(steps),
            "excluded": [{"at": steps[one.position].row.label} for one in estimate.excluded],
            "doubts": [dict(doubt) for doubt in estimate.doubts],
            "per_planned_hour": per_hour,
            "anomalies": found,
            "count": len(found),
            "grain": grain,
            "rules": {name: {"ko": RULES[name].ko, "en": RULES[name].en} for name in USUAL},
            "dates": table.dates,
        },
        chart=_chart(asked, rows),
        sentences=_sentences(asked, found, len(steps)),
        drill=_drills(asked, found),
    )  # fmt: skip


def _step(asked: Asked, row: Row, factor: float, *, per_hour: bool) -> Step | None:
    cell = row.cells[0]
    if cell.value is None:
        return None
    if asked.is_proportion and cell.denominator:
        return Step(row=row, value=min(1.0, cell.numerator / cell.denominator), size=cell.denominator, times=factor)
    if per_hour:
        hours = (row.cells[1].value or 0.0) / HOUR_S
        return Step(row=row, value=cell.value / hours, size=1.0, times=hours) if hours > 0 else None
    return Step(row=row, value=cell.value, size=1.0, times=1.0)


def _estimate(asked: Asked, steps: Sequence[Step]) -> Estimate:
    if asked.is_proportion:
        samples = [Subgroup(counted=step.value * step.size, inspected=step.size) for step in steps]
        return counts(samples, "p", laney=None)
    return individuals([step.value for step in steps])


def _expected(asked: Asked, limits: Limits, step: Step) -> tuple[float, float]:
    low, high = limits.line(-3, step.size) * step.times, limits.line(3, step.size) * step.times
    return max(0.0, low), min(high, 1.0) if asked.is_proportion else high


def _centre(limits: Limits, step: Step) -> float:
    return limits.center * step.times


def _chart(asked: Asked, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    values = [{"x": r[0], "y": r[1], "l": r[2], "h": r[3], "c": r[4], "a": r[5]} for r in rows]
    x = drawing.steps([row[0] for row in rows])
    y = drawing.height_axis("y", asked.unit, [v for row in rows for v in (row[1], row[2], row[3])])
    marks = {
        "transform": [{"filter": "datum.a"}],
        "mark": {
            "type": "point",
            "shape": "diamond",
            "filled": True,
            "size": 110,
            "color": "var(--down)",
            "opacity": 1,
        },
        "encoding": {"x": x, "y": y},
    }
    centre = drawing.line(x, {**y, "field": "c"}, drawing.MARKS + 1, colour="var(--muted)", dash=True)
    return drawing.chart([drawing.band(x, y, "l", "h"), centre, drawing.line(x, y, len(rows)), marks], values)


def _sentences(asked: Asked, found: Sequence[dict[str, Any]], points: int) -> dict[str, tuple[str, ...]]:
    subject, said = asked.subject(), dict[str, tuple[str, ...]]()
    # What lies beyond the limits comes first, then the newest.
    order = sorted(found, key=lambda one: ("nelson_1" in one["rules"], one["at"]), reverse=True)
    for language in LANGUAGES:
        ko = language == "ko"
        if not found:
            said[language] = (
                f"{subject[language]}: {points}개 시점 모두 기대 범위 안입니다."
                if ko
                else f"{subject[language]}: all {points} points are as expected.",
            )
            continue
        texts = [
            f"{subject[language]}: {points}개 시점 중 {len(found)}개가 평소와 다릅니다."
            if ko
            else f"{subject[language]}: {len(found)} of {points} points are not as usual."
        ]
        for one in order[:SAID]:
            value, low, high = (asked.said(one[name], language) for name in ("value", "low", "high"))
            outside = not one["low"] <= one["value"] <= one["high"]
            rule = getattr(RULES[one["rules"][0]], language)
            why = "" if outside else f" ({rule})"
            texts.append(
                f"{one['at']}: {value}, 기대 범위 {low}~{high}{why}."
                if ko
                else f"{one['at']}: {value}, expected {low} to {high}{why}."
            )
        said[language] = tuple(texts)
    return said


def _drills(asked: Asked, found: Sequence[dict[str, Any]]) -> tuple[Drill, ...]:
    pages = asked.named_line()
    drills: list[Drill] = []
    for one in [found[place] for place in range(len(found) - 1, -1, -1)][:5]:
        day = one["at"][:10]
        if len(day) != len("2026-11-23"):
            continue
        drills += [
            Drill(title={"ko": f"{day} 판정 보기", "en": f"{day}: verdicts"}, line=page.line, first=day, last=day)
            for page in pages
        ]
        drills.append(
            asked.closer(
                {"ko": f"{day}의 원인 찾기", "en": f"{day}: find the cause"},
                analysis="FIND_CAUSE", grain=None, period={"first": day, "last": day},
            )
        )  # fmt: skip
    return tuple(drills)
