"""A program over many windows at once: typed trees + columns → columns. For back-tests, features and history.

Three-valued and exactly what `expression_interpreter.evaluate` says of every row, bit for bit; where a row is unknown,
the interpreter, asked for that row alone, says why. Both sides of `&&`, `||` and `?:` are computed and the masks
combined, in blocks that stay in the processor's cache.

    temperature = Column.numbers(np.array([61.0, 90.0, np.nan]))
    (hot,) = evaluate_columns(program, {"oil_temperature": temperature}, rows=3)     # hot.known [True, True, False]
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.expression_checker import Const, Op, Slot, Typed, Value, ValueType
from models.expression_compiler import Program
from models.expression_vectors import OPERATIONS, Mask, Vector, both, combined, known

BLOCK: Final = 16_384
"""Rows that are worked on together: a few temporary columns of this length lie in a second-level cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One name over n rows: float64, int64 or bool values, or codes into the categories of a text."""

    values: NDArray[Any]
    """(n,) float64, int64, bool; int32 codes when there are categories. Where a row is unknown it holds anything."""
    known: NDArray[np.bool_] | None = None
    """(n,) which rows have a value; None = all."""
    categories: tuple[str, ...] | None = None
    """Texts the codes stand for."""

    @staticmethod
    def numbers(values: NDArray[np.float64], known: NDArray[np.bool_] | None = None) -> Column:
        """Give a column of doubles; what is not finite is unknown, as it is on the line."""
        values = np.asarray(values, np.float64)
        finite = np.isfinite(values)
        return Column(values, known if finite.all() else finite if known is None else finite & known)

    @staticmethod
    def booleans(values: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> Column:
        """Give a column of true and false."""
        return Column(np.asarray(values, np.bool_), known)

    @staticmethod
    def integers(values: NDArray[np.int64], known: NDArray[np.bool_] | None = None) -> Column:
        """Give a column of whole numbers of 64 bits."""
        return Column(np.asarray(values, np.int64), known)

    @staticmethod
    def texts(values: Sequence[str | None]) -> Column:
        """Give a column of texts; None is unknown. Equal texts are held once."""
        codes: dict[str, int] = {}
        found = np.fromiter(
            (-1 if text is None else codes.setdefault(text, len(codes)) for text in values), np.int32, len(values)
        )
        known = found >= 0
        return Column(np.maximum(found, 0), None if known.all() else known, tuple(codes) or ("",))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def type(self) -> ValueType:
        """Type of the values."""
        if self.categories is not None:
            return "string"
        kinds: dict[str, ValueType] = {"f": "double", "i": "int", "b": "bool"}
        return kinds[self.values.dtype.kind]

    def __getitem__(self, row: int) -> Value | None:
        """Give the value of a row; None when it is unknown."""
        if self.known is not None and not self.known[row]:
            return None
        value = self.values[row].item()
        return value if self.categories is None else self.categories[value]


ColumnResult = Column
"""A result is a column like any other; it may be the input of the next program. Unknown rows hold 0, False or ""."""


def evaluate_columns(program: Program, columns: Mapping[str, Column], rows: int) -> list[ColumnResult]:
    """Give one column per expression of a program.

    columns: name → its values, each `rows` long; a name without one, or with one of another type than it was checked
    with, is unknown in every row. ints are taken where doubles are needed.
    Raises ValueError for a column of another length.
    """
    for name, column in columns.items():
        if len(column) != rows:
            raise ValueError(f"column {name} has {len(column)} rows, not {rows}")
    kinds = _slot_types(program.trees)
    inputs = [_fit(columns.get(name), kinds.get(place)) for place, name in enumerate(program.variables)]
    parts: list[list[Vector]] = [[] for _ in program.trees]
    with np.errstate(all="ignore"):  # what has no value is found and masked
        for start in range(0, max(rows, 1), BLOCK):
            block = _Block(inputs, start, min(start + BLOCK, rows))
            for part, tree in zip(parts, program.trees, strict=True):
                part.append(block.cleared(tree))
    return [_joined(part) for part in parts]


def _slot_types(trees: Sequence[Typed]) -> dict[int, ValueType]:
    found: dict[int, ValueType] = {}
    waiting: list[Typed] = list(trees)
    while waiting:
        match waiting.pop():
            case Slot(index, kind):
                found[index] = kind
            case Op(arguments=arguments):
                waiting += arguments
            case Const():
                pass
    return found


def _fit(column: Column | None, kind: ValueType | None) -> Column | None:
    """Give a column as the type its name was checked with; None when there is none that fits."""
    if column is None or kind is None or column.type == kind:
        return column
    if (column.type, kind) == ("int", "double"):
        return Column(column.values.astype(np.float64), column.known)
    return None


_EMPTY: Final[dict[ValueType, Any]] = {"double": np.float64(0), "int": np.int64(0), "bool": np.False_}


def _blank(kind: ValueType, rows: int) -> Vector:
    """Give a vector of which nothing is known."""
    nothing = np.zeros(rows, np.bool_)
    if kind == "string":
        return Vector(np.zeros(rows, np.int32), nothing, ("",))
    return Vector(np.full(rows, _EMPTY[kind]), nothing)


class _Block:
    """Some rows of every input."""

    def __init__(self, inputs: Sequence[Column | None], start: int, stop: int) -> None:
        self._inputs = inputs
        self._rows = slice(start, stop)
        self._size = stop - start
        self._read: dict[int, Vector] = {}

    def cleared(self, tree: Typed) -> Vector:
        """Give a tree's rows as an array of the block's length, with nothing where nothing is known."""
        found = self.evaluate(tree)
        values = np.asarray(found.values)
        if values.ndim == 0:
            values = np.full(self._size, values)
        if found.known is None or found.known.all():
            return Vector(values, None, found.categories)
        which = np.broadcast_to(found.known, values.shape)
        return Vector(np.where(which, values, values.dtype.type(0)), which, found.categories)

    def evaluate(self, tree: Typed) -> Vector:
        """Give the value of a tree on every row; constants stay single."""
        match tree:
            case Const():
                return _constant(tree)
            case Slot():
                return self._slot(tree)
            case Op(name="and" | "or" as name):
                return self._absorbing(tree, absorbs=name == "or")
            case Op(name="if"):
                return self._chosen(tree)
            case Op(name="has", arguments=(Slot() as slot,)):
                found = self._slot(slot).known
                return Vector(np.True_ if found is None else found)
            case Op():
                return self._strict(tree)

    def _slot(self, slot: Slot) -> Vector:
        read = self._read.get(slot.index)
        if read is None:
            column = self._inputs[slot.index]
            if column is None:
                read = _blank(slot.type, self._size)
            else:
                mask = column.known
                read = Vector(column.values[self._rows], None if mask is None else mask[self._rows], column.categories)
            self._read[slot.index] = read
        return read

    def _absorbing(self, tree: Op, *, absorbs: bool) -> Vector:
        """`&&` is decided by one false, `||` by one true, whatever stands beside it."""
        operands = [self.evaluate(argument) for argument in tree.arguments]
        everywhere = known(*operands)
        if everywhere is None:
            combine = np.logical_or if absorbs else np.logical_and
            return Vector(functools.reduce(combine, [one.values for one in operands]))
        decided: Any = np.False_
        for one in operands:
            deciding = one.values if absorbs else np.logical_not(one.values)
            decided = decided | (deciding if one.known is None else deciding & one.known)
        return Vector(decided if absorbs else np.logical_not(decided), everywhere | decided)

    def _chosen(self, tree: Op) -> Vector:
        """Give the rows of a chain `a ? x : b ? y : z`; a loop, since a table's chain is as long as the table."""
        cases: list[tuple[Vector, Vector]] = []
        rest: Typed = tree
        while isinstance(rest, Op) and rest.name == "if":
            condition, yes, rest = rest.arguments
            cases.append((self.evaluate(condition), self.evaluate(yes)))
        result = self.evaluate(rest)
        for condition, yes in reversed(cases):
            result = _either(condition, yes, result)
        return result

    def _strict(self, tree: Op) -> Vector:
        arguments = [self.evaluate(argument) for argument in tree.arguments]
        return OPERATIONS[tree.name](*arguments)


def _constant(tree: Const) -> Vector:
    if isinstance(tree.value, str):
        return Vector(np.int32(0), None, (tree.value,))
    kinds: dict[ValueType, Any] = {"double": np.float64, "int": np.int64, "bool": np.bool_}
    return Vector(kinds[tree.type](tree.value))


def _either(condition: Vector, yes: Vector, no: Vector) -> Vector:
    categories = None
    if yes.categories is not None and no.categories is not None:
        yes, no, categories = combined(yes, no)
    values = np.where(condition.values, yes.values, no.values)
    chosen: Mask = None
    if yes.known is not None or no.known is not None:
        chosen = np.where(
            condition.values, True if yes.known is None else yes.known, True if no.known is None else no.known
        )
    return Vector(values, both(condition.known, chosen), categories)


def _joined(parts: Sequence[Vector]) -> Column:
    """Put the blocks of one result together."""
    known: NDArray[np.bool_] | None = None
    if any(part.known is not None for part in parts):
        known = np.concatenate(
            [np.ones(len(part.values), np.bool_) if part.known is None else part.known for part in parts]
        )
    if parts[0].categories is None:
        return Column(np.concatenate([part.values for part in parts]), known)
    codes: dict[str, int] = {}
    values: list[NDArray[np.int32]] = []
    for part in parts:
        used, places = np.unique(part.values, return_inverse=True)
        own = [codes.setdefault(part.texts[code], len(codes)) for code in used.tolist()]
        values.append(np.array(own, np.int32)[places])
    return Column(np.concatenate(values), known, tuple(codes))
