"""RANK: which is best, which is worst, and which cannot be told apart.

Nothing is ranked below the minimum sample: it is listed apart with the reason. Equal figures share a rank. A group's
rank has a range: one below those that are surely ahead of it, above those that are surely behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any, Final

from cloud.bi.analyses import drawing, words
from cloud.bi.analyses.asked import Asked, refusal, scale
from cloud.bi.analyses.inference import (
    SIGNIFICANT,
    Pair,
    Ratio,
    difference_p,
    holm,
    proportion_interval,
    ratio_of,
    wilson,
)
from cloud.bi.analyses.result import Column, Result
from cloud.bi.analyses.words import LANGUAGES
from cloud.bi.semantic.table import Cell, Row

MIN_SHIFTS: Final = 5
"""Shifts a ratio needs: with fewer, the spread between shifts is known no better than to a factor of two."""
BRIEF: Final = frozenset({"lot", "order"})
"""What is made within a few shifts: a proportion of it is ranked by its pieces, whose interval knows of no clumps."""
MIN_PIECES: Final = 100
"""Pieces a proportion needs: with 100 and none bad, up to 3.7 % may be (Wilson, 95 %)."""
MOST_COMPARED: Final = 60
"""Groups that are compared each with each; with more, the table has no ranges of ranks."""
SHOWN: Final = 15
_FIRST: Final = {
    "worst": ("가장 나쁜 곳은", "worst"),
    "best": ("가장 좋은 곳은", "best"),
    "most": ("가장 큰 값은", "highest"),
    "least": ("가장 작은 값은", "lowest"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A group and its figure."""

    keys: tuple[str, ...]
    cell: Cell
    known: Ratio | None
    """None for sums: they were counted, there is nothing to estimate."""
    low: float | None
    high: float | None
    why: str | None
    """Why it is not ranked."""

    @property
    def exact(self) -> Fraction:
        top = Fraction(self.cell.numerator)
        return top if not self.cell.denominator else top / Fraction(self.cell.denominator)


def samples_of(asked: Asked, dimensions: tuple[str, ...]) -> dict[tuple[str, ...], list[Pair]]:
    """Give (numerator, denominator) of every shift by group; of days where there are too many shifts for one answer."""
    table = asked.table(dimensions=dimensions, grain="shift")
    if table.truncated:
        table = asked.table(dimensions=dimensions, grain="day")
    found: dict[tuple[str, ...], list[Pair]] = {}
    for row in table.rows:
        cell = row.cells[0]
        if cell.denominator:
            found.setdefault(row.keys, []).append((cell.numerator, cell.denominator))
    return found


def rank(asked: Asked) -> Result:
    """Rank the groups of one or more dimensions; lines where none is asked."""
    dimensions = asked.plan.dimensions or ("line",)
    table = asked.table(dimensions=dimensions)
    if not table.rows:
        return refusal(asked, "no_data", words.reason("no_data"))
    samples = samples_of(asked, dimensions) if asked.by_shift else {}
    factor = scale(table.rows)
    entries = [_entry(asked, row, samples.get(row.keys, []), factor) for row in table.rows]
    down = _from_high(asked)
    ranked = sorted((e for e in entries if e.why is None), key=lambda e: (-e.exact if down else e.exact, e.keys))
    apart = sorted((e for e in entries if e.why is not None), key=lambda e: e.keys)
    if not ranked:
        return _nothing(asked, apart)
    places = _places(ranked)
    ranges = _ranges(ranked, down=down)
    rows: list[tuple[Any, ...]] = []
    rising = sorted(entry.exact for entry in ranked)
    for place, entry in enumerate(ranked):
        share = 100 * bisect_right(rising, entry.exact) / len(ranked)
        count = entry.known.denominator if entry.known and asked.is_proportion else None
        shifts = entry.known.samples if entry.known else None
        rows.append(
            (places[place], *entry.keys, entry.cell.value, entry.low, entry.high, count, shifts, *ranges[place], round(share, 1), None)
        )  # fmt: skip
    rows += [(None, *e.keys, e.cell.value, e.low, e.high, *_size(asked, e), None, None, None, e.why) for e in apart]
    return Result(
        columns=_columns(asked, dimensions),
        rows=tuple(rows),
        findings=_findings(asked, ranked, apart, places, ranges, down=down)
        | {"labels": asked.labels(dimensions, [e.keys for e in entries]), "dates": table.dates},
        chart=_chart(asked, dimensions, ranked, down=down),
        sentences=_sentences(asked, dimensions, ranked, apart, ranges),
        drill=tuple(
            drill
            for entry in ranked[:5]
            for drill in (
                asked.line_page(dimensions, entry.keys),
                asked.closer(
                    {language: f"{name}: {word}" for (language, name), word in zip(asked.group(dimensions, entry.keys).items(), ("추이", "trend"), strict=True)},
                    analysis="TREND", dimensions=(), filters=asked.only(dimensions[0], entry.keys[0]), order=None,
                ),
            )
            if drill is not None
        ),
    )  # fmt: skip


def _entry(asked: Asked, row: Row, samples: Sequence[Pair], factor: float) -> Entry:
    cell = row.cells[0]
    known = ratio_of(samples) if samples else None
    low = high = why = None
    if cell.value is None:
        why = cell.reason or "no_data"
    elif asked.by_shift:
        if asked.is_proportion and BRIEF & set(asked.plan.dimensions):
            why = "too_few_pieces" if (cell.denominator or 0) < MIN_PIECES else None
            if cell.denominator:
                low, high = wilson(min(max(cell.numerator, 0.0), cell.denominator), cell.denominator)
            return Entry(keys=row.keys, cell=cell, known=known, low=low, high=high, why=why)
        if known is None or known.samples < MIN_SHIFTS:
            why = "too_few_shifts"
        elif asked.is_proportion and known.denominator < MIN_PIECES:
            why = "too_few_pieces"
        if known is not None and known.samples > 1:
            low, high = proportion_interval(known) if asked.is_proportion else known.interval()
            low, high = max(0.0, low * factor), high * factor
    return Entry(keys=row.keys, cell=cell, known=known, low=low, high=high, why=why)


def _from_high(asked: Asked) -> bool:
    """Tell whether the highest figure comes first."""
    order = asked.plan.order or "worst"
    up = asked.good_is_up
    if order in {"most", "least"} or up is None:
        return order in {"most", "worst", "best"}
    return up if order == "best" else not up


def _places(ranked: Sequence[Entry]) -> list[int]:
    """Give ranks 1, 2, 2, 4: equal figures share one."""
    places: list[int] = []
    for place, entry in enumerate(ranked):
        same = place > 0 and entry.exact == ranked[place - 1].exact
        places.append(places[-1] if same else place + 1)
    return places


def _ranges(ranked: Sequence[Entry], *, down: bool) -> list[tuple[int | None, int | None]]:
    """Give (best, worst) rank each group may truly have, all pairs together at 95 %."""
    if len(ranked) > MOST_COMPARED or any(entry.known is None for entry in ranked):
        return [(None, None)] * len(ranked)
    pairs = list(combinations(range(len(ranked)), 2))
    known = [entry.known for entry in ranked if entry.known is not None]
    ps = holm([difference_p(known[i], known[j]) for i, j in pairs])
    ahead, behind = [0] * len(ranked), [0] * len(ranked)
    for (i, j), p in zip(pairs, ps, strict=True):
        if p < SIGNIFICANT and known[i].value != known[j].value:
            first, second = (i, j) if (known[i].value > known[j].value) == down else (j, i)
            ahead[second] += 1
            behind[first] += 1
    return [(1 + ahead[i], len(ranked) - behind[i]) for i in range(len(ranked))]


def _size(asked: Asked, entry: Entry) -> tuple[float | None, int | None]:
    if entry.known is None:
        return None, None
    return entry.known.denominator if asked.is_proportion else None, entry.known.samples


def _columns(asked: Asked, dimensions: tuple[str, ...]) -> tuple[Column, ...]:
    unit = asked.unit
    return (
        Column(name="rank", kind="text", title={"ko": "순위", "en": "Rank"}),
        *[asked.dimension_column(one) for one in dimensions],
        asked.column(),
        Column(name="low", kind="metric", title={"ko": "95% 하한", "en": "95% from"}, unit=unit),
        Column(name="high", kind="metric", title={"ko": "95% 상한", "en": "95% to"}, unit=unit),
        Column(name="n", kind="metric", title={"ko": "표본 수(개)", "en": "Sample (pieces)"}, unit="pieces"),
        Column(name="shifts", kind="metric", title={"ko": "교대 수", "en": "Shifts"}),
        Column(name="rank_from", kind="text", title={"ko": "가능한 순위(부터)", "en": "Rank from"}),
        Column(name="rank_to", kind="text", title={"ko": "가능한 순위(까지)", "en": "Rank to"}),
        Column(name="percentile", kind="text", title={"ko": "백분위", "en": "Percentile"}),
        Column(name="reason", kind="text", title={"ko": "순위가 없는 이유", "en": "Why it is not ranked"}),
    )


def _alike(ranges: Sequence[tuple[int | None, int | None]]) -> list[int]:
    """Give the positions after the first that cannot be told from it: they may truly be first, too."""
    return [place for place, (first, _) in enumerate(ranges) if place and first == 1]


def _findings(
    asked: Asked, ranked: Sequence[Entry], apart: Sequence[Entry], places: Sequence[int],
    ranges: Sequence[tuple[int | None, int | None]], *, down: bool,
) -> dict[str, Any]:  # fmt: skip
    values = [entry.cell.value for entry in ranked if entry.cell.value is not None]
    return {
        "order": asked.plan.order or "worst",
        "highest_first": down,
        "ranked": len(ranked),
        "not_ranked": [{"keys": entry.keys, "reason": entry.why} for entry in apart],
        "apart": len(apart),
        "first": {"keys": ranked[0].keys, "value": ranked[0].cell.value},
        "last": {"keys": ranked[-1].keys, "value": ranked[-1].cell.value},
        "range": max(values) - min(values),
        "ties": sum(many for many in Counter(places).values() if many > 1),
        "not_distinguishable_from_first": [ranked[place].keys for place in _alike(ranges)],
        "minimum": {"shifts": MIN_SHIFTS, "pieces": MIN_PIECES},
        "confidence": 95,
    }


def _chart(asked: Asked, dimensions: tuple[str, ...], ranked: Sequence[Entry], *, down: bool) -> dict[str, Any]:
    up = asked.good_is_up
    bad_first = up is not None and down != up
    bars: drawing.Values = []
    for place, entry in enumerate(ranked[: min(SHOWN, asked.plan.limit)]):
        tone = "var(--down)" if place == 0 and bad_first else "var(--run)"
        name, text = asked.group(dimensions, entry.keys)[asked.language], asked.said(entry.cell.value, asked.language)
        bars.append({"k": name, "n": entry.cell.value, "l": entry.low, "h": entry.high, "t": text, "c": tone})
    return drawing.bars(bars, interval=any(entry.low is not None for entry in ranked))


def _sentences(
    asked: Asked, dimensions: tuple[str, ...], ranked: Sequence[Entry], apart: Sequence[Entry],
    ranges: Sequence[tuple[int | None, int | None]],
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    subject, first, said = asked.subject(), ranked[0], dict[str, tuple[str, ...]]()
    tied = [entry for entry in ranked if entry.exact == first.exact]
    alike = _alike(ranges)
    for language in LANGUAGES:
        ko = language == "ko"
        names = words.listed([asked.group(dimensions, entry.keys)[language] for entry in tied[:5]], language)
        value = asked.said(first.cell.value, language)
        known = ""
        if first.low is not None and first.high is not None:
            low, high = asked.said(first.low, language), asked.said(first.high, language)
            known = f"(95% 구간 {low}~{high})" if ko else f" (95% interval {low} to {high})"
        order = asked.plan.order or "worst"
        first_is = _FIRST["most" if asked.good_is_up is None and order in {"best", "worst"} else order][0 if ko else 1]
        texts = [
            f"{subject[language]}: {len(ranked)}개 중 {first_is} {names}, {value}{known}."
            if ko
            else f"{subject[language]}: {first_is} of {len(ranked)} {'is' if len(tied) == 1 else 'are'} {names} with {value}{known}."
        ]
        others = [place for place in alike if ranked[place].exact != first.exact]
        if others:
            alikes = words.listed(
                [asked.group(dimensions, ranked[place].keys)[language] for place in others[:5]], language
            )
            more = len(others) - 5
            rest = "" if more <= 0 else (f" 외 {more}개" if ko else f" and {more} more")
            texts.append(
                f"{alikes}{rest}: 1위와 통계적으로 구별되지 않습니다."
                if ko
                else f"{alikes}{rest} cannot be told apart from the first with these data."
            )
        if apart:
            texts.append(
                f"표본이 부족하거나 값이 없는 {len(apart)}개는 순위에서 제외했습니다."
                if ko
                else f"{len(apart)} left unranked for want of data."
            )
        said[language] = tuple(texts)
    return said


def _nothing(asked: Asked, apart: Sequence[Entry]) -> Result:
    text = {
        "ko": f"순위를 매길 만큼 데이터가 있는 대상이 없습니다(최소 {MIN_SHIFTS}교대, 비율은 {MIN_PIECES}개 이상)",
        "en": f"nothing has enough data to be ranked (at least {MIN_SHIFTS} shifts, and {MIN_PIECES} pieces for a proportion)",
    }
    return refusal(
        asked,
        "insufficient_data",
        {language: f"{told}." for language, told in text.items()},
        minimum={"shifts": MIN_SHIFTS, "pieces": MIN_PIECES},
        not_ranked=[{"keys": entry.keys, "reason": entry.why} for entry in apart],
    )
