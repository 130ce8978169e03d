"""Trust × risk: may an action be done at once, does a person have to say yes, or is it out of the question. Pure.

A cell's conditions only ever take away. Three of them ask a person instead of going ahead: a score that is too low,
too many failures one after the other, no success of late. The fourth, the cool-down, refuses: waiting cures it.
Whatever the table says, what stops a line or a machine needs a person's yes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

Risk = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Decision = Literal["auto_execute", "require_approval", "reject"]

RISKS: Final[tuple[Risk, ...]] = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
STRICTER: Final[tuple[Decision, ...]] = ("auto_execute", "require_approval", "reject")
"""From the freest to the strictest."""
RECENT_S: Final = 7 * 86_400.0
"""How old the success may be that `require_recent_success` asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is decided for one level of trust and one risk."""

    decision: Decision
    min_trust_score: float = 0.0
    max_consecutive_failures: int | None = None
    """So many failures in a row end going ahead; None: they do not matter."""
    require_recent_success: bool = False
    cooldown_s: float = 0.0
    """Between two executions of the same kind."""


Matrix = Mapping[tuple[int, Risk], Cell]

_AUTO: Final = Cell(decision="auto_execute", max_consecutive_failures=3)
_ASK: Final = Cell(decision="require_approval")
_NO: Final = Cell(decision="reject")
DEFAULT: Final[Matrix] = {
    (0, "LOW"): _ASK, (0, "MEDIUM"): _ASK, (0, "HIGH"): _ASK, (0, "CRITICAL"): _NO,
    (1, "LOW"): _ASK, (1, "MEDIUM"): _ASK, (1, "HIGH"): _ASK, (1, "CRITICAL"): _NO,
    (2, "LOW"): _AUTO, (2, "MEDIUM"): _ASK, (2, "HIGH"): _ASK, (2, "CRITICAL"): _NO,
    (3, "LOW"): _AUTO, (3, "MEDIUM"): _AUTO, (3, "HIGH"): _ASK, (3, "CRITICAL"): _ASK,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a ruleset stands with one kind of action on one line."""

    level: int
    score: float
    failures: int = 0
    """The newest executions, as long as they failed."""
    executed_s: float | None = None
    """Seconds since the newest execution; None: there was none."""
    succeeded_s: float | None = None
    """Seconds since the newest success."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision and every reason for it."""

    decision: Decision
    reasons: tuple[str, ...]


def decide(matrix: Matrix, action_type: str, risk: Risk, standing: Standing) -> Ruling:
    """Give what the matrix says; all conditions are looked at, also after the first that fails."""
    cell = matrix.get((standing.level, risk))
    if cell is None:
        return Ruling("require_approval", (f"trust {standing.level} × {risk} is not in the matrix: a person decides",))
    decision = cell.decision
    reasons = [f"trust {standing.level} × {risk}: {decision}"]
    for why in _asks_a_person(cell, standing):
        decision = stricter(decision, "require_approval")
        reasons.append(why)
    if halts(action_type) and decision == "auto_execute":
        decision = "require_approval"
        reasons.append(f"{action_type} stops a line or a machine: that always needs a person's yes")
    if standing.executed_s is not None and standing.executed_s < cell.cooldown_s:
        decision = "reject"
        reasons.append(f"cool-down: {standing.executed_s:.0f} s since the last one, {cell.cooldown_s:g} s are to pass")
    return Ruling(decision, tuple(reasons))


def _asks_a_person(cell: Cell, standing: Standing) -> list[str]:
    reasons: list[str] = []
    if standing.score < cell.min_trust_score:
        reasons.append(f"score {standing.score:.4f} is below {cell.min_trust_score:g}")
    if cell.max_consecutive_failures is not None and standing.failures >= cell.max_consecutive_failures:
        reasons.append(f"{standing.failures} failures in a row, {cell.max_consecutive_failures} end going ahead")
    if cell.require_recent_success and not (
        standing.failures == 0 and standing.succeeded_s is not None and standing.succeeded_s <= RECENT_S
    ):
        reasons.append("no success of late: the newest execution of 7 days has to be one")
    return reasons


def stricter(one: Decision, other: Decision) -> Decision:
    """Give the one that allows less."""
    return STRICTER[max(STRICTER.index(one), STRICTER.index(other))]


# --- risk of an action


@dataclass(frozen=True, slots=True)
class RiskRow:
    """A line of a risk table: an action's name, or a glob of names."""

    action: str
    risk: Risk
    priority: int = 0
    """Of globs that fit the highest is taken; of equal ones the longest, then the first."""

    @property
    def glob(self) -> bool:
        return "*" in self.action or "?" in self.action


DEFAULT_RISKS: Final = (
    *(RiskRow(action, "LOW") for action in ("notification_*", "log_*", "data_read_*", "report_generate")),
    *(RiskRow(action, "LOW") for action in ("alert", "inspect", "continue")),
    *(
        RiskRow(action, "MEDIUM")
        for action in (
            "data_write_*", "parameter_adjust", "erp_order_create", "inventory_adjust", "workflow_trigger", "ticket",
            "workflow",
        )
    ),
    *(
        RiskRow(action, "HIGH")
        for action in (
            "mes_equipment_control", "erp_order_modify", "erp_order_cancel", "production_schedule_change",
            "quality_hold",
        )
    ),
    *(
        RiskRow(action, "CRITICAL")
        for action in ("production_line_stop", "emergency_*", "financial_*", "compliance_report_submit", "stop")
    ),
    *(RiskRow(action, "CRITICAL") for action in ("equipment_halt", "equipment_stop")),
)  # fmt: skip
HALTING: Final = ("stop", "production_line_stop", "equipment_halt", "equipment_stop", "emergency_*")
"""What stops a line or a machine."""


def halts(action_type: str) -> bool:
    """Tell whether an action stops a line or a machine."""
    return any(fnmatchcase(action_type, pattern) for pattern in HALTING)


def risk_of(action_type: str, table: Sequence[RiskRow] = (), *, writes: bool, least: Risk = "LOW") -> Risk:
    """Give the risk of an action: the site's table, then ours, then MEDIUM; an unknown one that writes to a machine HIGH.

    least: what the permit of a write says of its tag; a harmless name makes no write harmless.
    """
    unknown: Risk = "HIGH" if writes else "MEDIUM"
    found = _match(action_type, table) or _match(action_type, DEFAULT_RISKS) or unknown
    return RISKS[max(RISKS.index(found), RISKS.index(least))] if writes else found


def _match(action_type: str, table: Sequence[RiskRow]) -> Risk | None:
    exact = next((row for row in table if not row.glob and row.action == action_type), None)
    if exact is not None:
        return exact.risk
    fitting = [row for row in table if row.glob and fnmatchcase(action_type, row.action)]
    best = max(fitting, key=lambda row: (row.priority, len(row.action)), default=None)
    return None if best is None else best.risk
