"""Entries of a ruleset file → checks over one program: names, types and tables are settled here."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from models.expression import Environment, ExpressionError, ValueType
from models.expression_checker import Const, Op, Slot, Typed, check
from models.expression_parser import Binary, Literal, Name, parse, parse_test
from models.ruleset import Action, AnyCheck, Limit, Outcome, Rule, Side, Table, Texts, Threshold
from models.ruleset_file import ActionEntry, Entry, LimitEntry, Message, RowEntry, RuleEntry, Severity, TableEntry
from models.ruleset_file import severity_of as meant_by
from models.ruleset_inputs import NS_PER_S, tag_of
from models.toml_places import Path

ANY: Final = frozenset({"-", "*", ""})
"""Cells that fit whatever the input is."""
ALWAYS: Final = Const(value=True, type="bool")
_OPERATORS: Final = ("==", "!=", "<", ">", "in ", "in[")


class Blame(Protocol):
    """How the reader wants to hear of a fault: of an expression with its places, or of a whole value as a text."""

    def __call__(self, path: Path, error: ExpressionError | str, /) -> None: ...


@dataclass(slots=True)
class Compiler:
    """Collects the expressions of all checks; one list of trees and one of inputs for the whole ruleset."""

    environment: Environment
    blame: Blame | Callable[[Path, ExpressionError | str], None]
    slots: dict[str, int] = field(default_factory=dict[str, int])
    trees: list[Typed] = field(default_factory=list[Typed])

    def check(self, entry: LimitEntry | RuleEntry | TableEntry, path: Path) -> AnyCheck | None:
        """Give the check of an entry; None after its faults were told."""
        match entry:
            case LimitEntry():
                return self._limit(entry, path)
            case RuleEntry():
                return self._rule(entry, path)
            case TableEntry():
                return self._table(entry, path)

    def probe(self, path: Path, raw: dict[str, Any]) -> None:
        """Look at the expressions of an entry that could not be read otherwise, only to tell their faults."""
        wanted: dict[str, ValueType | None] = {"only_when": "bool", "when": "bool"}
        if path[0] != "table":
            wanted["value"] = "double"
        for key, kind in wanted.items():
            if isinstance(raw.get(key), str):
                self._typed(raw[key], (*path, key), kind)
        inputs: dict[str, Any] = _table(raw.get("inputs"))
        typed = {
            name: self._typed(text, (*path, "inputs", name), None) if isinstance(text, str) else None
            for name, text in inputs.items()
        }
        rows: Any = raw.get("row")
        for position, row in enumerate(cast("list[Any]", rows) if isinstance(rows, list) else []):
            for name, cell in _table(_table(row).get("when")).items():
                if isinstance(cell, str | int | float):
                    self._named_cell(name, cell, typed, (*path, "row", position, "when", name))

    # --- kinds of checks

    def _limit(self, entry: LimitEntry, path: Path) -> Limit | None:
        value = self._typed(entry.value, (*path, "value"), "double")
        gate = self._gate(entry, path)
        if value is None or gate is False:
            return None
        given: tuple[tuple[Side, Severity, float | None], ...] = (
            ("high", "critical", entry.critical_high),
            ("low", "critical", entry.critical_low),
            ("high", "warning", entry.warning_high),
            ("low", "warning", entry.warning_low),
        )
        bounds = [Threshold(side=a, severity=b, bound=c) for a, b, c in given if c is not None]
        return Limit(
            **self._common(entry, gate, value),
            thresholds=tuple(bounds),
            hysteresis=entry.hysteresis,
            delay_ns=round(entry.delay_s * NS_PER_S),
            confidence=entry.confidence,
            message=_texts(entry.message),
            actions=_actions(entry.actions),
        )

    def _rule(self, entry: RuleEntry, path: Path) -> Rule | None:
        when = self._typed(entry.when, (*path, "when"), "bool")
        value = None if entry.value is None else self._typed(entry.value, (*path, "value"), None)
        gate = self._gate(entry, path)
        if when is None or gate is False or (value is None and entry.value is not None):
            return None
        outcome = Outcome(
            severity=meant_by(entry.severity, entry.status),
            status=entry.status,
            confidence=entry.confidence,
            message=_texts(entry.message),
            threshold=entry.threshold,
            actions=_actions(entry.actions),
        )
        return Rule(
            **self._common(entry, gate, value, when),
            when_at=self._add(when),
            delay_ns=round(entry.delay_s * NS_PER_S),
            outcome=outcome,
        )

    def _table(self, entry: TableEntry, path: Path) -> Table | None:
        inputs = {name: self._typed(text, (*path, "inputs", name), None) for name, text in entry.inputs.items()}
        gate = self._gate(entry, path)
        if entry.value is not None and entry.value not in entry.inputs:
            self.blame((*path, "value"), f"{entry.value!r} is no input; {_nearest(entry.value, entry.inputs)}")
            return None
        conditions = [self._row(row, inputs, (*path, "row", position)) for position, row in enumerate(entry.rows)]
        for position, (condition, after) in enumerate(itertools.pairwise(conditions)):
            if condition == ALWAYS and after is not None:
                problem = f"row {position + 2} can never answer; row {position + 1} fits always"
                self.blame((*path, "row", position + 1, "when"), problem)
                return None
        good = [condition for condition in conditions if condition is not None]
        if gate is False or None in inputs.values() or len(good) < len(conditions):
            return None
        hit: Typed = Const(-1, "int")
        for position in reversed(range(len(good))):
            hit = Op("if", (good[position], Const(position, "int"), hit), "int")
        value = inputs[entry.value] if entry.value is not None else None
        return Table(
            **self._common(entry, gate, value, hit),
            hit_at=self._add(hit),
            rows=tuple(_row_outcome(row, entry.value) for row in entry.rows),
        )

    def _row(self, row: RowEntry, inputs: dict[str, Typed | None], path: Path) -> Typed | None:
        """Give the condition of a row: all its cells together."""
        cells = [self._named_cell(name, cell, inputs, (*path, "when", name)) for name, cell in row.when.items()]
        tests = tuple(cell for cell in cells if cell is not None and cell != ALWAYS)
        if None in cells:
            return None
        if not tests:
            return ALWAYS
        return tests[0] if len(tests) == 1 else Op("and", tests, "bool")

    def _named_cell(
        self, name: str, cell: str | float | bool, inputs: dict[str, Typed | None], place: Path
    ) -> Typed | None:
        if name not in inputs:
            self.blame(place, f"{name!r} is no input of this table; {_nearest(name, inputs)}")
            return None
        if isinstance(cell, str) and cell.strip() in ANY:
            return ALWAYS
        value = inputs[name]
        return None if value is None else self._cell(name, cell, value, place)

    def _cell(self, name: str, cell: str | float | bool, value: Typed, place: Path) -> Typed | None:
        """Give a cell as a condition on its input; names in it mean what they mean everywhere."""
        types: dict[str, ValueType] = {**self.environment.types, name: value.type}
        local: dict[str, int] = {}
        text = str(cell)
        try:
            if isinstance(cell, str) and cell.strip().startswith(_OPERATORS):
                tree = parse_test(cell, Name(0, name))
            else:
                tree = Binary(0, "==", Name(0, name), Literal(0, cell))
            typed = check(text, tree, Environment(types=types), local, "bool")
        except ExpressionError as error:
            self.blame(place, error)
            return None
        replaced = {
            index: value if key == name else self._slot(key, self.environment.type_of(key) or "double")
            for key, index in local.items()
        }
        return _substituted(typed, replaced)

    # --- parts

    def _slot(self, name: str, kind: ValueType) -> Slot:
        return Slot(self.slots.setdefault(name, len(self.slots)), kind)

    def _typed(self, text: str, path: Path, expect: ValueType | None) -> Typed | None:
        try:
            return check(text, parse(text), self.environment, self.slots, expect)
        except ExpressionError as error:
            self.blame(path, error)
            return None

    def _gate(self, entry: Entry, path: Path) -> Typed | bool | None:
        """Give the condition `only_when`; None without one, False when it is faulty."""
        if entry.only_when is None:
            return None
        return self._typed(entry.only_when, (*path, "only_when"), "bool") or False

    def _add(self, tree: Typed) -> int:
        self.trees.append(tree)
        return len(self.trees) - 1

    def _common(self, entry: Entry, gate: Typed | bool | None, value: Typed | None, *more: Typed) -> dict[str, Any]:
        gate = None if isinstance(gate, bool) else gate
        names = list(self.slots)
        uses = dict.fromkeys(names[index] for tree in (gate, value, *more) if tree for index in _uses(tree))
        title = entry.name.replace("_", " ")
        single = tag_of(names[value.index]) if isinstance(value, Slot) else None
        return {
            "name": entry.name,
            "title": entry.title.both() if entry.title else {"ko": title, "en": title},
            "gate_at": None if gate is None else self._add(gate),
            "value_at": None if value is None else self._add(value),
            "unit": entry.unit,
            "unit_tag": single if entry.unit is None else None,
            "alarm": entry.alarm,
            "uses": tuple(uses),
        }


def _table(raw: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}


def _uses(tree: Typed) -> list[int]:
    match tree:
        case Slot():
            return [tree.index]
        case Op():
            return [index for argument in tree.arguments for index in _uses(argument)]
        case Const():
            return []


def _substituted(tree: Typed, replaced: dict[int, Typed]) -> Typed:
    match tree:
        case Slot():
            return replaced[tree.index]
        case Op():
            return Op(tree.name, tuple(_substituted(argument, replaced) for argument in tree.arguments), tree.type)
        case Const():
            return tree


def _row_outcome(row: RowEntry, shown: str | None) -> Outcome:
    return Outcome(
        severity=meant_by(row.severity, row.status),
        status=row.status,
        confidence=row.confidence,
        message=_texts(row.message),
        threshold=_threshold(row.when.get(shown)) if shown is not None else None,
        actions=_actions(row.actions),
    )


def _threshold(cell: str | float | bool | None) -> float | str | None:
    """Give what a cell holds its input against: the number of a single comparison, else the cell as written."""
    if cell is None or isinstance(cell, bool) or (isinstance(cell, str) and cell.strip() in ANY):
        return None
    if not isinstance(cell, str):
        return float(cell)
    try:
        return float(cell.strip().lstrip("<>=!").strip())
    except ValueError:
        return cell.strip()


def _texts(message: Message | None) -> Texts | None:
    return None if message is None else message.both()


def _actions(entries: list[ActionEntry]) -> tuple[Action, ...]:
    return tuple(
        Action(
            action_type=entry.action_type,
            priority=entry.priority,
            target=entry.target,
            on=entry.on,
            text={"ko": entry.ko or entry.en or "", "en": entry.en or entry.ko or ""},
        )
        for entry in entries
    )


def _nearest(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"nearest is {near[0]}" if near else f"there are {', '.join(known)}"
