"""The rules judge: ruleset + window + memory → verdict, alarms, memory. Pure and deterministic: same inputs, same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from edge.judgment.confidence import UNRATED, confidence, input_fault, match_strength, needed_tags, quality
from edge.judgment.explanation import Ground, blind, cleared, said, summary
from edge.judgment.findings import Finding, findings
from edge.judgment.state import NOTHING, State
from edge.judgment.wording import LANGUAGES
from models.expression_checker import Value
from models.expression_interpreter import Cause
from models.ruleset import Action, Results, Ruleset
from models.ruleset_file import INPUTS_ALARM, Severity
from models.ruleset_inputs import tag_fault
from models.window import Window
from sync.facts import AlarmChanged, Check, Context, Judged

Decision = Literal["normal", "warning", "critical", "unknown"]

_RANK: Final[dict[str, int]] = {"info": 0, "warning": 1, "critical": 2}
_PRIORITY: Final = ("immediate", "high", "medium", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a ruleset says about a window, with everything that is needed to explain and to repeat it."""

    verdict_id: str
    ruleset: Ruleset
    window: Window
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
    """Every value the rules read; `<tag>.fault` where a tag was in doubt, `held.<check>` what was remembered."""
    components: dict[str, float]
    actions: tuple[dict[str, str], ...]
    needs_human: bool
    alarms: tuple[AlarmChanged, ...]
    """Changes only: up, another severity, gone."""
    state: State
    """To hand in with the next window, and to checkpoint with this verdict."""


def judge(
    ruleset: Ruleset, window: Window, *, state: State | None = None, history_accuracy: float | None = None
) -> Verdict:
    """Judge one window.

    state: what the previous window's verdict gave (None at the beginning). history_accuracy: 0..1, how often rated
    verdicts of this ruleset were right (`confidence.history`); None = nobody has rated it.
    A required tag that is missing, bad or stale makes the decision `unknown` whatever else was found; what was found
    still sets the severity and raises its alarm.
    """
    before = State() if state is None else state
    results = ruleset.evaluate(window)
    found = findings(ruleset, results, window, before)

    needed = needed_tags(ruleset, window)
    faults = {name: fault for name in needed if (fault := input_fault(window.tags.get(name))) is not None}
    blinding = [name for name in window.required if tag_fault(window.tags[name]) is not None]

    decision = _decision(found, blinding)
    past = UNRATED if history_accuracy is None else history_accuracy
    match, trust = match_strength(found), quality(faults, needed)
    sure = 0.0 if decision == "unknown" else confidence(match, trust, past)
    inputs = _inputs(ruleset, results, faults, before)
    verdict_id = _verdict_id(ruleset, window, inputs)
    severity = _severity(found, decision)
    deciding = next((f for f in found if f.matched and f.level == ("ok" if severity == "info" else severity)), None)
    blinded = {} if not blinding else {lang: blind(faults, blinding, window, lang) for lang in LANGUAGES}
    alarms, up = _alarms(found, blinded, before, window, verdict_id)
    return Verdict(
        verdict_id=verdict_id,
        ruleset=ruleset,
        window=window,
        decision=decision,
        status=None if deciding is None else deciding.status,
        severity=severity,
        confidence=sure,
        source="rule" if any(f.applied and f.level != "unknown" for f in found) or decision != "unknown" else "none",
        summary=summary(
            Ground(decision=decision, findings=found, faults=faults, required=blinding, confidence=sure, window=window)
        ),
        findings=tuple(found),
        inputs=inputs,
        components={
            "rule_confidence": sure,
            "match": round(match, 4),
            "quality": round(trust, 4),
            "history": round(past, 4),
        },
        actions=_actions(found),
        needs_human=decision == "unknown",
        alarms=tuple(alarms),
        state=State(at=window.end, held={f.check.name: f.held for f in found if f.held != NOTHING}, alarms=up),
    )


def judged(verdict: Verdict) -> Judged:
    """Give the fact that tells a verdict."""
    ruleset, window = verdict.ruleset, verdict.window
    context = window.context
    return Judged(
        at=window.end,
        work_unit=window.work_unit,
        verdict_id=verdict.verdict_id,
        start=window.start,
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
        context=Context(
            order=context.order, product=context.product, lot=context.lot, shift=context.shift, stale=context.stale
        ),
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


def _inputs(ruleset: Ruleset, results: Results, faults: dict[str, str], before: State) -> dict[str, Value | None]:
    """Give everything the verdict depended on, by name in one order; None where there was no value."""
    given: dict[str, Value | None] = {
        name: None if isinstance(value, Cause) else value
        for name, value in zip(ruleset.program.variables, results.inputs, strict=True)
    }
    given |= {f"{tag}.fault": why for tag, why in faults.items()}
    given |= {f"held.{name}": msgspec.json.encode(held, order="sorted").decode() for name, held in before.held.items()}
    return dict(sorted(given.items()))


def _verdict_id(ruleset: Ruleset, window: Window, inputs: dict[str, Any]) -> str:
    content = msgspec.json.encode([ruleset.hash, window.work_unit, window.start, window.end, inputs])
    return hashlib.sha256(content).hexdigest()[:32]


def _alarms(
    found: Sequence[Finding], blinded: dict[str, str], before: State, window: Window, verdict_id: str
) -> tuple[list[AlarmChanged], dict[str, Severity]]:
    """Give the changes, and which alarms are up now. What cannot be told leaves an alarm as it was."""
    changes: list[AlarmChanged] = []
    up: dict[str, Severity] = {}

    def change(name: str, now: Severity | None, texts: dict[str, str]) -> None:
        was = before.alarms.get(name)
        if now is not None:
            up[name] = now
        if now != was:
            changes.append(
                AlarmChanged(
                    at=window.end,
                    work_unit=window.work_unit,
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
                    {}
                    if before.alarms.get(name) == level
                    else {lang: said(finding, window, lang) for lang in LANGUAGES}
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
