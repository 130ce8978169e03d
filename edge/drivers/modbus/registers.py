"""Registers ↔ values: word orders, all data types, strings, parts of a register. Pure.

A Modbus register is 16 bits, high byte first on the wire. What the standard leaves open is how longer values lie in
several registers; the letters name the bytes of a 32-bit value from the most significant (A) to the least (D):
`ABCD` as the standard suggests, `CDAB` low word first, `BADC` bytes swapped in each word, `DCBA` both. For 64 bits the
same is said of four words, or eight letters say where each byte lies: `EFGHABCD` low half first. One register alone
follows the bytes: an order that begins `BA`, `DC`, `FE` or `HG` swaps them, and its bits and bytes are those of the
value after that. Text is never turned around by words, only by bytes.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.drivers.modbus.address import Item
from edge.tags import REGISTERS, DataType, TagSpec, WordOrder
from sync.reading import Scalar

NUMBERS: Final[dict[DataType, str]] = {
    "int16": ">i2", "uint16": ">u2", "float16": ">f2",
    "int32": ">i4", "uint32": ">u4", "float32": ">f4",
    "int64": ">i8", "uint64": ">u8", "float64": ">f8",
}  # fmt: skip
"""Type → numpy's name of it, big end first."""
DIGITS: Final[dict[DataType, int]] = {"bcd16": 4, "bcd32": 8, "bcd64": 16}
NO_DIGIT = -1
"""What `decode` gives for a BCD number in which a half byte is no digit. BCD is never negative."""
_BYTES: Final[dict[DataType, tuple[int, int]]] = {"int8": (-128, 127), "uint8": (0, 255)}


def width(kind: DataType, length: int = 1) -> int:
    """Give the number of registers of one value; `length` is that of a string."""
    return length if kind == "string" else REGISTERS.get(kind, 1)


def swaps(order: WordOrder) -> bool:
    """Whether an order swaps the two bytes of each register."""
    return order[0] > order[1]


def words_of(order: WordOrder, words: int) -> tuple[int, ...]:
    """Give for each word of a value, the most significant first, which register of the value holds it.

    Raises ValueError for eight letters and two words: they say nothing of 32 bits.
    """
    if words == 1:
        return (0,)
    if len(order) == 4:
        return tuple(range(words)) if order in {"ABCD", "BADC"} else tuple(reversed(range(words)))
    if words != 4:
        raise ValueError(f"word order {order} is for 64 bits, not for {16 * words}")
    held = [(ord(min(order[at : at + 2])) - ord("A")) // 2 for at in range(0, 8, 2)]
    return tuple(held.index(word) for word in range(4))


def native_words(order: WordOrder, words: int) -> tuple[int, ...]:
    """Give the registers of a value in the order in which this computer keeps a number's words."""
    held = words_of(order, words)
    return held[::-1] if sys.byteorder == "little" else held


def decode(words: NDArray[np.uint16], kind: DataType, order: WordOrder) -> NDArray[Any]:
    """Give the numbers that stand in registers: (values, registers of one value) → (values,).

    Of the type's own dtype; BCD gives int64, `NO_DIGIT` where a half byte is none.
    """
    ordered = words if words.shape[1] == 1 else words[:, native_words(order, words.shape[1])]
    return interpret(ordered.byteswap() if swaps(order) else ordered, kind)


def interpret(words: NDArray[np.uint16], kind: DataType) -> NDArray[Any]:
    """Give the numbers in (values, registers) whose words already lie as this computer keeps them."""
    if kind in DIGITS:
        pieces = _digits()[words if sys.byteorder == "big" else words[:, ::-1]]
        number = pieces[:, 0].astype(np.int64)
        for at in range(1, pieces.shape[1]):
            number = number * 10_000 + pieces[:, at]
        return np.where((pieces < 0).any(axis=1), NO_DIGIT, number)
    return np.ascontiguousarray(words).view(np.dtype(NUMBERS[kind]).newbyteorder("="))[:, 0]


@functools.cache
def _digits() -> NDArray[np.int16]:
    """Give for every register what its four BCD digits say, `NO_DIGIT` where one is above 9."""
    register = np.arange(65_536)
    nibbles = np.stack([(register >> shift) & 0xF for shift in (12, 8, 4, 0)])
    number = (nibbles * np.array([[1000], [100], [10], [1]])).sum(axis=0)
    return np.where((nibbles > 9).any(axis=0), NO_DIGIT, number).astype(np.int16)


def encode(value: float, kind: DataType, order: WordOrder) -> list[int]:
    """Give the registers of one number; a type of integers takes the nearest one.

    Raises ValueError, with the type's range, when it cannot hold the number.
    """
    if kind in DIGITS:
        digits = DIGITS[kind]
        text = f"{_whole(value, kind, 0, 10**digits - 1):0{digits}d}"
        plain = [int(text[at : at + 4], 16) for at in range(0, digits, 4)]
    else:
        dtype = np.dtype(NUMBERS[kind])
        if dtype.kind == "f":
            with np.errstate(over="ignore"):  # what becomes infinite is refused, below
                held = np.array([value], dtype)
            if math.isinf(held[0]) and not math.isinf(value):
                raise ValueError(f"{value:g} does not fit {kind} (at most {np.finfo(dtype).max:g})")
        else:
            limits = np.iinfo(dtype)
            held = np.array([_whole(value, kind, int(limits.min), int(limits.max))], dtype)
        plain = [int(word) for word in held.view(">u2")]
    registers = [0] * len(plain)
    for word, at in zip(plain, words_of(order, len(plain)), strict=True):
        registers[at] = _swapped(word) if swaps(order) else word
    return registers


def decode_text(words: NDArray[np.uint16], order: WordOrder) -> str:
    """Give the text in a row of registers, up to the first NUL, without trailing blanks.

    Raises UnicodeDecodeError when it is no UTF-8 (of which ASCII is a part).
    """
    if swaps(order):
        words = words.byteswap()
    return words.astype(">u2").tobytes().split(b"\0", 1)[0].decode("utf-8").rstrip(" ")


def encode_text(text: str, length: int, order: WordOrder) -> list[int]:
    """Give the `length` registers of a text, NULs behind it. Raises ValueError when it does not fit."""
    raw = text.encode("utf-8")
    if len(raw) > 2 * length:
        raise ValueError(f"{text!r} takes {len(raw)} bytes, {length} registers hold {2 * length}")
    if b"\0" in raw:
        raise ValueError(f"{text!r} holds a NUL, where a device's text ends")
    words = np.frombuffer(raw.ljust(2 * length, b"\0"), ">u2").astype(np.uint16)
    return [int(word) for word in (words.byteswap() if swaps(order) else words)]


def place_value(value: Scalar, item: Item, spec: TagSpec, order: WordOrder) -> tuple[list[int], int]:
    """Give the registers that hold a tag's raw value, and the mask of the bits in them that are the tag's.

    The mask is 0xFFFF unless the tag is a part of one register: then the register's other bits are 0 here and belong to
    others. For item.table "holding". Raises ValueError, with what the tag can hold, when the value does not fit.
    """
    if spec.type == "string":
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text")
        return encode_text(value, item.width, order), 0xFFFF
    if isinstance(value, str) or value is None:
        raise ValueError(f"{value!r} is no number")
    if item.bit is None and spec.type != "bool":
        return encode(value, spec.type, order), 0xFFFF
    if spec.type == "bool" and value not in {0, 1}:
        raise ValueError(f"{value!r} is neither true nor false")
    low, high = _BYTES[spec.type] if item.bits == 8 and spec.type == "int8" else (0, (1 << item.bits) - 1)
    field = (1 << item.bits) - 1
    shift = item.bit or 0
    register = (_whole(value, spec.type, low, high) & field) << shift
    mask = 0xFFFF if item.bit is None else field << shift
    return ([_swapped(register)], _swapped(mask)) if swaps(order) else ([register], mask)


def value_of(item: Item, spec: TagSpec, words: Sequence[int], order: WordOrder) -> Scalar:
    """Give one tag's raw value from its own registers (or its one bit), unscaled.

    Raises ValueError when they make no sense: text that is no UTF-8, BCD without digits.
    """
    registers = np.array([words], np.uint16)
    if item.table in {"coil", "discrete"}:
        return bool(words[0])
    if spec.type == "string":
        return decode_text(registers[0], order)
    if item.bit is None and spec.type != "bool":
        number = decode(registers, spec.type, order)[0].item()
        if spec.type in DIGITS and number == NO_DIGIT:
            raise ValueError(f"{' '.join(f'{word:04x}' for word in words)} holds half bytes that are no decimal digits")
        return number
    register = _swapped(words[0]) if swaps(order) else words[0]
    if item.bit is None:
        return register != 0
    field = register >> item.bit & (1 << item.bits) - 1
    if spec.type == "bool":
        return field != 0
    return field - 256 if spec.type == "int8" and field > 127 else field


def _whole(value: float, kind: DataType, low: int, high: int) -> int:
    """Give the nearest integer, which a type holds. Raises ValueError."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number that {kind} can hold")
    whole = round(value)
    if not low <= whole <= high:
        raise ValueError(f"{value} does not fit {kind} here ({low} to {high})")
    return whole


def _swapped(register: int) -> int:
    return (register & 0xFF) << 8 | register >> 8
