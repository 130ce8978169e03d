"""Structures as bytes, by descriptions as a server gives them; the servers' own are in test_values."""

from __future__ import annotations

import contextlib
import struct

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.opcua.structures import Definition, Field, PathError, Structures, held_of
from edge.drivers.opcua.wire import Structure

ENCODING = ua.NodeId("Robot.Binary", 3)
INT32, DOUBLE, STRING, STRUCTURE, VARIANT = 6, 11, 12, 22, 24


def field(name: str, kind: int, *, rank: int = -1, optional: bool = False, definition=None) -> Field:
    return Field(name, kind, definition, rank, optional)


def described(form: ua.StructureType, *fields: Field) -> Structures:
    structures = Structures()
    structures._encodings[ENCODING] = Definition("Robot", form, list(fields))
    return structures


def pick(structures: Structures, body: bytes, *path):
    return structures.pick(held_of(Structure(ENCODING, body)), path)


def text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


def test_a_union_holds_the_one_that_is_chosen() -> None:
    union = described(ua.StructureType.Union, field("count", INT32), field("name", STRING))
    body = struct.pack("<I", 2) + text("cola")
    assert pick(union, body, "name") == (STRING, "cola")
    assert pick(union, body, "count") == (0, None)
    assert pick(union, struct.pack("<I", 0), "name") == (0, None)


def test_what_is_optional_may_be_absent() -> None:
    robot = described(
        ua.StructureType.StructureWithOptionalFields,
        field("a", INT32, optional=True),
        field("b", INT32),
        field("c", INT32, optional=True),
    )
    body = struct.pack("<Iii", 0b10, 5, 7)
    assert [pick(robot, body, name) for name in "abc"] == [(0, None), (INT32, 5), (INT32, 7)]


def test_structures_in_structures_and_arrays_of_several_dimensions() -> None:
    axis = Definition("Axis", ua.StructureType.Structure, [field("torque", DOUBLE), field("at", INT32, rank=2)])
    robot = described(
        ua.StructureType.Structure, field("axes", STRUCTURE, rank=1, definition=axis), field("any", VARIANT)
    )
    one = struct.pack("<d", 2.5) + struct.pack("<iii6i", 2, 2, 3, *range(6))
    body = struct.pack("<i", 2) + one + one + b"\x06" + struct.pack("<i", -4)
    assert pick(robot, body, "axes", 1, "torque") == (DOUBLE, 2.5)
    assert pick(robot, body, "axes", 0, "at", 1, 2) == (INT32, 5)
    assert pick(robot, body, "any") == (INT32, -4)
    with pytest.raises(PathError, match=r"axes\[2\].torque: axes is an array of 2"):
        pick(robot, body, "axes", 2, "torque")
    with pytest.raises(PathError, match=r"axes\[0\] is a structure with torque, at: say which"):
        pick(robot, body, "axes", 0)
    with pytest.raises(PathError, match=r"axes.torque: axes is an array of 2 .*, and has no torque"):
        pick(robot, body, "axes", "torque")


def test_a_structure_of_a_subtype_says_itself_which() -> None:
    robot = described(
        ua.StructureType.StructureWithSubtypedValues, field("tool", STRUCTURE, optional=True), field("after", INT32)
    )
    inner = Definition("Tool", ua.StructureType.Structure, [field("wear", DOUBLE)])
    robot._encodings[ua.NodeId(ua.Int32(9), 3)] = inner
    body = b"\x01\x03\x09\x00\x01" + struct.pack("<id", 8, 0.25) + struct.pack("<i", 3)
    assert pick(robot, body, "tool", "wear") == (DOUBLE, 0.25)
    assert pick(robot, body, "after") == (INT32, 3)


@given(st.binary(max_size=40), st.sampled_from(list(ua.StructureType)))
def test_bytes_that_are_not_what_the_description_says_are_an_error(body, form) -> None:
    axis = Definition("Axis", ua.StructureType.Structure, [field("torque", DOUBLE)])
    axis.fields.append(field("below", STRUCTURE, rank=1, definition=axis))
    robot = described(
        form, field("name", STRING), field("axes", STRUCTURE, rank=1, definition=axis), field("any", VARIANT)
    )
    with contextlib.suppress(PathError):
        assert set(robot.open(Structure(ENCODING, body))) == {"name", "axes", "any"}
