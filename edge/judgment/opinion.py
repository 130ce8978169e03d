"""What rules and model each say, in words: "model bearing_wear 1.2.0 says warning (0.83)"."""

from __future__ import annotations

from typing import Final

from edge.judgment.wording import DECISION, FAILURE, number
from sync.judgment import Scored

FOREMOST: Final = 2
"""Features that are named."""


def name_of(scored: Scored | None, language: str) -> str:
    """Give `model bearing_wear 1.2.0`."""
    word = {"ko": "모델", "en": "model"}[language]
    return word if scored is None or not scored.model else f"{word} {scored.model} {scored.version}".rstrip()


def opinion(scored: Scored | None, language: str) -> str:
    """Give what a model says, or why it says nothing, as a clause."""
    name = name_of(scored, language)
    failure = "no_model" if scored is None else scored.failure
    if failure is not None:
        kind, _, detail = failure.partition(":")
        why = FAILURE.get(kind, {}).get(language, kind)
        why += f": {detail.strip()}" if detail.strip() else ""
        return {"ko": f"{name} 응답 없음({why})", "en": f"{name} has no answer ({why})"}[language]
    if scored is None or scored.decision == "unknown":
        return {"ko": f"{name} 판단 불가", "en": f"{name} cannot tell"}[language]
    label = f"{scored.label}, " if scored.label and scored.label != scored.decision else ""
    says = f"({label}{number(scored.confidence)})"
    word = DECISION[scored.decision][language]
    if language == "ko":
        return f"{name} 판정 {word} {says}{_drivers(scored, language)}"
    return f"{name} says {word.lower()} {says}{_drivers(scored, language)}"


def rules_opinion(decision: str, confidence: float, language: str) -> str:
    """Give what the rules say, as a clause."""
    if decision == "unknown":
        return {"ko": "규칙 판단 불가", "en": "rules cannot tell"}[language]
    word = DECISION[decision][language]
    return {"ko": f"규칙 판정 {word} ({number(confidence)})", "en": f"rules say {word.lower()} ({number(confidence)})"}[
        language
    ]


def _drivers(scored: Scored, language: str) -> str:
    """Name the features that weighed most, with their values, where the package can tell."""
    weighty = sorted(scored.contributions.items(), key=lambda item: (-abs(item[1]), item[0]))[:FOREMOST]
    told: list[str] = []
    for name, weight in weighty:
        value = scored.features.get(name)
        if weight:
            told.append(name if value is None else f"{name} {number(value)}")
    if not told:
        return ""
    return {"ko": f", 주요 근거 {', '.join(told)}", "en": f", mostly by {', '.join(told)}"}[language]
