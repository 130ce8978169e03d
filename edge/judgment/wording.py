"""Words, numbers and units of explanations, in Korean and English."""

from __future__ import annotations

import math
import re
from typing import Final

from models.expression_checker import Value

LANGUAGES: Final = ("ko", "en")

UNIT_SYMBOLS: Final[dict[str, str]] = {
    "2N": "dB", "A97": "hPa", "AMP": "A", "BAR": "bar", "C16": "mm/s", "CEL": "°C", "E32": "L/h", "FAH": "°F",
    "GRM": "g", "HTZ": "Hz", "HUR": "h", "KEL": "K", "KGM": "kg", "KPA": "kPa", "KWH": "kWh", "KWT": "kW", "L2": "L/min",
    "LTR": "L", "MBR": "mbar", "MIN": "min", "MLT": "mL", "MMT": "mm", "MPA": "MPa", "MQH": "m³/h", "MSK": "m/s²",
    "MTR": "m", "MTS": "m/s", "NEW": "N", "NU": "N·m", "P1": "%", "PAL": "Pa", "RPM": "rpm", "SEC": "s", "VLT": "V",
    "WHR": "Wh", "WTT": "W",
}  # fmt: skip
"""UNECE Recommendation 20 code → what people write; a code that is not here is written as it is."""

_PIECES: Final = {"ko": "개", "en": "pcs"}

DECISION: Final = {
    "normal": {"ko": "정상", "en": "Normal"},
    "warning": {"ko": "경고", "en": "Warning"},
    "critical": {"ko": "위험", "en": "Critical"},
    "unknown": {"ko": "판단 불가", "en": "Unknown"},
}

WHY: Final[dict[str, dict[str, str]]] = {
    "missing": {"ko": "없음", "en": "missing"},
    "bad": {"ko": "불량 신호", "en": "bad signal"},
    "stale": {"ko": "오래된 값", "en": "stale"},
    "no_values": {"ko": "값 없음", "en": "no values"},
    "unknown": {"ko": "알 수 없음", "en": "not known"},
    "wrong_type": {"ko": "형식이 다름", "en": "of another type"},
    "zero_division": {"ko": "0으로 나눔", "en": "division by zero"},
    "domain": {"ko": "정의역 밖의 계산", "en": "no real result (root or logarithm of a negative number)"},
    "overflow": {"ko": "계산 범위 초과", "en": "arithmetic overflow"},
    "not_finite": {"ko": "유한한 수가 아님", "en": "not a finite number"},
    "no_history": {"ko": "기록이 아직 부족함", "en": "not enough history yet"},
    "out_of_range": {"ko": "계측 범위 밖", "en": "outside its range"},
    "uncertain": {"ko": "불확실", "en": "uncertain"},
}

FAILURE: Final[dict[str, dict[str, str]]] = {
    "no_model": {"ko": "이 라인에 모델이 없음", "en": "this line has no model"},
    "other_model": {"ko": "라인에 다른 모델이 있음", "en": "the line runs another model"},
    "deadline": {"ko": "시간 초과", "en": "it was too slow"},
    "not_finite": {"ko": "유한하지 않은 출력", "en": "its output is not a finite number"},
    "breaker_open": {"ko": "연속 실패로 차단됨", "en": "it failed too often and is switched off for now"},
    "missing_input": {"ko": "입력 없음", "en": "an input is missing"},
    "out_of_range": {"ko": "입력이 범위 밖", "en": "an input is outside its range"},
    "wrong_unit": {"ko": "입력의 단위가 다름", "en": "an input has another unit"},
    "unknown_decision": {"ko": "알 수 없는 판정", "en": "its answer is none of the known decisions"},
    "retired": {"ko": "교체된 모델", "en": "it has been replaced"},
    "models_off": {"ko": "모델 사용 중지됨", "en": "models are switched off"},
    "error": {"ko": "모델 오류", "en": "it failed"},
}
"""Why a model has no answer; the part of `Scored.failure` before the colon."""

POLICY_REASON: Final[dict[str, dict[str, str]]] = {
    "agree": {"ko": "서로 일치함", "en": "they agree"},
    "differ": {"ko": "서로 다름", "en": "they differ"},
    "safety_first": {"ko": "안전 우선: 위험 판정을 따름", "en": "safety first: who says critical is believed"},
    "drifted": {"ko": "모델 입력 분포가 변함", "en": "the model's inputs have drifted"},
    "unsure": {"ko": "모델 확신이 낮아 사람이 확인", "en": "the model is unsure, a person looks"},
}
"""What of `Combined.reasons` is not said otherwise."""

LONGEST: Final = 200
"""Characters of a foreign text that a sentence repeats; the whole stands in the verdict's inputs or context."""

_SPACE_BEFORE_STOP: Final = re.compile(r"\s+([.,;:)])")
_SPACES: Final = re.compile(r"  +")


def number(value: Value | None) -> str:
    """Write a value as people do: no exponent, no digits that mean nothing."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return short(value)
    if not math.isfinite(value):
        return "?"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.3g}"
    digits = 0 if size >= 10_000 else 1 if size >= 1000 else 2 if size >= 1 else 4
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".")


def short(text: str, most: int = LONGEST) -> str:
    """Write a text of a machine or an MES as far as a sentence bears it, in at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def symbol(unit: str | None, language: str) -> str:
    """Write a unit; empty without one."""
    if unit is None:
        return ""
    return _PIECES[language] if unit == "C62" else UNIT_SYMBOLS.get(unit, unit)


def tidy(sentence: str) -> str:
    """Remove the holes an empty unit leaves."""
    return _SPACE_BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", sentence)).strip()
