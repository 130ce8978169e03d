"""The device's memory as far as anybody asked for it, side by side, decoded all at once whatever blocks it came in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.drivers.columns import EXACT
from edge.drivers.modbus.address import Item
from edge.drivers.modbus.plan import Block
from edge.drivers.modbus.registers import decode, decode_text
from edge.tags import DataType, Tag, WordOrder


@dataclass(frozen=True, slots=True)
class _Group:
    """Tags of one type and word order."""

    kind: DataType
    order: WordOrder
    positions: NDArray[np.intp]
    slots: NDArray[np.intp]
    """(tags, registers of one value): where they stand in the image."""


class Image:
    """Registers and bits of all items; filled block by block, decoded once a scan."""

    def __init__(self, tags: Sequence[Tag], items: Sequence[Item], order: WordOrder) -> None:
        self._size = len(tags)
        self._slot: dict[int, int] = {}
        registers = bits = 0
        grouped: dict[tuple[DataType, WordOrder, int], list[Item]] = {}
        self._bits: list[Item] = []
        self._register_bits: list[Item] = []
        self._texts: list[tuple[Item, WordOrder]] = []
        for item in items:
            spec = tags[item.position].spec
            own = spec.word_order or order
            if item.table in {"coil", "discrete"}:
                self._slot[item.position] = bits
                bits += 1
                self._bits.append(item)
                continue
            self._slot[item.position] = registers
            registers += item.width
            if spec.type == "bool":
                self._register_bits.append(item)
            elif spec.type == "string":
                self._texts.append((item, own))
            else:
                grouped.setdefault((spec.type, own, item.width), []).append(item)
        self._registers = np.zeros(registers, np.uint16)
        self._flags = np.zeros(bits, np.bool_)
        self._groups = [
            _Group(
                kind,
                own,
                np.array([item.position for item in members], np.intp),
                np.array([np.arange(words) + self._slot[item.position] for item in members], np.intp),
            )
            for (kind, own, words), members in grouped.items()
        ]
        self._bit_at, self._bit_slots = self._columns(self._bits)
        self._register_bit_at, self._register_bit_slots = self._columns(self._register_bits)
        whole = 0xFFFF  # a register that stands for a bool as a whole is true when it is not zero
        self._masks = np.array([whole if i.bit is None else 1 << i.bit for i in self._register_bits], np.uint16)

    def _columns(self, items: Sequence[Item]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        positions = np.array([item.position for item in items], np.intp)
        return positions, np.array([self._slot[item.position] for item in items], np.intp)

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
        """Give the value of every position (NaN where it is none or stands in the second), and undecodable texts."""
        value = np.full(self._size, np.nan)
        other: dict[int, str | int] = {}
        for group in self._groups:
            numbers: NDArray[Any] = decode(self._registers[group.slots], group.kind, group.order)
            value[group.positions] = numbers
            if group.kind in {"int64", "uint64"}:
                for at in np.flatnonzero(np.abs(numbers.astype(np.float64)) >= EXACT):
                    if abs(int(numbers[at])) > EXACT:
                        position = int(group.positions[at])
                        other[position], value[position] = int(numbers[at]), np.nan
        if self._bits:
            value[self._bit_at] = self._flags[self._bit_slots]
        if self._register_bits:
            value[self._register_bit_at] = (self._registers[self._register_bit_slots] & self._masks) != 0
        garbled: list[int] = []
        for item, order in self._texts:
            slot = self._slot[item.position]
            try:
                other[item.position] = decode_text(self._registers[slot : slot + item.width], order)
            except UnicodeDecodeError:
                garbled.append(item.position)
        return value, other, garbled
