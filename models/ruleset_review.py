"""Static checks of a whole ruleset: what can never answer, what contradicts, what is left out, what is said twice.

A fault is certain: a rule that can never hold, a row that an earlier one always answers for, stop and continue demanded at
once. A warning is suspicious: a limit outside the engineering range, a hole between two rows, a branch without a case.
Nothing is called unreachable that can be reached (`ruleset_reason`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from models.expression_checker import Slot, Typed
from models.ruleset import Limit, Rule, Table
from models.ruleset_change import Change
from models.ruleset_conflicts import Claim, Tell, claims, conflicts
from models.ruleset_file import TableEntry
from models.ruleset_inputs import tag_of
from models.ruleset_links import Made
from models.ruleset_mistakes import domain
from models.ruleset_reason import Numbers, OpenError, Reasoner, Region, slots_of
from models.ruleset_tree import Tree
from models.toml_places import Path

Ranges = Mapping[str, tuple[float | None, float | None]]
"""Tag → lowest and highest value of its engineering range; None = no bound."""
_VALUES: Final = frozenset({"", "last", "first", "mean", "min", "max"})
"""Parts of a tag that lie in its range."""


@dataclass(slots=True)
class Review:
    """One look over all checks of a ruleset."""

    made: Sequence[Made]
    trees: Sequence[Typed]
    """The program's."""
    names: Sequence[str]
    """Of its inputs."""
    ranges: Ranges
    blame: Tell
    warn: Tell
    reasoner: Reasoner = field(init=False)

    def __post_init__(self) -> None:
        known = {place: values for place, name in enumerate(self.names) if (values := domain(name)) is not None}
        self.reasoner = Reasoner(known)

    def run(self) -> None:
        """Tell everything there is to tell."""
        found: list[Claim] = []
        for one in self.made:
            gate = None if one.check.gate_at is None else self.trees[one.check.gate_at]
            if gate is not None and not self.reasoner.possible((gate, True)):
                self.blame((*one.path, "only_when"), _where(one), "this can never hold, so the check never applies")
                continue
            match one.check:
                case Rule():
                    self._rule(one, one.check, gate)
                case Table():
                    self._table(one, one.check, gate)
                case Tree():
                    self._tree(one, one.check, gate)
                case Limit() | Change():
                    self._limit(one)
                case _:
                    pass
            found += claims(one, gate, self.trees, self.reasoner)
        conflicts(found, self.reasoner, self.blame, self.warn)

    def _rule(self, one: Made, rule: Rule, gate: Typed | None) -> None:
        when = self.trees[rule.when_at]
        place = (*one.path, "when")
        if not slots_of(when):
            always = self.reasoner.possible((when, True))
            told = "this holds always" if always else "this never holds: the rule is switched off"
            self.warn(place, _where(one), told, "it names no input")
        elif not self.reasoner.possible((when, True)):
            self.blame(place, _where(one), "this can never hold", "compare the bounds and texts in it")
        elif gate is not None and not self.reasoner.possible((gate, True), (when, True)):
            self.blame(place, _where(one), "this can never hold while only_when does", "compare the two")
        elif not self.reasoner.possible((when, False)):
            self.warn(place, _where(one), "this holds always", "remove the rule, or mend the condition")
        else:
            self._ranged(place, _where(one), when)

    def _table(self, one: Made, table: Table, gate: Typed | None) -> None:
        try:
            gated: list[Region] = [{}] if gate is None else self.reasoner.regions(gate)
        except OpenError:
            gated = [{}]
        dead: set[int] = set()
        for number, condition in enumerate(table.conditions):
            place, told = (*one.path, "row", number, "when"), f"{_where(one)}, row {number + 1}"
            if not self.reasoner.possible((condition, True)):
                dead.add(number)
                self.blame(place, told, "no input fits this row", "compare its cells")
            elif by := self._covering(table, number, dead):
                dead.add(number)
                self.blame(place, told, f"row {number + 1} can never answer", by)
            elif gate is not None and not self.reasoner.possible((gate, True), (condition, True)):
                self.warn(place, told, "no input fits this row while only_when holds", "compare the two")
            else:
                self._ranged(place, told, condition)
        if not dead:
            self._gaps(one, table, gated)

    def _covering(self, table: Table, number: int, dead: set[int]) -> str:
        """Say which rows answer for all that a row fits; empty when it can answer."""
        conditions = table.conditions
        earlier = [position for position in table.tried[: table.tried.index(number)] if position not in dead]
        for position in earlier:
            if not self.reasoner.possible((conditions[number], True), (conditions[position], False)):
                always = not self.reasoner.possible((conditions[position], False))
                return f"row {position + 1} fits always" if always else f"row {position + 1} fits wherever it does"
        wanted = [(conditions[number], True), *((conditions[position], False) for position in earlier)]
        return "" if self.reasoner.possible(*wanted) else "the rows before it answer for all that it fits"

    def _gaps(self, one: Made, table: Table, gated: Sequence[Region]) -> None:
        """Tell regions no row answers for: holes between rows; with `complete = true` any region."""
        complete = isinstance(one.entry, TableEntry) and one.entry.complete
        try:
            left = self.reasoner.together((condition, False) for condition in table.conditions)
        except OpenError:
            return
        left = [region for region in left if self.reasoner.meet([region], gated)]
        if complete and left:
            told = "; ".join(dict.fromkeys(self._described(one, region) for region in left[:3]))
            self.blame(
                (*one.path, "row"), _where(one), f"no row answers for {told}", "add a row, or a last one with when = {}"
            )
            return
        seen: set[str] = set()
        for region in left:
            for number, values in region.items():
                hole = _hole(values)
                if hole is not None and (told := f"{self._term(one, number)} {hole}") not in seen:
                    seen.add(told)
                    self.warn(
                        (*one.path, "row"), _where(one), f"no row answers for {told}", "close the hole between the rows"
                    )

    def _tree(self, one: Made, tree: Tree, gate: Typed | None) -> None:
        given = [] if gate is None else [(gate, True)]
        for leaf in tree.leaves:
            if not self.reasoner.possible(*given, *leaf.conditions):
                way = ", ".join(leaf.path)
                self.warn(
                    (*one.path, *leaf.at),
                    _where(one),
                    f"no input leads here ({way})",
                    "compare the conditions on the way",
                )

    def _limit(self, one: Made) -> None:
        check = one.check
        value = None if check.value_at is None else self.trees[check.value_at]
        span = None if value is None else self._range(value)
        if not isinstance(check, Limit) or span is None or value is None:
            return
        low, high = span
        name = self.names[value.index] if isinstance(value, Slot) else ""
        for bound in check.thresholds:
            key = f"{bound.severity}_{bound.side}"
            out = bound.side == "high" and high is not None and bound.bound >= high
            under = bound.side == "low" and low is not None and bound.bound <= low
            if out or under:
                side = f"above {high:g}" if out else f"below {low:g}"
                problem = f"{name} has no good value beyond {bound.bound:g}"
                self.warn(
                    (*one.path, key), f"{_where(one)}, {key}", problem, f"its engineering range has nothing {side}"
                )

    def _ranged(self, place: Path, where: str, condition: Typed) -> None:
        """Warn of a condition that no values within the engineering ranges fulfil."""
        spans = {
            index: span for index in slots_of(condition) if (span := self._range(Slot(index, "double"))) is not None
        }
        if not spans:
            return
        domains = dict(self.reasoner.domains)
        for index, (low, high) in spans.items():
            first, last = (-float("inf") if low is None else low), (float("inf") if high is None else high)
            domains[index] = Numbers(((first, low is not None, last, high is not None),))
        if not Reasoner(domains).possible((condition, True)):
            tags = ", ".join(dict.fromkeys(self.names[index].partition(".")[0] for index in spans))
            self.warn(
                place,
                where,
                f"no values within the engineering range of {tags} fulfil this",
                "compare bounds and range",
            )

    def _range(self, value: Typed) -> tuple[float | None, float | None] | None:
        if not isinstance(value, Slot):
            return None
        name = self.names[value.index]
        tag = tag_of(name)
        if tag is None or name.partition(".")[2] not in _VALUES:
            return None
        low, high = self.ranges.get(tag, (None, None))
        return None if low is None and high is None else (low, high)

    def _described(self, one: Made, region: Region) -> str:
        told = [f"{self._term(one, number)} {values}" for number, values in region.items()]
        return " and ".join(told) or "any input"

    def _term(self, one: Made, number: int) -> str:
        """Give the name of a term as the table's author knows it."""
        term = self.reasoner.terms[number]
        if isinstance(one.check, Table):
            for name, tree in one.check.inputs.items():
                if tree == term:
                    return name
        return self.names[term.index] if isinstance(term, Slot) else "a part of it"


def _hole(values: object) -> str | None:
    """Give a span that has values on both sides of it; None without one."""
    if not isinstance(values, Numbers):
        return None
    for span in values.spans:
        if span[0] > -float("inf") and span[2] < float("inf"):
            return str(Numbers((span,)))
    return None


def _where(one: Made) -> str:
    return f"{one.path[0]} {one.check.name}"
