"""Checks that contradict each other, or say the same twice: every pair whose conditions can hold at once is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.expression_checker import Const, Op, Typed
from models.ruleset import Action, Limit, Outcome, Rule, Table
from models.ruleset_file import Severity
from models.ruleset_links import Made
from models.ruleset_reason import OpenError, Reasoner, Region, Values
from models.ruleset_tree import Tree
from models.toml_places import Path


class Tell(Protocol):
    """How a reviewer wants to hear: place, check it is about, problem, hint."""

    def __call__(self, path: Path, where: str, problem: str, hint: str = "", /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a check, a row or a leaf says, and under which condition."""

    name: str
    """`rule hot`, `table rates, row 2`."""
    check: str
    path: Path
    condition: tuple[tuple[Typed, bool], ...]
    regions: Sequence[Region]
    severity: Severity
    actions: frozenset[str]
    """Types of the actions demanded."""
    silenced_by: tuple[str, ...]
    alone: bool
    """A rule: its condition is all it has. Of a table or tree only one row or leaf answers anyway."""


def claims(one: Made, gate: Typed | None, trees: Sequence[Typed], reasoner: Reasoner) -> list[Claim]:
    """Give the claims of a check; what cannot be reasoned about makes none."""
    given: tuple[tuple[Typed, bool], ...] = () if gate is None else ((gate, True),)
    check, where = one.check, f"{one.path[0]} {one.check.name}"
    found: list[Claim] = []

    def add(name: str, path: Path, conditions: tuple[tuple[Typed, bool], ...], what: Outcome, *, alone: bool) -> None:
        try:
            regions = reasoner.together((*given, *conditions))
        except OpenError:
            return
        demanded = frozenset(a.action_type for a in what.actions if a.on != "critical" or what.severity == "critical")
        if regions:
            found.append(
                Claim(
                    name=name,
                    check=check.name,
                    path=path,
                    condition=(*given, *conditions),
                    regions=regions,
                    severity=what.severity,
                    actions=demanded,
                    silenced_by=check.suppressed_by,
                    alone=alone,
                )
            )

    match check:
        case Rule():
            add(where, (*one.path, "when"), ((trees[check.when_at], True),), check.outcome, alone=True)
        case Table():
            for position, number in enumerate(check.tried):
                row, before = check.rows[number], [(check.conditions[other], False) for other in check.tried[:position]]
                place = (*one.path, "row", number, "when")
                add(f"{where}, row {number + 1}", place, ((check.conditions[number], True), *before), row, alone=False)
        case Tree():
            for leaf in check.leaves:
                add(
                    f"{where}, {', '.join(leaf.path)}",
                    (*one.path, *leaf.at),
                    leaf.conditions,
                    leaf.outcome,
                    alone=False,
                )
        case Limit() if check.value_at is not None:
            for bound in check.thresholds:
                beyond = "gt" if bound.side == "high" else "lt"
                condition = Op(beyond, (trees[check.value_at], Const(bound.bound, "double")), "bool")
                key = f"{bound.severity}_{bound.side}"
                add(
                    f"{where}, {key}",
                    (*one.path, key),
                    ((condition, True),),
                    _of(bound.severity, check.actions),
                    alone=False,
                )
        case _:
            pass
    return found


def conflicts(found: Sequence[Claim], reasoner: Reasoner, blame: Tell, warn: Tell) -> None:
    """Tell contradictions (of actions; of info and critical for one condition) and what is said twice."""
    for one in found:
        if {"stop", "continue"} <= one.actions:
            blame(one.path, one.name, "demands stop and continue at once", "stop is what would be done; remove one")
    stopping = [one for one in found if "stop" in one.actions]
    for go in found:
        if "continue" in go.actions:
            _stopped(go, [stop for stop in stopping if not _apart(stop, go)], reasoner, blame, warn)
    _same(found, blame, warn)


def _stopped(go: Claim, stopping: Sequence[Claim], reasoner: Reasoner, blame: Tell, warn: Tell) -> None:
    """Tell the first claim that demands stop where another demands continue; one that always does before one that may."""
    possible = [stop for stop in stopping if reasoner.meet(stop.regions, go.regions)]
    for stop in possible:
        if _implies(reasoner, stop, go) or _implies(reasoner, go, stop):
            blame(
                go.path, go.name, f"demands continue where {stop.name} demands stop",
                "stop is what would be done; change one, or let the one suppress the other",
            )  # fmt: skip
            return
    if possible:
        warn(
            go.path, go.name, f"demands continue, and {possible[0].name} can demand stop at the same time",
            "stop is what would be done",
        )  # fmt: skip


def _same(found: Sequence[Claim], blame: Tell, warn: Tell) -> None:
    """Compare rules whose conditions come to the same regions."""
    groups: dict[frozenset[frozenset[tuple[int, Values]]], list[Claim]] = {}
    for one in found:
        if one.alone:
            groups.setdefault(frozenset(frozenset(region.items()) for region in one.regions), []).append(one)
    for group in groups.values():
        for position, second in enumerate(group):
            others = [one for one in group[:position] if not _apart(one, second)]
            against = next((one for one in others if {one.severity, second.severity} == {"info", "critical"}), None)
            twin = next((one for one in others if one.severity == second.severity), None)
            if against is not None:
                blame(
                    second.path, second.name,
                    f"says {second.severity} where {against.name} says {against.severity}: the same condition",
                    "decide which, or let the one suppress the other",
                )  # fmt: skip
            elif twin is not None:
                warn(second.path, second.name, f"has the same condition as {twin.name}", "one of them is enough")


def _apart(one: Claim, other: Claim) -> bool:
    """Whether two claims never speak at once: of one check, or the one silences the other."""
    return one.check == other.check or one.check in other.silenced_by or other.check in one.silenced_by


def _implies(reasoner: Reasoner, one: Claim, other: Claim) -> bool:
    """Tell whether the other's condition holds wherever the one's does; false also when that cannot be told."""
    return all(not reasoner.possible(*one.condition, (tree, not want)) for tree, want in other.condition)


def _of(severity: Severity, actions: tuple[Action, ...]) -> Outcome:
    return Outcome(severity=severity, status=None, confidence=None, message=None, threshold=None, actions=actions)
