from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.modbus.address import parse
from edge.drivers.modbus.image import Image
from edge.drivers.modbus.plan import plan
from edge.drivers.modbus.registers import place_value, value_of
from edge.tags import DataType, Tag, TagSpec, WordOrder
from tests.edge.drivers.modbus.test_registers import FOUR, numbers

ORDERS = list(get_args(WordOrder))
WHOLE = sorted(set(get_args(DataType)) - {"bool", "string", "int8", "uint8"})


def tag(index, address, **spec):
    own = TagSpec(name=f"tag_{index}", address=address, **spec)
    return Tag(index=index, work_unit="a/b/c", connection="machine", address=address, spec=own)


@st.composite
def tags_with_values(draw):
    """One tag in one of all the forms an address has, with a raw value it can hold."""
    form = draw(st.sampled_from(["number", "number", "text", "bit", "field", "byte", "flag", "whole bool"]))
    order = draw(st.sampled_from(FOUR) | st.none())
    match form:
        case "number":
            kind = draw(st.sampled_from(WHOLE))
            if kind.endswith("64"):
                order = draw(st.sampled_from(ORDERS) | st.none())
            return "", {"type": kind, "word_order": order}, draw(numbers(kind).filter(np.isfinite))
        case "text":
            text = draw(st.text(max_size=6).filter(lambda text: "\0" not in text and text == text.rstrip(" ")))
            return "", {"type": "string", "length": 12, "word_order": order}, text
        case "bit":
            return f".{draw(st.integers(0, 15))}", {"type": "bool", "word_order": order}, draw(st.booleans())
        case "field":
            first = draw(st.integers(0, 14))
            last = draw(st.integers(first + 1, 15))
            spec = {"type": "uint16", "word_order": order}
            return f".{first}-{last}", spec, draw(st.integers(0, 2 ** (last - first + 1) - 1))
        case "byte":
            kind = draw(st.sampled_from(["int8", "uint8"]))
            low, high = (-128, 127) if kind == "int8" else (0, 255)
            suffix = draw(st.sampled_from([".high", ".low"]))
            return suffix, {"type": kind, "word_order": order}, draw(st.integers(low, high))
        case _:
            return form, {"type": "bool", "word_order": order}, draw(st.booleans())


def image_of(held, order, base=0):
    """Give an image of tags side by side, filled by the planner's own blocks from a device that holds the values."""
    tags, values, singly = [], [], []
    memory = np.zeros(4000, np.uint16)
    flags = np.zeros(4000, np.uint8)
    items, at = [], 0
    for position, (form, spec, value) in enumerate(held):
        table, suffix = ("coil", "") if form == "flag" else ("holding", "" if form == "whole bool" else form)
        own = tag(position, f"{table}:{at + base}{suffix}", **{k: v for k, v in spec.items() if v is not None})
        item = parse(position, own.address, own.spec, base=base, order=order)
        assert item.address == at
        if table == "coil":
            flags[at] = value
            singly.append(value_of(item, own.spec, [int(value)], order))
        else:
            registers, mask = place_value(value, item, own.spec, own.spec.word_order or order)
            noise = 0xA5C3 & ~mask  # what stands in the register's other bits must not matter
            memory[at : at + len(registers)] = [register | noise for register in registers]
            words = [int(word) for word in memory[at : at + item.width]]
            singly.append(value_of(item, own.spec, words, own.spec.word_order or order))
        tags.append(own)
        values.append(value)
        items.append(item)
        at += item.width + position % 3
    image = Image(tags, items, order)
    for block in plan(items, max_gap=5, max_registers=125):
        part = slice(block.address, block.address + block.count)
        answer = memory[part].astype(">u2").tobytes() if block.registers else np.packbits(flags[part], bitorder="little").tobytes()  # fmt: skip
        image.fill(block, image.target(block), answer)
    assert singly == values, "one by one they are what they are in bulk"
    return image, values


@settings(deadline=None)
@given(st.lists(tags_with_values(), min_size=1, max_size=30), st.sampled_from(FOUR), st.sampled_from([0, 1]))
def test_every_form_side_by_side_gives_the_values_the_device_holds(held, order, base) -> None:
    image, values = image_of(held, order, base)
    value, other, senseless = image.decode()
    assert senseless == []
    for position, expected in enumerate(values):
        found = other.get(position, value[position])
        assert found == expected
        assert (position in other) == np.isnan(value[position])


def test_an_array_of_packed_bytes_reads_as_it_lies() -> None:
    tags = [tag(i, "holding:7.high", type="uint8", count=5) for i in range(5)]
    items = [parse(i, own.address, own.spec, element=i) for i, own in enumerate(tags)]
    image = Image(tags, items, "ABCD")
    (block,) = plan(items, max_gap=0, max_registers=125)
    image.fill(block, image.target(block), b"hello!")
    assert bytes(image.decode()[0].astype(np.uint8)) == b"hello"


def test_bits_are_those_of_the_value_when_the_device_swaps_bytes() -> None:
    own = tag(0, "holding:0.0", type="bool")
    item = parse(0, own.address, own.spec, order="BADC")
    image = Image([own], [item], "BADC")
    (block,) = plan([item], max_gap=0, max_registers=125)
    image.fill(block, image.target(block), b"\x01\x00")
    assert image.decode()[0].tolist() == [1.0]
    assert place_value(True, item, own.spec, "BADC") == ([0x0100], 0x0100)


def test_bcd_without_digits_and_text_that_is_none_make_no_sense_and_no_value() -> None:
    tags = [
        tag(0, "holding:0", type="bcd32"),
        tag(1, "holding:2", type="bcd32"),
        tag(2, "holding:4", type="string", length=2),
    ]
    items = [parse(i, own.address, own.spec) for i, own in enumerate(tags)]
    image = Image(tags, items, "ABCD")
    (block,) = plan(items, max_gap=0, max_registers=125)
    image.fill(block, image.target(block), bytes.fromhex("1234567a 12345678 ff00ff00"))
    value, other, senseless = image.decode()
    assert np.isnan(value[0])
    assert value[1] == 12_345_678
    assert (other, senseless) == ({}, [0, 2])
    for item, words in ((items[0], [0x1234, 0x567A]), (items[2], [0xFF00, 0xFF00])):
        with pytest.raises(ValueError):
            value_of(item, tags[item.position].spec, words, "ABCD")


@pytest.mark.parametrize(
    ("address", "spec", "value", "says"),
    [
        ("holding:0.high", {"type": "int8"}, 128, "does not fit int8 here"),
        ("holding:0.4-7", {"type": "uint8"}, 16, r"\(0 to 15\)"),
        ("holding:0.4", {"type": "bool"}, 2, "neither true nor false"),
        ("holding:0", {"type": "uint16"}, "x", "is no number"),
        ("holding:0", {"type": "string", "length": 2}, 5, "is no text"),
        ("holding:0", {"type": "float32"}, None, "is no number"),
    ],
)
def test_a_value_that_does_not_fit_is_placed_nowhere(address, spec, value, says) -> None:
    own = tag(0, address, **spec)
    with pytest.raises(ValueError, match=says):
        place_value(value, parse(0, address, own.spec), own.spec, "ABCD")
