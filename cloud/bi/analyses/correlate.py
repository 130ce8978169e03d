"""CORRELATE: do two figures move together? Linear and by rank, at once and some steps later; it is never a cause."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import combinations
from typing import Any, Final

from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import Asked, refusal
from cloud.bi.analyses.inference import SIGNIFICANT, Correlation, holm, pearson, spearman
from cloud.bi.analyses.result import Column, Result, Spec
from cloud.bi.analyses.trend import default_grain
from cloud.bi.analyses.words import LANGUAGES
from cloud.bi.semantic.table import Row

MIN_PAIRS: Final = 12
"""Fewer pairs are refused: with 12 a correlation must exceed 0.58 before chance is unlikely, with fewer nearly all."""
LAGS: Final = (0, 1, 2, 3)
"""Steps that the second figure comes after the first."""
STRONG: Final = 0.7
WEAK: Final = 0.4

Series = list[tuple[float | None, ...]]


def correlate(asked: Asked) -> Result:
    """Correlate every pair of the metrics, at every lag."""
    names = asked.plan.metrics
    if len(names) < 2:
        text = {
            "ko": "상관 분석에는 지표가 둘 이상 필요합니다",
            "en": "two metrics or more are needed for a correlation",
        }
        return refusal(asked, "needs_two_metrics", text)
    grain = default_grain(asked)
    table = asked.table(names, grain=grain)
    series = _spine(table.rows, len(names), by_day=grain == "day")
    tried: list[tuple[int, int, int, Correlation | None, Correlation | None]] = []
    most = 0
    for i, j in combinations(range(len(names)), 2):
        for lag in LAGS:
            x, y = paired(series, i, j, lag)
            most = max(most, len(x))
            if len(x) >= MIN_PAIRS:
                tried.append((i, j, lag, pearson(x, y), spearman(x, y)))
    usable = [one for one in tried if one[3] is not None and one[4] is not None]
    if not usable:
        return _refused(asked, most, constant=bool(tried))
    linear, by_rank = [one[3] for one in usable if one[3]], [one[4] for one in usable if one[4]]
    # The same question is asked at every lag in two ways: both families are corrected together.
    adjusted = holm([one.p for one in (*linear, *by_rank)])
    rows: list[tuple[Any, ...]] = []
    for place, (i, j, lag, _, _) in enumerate(usable):
        r, s = linear[place], by_rank[place]
        p_r, p_s = adjusted[place], adjusted[place + len(usable)]
        sure = p_r < SIGNIFICANT or p_s < SIGNIFICANT
        rows.append((names[i], names[j], lag, r.count, r.value, r.p, p_r, s.value, s.p, p_s, sure))
    best = max(
        range(len(rows)), key=lambda place: max(abs(rows[place][4]), abs(rows[place][7])) * (1 + rows[place][10])
    )
    return Result(
        columns=_columns(),
        rows=tuple(rows),
        findings={
            "grain": grain,
            "tests": len(adjusted),
            "correction": "holm",
            "strongest": dict(zip(("first", "second", "lag", "n", "pearson", "p", "p_holm", "spearman", "spearman_p", "spearman_p_holm", "significant"), rows[best], strict=True)),
            "dates": table.dates,
        },
        chart=_scatter(asked, names, series, usable[best][:3]),
        sentences=_sentences(asked, rows[best], len(adjusted)),
        drill=tuple(
            asked.closer({"ko": f"{asked.title(name)['ko']} 추이", "en": f"{asked.title(name)['en']}: trend"}, analysis="TREND", metrics=(name,))
            for name in names
        ),
    )  # fmt: skip


def _spine(rows: Sequence[Row], count: int, *, by_day: bool) -> Series:
    """Give the steps in order; a date without a row is a step without figures, so that lags are true days."""
    if not by_day or not rows:
        return [tuple(cell.value for cell in row.cells) for row in rows]
    known = {row.label: tuple(cell.value for cell in row.cells) for row in rows}
    first, last = date.fromisoformat(rows[0].label), date.fromisoformat(rows[-1].label)
    steps = [str(first + timedelta(days=ahead)) for ahead in range((last - first).days + 1)]
    return [known.get(step, (None,) * count) for step in steps]


def paired(series: Series, i: int, j: int, lag: int) -> tuple[list[float], list[float]]:
    """Give the figures of i and, `lag` steps later, of j, where both are."""
    pairs = [
        (before[i], after[j]) for before, after in zip(series, series[lag:], strict=False)
    ]  # the later one is shorter
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    return [x for x, _ in known], [y for _, y in known]


def _columns() -> tuple[Column, ...]:
    return (
        Column(name="first", kind="text", title={"ko": "지표 1", "en": "First"}),
        Column(name="second", kind="text", title={"ko": "지표 2", "en": "Second"}),
        Column(name="lag", kind="text", title={"ko": "시차", "en": "Lag"}),
        Column(name="n", kind="text", title={"ko": "쌍의 수", "en": "Pairs"}),
        Column(name="pearson", kind="text", title={"ko": "피어슨", "en": "Pearson"}),
        Column(name="p", kind="text", title={"ko": "p값", "en": "p"}),
        Column(name="p_holm", kind="text", title={"ko": "p값(Holm 보정)", "en": "p (Holm)"}),
        Column(name="spearman", kind="text", title={"ko": "스피어만", "en": "Spearman"}),
        Column(name="spearman_p", kind="text", title={"ko": "p값", "en": "p"}),
        Column(name="spearman_p_holm", kind="text", title={"ko": "p값(Holm 보정)", "en": "p (Holm)"}),
        Column(name="significant", kind="text", title={"ko": "유의함", "en": "Significant"}),
    )


def _sentences(asked: Asked, row: tuple[Any, ...], tests: int) -> dict[str, tuple[str, ...]]:
    first, second, lag, count, linear, _, _, by_rank, _, _, sure = row
    said: dict[str, tuple[str, ...]] = {}
    size = max(abs(linear), abs(by_rank))
    for language in LANGUAGES:
        ko = language == "ko"
        a, b = asked.title(first)[language], asked.title(second)[language]
        figures = f"r = {words.number(linear, 2)}, ρ = {words.number(by_rank, 2)}, n = {count}"
        when = words.span(str(asked.period.first), str(asked.period.last))
        if not sure:
            told = (
                f"{a} – {b} ({when}): 우연으로 설명되지 않는 관계가 보이지 않습니다({figures})."
                if ko
                else f"{a} and {b} ({when}): nothing beyond what chance gives ({figures})."
            )
        else:
            strong = ("강한", "strong") if size >= STRONG else ("뚜렷한", "clear") if size >= WEAK else ("약한", "weak")
            together = ("양의", "positive") if linear + by_rank > 0 else ("음의", "negative")
            later = "" if lag == 0 else (f" {lag}단계 뒤의" if ko else f" {lag} step{'s' if lag > 1 else ''} later")
            told = (
                f"{a} –{later} {b} ({when}): {strong[0]} {together[0]} 상관({figures})."
                if ko
                else f"{a} and {b}{later} ({when}): a {strong[1]} {together[1]} correlation ({figures})."
            )
        note = (
            f"검정 {tests}회를 Holm 방법으로 보정했습니다. 상관은 원인이 아닙니다."
            if ko
            else f"Corrected for {tests} tests by Holm's method. A correlation is not a cause."
        )
        said[language] = (told, note)
    return said


def _scatter(asked: Asked, names: Sequence[str], series: Series, which: tuple[int, int, int]) -> Spec:
    i, j, lag = which
    x, y = paired(series, i, j, lag)
    units = [asked.look.metric(names[place]).unit for place in (i, j)]
    titles = [asked.title(names[place])[asked.language] for place in (i, j)]
    if lag:
        titles[1] += f" (+{lag})"
    across = drawing.height_axis("x", units[0], x, title=titles[0])
    spec = drawing.chart(
        [
            {
                "mark": {"type": "point", "filled": True, "size": 46, "color": "var(--brand)", "opacity": 0.75},
                "encoding": {"x": across, "y": drawing.height_axis("y", units[1], y, title=titles[1])},
            }
        ],
        [{"x": a, "y": b} for a, b in zip(x, y, strict=True)],
    )
    return {**spec, "width": 460, "height": 320}


def _refused(asked: Asked, most: int, *, constant: bool) -> Result:
    if constant:
        text = {
            "ko": "값이 변하지 않는 지표와는 상관을 구할 수 없습니다",
            "en": "a figure that never changes correlates with nothing",
        }
        return refusal(asked, "no_variation", text)
    text = {
        "ko": f"함께 있는 값이 {most}쌍뿐입니다(최소 {MIN_PAIRS}쌍)",
        "en": f"only {most} pairs of figures; at least {MIN_PAIRS} are needed",
    }
    return refusal(asked, "insufficient_data", text, pairs=most, least_pairs=MIN_PAIRS)
