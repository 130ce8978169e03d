"""Structures by the server's own description of them, and the way along a path to one number in them.

The library can make Python classes of a server's types, but by executing text it built from their names, and for the
whole process at once: two servers that number their types alike would read each other's. Here a description is data,
and belongs to one connection. Source: OPC UA Part 3, 8.48 to 8.51 (DataTypeDefinition), Part 6, 5.2.6 (encoding).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import unpack_uatype

from edge.drivers.opcua.addresses import Path, spelled
from edge.drivers.opcua.objects import plain
from edge.drivers.opcua.publish import UNREADABLE
from edge.drivers.opcua.references import referred
from edge.drivers.opcua.wire import NULL, STRUCTURE, Array, Structure, structure_at
from sync.quality import BAD_TYPE_MISMATCH

BAD_INDEX_RANGE_NO_DATA: Final = 0x8037_0000
_ENUMERATION, _VARIANT, _INT32 = 29, 24, 6
_DEEPEST: Final = 16
_TYPES: Final = {kind.value: kind for kind in ua.VariantType}

Held = tuple[int, Any]
"""Built-in type and what is held: a scalar, a list or array of scalars, a Structure, or name → Held of one opened."""


class PathError(Exception):
    """A value has no such part. The message names the path and what there is instead."""

    def __init__(self, why: str, status: int = BAD_TYPE_MISMATCH) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure."""

    name: str
    kind: int
    """Built-in type it is encoded as."""
    definition: Definition | None
    """Of a structure whose type is fixed, which stands there without its encoding's id."""
    rank: int
    """-1 for one value, 1 for an array, more for more dimensions."""
    optional: bool


@dataclass(slots=True)
class Definition:
    """A structure as the server describes it."""

    name: str
    form: ua.StructureType
    fields: list[Field] = field(default_factory=list[Field])


class Structures:
    """What one server said of its structures."""

    def __init__(self) -> None:
        self._types: dict[ua.NodeId, Definition | int] = {}
        self._encodings: dict[ua.NodeId, Definition | str] = {}
        """By encoding; a sentence where there is no description."""

    def knows(self, encoding: ua.NodeId) -> bool:
        """Tell whether the server was asked about this encoding."""
        return encoding in self._encodings or encoding.is_null()

    def forget_unknown(self) -> None:
        """Ask again about what the server could not describe."""
        self._encodings = {e: told for e, told in self._encodings.items() if not isinstance(told, str)}

    async def learn(self, session: UaSession, encoding: ua.NodeId, node: ua.NodeId) -> None:
        """Ask the server what an encoding means that a value of `node` came in."""
        told: Definition | str = (
            f"the server describes no structure with encoding {encoding.to_string()} (no DataTypeDefinition)"
        )
        types = dict(self._types)  # half a description would give wrong values: it counts once it is whole
        try:
            for data_type in await self._candidates(session, encoding, node):
                described, own = await self._define(session, data_type, types)
                if isinstance(described, Definition) and (own is None or own.is_null() or own == encoding):
                    told = described
                    self._types |= types
                    break
        except UNREADABLE as error:  # a description nobody can read must not cost the connection
            told = f"the server does not describe its structure so that it can be read: {error}"
        self._encodings[encoding] = told

    async def _candidates(self, session: UaSession, encoding: ua.NodeId, node: ua.NodeId) -> list[ua.NodeId]:
        """Give data types that may have this encoding: whose it is, and what the node says of itself."""
        found = [owner for owner, _ in await referred(session, encoding, ObjectIds.HasEncoding, inverse=True)]
        (value,) = await session.read_attributes([node], AttributeIds.DataType)
        if value.Value is not None and isinstance(value.Value.Value, ua.NodeId):
            found.append(value.Value.Value)
        return found

    async def _define(
        self, session: UaSession, data_type: ua.NodeId, types: dict[ua.NodeId, Definition | int], depth: int = 0
    ) -> tuple[Definition | int, ua.NodeId | None]:
        """Give what a data type is: a structure, or the built-in type it is encoded as; and its encoding if just read."""
        if data_type.NamespaceIndex == 0 and isinstance(data_type.Identifier, int):
            if data_type.Identifier <= 25:
                return data_type.Identifier, None
            if data_type.Identifier <= _ENUMERATION:
                kind = _INT32 if data_type.Identifier == _ENUMERATION else _VARIANT  # 26 to 28: Number and below
                return kind, None
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} data types in or above one another")
        known = types.get(data_type)
        if isinstance(known, int):
            return known, None
        (value,) = await session.read_attributes([data_type], AttributeIds.DataTypeDefinition)
        told = None if value.Value is None else value.Value.Value
        if not isinstance(told, ua.StructureDefinition):
            parents = await referred(session, data_type, ObjectIds.HasSubtype, inverse=True)
            if not parents:
                raise ValueError(f"nothing says what data type {data_type.to_string()} is")
            kind, _ = await self._define(session, parents[0][0], types, depth + 1)
            if isinstance(kind, int):
                types[data_type] = kind
            return kind, None
        if known is not None:
            return known, told.DefaultEncodingId
        made = types[data_type] = Definition(data_type.to_string(), ua.StructureType(told.StructureType))
        for each in told.Fields or []:
            kind, _ = await self._define(session, each.DataType, types, depth + 1)
            definition = kind if isinstance(kind, Definition) else None
            made.fields.append(
                Field(
                    each.Name or "",
                    STRUCTURE if isinstance(kind, Definition) else kind,
                    definition,
                    each.ValueRank,
                    bool(each.IsOptional),
                )
            )
        return made, told.DefaultEncodingId

    def open(self, part: Structure) -> dict[str, Held]:
        """Give the fields of a structure. Raises PathError when it cannot be read."""
        told = self._encodings.get(part.encoding, "an empty structure" if part.encoding.is_null() else "not asked yet")
        if isinstance(told, str):
            raise PathError(told)
        try:
            return self._whole(told, Buffer(part.body))
        except (ua.UaError, struct.error, ValueError, IndexError, TypeError, KeyError) as error:
            raise PathError(f"a structure is not as the server describes {told.name}: {error}") from error

    def _whole(self, told: Definition, data: Buffer) -> dict[str, Held]:
        """Give the fields of a structure that is nothing else besides."""
        found = self._fields(told, data, 0)
        if data:
            raise ValueError(f"{len(data)} bytes are left")
        return found

    def _fields(self, told: Definition, data: Buffer, depth: int) -> dict[str, Held]:
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} structures in one another")
        found: dict[str, Held] = {}
        union = told.form in {ua.StructureType.Union, ua.StructureType.UnionWithSubtypedValues}
        subtyped = told.form in {ua.StructureType.StructureWithSubtypedValues, ua.StructureType.UnionWithSubtypedValues}
        chosen = int(unpack_uatype(ua.VariantType.UInt32, data)) if union else 0
        present = -1
        if told.form == ua.StructureType.StructureWithOptionalFields:
            present = int(unpack_uatype(ua.VariantType.UInt32, data))
        for number, each in enumerate(told.fields, 1):
            absent = number != chosen if union else False
            if told.form == ua.StructureType.StructureWithOptionalFields and each.optional:
                absent, present = not present & 1, present >> 1
            found[each.name] = (
                (NULL, None) if absent else self._field(each, data, depth, subtyped=subtyped and each.optional)
            )
        return found

    def _field(self, told: Field, data: Buffer, depth: int, *, subtyped: bool) -> Held:
        if told.rank < 0:
            return self._one(told, data, depth, subtyped=subtyped)
        shape = [int(unpack_uatype(ua.VariantType.Int32, data))]
        if told.rank > 1:
            shape = [int(unpack_uatype(ua.VariantType.Int32, data)) for _ in range(max(0, shape[0]))]
        count = 1
        for size in shape:
            count *= max(0, size)
        if count > len(data):
            raise ValueError("more elements than bytes")
        held = [self._one(told, data, depth, subtyped=subtyped) for _ in range(count)]
        items: Any = [one for _, one in held]
        kind = held[0][0] if held else told.kind
        if len(shape) > 1:
            items = _rows(items, shape)
        return kind, items

    def _one(self, told: Field, data: Buffer, depth: int, *, subtyped: bool) -> Held:
        kind = told.kind
        if kind == STRUCTURE and (told.definition is None or subtyped):
            whole = bytes(data)
            part, size = structure_at(whole, 0)
            data.skip(size)
            return STRUCTURE, part
        if told.definition is not None:
            return STRUCTURE, self._fields(told.definition, data, depth + 1)
        held: Any = unpack_uatype(_TYPES[_VARIANT if subtyped else kind], data)
        if isinstance(held, ua.DataValue):
            held = held.Value
        if isinstance(held, ua.Variant):
            kind, held = int(held.VariantType.value), held.Value
            if isinstance(held, list):
                return kind, [plain(kind, one) for one in held]
        return kind, plain(kind, held)

    def pick(self, whole: Held, path: Path) -> Held:
        """Follow a path into a value and give the scalar it ends at. Raises PathError."""
        kind, held = whole
        for done, step in enumerate(path):
            at = f"{spelled(path)}: " + (f"{spelled(path[:done])} is " if done else "the value is ")
            if isinstance(held, Structure):
                held = self.open(held)
            if isinstance(step, str):
                if not isinstance(held, dict):
                    raise PathError(at + f"{_called(kind, held)}, and has no {step}")
                if step not in held:
                    raise PathError(at + f"a structure with {', '.join(held)}, and has no {step}")
                kind, held = held[step]
            else:
                if not isinstance(held, list | np.ndarray):
                    raise PathError(at + f"{_called(kind, held)}, no array")
                if step >= len(held):
                    raise PathError(at + f"an array of {len(held)}, counted from 0", BAD_INDEX_RANGE_NO_DATA)
                held = held[step]
        if isinstance(held, Structure | dict | list) or (isinstance(held, np.ndarray) and held.ndim):
            raise PathError(f"{spelled(path) or 'the value'} is {self._offer(kind, held)}: say which in `path`")
        return kind, held.item() if isinstance(held, np.generic) else held

    def _offer(self, kind: int, held: Any) -> str:
        if isinstance(held, Structure):
            held = self.open(held)
        if isinstance(held, dict):
            return f"a structure with {', '.join(held)}"
        return _called(kind, held)


def held_of(part: Array | Structure) -> Held:
    """Give a value that has parts as the start of a path."""
    return (part.kind, part.items) if isinstance(part, Array) else (STRUCTURE, part)


def _called(kind: int, held: Any) -> str:
    name = "structure" if kind == STRUCTURE else _TYPES[kind].name
    return f"an array of {len(held)} ({name})" if isinstance(held, list | np.ndarray) else f"a {name}"


def _rows(items: list[Any], shape: list[int]) -> list[Any]:
    """Give a flat list as nested ones."""
    if len(shape) < 2:
        return items
    size = len(items) // shape[0] if shape[0] else 0
    return [_rows(items[at : at + size], shape[1:]) for at in range(0, len(items), size or 1)]
