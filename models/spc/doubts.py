"""What speaks against limits that were just estimated, in Korean and English: it is told, and a person decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from models.spc.chart import NO_MEMORY, Design, Point, advance
from models.spc.limits import Limits
from models.spc.rules import USUAL

Doubt = Mapping[str, str]
"""Language (ko, en) → sentence."""

CORRELATED: Final = 0.25
"""Correlation of neighbours from which it is told, where it is also twice what chance gives."""
DISTINCT: Final = 6


def few_points(found: int, wanted: int) -> list[Doubt]:
    """Say that there are few points."""
    if found >= wanted:
        return []
    return [
        {
            "ko": f"점이 {found}개입니다. {wanted}개 미만이면 한계가 거칩니다",
            "en": f"{found} points: limits are rough below {wanted}",
        }
    ]


def of_points(plotted: Sequence[float], numbers: Sequence[int], limits: Limits, sizes: Sequence[float]) -> list[Doubt]:
    """Give what the points used say against their limits: run rules that fire, dependence, a coarse resolution.

    numbers: what the points are called, from 1 in the data.
    """
    doubts: list[Doubt] = []
    shown = limits if limits.sigma is None else Limits(kind="xbar", center=limits.center, sigma=limits.sigma)
    memory, found = NO_MEMORY, dict[str, list[int]]()
    for number, value, size in zip(numbers, plotted, sizes, strict=True):
        memory, signals = advance(shown, Design(rules=USUAL[1:]), memory, Point(value=value, size=size))
        for signal in signals:
            found.setdefault(signal.rule, []).append(number)
    for rule, at in found.items():
        doubts.append(
            {
                "ko": f"{rule} 규칙이 점 {listed(at, 'ko')}에서 신호를 냅니다. 한계를 쓰기 전에 원인을 찾으세요",
                "en": f"{rule} fires at point {listed(at, 'en')}: find out why before using the limits",
            }
        )
    correlation = neighbours(plotted)
    if abs(correlation) > max(CORRELATED, 2 / math.sqrt(len(plotted))):
        more = correlation > 0
        doubts.append(
            {
                "ko": f"이웃한 점이 서로 연관되어 있습니다({correlation:+.2f}). 오경보가 계산보다 {'많아' if more else '적어'}집니다. "
                "창을 길게 하거나 표본 간격을 넓히세요",
                "en": f"neighbouring points are correlated ({correlation:+.2f}): false alarms will be "
                f"{'more' if more else 'fewer'} than computed; take longer windows or samples further apart",
            }
        )
    distinct = len(set(plotted))
    if distinct < DISTINCT < len(plotted):
        doubts.append(
            {
                "ko": f"서로 다른 값이 {distinct}개뿐입니다. 분해능이 이 한계에는 너무 거칩니다",
                "en": f"only {distinct} different values: the resolution is too coarse for these limits",
            }
        )
    return doubts


def moving_ranges(upper: float, numbers: Sequence[int]) -> list[Doubt]:
    """Say where neighbouring points are too far apart."""
    if not numbers:
        return []
    return [
        {
            "ko": f"이동범위가 한계 {upper:.6g}를 점 {listed(numbers, 'ko')}에서 넘습니다",
            "en": f"moving range above its limit {upper:.6g} at point {listed(numbers, 'en')}",
        }
    ]


def between(means: Sequence[float], sizes: Sequence[int], sigma: float) -> list[Doubt]:
    """Say when means vary much more, or less, between subgroups than the values within them explain."""
    center = math.fsum(means) / len(means)
    whole = math.fsum(size * (mean - center) ** 2 for mean, size in zip(means, sizes, strict=True))
    ratio = whole / ((len(means) - 1) * sigma**2)
    if ratio > 2:
        times = f"{math.sqrt(ratio):.2g}"
        return [
            {
                "ko": f"부분군 평균의 변동이 부분군 안의 변동으로 설명되는 것의 {times}배입니다. 평균을 개별값 관리도로 보는 편이 나을 수 있습니다",
                "en": f"means vary {times} times as much as the values within subgroups explain: "
                "a chart of the means as individuals may fit better",
            }
        ]
    if ratio < 0.5:
        return [
            {
                "ko": "부분군 평균의 변동이 부분군 안의 변동보다 너무 작습니다. 한 부분군에 여러 흐름(헤드, 캐비티)이 섞였습니까?",
                "en": "means vary less than the values within subgroups explain: do subgroups mix several streams (heads, cavities)?",
            }
        ]
    return []


def laney_used(factor: float, kind: str) -> list[Doubt]:
    """Say that Laney's factor is in the limits."""
    ko, en = _law(kind)
    return [
        {
            "ko": f"점의 변동이 {ko}의 {factor:.3g}배입니다. 레이니 계수가 한계에 들어 있습니다",
            "en": f"the points vary {factor:.3g} times as much as the {en} law says: Laney's factor is in the limits",
        }
    ]


def overdispersed(factor: float, kind: str) -> list[Doubt]:
    """Say that the points vary too much for plain limits."""
    ko, en = _law(kind)
    return [
        {
            "ko": f"점의 변동이 {ko}의 {factor:.3g}배입니다. 오가는 원인을 찾으세요. 공정의 본성이라면 레이니 계수를 쓰세요",
            "en": f"the points vary {factor:.3g} times as much as the {en} law says: look for causes that come and go; "
            "if it is the nature of the process, take Laney's factor",
        }
    ]


def small_samples(size: float) -> list[Doubt]:
    """Say that samples are too small to see an increase."""
    return [
        {
            "ko": f"표본 {size:g}개에서 기대값이 1 미만입니다. 증가를 거의 볼 수 없으니 표본을 키우세요",
            "en": f"fewer than one is expected in a sample of {size:g}: the chart hardly sees an increase; take larger samples",
        }
    ]


def _law(kind: str) -> tuple[str, str]:
    return ("이항분포", "binomial") if kind in {"p", "np"} else ("푸아송분포", "Poisson")


def neighbours(values: Sequence[float]) -> float:
    """Give the correlation of neighbouring points."""
    mean = math.fsum(values) / len(values)
    whole = math.fsum((value - mean) ** 2 for value in values)
    if whole <= 0:
        return 0.0
    return math.fsum((values[i] - mean) * (values[i + 1] - mean) for i in range(len(values) - 1)) / whole


def listed(numbers: Sequence[int], language: str) -> str:
    """Write numbers, the first eight of many."""
    shown, more = ", ".join(str(number) for number in numbers[:8]), len(numbers) - 8
    return shown if more <= 0 else f"{shown} 외 {more}개" if language == "ko" else f"{shown} and {more} more"
