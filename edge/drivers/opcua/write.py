"""Writing one tag and reading it back: in the node's own data type, within the book's range, element by element."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from edge.drivers.driver import RefusedError, Written
from edge.drivers.opcua.addresses import Path, Refusal, path_of, spelled
from edge.drivers.opcua.typed import base_type, scalar, variant, variant_type
from edge.tags import Tag
from sync.quality import BAD
from sync.reading import Scalar

_WHY: Final = {
    "BadNotWritable": "the server lets nobody write it",
    "BadUserAccessDenied": "the server does not let this user write it",
    "BadTypeMismatch": "the server wants another data type",
    "BadOutOfRange": "the server says the value is out of its range",
    "BadWriteNotSupported": "the server cannot write it this way (status and times are its own, or elements one by one)",
    "BadIndexRangeInvalid": "the server does not take an element by itself",
    "BadIndexRangeNoData": "the array has no such element",
    "BadNodeIdUnknown": "the server does not have this node",
}


async def write(session: UaSession, node: ua.NodeId, tag: Tag, value: Scalar) -> Written:
    """Write a value in the tag's engineering unit and read it back. Raises RefusedError and ua.UaError."""
    if not tag.spec.writable:
        raise RefusedError(f"{tag.id} is not written; say writable = true in its book if it may be")
    indexes = _indexes(tag)
    raw = raw_of(tag, value)
    kind = await _kind(session, node, tag, indexes)
    whole = variant(raw, kind, tag.id)
    sent = ua.Variant([whole.Value], kind) if indexes else whole
    request = ua.WriteParameters(
        NodesToWrite=[
            ua.WriteValue(
                NodeId=node,
                AttributeId=ua.IntegerId(AttributeIds.Value),
                IndexRange=indexes,
                Value=ua.DataValue(sent),
            )
        ]
    )
    (status,) = await session.write(request)
    if int(status.value) & BAD:
        raise RefusedError(f"{tag.id}: {_WHY.get(status.name, 'the server refuses it')} ({status.name})")
    found = await _read(session, node, indexes)
    return _written(tag, value, whole.Value, kind, found)


def raw_of(tag: Tag, value: Scalar) -> Scalar:
    """Give what the machine holds for a value in the tag's engineering unit. Raises RefusedError."""
    spec = tag.spec
    if spec.type == "string":
        if not isinstance(value, str):
            raise RefusedError(f"{tag.id} is a text, not {value!r}")
        return value
    if isinstance(value, str):
        named = {name: number for number, name in spec.values.items()}
        if value not in named:
            raise RefusedError(f"{tag.id} is a number, not {value!r}")
        value = int(named[value]) if named[value].lstrip("-").isdigit() else float(named[value])
    if value is None or not math.isfinite(value):
        raise RefusedError(f"{tag.id}: {value!r} is no number to write")
    if (spec.low is not None and value < spec.low) or (spec.high is not None and value > spec.high):
        low, high = ("…" if bound is None else f"{bound:g}" for bound in (spec.low, spec.high))
        raise RefusedError(f"{tag.id}: {value:g} is outside its range {low} to {high}")
    if spec.scale == 1 and not spec.offset:
        return value
    return (value - spec.offset) / spec.scale


def _indexes(tag: Tag) -> str | None:
    """Give the IndexRange of the element that a tag is; None for a whole value."""
    path: Path | Refusal = path_of(tag)
    if isinstance(path, Refusal):
        raise RefusedError(path.why)
    if not all(isinstance(step, int) for step in path):
        raise RefusedError(f"{tag.id}: {spelled(path)} is a field of a structure, which is only read")
    return ",".join(map(str, path)) or None


async def _kind(session: UaSession, node: ua.NodeId, tag: Tag, indexes: str | None) -> ua.VariantType:
    """Give the type that the node's value must have: as declared, or where that leaves it open, as it has it now."""
    (declared,) = await session.read_attributes([node], AttributeIds.DataType)
    held: Any = None if declared.Value is None else declared.Value.Value
    if declared.StatusCode is not None and int(declared.StatusCode.value) & BAD:
        name = declared.StatusCode.name
        raise RefusedError(f"{tag.id}: {_WHY.get(name, 'the server does not say its data type')} ({name})")
    kind = variant_type(await base_type(session, held)) if isinstance(held, ua.NodeId) else None
    if kind is None:
        now = await _read(session, node, indexes)
        if now.Value is None or now.Value.Value is None:
            raise RefusedError(f"{tag.id}: the server does not say which data type it wants, and holds no value now")
        kind = now.Value.VariantType
    return kind


async def _read(session: UaSession, node: ua.NodeId, indexes: str | None) -> ua.DataValue:
    what = ua.ReadValueId(NodeId=node, AttributeId=ua.IntegerId(AttributeIds.Value), IndexRange=indexes)
    request = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=[what])
    return (await session.read(request))[0]


def _written(tag: Tag, asked: Scalar, sent: Any, kind: ua.VariantType, found: ua.DataValue) -> Written:
    """Compare what was sent with what the machine holds: in its own type, so that rounding to it is no difference."""
    status = 0 if found.StatusCode is None else int(found.StatusCode.value)
    held: Any = None if found.Value is None else found.Value.Value
    if isinstance(held, list):
        held = held[0] if len(held) == 1 else None
    if held is None:
        return Written(asked=asked, found=None, status=status)
    same = held == sent
    if kind == ua.VariantType.Float and not same:
        same = struct.pack("<f", held) == struct.pack("<f", sent)
    if same:
        return Written(asked=asked, found=asked, status=status)
    other = scalar(ua.Variant(held, kind))
    if not isinstance(other, bool | str) and other is not None and (tag.spec.scale != 1 or tag.spec.offset):
        other = other * tag.spec.scale + tag.spec.offset
    return Written(asked=asked, found=other, status=status)
