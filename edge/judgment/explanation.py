"""Why a verdict is what it is, in two or three sentences that name values, thresholds and units; Korean and English."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge.judgment.findings import Finding, Level
from edge.judgment.given import Given
from edge.judgment.opinion import opinion, rules_opinion
from edge.judgment.policies import Decision
from edge.judgment.weighing import Weighed, foremost
from edge.judgment.wording import DECISION, LANGUAGES, POLICY_REASON, WHY, number, short, symbol, tidy
from models.ruleset import Limit, Table

OTHERS: Final = 3
"""Findings beside the main one that are named; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What an explanation stands on."""

    findings: Sequence[Finding]
    weighed: Weighed
    given: Given
    policy: str

    @property
    def decision(self) -> Decision:
        """The verdict's."""
        return self.weighed.combined.decision

    @property
    def by_model(self) -> bool:
        """Whether the decision is the model's and not the rules'."""
        scored = self.weighed.scored
        answered = scored is not None and scored.failure is None and self.decision != "unknown"
        return answered and self.weighed.rule.decision != self.decision

    @property
    def main(self) -> Finding | None:
        """The finding that speaks for the decision."""
        found = self.findings
        return None if self.by_model or self.decision == "normal" else foremost(found, _LEVEL[self.decision])


def summary(ground: Ground) -> dict[str, str]:
    """Give the explanation in every language."""
    return {
        language: " ".join([_first(ground, language), *_second(ground, language), _last(ground, language)])
        for language in LANGUAGES
    }


def said(finding: Finding, given: Given, language: str) -> str:
    """Give one finding as a sentence: its own message, or one made from its numbers."""
    template = finding.message[language] if finding.message is not None else _template(finding, language)
    context = given.context
    told = {
        "value": number(finding.value),
        "threshold": number(finding.threshold),
        "unit": symbol(finding.unit, language),
        "title": finding.check.title[language],
        "work_unit": given.work_unit,
        "state": given.state,
        "order": short(context.order or "–"),
        "product": short(context.product or "–"),
        "lot": short(context.lot or "–"),
        "shift": short(context.shift or "–"),
    }
    return tidy(_PLACE.sub(lambda match: told.get(match[1], match[0]) if match[1] else match[0][0], template))


_PLACE: Final = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")
"""A placeholder, or a brace that is meant. Whatever else has braces (a lot's number, a series) stays as it is."""


def cleared(finding: Finding, language: str) -> str:
    """Say that an alarm went away."""
    title = finding.check.title[language]
    if not finding.applied:
        return tidy({"ko": f"{title}: 지금은 적용되지 않습니다.", "en": f"{title}: does not apply now."}[language])
    value = "" if finding.value is None else f" ({_amount(finding, language)})"
    return tidy({"ko": f"{title}: 정상으로 돌아왔습니다{value}.", "en": f"{title}: back to normal{value}."}[language])


def covered(finding: Finding, language: str) -> str:
    """Say that an alarm is not told any more because another check's finding covers it."""
    title = finding.check.title[language]
    if language == "ko":
        return f"{title}: {finding.suppressed_by} 검사가 대신 알립니다."
    return f"{title}: covered by {finding.suppressed_by}."


def blind(given: Given, language: str) -> str:
    """Say that the line cannot be judged, and which inputs are to blame."""
    told = _inputs({name: given.faults.get(name, "missing") for name in given.blind}, given, language)
    if language == "ko":
        return f"필수 입력을 쓸 수 없어 판단할 수 없습니다: {told}."
    return f"The line cannot be judged, required inputs cannot be used: {told}."


def _first(ground: Ground, language: str) -> str:
    decision, findings = ground.decision, ground.findings
    if ground.by_model:
        return f"{DECISION[decision][language]}: {_opinions(ground, language)}."
    if decision == "unknown":
        if ground.given.blind:
            return blind(ground.given, language)
        if not findings:
            return {"ko": "판단할 규칙이 없습니다.", "en": "There is no rule to judge by."}[language]
        causes = _causes(findings, language)
        return {"ko": f"어떤 검사도 판단할 수 없습니다: {causes}.", "en": f"No check could be made: {causes}."}[
            language
        ]
    if (main := ground.main) is not None:
        return f"{DECISION[decision][language]}: {said(main, ground.given, language)}"
    applied = sum(finding.applied and finding.level == "ok" for finding in findings)
    if not applied:
        return {"ko": "정상: 지금 적용되는 검사가 없습니다.", "en": "Normal: no check applies now."}[language]
    if language == "ko":
        return f"정상: 적용된 검사 {applied}건이 통과했습니다."
    return f"Normal: {applied} applied check{'s' if applied > 1 else ''} passed."


def _second(ground: Ground, language: str) -> list[str]:
    """Give the sentence on what else was found.

    What the model said beside the rules, other findings, inputs in doubt, or how near the nearest limit is.
    """
    parts: list[str] = []
    if ground.weighed.beside:
        parts += _beside(ground, language)
    main = ground.main
    worst_first = [f for level in ("critical", "warning") for f in _by_priority(ground.findings, level)]
    others = [finding for finding in worst_first if finding is not main]
    if others:
        named = ", ".join(_brief(finding, language) for finding in others[:OTHERS])
        more = len(others) - OTHERS
        rest = "" if more <= 0 else {"ko": f" 외 {more}건", "en": f" and {more} more"}[language]
        parts.append(f"{_ALSO[language]}: {named}{rest}")
    doubtful = {name: why for name, why in ground.given.faults.items() if name not in ground.given.blind}
    if doubtful:
        parts.append(f"{_DOUBTFUL[language]}: {_inputs(doubtful, ground.given, language)}")
    elif (ground.decision != "unknown" or ground.weighed.beside) and (causes := _causes(ground.findings, language)):
        parts.append(f"{_UNKNOWN[language]}: {causes}")
    if not parts and ground.decision == "normal" and (near := _nearest(ground.findings)) is not None:
        parts.append(f"{_NEAREST[language]}: {_brief(near, language)}")
    if not parts:
        return []
    sentence = tidy("; ".join(parts))
    return [f"{sentence[0].upper()}{sentence[1:]}."]


def _beside(ground: Ground, language: str) -> list[str]:
    """Say what rules and model said, where the first sentence does not, and how the policy made one of it."""
    told = [] if ground.by_model else [_opinions(ground, language)]
    why = [POLICY_REASON[reason][language] for reason in ground.weighed.combined.reasons if reason in POLICY_REASON]
    return [*told, *why]


def _opinions(ground: Ground, language: str) -> str:
    rule = ground.weighed.rule
    return f"{opinion(ground.weighed.scored, language)}, {rules_opinion(rule.decision, rule.confidence, language)}"


def _by_priority(findings: Sequence[Finding], level: str) -> list[Finding]:
    """Give the findings of a level that are not silenced, the highest priority first."""
    loud = [finding for finding in findings if finding.level == level and finding.suppressed_by is None]
    return sorted(loud, key=lambda finding: -finding.check.priority)


_LEVEL: Final[dict[Decision, Level]] = {
    "normal": "ok",
    "warning": "warning",
    "critical": "critical",
    "unknown": "unknown",
}
_ALSO: Final = {"ko": "그 밖의 발견", "en": "Also found"}
_DOUBTFUL: Final = {"ko": "신뢰할 수 없는 입력", "en": "Inputs in doubt"}
_UNKNOWN: Final = {"ko": "판단하지 못한 검사", "en": "Checks that could not be made"}
_NEAREST: Final = {"ko": "한계에 가장 가까운 값", "en": "Nearest to its limit"}


def _last(ground: Ground, language: str) -> str:
    total = len(ground.findings)
    passed = sum(finding.level == "ok" for finding in ground.findings)
    sure = number(ground.weighed.combined.confidence)
    policy = ground.policy if ground.weighed.beside else ""
    if language == "ko":
        told = [f"검사 {total}건 중 {passed}건 통과", policy and f"정책 {policy}", f"신뢰도 {sure}"]
    else:
        told = [f"{passed} of {total} checks passed", policy and f"policy {policy}", f"confidence {sure}"]
    sentence = ", ".join(part for part in told[not total :] if part)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _nearest(findings: Sequence[Finding]) -> Finding | None:
    """Give the passed limit whose value is nearest to its threshold, in proportion."""
    best: tuple[float, Finding] | None = None
    for finding in findings:
        if not (isinstance(finding.check, Limit) and finding.level == "ok"):
            continue
        if isinstance(finding.value, float) and isinstance(finding.threshold, float):
            distance = abs(finding.threshold - finding.value) / (abs(finding.threshold) or 1.0)
            if best is None or distance < best[0]:
                best = (distance, finding)
    return None if best is None else best[1]


def _amount(finding: Finding, language: str) -> str:
    return f"{number(finding.value)} {symbol(finding.unit, language)}".strip()


def _brief(finding: Finding, language: str) -> str:
    """Give `Vibration 5.1 mm/s (limit 4.5 mm/s)`."""
    title = finding.check.title[language]
    if finding.value is None:
        return title
    told = f"{title} {_amount(finding, language)}"
    if finding.threshold is None:
        return told
    bound = f"{number(finding.threshold)} {symbol(finding.unit, language)}".strip()
    return f"{told} ({'한계' if language == 'ko' else 'limit'} {bound})"


def _inputs(faults: Mapping[str, str], given: Given, language: str) -> str:
    told: list[str] = []
    for name, why in list(faults.items())[: OTHERS + 2]:
        text = WHY[why][language]
        if why == "stale" and name in given.ages:
            seconds = number(float(given.ages[name] // 1_000_000_000))
            text += {"ko": f" {seconds}초", "en": f" for {seconds} s"}[language]
        told.append(f"{name} ({text})")
    more = len(faults) - len(told)
    return ", ".join(told) + (f" +{more}" if more > 0 else "")


def _causes(findings: Sequence[Finding], language: str) -> str:
    told = [
        f"{finding.check.title[language]} ({_cause(finding, language)})"
        for finding in findings
        if finding.level == "unknown"
    ]
    more = len(told) - OTHERS
    return ", ".join(told[:OTHERS]) + (f" +{more}" if more > 0 else "")


def _cause(finding: Finding, language: str) -> str:
    return ", ".join(f"{cause.variable} {WHY[cause.why][language]}".strip() for cause in finding.causes[:2])


def _template(finding: Finding, language: str) -> str:
    """Give the text of a check that has none of its own."""
    value = "" if finding.value is None else "{value} {unit}"
    bound = "" if finding.threshold is None else _HELD_AGAINST[language]
    match finding.check:
        case Limit():
            side, level = finding.side or "high", DECISION[finding.level][language]
            if _held(finding):
                back = f"{number(finding.check.hysteresis)} {{unit}}"
                if language == "ko":
                    bound = f"{'상한' if side == 'high' else '하한'} {{threshold}} {{unit}}"
                    return f"{{title}} {value}, {level} {bound} 안으로 돌아왔으나 {back} 안쪽까지는 유지됩니다."
                word = "above" if side == "high" else "below"
                return f"{{title}} is {value}; the {level.lower()} {word} {{threshold}} {{unit}} stays until it is {back} inside."
            if language == "ko":
                over = "상한 {threshold} {unit} 초과" if side == "high" else "하한 {threshold} {unit} 미달"
                return f"{{title}} {value}, {level} {over}."
            word = "above" if side == "high" else "below"
            return f"{{title}} is {value}, {word} the {level.lower()} limit of {{threshold}} {{unit}}."
        case Table():
            return f"{{title}} {value}{bound}{_status(finding)}."
        case _:
            parts = ([f"{value}{bound}"] if value else []) + [_plain(", ".join(finding.path))] * bool(finding.path)
            shown = f" ({'; '.join(parts)})" if parts else ""
            return f"{{title}}: {_HOLDS[language]}{shown}{_status(finding)}."


def _held(finding: Finding) -> bool:
    """Tell whether a limit's value is back inside it, and only its hysteresis keeps it in force."""
    value, bound = finding.value, finding.threshold
    if isinstance(value, str | None) or isinstance(bound, str | None):
        return False
    return value >= bound if finding.side == "low" else value <= bound


_HELD_AGAINST: Final = {"ko": ", 기준 {threshold} {unit}", "en": ", held against {threshold} {unit}"}
_HOLDS: Final = {"ko": "조건이 성립했습니다", "en": "the condition holds"}


def _status(finding: Finding) -> str:
    return "" if finding.status is None else f" ({_plain(finding.status)})"


def _plain(text: str) -> str:
    """Give a text whose braces are meant."""
    return text.replace("{", "{{").replace("}", "}}")
