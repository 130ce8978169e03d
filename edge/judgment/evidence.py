"""What a verdict stands on, made from its record when somebody asks: nothing here is stored a second time.

A record (`Judged`) holds inputs, checks, the model's answer and why the policy decided as it did. From it come the
evidence, the explanation by factors and the importance of the features; what the record does not know is left out, and
averages of the past or similar cases are there only where the caller gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.judgment.given import values_of
from edge.judgment.opinion import opinion, rules_opinion
from edge.judgment.room import left_out
from edge.judgment.weighing import applies
from edge.judgment.wording import DECISION, LANGUAGES, POLICY_REASON, number, symbol
from models.expression_checker import Value
from models.ruleset_inputs import tag_of
from sync.facts import Check, Judged

BY_MODEL: Final = frozenset({"ml", "ml_fallback", "ml_escalated", "hybrid_ml"})
WEIGHT_OF: Final[dict[str, float]] = {"critical": 1.0, "warning": 0.6, "unknown": 0.3, "ok": 0.1}
"""How much a check counts for the importance of what it looked at, by what it said."""


def evidence(
    fact: Judged, *, historical_avg: Mapping[str, float] | None = None, similar_cases: int | None = None
) -> dict[str, Any]:
    """Give what a verdict stands on.

    historical_avg: name → mean over the last seven days. similar_cases: how many verdicts had the same matched checks.
    Both are somebody else's to know; without them their keys are absent.
    """
    values = values_of(fact.inputs)
    found: dict[str, Any] = {
        "input_values": values,
        "input_faults": {name[6:]: why for name, why in fact.inputs.items() if name.startswith("fault:")},
        "calculated_metrics": metrics(values),
        "thresholds": {check.name: check.threshold for check in fact.checks if check.threshold is not None},
        "rule_checks": [_checked(check) for check in fact.checks],
        "data_refs": _data_refs(fact, values),
    }
    if historical_avg is not None:
        found["historical_avg"] = dict(historical_avg)
    if similar_cases is not None:
        found["similar_cases_count"] = similar_cases
    if gone := left_out(fact):
        found["left_out"] = list(gone)
    return found


def metrics(values: Mapping[str, Value | None]) -> dict[str, float]:
    """Give the figures that the counts among the inputs allow: defect_rate (%), quality (0 to 1, ISO 22400)."""
    produced, good, scrap = (_count(values, name) for name in ("produced", "good", "scrap"))
    found: dict[str, float] = {}
    if produced:
        if scrap is None and good is not None:
            scrap = produced - good
        if scrap is not None:
            found["defect_rate"] = round(100 * scrap / produced, 4)
        if good is not None:
            found["quality"] = round(good / produced, 4)
    return found


def importance(fact: Judged) -> dict[str, float]:
    """Give name → share, summing to 1, the weightiest first; empty when nothing was looked at.

    Of the model's own contributions where its package tells them; else of the checks, each weighing by what it said.
    """
    weights: dict[str, float] = {}
    if fact.ml is not None and fact.ml.failure is None and fact.ml.contributions:
        weights = {name: abs(weight) for name, weight in fact.ml.contributions.items()}
    else:
        for check in fact.checks:
            if check.suppressed_by is None:
                weights[check.name] = WEIGHT_OF.get(check.status, 0.0)
    total = sum(weights.values())
    if not 0 < total < float("inf"):
        return {}
    shares = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return {name: round(weight / total, 4) for name, weight in shares}


def explanation(fact: Judged, language: str = "en") -> dict[str, Any]:
    """Give why a verdict is what it is, in Korean (ko) or English (en, and for every other language)."""
    language = language if language in LANGUAGES else "en"
    factors = [_factor(check) for check in fact.checks if check.status != "ok" and check.suppressed_by is None]
    reasoning = [
        _reason(check, language) for check in fact.checks if check.status != "ok" and check.suppressed_by is None
    ]
    sides: list[str] = []
    if asked(fact) and (fact.ml is None or applies(fact.ml)):
        rule = str(fact.evidence.get("rule", "unknown"))
        sure = fact.components.get("rule_confidence", 0.0)
        sides += [rules_opinion(rule, sure, language), opinion(fact.ml, language)]
        said = fact.evidence.get("reasons", [])
        sides += [POLICY_REASON[reason][language] for reason in said if reason in POLICY_REASON]
        factors.append({"factor": "rules", "decision": rule, "confidence": sure, "reasoning": sides[0]})
        factors.append(
            {
                "factor": "model",
                "decision": "unknown" if fact.ml is None else fact.ml.decision,
                "confidence": fact.components.get("ml_confidence", 0.0),
                "reasoning": sides[1],
            }
        )
    return {
        "summary": fact.summary.get(language) or fact.summary.get("en", ""),
        "reasoning": [*reasoning, *sides],
        "decision_factors": factors,
        "source_details": _source_details(fact),
        "policy": fact.policy,
        "references": references(fact),
        "language": language,
    }


def asked(fact: Judged) -> bool:
    """Tell whether a model's answer was wanted for a verdict."""
    return "rule" in fact.evidence


def references(fact: Judged) -> list[dict[str, str]]:
    """Give what was judged by and what was judged: rules, model, the window of data."""
    found = [{"type": "rule", "id": fact.ruleset, "version": fact.ruleset_version, "sha256": fact.ruleset_hash}]
    if fact.ml is not None and fact.ml.model:
        found.append({"type": "model", "id": fact.ml.model, "version": fact.ml.version, "sha256": fact.ml.sha256})
    found.append({"type": "data", "id": _window(fact), "version": str(fact.form)})
    return found


def _source_details(fact: Judged) -> dict[str, Any]:
    kind = "rule_based"
    if fact.source in BY_MODEL:
        kind = "ml_based"
    elif fact.source.startswith("hybrid"):
        kind = "hybrid"
    told: dict[str, Any] = {
        "type": kind if fact.source != "none" else "none",
        "source": fact.source,
        "ruleset": {"name": fact.ruleset, "version": fact.ruleset_version, "matched": list(fact.matched)},
    }
    if asked(fact):
        told["model"] = {"failure": "no_model"}
    if fact.ml is not None:
        told["model"] = {"name": fact.ml.model, "version": fact.ml.version, "drifted": fact.ml.drifted}
        if not applies(fact.ml):
            told["model"]["applies"] = False
        elif fact.ml.failure is not None:
            told["model"]["failure"] = fact.ml.failure
    return told


def _checked(check: Check) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": check.name,
        "status": check.status,
        "value": check.value,
        "threshold": check.threshold,
        "unit": check.unit,
        "passed": {"ok": True, "unknown": None}.get(check.status, False),
    }
    if check.path:
        told["path"] = list(check.path)
    if check.suppressed_by is not None:
        told["suppressed_by"] = check.suppressed_by
    return told


def _factor(check: Check) -> dict[str, Any]:
    return {"factor": check.name, "status": check.status, "value": check.value, "threshold": check.threshold}


def _reason(check: Check, language: str) -> str:
    """Give `vibration: critical, 5.1 mm/s (limit 4.5 mm/s), row 2`."""
    unit = symbol(check.unit, language)
    told = f"{check.name}: {DECISION[check.status][language] if check.status in DECISION else check.status}"
    if check.value is not None:
        told += f", {number(check.value)} {unit}".rstrip()
    if check.threshold is not None:
        word = {"ko": "기준", "en": "limit"}[language]
        told += f" ({word} {number(check.threshold)} {unit}".rstrip() + ")"
    return told + "".join(f", {step}" for step in check.path)


def _data_refs(fact: Judged, values: Mapping[str, Value | None]) -> list[dict[str, str]]:
    tags = dict.fromkeys(tag for name in values if (tag := tag_of(name)) is not None)
    refs = [{"type": "window", "id": _window(fact)}]
    refs += [{"type": "tag", "id": f"{fact.work_unit}/{tag}", "name": tag} for tag in tags]
    for kind in ("order", "product", "lot"):
        if (name := getattr(fact.context, kind)) is not None:
            refs.append({"type": kind, "id": name})
    return refs


def _window(fact: Judged) -> str:
    return f"{fact.work_unit}@{fact.start}-{fact.at}"


def _count(values: Mapping[str, Value | None], name: str) -> float | None:
    value = values.get(f"counts.{name}")
    return value if isinstance(value, float) else None
