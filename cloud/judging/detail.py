"""One verdict whole, as API and page show it: the record, why it says so, what people said of it, what was done about it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cloud.bi.line import verdict_detail
from cloud.database import Connection
from cloud.judging.actions import about_verdict
from cloud.judging.verdicts import Recorded, recorded
from cloud.judging.words import of_verdict
from edge.judgment.given import FORM, values_of
from edge.judgment.result import result

PARTS: Final = (
    "status", "policy_used", "cached", "rule_result", "ml_result", "explanation", "evidence", "feature_importance",
    "recommended_actions", "executed_at",
)  # fmt: skip
"""Of the one shape in which verdicts are answered everywhere (`edge.judgment.result`); the rest stands in the record."""


def detail(connection: Connection, tenant: str, verdict_id: str, language: str, now_ms: int) -> dict[str, Any] | None:
    """Give one verdict whole, or None."""
    plain = verdict_detail(connection, tenant, verdict_id)
    one = None if plain is None else recorded(connection, tenant, verdict_id)
    if plain is None or one is None:
        return None
    shape = result(one.fact, language=language, gateway=str(one.address))
    return plain | {name: shape[name] for name in PARTS} | {
        "cached": one.fact.cached,
        "form": one.fact.form,
        "repeatable": one.fact.form >= FORM,
        "state": one.fact.state,
        "ml": None if one.fact.ml is None else msgspec.structs.asdict(one.fact.ml),
        "given": given(one),
        "feedback": of_verdict(connection, tenant, verdict_id, now_ms),
        "acted": about_verdict(connection, tenant, verdict_id, now_ms),
    }  # fmt: skip


def given(one: Recorded) -> list[dict[str, Any]]:
    """Give what the verdict stood on, input by input: value, unit where its tag told one, and what was wrong with it."""
    inputs = one.fact.inputs
    found: list[dict[str, Any]] = []
    for name, value in values_of(inputs).items():
        tag = name.partition(".")[0]
        found.append(
            {
                "name": name,
                "value": value,
                "unit": inputs.get(f"unit:{tag}"),
                "why": inputs.get(f"why:{name}"),
                "fault": inputs.get(f"fault:{tag}"),
            }
        )
    return found
