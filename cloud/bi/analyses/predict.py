"""PREDICT: what is to be expected, how sure that is, and whether it is better than saying "as last week".

The plan's period is the history. Planned time is known beforehand, it is no noise: days on which the plant does not work
are no steps, ahead or behind; a day off within is filled with the same day of the week before and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import SHARES, WORKED, Asked, refusal, scale
from cloud.bi.analyses.compare import HOURS_BY
from cloud.bi.analyses.forecast import LEVELS, MIN_POINTS, Forecast, forecast, r_squared
from cloud.bi.analyses.result import Column, Result
from cloud.bi.analyses.words import LANGUAGES
from cloud.bi.semantic.plan import Grain, Period
from cloud.bi.semantic.table import Row

USUAL_SHARE: Final = 0.5
"""A weekday (or a slot of the day) is worked if it was on at least this share of its occasions."""
SHOWN: Final = 60

METHODS: Final[dict[str, tuple[str, str]]] = {
    "constant": ("변하지 않는 값", "a value that never changed"),
    "seasonal_naive": ("지난주와 같다고 보는 방법", "repeating the last season"),
    "ses": ("지수 평활", "exponential smoothing"),
    "line": ("직선 추세", "a straight line"),
    "theta": ("세타", "Theta"),
    "holt_winters": ("홀트-윈터스(감쇠)", "damped Holt-Winters"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A series without holes."""

    labels: Sequence[str]
    top: Sequence[float]
    bottom: Sequence[float] | None
    season: int
    ahead: Sequence[str]
    filled: int
    """Steps that were off and carry the figure of a season before."""
    left_out: int
    """Steps at unusual times (a Sunday worked), which fit no pattern."""


def predict(asked: Asked) -> Result:
    """Forecast one metric."""
    grain: Grain = asked.plan.grain or "day"
    rows, factor = _rows(asked, grain)
    history = _history(rows, grain, asked.plan.horizon) if rows else None
    points = len(history.labels) if history else 0
    least = max(MIN_POINTS, 2 * history.season) if history else MIN_POINTS
    if history is None or points < least:
        text = {
            "ko": f"예측하기에 이력이 부족합니다({points}개 시점, 최소 {least}개). 더 긴 기간을 선택하십시오",
            "en": f"the history is too short for a forecast ({points} points, at least {least}); choose a longer period",
        }
        refused = refusal(asked, "not_enough_history", text, points=points, least_points=least, grain=grain)
        longer = asked.closer(
            {"ko": "90일 이력으로 다시", "en": "Again with 90 days"}, period=Period(relative="last_90_days")
        )
        return Result(columns=(), rows=(), findings=refused.findings, sentences=refused.sentences, refused=refused.refused, drill=(longer,))  # fmt: skip
    found = forecast(history.top, history.bottom, season=history.season, horizon=asked.plan.horizon)
    cut = _bounds(asked)
    future: list[tuple[Any, ...]] = []
    for step, label in enumerate(history.ahead):
        value = found.values[step]
        value = None if value is None else cut(value * factor)
        ends: list[float | None] = []
        for level in LEVELS:
            reach = found.reach[level][step]
            known = value is not None and reach is not None
            ends += (
                [cut((value or 0.0) - (reach or 0.0) * factor), cut((value or 0.0) + (reach or 0.0) * factor)]
                if known
                else [None, None]
            )
        future.append((label, value, *ends))
    past = _past(history, factor)
    rows_out = [(label, value, None, None, None, None, None) for label, value in past]
    rows_out += [(label, None, value, *ends) for label, value, *ends in future]
    explained = r_squared(np.asarray([value for _, value in past if value is not None]))
    findings = _findings(found, history, future, grain, factor) | {"r_squared": explained}
    return Result(
        columns=(
            Column(name=grain, kind="time", title={"ko": "기간", "en": "When"}),
            Column(name="actual", kind="metric", title={"ko": "실적", "en": "Actual"}, unit=asked.unit),
            Column(name="forecast", kind="metric", title={"ko": "예측", "en": "Forecast"}, unit=asked.unit),
            *[
                Column(name=f"{side}_{round(level * 100)}", kind="metric", title={"ko": f"{round(level * 100)}% {ko}", "en": f"{round(level * 100)}% {en}"}, unit=asked.unit)
                for level in LEVELS
                for side, ko, en in (("low", "하한", "from"), ("high", "상한", "to"))
            ],
        ),
        rows=tuple(rows_out),
        findings=findings,
        chart=_chart(asked, past, future),
        sentences=_sentences(asked, found, future, findings),
        drill=(
            *asked.named_line(),
            asked.closer({"ko": "추이 보기", "en": "Its trend"}, analysis="TREND"),
            asked.closer({"ko": "원인 찾기", "en": "Find the cause"}, analysis="FIND_CAUSE", grain=None),
        ),
        refused=None if found.beaten else "worse_than_naive",
    )  # fmt: skip


def _rows(asked: Asked, grain: Grain) -> tuple[list[Row], float]:
    """Give the steps that were worked and are over."""
    timed = asked.name in WORKED and all(one.dimension in HOURS_BY for one in asked.plan.filters)
    table = asked.table((asked.name, "planned_busy_time") if timed else (asked.name,), grain=grain)
    rows = list(table.rows)
    if rows and table.period_ms[1] > asked.look.now_ms:
        last, today = rows[-1], asked.look.dated(Period(relative="today")).first
        if grain != "day" or last.label == str(today):
            rows.pop()  # it still runs: half a day is no day
    kept = [row for row in rows if row.cells[0].value is not None and (not timed or row.cells[1].numerator > 0)]
    return kept, scale(kept)


def _history(rows: Sequence[Row], grain: Grain, horizon: int) -> History:
    if grain in {"week", "month"}:
        season = 12 if grain == "month" and len(rows) >= 24 else 1
        labels = [row.label for row in rows]
        return _series(rows, labels, season, _next_labels(labels[-1], grain, horizon), 0)
    by_label = {row.label: row for row in rows}
    first, last = date.fromisoformat(rows[0].label[:10]), date.fromisoformat(rows[-1].label[:10])
    all_days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    slots = list(dict.fromkeys(row.label[10:] for row in rows)) if grain != "day" else [""]
    slots = sorted(slot for slot in slots if _usual(all_days, by_label, slot))
    weekdays = [
        w for w in range(7) if grain != "day" or _usual([d for d in all_days if d.weekday() == w], by_label, "")
    ]
    season = len(weekdays) if grain == "day" else len(slots)
    labels = [f"{d}{slot}" for d in all_days if d.weekday() in weekdays for slot in slots]
    labels = [label for label in labels if rows[0].label <= label <= rows[-1].label]
    ahead: list[str] = []
    day = date.fromisoformat(labels[-1][:10]) if labels else last
    while labels and len(ahead) < horizon:
        ahead += [f"{day}{slot}" for slot in slots if day.weekday() in weekdays and f"{day}{slot}" > labels[-1]]
        day += timedelta(days=1)
    kept = [by_label[label] for label in by_label if label in set(labels)]
    return _series(kept, labels, max(1, season), ahead[:horizon], len(by_label) - len(kept))


def _usual(occasions: Sequence[date], rows: dict[str, Row], slot: str) -> bool:
    there = sum(f"{day}{slot}" in rows for day in occasions)
    return bool(occasions) and there >= USUAL_SHARE * len(occasions)


def _series(rows: Sequence[Row], labels: Sequence[str], season: int, ahead: Sequence[str], left_out: int) -> History:
    known = {row.label: row.cells[0] for row in rows}
    top: list[float] = []
    bottom: list[float] = []
    is_ratio = any(cell.denominator is not None for cell in known.values())
    for place, label in enumerate(labels):
        cell = known.get(label)
        if cell is None:  # a day off: as a season before, else as the step before
            back = season if place >= season else 1
            top.append(top[place - back])
            bottom.append(bottom[place - back])
        else:
            top.append(cell.numerator)
            bottom.append(cell.denominator or 0.0)
    return History(
        labels=labels, top=top, bottom=bottom if is_ratio else None, season=season, ahead=ahead,
        filled=sum(label not in known for label in labels), left_out=left_out,
    )  # fmt: skip


def _next_labels(last: str, grain: Grain, horizon: int) -> list[str]:
    found: list[str] = []
    if grain == "week":
        monday = date.fromisocalendar(int(last[:4]), int(last[-2:]), 1)
        for ahead in range(1, horizon + 1):
            year, week, _ = (monday + timedelta(weeks=ahead)).isocalendar()
            found.append(f"{year}-W{week:02}")
        return found
    months = int(last[:4]) * 12 + int(last[5:7]) - 1
    return [f"{(months + ahead) // 12}-{(months + ahead) % 12 + 1:02}" for ahead in range(1, horizon + 1)]


def _past(history: History, factor: float) -> list[tuple[str, float | None]]:
    if history.bottom is None:
        return [(label, value * factor) for label, value in zip(history.labels, history.top, strict=True)]
    return [
        (label, n / d * factor if d > 0 else None)
        for label, n, d in zip(history.labels, history.top, history.bottom, strict=True)
    ]


def _bounds(asked: Asked) -> Callable[[float], float]:
    """Give what keeps a figure possible: not below 0, shares not above 1."""
    top = 1.0 if asked.name in SHARES else float("inf")

    def cut(value: float) -> float:
        return min(max(0.0, value), top)

    return cut


def _findings(
    found: Forecast, history: History, future: Sequence[tuple[Any, ...]], grain: Grain, factor: float
) -> dict[str, Any]:
    return {
        "method": found.method,
        "beats_naive": found.beaten,
        "mase": {name: _finite(one.mase) for name, one in found.tried.items()},
        "mean_error": {name: _finite(one.error * factor) for name, one in found.tried.items()},
        "back_tests": found.origins,
        "season": found.season,
        "points": len(history.labels),
        "filled": history.filled,
        "left_out": history.left_out,
        "coverage": {
            str(round(level * 100)): {"hits": hits, "tries": tries, "share": hits / tries if tries else None}
            for level, (hits, tries) in found.coverage.items()
        },
        "levels": [round(level * 100) for level in LEVELS],
        "steps": len(future),
        "mean": _mean([one[1] for one in future]),
        "grain": grain,
        "next": {"at": future[0][0], "value": future[0][1], "low_80": future[0][2], "high_80": future[0][3]},
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sentences(
    asked: Asked, found: Forecast, future: Sequence[tuple[Any, ...]], findings: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    name, where, said = asked.title(), asked.where(), dict[str, tuple[str, ...]]()
    label, value, low, high = future[0][:4]
    for language in LANGUAGES:
        ko = language == "ko"
        about = f"{name[language]}{', ' + where[language] if where[language] else ''}"
        until = words.span(future[0][0], future[-1][0])
        mean = asked.said(findings["mean"], language)
        first = f"{about} ({until}): 평균 {mean} 예상." if ko else f"{about} ({until}): {mean} expected on average."
        texts = [first]
        if low is not None and value is not None:
            ends = (asked.said(low, language), asked.said(high, language))
            one = asked.said(value, language)
            texts.append(
                f"{label}: {one}, 80% 구간 {ends[0]}~{ends[1]}."
                if ko
                else f"{label}: {one}, between {ends[0]} and {ends[1]} in 80% of cases."
            )
        elif value is not None:
            texts.append(
                "구간을 정하기에는 검증 횟수가 부족합니다." if ko else "Too few back-tests to give an interval."
            )
        naive, own = findings["mase"]["seasonal_naive"], findings["mase"].get(found.method)
        method = METHODS[found.method][0 if ko else 1]
        if not found.beaten:
            texts.append(
                "이전 주기를 그대로 반복하는 것보다 나은 방법이 없어, 반복한 값을 그대로 보여 줍니다."
                if ko
                else "No method did better than repeating the last season, so that is what is shown."
            )
        elif own is not None and naive is not None:
            texts.append(
                f"방법: {method}. 과거 {findings['back_tests']}회 검증에서 MASE {own:.2f}(단순 반복 {naive:.2f})."
                if ko
                else f"By {method}: MASE {own:.2f} in {findings['back_tests']} back-tests, where repeating the last season has {naive:.2f}."
            )
        said[language] = tuple(texts)
    return said  # fmt: skip


def _chart(asked: Asked, past: Sequence[tuple[str, float | None]], future: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    shown = past[-SHOWN:]
    values: drawing.Values = [{"x": label, "y": value, "s": "actual"} for label, value in shown]
    ahead: drawing.Values = [{"x": shown[-1][0], "f": shown[-1][1]}] if shown else []
    ahead += [{"x": row[0], "f": row[1], "l": row[2], "h": row[3], "ll": row[4], "hh": row[5]} for row in future]
    x = drawing.steps([label for label, _ in shown] + [row[0] for row in future])
    y = drawing.height_axis("y", asked.unit, [value for _, value in shown] + [v for row in future for v in row[1:]])
    known = {"filter": "isValid(datum.l)"}
    bands = [{**drawing.band(x, y, "l", "h", 0.2), "transform": [known]}]
    if any(row[4] is not None for row in future):
        bands.insert(0, {**drawing.band(x, y, "ll", "hh", 0.1), "transform": [{"filter": "isValid(datum.ll)"}]})
    layers = [{**one, "data": {"values": ahead}} for one in bands]
    layers.append({**drawing.line(x, y, len(shown)), "data": {"values": values}})
    dashed = drawing.line(x, {**y, "field": "f"}, len(future), colour="var(--setup)", dash=True)
    layers.append({**dashed, "data": {"values": ahead}})
    return drawing.chart(layers)
