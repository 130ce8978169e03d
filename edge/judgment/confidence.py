"""How sure a verdict is: match strength, quality of its inputs, and how often the ruleset was right.

confidence = min(1, 0.4·match + 0.3·quality + 0.3·history), rounded to three decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from edge.judgment.findings import Finding
from edge.judgment.given import UNRATED

RATINGS_ENOUGH: Final = 10


def history(positive: int, rated: int) -> float:
    """Give the accuracy of a ruleset from its feedback of 30 days, leaning on UNRATED while there is little."""
    if rated <= 0:
        return UNRATED
    accuracy = positive / rated
    share = min(rated, RATINGS_ENOUGH) / RATINGS_ENOUGH
    return accuracy * share + UNRATED * (1 - share)


def match_strength(findings: Sequence[Finding]) -> float:
    """Give 0..1: what the deciding finding says of itself, else from the share of checks that passed."""
    for level in ("critical", "warning"):
        deciding = [finding for finding in findings if finding.level == level]
        said = [finding.confidence for finding in deciding if finding.confidence is not None]
        if said:
            return max(said)
        if deciding:
            break
    else:
        said = [f.confidence for f in findings if f.matched and f.level == "ok" and f.confidence is not None]
        if said:
            return max(said)
    if not findings:
        return 0.5
    passed = sum(finding.level == "ok" for finding in findings) / len(findings)
    if any(finding.level == "critical" for finding in findings):
        return min(0.95, 0.70 + 0.25 * passed)
    if any(finding.level == "warning" for finding in findings):
        return min(0.85, 0.60 + 0.25 * passed)
    return min(0.90, 0.50 + 0.40 * passed)


def quality(faults: Mapping[str, str], needed: int) -> float:
    """Give the share of needed tags without a fault; 0.7 when nothing is needed."""
    return 1 - len(faults) / needed if needed else 0.7


def confidence(match: float, input_quality: float, past: float) -> float:
    """Give the confidence of the rules."""
    return round(min(1.0, 0.4 * match + 0.3 * input_quality + 0.3 * past), 3)
