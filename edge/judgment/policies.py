"""From the rules' answer and a model's to one: seven policies, pure and total.

Thresholds are met by the sides' confidences as they are; the result is rounded once, at the very end, to four decimals,
and what is decided on it afterwards (whether a person looks) goes by the rounded number, the one that is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from models.policy import PolicySettings
from models.ruleset_file import Severity

Decision = Literal["normal", "warning", "critical", "unknown"]
Source = Literal[
    "rule", "ml", "hybrid", "hybrid_consensus", "hybrid_rule", "hybrid_ml", "ml_fallback", "rule_fallback",
    "ml_escalated", "none",
]  # fmt: skip
Reason = Literal[
    "not_applicable",
    "blind",
    "agree",
    "differ",
    "model_failed",
    "rules_failed",
    "both_failed",
    "drifted",
    "safety_first",
    "unsure",
]

RANK: Final[dict[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
SEVERITY_OF: Final[dict[Decision, Severity]] = {
    "normal": "info",
    "warning": "warning",
    "critical": "critical",
    "unknown": "warning",
}
AGREED: Final = 1.1
"""hybrid_weighted: two that say the same are surer than either."""
CONSENSUS: Final = 1.15
DISAGREED: Final = 0.9
"""hybrid_gate."""
DRIFTED: Final = 0.8
"""What is left of the confidence of a model whose inputs are unlike those it learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the rules or the model say by themselves."""

    decision: Decision
    confidence: float
    """0 to 1."""
    severity: Severity = "info"
    """Rules: the worst they found, which may be worse than their decision where an input is missing."""
    blind: bool = False
    """Rules: a required input cannot be used; nobody can judge, no model either."""
    silent: bool = False
    """Rules: there are none; `confidence` is then that of a window in which nothing applies."""
    failure: str | None = None
    """Model: why there is no answer."""
    drifted: bool = False
    applies: bool = True
    """Model: False = it has nothing to say of such a window, as a check outside its `only_when`; that is no failure."""

    @property
    def answers(self) -> bool:
        """Whether it can be gone by: it neither failed nor is at a loss."""
        return self.failure is None and self.applies and self.decision != "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """One answer out of two, and how it came about."""

    decision: Decision
    confidence: float
    """Four decimals; 0 for unknown."""
    severity: Severity
    """The worst that either side said; never milder than the decision."""
    source: Source
    needs_human: bool
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    decision: Decision
    confidence: float
    source: Source
    reasons: tuple[Reason, ...] = ()


NOBODY: Final = _Answer("unknown", 0.0, "none", ("both_failed",))
NO_MODEL: Final = Side(decision="unknown", confidence=0.0, failure="no_model")


def needs_model(settings: PolicySettings, rule: Side) -> bool:
    """Tell whether the policy wants a model's answer beside this one of the rules."""
    if rule.blind:
        return False
    match settings.policy:
        case "rule_only":
            return False
        case "ml_only" | "ml_fallback" | "hybrid_weighted":
            return True
        case "rule_fallback":
            return not (rule.answers and rule.confidence >= settings.accept)
        case "hybrid_gate":
            return not (rule.answers and rule.confidence >= settings.gate)
        case "escalate":
            return not (rule.answers and rule.confidence >= settings.escalate)


def combine(settings: PolicySettings, rule: Side, model: Side | None) -> Combined:
    """Give the one answer. model: None = none was asked; where the policy wants one, that is a failure of it.

    A model that the policy does not ask changes nothing. With `safety_first` a side that says critical is believed:
    where the policy alone would have gone by the milder one, the answer is critical with the confidence of the side that
    says so (no surer than its only witness), and a person looks.
    """
    if rule.blind:
        return _closed(settings, rule, None, _Answer("unknown", 0.0, "none", ("blind",)))
    if model is not None and not model.applies and needs_model(settings, rule):
        return _closed(settings, rule, None, _without(rule))
    if not needs_model(settings, rule):
        alone = _Answer("unknown", 0.0, "none", ("rules_failed",))
        return _closed(settings, rule, None, _Answer(rule.decision, rule.confidence, "rule") if rule.answers else alone)
    model = NO_MODEL if model is None else _heard(settings, rule, model)
    answer = _answer(settings, rule, model)
    if settings.safety_first and answer.decision != "critical":
        answer = _safe(settings, rule, model, answer)
    if model.drifted:
        answer = replace(answer, reasons=(*answer.reasons, "drifted"))
    return _closed(settings, rule, model, answer)


def _without(rule: Side) -> _Answer:
    """Give the rules' answer to a window that is none for the model; where there are no rules either, all is normal."""
    if rule.answers:
        return _Answer(rule.decision, rule.confidence, "rule", ("not_applicable",))
    if rule.silent:
        return _Answer("normal", rule.confidence, "rule", ("not_applicable",))
    return _Answer("unknown", 0.0, "none", ("not_applicable", "rules_failed"))


def _heard(settings: PolicySettings, rule: Side, model: Side) -> Side:
    """Give the model's side as far as it is believed: less after a drift of its inputs, and not without any confidence."""
    sure = model.confidence * DRIFTED if model.drifted else model.confidence
    if sure <= 0 or (model.drifted and settings.drifted_aside and rule.answers):
        return replace(model, decision="unknown", confidence=0.0)
    return replace(model, confidence=sure)


def _answer(settings: PolicySettings, rule: Side, model: Side) -> _Answer:
    match settings.policy:
        case "rule_only":
            return _from_rules(rule, "rule")
        case "ml_only":
            # A model that is at a loss is an answer here; one that failed leaves the line to the rules.
            if model.failure is None and not (settings.drifted_aside and model.drifted and rule.answers):
                return _Answer(model.decision, model.confidence if model.decision != "unknown" else 0.0, "ml")
            return _one_of(rule, model)
        case "ml_fallback":
            return _Answer(model.decision, model.confidence, "ml") if model.answers else _one_of(rule, model)
        case "rule_fallback":
            if model.answers:
                return _Answer(
                    model.decision, model.confidence, "ml_fallback", () if rule.answers else ("rules_failed",)
                )
            return _one_of(rule, model)
        case "escalate":
            if not model.answers:
                return _one_of(rule, model)
            unsure: tuple[Reason, ...] = ("unsure",) if _rounded(model.confidence) < settings.escalated else ()
            return _Answer(model.decision, model.confidence, "ml_escalated", unsure)
        case "hybrid_weighted":
            return _weighted(settings, rule, model) if rule.answers and model.answers else _one_of(rule, model)
        case "hybrid_gate":
            return _gated(rule, model) if rule.answers and model.answers else _one_of(rule, model)


def _one_of(rule: Side, model: Side) -> _Answer:
    """Give the answer of the side that has one."""
    if rule.answers:
        return _from_rules(rule, "rule_fallback")
    if model.answers:
        return _Answer(model.decision, model.confidence, "ml_fallback", ("rules_failed",))
    return NOBODY


def _from_rules(rule: Side, source: Source) -> _Answer:
    return _Answer(rule.decision, rule.confidence, source, () if source == "rule" else ("model_failed",))


def _weighted(settings: PolicySettings, rule: Side, model: Side) -> _Answer:
    total = settings.rule_weight + settings.ml_weight
    sure = settings.rule_weight / total * rule.confidence + settings.ml_weight / total * model.confidence
    if rule.decision == model.decision:
        return _Answer(rule.decision, min(1.0, AGREED * sure), "hybrid", ("agree",))
    return _Answer(_surer(rule, model).decision, sure, "hybrid", ("differ",))


def _gated(rule: Side, model: Side) -> _Answer:
    if rule.decision == model.decision:
        sure = min(1.0, CONSENSUS * (rule.confidence + model.confidence) / 2)
        return _Answer(rule.decision, sure, "hybrid_consensus", ("agree",))
    surer = _surer(rule, model)
    source: Source = "hybrid_rule" if surer is rule else "hybrid_ml"
    return _Answer(surer.decision, surer.confidence * DISAGREED, source, ("differ",))


def _surer(rule: Side, model: Side) -> Side:
    """Give the side of the higher confidence; of equals the rules."""
    return rule if rule.confidence >= model.confidence else model


def _safe(settings: PolicySettings, rule: Side, model: Side, answer: _Answer) -> _Answer:
    """Give the answer that believes whoever says critical."""
    believed: tuple[tuple[Side, Source], ...] = ((rule, "hybrid_rule"), (model, "hybrid_ml"))
    for side, source in believed:
        if side.answers and side.decision == "critical":
            sure = side.confidence * (DISAGREED if settings.policy == "hybrid_gate" else 1.0)
            return _Answer("critical", sure, source, (*answer.reasons, "safety_first"))
    return answer


def _closed(settings: PolicySettings, rule: Side, model: Side | None, answer: _Answer) -> Combined:
    sure = _rounded(answer.confidence)
    said: list[Severity] = [rule.severity, SEVERITY_OF[answer.decision]]
    said.extend(SEVERITY_OF[side.decision] for side in (rule, model) if side is not None and side.answers)
    left_alone = settings.policy == "escalate" and answer.source == "rule_fallback"
    return Combined(
        decision=answer.decision,
        confidence=sure,
        severity=max(said, key=RANK.__getitem__),
        source=answer.source,
        # Who is escalated to and does not come leaves it to a person, however sure the first one was.
        needs_human=answer.decision in {"unknown", "critical"}
        or sure < settings.review
        or left_alone
        or "unsure" in answer.reasons,
        reasons=answer.reasons,
    )


def _rounded(confidence: float) -> float:
    return round(confidence, 4) if math.isfinite(confidence) else 0.0
