"""FIND_CAUSE in words: what changed, what explains it, what was lost, and who stands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.bi.analyses import words
from cloud.bi.analyses.asked import Asked
from cloud.bi.analyses.decompose import Part, Standing, View
from cloud.bi.analyses.inference import SIGNIFICANT
from cloud.bi.analyses.loss_parts import LOSS_NAMES, REST
from cloud.bi.analyses.words import LANGUAGES, Language

NAMED: Final = 3
"""Groups named in a sentence."""
WORTH_SAYING: Final = 0.05
"""Share of the change below which a part is not named."""


def name_of(asked: Asked, dimensions: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Give a group's name; a loss with its reason."""
    if tuple(dimensions) in {("loss",), ("time_element", "stop_reason")}:
        element, why = keys
        loss = LOSS_NAMES.get(element, {"ko": element, "en": element})
        other = {"ko": "사유 미입력", "en": "no reason given"}
        reason = other if why == REST else asked.label("stop_reason", why) if why else None
        return {language: loss[language] + (f" ({reason[language]})" if reason else "") for language in LANGUAGES}
    return asked.group(dimensions, keys)


def sentences(
    asked: Asked, findings: Mapping[str, Any], found: tuple[View | None, Sequence[View], Sequence[Standing]], factor: float
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    """Say what was found: the view that explains most, the views by loss and kind, and who stands out."""
    first, more, standing = found
    said: dict[str, tuple[str, ...]] = {}
    for language in LANGUAGES:
        texts = [_changed(asked, findings, language)]
        chance = findings["p"] is not None and findings["p"] >= SIGNIFICANT
        if findings["change"]:
            if chance:
                pass  # what is within the usual needs no cause, and naming one would be a story
            elif first is not None:
                texts.append(_explained(asked, first, findings["change"], language))
            elif findings["p"] is not None:
                texts.append(
                    "어느 한 대상이 변화를 설명하지는 않습니다."
                    if language == "ko"
                    else "No single group explains the change."
                )
            texts += [_view(asked, view, findings["change"], language) for view in more[:1]]
        texts += [_stands_out(asked, one, factor, language) for one in standing]
        said[language] = tuple(text for text in texts if text)
    return said


def _changed(asked: Asked, findings: Mapping[str, Any], language: Language) -> str:
    subject, change = asked.subject()[language], findings["change"]
    now, old = asked.said(findings["now"], language), asked.said(findings["then"], language)
    before, size = words.span(*findings["periods"]["then"]), words.change(change, asked.unit, language)
    chance = findings["p"] is not None and findings["p"] >= SIGNIFICANT
    if language == "ko":
        if not change:
            return f"{subject}: {now}, {before}에서 변화 없음."
        usual = " 평소 편차 안의 변화입니다." if chance else ""
        return f"{subject}: {before} {old}에서 {now}, {size} {words.moved(change)['ko']}.{usual}"
    if not change:
        return f"{subject}: {now}, unchanged from {before}."
    usual = " That is no more than it usually varies." if chance else ""
    return f"{subject}: {now}, {words.moved(change)['en']} {size} from {old} in {before}.{usual}"


def _explained(asked: Asked, view: View, change: float, language: Language) -> str:
    ko = language == "ko"
    titles = words.listed([asked.look.dimension(one).title[language] for one in view.dimensions], language)
    parts = [part for part in view.parts if abs(float(part.total) * view.factor) >= WORTH_SAYING * abs(change)][:NAMED]
    told = [_part(asked, view, part, language) for part in parts]
    return (
        f"가장 잘 설명하는 관점은 {titles}: {'; '.join(told)}." if ko else f"{titles} explains most: {'; '.join(told)}."
    )


def _part(asked: Asked, view: View, part: Part, language: Language) -> str:
    ko = language == "ko"
    name = name_of(asked, view.dimensions, part.keys)[language]
    total = float(part.total) * view.factor
    size = words.signed(total, asked.unit, language)
    before, after = (
        None if one is None else asked.said(float(one) * view.factor, language) for one in (part.before, part.after)
    )
    if abs(part.mix) > abs(part.rate):
        was, now = words.percent(float(part.weight_before)), words.percent(float(part.weight_after))
        return f"{name} {size}(비중 {was} → {now})" if ko else f"{name} {size} (its weight went from {was} to {now})"
    if before is None or after is None:
        return f"{name} {size}"
    return f"{name} {size}({before} → {after})" if ko else f"{name} {size} (itself from {before} to {after})"


def _view(asked: Asked, view: View, change: float, language: Language) -> str:
    parts = [part for part in view.parts if abs(float(part.total) * view.factor) >= WORTH_SAYING * abs(change)][:NAMED]
    told: list[str] = []
    for part in parts:
        total = float(part.total) * view.factor
        size = words.signed(total, asked.unit, language)
        told.append(f"{name_of(asked, view.dimensions, part.keys)[language]} {size}")
    if not told:
        return ""
    kinds = view.name == "defect"
    if language == "ko":
        return f"{'불량 유형별로는' if kinds else '손실별로는'} {', '.join(told)}."
    return f"By {'kind of defect' if kinds else 'loss'}: {', '.join(told)}."


def _stands_out(asked: Asked, one: Standing, factor: float, language: Language) -> str:
    name = asked.group(one.dimensions, one.keys)[language]
    value, rest = asked.said(one.own.value * factor, language), asked.said(one.rest.value * factor, language)
    if language == "ko":
        return f"이 기간에 두드러진 곳: {name}, {value}(나머지 {rest})."
    return f"Standing out in this period: {name} with {value}, where the rest has {rest}."
