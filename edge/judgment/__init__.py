"""Judging a window, pure: no clock, no I/O, no memory of its own, so that the line, replay and back-tests run one code.

`judge(ruleset, gather(ruleset, window, memory=…))` gives a `Verdict`; `judged(verdict)` is its fact, `verdict.alarms` are the changes of
alarms, `verdict.state` goes into the next call and, by `dump`, into the checkpoint of the same transaction.
Read `given`, `judge`, then `findings` (what each check says), `state` (hysteresis and delay), `weighing` and `policies`
(rules and a model make one decision), `confidence`, `explanation`, and `room` (a record that would be too large).
Apart from the line: `request` (a judgment somebody asks for) and its `cache`; `replay`, `whatif`, `compare` and `batch`
(recorded verdicts judged again); `backtest` over `past` and `steps` (a whole history in columns).
"""

from edge.judgment.confidence import history
from edge.judgment.given import Given, NotRepeatableError, gather, recalled, repeatable
from edge.judgment.judge import Verdict, asks_model, judge, judged
from edge.judgment.policies import Decision
from edge.judgment.state import State, dump, restore

__all__ = [
    "Decision",
    "Given",
    "NotRepeatableError",
    "State",
    "Verdict",
    "asks_model",
    "dump",
    "gather",
    "history",
    "judge",
    "judged",
    "recalled",
    "repeatable",
    "restore",
]
