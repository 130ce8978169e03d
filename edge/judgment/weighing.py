"""What the findings and a model's answer amount to, without the words: decision, severity, confidence, source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from edge.judgment.confidence import confidence, match_strength, quality
from edge.judgment.findings import Finding, Level
from edge.judgment.given import Given
from edge.judgment.policies import DRIFTED, Combined, Decision, Side, combine, needs_model
from models.ruleset import Ruleset
from models.ruleset_file import Severity
from sync.judgment import Scored

UNTOLD: Final = 0.5
"""Confidence of a model that gives none, or one that is no confidence."""
NOT_APPLICABLE: Final = "not_applicable"
"""Kind of `Scored.failure`: the package says that it has nothing to say of such a window."""
NOTHING_APPLIES: Final = 0.9
"""Match of a window to which no check applies: that of one whose checks all passed."""
DECISIONS: Final = frozenset({"normal", "warning", "critical", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A verdict without its texts."""

    combined: Combined
    status: str | None
    """Domain word of the deciding finding, or the model's label where the model decided."""
    rule: Side
    scored: Scored | None
    """What the model said, as far as the policy asked for it."""
    asked: bool
    """Whether the policy wants a model's answer here."""
    components: dict[str, float]
    """How the confidence came about; four decimals."""

    @property
    def beside(self) -> bool:
        """Whether there are two sides to speak of: a model was wanted, and such a window is one for it."""
        return self.asked and (self.scored is None or applies(self.scored))


def weigh(ruleset: Ruleset, found: Sequence[Finding], given: Given, scored: Scored | None) -> Weighed:
    """Weigh one window's findings, and the model's answer where the policy asks for it.

    found: of every check (`findings`). Of what is given only faults, needed, blind and history count. A required input
    that cannot be used makes it `unknown` whatever else was found; what was found still sets the severity.
    """
    loud = [finding for finding in found if finding.suppressed_by is None]
    match, trust = match_strength(loud), quality(given.faults, given.needed)
    rule = _rules(loud, given, match, trust)
    asked = needs_model(ruleset.settings, rule)
    scored = sound(scored) if asked and scored is not None else None
    model = None if scored is None else model_side(scored)
    combined = combine(ruleset.settings, rule, model)
    components = {
        "rule_confidence": 0.0 if rule.decision == "unknown" else rule.confidence,
        "match": round(match, 4),
        "quality": round(trust, 4),
        "history": round(given.history, 4),
    }
    if model is not None and model.answers:
        believed = model.confidence * DRIFTED if model.drifted else model.confidence
        components["ml_confidence"] = round(believed, 4)
        if ruleset.settings.policy == "hybrid_weighted":
            total = ruleset.settings.rule_weight + ruleset.settings.ml_weight
            components["rule_weight"] = round(ruleset.settings.rule_weight / total, 4)
            components["ml_weight"] = round(ruleset.settings.ml_weight / total, 4)
    return Weighed(
        combined=combined,
        status=_status(combined, rule, loud, scored),
        rule=rule,
        scored=scored,
        asked=asked,
        components=components,
    )


def rules_side(found: Sequence[Finding], given: Given) -> Side:
    """Give what the rules say by themselves."""
    loud = [finding for finding in found if finding.suppressed_by is None]
    return _rules(loud, given, match_strength(loud), quality(given.faults, given.needed))


def model_side(scored: Scored) -> Side:
    """Give what a model says by itself."""
    return Side(
        decision=cast("Decision", scored.decision),
        confidence=scored.confidence,
        failure=scored.failure,
        drifted=scored.drifted,
        applies=applies(scored),
    )


def applies(scored: Scored) -> bool:
    """Tell whether a window is one for the model at all; where not, that is no failure of it."""
    return scored.failure is None or scored.failure.partition(":")[0] != NOT_APPLICABLE


def sound(scored: Scored) -> Scored:
    """Give a model's answer as a fact can hold it and a policy can use it: finite, and of words that are known."""
    changed: dict[str, object] = {}
    if scored.failure is None and scored.decision not in DECISIONS:
        changed |= {"failure": f"unknown_decision: {scored.decision}"[:120]}
    if scored.decision not in DECISIONS:
        changed |= {"decision": "unknown"}
    if not 0 <= scored.confidence <= 1:
        changed |= {"confidence": UNTOLD}
    for field in ("scores", "contributions"):
        numbers: dict[str, float] = getattr(scored, field)
        if not all(map(math.isfinite, numbers.values())):
            changed[field] = {name: number for name, number in numbers.items() if math.isfinite(number)}
    if any(number is not None and not math.isfinite(number) for number in scored.features.values()):
        changed["features"] = {
            name: number if number is not None and math.isfinite(number) else None
            for name, number in scored.features.items()
        }
    return msgspec.structs.replace(scored, **changed) if changed else scored


def foremost(found: Sequence[Finding], level: Level) -> Finding | None:
    """Give the matched finding of a level that speaks for it: of the highest priority, of equals the first."""
    best: Finding | None = None
    for finding in found:
        if (
            finding.matched
            and finding.level == level
            and finding.suppressed_by is None
            and (best is None or finding.check.priority > best.check.priority)
        ):
            best = finding
    return best


def _rules(loud: Sequence[Finding], given: Given, match: float, trust: float) -> Side:
    if not loud and not given.blind:
        sure = confidence(NOTHING_APPLIES, trust, given.history)
        return Side(decision="unknown", confidence=sure, silent=True)
    decision = _decision(loud, given.blind)
    sure = 0.0 if decision == "unknown" else confidence(match, trust, given.history)
    return Side(decision=decision, confidence=sure, severity=_worst(loud), blind=bool(given.blind))


def _decision(loud: Sequence[Finding], blind: Sequence[str]) -> Decision:
    levels = {finding.level for finding in loud}
    if blind or not levels:
        return "unknown"
    if "critical" in levels:
        return "critical"
    if "warning" in levels:
        return "warning"
    # An unknown check beside passed ones costs confidence; when nothing that applies could be checked, we cannot say.
    if "unknown" in levels and not any(finding.applied and finding.level == "ok" for finding in loud):
        return "unknown"
    return "normal"


def _worst(loud: Sequence[Finding]) -> Severity:
    levels = {finding.level for finding in loud}
    if "critical" in levels:
        return "critical"
    return "warning" if "warning" in levels else "info"


def _status(combined: Combined, rule: Side, loud: Sequence[Finding], scored: Scored | None) -> str | None:
    if scored is not None and scored.failure is None and combined.decision == scored.decision != rule.decision:
        return scored.label
    severity = rule.severity
    deciding = foremost(loud, "ok" if severity == "info" else severity)
    return None if deciding is None else deciding.status
