"""What each check of a ruleset says about one window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from edge.judgment.charting import look_at_capability, look_at_chart
from edge.judgment.combining import look_at_composite, look_at_tree
from edge.judgment.finding import Finding, Level, Seen
from edge.judgment.given import Given
from edge.judgment.moving import look_at_change, look_at_stuck
from edge.judgment.state import NOTHING, continued, step_limit, step_rule
from models.expression_interpreter import Cause, Indeterminate, Result
from models.ruleset import Check, Limit, Rule, Ruleset, Table
from models.ruleset_capability import CapabilityCheck
from models.ruleset_change import Change, Stuck
from models.ruleset_chart import Chart
from models.ruleset_composite import Composite
from models.ruleset_tree import Tree

__all__ = ["Finding", "Level", "Seen", "finding_of", "findings", "silenced"]


def findings(ruleset: Ruleset, values: Sequence[Result], given: Given) -> list[Finding]:
    """Give every check's finding, in the order of the ruleset."""
    found: dict[str, Finding] = {}
    for check in ruleset.checks:
        found[check.name] = finding_of(check, values, given, found)
    if not ruleset.suppressing:
        return list(found.values())
    return [silenced(finding, found) for finding in found.values()]


def silenced(finding: Finding, found: dict[str, Finding]) -> Finding:
    """Say which check silences this one. What is silenced itself silences all the same: its condition holds."""
    by = next((name for name in finding.check.suppressed_by if found[name].matched), None)
    return finding if by is None else replace(finding, suppressed_by=by)


def finding_of(check: Check, values: Sequence[Result], given: Given, found: dict[str, Finding]) -> Finding:
    """Give one check's finding. found: of the checks before it, by name. Of the memory only its own part counts."""
    gate = True if check.gate_at is None else values[check.gate_at]
    held = continued(given.memory, check.memory, given.start)
    if isinstance(gate, Indeterminate):
        finding = Finding(check=check, level="unknown", causes=gate.causes, held=held)
        return _controlled(check, finding) if isinstance(check, Limit) else finding
    if not gate:
        return Finding(check=check, level="ok", applied=False, held=held if check.keeps_memory else NOTHING)
    unit = given.units.get(check.unit_tag) if check.unit is None and check.unit_tag is not None else check.unit
    value = None if check.value_at is None else values[check.value_at]
    return _LOOKS[type(check)](check, Seen(values, value, unit, held, given, found))


def _limit(limit: Limit, seen: Seen) -> Finding:
    return _controlled(limit, _against(limit, seen))


def _controlled(limit: Limit, finding: Finding) -> Finding:
    """Let a critical control point show its limits, also when it cannot be told whether they were kept."""
    if not limit.ccp:
        return finding
    low, high = limit.critical_limits
    return replace(finding, ccp=True, low=low, high=high)


def _against(limit: Limit, seen: Seen) -> Finding:
    value = seen.value
    if isinstance(value, Indeterminate) or not isinstance(value, float | int) or not math.isfinite(value):
        return seen.unknown(limit, value.causes if isinstance(value, Indeterminate) else (Cause("", "not_finite"),))
    number = float(value)
    return seen.bounded(limit, number, step_limit(limit, number, seen.held, seen.end))


def _rule(rule: Rule, seen: Seen) -> Finding:
    holds = seen.values[rule.when_at]
    if isinstance(holds, Indeterminate):
        return seen.unknown(rule, holds.causes)
    after = step_rule(rule.outcome.severity, rule.delay_ns, bool(holds), seen.held, seen.end)
    if after.level is None:
        value = None if isinstance(seen.value, Indeterminate) else seen.value
        return Finding(
            check=rule, level="ok", value=value, threshold=rule.outcome.threshold, unit=seen.unit, held=after
        )
    return seen.matched(rule, rule.outcome, seen.value, after)


def _table(table: Table, seen: Seen) -> Finding:
    hit = seen.values[table.hit_at]
    if isinstance(hit, Indeterminate):
        return seen.unknown(table, hit.causes, NOTHING)
    row = int(hit)
    if row < 0:
        value = None if isinstance(seen.value, Indeterminate) else seen.value
        return Finding(check=table, level="ok", value=value, unit=seen.unit)
    return seen.matched(table, table.rows[row], seen.value, NOTHING, (f"row {row + 1}",))


_LOOKS: Final[dict[type[Check], Callable[[Any, Seen], Finding]]] = {
    Limit: _limit,
    Rule: _rule,
    Table: _table,
    Change: look_at_change,
    Stuck: look_at_stuck,
    Tree: look_at_tree,
    Chart: look_at_chart,
    CapabilityCheck: look_at_capability,
    Composite: look_at_composite,
}
"""Kind of check → how it looks at a window. The memory it leaves behind stands in its finding."""
