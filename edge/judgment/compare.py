"""Two verdicts over the same window beside each other: what changed, by how much, and why one says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edge.judgment.replay import Bundle, Replayed, replay
from sync.facts import Judged

MOST_VERSIONS: Final = 5
CHANGED: Final = 0.01
"""A confidence is another one beyond this difference …"""
SIGNIFICANT: Final = 0.1
"""… and that is a reason beyond this one."""


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """One word that became another."""

    before: str
    after: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay says beside what was recorded."""

    result_changed: bool
    result_change: Change | None = None
    confidence_diff: float
    """New minus old, four decimals."""
    confidence_changed: bool
    method_changed: Change | None = None
    """The side that decided: rule, ml, hybrid_…"""
    ruleset_changed: bool
    model_changed: bool = False
    change_reasons: list[str]
    """ruleset_version_changed, result_different, confidence_significantly_different, method_changed."""


def compare(old: Judged, new: Judged) -> Comparison:
    """Put a replayed verdict beside the recorded one."""
    difference = round(new.confidence - old.confidence, 4)
    result = old.decision != new.decision
    method = old.source != new.source
    ruleset = (old.ruleset, old.ruleset_version, old.ruleset_hash) != (
        new.ruleset,
        new.ruleset_version,
        new.ruleset_hash,
    )
    reasons = {
        "ruleset_version_changed": ruleset,
        "result_different": result,
        "confidence_significantly_different": abs(difference) > SIGNIFICANT,
        "method_changed": method,
    }
    return Comparison(
        result_changed=result,
        result_change=Change(before=old.decision, after=new.decision) if result else None,
        confidence_diff=difference,
        confidence_changed=abs(difference) > CHANGED,
        method_changed=Change(before=old.source, after=new.source) if method else None,
        ruleset_changed=ruleset,
        model_changed=_model(old) != _model(new),
        change_reasons=[reason for reason, holds in reasons.items() if holds],
    )


def versions(fact: Judged, bundles: Sequence[Bundle]) -> list[tuple[Replayed, Comparison]]:
    """Judge one verdict by up to five versions at once. Raises ValueError for more, NotRepeatableError as `replay`."""
    if not 1 <= len(bundles) <= MOST_VERSIONS:
        raise ValueError(f"{len(bundles)} versions: name 1 to {MOST_VERSIONS}")
    replayed = [replay(fact, bundle) for bundle in bundles]
    return [(one, compare(fact, one.fact)) for one in replayed]


def _model(fact: Judged) -> str | None:
    return None if fact.ml is None else fact.ml.sha256
