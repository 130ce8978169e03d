"""From what a server sent to readings: which tag a value is, of the right type, at a believable time.

One monitored item (or one node of a Read) may serve many tags: the elements of an array, the fields of a structure,
or one number that two tags scale differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverHealth
from edge.drivers.opcua.addresses import Path
from edge.drivers.opcua.publish import UndecodableError
from edge.drivers.opcua.structures import BAD_INDEX_RANGE_NO_DATA, Held, PathError, Structures, held_of
from edge.drivers.opcua.wire import (
    DATE_TIME,
    KINDS,
    LOCALIZED,
    LONG,
    NULL,
    TEXT,
    UNKNOWN,
    Array,
    Changes,
    Structure,
    long_integers,
)
from edge.tags import DataType, Tag
from sync.quality import BAD, BAD_TYPE_MISMATCH, BAD_WAITING_FOR_INITIAL_DATA
from sync.reading import Readings

UNIX_EPOCH_TICKS: Final = 116_444_736_000_000_000
MAX_TICKS: Final = UNIX_EPOCH_TICKS + (2**63 - 1) // 100

_BOOLEAN, _INTEGERS, _FLOATS = {1}, set(range(2, 10)), {10, 11}
_ACCEPTED: Final[dict[DataType, set[int]]] = {
    "bool": _BOOLEAN,
    "string": {TEXT, LOCALIZED},
    "float32": _BOOLEAN | _INTEGERS | _FLOATS,
    "float64": _BOOLEAN | _INTEGERS | _FLOATS,
}
"""Tag type → built-in types its value may have; an integer tag takes any integer, whatever its width."""


@dataclass(frozen=True, slots=True)
class Target:
    """A tag and the part of an item's value that it is."""

    position: int
    path: Path


class Values:
    """Makes readings of one connection's items."""

    def __init__(self, tags: Sequence[Tag], health: DriverHealth) -> None:
        self.columns = TagColumns(tags)
        self.structures = Structures()
        self.seen = np.zeros(len(tags), np.bool_)
        """Tags of which anything was said since the connection was made."""
        self.last_status: NDArray[np.uint32] = np.zeros(0, np.uint32)
        """Newest status of each item, as the server said it."""
        self._health = health
        self._accepts = np.zeros((len(tags), KINDS), np.bool_)
        for i, tag in enumerate(tags):
            self._accepts[i, list(_ACCEPTED.get(tag.spec.type, _BOOLEAN | _INTEGERS) | {NULL})] = True
            self._accepts[i, DATE_TIME] = tag.spec.role == "clock"
        self._mistyped = np.zeros(len(tags), np.bool_)
        self._direct: NDArray[np.intp] = np.zeros(0, np.intp)
        self._targets: list[list[Target]] = []
        self._elements: dict[int, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}

    def serve(self, targets: list[list[Target]]) -> None:
        """Say which tags each item serves; an item's place in the list is its handle."""
        self._targets = targets
        self.last_status = np.zeros(len(targets), np.uint32)
        self._direct = np.fromiter((t[0].position if len(t) == 1 and not t[0].path else -1 for t in targets), np.intp)
        self._elements = {
            handle: (
                np.fromiter((target.position for target in each), np.intp),
                np.fromiter((target.path[0] for target in each), np.intp),
            )
            for handle, each in enumerate(targets)
            if each and all(len(target.path) == 1 and isinstance(target.path[0], int) for target in each)
        }

    def tags_of(self, handles: Iterable[int]) -> list[int]:
        """Give the positions of the tags that these items serve."""
        return [target.position for handle in handles for target in self._targets[handle]]

    def untold(self, changes: Changes) -> dict[ua.NodeId, int]:
        """Give the encodings of structures that the server was not asked about yet → handle of an item that has one."""
        if not changes.parts:
            return {}
        found: dict[ua.NodeId, int] = {}
        for row, part in changes.parts.items():
            each = [part] if isinstance(part, Structure) else part.items if part.kind == 22 else []
            for structure in each:
                if isinstance(structure, Structure) and not self.structures.knows(structure.encoding):
                    found.setdefault(structure.encoding, int(changes.handle[row]))
        return found

    def readings(self, changes: Changes, received: int) -> Readings:
        """Give the readings of what the server sent. Raises UndecodableError for an item nobody asked for."""
        handle = changes.handle.astype(np.intp)
        if int(handle.max(initial=0)) >= len(self._direct):
            raise UndecodableError("a value for an item nobody asked for")
        self._health.notifications += len(handle)
        self._health.overflows += int(np.count_nonzero((changes.status & np.uint32(0xC80)) == np.uint32(0x480)))
        self.last_status[handle] = changes.status
        position = self._direct[handle]
        fanned = np.flatnonzero(position < 0)
        if fanned.size == 0:
            return self._readings(position, changes, {}, received)
        rows = _Rows(self, changes)
        for row in fanned.tolist():
            rows.add(row, self._targets[handle[row]], self._elements.get(int(handle[row])))
        kept = np.flatnonzero(position >= 0)
        spread, more, why = rows.columns()
        whole = _joined(_taken(changes, kept), spread)
        why = {row + len(kept): told for row, told in why.items()}
        return self._readings(np.concatenate([position[kept], more]), whole, why, received)

    def _readings(
        self, position: NDArray[np.intp], changes: Changes, refused: dict[int, PathError], received: int
    ) -> Readings:
        """Give readings of columns with one row per tag. refused: row → why a value has no such part."""
        kind, status, value, other = changes.kind, changes.status, changes.value, changes.other
        self.seen[position] = True
        said_bad = (status & np.uint32(BAD)) != 0
        mistyped = ~self._accepts[position, kind] & ~said_bad
        turned = mistyped != self._mistyped[position]
        if turned.any():
            self._note_types(np.flatnonzero(turned), position, kind, mistyped, refused)
        if other and mistyped.any():
            other = {row: held for row, held in other.items() if not mistyped[row]}
        status = np.where(mistyped, np.uint32(BAD_TYPE_MISMATCH), status)
        for row, why in refused.items():
            if mistyped[row]:
                status[row] = why.status
        absent = np.isnan(value) & ((kind == NULL) | (kind == TEXT) | (kind == LOCALIZED))
        if absent.any():
            absent[list(other)] = False
            status = np.where(absent & ~said_bad & ~mistyped, np.uint32(BAD_WAITING_FOR_INITIAL_DATA), status)
        dated = kind == DATE_TIME
        if dated.any():
            value = np.where(dated, (value - UNIX_EPOCH_TICKS) / 10_000, value)  # a clock tag is in ms since 1970
        return self.columns.readings(
            position,
            value,
            status,
            source_time=unix_ns(changes.source),
            server_time=unix_ns(changes.server),
            received=received,
            other=other,
        )

    def _note_types(
        self,
        rows: NDArray[np.intp],
        position: NDArray[np.intp],
        kind: NDArray[np.uint8],
        mistyped: NDArray[np.bool_],
        refused: dict[int, PathError],
    ) -> None:
        """Note which tags give another type than before, and say it."""
        for row in rows.tolist():
            place = int(position[row])
            tag = self.columns.tags[place]
            self._mistyped[place] = mistyped[row]
            if not mistyped[row]:
                self._health.bad_items.pop(tag.index, None)
            elif row in refused:
                self._health.bad_items[tag.index] = f"{tag.address}: {refused[row]}"
            else:
                given = ua.VariantType(int(kind[row])).name if kind[row] < KINDS - 1 else "an array or structure"
                self._health.bad_items[tag.index] = f"{tag.address} gives {given}, the book says {tag.spec.type}"


class _Rows:
    """Rows of tags that share an item, as they are found."""

    def __init__(self, values: Values, changes: Changes) -> None:
        self._structures = values.structures
        self._changes = changes
        self._position: list[NDArray[np.intp]] = []
        self._row: list[NDArray[np.intp]] = []
        self._kind: list[NDArray[np.uint8]] = []
        self._value: list[NDArray[np.float64]] = []
        self._count = 0
        self._other: dict[int, str | int] = {}
        self._refused: dict[int, PathError] = {}

    def add(self, row: int, targets: list[Target], elements: tuple[NDArray[np.intp], NDArray[np.intp]] | None) -> None:
        """Add the tags that share the item of this row."""
        part = self._changes.parts.get(row)
        if isinstance(part, Array) and isinstance(part.items, np.ndarray) and part.items.ndim == 1 and elements:
            self._add_elements(row, part, *elements)
            return
        n = len(targets)
        kind, value = np.full(n, self._changes.kind[row]), np.full(n, np.nan)
        whole = self._whole(row, part)
        for i, target in enumerate(targets):
            if whole is None:  # no value at all, or none that anybody reads
                continue
            try:
                at, held = self._structures.pick(whole, target.path)
            except PathError as error:
                kind[i] = UNKNOWN
                self._refused[self._count + i] = error
                continue
            kind[i] = at
            if isinstance(held, str) or (at in LONG and isinstance(held, int) and abs(held) > 2**53):
                self._other[self._count + i] = held
            elif held is not None:
                value[i] = held
        self._append(np.fromiter((target.position for target in targets), np.intp), row, kind, value)

    def _whole(self, row: int, part: Array | Structure | None) -> Held | None:
        """Give the value of a row as the start of a path; a structure is opened here, once for all its tags."""
        kind = int(self._changes.kind[row])
        if isinstance(part, Structure):
            try:
                return 22, self._structures.open(part)
            except PathError:
                return 22, part  # each of its tags says why
        if part is not None:
            return held_of(part)
        if kind in {NULL, UNKNOWN}:
            return None
        value = self._changes.value[row]
        held: Any = self._changes.other.get(row, None if np.isnan(value) and kind not in {10, 11} else float(value))
        return kind, held

    def _add_elements(self, row: int, part: Array, position: NDArray[np.intp], element: NDArray[np.intp]) -> None:
        raw: Any = part.items
        there = element < len(raw)
        value = np.full(len(element), np.nan)
        value[there] = raw[element[there]].astype(np.float64)
        if part.kind in LONG:
            rows = np.flatnonzero(there)
            exact = value[rows]
            for i, held in long_integers(raw[element[rows]], exact).items():
                self._other[self._count + int(rows[i])] = held
            value[rows] = exact
        kind = np.where(there, np.uint8(part.kind), np.uint8(UNKNOWN))
        for i in np.flatnonzero(~there).tolist():
            why = f"[{element[i]}]: the value is an array of {len(raw)}, counted from 0"
            self._refused[self._count + i] = PathError(why, BAD_INDEX_RANGE_NO_DATA)
        self._append(position, row, kind, value)

    def _append(
        self, position: NDArray[np.intp], row: int, kind: NDArray[np.uint8], value: NDArray[np.float64]
    ) -> None:
        self._position.append(position)
        self._row.append(np.full(len(position), row, np.intp))
        self._kind.append(kind)
        self._value.append(value)
        self._count += len(position)

    def columns(self) -> tuple[Changes, NDArray[np.intp], dict[int, PathError]]:
        """Give the rows as columns, the tag of each, and which have no such part."""
        row = np.concatenate(self._row)
        changes = self._changes
        return (
            Changes(
                handle=changes.handle[row],
                kind=np.concatenate(self._kind),
                value=np.concatenate(self._value),
                status=changes.status[row],
                source=changes.source[row],
                server=changes.server[row],
                other=self._other,
            ),
            np.concatenate(self._position),
            self._refused,
        )


def _taken(changes: Changes, rows: NDArray[np.intp]) -> Changes:
    place = {int(old): new for new, old in enumerate(rows)} if changes.other else {}
    return Changes(
        handle=changes.handle[rows],
        kind=changes.kind[rows],
        value=changes.value[rows],
        status=changes.status[rows],
        source=changes.source[rows],
        server=changes.server[rows],
        other={place[row]: held for row, held in changes.other.items() if row in place},
    )


def _joined(one: Changes, two: Changes) -> Changes:
    n = len(one.handle)
    return Changes(
        handle=np.concatenate([one.handle, two.handle]),
        kind=np.concatenate([one.kind, two.kind]),
        value=np.concatenate([one.value, two.value]),
        status=np.concatenate([one.status, two.status]),
        source=np.concatenate([one.source, two.source]),
        server=np.concatenate([one.server, two.server]),
        other=one.other | {row + n: held for row, held in two.other.items()},
    )


def unix_ns(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give ns since 1970 of 100 ns since 1601; 0 stays 0, and a time before 1970 becomes 1 ns, which nobody believes."""
    unix = (np.minimum(ticks, MAX_TICKS) - UNIX_EPOCH_TICKS) * 100
    return np.where(ticks == 0, 0, np.where(ticks <= UNIX_EPOCH_TICKS, 1, unix))
