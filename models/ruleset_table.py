"""Decision tables: rows of cells, each a test on its input; the first row that fits answers, or the worst of all that fit."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from models.expression import ExpressionError
from models.expression_checker import Const, Op, Typed
from models.expression_parser import Binary, Literal, Name, Node, parse_test
from models.ruleset import Table
from models.ruleset_compile import Compiler, outcome
from models.ruleset_file import RowEntry, TableEntry
from models.toml_places import Path

ANY: Final = frozenset({"-", "*", ""})
"""Cells that fit whatever the input is."""
ALWAYS: Final = Const(value=True, type="bool")
_OPERATORS: Final = ("==", "!=", "<", ">", "in ", "in[")
_WORST_FIRST: Final = ("critical", "warning", "info")


def build_table(compiler: Compiler, entry: TableEntry, path: Path) -> Table | None:
    """Give the check of a [[table]]; None after its faults were told."""
    inputs = {name: compiler.typed(text, (*path, "inputs", name), None) for name, text in entry.inputs.items()}
    units = {name: compiler.unit(text) for name, text in entry.inputs.items() if inputs[name] is not None}
    gate = compiler.gate(entry, path)
    if entry.value is not None and entry.value not in entry.inputs:
        compiler.blame((*path, "value"), f"{entry.value!r} is no input; {nearest(entry.value, entry.inputs)}")
        return None
    cells = _Cells(compiler, inputs, {name: unit for name, unit in units.items() if unit is not None})
    conditions = [cells.row(row, (*path, "row", position)) for position, row in enumerate(entry.rows)]
    good = [condition for condition in conditions if condition is not None]
    if gate is False or None in inputs.values() or len(good) < len(conditions):
        return None
    if entry.value is not None:
        compiler.measured(entry.inputs[entry.value], entry.unit, path)
    rows = tuple(outcome(row, _threshold(row, entry.value)) for row in entry.rows)
    hit: Typed = Const(-1, "int")
    tried = list(range(len(good)))
    if entry.hit_policy == "worst":
        # The worst of all rows that fit is the first that fits when they are tried from the worst down.
        tried.sort(key=lambda position: _WORST_FIRST.index(rows[position].severity))
    for position in reversed(tried):
        hit = Op("if", (good[position], Const(position, "int"), hit), "int")
    return Table(
        **compiler.common(entry, gate, inputs[entry.value] if entry.value is not None else None, hit),
        hit_at=compiler.add(hit),
        rows=rows,
        conditions=tuple(good),
        inputs={name: tree for name, tree in inputs.items() if tree is not None},
        tried=tuple(tried),
    )


def nearest(name: str, known: Collection[str]) -> str:
    """Say which of the known names was probably meant."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"nearest is {near[0]}" if near else f"there are {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class _Cells:
    """Makes conditions of a table's cells."""

    compiler: Compiler
    inputs: Mapping[str, Typed | None]
    units: Mapping[str, str]

    def row(self, row: RowEntry, path: Path) -> Typed | None:
        """Give the condition of a row: all its cells together."""
        cells = [self._named(name, cell, (*path, "when", name)) for name, cell in row.when.items()]
        tests = tuple(cell for cell in cells if cell is not None and cell != ALWAYS)
        if None in cells:
            return None
        if not tests:
            return ALWAYS
        return tests[0] if len(tests) == 1 else Op("and", tests, "bool")

    def _named(self, name: str, cell: str | float | bool, place: Path) -> Typed | None:
        if name not in self.inputs:
            self.compiler.blame(place, f"{name!r} is no input of this table; {nearest(name, self.inputs)}")
            return None
        if isinstance(cell, str) and cell.strip() in ANY:
            return ALWAYS
        value = self.inputs[name]
        return None if value is None else self._cell(name, cell, value, place)

    def _cell(self, name: str, cell: str | float | bool, value: Typed, place: Path) -> Typed | None:
        """Give a cell as a condition on its input; names in it mean what they mean everywhere."""
        tree: Node = Binary(0, "==", Name(0, name), Literal(0, cell))
        if isinstance(cell, str) and cell.strip().startswith(_OPERATORS):
            try:
                tree = parse_test(cell, Name(0, name))
            except ExpressionError as error:
                self.compiler.blame(place, error)
                return None
        return self.compiler.typed_with(str(cell), tree, {name: value}, place, "bool", units=self.units)


def _threshold(row: RowEntry, shown: str | None) -> float | str | None:
    """Give what the shown input is held against: the number of a single comparison, else the cell as written."""
    cell = row.when.get(shown) if shown is not None else None
    if cell is None or isinstance(cell, bool) or (isinstance(cell, str) and cell.strip() in ANY):
        return None
    if not isinstance(cell, str):
        return float(cell)
    try:
        return float(cell.strip().lstrip("<>=!").strip())
    except ValueError:
        return cell.strip()
