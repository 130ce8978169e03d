"""A check's part in a verdict, and what a check is shown of a window to give it. `findings` goes through all checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.judgment.given import Given
from edge.judgment.state import NOTHING, Held
from models.expression_checker import Value
from models.expression_interpreter import Cause, Indeterminate, Result
from models.ruleset import Action, Check, Limit, Outcome, Side, Texts
from models.ruleset_change import Change
from models.ruleset_file import Severity

Level = Literal["ok", "warning", "critical", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's part in the verdict."""

    check: Check
    level: Level
    applied: bool = True
    """False = its `only_when` says that it does not apply now; the level is then ok."""
    matched: bool = False
    value: Value | None = None
    threshold: float | str | None = None
    side: Side | None = None
    unit: str | None = None
    """UNECE code."""
    status: str | None = None
    confidence: float | None = None
    message: Texts | None = None
    actions: tuple[Action, ...] = ()
    causes: tuple[Cause, ...] = ()
    """Why it is unknown."""
    held: Held = NOTHING
    path: tuple[str, ...] = ()
    """How it was reached: `row 2`; `hot: yes` for every node of a tree; the members of a composite; rules of a chart."""
    suppressed_by: str | None = None
    """The check that silences this one: it stands in the record, but neither decides nor alarms nor recommends."""
    ccp: bool = False
    """A critical control point that applied: this window is recorded for HACCP."""
    low: float | None = None
    high: float | None = None
    """Its critical limits."""


@dataclass(slots=True)
class Seen:
    """What a check is shown of one window."""

    values: Sequence[Result]
    """Of the ruleset's program; a check knows its places."""
    value: Result | None
    """At the check's own `value_at`."""
    unit: str | None
    held: Held
    """Its memory; what waited does not go on waiting after a gap between windows."""
    given: Given
    found: Mapping[str, Finding]
    """Of the checks before it, by name."""

    @property
    def end(self) -> int:
        """End of the window, ns."""
        return self.given.end

    def unknown(self, check: Check, causes: tuple[Cause, ...], held: Held | None = None) -> Finding:
        """Give the finding of a check that cannot be made; its memory stays unless another is given."""
        kept = self.held if held is None else held
        return Finding(check=check, level="unknown", unit=self.unit, causes=causes, held=kept)

    def bounded(self, check: Limit | Change, number: float, after: Held) -> Finding:
        """Give the finding of a number held against thresholds: beyond the bound in force, or nearest to one."""
        if after.level is None:
            nearest = min(check.thresholds, key=lambda threshold: abs(threshold.bound - number))
            return Finding(check=check, level="ok", value=number, threshold=nearest.bound, unit=self.unit, held=after)
        bounds = [threshold for threshold in check.thresholds if threshold.side == after.side]
        bound = next((threshold for threshold in bounds if threshold.severity == after.level), bounds[0])
        return Finding(
            check=check,
            level=level_of(after.level),
            matched=True,
            value=number,
            threshold=bound.bound,
            side=after.side,
            unit=self.unit,
            confidence=check.confidence,
            message=check.message,
            actions=recommended(check.actions, after.level),
            held=after,
        )

    def matched(
        self, check: Check, outcome: Outcome, value: Result | None, held: Held, path: tuple[str, ...] = ()
    ) -> Finding:
        """Give the finding of a check whose outcome applies."""
        return Finding(
            check=check,
            level=level_of(outcome.severity),
            matched=True,
            value=None if isinstance(value, Indeterminate) else value,
            threshold=outcome.threshold,
            unit=self.unit,
            status=outcome.status,
            confidence=outcome.confidence,
            message=outcome.message,
            actions=recommended(outcome.actions, outcome.severity),
            held=held,
            path=path,
        )


def level_of(severity: Severity) -> Level:
    """Give the level of a finding of this severity: what is only information is ok."""
    return "ok" if severity == "info" else severity


def recommended(actions: tuple[Action, ...], severity: Severity) -> tuple[Action, ...]:
    """Give the actions recommended at a severity."""
    return tuple(action for action in actions if action.on != "critical" or severity == "critical")
