"""Lists of DataValues as columns, straight from the bytes: what a server publishes and what it answers to a Read.

The library turns every value into four objects, which is 94 % of a client's CPU. Here items that all look alike (one
type, one set of timestamps) become one numpy view, and mixed ones are walked with `struct`: scalars, arrays of them,
and structures as the bytes they are (`structures.py` reads those). What is none of these is left to the library.
Layout: OPC UA Part 6, 5.2 (binary encoding). Picoseconds follow their own timestamp there; asyncua 2.1 writes and
reads both timestamps first, so a message with picoseconds must not reach its decoder.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary
from numpy.typing import NDArray

from edge.drivers.columns import EXACT

NULL, DATE_TIME, TEXT, BYTES, LOCALIZED, STRUCTURE, UNKNOWN = 0, 13, 12, 15, 21, 22, 31
"""Built-in types that are no number; UNKNOWN stands for whatever is no scalar."""
KINDS: Final = 32
LONG: Final = frozenset({8, 9})

U32, I32, I64 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<q")
_NUMPY: Final[dict[int, str]] = {
    1: "u1", 2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8", 13: "<i8"
}  # fmt: skip
_SCALAR: Final[dict[int, struct.Struct]] = {
    kind: struct.Struct("<" + {"u1": "B", "i1": "b", "<i2": "h", "<u2": "H", "<i4": "i", "<u4": "I", "<i8": "q", "<u8": "Q",
                               "<f4": "f", "<f8": "d"}[name])
    for kind, name in _NUMPY.items()
}  # fmt: skip
_SCALAR[1] = struct.Struct("<?")
_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_ARRAY, _DIMENSIONS = 0x80, 0x40


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array value: its elements' built-in type, and a numpy array, or a list of texts or structures."""

    kind: int
    items: NDArray[np.generic] | list[str | None] | list[Structure]


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure as the server encoded it."""

    encoding: ua.NodeId
    """Of the encoding, which says what the bytes mean; null for an empty ExtensionObject."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """Values as columns of one length n, in the order the server sent them."""

    handle: NDArray[np.uint32]
    """ClientHandle of each item; in an answer to a Read the place of each node in the request."""
    kind: NDArray[np.uint8]
    """Built-in type id of each value (Part 6, table 1)."""
    value: NDArray[np.float64]
    """NaN where there is none, or where it stands in `other` or `parts`."""
    status: NDArray[np.uint32]
    source: NDArray[np.int64]
    """100 ns since 1601 UTC; 0 for none."""
    server: NDArray[np.int64]
    other: dict[int, str | int]
    """Row → text, or integer beyond 2**53."""
    parts: dict[int, Array | Structure] = field(default_factory=dict[int, "Array | Structure"])
    """Row → a value that has parts; its kind is UNKNOWN."""


def walk(b: bytes, p: int, count: int, *, handled: bool) -> tuple[Changes, int] | None:
    """Read `count` items at p and give them with where they end; None when one of them is for the library.

    handled: a ClientHandle stands before each DataValue. May raise struct.error, IndexError or ValueError on bytes
    that are cut short.
    """
    return _uniform(b, p, count, handled=handled) or _mixed(b, p, count, handled=handled)


@functools.cache
def _layout(mask: int, kind: int, *, handled: bool) -> np.dtype[np.void]:
    """Give the record of one item with this DataValue mask and this built-in type."""
    fields = [("handle", "<u4")] if handled else []
    fields += [("mask", "u1"), ("kind", "u1"), ("value", _NUMPY[kind])]
    fields += [("status", "<u4")] if mask & _STATUS else []
    fields += [("source", "<i8")] if mask & _SOURCE else []
    fields += [("source_pico", "<u2")] if mask & _SOURCE_PICO else []
    fields += [("server", "<i8")] if mask & _SERVER else []
    fields += [("server_pico", "<u2")] if mask & _SERVER_PICO else []
    return np.dtype(fields)


def _uniform(b: bytes, p: int, count: int, *, handled: bool) -> tuple[Changes, int] | None:
    """Read items that are all alike as one array; None when they are not."""
    first = p + 4 if handled else p
    mask, kind = b[first], b[first + 1]
    if not mask & _VALUE or mask > 63 or kind not in _NUMPY:
        return None
    layout = _layout(mask, kind, handled=handled)
    if p + count * layout.itemsize > len(b):
        return None
    items = np.frombuffer(b, layout, count, p)
    if not ((items["mask"] == mask).all() and (items["kind"] == kind).all()):
        return None
    raw = items["value"]
    value = (raw != 0).astype(np.float64) if kind == 1 else raw.astype(np.float64)
    return Changes(
        handle=items["handle"].astype(np.uint32) if handled else np.arange(count, dtype=np.uint32),
        kind=np.full(count, kind, np.uint8),
        value=value,
        status=items["status"].astype(np.uint32) if mask & _STATUS else np.zeros(count, np.uint32),
        source=items["source"].astype(np.int64) if mask & _SOURCE else np.zeros(count, np.int64),
        server=items["server"].astype(np.int64) if mask & _SERVER else np.zeros(count, np.int64),
        other=long_integers(raw, value) if kind in LONG else {},
    ), p + count * layout.itemsize


def long_integers(raw: NDArray[np.int64] | NDArray[np.uint64], value: NDArray[np.float64]) -> dict[int, str | int]:
    """Give row → integer beyond 2**53 of a column of 64-bit integers, and take it out of `value`."""
    beyond = np.flatnonzero((raw > EXACT) | (raw < -EXACT) if raw.dtype.kind == "i" else raw > EXACT)
    value[beyond] = np.nan
    return {int(row): int(raw[row]) for row in beyond}


def _mixed(b: bytes, p: int, count: int, *, handled: bool) -> tuple[Changes, int] | None:
    """Read items one by one; None at the first that is for the library."""
    if count > len(b) - p:
        raise ValueError("more items than the message has bytes")
    handles, kinds, values = list(range(count)), bytearray(count), [np.nan] * count
    states, sources, servers = [0] * count, [0] * count, [0] * count
    other: dict[int, str | int] = {}
    parts: dict[int, Array | Structure] = {}
    for row in range(count):
        if handled:
            handles[row] = U32.unpack_from(b, p)[0]
            p += 4
        mask = b[p]
        p += 1
        if mask > 63:
            return None
        if mask & _VALUE:
            kind = b[p]
            p += 1
            scalar = _SCALAR.get(kind)
            if scalar is not None:
                value = scalar.unpack_from(b, p)[0]
                p += scalar.size
                if kind in LONG and abs(value) > EXACT:
                    other[row] = value
                else:
                    values[row] = value
            elif kind in {TEXT, LOCALIZED}:
                text, p = _localized(b, p) if kind == LOCALIZED else _text(b, p)
                if text is not None:
                    other[row] = text
            elif kind == BYTES:
                p = _past_bytes(b, p)
            elif kind == STRUCTURE or kind & _ARRAY:
                part, p = structure_at(b, p) if kind == STRUCTURE else _array(b, p, kind)
                if part is None:
                    return None
                parts[row] = part
                kind = UNKNOWN
            elif kind != NULL:
                return None
            kinds[row] = kind
        if mask & _STATUS:
            states[row] = U32.unpack_from(b, p)[0]
            p += 4
        if mask & _SOURCE:
            sources[row] = I64.unpack_from(b, p)[0]
            p += 8
        p += 2 if mask & _SOURCE_PICO else 0
        if mask & _SERVER:
            servers[row] = I64.unpack_from(b, p)[0]
            p += 8
        p += 2 if mask & _SERVER_PICO else 0
    return Changes(
        handle=np.array(handles, np.uint32),
        kind=np.frombuffer(kinds, np.uint8),
        value=np.array(values, np.float64),
        status=np.array(states, np.uint32),
        source=np.array(sources, np.int64),
        server=np.array(servers, np.int64),
        other=other,
        parts=parts,
    ), p


def _array(b: bytes, p: int, encoding: int) -> tuple[Array | None, int]:
    """Give the array at p; None for elements that only the library reads."""
    kind = encoding & 63
    count = max(0, I32.unpack_from(b, p)[0])
    p += 4
    items: Any
    if kind in _NUMPY:
        items = np.frombuffer(b, _NUMPY[kind], count, p)
        items = items != 0 if kind == 1 else items
        p += count * np.dtype(_NUMPY[kind]).itemsize
    elif count > len(b) - p:
        raise ValueError("more elements than the message has bytes")
    elif kind in {TEXT, LOCALIZED}:
        items = []
        for _ in range(count):
            text, p = _localized(b, p) if kind == LOCALIZED else _text(b, p)
            items.append(text)
    elif kind == STRUCTURE:
        items = []
        for _ in range(count):
            held, p = structure_at(b, p)
            if held is None:
                return None, p
            items.append(held)
    else:
        return None, p
    if encoding & _DIMENSIONS:
        sizes = max(0, I32.unpack_from(b, p)[0])
        shape = struct.unpack_from(f"<{sizes}i", b, p + 4)
        p += 4 + 4 * sizes
        if not isinstance(items, np.ndarray):
            return None, p
        if sizes > 1:
            items = items.reshape(shape)  # a ValueError when sizes and elements do not agree
    return Array(kind, items), p


def structure_at(b: bytes, p: int) -> tuple[Structure | None, int]:
    """Give the ExtensionObject at p; None when its body is XML or has no length."""
    begin, form = p, b[p]
    if form in {0, 1, 2}:
        p += (2, 4, 7)[form]
    elif form == 4:
        p += 19
    elif form in {3, 5}:
        p = _past_bytes(b, p + 3)
    else:
        return None, p
    encoding, body = _node(b[begin:p]), b[p]
    p += 1
    if body == 0:
        return Structure(encoding, b""), p
    length = I32.unpack_from(b, p)[0]
    if body != 1 or length < 0:
        return None, p
    p += 4
    if p + length > len(b):
        raise ValueError("a structure beyond the end of the message")
    return Structure(encoding, b[p : p + length]), p + length


@functools.lru_cache(maxsize=1000)
def _node(encoded: bytes) -> ua.NodeId:
    return nodeid_from_binary(Buffer(encoded))


def structure_of(encoded: bytes) -> Structure | None:
    """Give the ExtensionObject that these bytes are."""
    return structure_at(encoded, 0)[0]


def _past_bytes(b: bytes, p: int) -> int:
    """Give where the ByteString or String at p ends."""
    end = p + 4 + max(0, I32.unpack_from(b, p)[0])
    if end > len(b):
        raise ValueError("bytes beyond the end of the message")
    return end


def _text(b: bytes, p: int) -> tuple[str | None, int]:
    """Give the String at p, and where it ends."""
    end = _past_bytes(b, p)
    return (None if b[p + 3] & 0x80 else b[p + 4 : end].decode("utf-8")), end


def _localized(b: bytes, p: int) -> tuple[str | None, int]:
    """Give the text of a LocalizedText at p, and where it ends."""
    parts, text = b[p], None
    p += 1
    if parts & 1:
        p = _past_bytes(b, p)
    if parts & 2:
        text, p = _text(b, p)
    return text, p
