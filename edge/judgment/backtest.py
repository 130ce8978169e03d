"""Another ruleset over a history, fast: decision, severity and confidence of every verdict, without a word of text.

Equal to `judge` by construction: expressions run in columns that agree with the interpreter (`expression_columns`),
checks step as on the line (`steps`), and what findings amount to is asked of the line's own `weigh`, once for every
different combination instead of once for every window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.judgment.finding import Finding
from edge.judgment.findings import silenced
from edge.judgment.given import Given
from edge.judgment.names import LineNames
from edge.judgment.past import Past
from edge.judgment.state import NOTHING, State
from edge.judgment.steps import Memory, Steps, steps
from edge.judgment.weighing import Weighed, weigh
from models.expression_columns import evaluate_columns
from models.ruleset import Ruleset
from sync.facts import Context
from sync.judgment import Scored


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backtest:
    """What a ruleset would have said, one row a verdict of the past."""

    past: Past
    ruleset: Ruleset
    weighed: list[Weighed]
    """Every different answer."""
    rows: NDArray[np.int64]
    """Row → its answer."""
    stepped: dict[str, int]
    """Check → rows that were gone through one by one; the others were settled in columns."""
    memory: State
    """What the ruleset remembers after the last row (continuous memory of one line)."""

    def at(self, row: int) -> Weighed:
        """Give the answer of a row."""
        return self.weighed[self.rows[row]]

    def decisions(self) -> NDArray[np.str_]:
        return np.array([one.combined.decision for one in self.weighed] or [""])[self.rows]

    def severities(self) -> NDArray[np.str_]:
        return np.array([one.combined.severity for one in self.weighed] or [""])[self.rows]

    def sources(self) -> NDArray[np.str_]:
        return np.array([one.combined.source for one in self.weighed] or [""])[self.rows]

    def confidences(self) -> NDArray[np.float64]:
        return np.array([one.combined.confidence for one in self.weighed] or [0.0])[self.rows]


def evaluate(
    past: Past,
    ruleset: Ruleset,
    *,
    names: LineNames | None = None,
    memory: Memory = "recorded",
    before: State | None = None,
) -> Backtest:
    """Judge a history by a ruleset.

    names: of the line, where they are at hand: which tags it requires. memory: `recorded` judges every verdict on its
    own, with the memory its record holds, as `replay` does; `continuous` lets the ruleset live through the history
    with its own hysteresis, delays and charts, which is what would have been. Models are not run: where the policy asks
    one, the recorded answer is taken. before: `Backtest.memory` of the block before, where the history of a line comes in
    blocks; with it the answers are those of the whole.
    """
    results = evaluate_columns(ruleset.program, past.columns(ruleset), past.rows)
    found = steps(ruleset, past, results, memory, before)
    needed, faults = past.trust(ruleset, names)
    blind, history = past.blind(), past.history()
    scored, answers = _scored(past, ruleset)
    columns = [one.codes for one in found] + [needed, faults, blind.astype(np.int64), scored]
    columns.append(np.unique(history, return_inverse=True)[1].astype(np.int64))
    first, rows = _distinct(columns, past.rows)
    weighed = [
        weigh(
            ruleset,
            _combination(ruleset, found, row),
            Given(
                work_unit="", start=0, end=0, state="", context=Context(), values={},
                faults={str(number): "bad" for number in range(faults[row])}, needed=int(needed[row]),
                blind=["blind"] if blind[row] else [], history=float(history[row]),
            ),
            answers[scored[row]],
        )
        for row in first.tolist()
    ]  # fmt: skip
    return Backtest(
        past=past,
        ruleset=ruleset,
        weighed=weighed,
        rows=rows,
        stepped={one.check.name: one.stepped for one in found if one.stepped},
        memory=State(
            at=int(past.end[-1]) if past.rows else 0 if before is None else before.at,
            held={one.check.memory: one.after for one in found if one.after != NOTHING},
        ),
    )


def _combination(ruleset: Ruleset, found: Sequence[Steps], row: int) -> list[Finding]:
    by_name = {one.check.name: one.kinds[one.codes[row]] for one in found}
    if not ruleset.suppressing:
        return list(by_name.values())
    return [silenced(finding, by_name) for finding in by_name.values()]


def _scored(past: Past, ruleset: Ruleset) -> tuple[NDArray[np.int64], list[Scored | None]]:
    """Give of every row which of the models' answers it had; none where the ruleset asks none."""
    answers: list[Scored | None] = [None]
    rows = np.zeros(past.rows, np.int64)
    if ruleset.settings.policy == "rule_only":
        return rows, answers
    for row, fact in enumerate(past.facts):
        if fact.ml is not None:
            rows[row] = len(answers)
            answers.append(fact.ml)
    return rows, answers


def _distinct(columns: Sequence[NDArray[np.int64]], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the first row of every different combination, and of every row which combination it has."""
    key = np.zeros(rows, np.int64)
    most = 1
    for column in columns:
        width = int(column.max(initial=0)) + 1
        if width == 1:
            continue
        if most > 2**62 // width:
            found, key = np.unique(key, return_inverse=True)
            most = len(found)
        key = key * width + column
        most *= width
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)
