"""What each check of a ruleset says about one window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge.judgment.given import Given
from edge.judgment.state import NOTHING, Held, continued, step_limit, step_rule
from models.expression_checker import Value
from models.expression_interpreter import Cause, Indeterminate, Result
from models.ruleset import Action, AnyCheck, Limit, Outcome, Rule, Ruleset, Side, Table, Texts
from models.ruleset_file import Severity

Level = Literal["ok", "warning", "critical", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's part in the verdict."""

    check: AnyCheck
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


def findings(ruleset: Ruleset, values: Sequence[Result], given: Given) -> list[Finding]:
    """Give every check's finding, in the order of the ruleset."""
    return [_finding(check, values, given) for check in ruleset.checks]


def _finding(check: AnyCheck, values: Sequence[Result], given: Given) -> Finding:
    gate = True if check.gate_at is None else values[check.gate_at]
    held = continued(given.memory, check.name, given.start)
    if isinstance(gate, Indeterminate):
        return Finding(check=check, level="unknown", causes=gate.causes, held=held)
    if not gate:
        return Finding(check=check, level="ok", applied=False)
    unit = given.units.get(check.unit_tag) if check.unit is None and check.unit_tag is not None else check.unit
    value = None if check.value_at is None else values[check.value_at]
    match check:
        case Limit():
            return _limit(check, value, unit, held, given.end)
        case Rule():
            return _rule(check, (values[check.when_at], value), unit, held, given.end)
        case Table():
            return _table(check, values[check.hit_at], value, unit)


def _limit(limit: Limit, value: Result | None, unit: str | None, held: Held, end: int) -> Finding:
    if isinstance(value, Indeterminate):
        return Finding(check=limit, level="unknown", unit=unit, causes=value.causes, held=held)
    if not isinstance(value, float | int) or not math.isfinite(value):
        return Finding(check=limit, level="unknown", unit=unit, causes=(Cause("", "not_finite"),), held=held)
    number = float(value)
    after = step_limit(limit, number, held, end)
    if after.level is None:
        nearest = min(limit.thresholds, key=lambda threshold: abs(threshold.bound - number))
        return Finding(check=limit, level="ok", value=number, threshold=nearest.bound, unit=unit, held=after)
    bounds = [t for t in limit.thresholds if t.side == after.side]
    bound = next((t for t in bounds if t.severity == after.level), bounds[0])
    return Finding(
        check=limit,
        level=_level(after.level),
        matched=True,
        value=number,
        threshold=bound.bound,
        side=after.side,
        unit=unit,
        confidence=limit.confidence,
        message=limit.message,
        actions=_from(limit.actions, after.level),
        held=after,
    )


def _rule(rule: Rule, results: tuple[Result, Result | None], unit: str | None, held: Held, end: int) -> Finding:
    holds, value = results
    if isinstance(holds, Indeterminate):
        return Finding(check=rule, level="unknown", unit=unit, causes=holds.causes, held=held)
    shown = None if isinstance(value, Indeterminate) else value
    after = step_rule(rule, bool(holds), held, end)
    if after.level is None:
        return Finding(check=rule, level="ok", value=shown, threshold=rule.outcome.threshold, unit=unit, held=after)
    return _matched(rule, rule.outcome, shown, unit, after)


def _table(table: Table, hit: Result, value: Result | None, unit: str | None) -> Finding:
    if isinstance(hit, Indeterminate):
        return Finding(check=table, level="unknown", unit=unit, causes=hit.causes)
    shown = None if isinstance(value, Indeterminate) else value
    row = int(hit)
    if row < 0:
        return Finding(check=table, level="ok", value=shown, unit=unit)
    return _matched(table, table.rows[row], shown, unit, NOTHING)


def _matched(check: Rule | Table, outcome: Outcome, value: Value | None, unit: str | None, held: Held) -> Finding:
    return Finding(
        check=check,
        level=_level(outcome.severity),
        matched=True,
        value=value,
        threshold=outcome.threshold,
        unit=unit,
        status=outcome.status,
        confidence=outcome.confidence,
        message=outcome.message,
        actions=_from(outcome.actions, outcome.severity),
        held=held,
    )


def _level(severity: Severity) -> Level:
    return "ok" if severity == "info" else severity


def _from(actions: tuple[Action, ...], severity: Severity) -> tuple[Action, ...]:
    """Give the actions recommended at a severity."""
    return tuple(action for action in actions if action.on != "critical" or severity == "critical")
