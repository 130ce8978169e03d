"""The device's memory as far as anybody asked for it, side by side, decoded all at once whatever blocks it came in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.addresses import order_of
from edge.drivers.columns import EXACT
from edge.drivers.modbus.address import Item
from edge.drivers.modbus.plan import Block
from edge.drivers.modbus.registers import DIGITS, NO_DIGIT, decode_text, interpret, native_words, swaps
from edge.tags import DataType, Tag, WordOrder

_LONG = frozenset[DataType]({"int64", "uint64", "bcd64"})
"""Types whose numbers may be longer than a float64 is exact."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Numbers of one type, in registers whose bytes are swapped or not."""

    kind: DataType
    swapped: bool
    positions: NDArray[np.intp]
    slots: NDArray[np.intp]
    """(tags, registers of one value): where they stand in the image, in the order this computer keeps words."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What takes one register or a part of it: bools, bytes, bit fields."""

    positions: NDArray[np.intp]
    slots: NDArray[np.intp]
    swapped: NDArray[np.bool_]
    shift: NDArray[np.uint16]
    mask: NDArray[np.uint16]
    sign: NDArray[np.int32]
    """128 for a signed byte, else 0."""
    whole: NDArray[np.bool_]
    """A bool that is a whole register: true when it is not zero."""


class Image:
    """Registers and bits of all items; filled block by block, decoded once a scan."""

    def __init__(self, tags: Sequence[Tag], items: Sequence[Item], order: WordOrder) -> None:
        self._size = len(tags)
        self._slot: dict[int, int] = {}
        registers = bits = 0
        grouped: dict[tuple[DataType, bool, int], list[tuple[Item, WordOrder]]] = {}
        flags: list[Item] = []
        parts: list[tuple[Item, WordOrder]] = []
        self._texts: list[tuple[Item, WordOrder]] = []
        for item in items:
            spec = tags[item.position].spec
            own = order_of(spec, order)
            if item.table in {"coil", "discrete"}:
                self._slot[item.position] = bits
                bits += 1
                flags.append(item)
                continue
            self._slot[item.position] = registers
            registers += item.width
            if spec.type == "bool" or item.bit is not None:
                parts.append((item, own))
            elif spec.type == "string":
                self._texts.append((item, own))
            else:
                grouped.setdefault((spec.type, swaps(own), item.width), []).append((item, own))
        self._registers = np.zeros(registers, np.uint16)
        self._flags = np.zeros(bits, np.bool_)
        self._groups = [
            _Group(
                kind,
                swapped,
                np.array([item.position for item, _ in members], np.intp),
                np.array(
                    [np.array(native_words(own, w)) + self._slot[item.position] for item, own in members], np.intp
                ),
            )
            for (kind, swapped, w), members in grouped.items()
        ]
        self._flag_at = np.array([item.position for item in flags], np.intp)
        self._flag_slots = np.array([self._slot[item.position] for item in flags], np.intp)
        self._parts = self._columns(tags, parts)

    def _columns(self, tags: Sequence[Tag], parts: Sequence[tuple[Item, WordOrder]]) -> _Parts:
        items = [item for item, _ in parts]
        kinds = [tags[item.position].spec.type for item in items]
        return _Parts(
            np.array([item.position for item in items], np.intp),
            np.array([self._slot[item.position] for item in items], np.intp),
            np.array([swaps(own) for _, own in parts], np.bool_),
            np.array([item.bit or 0 for item in items], np.uint16),
            np.array([0xFFFF if item.bit is None else (1 << item.bits) - 1 for item in items], np.uint16),
            np.array([128 if kind == "int8" else 0 for kind in kinds], np.int32),
            np.array([item.bit is None for item in items], np.bool_),
        )

    def target(self, block: Block) -> NDArray[np.intp]:
        """Give where the registers (or bits) of `block.source` stand in the image."""
        return np.concatenate([np.arange(item.width) + self._slot[item.position] for item in block.items])

    def fill(self, block: Block, target: NDArray[np.intp], answer: bytes) -> None:
        """Take over an answer: registers high byte first, or bits lowest first."""
        if block.registers:
            self._registers[target] = np.frombuffer(answer, ">u2")[block.source]
        else:
            self._flags[target] = np.unpackbits(np.frombuffer(answer, np.uint8), bitorder="little")[block.source]

    def decode(self) -> tuple[NDArray[np.float64], dict[int, str | int], list[int]]:
        """Give the raw value of every position, long integers and texts apart, and the positions that make no sense.

        NaN where there is none or it stands in the second. The third: texts that are no UTF-8, BCD without digits.
        """
        value = np.full(self._size, np.nan)
        other: dict[int, str | int] = {}
        senseless: list[int] = []
        for group in self._groups:
            words = self._registers[group.slots]
            numbers = interpret(words.byteswap() if group.swapped else words, group.kind)
            value[group.positions] = numbers
            if group.kind in DIGITS:
                wrong = group.positions[numbers == NO_DIGIT]
                value[wrong] = np.nan
                senseless += wrong.tolist()
            if group.kind in _LONG:
                for at in np.flatnonzero(np.abs(numbers.astype(np.float64)) >= EXACT):
                    if abs(int(numbers[at])) > EXACT:
                        position = int(group.positions[at])
                        other[position], value[position] = int(numbers[at]), np.nan
        if len(self._flag_at):
            value[self._flag_at] = self._flags[self._flag_slots]
        if len(self._parts.positions):
            value[self._parts.positions] = self._decode_parts(self._parts)
        for item, order in self._texts:
            slot = self._slot[item.position]
            try:
                other[item.position] = decode_text(self._registers[slot : slot + item.width], order)
            except UnicodeDecodeError:
                senseless.append(item.position)
        return value, other, senseless

    def _decode_parts(self, parts: _Parts) -> NDArray[np.int32]:
        words = self._registers[parts.slots]
        words = np.where(parts.swapped, words.byteswap(), words)
        field = ((words >> parts.shift) & parts.mask).astype(np.int32)
        field = np.where(parts.whole, field != 0, field)
        return (field ^ parts.sign) - parts.sign
