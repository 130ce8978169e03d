"""A verdict as an answer to whoever asked for it: one shape, fresh or from memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from edge.judgment.cache import Kept
from edge.judgment.evidence import evidence, explanation, importance
from sync.facts import Judged


def result(
    fact: Judged,
    *,
    language: str = "en",
    gateway: str = "",
    kept: Kept | None = None,
    need_explanation: bool = True,
    need_evidence: bool = True,
    need_feature_importance: bool = True,
    execution_time_ms: float | None = None,
) -> dict[str, Any]:
    """Give a verdict as the API says it. kept: where it came from memory. Every key is always there, with null for none."""
    ml = fact.ml
    return {
        "execution_id": fact.verdict_id,
        "gateway_id": gateway,
        "line_code": fact.work_unit,
        "decision": fact.decision,
        "status": fact.status,
        "severity": fact.severity,
        "confidence": fact.confidence,
        "policy_used": fact.policy,
        "method_used": fact.policy,
        "source": fact.source,
        "cached": kept is not None,
        "cached_at": None if kept is None else _iso(kept.cached_at),
        "cache_ttl_remaining": None if kept is None else round(kept.remaining_s, 3),
        "execution_time_ms": execution_time_ms,
        "rule_result": {
            "ruleset_id": fact.ruleset,
            "name": fact.ruleset,
            "version": fact.ruleset_version,
            "script_hash": fact.ruleset_hash,
            "matched_rules": list(fact.matched),
            "checks": msgspec.to_builtins(fact.checks),
            "confidence": fact.components.get("rule_confidence", 0.0),
        },
        "ml_result": None
        if ml is None
        else {
            "model_id": ml.model,
            "version": ml.version,
            "sha256": ml.sha256,
            "decision": ml.decision,
            "label": ml.label,
            "confidence": ml.confidence,
            "scores": dict(ml.scores),
            "latency_ms": ml.latency_us / 1000,
            "drift_flag": ml.drifted,
            "failure": ml.failure,
        },
        "components": dict(fact.components),
        "explanation": explanation(fact, language) if need_explanation else None,
        "evidence": evidence(fact) if need_evidence else None,
        "feature_importance": importance(fact) if need_feature_importance else None,
        "recommended_actions": [_action(action, language) for action in fact.actions],
        "needs_human": fact.needs_human,
        "executed_at": _iso(fact.at),
    }


def _action(action: dict[str, str], language: str) -> dict[str, Any]:
    told: dict[str, Any] = {name: text for name, text in action.items() if name not in {"ko", "en", "value"}}
    if "value" in action:
        told["value"] = msgspec.json.decode(action["value"])
    return told | {"message": action.get(language) or action.get("en", ""), "auto_execute": False}


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
