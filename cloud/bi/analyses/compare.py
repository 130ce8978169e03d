"""COMPARE: one period against another, or one group against another. Of periods, equal planned time is compared.

A week with a holiday makes less without being worse: where the planned hours of two periods differ, sums are told per
planned hour. A difference is told to be one only where it exceeds what shifts differ by anyway (Welch's test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import HOUR_S, WORKED, Asked, dates, refusal, scale
from cloud.bi.analyses.inference import SIGNIFICANT, Pair, difference_p, ratio_of
from cloud.bi.analyses.rank import MIN_SHIFTS
from cloud.bi.analyses.result import Column, Result
from cloud.bi.analyses.words import LANGUAGES, Language
from cloud.bi.semantic.plan import Period

EQUAL: Final = 0.02
"""Planned hours that differ by less than this share count as equal: ten minutes of a shift."""
HOURS_BY: Final = frozenset({"site", "area", "work_center", "line", "shift"})
"""Dimensions along which planned time is divided; a product or a defect has the time of its line."""

Keys = tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Side:
    """A group in one of the periods."""

    value: float | None = None
    reason: str | None = None
    hours: float | None = None
    samples: list[Pair] = field(default_factory=list[Pair])

    @property
    def per_hour(self) -> float | None:
        return self.value / self.hours if self.value is not None and self.hours else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A group in both."""

    then: Side
    now: Side

    @property
    def differ(self) -> bool:
        """Tell whether the planned hours do."""
        a, b = self.then.hours, self.now.hours
        return a is not None and b is not None and abs(a - b) > EQUAL * max(a, b)

    @property
    def delta(self) -> float | None:
        return None if self.then.value is None or self.now.value is None else self.now.value - self.then.value

    @property
    def percent(self) -> float | None:
        """Give the relative change: per planned hour where the hours differ."""
        a, b = (self.then.per_hour, self.now.per_hour) if self.differ else (self.then.value, self.now.value)
        return b / a - 1 if a and b is not None else None

    @property
    def p(self) -> float | None:
        """Give how likely shifts alone make such a difference; None with too few of them."""
        a, b = ratio_of(self.then.samples), ratio_of(self.now.samples)
        if a is None or b is None or min(a.samples, b.samples) < MIN_SHIFTS:
            return None
        return difference_p(a, b)


def compare(asked: Asked) -> Result:
    """Compare groups where a filter names two values of the one dimension and no period is given; else periods."""
    dimensions = asked.plan.dimensions
    if asked.plan.against is None and len(dimensions) == 1:
        named = [one for one in asked.plan.filters if one.dimension == dimensions[0] and one.op == "in"]
        if named and len(named[0].values) >= 2:
            return _groups(asked, named[0].values)
    then = asked.look.against(asked.period, asked.plan.against or "previous")
    whole = _paired(asked, then, ())[()]
    if whole.now.value is None or whole.then.value is None:
        return _no_figure(asked, then, whole)
    parts = _paired(asked, then, dimensions) if dimensions else {}
    timed = whole.now.hours is not None
    rows = [_row(keys, one, timed=timed) for keys, one in sorted(parts.items())] or [_row((), whole, timed=timed)]
    p = whole.p
    moving = max(
        (keys for keys, one in parts.items() if one.delta is not None), key=lambda k: (abs(parts[k].delta or 0), k), default=None
    )  # fmt: skip
    findings: dict[str, Any] = {
        "periods": {"then": dates(then), "now": dates(asked.period)},
        "then": whole.then.value,
        "now": whole.now.value,
        "delta": whole.delta,
        "percent": whole.percent,
        "per_hour": {"then": whole.then.per_hour, "now": whole.now.per_hour} if timed else None,
        "hours": {"then": whole.then.hours, "now": whole.now.hours} if timed else None,
        "equal_planned_time": not whole.differ,
        "p": p,
        "significant": None if p is None else p < SIGNIFICANT,
        "shifts": {"then": len(whole.then.samples), "now": len(whole.now.samples)},
        "labels": asked.labels(dimensions, parts),
    }
    said = _sentences(asked, then, whole)
    if moving is not None:
        findings["most_changed"] = {"keys": moving, "then": parts[moving].then.value, "now": parts[moving].now.value}
        for language in LANGUAGES:
            said[language].append(_mover(asked, dimensions, moving, parts[moving], language))
    return Result(
        columns=_columns(asked, dimensions, timed=timed),
        rows=tuple(rows),
        findings=findings,
        chart=_chart(asked, then, dimensions, parts or {(): whole}),
        sentences={language: tuple(texts) for language, texts in said.items()},
        drill=(
            *asked.named_line(),
            asked.closer(
                {"ko": "변화의 원인 찾기", "en": "What made the difference"},
                analysis="FIND_CAUSE", dimensions=(), against=then, grain=None,
            ),
            asked.closer({"ko": "추이 보기", "en": "Its trend"}, analysis="TREND", against=None),
        ),
    )  # fmt: skip


def _sides(asked: Asked, period: Period, dimensions: tuple[str, ...]) -> dict[Keys, Side]:
    table = asked.table(dimensions=dimensions, period=period)
    found = {row.keys: Side(value=row.cells[0].value, reason=row.cells[0].reason) for row in table.rows}
    worked = asked.name in WORKED
    if worked:
        by = tuple(one for one in dimensions if one in HOURS_BY)
        only = tuple(one for one in asked.plan.filters if one.dimension in HOURS_BY)
        hours = asked.table(("planned_busy_time",), dimensions=by, period=period, filters=only)
        spent = {row.keys: (row.cells[0].value or 0.0) / HOUR_S for row in hours.rows}
        for keys, side in found.items():
            key = tuple(value for value, one in zip(keys, dimensions, strict=True) if one in by)
            side.hours = spent.get(key, 0.0)
    if asked.by_shift or (worked and set(dimensions) <= HOURS_BY):
        factor = scale(table.rows)
        metrics = (asked.name,) if not worked else (asked.name, "planned_busy_time")
        filters = asked.plan.filters
        if worked and not all(one.dimension in HOURS_BY for one in filters):
            return found  # planned time cannot be divided so: no samples, no test
        for row in asked.table(metrics, dimensions=dimensions, period=period, grain="shift", filters=filters).rows:
            cell = row.cells[0]
            bottom = cell.denominator if not worked else row.cells[1].numerator
            if bottom and row.keys in found:
                found[row.keys].samples.append((cell.numerator * factor, bottom))
    return found


def _paired(asked: Asked, then: Period, dimensions: tuple[str, ...]) -> dict[Keys, Pairing]:
    before, after = _sides(asked, then, dimensions), _sides(asked, asked.period, dimensions)
    keys = {*before, *after} if dimensions else {()}
    nothing = Side(reason="no_data")
    return {key: Pairing(then=before.get(key, nothing), now=after.get(key, nothing)) for key in keys}


def _row(keys: Keys, one: Pairing, *, timed: bool) -> tuple[Any, ...]:
    hours = (one.then.hours, one.now.hours, one.then.per_hour, one.now.per_hour) if timed else ()
    return (
        *keys,
        one.then.value,
        one.now.value,
        one.delta,
        one.percent,
        *hours,
        one.p,
        one.now.reason or one.then.reason,
    )


def _columns(asked: Asked, dimensions: Sequence[str], *, timed: bool) -> tuple[Column, ...]:
    unit = asked.unit
    hours = (
        Column(name="hours_then", kind="metric", title={"ko": "이전 계획 시간", "en": "Planned hours before"}, unit="h"),
        Column(name="hours_now", kind="metric", title={"ko": "계획 시간", "en": "Planned hours"}, unit="h"),
        Column(name="per_hour_then", kind="metric", title={"ko": "이전 계획 시간당", "en": "Per planned hour before"}, unit=f"{unit}/h"),
        Column(name="per_hour_now", kind="metric", title={"ko": "계획 시간당", "en": "Per planned hour"}, unit=f"{unit}/h"),
    )  # fmt: skip
    return (
        *[asked.dimension_column(one) for one in dimensions],
        Column(name="then", kind="metric", title={"ko": "이전", "en": "Before"}, unit=unit),
        Column(name="now", kind="metric", title={"ko": "현재", "en": "Now"}, unit=unit),
        Column(name="delta", kind="metric", title={"ko": "차이", "en": "Difference"}, unit=unit),
        Column(name="percent", kind="metric", title={"ko": "변화율", "en": "Change"}, unit="1"),
        *(hours if timed else ()),
        Column(name="p", kind="text", title={"ko": "p값", "en": "p"}),
        Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"}),
    )


def _sentences(asked: Asked, then: Period, one: Pairing) -> dict[str, list[str]]:
    subject, before, unit = asked.subject(), words.span(*dates(then)), asked.unit
    said: dict[str, list[str]] = {}
    for language in LANGUAGES:
        ko = language == "ko"
        now, old, delta = asked.said(one.now.value, language), asked.said(one.then.value, language), one.delta or 0.0
        size = words.change(delta, unit, language)
        share = (
            f" ({words.percent(abs(one.percent))})"
            if one.percent is not None and unit != "1" and not one.differ
            else ""
        )
        if delta == 0:
            text = (
                f"{now}, {words.with_particle(before, '과', '와')} 같습니다."
                if ko
                else f"{now}, the same as in {before}."
            )
        elif ko:
            more, less = ("높습니다", "낮습니다") if unit == "1" else ("많습니다", "적습니다")
            text = f"{now}. {before}의 {old}보다 {size}{share} {more if delta > 0 else less}."
        else:
            text = f"{now}, {'up' if delta > 0 else 'down'} {size}{share} from {old} in {before}."
        texts = [f"{subject[language]}: {text}"]
        if one.differ and one.percent is not None:
            texts.append(_hourly(one, unit, language))
        p = one.p
        if p is not None and delta:
            sure = p < SIGNIFICANT
            if ko:
                texts.append("교대 간 평소 편차를 넘는 차이입니다." if sure else "교대 간 평소 편차 안의 차이입니다.")
            else:
                texts.append(
                    "That is more than shifts usually differ by."
                    if sure
                    else "That is no more than shifts usually differ by."
                )
        said[language] = texts
    return said  # fmt: skip


def _hourly(one: Pairing, unit: str, language: Language) -> str:
    share = one.percent or 0.0
    hours = [words.number(value or 0.0, 1) for value in (one.then.hours, one.now.hours)]
    rates = [words.figure(value, unit, language) for value in (one.then.per_hour, one.now.per_hour)]
    size = words.percent(abs(share))
    if language == "ko":
        way = "늘었습니다" if share > 0 else "줄었습니다"
        return f"계획 시간이 다릅니다({hours[0]}시간, {hours[1]}시간). 계획 시간당 {rates[0]}에서 {words.with_particle(rates[1], '으로', '로')} {size} {way}."
    way = "up" if share > 0 else "down"
    return f"The planned time differs ({hours[0]} h and {hours[1]} h): per planned hour {rates[1]} instead of {rates[0]}, {way} {size}."


def _mover(asked: Asked, dimensions: Sequence[str], keys: Keys, one: Pairing, language: Language) -> str:
    name = asked.group(dimensions, keys)[language]
    old, now = asked.said(one.then.value, language), asked.said(one.now.value, language)
    return (
        f"가장 크게 변한 곳: {name}, {old}에서 {now}."
        if language == "ko"
        else f"Most changed: {name}, from {old} to {now}."
    )


def _chart(asked: Asked, then: Period, dimensions: Sequence[str], parts: dict[Keys, Pairing]) -> dict[str, Any]:
    names = [words.span(*map(drawing.short, dates(period))) for period in (then, asked.period)]
    if not dimensions:
        one = parts[()]
        bars: drawing.Values = [
            {"k": name, "n": side.value, "t": asked.said(side.value, asked.language), "c": tone}
            for name, side, tone in zip(names, (one.then, one.now), ("var(--planned)", "var(--brand)"), strict=True)
        ]
        return drawing.bars(bars)
    largest = sorted(parts, key=lambda key: (-abs(parts[key].delta or 0.0), key))[:12]
    values: drawing.Values = [
        {"x": asked.group(dimensions, key)[asked.language], "y": side.value, "s": name}
        for key in largest
        for name, side in zip(names, (parts[key].then, parts[key].now), strict=True)
        if side.value is not None
    ]
    tones = drawing.colours(names, ("var(--planned)", "var(--brand)"))
    x = {
        "field": "x",
        "type": "nominal",
        "sort": None,
        "axis": {"labelAngle": 0, "labelLimit": 110, "labelColor": "var(--ink)"},
    }
    y = drawing.height_axis("y", asked.unit, [one["y"] for one in values], zero=True)
    bar = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {"x": x, "xOffset": {"field": "s", "sort": None}, "y": y, "color": tones},
    }
    return drawing.chart([bar], values)  # fmt: skip


def _no_figure(asked: Asked, then: Period, one: Pairing) -> Result:
    missing = one.now if one.now.value is None else one.then
    which = words.span(*dates(asked.period if missing is one.now else then))
    why = words.reason(missing.reason)
    text = {
        "ko": f"{which}에는 비교할 값이 없습니다. {why['ko']}",
        "en": f"there is no figure for {which}: {why['en']}",
    }
    return refusal(asked, missing.reason or "no_data", text, periods={"then": dates(then), "now": dates(asked.period)})


def _groups(asked: Asked, named: Sequence[str]) -> Result:
    """Compare groups of one dimension within the period."""
    (dimension,) = asked.plan.dimensions
    sides = _sides(asked, asked.period, (dimension,))
    groups = [(value, sides.get((value,), Side(reason="no_data"))) for value in named]
    (a_name, a), (b_name, b) = groups[0], groups[1]
    one = Pairing(then=b, now=a)
    timed = any(side.hours is not None for _, side in groups)
    labels = {value: asked.label(dimension, value) for value in named}
    findings: dict[str, Any] = {
        "groups": [{"key": value, "value": side.value, "hours": side.hours, "per_hour": side.per_hour} for value, side in groups],
        "delta": one.delta, "percent": one.percent, "p": one.p, "equal_planned_time": not one.differ,
        "significant": None if one.p is None else one.p < SIGNIFICANT,
        "labels": {dimension: {value: dict(text) for value, text in labels.items()}}, "dates": dates(asked.period),
    }  # fmt: skip
    subject, said = asked.subject(), dict[str, tuple[str, ...]]()
    for language in LANGUAGES:
        ko = language == "ko"
        first, second = (f"{labels[value][language]} {asked.said(side.value, language)}" for value, side in groups[:2])
        texts = [f"{subject[language]}: {first}, {second}."]
        if one.differ and one.percent is not None:
            rates = [words.figure(side.per_hour, asked.unit, language) for side in (a, b)]
            told = (
                f"계획 시간당 {rates[0]}, {rates[1]}입니다." if ko else f"Per planned hour {rates[0]} and {rates[1]}."
            )
            texts.append(told)
        if one.p is not None:
            sure = one.p < SIGNIFICANT
            told = (
                ("교대 간 평소 편차를 넘는 차이입니다.", "The difference is more than shifts usually differ by.")
                if sure
                else ("통계적으로 구별되지 않습니다.", "They cannot be told apart with these data.")
            )
            texts.append(told[0] if ko else told[1])
        said[language] = tuple(texts)
    bars: drawing.Values = [
        {
            "k": labels[value][asked.language],
            "n": side.value,
            "t": asked.said(side.value, asked.language),
            "c": "var(--brand)",
        }
        for value, side in groups
        if side.value is not None
    ]
    hours = (
        [
            Column(name="hours", kind="metric", title={"ko": "계획 시간", "en": "Planned hours"}, unit="h"),
            Column(
                name="per_hour",
                kind="metric",
                title={"ko": "계획 시간당", "en": "Per planned hour"},
                unit=f"{asked.unit}/h",
            ),
        ]
        if timed
        else []
    )
    drills = [asked.line_page((dimension,), (value,)) for value in (a_name, b_name)]
    return Result(
        columns=(asked.dimension_column(dimension), asked.column(), *hours, Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"})),
        rows=tuple((value, side.value, *((side.hours, side.per_hour) if timed else ()), side.reason) for value, side in groups),
        findings=findings,
        chart=drawing.bars(bars) if bars else None,
        sentences=said,
        drill=tuple(drill for drill in drills if drill is not None),
    )  # fmt: skip
