"""The judge: ruleset + what is given + the model's answer → verdict, alarms, memory. Pure: same inputs, same bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from edge.judgment.actions import recommended
from edge.judgment.alarms import alarms
from edge.judgment.explanation import Ground, summary
from edge.judgment.findings import Finding, findings
from edge.judgment.given import FORM, Given, told
from edge.judgment.policies import Decision, Source, needs_model
from edge.judgment.room import fitted
from edge.judgment.state import NOTHING, State
from edge.judgment.weighing import Weighed, rules_side, weigh
from models.expression_checker import Value
from models.ruleset import Ruleset
from models.ruleset_file import Severity
from sync.facts import AlarmChanged, Check, Fact, Judged
from sync.judgment import CcpRecorded, Scored

ALWAYS_ASKS = frozenset({"ml_only", "ml_fallback", "hybrid_weighted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a ruleset says about a window, with everything that is needed to explain and to repeat it."""

    verdict_id: str
    ruleset: Ruleset
    given: Given
    scored: Scored | None
    """What the model said; None when the policy did not ask one, or there was none."""
    decision: Decision
    status: str | None
    """Domain word of the deciding finding: HIGH_DEFECT."""
    severity: Severity
    """The worst that was found; may be critical while the decision is unknown."""
    confidence: float
    source: Source
    summary: dict[str, str]
    findings: tuple[Finding, ...]
    inputs: dict[str, Value | None]
    """All it stands on (`given.told`)."""
    components: dict[str, float]
    evidence: dict[str, Any]
    """What the record's other fields do not tell: the rules' own decision beside a model's, and the policy's reasons."""
    actions: tuple[dict[str, str], ...]
    needs_human: bool
    alarms: tuple[AlarmChanged, ...]
    """Changes only: up, another severity, gone."""
    control_points: tuple[CcpRecorded, ...]
    """Critical control points that were looked at."""
    state: State
    """To hand in with the next window, and to checkpoint with this verdict."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that belong beside the verdict's own, in the order they are committed."""
        return (*self.alarms, *self.control_points)


def asks_model(ruleset: Ruleset, given: Given) -> bool:
    """Tell whether a model's answer belongs into the verdict; where not, `judge` leaves one that is handed in out."""
    if given.blind or ruleset.settings.policy == "rule_only":
        return False
    if ruleset.settings.policy in ALWAYS_ASKS:
        return True
    return needs_model(ruleset.settings, rules_side(_found(ruleset, given), given))


def judge(ruleset: Ruleset, given: Given, *, scored: Scored | None = None) -> Verdict:
    """Judge what is given of one window.

    scored: what the model said, where the policy asks one (`asks_model`); None there = there is no model, which the
    policy takes for a failure of it. A required tag that is missing, bad or stale makes the decision `unknown`
    whatever else was found; what was found still sets the severity and raises its alarm.
    """
    found = _found(ruleset, given)
    weighed = weigh(ruleset, found, given, scored)
    combined, flat = weighed.combined, told(given)
    verdict_id = _verdict_id(ruleset, given, flat, weighed.scored)
    changes, up = alarms(found, weighed, given, verdict_id)
    return Verdict(
        verdict_id=verdict_id,
        ruleset=ruleset,
        given=given,
        scored=weighed.scored,
        decision=combined.decision,
        status=weighed.status,
        severity=combined.severity,
        confidence=combined.confidence,
        source=combined.source,
        summary=summary(Ground(findings=found, weighed=weighed, given=given, policy=ruleset.settings.policy)),
        findings=tuple(found),
        inputs=flat,
        components=weighed.components,
        evidence=_evidence(weighed),
        actions=recommended(found),
        needs_human=combined.needs_human,
        alarms=changes,
        control_points=_control_points(ruleset, found, given, verdict_id),
        state=State(at=given.end, held={f.check.memory: f.held for f in found if f.held != NOTHING}, alarms=up),
    )


def judged(verdict: Verdict) -> Judged:
    """Give the fact that tells a verdict; one that would be larger than a fact may be leaves something out (`room`)."""
    ruleset, given = verdict.ruleset, verdict.given
    whole = Judged(
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
        checks=[_check(finding) for finding in verdict.findings],
        inputs=verdict.inputs,
        components=verdict.components,
        actions=list(verdict.actions),
        needs_human=verdict.needs_human,
        context=given.context,
        form=FORM,
        state=given.state,
        ml=verdict.scored,
        evidence=verdict.evidence,
    )
    return fitted(whole)


def _found(ruleset: Ruleset, given: Given) -> list[Finding]:
    inputs, known = given.inputs(ruleset)
    return findings(ruleset, ruleset.program.run(inputs, known=known), given)


def _check(finding: Finding) -> Check:
    value, threshold = finding.value, finding.threshold
    return Check(
        name=finding.check.name,
        status=finding.level,
        value=_kept(value),
        threshold=None if threshold is None else threshold if isinstance(threshold, str) else _number(threshold),
        unit=finding.unit,
        priority=finding.check.priority,
        suppressed_by=finding.suppressed_by,
        path=list(finding.path),
    )


def _kept(value: Value | None) -> Value | None:
    """Give a value as its record brings it back: JSON has one kind of number, and none that is not finite."""
    return value if value is None or isinstance(value, str | bool) else _number(value)


def _number(value: float) -> float | None:
    return value + 0.0 if math.isfinite(value) else None


def _verdict_id(ruleset: Ruleset, given: Given, inputs: dict[str, Value | None], scored: Scored | None) -> str:
    content: list[Any] = [ruleset.hash, given.work_unit, given.start, given.end, inputs]
    if scored is not None:
        content += [scored.sha256, scored.features]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]


def _evidence(weighed: Weighed) -> dict[str, Any]:
    if not weighed.asked:
        return {}
    return {"rule": weighed.rule.decision, "reasons": list(weighed.combined.reasons)}


def _control_points(
    ruleset: Ruleset, found: Sequence[Finding], given: Given, verdict_id: str
) -> tuple[CcpRecorded, ...]:
    return tuple(
        CcpRecorded(
            at=given.end,
            work_unit=given.work_unit,
            ccp=finding.check.name,
            value=_kept(finding.value),
            unit=finding.unit,
            low=finding.low,
            high=finding.high,
            within=_within(finding),
            verdict_id=verdict_id,
            ruleset=ruleset.name,
            ruleset_version=ruleset.version,
            context=given.context,
        )
        for finding in found
        if finding.ccp
    )


def _within(finding: Finding) -> bool | None:
    """Tell whether a control point's value lies within its critical limits, at once and without hysteresis."""
    value = finding.value
    if finding.level == "unknown" or not isinstance(value, float | int) or not math.isfinite(value):
        return None
    return (finding.low is None or value >= finding.low) and (finding.high is None or value <= finding.high)
