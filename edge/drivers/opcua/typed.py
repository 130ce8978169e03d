"""One value as the server wants it: its built-in type asked for, kept, and never silently bent."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.object_ids import ObjectIds

from edge.drivers.driver import RefusedError
from edge.drivers.opcua.objects import plain, ticks
from edge.drivers.opcua.references import referred
from edge.drivers.opcua.wire import BYTES, LOCALIZED, TEXT
from sync.reading import Scalar

T = ua.VariantType
RANGES: Final[dict[ua.VariantType, tuple[int, int]]] = {
    T.SByte: (-128, 127), T.Byte: (0, 255), T.Int16: (-(2**15), 2**15 - 1), T.UInt16: (0, 2**16 - 1),
    T.Int32: (-(2**31), 2**31 - 1), T.UInt32: (0, 2**32 - 1), T.Int64: (-(2**63), 2**63 - 1), T.UInt64: (0, 2**64 - 1),
}  # fmt: skip
ENUMERATION: Final = 29
_ABSTRACT: Final = {24: "BaseDataType", 26: "Number", 27: "Integer", 28: "UInteger"}
_DEEPEST: Final = 16
_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def base_type(session: UaSession, data_type: ua.NodeId) -> int:
    """Give the built-in type (Part 6, table 1) that a data type derives from; 29 for an enumeration, 0 if not known."""
    node = data_type
    for _ in range(_DEEPEST):
        if node.NamespaceIndex == 0 and isinstance(node.Identifier, int) and node.Identifier <= ENUMERATION:
            return node.Identifier
        above = await referred(session, node, ObjectIds.HasSubtype, inverse=True)
        if not above:
            return 0
        node = above[0][0]
    return 0


def variant_type(base: int) -> ua.VariantType | None:
    """Give how a value of this base type is encoded; None where the base type leaves it open."""
    if base == ENUMERATION:
        return T.Int32
    return T(base) if 1 <= base <= 25 and base not in _ABSTRACT else None


def variant(value: Scalar, kind: ua.VariantType, what: str) -> ua.Variant:
    """Give a value as a variant of exactly this type. Raises RefusedError with a sentence that begins with `what`."""
    if value is None:
        raise RefusedError(f"{what}: there is no value to write")
    if kind in RANGES:
        return ua.Variant(_whole(value, kind, what), kind)
    if kind in {T.Float, T.Double}:
        return ua.Variant(_real(value, kind, what), kind)
    if kind == T.Boolean:
        if isinstance(value, str) or value not in {0, 1}:
            raise RefusedError(f"{what} is true or false, not {value!r}")
        return ua.Variant(bool(value), kind)
    if kind == T.String and isinstance(value, str):
        return ua.Variant(value, kind)
    if kind == T.LocalizedText and isinstance(value, str):
        return ua.Variant(ua.LocalizedText(value), kind)
    if kind == T.DateTime and not isinstance(value, str):
        return ua.Variant(_UNIX + timedelta(milliseconds=float(value)), kind)
    raise RefusedError(f"{what} is of type {kind.name} at the server; {value!r} cannot be made one")


def _whole(value: Scalar, kind: ua.VariantType, what: str) -> int:
    if isinstance(value, str) or value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise RefusedError(f"{what} is of type {kind.name} at the server, a whole number; {value!r} is none")
    nearest = round(value)
    if isinstance(value, float) and abs(value - nearest) > 1e-6 * max(1.0, abs(value)):
        raise RefusedError(f"{what} is of type {kind.name} at the server, a whole number; {value!r} lies between two")
    low, high = RANGES[kind]
    if not low <= nearest <= high:
        raise RefusedError(f"{what} is of type {kind.name} at the server: {nearest} is outside {low} to {high}")
    return nearest


def _real(value: Scalar, kind: ua.VariantType, what: str) -> float:
    if isinstance(value, str) or value is None or not math.isfinite(value):
        raise RefusedError(f"{what} is of type {kind.name} at the server; {value!r} is no number")
    if kind == T.Float:
        try:
            return float(struct.unpack("<f", struct.pack("<f", float(value)))[0])
        except OverflowError:
            raise RefusedError(f"{what} is of type Float at the server: {value!r} is too large for it") from None
    return float(value)


def scalar(held: Any) -> Scalar:
    """Give what a variant holds as a scalar: a time as ms since 1970, what is none as its text."""
    if isinstance(held, ua.Variant):
        kind, inner = int(held.VariantType.value), held.Value
        if isinstance(inner, datetime):
            return (ticks(inner) - 116_444_736_000_000_000) / 10_000
        if inner is None:
            return None
        if held.is_array or isinstance(inner, list):
            return str([scalar(ua.Variant(each, held.VariantType)) for each in inner])
        if kind in {TEXT, LOCALIZED} or isinstance(inner, bool | int | float):
            return plain(kind, inner)
        if kind == BYTES:
            return bytes(inner).hex()
        return inner.to_string() if isinstance(inner, ua.NodeId) else str(inner)
    return None if held is None else str(held)
