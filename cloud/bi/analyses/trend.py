"""TREND: how a figure went, with a moving average that is a ratio of sums, and whether it rises or falls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import Asked, days, pooled, refusal, scale
from cloud.bi.analyses.inference import mann_kendall, theil_sen
from cloud.bi.analyses.result import Column, Result, Spec
from cloud.bi.analyses.words import LANGUAGES, Language
from cloud.bi.semantic.plan import Grain
from cloud.bi.semantic.table import Row

MIN_POINTS: Final = 7
"""Fewer points show no direction: below it no slope is told."""
SURE: Final = 0.01
"""p below which a direction is told. Days of a plant resemble their neighbours, which makes 0.05 cry too often."""
WINDOW: Final[dict[Grain, int]] = {"hour": 24, "shift": 9, "day": 7, "week": 4, "month": 3}
"""Steps of the moving average: a day of hours, three days of shifts, a week of days, a month, a quarter."""
SHOWN: Final = len(drawing.TONES)
_STEPS: Final[dict[Grain, tuple[str, str]]] = {
    "hour": ("시간당", "an hour"),
    "shift": ("교대당", "a shift"),
    "day": ("하루", "a day"),
    "week": ("주당", "a week"),
    "month": ("월당", "a month"),
}


def default_grain(asked: Asked) -> Grain:
    """Give the grain asked for; hours for two days, else days, weeks beyond half a year."""
    if asked.plan.grain is not None:
        return asked.plan.grain
    length = days(asked.period)
    return "shift" if length <= 3 else "day" if length <= 184 else "week"


def averages(rows: Sequence[Row], window: int, column: int = 0, *, stock: bool = False) -> list[float | None]:
    """Give the moving average by step: numerators over denominators of the window's steps, never a mean of ratios."""
    factor = scale(rows, column)
    found: list[float | None] = []
    for place in range(len(rows)):
        cells = [row.cells[column] for row in rows[max(0, place - window + 1) : place + 1]]
        known = [cell for cell in cells if cell.value is not None]
        value = pooled(known, factor)
        plain = value is not None and bool(known) and (stock or known[0].denominator is None)
        found.append(value / len(known) if plain and value is not None else value)
    return found


def trend(asked: Asked) -> Result:
    """Give the series, by group where one dimension is asked."""
    grain = default_grain(asked)
    if asked.plan.dimensions:
        return _groups(asked, grain)
    table = asked.table(asked.plan.metrics, grain=grain)
    if not any(row.cells[0].value is not None for row in table.rows):
        why = next((row.cells[0].reason for row in table.rows if row.cells[0].reason), "no_data")
        return refusal(asked, why, words.reason(why))
    average = averages(table.rows, WINDOW[grain], stock=asked.metric.kind == "stock")
    rows = tuple(
        (row.label, *[cell.value for cell in row.cells], average[place], row.cells[0].reason)
        for place, row in enumerate(table.rows)
    )
    findings, sentences = _direction(asked, grain, table.rows)
    more = [asked.column(name) for name in asked.plan.metrics[1:]]
    return Result(
        columns=(
            Column(name=grain, kind="time", title={"ko": "기간", "en": "When"}),
            asked.column(),
            *more,
            Column(name="average", kind="metric", title={"ko": "이동 평균", "en": "Moving average"}, unit=asked.unit),
            Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"}),
        ),
        rows=rows,
        findings={**findings, "window": WINDOW[grain], "grain": grain, "dates": table.dates},
        chart=_chart(asked, table.rows, average),
        sentences=sentences,
        drill=(
            *asked.named_line(),
            asked.closer({"ko": "원인 찾기", "en": "Find the cause"}, analysis="FIND_CAUSE", grain=None),
            asked.closer({"ko": "이상점 찾기", "en": "Look for anomalies"}, analysis="DETECT_ANOMALY"),
        ),
    )


def _direction(asked: Asked, grain: Grain, rows: Sequence[Row]) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    known = [(float(place), row) for place, row in enumerate(rows) if row.cells[0].value is not None]
    values = [row.cells[0].value or 0.0 for _, row in known]
    first, last = known[0][1], known[-1][1]
    low = min(known, key=lambda one: one[1].cells[0].value or 0.0)[1]
    high = max(known, key=lambda one: one[1].cells[0].value or 0.0)[1]
    findings: dict[str, Any] = {
        "points": len(known),
        "first": {"at": first.label, "value": values[0]},
        "last": {"at": last.label, "value": values[-1]},
        "lowest": {"at": low.label, "value": low.cells[0].value},
        "highest": {"at": high.label, "value": high.cells[0].value},
        "direction": None,
    }
    subject, title = asked.subject(), words.figure
    said: dict[str, tuple[str, ...]] = {}
    if len(known) >= MIN_POINTS:
        p = mann_kendall(values)
        slope = theil_sen(values, [place for place, _ in known])
        findings |= {
            "p": p,
            "slope": slope,
            "direction": "none" if p >= SURE or slope == 0 else "up" if slope > 0 else "down",
        }
    else:
        findings["least_points"] = MIN_POINTS
    for language in LANGUAGES:
        reach = {
            "ko": f"최저 {title(low.cells[0].value, asked.unit, 'ko')}({low.label}), 최고 {title(high.cells[0].value, asked.unit, 'ko')}({high.label}).",
            "en": f"Lowest {title(low.cells[0].value, asked.unit, 'en')} ({low.label}), highest {title(high.cells[0].value, asked.unit, 'en')} ({high.label}).",
        }[language]
        said[language] = (f"{subject[language]}: {_direction_text(findings, asked.unit, grain, language)}", reach)
    return findings, said


def _direction_text(findings: dict[str, Any], unit: str, grain: Grain, language: Language) -> str:
    ko = language == "ko"
    match findings["direction"]:
        case None:
            least, points = findings["least_points"], findings["points"]
            return (
                f"{points}개 시점뿐이라 추세를 말할 수 없습니다(최소 {least}개)."
                if ko
                else f"{points} points show no direction yet (at least {least} are needed)."
            )
        case "none":
            return "뚜렷한 상승이나 하락 추세가 없습니다." if ko else "no clear rise or fall."
        case direction:
            step, up = words.change(findings["slope"], unit, language), direction == "up"
            each = _STEPS[grain][0 if ko else 1]
            if ko:
                return f"{each} {step}씩 {'상승' if up else '하락'}하는 추세입니다."
            return f"{'rising' if up else 'falling'} by {step} {each}."


def _chart(asked: Asked, rows: Sequence[Row], average: Sequence[float | None]) -> Spec:
    values = [{"x": row.label, "y": row.cells[0].value, "m": average[place], "s": ""} for place, row in enumerate(rows)]
    x = drawing.steps([row.label for row in rows])
    y = drawing.height_axis("y", asked.unit, [row.cells[0].value for row in rows])
    plain = drawing.line(x, y, len(rows), colour="var(--brand)")
    smooth = drawing.line(x, {**y, "field": "m"}, drawing.MARKS + 1, colour="var(--muted)", dash=True)
    layers = [smooth, plain]
    line, site = asked.one("line"), asked.one("site")
    target = asked.look.target(asked.name, line, site) if line or site else asked.look.common(asked.name)
    if target is not None:
        layers.insert(0, drawing.rule(y, target.target, "var(--ok)"))
    return drawing.chart(layers, values)


def _groups(asked: Asked, grain: Grain) -> Result:
    dimensions = asked.plan.dimensions
    table = asked.table(dimensions=dimensions, grain=grain)
    series: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        series.setdefault(row.keys, []).append(row)
    if not series:
        return refusal(asked, "no_data", words.reason("no_data"))
    told: list[dict[str, Any]] = []
    said: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for keys, rows in series.items():
        values = [row.cells[0].value for row in rows if row.cells[0].value is not None]
        places = [float(place) for place, row in enumerate(rows) if row.cells[0].value is not None]
        name = asked.group(dimensions, keys)
        one: dict[str, Any] = {"group": name, "keys": keys, "points": len(values), "direction": None}
        if len(values) >= MIN_POINTS:
            p, slope = mann_kendall(values), theil_sen(values, places)
            one |= {
                "p": p,
                "slope": slope,
                "direction": "none" if p >= SURE or slope == 0 else "up" if slope > 0 else "down",
            }
        told.append(one)
    moving = sorted((one for one in told if one["direction"] in {"up", "down"}), key=lambda one: -abs(one["slope"]))
    begin = asked.subject()
    said["ko"].append(f"{begin['ko']}: {len(told)}개 중 {len(moving)}개에 뚜렷한 추세가 있습니다.")
    said["en"].append(f"{begin['en']}: {len(moving)} of {len(told)} have a clear direction.")
    for one in moving[:3]:
        for language in LANGUAGES:
            said[language].append(f"{one['group'][language]}: {_direction_text(one, asked.unit, grain, language)}")
    shown = list(series)[:SHOWN]
    names = [asked.group(dimensions, keys)[asked.language] for keys in shown]
    drawn: drawing.Values = [
        {"x": row.label, "y": row.cells[0].value, "s": name}
        for keys, name in zip(shown, names, strict=True)
        for row in series[keys]
    ]
    x = drawing.steps(sorted({row.label for row in table.rows}))
    y = drawing.height_axis("y", asked.unit, [one["y"] for one in drawn])
    return Result(
        columns=(
            Column(name=grain, kind="time", title={"ko": "기간", "en": "When"}),
            *[asked.dimension_column(one) for one in dimensions],
            asked.column(),
            Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"}),
        ),
        rows=tuple(
            (row.label, *row.keys, row.cells[0].value, row.cells[0].reason)
            for row in table.rows
        ),
        findings={"groups": told, "labels": asked.labels(dimensions, series), "count": len(told), "moving": len(moving), "shown": len(shown), "grain": grain, "dates": table.dates},
        chart=drawing.chart([drawing.line(x, y, len(x["scale"]["domain"]), colour=drawing.colours(names))], drawn),
        sentences={language: tuple(texts) for language, texts in said.items()},
        drill=tuple(
            asked.closer({"ko": f"{one['group']['ko']}만 보기", "en": f"Only {one['group']['en']}"}, dimensions=(), filters=asked.only(dimensions[0], one["keys"][0]))
            for one in (moving or told)[:5]
        ),
    )  # fmt: skip
