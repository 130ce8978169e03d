"""Recorded verdicts as columns: what a back-test runs over. One row a verdict, lines one after the other, each in its order.

Rows carry what `replay.carried` would give of the same record, name by name; what it does not hold is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.judgment.given import FORM, Given
from edge.judgment.names import LineNames
from edge.judgment.replay import aliases, needs, slot_types
from edge.judgment.state import Held, State, restore
from models.expression_checker import Value, ValueType
from models.expression_columns import Column
from models.ruleset import Ruleset
from models.ruleset_inputs import NS_PER_S
from sync.facts import Context, Judged
from sync.judgment import Scored


class Listed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="verdict"):
    """The part of a verdict's fact that says whether it is meant."""

    at: int
    verdict_id: str
    work_unit: str = ""
    ruleset: str
    decision: str
    context: Context = Context()


class Recorded(Listed, frozen=True, kw_only=True, tag_field="kind", tag="verdict"):
    """The part of a verdict's fact that a back-test reads: a third of the time it takes to read the whole."""

    start: int
    ruleset_version: str
    ruleset_hash: str
    severity: str
    confidence: float
    source: str
    inputs: dict[str, Value | None] = {}
    form: int = 1
    state: str = ""
    ml: Scored | None = None


AnyRecorded = Judged | Recorded

_MISSING: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the keys of a record's inputs say; many records have the same keys."""

    values: tuple[str, ...]
    faults: dict[str, str]
    blind: bool


class Past:
    """Columns over recorded verdicts. Made once; asked by any number of rulesets."""

    def __init__(self, facts: Sequence[AnyRecorded]) -> None:
        """facts: in the order recorded; those from before form 2 keep too little and are counted in `unrepeatable`."""
        usable = [fact for fact in facts if fact.form >= FORM and "verdict:memory" in fact.inputs]
        self.unrepeatable = len(facts) - len(usable)
        by_line: dict[str, list[AnyRecorded]] = {}
        for fact in usable:
            by_line.setdefault(fact.work_unit, []).append(fact)
        self.facts: list[AnyRecorded] = [fact for line in by_line.values() for fact in line]
        self.rows = len(self.facts)
        self.lines = list(by_line)
        self.first: NDArray[np.bool_] = np.zeros(self.rows, np.bool_)
        """Rows that begin a line."""
        ends = np.cumsum([len(line) for line in by_line.values()])
        if self.rows:
            self.first[np.concatenate([[0], ends[:-1]])] = True
        self.inputs = [fact.inputs for fact in self.facts]
        self.start = np.array([fact.start for fact in self.facts], np.int64)
        self.end = np.array([fact.at for fact in self.facts], np.int64)
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._keys = [tuple(one) for one in self.inputs]
        for keys in set(self._keys):
            self._layouts[keys] = _layout(keys)
        self._columns: dict[tuple[str, ValueType], Column] = {}
        self._memory: list[State] | None = None

    # --- columns

    def columns(self, ruleset: Ruleset) -> dict[str, Column]:
        """Give the inputs of a ruleset's program, by name."""
        types = slot_types(ruleset)
        return {name: self._column(name, types[name]) for name in ruleset.program.variables}

    def _column(self, name: str, kind: ValueType) -> Column:
        known = self._columns.get((name, kind))
        if known is None:
            known = self._columns[name, kind] = _typed(self._values(name), kind)
        return known

    def _values(self, name: str) -> list[Value | None]:
        values: list[Any] = [one.get(name, _MISSING) for one in self.inputs]
        for same in aliases(name)[1:]:
            values = [
                one.get(same, _MISSING) if value is _MISSING else value
                for value, one in zip(values, self.inputs, strict=True)
            ]
        told = _of_fact(name)
        return [
            (None if told is None else told(fact)) if value is _MISSING else value
            for value, fact in zip(values, self.facts, strict=True)
        ]

    def history(self) -> NDArray[np.float64]:
        """Give how often rated verdicts were right, as it was known at each."""
        return np.array([one["verdict:history"] for one in self.inputs], np.float64)

    def trust(self, ruleset: Ruleset, names: LineNames | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give of every row how many tags a ruleset's verdict needs, and how many of them are not fully trusted."""
        found: dict[tuple[Any, ...], tuple[int, int]] = {}
        needed, faults = np.empty(self.rows, np.int64), np.empty(self.rows, np.int64)
        for row, (fact, keys) in enumerate(zip(self.facts, self._keys, strict=True)):
            layout = self._layouts[keys]
            own = fact.ruleset_hash == ruleset.hash
            if own:
                needed[row], faults[row] = round(cast("float", fact.inputs["verdict:needed"])), len(layout.faults)
                continue
            blind = fact.inputs.get("verdict:blind", "")
            key = (keys, fact.inputs["verdict:needed"], blind)
            answer = found.get(key)
            if answer is None:
                given = Given(
                    work_unit=fact.work_unit, start=0, end=0, state="", context=Context(),
                    values=dict.fromkeys(layout.values), faults=layout.faults, blind=str(blind).split(),
                    needed=round(cast("float", fact.inputs["verdict:needed"])),
                )  # fmt: skip
                told, number = needs(given, ruleset, names)
                answer = found[key] = (number, len(told))
            needed[row], faults[row] = answer
        return needed, faults

    def blind(self) -> NDArray[np.bool_]:
        """Give which rows lack a required input, so that nobody could judge them."""
        by_keys = {keys: layout.blind for keys, layout in self._layouts.items()}
        return np.array([by_keys[keys] for keys in self._keys], np.bool_)

    # --- the memory of that time

    def memory(self, row: int) -> State:
        """Give what the line remembered when a row was judged."""
        if self._memory is None:
            texts = [cast("str", one["verdict:memory"]) for one in self.inputs]
            states = {text: restore(text.encode()) for text in set(texts)}
            self._memory = [states[text] for text in texts]
        return self._memory[row]

    def held(self, check: str) -> dict[int, Held]:
        """Give what a check of this name remembered when a row was judged; rows where it is nothing are left out."""
        return {row: held for row in range(self.rows) if (held := self.memory(row).held.get(check)) is not None}

    def units(self, row: int) -> dict[str, str]:
        """Give the units a row's record holds."""
        return {name[5:]: cast("str", unit) for name, unit in self.inputs[row].items() if name.startswith("unit:")}


def _layout(keys: tuple[str, ...]) -> _Layout:
    return _Layout(
        values=tuple(key for key in keys if ":" not in key),
        faults={key.removeprefix("fault:"): "bad" for key in keys if key.startswith("fault:")},
        blind="verdict:blind" in keys,
    )


def _of_fact(name: str) -> Callable[[AnyRecorded], Value | None] | None:
    """Give how a name is read from the fact itself, where its inputs do not hold it."""
    head, _, part = name.partition(".")
    if name == "state":
        return lambda fact: fact.state
    if name == "window.duration_s":
        return lambda fact: (fact.at - fact.start) / NS_PER_S
    if head == "context":
        return lambda fact: getattr(fact.context, part, None)
    return None


def _typed(values: list[Value | None], kind: ValueType) -> Column:
    """Give values as a column of a type; one of another type is unknown, as in a replay."""
    match kind:
        case "string":
            return Column.texts([value if isinstance(value, str) else None for value in values])
        case "bool":
            known = np.array([isinstance(value, bool) for value in values], np.bool_)
            return Column(np.array([value is True for value in values], np.bool_), None if known.all() else known)
        case _:
            numbers = [
                value if type(value) is float or (isinstance(value, int) and not isinstance(value, bool)) else None
                for value in values
            ]
            return Column.numbers(np.array(numbers, np.float64))
