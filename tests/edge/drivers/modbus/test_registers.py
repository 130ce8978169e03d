from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.registers import NUMBERS, decode, decode_text, encode, encode_text, width

ORDERS = ["ABCD", "BADC", "CDAB", "DCBA"]


def numbers(kind: str) -> st.SearchStrategy:
    if kind.startswith("float"):
        return st.floats(width=int(kind[5:]), allow_nan=False)
    low = np.iinfo(kind).min
    return st.integers(int(low), int(np.iinfo(kind).max))


@given(st.data(), st.sampled_from(sorted(NUMBERS)), st.sampled_from(ORDERS))
def test_every_number_of_every_type_survives_every_word_order(data, kind, order) -> None:
    given_numbers = data.draw(st.lists(numbers(kind), min_size=1, max_size=5))
    words = np.array([encode(number, kind, order) for number in given_numbers], np.uint16)
    assert words.shape == (len(given_numbers), width(kind))
    assert decode(words, kind, order).tolist() == given_numbers


@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", b"ABCD"), ("BADC", b"BADC"), ("CDAB", b"CDAB"), ("DCBA", b"DCBA")],
)
def test_the_letters_of_an_order_are_the_bytes_on_the_wire(order, wire) -> None:
    (number,) = struct.unpack(">I", b"ABCD")
    assert struct.pack(">2H", *encode(number, "uint32", order)) == wire


@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", b"ABCDEFGH"), ("BADC", b"BADCFEHG"), ("CDAB", b"GHEFCDAB"), ("DCBA", b"HGFEDCBA")],
)
def test_eight_bytes_follow_the_same_letters(order, wire) -> None:
    (number,) = struct.unpack(">Q", b"ABCDEFGH")
    assert struct.pack(">4H", *encode(number, "uint64", order)) == wire


@given(st.text(max_size=12).filter(lambda text: "\0" not in text), st.sampled_from(ORDERS))
def test_text_survives_every_order(text, order) -> None:
    words = np.array(encode_text(text, 24, order), np.uint16)
    assert decode_text(words, order) == text.rstrip(" ")


def test_text_reads_in_the_order_of_the_registers() -> None:
    assert decode_text(np.frombuffer(b"cola-330", ">u2").astype(np.uint16), "CDAB") == "cola-330"
    assert decode_text(np.frombuffer(b"oc-l33\0" + b"0", ">u2").astype(np.uint16), "BADC") == "col-330"


def test_text_that_is_too_long_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 registers hold 4"):
        encode_text("brown", 2, "ABCD")
