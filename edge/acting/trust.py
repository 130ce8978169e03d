"""How far a ruleset is trusted: its score from evidence, and when its level changes. Pure.

Levels: 0 proposed (every action needs a person), 1 alert only, 2 low risk on its own, 3 full. One step at a time;
demotion is looked at first. What nobody rated is None and counts neither for nor against: accuracy 0 is the worst there
is, no accuracy is none. A gateway takes away on its own and never gives: what `promotion` says is a proposal, for the
cloud or an administrator to order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROPOSED: Final = 0
ALERT_ONLY: Final = 1
LOW_RISK: Final = 2
FULL: Final = 3
LEVELS: Final = (PROPOSED, ALERT_ONLY, LOW_RISK, FULL)

FEW: Final = 5
"""Below so many comparisons consistency is not told."""
NEUTRAL: Final = 0.5
"""A part of the score of which nothing is known."""
SETTLED_DAYS: Final = 90.0
"""From this age on a ruleset is no younger than any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What is known of a ruleset's record."""

    runs: int = 0
    """Verdicts of all time."""
    accuracy: float | None = None
    """Positive ratings of all ratings of all time; None when there are none."""
    consistency: float | None = None
    """Share of comparisons that came out the same: the same inputs again, a replay, the version before; None below FEW."""
    runs_7d: int = 0
    feedback: float | None = None
    """Positive ratings of all ratings of 30 days; None when there are none."""
    age_days: float = 0.0
    """Since the ruleset was first seen."""
    level_days: float = 0.0
    """Since its last promotion, or since it was first seen."""
    negatives_in_a_row: int = 0
    """The newest ratings, as long as they are negative."""
    critical_failures_7d: int = 0
    """Automatic actions of 7 days that failed or were called wrong; never a verdict that says `critical`."""

    def told(self) -> dict[str, float | None]:
        """Give them as the snapshot that goes with a change of level."""
        return {
            "score": score(self),
            "runs": float(self.runs),
            "accuracy": self.accuracy,
            "consistency": self.consistency,
            "runs_7d": float(self.runs_7d),
            "feedback": self.feedback,
            "age_days": round(self.age_days, 2),
            "level_days": round(self.level_days, 2),
            "negatives_in_a_row": float(self.negatives_in_a_row),
            "critical_failures_7d": float(self.critical_failures_7d),
        }


def score(metrics: Metrics) -> float:
    """Give 0..1, four decimals: 0.35 accuracy, 0.25 consistency, 0.15 frequency, 0.15 recent feedback, 0.10 age."""
    known = [NEUTRAL if part is None else part for part in (metrics.accuracy, metrics.consistency, metrics.feedback)]
    age = min(max(metrics.age_days, 0.0) / SETTLED_DAYS, 1.0)
    return round(
        0.35 * known[0] + 0.25 * known[1] + 0.15 * frequency(metrics.runs_7d) + 0.15 * known[2] + 0.10 * age, 4
    )


def frequency(runs_7d: int) -> float:
    """Give how well a ruleset is exercised: none 0, to ten 0.3, to fifty 0.6, more 1."""
    if runs_7d <= 0:
        return 0.0
    if runs_7d <= 10:
        return 0.3
    return 0.6 if runs_7d <= 50 else 1.0


@dataclass(frozen=True, slots=True)
class Rise:
    """What a level above needs, all of it."""

    runs: int
    accuracy: float
    days: float


@dataclass(frozen=True, slots=True)
class Fall:
    """What takes a level away, any of it."""

    accuracy: float
    negatives: int
    failures: int | None
    """More critical failures than this; None: they do not matter any more."""


RISES: Final = {PROPOSED: Rise(50, 0.85, 7), ALERT_ONLY: Rise(100, 0.90, 14), LOW_RISK: Rise(200, 0.95, 30)}
FALLS: Final = {FULL: Fall(0.90, 3, 0), LOW_RISK: Fall(0.85, 5, 1), ALERT_ONLY: Fall(0.80, 10, None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A step of one level, and why."""

    previous: int
    level: int
    reason: str

    @property
    def needs_admin(self) -> bool:
        """Whether an administrator has to confirm it: nobody reaches full trust unseen."""
        return self.level == FULL and self.previous < FULL


def evaluate(level: int, metrics: Metrics) -> Change | None:
    """Give the step that the record asks for: a demotion to be done, else a promotion to be ordered, else None."""
    return demotion(level, metrics) or promotion(level, metrics)


def demotion(level: int, metrics: Metrics) -> Change | None:
    """Give the step down, with every reason there is for it."""
    fall = FALLS.get(level)
    if fall is None:
        return None
    reasons: list[str] = []
    if metrics.accuracy is not None and metrics.accuracy < fall.accuracy:
        reasons.append(f"accuracy {metrics.accuracy:.4f} is below {fall.accuracy:.2f}")
    if metrics.negatives_in_a_row >= fall.negatives:
        reasons.append(f"{metrics.negatives_in_a_row} negative ratings in a row, {fall.negatives} are too many")
    if fall.failures is not None and metrics.critical_failures_7d > fall.failures:
        reasons.append(
            f"{metrics.critical_failures_7d} automatic actions failed or were called wrong within 7 days, "
            f"{fall.failures} may"
        )
    return Change(previous=level, level=level - 1, reason="; ".join(reasons)) if reasons else None


def promotion(level: int, metrics: Metrics) -> Change | None:
    """Give the step up that the record would carry; None while anything is missing or a demotion is due."""
    rise = RISES.get(level)
    if rise is None or demotion(level, metrics) is not None or lacking(level, metrics):
        return None
    reason = (
        f"{metrics.runs} runs, accuracy {metrics.accuracy or 0.0:.4f}, {metrics.level_days:.1f} days at level {level}"
    )
    return Change(previous=level, level=level + 1, reason=reason)


def lacking(level: int, metrics: Metrics) -> list[str]:
    """Say what a ruleset still lacks for the next level; empty when nothing, or when there is none."""
    rise = RISES.get(level)
    if rise is None:
        return []
    missing: list[str] = []
    if metrics.runs < rise.runs:
        missing.append(f"{metrics.runs} of {rise.runs} runs")
    if metrics.accuracy is None:
        missing.append(f"nobody rated it; accuracy {rise.accuracy:.2f} is needed")
    elif metrics.accuracy < rise.accuracy:
        missing.append(f"accuracy {metrics.accuracy:.4f} of {rise.accuracy:.2f}")
    if metrics.level_days < rise.days:
        missing.append(f"{metrics.level_days:.1f} of {rise.days:g} days")
    return missing
