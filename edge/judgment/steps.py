"""One check over many windows: which of its few possible findings each window has. The columnar twin of `findings`.

Rows whose finding depends on nothing but themselves are settled in columns. Where memory counts (hysteresis, delays)
only the rows near or beyond a bound are stepped through one by one, by the very functions of the line (`state`), and so
is every row of a kind of check that has no columns (charts, changes, what is stuck, composites). Two memories: `recorded`, what each verdict's record holds (an exact
replay), and `continuous`, the check's own since the beginning (what would have been, had it judged all along).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.judgment.combining import matches
from edge.judgment.finding import Finding, level_of
from edge.judgment.findings import finding_of
from edge.judgment.given import Given
from edge.judgment.past import Past
from edge.judgment.state import NOTHING, Held, State, step_limit, step_rule
from models.expression_columns import Column
from models.expression_interpreter import Cause, Indeterminate, Result
from models.ruleset import Check, Limit, Rule, Ruleset, Table
from models.ruleset_tree import Tree

Memory = Literal["recorded", "continuous"]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]

UNTOLD: Final = Indeterminate((Cause("", "unknown"),))
"""Why a value is not known makes no difference to what is decided."""


@dataclass(slots=True)
class Steps:
    """A check's findings over a history: row → one of `kinds`."""

    check: Check
    kinds: list[Finding] = field(default_factory=list[Finding])
    """Without value, causes and memory, which decide nothing."""
    codes: Codes = field(default_factory=lambda: np.zeros(0, np.int64))
    stepped: int = 0
    """Rows that were gone through one by one."""
    before: Held = NOTHING
    """What it remembered before the first row (continuous memory), …"""
    before_at: int = 0
    """… of a window that ended here, ns; 0 = there was none."""
    after: Held = NOTHING
    """What it remembers after the last row."""
    _known: dict[tuple[object, ...], int] = field(default_factory=dict[tuple[object, ...], int])

    def kind(self, finding: Finding) -> int:
        """Give the number of a finding's kind."""
        decides = (finding.level, finding.applied, finding.matched, finding.status, finding.confidence)
        code = self._known.get(decides)
        if code is None:
            code = self._known[decides] = len(self.kinds)
            self.kinds.append(
                Finding(
                    check=finding.check,
                    level=finding.level,
                    applied=finding.applied,
                    matched=finding.matched,
                    status=finding.status,
                    confidence=finding.confidence,
                )
            )
        return code


def steps(
    ruleset: Ruleset, past: Past, results: Sequence[Column], memory: Memory, before: State | None = None
) -> list[Steps]:
    """Give every check's findings, in the order of the ruleset. results: of its program over the past.

    before: what the ruleset remembers of the windows before these (one line's, continuous memory).
    """
    found: list[Steps] = []
    for check in ruleset.checks:
        made = Steps(check)
        if before is not None:
            made.before, made.before_at = before.held.get(check.memory, NOTHING), before.at
        step = _STEPS.get(type(check))
        if step is None:
            _one_by_one(made, past, results, memory, found)
        else:
            step(made, past, results, memory)
        found.append(made)
    return found


# --- limits, rules, tables


def _limit(made: Steps, past: Past, results: Sequence[Column], memory: Memory) -> None:
    check: Limit = made.check  # pyright: ignore[reportAssignmentType] (chosen by its type)
    applies, doubtful = _gate(check, past, results)
    value = results[check.value_at or 0]
    known = _known(value)
    number = value.values.astype(np.float64, copy=False)

    def beyond(severities: set[str], slack: float) -> Mask:
        found = np.zeros(past.rows, np.bool_)
        for threshold in check.thresholds:
            if threshold.severity in severities:
                bound = threshold.bound - slack if threshold.side == "high" else threshold.bound + slack
                found |= number > bound if threshold.side == "high" else number < bound
        return found

    ok, unknown = made.kind(Finding(check=check, level="ok")), made.kind(Finding(check=check, level="unknown"))
    matched = {
        severity: made.kind(Finding(check=check, level=level_of(severity), matched=True, confidence=check.confidence))
        for severity in ("warning", "critical")
    }
    usable = applies & known
    made.codes = np.where(doubtful | (applies & ~known), unknown, ok)
    made.codes[~applies & ~doubtful] = made.kind(Finding(check=check, level="ok", applied=False))
    alone = check.delay_ns == 0
    """Without memory, a window that lies beyond a bound is a finding at once, or never."""
    if alone:
        made.codes[usable & beyond({"warning", "critical"}, 0.0)] = matched["warning"]
        made.codes[usable & beyond({"critical"}, 0.0)] = matched["critical"]
    near = usable & beyond({"warning", "critical"}, check.hysteresis)
    if alone and check.hysteresis == 0 and memory == "continuous":
        return  # a memory of another version may wait for an end that a clock set back has not reached
    # A row that lies within every bound, with the hysteresis, forgets whatever was before.
    for row, held in _remembering(made, past, near, doubtful | (applies & ~known), memory):
        after = step_limit(check, float(number[row]), held.value, int(past.end[row]))
        held.value = after
        made.codes[row] = ok if after.level is None else matched[after.level]


def _rule(made: Steps, past: Past, results: Sequence[Column], memory: Memory) -> None:
    check: Rule = made.check  # pyright: ignore[reportAssignmentType] (chosen by its type)
    applies, doubtful = _gate(check, past, results)
    when = results[check.when_at]
    known = _known(when)
    holds = applies & known & when.values.astype(np.bool_, copy=False)
    outcome = check.outcome
    ok, unknown = made.kind(Finding(check=check, level="ok")), made.kind(Finding(check=check, level="unknown"))
    matched = made.kind(
        Finding(
            check=check, level=level_of(outcome.severity), matched=True, status=outcome.status,
            confidence=outcome.confidence,
        )
    )  # fmt: skip
    made.codes = np.where(doubtful | (applies & ~known), unknown, ok)
    made.codes[~applies & ~doubtful] = made.kind(Finding(check=check, level="ok", applied=False))
    if check.delay_ns == 0:
        made.codes[holds] = matched
        if memory == "continuous":
            return
    for row, held in _remembering(made, past, holds, doubtful | (applies & ~known), memory):
        held.value = step_rule(outcome.severity, check.delay_ns, True, held.value, int(past.end[row]))
        made.codes[row] = ok if held.value.level is None else matched


def _table(made: Steps, past: Past, results: Sequence[Column], _: Memory) -> None:
    check: Table = made.check  # pyright: ignore[reportAssignmentType] (chosen by its type)
    applies, doubtful = _gate(check, past, results)
    hit = results[check.hit_at]
    known = _known(hit)
    kinds = [made.kind(Finding(check=check, level="ok"))]
    kinds += [
        made.kind(
            Finding(
                check=check, level=level_of(row.severity), matched=True, status=row.status, confidence=row.confidence
            )
        )
        for row in check.rows
    ]
    row = np.where(applies & known, hit.values.astype(np.int64, copy=False), -1)
    made.codes = np.array(kinds, np.int64)[row + 1]
    made.codes[doubtful | (applies & ~known)] = made.kind(Finding(check=check, level="unknown"))
    made.codes[~applies & ~doubtful] = made.kind(Finding(check=check, level="ok", applied=False))


def _tree(made: Steps, past: Past, results: Sequence[Column], _: Memory) -> None:
    check: Tree = made.check  # pyright: ignore[reportAssignmentType] (chosen by its type)
    applies, doubtful = _gate(check, past, results)
    leaf = results[check.leaf_at]
    known = _known(leaf)
    kinds: list[int] = []
    for one in check.leaves:
        what = one.outcome
        speaks = matches(what)
        kinds.append(
            made.kind(
                Finding(
                    check=check,
                    level=level_of(what.severity) if speaks else "ok",
                    matched=speaks,
                    status=what.status if speaks else None,
                    confidence=what.confidence if speaks else None,
                )
            )
        )
    at = np.where(applies & known, leaf.values.astype(np.int64, copy=False), 0)
    made.codes = np.array(kinds, np.int64)[at]
    made.codes[doubtful | (applies & ~known)] = made.kind(Finding(check=check, level="unknown"))
    made.codes[~applies & ~doubtful] = made.kind(Finding(check=check, level="ok", applied=False))


def _gate(check: Check, past: Past, results: Sequence[Column]) -> tuple[Mask, Mask]:
    """Give in which rows a check applies, and in which nobody can tell."""
    if check.gate_at is None:
        return np.ones(past.rows, np.bool_), np.zeros(past.rows, np.bool_)
    gate = results[check.gate_at]
    known = _known(gate)
    return known & gate.values.astype(np.bool_, copy=False), ~known


def _known(column: Column) -> Mask:
    return np.ones(len(column), np.bool_) if column.known is None else np.asarray(column.known, np.bool_)


# --- memory


@dataclass(slots=True)
class _Kept:
    """A check's memory at a row."""

    value: Held


def _remembering(made: Steps, past: Past, moving: Mask, keeping: Mask, memory: Memory) -> Iterator[tuple[int, _Kept]]:
    """Go through the rows that move a check's memory, in order, each with what it remembers there.

    Rows that are neither moving nor keeping forget everything: only what stands directly before counts.
    """
    if memory == "recorded":
        held = past.held(made.check.memory)
        # Without memory the step is the columns' own, but for a delay: that needs a beginning, and has none yet.
        for row in [row for row in held if moving[row]]:
            made.stepped += 1
            yield row, _Kept(_after_gap(held[row], int(past.start[row]), past.memory(row).at))
        return
    kept, before = _Kept(made.before), -1
    rows = np.flatnonzero(moving | keeping)
    first, start, end = past.first, past.start, past.end
    for row in rows.tolist():
        if row != before + 1 or (first[row] and row):
            kept.value = NOTHING
        elif kept.value is not NOTHING:
            kept.value = _after_gap(kept.value, int(start[row]), int(end[row - 1]) if row else made.before_at)
        before = row
        if moving[row]:
            made.stepped += 1
            yield row, kept
    made.after = kept.value if before == past.rows - 1 else NOTHING


def _after_gap(held: Held, start: int, before: int) -> Held:
    """Give a memory as the next window finds it: what waited does not go on waiting when windows are missing."""
    return msgspec.structs.replace(held, since={}) if start > before and held.since else held


# --- every other kind


class _Row(Sequence[Result]):
    """The results of a program at one row, read where a check looks."""

    __slots__ = ("columns", "row")

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns, self.row = columns, 0

    @overload
    def __getitem__(self, at: int) -> Result: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Result]: ...
    def __getitem__(self, at: int | slice) -> Result | Sequence[Result]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self.columns)))]
        value = self.columns[at][self.row]
        return UNTOLD if value is None else value

    def __len__(self) -> int:
        return len(self.columns)


def _one_by_one(made: Steps, past: Past, results: Sequence[Column], memory: Memory, before: Sequence[Steps]) -> None:
    """Step through all rows with the line's own function."""
    check, values = made.check, _Row(results)
    recorded = past.held(check.memory) if memory == "recorded" else {}
    codes = np.empty(past.rows, np.int64)
    held, last = made.before, made.before_at
    for row in range(past.rows):
        values.row, fact = row, past.facts[row]
        start, end = int(past.start[row]), int(past.end[row])
        if memory == "recorded":
            held, last = recorded.get(row, NOTHING), past.memory(row).at
        elif past.first[row] and row:
            held, last = NOTHING, 0
        given = Given(
            work_unit=fact.work_unit, start=start, end=end, state=fact.state, context=fact.context,
            values=fact.inputs, units=past.units(row),
            memory=State(at=last, held={check.memory: held} if held != NOTHING else {}),
        )  # fmt: skip
        others = {one.check.name: one.kinds[one.codes[row]] for one in before}
        finding = finding_of(check, values, given, others)
        codes[row] = made.kind(finding)
        held, last = finding.held, end
    made.codes = codes
    made.stepped = past.rows
    made.after = held


_STEPS: Final[dict[type[Check], Callable[[Steps, Past, Sequence[Column], Memory], None]]] = {
    Limit: _limit,
    Rule: _rule,
    Table: _table,
    Tree: _tree,
}
