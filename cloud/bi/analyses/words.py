"""Figures and times as people say them, in Korean and English. What is said is rounded, never computed anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from cloud.wording import formats
from cloud.wording.texts import LANGUAGES, Language

Text = Mapping[str, str]
"""Language → text."""

_UNITS: Final[dict[str, tuple[str, str]]] = {
    "pieces": ("개", " pieces"),
    "h": ("시간", " h"),
    "min": ("분", " min"),
    "d": ("일", " days"),
    "Wh": (" Wh", " Wh"),
    "kWh": (" kWh", " kWh"),
    "Wh/pieces": (" Wh/개", " Wh per piece"),
    "pieces/h": ("개/시간", " pieces per hour"),
    "times": ("회", ""),
    "value": ("", ""),
    "units": ("", " units"),
}
_ENDS_ON_CONSONANT: Final = frozenset("013678LMNRlmnr")
"""Digits and letters whose Korean names end on a consonant: 영 일 삼 육 칠 팔, 엘 엠 엔 알."""


def number(value: float, digits: int | None = None) -> str:
    """Give a number with thousands separators and as many digits as its size deserves."""
    if digits is None:
        size = abs(value)
        digits = 0 if value == round(value) or size >= 1000 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return formats.number(value, digits)


def percent(share: float) -> str:
    """Give 0.7842 as 78.4%; below 1 % one digit more."""
    return formats.percent(share)


def figure(value: float | None, unit: str, language: Language) -> str:
    """Give a value of a metric with its unit; times in the unit a person would choose."""
    if value is None:
        return formats.ABSENT
    if unit == "1":
        return percent(value)
    if unit in {"s", "ms"}:
        return duration(value / (1000 if unit == "ms" else 1), language)
    if unit in _UNITS:
        return number(value) + _UNITS[unit][LANGUAGES.index(language)]
    return number(value) + (f" {unit}" if unit else "")


def duration(seconds: float, language: Language) -> str:
    """Give a time in h, min or s."""
    size = abs(seconds)
    if size >= 2 * 3600:
        return f"{number(seconds / 3600, 1)}{'시간' if language == 'ko' else ' h'}"
    if size >= 120:
        return f"{number(seconds / 60, 0)}{'분' if language == 'ko' else ' min'}"
    return f"{number(seconds, 0 if size >= 10 else 1)}{'초' if language == 'ko' else ' s'}"


def change(delta: float, unit: str, language: Language) -> str:
    """Give the size of a change without its sign: percentage points for ratios, else in the unit."""
    if unit == "1":
        return formats.points(delta, language)
    return figure(abs(delta), unit, language)


def signed(delta: float, unit: str, language: Language) -> str:
    """Give a change with its sign."""
    said = change(delta, unit, language)
    return formats.sign(delta, said) + said


def moved(delta: float) -> dict[str, str]:
    """Give the verb for a change."""
    if delta == 0 or math.isnan(delta):
        return {"ko": "변화 없음", "en": "unchanged"}
    return {"ko": "상승", "en": "up"} if delta > 0 else {"ko": "하락", "en": "down"}


def with_particle(word: str, after_consonant: str, after_vowel: str) -> str:
    """Give a Korean word with the particle its ending asks for: 라인은, 설비는, LINE-A는."""
    for letter in reversed(word):
        if "가" <= letter <= "힣":
            closed = (ord(letter) - ord("가")) % 28 != 0
            if after_consonant == "으로" and (ord(letter) - ord("가")) % 28 == 8:  # ㄹ: 라인 둘로
                closed = False
            return word + (after_consonant if closed else after_vowel)
        if letter.isalnum() or letter == "%":
            return word + (after_consonant if letter in _ENDS_ON_CONSONANT else after_vowel)
    return word + after_vowel


def listed(words: Sequence[str], language: Language) -> str:
    """Give names in a row."""
    if language == "ko" or len(words) < 2:
        return ", ".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def span(first: str, last: str) -> str:
    """Give business dates, both included."""
    return first if first == last else f"{first} – {last}"


REASONS: Final[dict[str, tuple[str, str]]] = {
    "no_states": ("기록된 설비 상태가 없습니다", "no machine state was recorded"),
    "no_plan": ("계획된 가동 시간이 없습니다", "no busy time was planned"),
    "no_shift": ("근무조 시간이 아닙니다", "it lies outside every shift"),
    "unknown_state": ("설비 상태를 확인할 수 없습니다", "nobody saw the machine's state"),
    "no_ideal_cycle": ("기준 사이클 시간이 없는 제품이 있습니다", "some pieces have no ideal cycle time"),
    "no_production": ("생산하지 않았습니다", "nothing was produced"),
    "no_pieces": ("생산 수량이 없습니다", "no pieces were made"),
    "no_failures": ("고장이 없었습니다", "nothing failed"),
    "no_demand": ("사용량이 없습니다", "nothing was used up"),
    "below_zero": ("재고가 0보다 작습니다. 데이터를 확인하십시오", "a stock below zero is a fault of the data"),
    "no_orders": ("계획된 작업 지시가 없습니다", "no job order was planned"),
    "no_meter": ("전력 기록이 없습니다", "no energy was counted"),
    "no_data": ("데이터가 없습니다", "there are no data"),
}


def reason(code: str | None) -> dict[str, str]:
    """Give why there is no figure, as the end of a sentence."""
    found = REASONS.get(code or "no_data")
    if found is None:
        plain = (code or "").replace("_", " ")
        return {"ko": f"값이 없습니다({plain})", "en": plain}
    return {"ko": found[0], "en": found[1]}
