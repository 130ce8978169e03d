"""The library's DataValue objects as the columns of `wire.py`: for messages that only the library can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.ua.ua_binary import extensionobject_to_binary

from edge.drivers.columns import EXACT
from edge.drivers.opcua.wire import (
    LOCALIZED,
    LONG,
    NULL,
    STRUCTURE,
    TEXT,
    UNKNOWN,
    Array,
    Changes,
    Structure,
    structure_of,
)

_NUMERIC: Final[dict[int, type[np.generic]]] = {
    1: np.bool_, 2: np.int8, 3: np.uint8, 4: np.int16, 5: np.uint16, 6: np.int32, 7: np.uint32, 8: np.int64, 9: np.uint64,
    10: np.float32, 11: np.float64, 13: np.int64,
}  # fmt: skip
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def columns_of(values: Sequence[ua.DataValue], handles: Sequence[int]) -> Changes:
    """Make columns of DataValue objects; handles: the ClientHandle of each."""
    n = len(values)
    rows = [_row(value) for value in values]
    other: dict[int, str | int] = {}
    parts: dict[int, Array | Structure] = {}
    for row, (kind, value, _, _, _) in enumerate(rows):
        if isinstance(value, Array | Structure):
            parts[row] = value
        elif isinstance(value, str) or (kind in LONG and isinstance(value, int) and abs(value) > EXACT):
            other[row] = value
    column: Callable[[int, Any], Any] = lambda at, dtype: np.fromiter((row[at] for row in rows), dtype, n)  # noqa: E731  # one line, four uses
    apart = other.keys() | parts.keys()
    return Changes(
        handle=np.fromiter(handles, np.uint32, n),
        kind=column(0, np.uint8),
        value=np.fromiter((np.nan if i in apart or r[1] is None else r[1] for i, r in enumerate(rows)), np.float64, n),
        status=column(2, np.uint32),
        source=column(3, np.int64),
        server=column(4, np.int64),
        other=other,
        parts=parts,
    )


def _row(value: ua.DataValue) -> tuple[int, float | str | Array | Structure | None, int, int, int]:
    """Give (kind, value, status, source, server) of one DataValue."""
    status = 0 if value.StatusCode is None else int(value.StatusCode.value)
    # With picoseconds after the source time, asyncua 2.1 reads the server's time two bytes too early: better none.
    server = 0 if value.SourcePicoseconds is not None else ticks(value.ServerTimestamp)
    times = status, ticks(value.SourceTimestamp), server
    variant = value.Value
    if variant is None:
        return NULL, None, *times
    kind = int(variant.VariantType.value)
    held: Any = variant.Value
    if variant.is_array or isinstance(held, list):
        return UNKNOWN, _array(kind, held), *times
    if kind == STRUCTURE:
        return UNKNOWN, structure_of(extensionobject_to_binary(held)), *times
    if kind >= UNKNOWN:
        return UNKNOWN, None, *times
    return kind, plain(kind, held), *times


def plain(kind: int, held: Any) -> float | str | None:
    """Give a scalar as numbers and text: a time as 100 ns since 1601, a LocalizedText as its text, a ByteString as nothing."""
    if isinstance(held, datetime):
        return ticks(held)
    if kind == LOCALIZED and held is not None:
        return held.Text
    return held if kind in _NUMERIC or kind == TEXT else None


def _array(kind: int, held: Any) -> Array | None:
    """Give an array of numbers, texts or structures; None for one of anything else."""
    if kind in {TEXT, LOCALIZED}:
        return Array(kind, [plain(kind, item) for item in held or []])  # pyright: ignore[reportArgumentType]  # texts only
    if kind == STRUCTURE:
        made = [structure_of(extensionobject_to_binary(item)) for item in held or []]
        return None if None in made else Array(kind, [item for item in made if item is not None])
    if kind not in _NUMERIC:
        return None
    if kind == 13:
        held = [ticks(item) for item in held or []]
    return Array(kind, np.array(held or [], _NUMERIC[kind]))


def ticks(when: datetime | None) -> int:
    """Give a library time as 100 ns since 1601; 0 for none."""
    if when is None:
        return 0
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 10
