"""Models on the line: each work unit's active package, scored off the event loop, with a deadline, a breaker and a watch on drift.

`Scoring` owns all of a gateway: `run()` beside the flow, `scorer(work_unit)` for who judges. `Scorer.score(window)` never
raises for a model's sake: whatever goes wrong is a `Scored` with `failure`, so that the ruleset answers.

window → features (here, one definition) → input checks → breaker → process of the package (`worker`) → decision.

Read `scorer` (one window's way), `worker` (the process, `models.worker` is its other end) and `workers` (lines share
them), `breaker`, `record` (which package a line runs), `fitting` (whether it may), then `scoring` (how that changes),
`orders` (what commands leave for it), `telling` (its facts and alarms), `watch` (drift).
"""

from edge.scoring.scorer import Scorer, ScoringState
from edge.scoring.scoring import Scoring

__all__ = ["Scorer", "Scoring", "ScoringState"]
