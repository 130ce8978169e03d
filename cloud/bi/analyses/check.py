"""CHECK: is the figure what it should be? Against the target in force, by group where dimensions are asked."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from cloud.aims import Kpi
from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import Asked, refusal
from cloud.bi.analyses.look import Target
from cloud.bi.analyses.result import Column, Drill, Result
from cloud.bi.analyses.words import LANGUAGES, Language

Level = Literal["met", "below", "warning", "critical", "no_target", "no_figure"]
TONES: Final[dict[Level, str]] = {
    "met": "var(--run)",
    "below": "var(--delay)",
    "warning": "var(--warn-mark)",
    "critical": "var(--down)",
    "no_target": "var(--brand)",
    "no_figure": "var(--planned)",
}
_SAID: Final[dict[Level, dict[str, str]]] = {
    "met": {"ko": "목표를 달성했습니다", "en": "the target is met"},
    "below": {
        "ko": "목표에 못 미치지만 경고 수준은 아닙니다",
        "en": "short of the target, but not at the warning level",
    },
    "warning": {"ko": "경고 수준입니다", "en": "at the warning level"},
    "critical": {"ko": "심각 수준입니다", "en": "at the critical level"},
}


def level(value: float | None, target: Target | None, *, up: bool) -> Level:
    """Say how a value stands: a limit that is reached exactly counts as kept."""
    if value is None:
        return "no_figure"
    if target is None:
        return "no_target"
    side = 1 if up else -1
    limits: tuple[tuple[float, Level], ...] = (
        (target.critical, "critical"),
        (target.warning, "warning"),
        (target.target, "below"),
    )
    for limit, worse in limits:
        if side * (value - limit) < 0:
            return worse
    return "met"


def check(asked: Asked) -> Result:
    """Hold every asked metric, or one metric by group, against its target."""
    if asked.plan.dimensions:
        return _groups(asked)
    table = asked.table(asked.plan.metrics)
    rows: list[tuple[Any, ...]] = []
    said: dict[Language, list[str]] = {language: [] for language in LANGUAGES}
    line = asked.one("line")
    for column, name in enumerate(asked.plan.metrics):
        known = asked.look.metric(name)
        cell = table.rows[0].cells[column] if table.rows else None
        value = cell.value if cell else None
        target = _aim(asked, name, line, asked.one("site"))
        found = level(value, target, up=known.better != "lower")
        rows.append((known.title[asked.language], value, *_limits(target), found, (cell.reason if cell else "no_data")))
        subject = asked.subject(name)
        for language in LANGUAGES:
            said[language].append(
                _sentence(
                    subject[language],
                    (value, known.unit),
                    target,
                    (found, rows[-1][-1]),
                    (_untold(asked, name, language), language),
                )
            )
    drawn = [(row, asked.look.metric(name).unit) for row, name in zip(rows, asked.plan.metrics, strict=True)]
    same = {unit for _, unit in drawn}
    bars = [
        _bar(row[0], _beside(row[1], row[2], unit, asked.language), row[1], row[2], row[5])
        for row, unit in drawn
        if row[1] is not None
    ]
    return Result(
        columns=(
            Column(name="metric", kind="text", title={"ko": "지표", "en": "Metric"}),
            Column(name="value", kind="metric", title={"ko": "값", "en": "Value"}, unit=asked.unit if len(same) == 1 else ""),
            *_limit_columns(asked.unit if len(same) == 1 else ""),
            Column(name="level", kind="text", title={"ko": "상태", "en": "State"}),
            Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"}),
        ),
        rows=tuple(rows),
        findings={
            "levels": {name: row[5] for name, row in zip(asked.plan.metrics, rows, strict=True)},
            "dates": table.dates,
        },
        chart=drawing.bars(bars, mark_at="m") if bars and len(same) == 1 else None,
        sentences={language: tuple(texts) for language, texts in said.items()},
        drill=_drill(asked),
    )  # fmt: skip


def _aim(asked: Asked, name: str, line: str | None, site: str | None) -> Target | None:
    """Give the target; that of a sum is of one line and day, and nothing else is held against it."""
    if asked.look.metric(name).kind != "sum":
        return asked.look.target(name, line, site) if line or site else asked.look.common(name)
    one_day = asked.period.first == asked.period.last and asked.period.shift is None
    return asked.look.target(name, line, site) if one_day and line is not None else None


def _groups(asked: Asked) -> Result:
    dimensions = asked.plan.dimensions
    table = asked.table(dimensions=dimensions)
    up = asked.metric.better != "lower"
    rows: list[tuple[Any, ...]] = []
    counts: dict[Level, int] = {}
    bars: drawing.Values = []
    worst: list[tuple[float, dict[str, str], Any]] = []
    for row in table.rows:
        line = row.keys[dimensions.index("line")] if "line" in dimensions else asked.one("line")
        site = row.keys[dimensions.index("site")] if "site" in dimensions else asked.one("site")
        target = _aim(asked, asked.name, line or None, site or None)
        cell = row.cells[0]
        found = level(cell.value, target, up=up)
        counts[found] = counts.get(found, 0) + 1
        name = asked.group(dimensions, row.keys)
        rows.append((*row.keys, cell.value, *_limits(target), found, cell.reason))
        if cell.value is not None:
            bars.append(
                _bar(
                    name[asked.language],
                    _beside(cell.value, rows[-1][-5], asked.unit, asked.language),
                    cell.value,
                    rows[-1][-5],
                    found,
                )
            )
            if found in {"warning", "critical"} and target is not None:
                worst.append(((1 if up else -1) * (cell.value - target.target), name, cell.value))
    if not rows:
        return refusal(asked, "no_data", words.reason("no_data"))
    worst.sort(key=lambda one: one[0])
    asking = counts.get("critical", 0) + counts.get("warning", 0)
    begin = asked.subject()
    said: dict[Language, list[str]] = {one: [_counted(asked, begin[one], counts, one)] for one in LANGUAGES}
    if worst:
        _, name, value = worst[0]
        said["ko"].append(f"목표에서 가장 먼 곳: {name['ko']}, {asked.said(value, 'ko')}.")
        said["en"].append(f"Farthest from its target: {name['en']}, {asked.said(value, 'en')}.")
    drills = [asked.line_page(dimensions, row.keys) for row in table.rows]
    return Result(
        columns=(
            *[asked.dimension_column(one) for one in dimensions],
            asked.column(),
            *_limit_columns(asked.unit),
            Column(name="level", kind="text", title={"ko": "상태", "en": "State"}),
            Column(name="reason", kind="text", title={"ko": "값이 없는 이유", "en": "Why there is no figure"}),
        ),
        rows=tuple(rows),
        findings={
            "groups": len(rows),
            "levels": {name: counts.get(name, 0) for name in ("critical", "warning", "below", "met", "no_target")},
            "asking": asking,
            "labels": asked.labels(dimensions, [row.keys for row in table.rows]),
            "dates": table.dates,
        },
        chart=drawing.bars(bars, mark_at="m") if bars else None,
        sentences={language: tuple(texts) for language, texts in said.items()},
        drill=tuple(one for one in drills if one is not None)[:10],
    )


def _counted(asked: Asked, subject: str, counts: dict[Level, int], language: Language) -> str:
    """Say how many stand how; without a target nothing is on target, and nothing short of it."""
    total, without, silent = sum(counts.values()), counts.get("no_target", 0), counts.get("no_figure", 0)
    critical, warning, below, met = (counts.get(one, 0) for one in ("critical", "warning", "below", "met"))
    ko = language == "ko"
    if total == silent:
        return f"{subject}: {total}개 모두 값이 없습니다." if ko else f"{subject}: none of {total} has a figure."
    if total == silent + without:
        return f"{subject}: {total}개. {_untold(asked, asked.name, language)}."
    if ko:
        said = f"{subject}: {total}개 중 심각 {critical}, 경고 {warning}, 목표 미달 {below}, 목표 달성 {met}"
        return said + (f", 목표 없음 {without}." if without else ".")
    said = f"{subject}: of {total}, {critical} critical, {warning} at the warning level, {below} short of the target, {met} on target"
    return said + (f", {without} without a target." if without else ".")


def _untold(asked: Asked, name: str, language: Language) -> str:
    """Say why there is nothing to hold a figure against, and where a target is set."""
    if asked.look.metric(name).kind == "sum" and asked.look.target(name, asked.one("line"), asked.one("site")):
        return {
            "ko": "목표는 라인 하나, 하루를 기준으로 정해져 있습니다. 하루를 라인별로 물어보십시오",
            "en": "its target is of one line and one day: ask of one day, by line",
        }[language]
    if name not in get_args(Kpi):
        return {"ko": "이 지표에는 목표를 정할 수 없습니다", "en": "this metric has no target, and none can be set"}[
            language
        ]
    return {
        "ko": f'설정된 목표가 없습니다. cloud.toml의 [[site.target]]에 kpi = "{name}"으로 정하십시오',
        "en": f'no target is set; set one in cloud.toml: [[site.target]], kpi = "{name}"',
    }[language]


def _sentence(
    subject: str,
    shown: tuple[float | None, str],
    target: Target | None,
    state: tuple[Level, str | None],
    told: tuple[str, Language],
) -> str:
    (value, unit), (found, why), (untold, language) = shown, state, told
    if value is None:
        return f"{subject}: {words.reason(why)[language]}."
    figure = words.figure(value, unit, language)
    if target is None:
        return f"{subject}: {figure}. {untold}." if language == "ko" else f"{subject}: {figure}; {untold}."
    aim = words.figure(target.target, unit, language)
    if language == "ko":
        return f"{subject}: {figure}, 목표 {aim}. {_SAID[found]['ko']}."
    return f"{subject}: {figure} against a target of {aim}; {_SAID[found]['en']}."


def _beside(value: float, target: float | None, unit: str, language: Language) -> str:
    """Give what stands behind a bar: its figure and, named as such, the target that its pin marks."""
    said = words.figure(value, unit, language)
    if target is None:
        return said
    return f"{said} · {'목표' if language == 'ko' else 'target'} {words.figure(target, unit, language)}"


def _bar(name: str, text: str, value: float, target: float | None, found: Level) -> dict[str, Any]:
    return {"k": name, "n": value, "m": target, "t": text, "c": TONES[found]}


def _limits(target: Target | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if target is None else (target.target, target.warning, target.critical)


def _limit_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column(name="target", kind="metric", title={"ko": "목표", "en": "Target"}, unit=unit),
        Column(name="warning", kind="metric", title={"ko": "경고 기준", "en": "Warning at"}, unit=unit),
        Column(name="critical", kind="metric", title={"ko": "심각 기준", "en": "Critical at"}, unit=unit),
    )


def _drill(asked: Asked) -> tuple[Drill, ...]:
    by_line = asked.closer({"ko": "라인별로 보기", "en": "By line"}, dimensions=("line",), metrics=(asked.name,))
    trend = asked.closer({"ko": "추이 보기", "en": "Its trend"}, analysis="TREND", metrics=(asked.name,))
    return (*asked.named_line(), by_line, trend)
