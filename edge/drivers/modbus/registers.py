"""Registers ↔ values: word orders, all data types, strings. Pure.

A Modbus register is 16 bits, high byte first on the wire. What the standard leaves open is how longer values lie in
several registers; the letters name the bytes of a 32-bit value from the most significant (A) to the least (D):
`ABCD` as the standard suggests, `CDAB` low word first, `BADC` bytes swapped in each word, `DCBA` both. For 64 bits the
same is said of four words. One register alone follows the bytes: `BADC` and `DCBA` swap them. Text is never turned
around by words, only by bytes.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge.tags import DataType, WordOrder

Number = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]

NUMBERS: Final[dict[DataType, str]] = {
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}
"""Type → numpy's name of it, big end first."""


def width(kind: DataType, length: int = 1) -> int:
    """Give the number of registers of one value; `length` is that of a string."""
    if kind == "string":
        return length
    return np.dtype(NUMBERS[kind]).itemsize // 2 if kind in NUMBERS else 1


def big_endian(words: NDArray[np.uint16], order: WordOrder) -> NDArray[np.uint16]:
    """Put the words of each value in the order ABCD…; words: (values, words of one value), and so is the result."""
    if order in {"CDAB", "DCBA"}:
        words = words[:, ::-1]
    return words.byteswap() if order in {"BADC", "DCBA"} else words


def decode(words: NDArray[np.uint16], kind: DataType, order: WordOrder) -> NDArray[np.generic]:
    """Give the numbers that stand in words: (values, words of one value) → (values,) of the type's own dtype."""
    ordered = np.ascontiguousarray(big_endian(words, order)).astype(">u2")
    return ordered.view(NUMBERS[kind])[:, 0]


def encode(value: float, kind: DataType, order: WordOrder) -> list[int]:
    """Give the registers of one number. Raises OverflowError when the type cannot hold it."""
    dtype = np.dtype(NUMBERS[kind])
    plain = np.array([int(value) if dtype.kind in "iu" else value], dtype).view(">u2").astype(np.uint16)
    return [int(word) for word in big_endian(plain.reshape(1, -1), order)[0]]


def decode_text(words: NDArray[np.uint16], order: WordOrder) -> str:
    """Give the text in a row of registers, up to the first NUL, without trailing blanks.

    Raises UnicodeDecodeError when it is no UTF-8 (of which ASCII is a part).
    """
    if order in {"BADC", "DCBA"}:
        words = words.byteswap()
    return words.astype(">u2").tobytes().split(b"\0", 1)[0].decode("utf-8").rstrip(" ")


def encode_text(text: str, length: int, order: WordOrder) -> list[int]:
    """Give the `length` registers of a text, NULs behind it. Raises ValueError when it does not fit."""
    raw = text.encode("utf-8")
    if len(raw) > 2 * length:
        raise ValueError(f"{text!r} takes {len(raw)} bytes, {length} registers hold {2 * length}")
    words = np.frombuffer(raw.ljust(2 * length, b"\0"), ">u2").astype(np.uint16)
    return [int(word) for word in (words.byteswap() if order in {"BADC", "DCBA"} else words)]
