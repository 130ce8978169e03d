"""What an OPC UA server publishes, as columns: decoded straight from the bytes of a PublishResponse.

The library turns every value into four objects, which is 94 % of a client's CPU. Here a message whose items all look
alike (one type, one set of timestamps) becomes one numpy view; a mixed one is walked with `struct`; and anything else
(arrays, structures, events, diagnostics) goes through the library's own decoder, so that nothing is ever guessed.
Layout: OPC UA Part 6 (binary encoding), Part 4 (Publish).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary
from numpy.typing import NDArray

from edge.drivers.columns import EXACT

NULL, TEXT, BYTES, LOCALIZED, UNKNOWN = 0, 12, 15, 21, 31
"""Built-in types that are no number; UNKNOWN stands for whatever is no scalar."""
KINDS: Final = 32

_PUBLISH_RESPONSE = b"\x01\x00" + struct.pack("<H", 829)
_DATA_CHANGE = b"\x01\x00" + struct.pack("<HB", 811, 1)
_U32, _I32, _I64 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<q")
_NUMPY: Final[dict[int, str]] = {
    1: "?", 2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8", 13: "<i8"
}  # fmt: skip
_SCALAR: Final[dict[int, struct.Struct]] = {
    kind: struct.Struct({"?": "<?", "i1": "<b", "u1": "<B", "<i2": "<h", "<u2": "<H", "<i4": "<i", "<u4": "<I",
                         "<i8": "<q", "<u8": "<Q", "<f4": "<f", "<f8": "<d"}[name])
    for kind, name in _NUMPY.items()
}  # fmt: skip
_LONG = frozenset({8, 9})
_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UndecodableError(Exception):
    """The server sent what neither we nor the library can read. The connection is of no use; say which server."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """Data changes as columns of one length n, in the order the server sent them."""

    handle: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    """Built-in type id of each value (Part 6, table 1)."""
    value: NDArray[np.float64]
    """NaN where there is none, or where it stands in `other`."""
    status: NDArray[np.uint32]
    source: NDArray[np.int64]
    """100 ns since 1601 UTC; 0 for none."""
    server: NDArray[np.int64]
    other: dict[int, str | int]
    """Row → text, or integer beyond 2**53."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """One PublishResponse."""

    subscription: int
    sequence: int
    changes: list[Changes]
    """Empty in a keep-alive, whose sequence number is that of the next message."""
    ended: int | None = None
    """StatusCode with which the server ended the subscription."""
    fast: bool = True


def decode(body: bytes) -> Publish:
    """Read the body of a PublishResponse. Raises UndecodableError."""
    try:
        quick = decode_fast(body)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        quick = None  # cut short or not what it says it is: the library shall judge
    return decode_slow(body) if quick is None else quick


def decode_fast(b: bytes) -> Publish | None:
    """Read a message of plain data changes or a keep-alive; None when there is anything else in it.

    May raise struct.error, IndexError or ValueError on a message that is cut short.
    """
    if b[:4] != _PUBLISH_RESPONSE:
        return None
    p = 16  # type, timestamp, request handle
    if _U32.unpack_from(b, p)[0] or b[p + 4] or _I32.unpack_from(b, p + 5)[0] > 0 or b[p + 9 : p + 12] != b"\0\0\0":
        return None  # a fault, diagnostics, a string table or an additional header
    p += 12
    subscription, available = struct.unpack_from("<Ii", b, p)
    p += 8 + 4 * max(available, 0) + 1
    sequence = _U32.unpack_from(b, p)[0]
    p += 12
    notifications = _I32.unpack_from(b, p)[0]
    p += 4
    changes: list[Changes] = []
    for _ in range(notifications):
        if b[p : p + 5] != _DATA_CHANGE:
            return None
        end = p + 9 + _I32.unpack_from(b, p + 5)[0]
        count = _I32.unpack_from(b, p + 9)[0]
        if count > 0:
            items = _uniform(b, p + 13, count) or _mixed(b, p + 13, count)
            if items is None:
                return None
            changes.append(items)
        p = end
    return Publish(subscription=subscription, sequence=sequence, changes=changes)


_LAYOUTS: dict[int, np.dtype[np.void]] = {}


def _layout(mask: int, kind: int) -> np.dtype[np.void]:
    """Give the record of one item with this DataValue mask and this built-in type."""
    key = mask << 8 | kind
    layout = _LAYOUTS.get(key)
    if layout is None:
        fields = [("handle", "<u4"), ("mask", "u1"), ("kind", "u1"), ("value", _NUMPY[kind])]
        fields += [("status", "<u4")] if mask & _STATUS else []
        fields += [("source", "<i8")] if mask & _SOURCE else []
        fields += [("source_pico", "<u2")] if mask & _SOURCE_PICO else []
        fields += [("server", "<i8")] if mask & _SERVER else []
        fields += [("server_pico", "<u2")] if mask & _SERVER_PICO else []
        layout = _LAYOUTS[key] = np.dtype(fields)
    return layout


def _uniform(b: bytes, p: int, count: int) -> Changes | None:
    """Read items that are all alike as one array; None when they are not."""
    mask, kind = b[p + 4], b[p + 5]
    if not mask & _VALUE or mask > 63 or kind not in _NUMPY:
        return None
    layout = _layout(mask, kind)
    if p + count * layout.itemsize > len(b):
        return None
    items = np.frombuffer(b, layout, count, p)
    if not ((items["mask"] == mask).all() and (items["kind"] == kind).all()):
        return None
    value = items["value"].astype(np.float64)
    other: dict[int, str | int] = {}
    if kind in _LONG:
        raw = items["value"]
        for row in np.flatnonzero((raw > EXACT) | (raw < -EXACT) if kind == 8 else raw > EXACT):
            other[int(row)] = int(raw[row])
            value[row] = np.nan
    return Changes(
        handle=items["handle"].astype(np.uint32),
        kind=np.full(count, kind, np.uint8),
        value=value,
        status=items["status"].astype(np.uint32) if mask & _STATUS else np.zeros(count, np.uint32),
        source=items["source"].astype(np.int64) if mask & _SOURCE else np.zeros(count, np.int64),
        server=items["server"].astype(np.int64) if mask & _SERVER else np.zeros(count, np.int64),
        other=other,
    )


def _mixed(b: bytes, p: int, count: int) -> Changes | None:
    """Read items one by one; None at the first that is no plain scalar."""
    handles, kinds, values, states, sources, servers = [0] * count, bytearray(count), [np.nan] * count, *_zeros(count)
    other: dict[int, str | int] = {}
    for row in range(count):
        handles[row] = _U32.unpack_from(b, p)[0]
        mask = b[p + 4]
        p += 5
        if mask & _VALUE:
            kind = b[p]
            p += 1
            scalar = _SCALAR.get(kind)
            if scalar is not None:
                value = scalar.unpack_from(b, p)[0]
                p += scalar.size
                if kind in _LONG and abs(value) > EXACT:
                    other[row] = value
                else:
                    values[row] = value
            elif kind in {TEXT, BYTES, LOCALIZED}:
                text, p = _localized(b, p) if kind == LOCALIZED else _text(b, p, keep=kind == TEXT)
                if text is not None:
                    other[row] = text
            elif kind != NULL:
                return None
            kinds[row] = kind
        if mask & _STATUS:
            states[row] = _U32.unpack_from(b, p)[0]
            p += 4
        if mask & _SOURCE:
            sources[row] = _I64.unpack_from(b, p)[0]
            p += 8
        p += 2 if mask & _SOURCE_PICO else 0
        if mask & _SERVER:
            servers[row] = _I64.unpack_from(b, p)[0]
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
    )


def _zeros(count: int) -> tuple[list[int], list[int], list[int]]:
    return [0] * count, [0] * count, [0] * count


def _text(b: bytes, p: int, *, keep: bool) -> tuple[str | None, int]:
    """Give a String (or skip a ByteString) at p, and where it ends."""
    length = _I32.unpack_from(b, p)[0]
    p += 4
    if length < 0:
        return None, p
    if p + length > len(b):
        raise ValueError("text beyond the end of the message")
    return (b[p : p + length].decode("utf-8") if keep else None), p + length


def _localized(b: bytes, p: int) -> tuple[str | None, int]:
    """Give the text of a LocalizedText at p, and where it ends."""
    parts, text = b[p], None
    p += 1
    if parts & 1:
        _, p = _text(b, p, keep=False)
    if parts & 2:
        text, p = _text(b, p, keep=True)
    return text, p


def decode_slow(body: bytes) -> Publish:
    """Read any PublishResponse with the library's decoder. Raises UndecodableError."""
    try:
        response = struct_from_binary(ua.PublishResponse, Buffer(body))
    except (ua.UaError, struct.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise UndecodableError(f"a publish response cannot be read: {error}") from error
    result = response.Parameters
    changes: list[Changes] = []
    ended: int | None = None
    for notification in result.NotificationMessage.NotificationData or []:
        if isinstance(notification, ua.DataChangeNotification):
            if notification.MonitoredItems:
                changes.append(_objects(notification.MonitoredItems))
        elif isinstance(notification, ua.StatusChangeNotification):
            ended = int(notification.Status.value)
    return Publish(
        subscription=int(result.SubscriptionId),
        sequence=int(result.NotificationMessage.SequenceNumber),
        changes=changes,
        ended=ended,
        fast=False,
    )


def _objects(items: list[Any]) -> Changes:
    """Make columns of the library's MonitoredItemNotification objects."""
    n = len(items)
    rows = [_object(item.Value) for item in items]
    other: dict[int, str | int] = {}
    for row, (kind, value, _, _, _) in enumerate(rows):
        if isinstance(value, str) or (kind in _LONG and isinstance(value, int) and abs(value) > EXACT):
            other[row] = value
    column: Callable[[int, Any], Any] = lambda at, dtype: np.fromiter((row[at] for row in rows), dtype, n)  # noqa: E731  # one line, five uses
    return Changes(
        handle=np.fromiter((item.ClientHandle for item in items), np.uint32, n),
        kind=column(0, np.uint8),
        value=np.fromiter((np.nan if i in other or r[1] is None else r[1] for i, r in enumerate(rows)), np.float64, n),
        status=column(2, np.uint32),
        source=column(3, np.int64),
        server=column(4, np.int64),
        other=other,
    )


def _object(value: ua.DataValue) -> tuple[int, float | str | None, int, int, int]:
    """Give (kind, value, status, source, server) of one DataValue."""
    status = 0 if value.StatusCode is None else int(value.StatusCode.value)
    source, server = _ticks(value.SourceTimestamp), _ticks(value.ServerTimestamp)
    variant = value.Value
    if variant is None:
        return NULL, None, status, source, server
    kind = int(variant.VariantType.value)
    held: Any = variant.Value
    if variant.is_array or isinstance(held, list) or kind >= UNKNOWN:
        return UNKNOWN, None, status, source, server
    if isinstance(held, datetime):
        held = _ticks(held)
    elif isinstance(held, ua.LocalizedText):
        held = held.Text
    elif kind not in _SCALAR and kind != TEXT:
        held = None
    return kind, held, status, source, server


def _ticks(when: datetime | None) -> int:
    """Give a library time as 100 ns since 1601; 0 for none."""
    if when is None:
        return 0
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 10
