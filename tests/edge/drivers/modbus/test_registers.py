from __future__ import annotations

import math
import struct
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from edge.drivers.modbus.registers import (
    DIGITS,
    NO_DIGIT,
    NUMBERS,
    decode,
    decode_text,
    encode,
    encode_text,
    width,
    words_of,
)
from edge.tags import WordOrder

FOUR = ["ABCD", "BADC", "CDAB", "DCBA"]
ORDERS = list(get_args(WordOrder))
IN_EIGHT = {"ABCD": "ABCDEFGH", "BADC": "BADCFEHG", "CDAB": "GHEFCDAB", "DCBA": "HGFEDCBA"}
"""What four letters say of 64 bits, byte by byte."""
IN_TWO = {"ABCD": "AB", "BADC": "BA", "CDAB": "AB", "DCBA": "BA"}
KINDS = sorted([*NUMBERS, *DIGITS])
STRUCT = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float16": ">e", "float32": ">f", "float64": ">d",
}  # fmt: skip


def numbers(kind: str) -> st.SearchStrategy:
    if kind in DIGITS:
        return st.integers(0, 10 ** DIGITS[kind] - 1)
    if kind.startswith("float"):
        return st.floats(width=int(kind[5:]), allow_nan=False)
    return st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))


def orders(kind: str) -> list[str]:
    return ORDERS if width(kind) == 4 else FOUR


TYPES_AND_ORDERS = [(kind, order) for kind in KINDS for order in orders(kind)]


def letters(kind: str, order: str) -> str:
    """Where each byte of the value lies on the wire."""
    if width(kind) == 1:
        return IN_TWO[order]
    return IN_EIGHT.get(order, order) if width(kind) == 4 else order


def on_the_wire(value: float, kind: str, order: str) -> bytes:
    """The oracle: the value's bytes by struct (or the decimal digits as hexadecimal ones), laid out by the letters."""
    big = bytes.fromhex(f"{value:0{DIGITS[kind]}d}") if kind in DIGITS else struct.pack(STRUCT[kind], value)
    return bytes(big[ord(letter) - ord("A")] for letter in letters(kind, order))


@pytest.mark.parametrize(("kind", "order"), TYPES_AND_ORDERS)
@given(data=st.data())
def test_every_type_in_every_order_lies_where_its_letters_say_and_comes_back(data, kind, order) -> None:
    held = data.draw(st.lists(numbers(kind), min_size=1, max_size=4))
    words = np.array([encode(number, kind, order) for number in held], np.uint16)
    assert words.astype(">u2").tobytes() == b"".join(on_the_wire(number, kind, order) for number in held)
    assert decode(words, kind, order).tolist() == held


@pytest.mark.parametrize("kind", sorted(kind for kind in NUMBERS if kind != "float16"))
@pytest.mark.parametrize(("order", "theirs"), [("ABCD", "big"), ("CDAB", "little")])
@given(data=st.data())
def test_pymodbus_lays_numbers_out_the_same(data, kind, order, theirs) -> None:
    number = data.draw(numbers(kind))
    foreign = ModbusClientMixin.DATATYPE[kind.upper()]
    registers = encode(number, kind, order)
    assert registers == ModbusClientMixin.convert_to_registers(number, foreign, word_order=theirs)
    assert number == ModbusClientMixin.convert_from_registers(registers, foreign, word_order=theirs)


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), min_size=1, max_size=20))
def test_pymodbus_lays_text_out_the_same(text) -> None:
    registers = encode_text(text, (len(text) + 1) // 2, "ABCD")
    assert registers == ModbusClientMixin.convert_to_registers(text, ModbusClientMixin.DATATYPE.STRING)


@pytest.mark.parametrize("order", ORDERS)
def test_the_letters_of_an_order_are_the_bytes_on_the_wire(order) -> None:
    (number,) = struct.unpack(">Q", b"ABCDEFGH")
    assert struct.pack(">4H", *encode(number, "uint64", order)) == IN_EIGHT.get(order, order).encode()
    if len(order) == 4:
        (short,) = struct.unpack(">I", b"ABCD")
        assert struct.pack(">2H", *encode(short, "uint32", order)) == order.encode()


def test_eight_letters_say_nothing_of_two_registers() -> None:
    with pytest.raises(ValueError, match="for 64 bits, not for 32"):
        words_of("EFGHABCD", 2)


@pytest.mark.parametrize(
    ("kind", "registers"), [("bcd16", [0x12A4]), ("bcd32", [0x1234, 0x567F]), ("bcd64", [0xA000, 0, 0, 1])]
)
def test_a_half_byte_that_is_no_digit_is_no_number(kind, registers) -> None:
    good = encode(17, kind, "ABCD")
    assert decode(np.array([registers, good], np.uint16), kind, "ABCD").tolist() == [NO_DIGIT, 17]


@given(st.integers(0, 0xFFFF))
def test_four_digits_are_read_as_hexadecimal_writes_them(register) -> None:
    text = f"{register:04x}"
    expected = int(text) if text.isdecimal() else NO_DIGIT
    assert decode(np.array([[register]], np.uint16), "bcd16", "ABCD").tolist() == [expected]


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (32_768, "int16", r"32768 does not fit int16 here \(-32768 to 32767\)"),
        (-1, "uint32", "0 to 4294967295"),
        (2**64, "uint64", "does not fit uint64"),
        (10_000, "bcd16", "0 to 9999"),
        (-1, "bcd64", "does not fit bcd64"),
        (1e39, "float32", "does not fit float32"),
        (65_520.0, "float16", "does not fit float16"),
        (math.nan, "int32", "is no number that int32 can hold"),
        (math.inf, "bcd32", "is no number that bcd32 can hold"),
    ],
)
def test_a_number_that_does_not_fit_is_an_error_that_says_what_would(value, kind, says) -> None:
    with pytest.raises(ValueError, match=says):
        encode(value, kind, "ABCD")


def test_an_integer_type_takes_the_nearest_number() -> None:
    assert encode(21.499999999999996 * 10, "int16", "ABCD") == [215]
    assert encode(-0.6, "int16", "ABCD") == [0xFFFF]


@given(st.text(max_size=12).filter(lambda text: "\0" not in text), st.sampled_from(ORDERS))
def test_text_survives_every_order(text, order) -> None:
    words = np.array(encode_text(text, 24, order), np.uint16)
    assert decode_text(words, order) == text.rstrip(" ")


def test_text_reads_in_the_order_of_the_registers() -> None:
    assert decode_text(np.frombuffer(b"cola-330", ">u2").astype(np.uint16), "CDAB") == "cola-330"
    assert decode_text(np.frombuffer(b"oc-l33\0" + b"0", ">u2").astype(np.uint16), "BADC") == "col-330"


def test_text_that_is_too_long_or_ends_in_its_middle_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 registers hold 4"):
        encode_text("brown", 2, "ABCD")
    with pytest.raises(ValueError, match="holds a NUL"):
        encode_text("a\0b", 2, "ABCD")
