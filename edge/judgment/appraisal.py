"""Whether other rules judge better than those that judged: against what people said of the same verdicts.

The same verdicts are rated under both, so the test is the one for pairs: McNemar's chi² with one degree of freedom,
(b - c)² / (b + c) over the verdicts that only one of the two got right (Q. McNemar, Psychometrika 12, 1947), and below
25 of those its exact form, the binomial test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from sync.judgment import FeedbackGiven

ENOUGH: Final = 30
"""Rated verdicts below which nothing is recommended."""
SIGNIFICANCE: Final = 0.05
EXACT_BELOW: Final = 25
ABNORMAL: Final = frozenset({"warning", "critical"})


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How well one side did on the rated verdicts; None where there is nothing to divide by. Four decimals."""

    accuracy: float | None
    """Share of the very decision that people say is right."""
    precision: float | None
    """Of the warnings and criticals it gave: how many people call warning or critical."""
    recall: float | None
    """Of what people call warning or critical: how many it called so."""


class Appraisal(msgspec.Struct, frozen=True, kw_only=True):
    """Baseline against modified, over the verdicts that people have rated."""

    rated: int
    baseline: Score
    modified: Score
    p_value: float | None
    """None when no rated verdict tells the two apart."""
    significant: bool
    recommendation: dict[str, str]
    """ko, en."""


def labels(feedback: Iterable[FeedbackGiven]) -> dict[str, str]:
    """Give verdict_id → the decision it should have been. A bare "wrong" does not say what would have been right.

    feedback: in the order it was said; a later word on the same verdict replaces an earlier one.
    """
    found: dict[str, str] = {}
    for word in feedback:
        right = word.decision if word.type == "positive" else word.corrected
        if right:
            found[word.target] = right
        else:
            found.pop(word.target, None)
    return found


def appraise(rated: Sequence[tuple[str, str, str]], *, changed: int, total: int) -> Appraisal:
    """Appraise (baseline decision, modified decision, right decision) of every rated verdict."""
    baseline = _score([(old, right) for old, _, right in rated])
    modified = _score([(new, right) for _, new, right in rated])
    lost = sum(old == right != new for old, new, right in rated)
    won = sum(new == right != old for old, new, right in rated)
    p_value = _paired(won, lost)
    significant = p_value is not None and p_value < SIGNIFICANCE
    return Appraisal(
        rated=len(rated),
        baseline=baseline,
        modified=modified,
        p_value=p_value,
        significant=significant,
        recommendation=_recommend(
            len(rated), baseline, modified, significant, won=won, lost=lost, changed=changed, total=total
        ),
    )


def _score(judged: Sequence[tuple[str, str]]) -> Score:
    called = [(said in ABNORMAL, right in ABNORMAL) for said, right in judged]
    hits = sum(said and right for said, right in called)
    return Score(
        accuracy=_share(sum(said == right for said, right in judged), len(judged)),
        precision=_share(hits, sum(said for said, _ in called)),
        recall=_share(hits, sum(right for _, right in called)),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _paired(won: int, lost: int) -> float | None:
    apart = won + lost
    if not apart:
        return None
    if apart < EXACT_BELOW:
        tail = sum(math.comb(apart, k) for k in range(min(won, lost) + 1)) / 2**apart
        return round(min(1.0, 2 * tail), 6)
    return round(math.erfc(math.sqrt((won - lost) ** 2 / apart / 2)), 6)


def _recommend(
    rated: int, baseline: Score, modified: Score, significant: bool, *, won: int, lost: int, changed: int, total: int
) -> dict[str, str]:
    if not changed:
        return {
            "ko": f"판정 {total}건 중 바뀌는 것이 없습니다.",
            "en": f"None of {total} verdicts would be another one.",
        }
    if rated < ENOUGH or baseline.accuracy is None or modified.accuracy is None:
        return {
            "ko": f"평가된 판정이 {rated}건뿐이라 추천할 수 없습니다({ENOUGH}건 필요). 바뀌는 {changed}건을 직접 확인하세요.",
            "en": f"Only {rated} of these verdicts were rated ({ENOUGH} needed): no recommendation; "
            f"look at the {changed} that change.",
        }
    before, after = f"{100 * baseline.accuracy:.1f} %", f"{100 * modified.accuracy:.1f} %"
    if not significant:
        return {
            "ko": f"정확도 {before} → {after}: 유의한 차이가 없습니다(맞게 된 것 {won}건, 틀리게 된 것 {lost}건).",
            "en": f"Accuracy {before} → {after}: no significant difference ({won} put right, {lost} made wrong).",
        }
    if won > lost:
        return {
            "ko": f"정확도 {before} → {after}: 유의하게 좋아집니다(맞게 된 것 {won}건, 틀리게 된 것 {lost}건). 적용을 권장합니다.",
            "en": f"Accuracy {before} → {after}: significantly better ({won} put right, {lost} made wrong). Adopt it.",
        }
    return {
        "ko": f"정확도 {before} → {after}: 유의하게 나빠집니다(맞게 된 것 {won}건, 틀리게 된 것 {lost}건). 적용하지 마세요.",
        "en": f"Accuracy {before} → {after}: significantly worse ({won} put right, {lost} made wrong). Do not adopt it.",
    }
