"""The rules judge: ruleset + window + memory → verdict, alarms, memory. Pure and deterministic: same inputs, same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from edge.judgment.confidence import confidence, match_strength, quality
from edge.judgment.explanation import Ground, blind, cleared, said, summary
from edge.judgment.findings import Finding, findings
from edge.judgment.given import FORM, Given, told
from edge.judgment.state import NOTHING, State
from edge.judgment.wording import LANGUAGES
from models.expression_checker import Value
from models.ruleset import Action, Ruleset
from models.ruleset_file import INPUTS_ALARM, Severity
from sync.facts import AlarmChanged, Check, Judged
from sync.judgment import Scored

Decision = Literal["normal", "warning", "critical", "unknown"]

_RANK: Final[dict[str, int]] = {"info": 0, "warning": 1, "critical": 2}
_PRIORITY: Final = ("immediate", "high", "medium", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a ruleset says about a window, with everything that is needed to explain and to repeat it."""

    verdict_id: str
    ruleset: Ruleset
    given: Given
    scored: Scored | None
    """What the model said; None when none was asked."""
    decision: Decision
    status: str | None
    """Domain word of the deciding finding: HIGH_DEFECT."""
    severity: Severity
    """The worst that was found; may be critical while the decision is unknown."""
    confidence: float
    source: Literal["rule", "none"]
    summary: dict[str, str]
    findings: tuple[Finding, ...]
    inputs: dict[str, Value | None]
    """All it stands on (`given.told`)."""
    components: dict[str, float]
    actions: tuple[dict[str, str], ...]
    needs_human: bool
    alarms: tuple[AlarmChanged, ...]
    """Changes only: up, another severity, gone."""
    state: State
    """To hand in with the next window, and to checkpoint with this verdict."""


def judge(ruleset: Ruleset, given: Given, *, scored: Scored | None = None) -> Verdict:
    """Judge what is given of one window.

    scored: what the model said, where the policy asks one. A required tag that is missing, bad or stale makes the
    decision `unknown` whatever else was found; what was found still sets the severity and raises its alarm.
    """
    inputs, known = given.inputs(ruleset)
    found = findings(ruleset, ruleset.program.run(inputs, known=known), given)
    decision = _decision(found, given.blind)
    match, trust = match_strength(found), quality(given.faults, given.needed)
    sure = 0.0 if decision == "unknown" else confidence(match, trust, given.history)
    flat = told(given)
    verdict_id = _verdict_id(ruleset, given, flat)
    severity = _severity(found, decision)
    deciding = next((f for f in found if f.matched and f.level == ("ok" if severity == "info" else severity)), None)
    alarms, up = _alarms(found, given, verdict_id)
    return Verdict(
        verdict_id=verdict_id,
        ruleset=ruleset,
        given=given,
        scored=scored,
        decision=decision,
        status=None if deciding is None else deciding.status,
        severity=severity,
        confidence=sure,
        source="rule" if any(f.applied and f.level != "unknown" for f in found) or decision != "unknown" else "none",
        summary=summary(Ground(decision=decision, findings=found, confidence=sure, given=given)),
        findings=tuple(found),
        inputs=flat,
        components={
            "rule_confidence": sure,
            "match": round(match, 4),
            "quality": round(trust, 4),
            "history": round(given.history, 4),
        },
        actions=_actions(found),
        needs_human=decision == "unknown",
        alarms=tuple(alarms),
        state=State(at=given.end, held={f.check.name: f.held for f in found if f.held != NOTHING}, alarms=up),
    )


def judged(verdict: Verdict) -> Judged:
    """Give the fact that tells a verdict."""
    ruleset, given = verdict.ruleset, verdict.given
    return Judged(
        at=given.end,
        work_unit=given.work_unit,
        verdict_id=verdict.verdict_id,
        start=given.start,
        ruleset=ruleset.name,
        ruleset_version=ruleset.version,
        ruleset_hash=ruleset.hash,
        decision=verdict.decision,
        severity=verdict.severity,
        status=verdict.status,
        confidence=verdict.confidence,
        policy=ruleset.policy,
        source=verdict.source,
        summary=verdict.summary,
        matched=[finding.check.name for finding in verdict.findings if finding.matched],
        checks=[
            Check(name=f.check.name, status=f.level, value=f.value, threshold=f.threshold, unit=f.unit)
            for f in verdict.findings
        ],
        inputs=verdict.inputs,
        components=verdict.components,
        actions=list(verdict.actions),
        needs_human=verdict.needs_human,
        context=given.context,
        form=FORM,
        state=given.state,
        ml=verdict.scored,
    )


def _decision(found: Sequence[Finding], blinding: Sequence[str]) -> Decision:
    levels = {finding.level for finding in found}
    if blinding:
        return "unknown"
    if "critical" in levels:
        return "critical"
    if "warning" in levels:
        return "warning"
    # An unknown check beside passed ones costs confidence; when nothing that applies could be checked, we cannot say.
    if "unknown" in levels and not any(finding.applied and finding.level == "ok" for finding in found):
        return "unknown"
    return "normal"


def _severity(found: Sequence[Finding], decision: Decision) -> Severity:
    levels = {finding.level for finding in found}
    if "critical" in levels:
        return "critical"
    return "warning" if "warning" in levels or decision == "unknown" else "info"


def _verdict_id(ruleset: Ruleset, given: Given, inputs: dict[str, Value | None]) -> str:
    content = msgspec.json.encode([ruleset.hash, given.work_unit, given.start, given.end, inputs])
    return hashlib.sha256(content).hexdigest()[:32]


def _alarms(found: Sequence[Finding], given: Given, verdict_id: str) -> tuple[list[AlarmChanged], dict[str, Severity]]:
    """Give the changes, and which alarms are up now. What cannot be told leaves an alarm as it was."""
    changes: list[AlarmChanged] = []
    up: dict[str, Severity] = {}
    before = given.memory
    blinded = {language: blind(given, language) for language in LANGUAGES} if given.blind else {}

    def change(name: str, now: Severity | None, texts: dict[str, str]) -> None:
        was = before.alarms.get(name)
        if now is not None:
            up[name] = now
        if now != was:
            changes.append(
                AlarmChanged(
                    at=given.end,
                    work_unit=given.work_unit,
                    alarm=name,
                    active=now is not None,
                    severity=now or was or "info",
                    summary=texts,
                    verdict_id=verdict_id,
                )
            )

    change(INPUTS_ALARM, "warning" if blinded else None, blinded or _USABLE)
    for finding in found:
        if not finding.check.alarm:
            continue
        name = finding.check.name
        match finding.level:
            case "unknown":
                if name in before.alarms:
                    up[name] = before.alarms[name]
            case "ok":
                change(
                    name, None, {lang: cleared(finding, lang) for lang in LANGUAGES} if name in before.alarms else {}
                )
            case level:
                texts = (
                    {} if before.alarms.get(name) == level else {lang: said(finding, given, lang) for lang in LANGUAGES}
                )
                change(name, level, texts)
    known = {finding.check.name for finding in found if finding.check.alarm} | {INPUTS_ALARM}
    for name in sorted(before.alarms.keys() - known):
        change(name, None, _RULE_GONE)
    return changes, dict(sorted(up.items()))


_USABLE: Final = {"ko": "필수 입력을 다시 쓸 수 있습니다.", "en": "The required inputs can be used again."}
_RULE_GONE: Final = {"ko": "이 규칙은 더 이상 없습니다.", "en": "This rule exists no longer."}


def _actions(found: Sequence[Finding]) -> tuple[dict[str, str], ...]:
    """Give the recommendations of all findings, each once at its highest priority, the most urgent first."""
    merged: dict[tuple[str, str | None, str], tuple[int, Action]] = {}
    worst_first = sorted((f for f in found if f.matched), key=lambda f: -_RANK.get(f.level, 0))
    for finding in worst_first:
        for action in finding.actions:
            key = (action.action_type, action.target, action.text["en"])
            urgency = _PRIORITY.index(action.priority)
            if key not in merged or urgency < merged[key][0]:
                merged[key] = (urgency, action)
    chosen = [action for _, action in sorted(merged.values(), key=lambda item: item[0])]
    if any(action.action_type == "stop" for action in chosen):
        chosen = [action for action in chosen if action.action_type != "continue"]  # stop beats continue
    return tuple(
        {"action_type": action.action_type, "priority": action.priority, **action.text}
        | ({} if action.target is None else {"target": action.target})
        for action in chosen
    )
