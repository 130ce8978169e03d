"""Decision tables: rows of cells, each a test on its input; the first row that fits answers, or the worst of all that fit."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection
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
    gate = compiler.gate(entry, path)
    if entry.value is not None and entry.value not in entry.inputs:
        compiler.blame((*path, "value"), f"{entry.value!r} is no input; {nearest(entry.value, entry.inputs)}")
        return None
    conditions = [_row(compiler, row, inputs, (*path, "row", position)) for position, row in enumerate(entry.rows)]
    for position, (condition, after) in enumerate(itertools.pairwise(conditions)):
        if condition == ALWAYS and after is not None:
            problem = f"row {position + 2} can never answer; row {position + 1} fits always"
            compiler.blame((*path, "row", position + 1, "when"), problem)
            return None
    good = [condition for condition in conditions if condition is not None]
    if gate is False or None in inputs.values() or len(good) < len(conditions):
        return None
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
        worst=entry.hit_policy == "worst",
    )


def nearest(name: str, known: Collection[str]) -> str:
    """Say which of the known names was probably meant."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"nearest is {near[0]}" if near else f"there are {', '.join(known)}"


def _row(compiler: Compiler, row: RowEntry, inputs: dict[str, Typed | None], path: Path) -> Typed | None:
    """Give the condition of a row: all its cells together."""
    cells = [_named_cell(compiler, name, cell, inputs, (*path, "when", name)) for name, cell in row.when.items()]
    tests = tuple(cell for cell in cells if cell is not None and cell != ALWAYS)
    if None in cells:
        return None
    if not tests:
        return ALWAYS
    return tests[0] if len(tests) == 1 else Op("and", tests, "bool")


def _named_cell(
    compiler: Compiler, name: str, cell: str | float | bool, inputs: dict[str, Typed | None], place: Path
) -> Typed | None:
    if name not in inputs:
        compiler.blame(place, f"{name!r} is no input of this table; {nearest(name, inputs)}")
        return None
    if isinstance(cell, str) and cell.strip() in ANY:
        return ALWAYS
    value = inputs[name]
    return None if value is None else _cell(compiler, name, cell, value, place)


def _cell(compiler: Compiler, name: str, cell: str | float | bool, value: Typed, place: Path) -> Typed | None:
    """Give a cell as a condition on its input; names in it mean what they mean everywhere."""
    tree: Node = Binary(0, "==", Name(0, name), Literal(0, cell))
    if isinstance(cell, str) and cell.strip().startswith(_OPERATORS):
        try:
            tree = parse_test(cell, Name(0, name))
        except ExpressionError as error:
            compiler.blame(place, error)
            return None
    return compiler.typed_with(str(cell), tree, {name: value}, place, "bool")


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
