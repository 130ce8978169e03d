"""What to ask a Modbus device for: the fewest requests that bring all items. Pure.

Registers that nobody asked for are read along where that is cheaper than one more request; what that costs is learnt
from round trips. A value is never cut in two. Where the device refuses a block, the block is halved until the refused
registers stand alone; they are left out from then on, and no later block reaches over the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.drivers.modbus.address import Item, Table
from edge.drivers.modbus.pdu import MAX_BITS, MAX_REGISTERS

FUNCTION: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
BITS: Final = frozenset[Table]({"coil", "discrete"})

Seam = tuple[Table, int]
"""An address that no block may reach over: what lies before and from there on is never asked for in one request."""


@dataclass(frozen=True, eq=False)
class Block:
    """One request: `count` registers or bits from `address`, and the items that lie in them. Equal only to itself."""

    table: Table
    address: int
    count: int
    items: tuple[Item, ...]

    @property
    def registers(self) -> bool:
        """Whether it is registers (else bits) that come."""
        return self.table not in BITS

    @property
    def words(self) -> float:
        """How much comes, in registers."""
        return self.count if self.registers else self.count / 16

    @cached_property
    def positions(self) -> NDArray[np.intp]:
        return np.array([item.position for item in self.items], np.intp)

    @cached_property
    def source(self) -> NDArray[np.intp]:
        """Place in the answer of every register (or bit) that an item wants, item after item."""
        return np.concatenate([np.arange(item.address, item.end) for item in self.items]) - self.address


def plan(
    items: Sequence[Item],
    *,
    max_gap: int,
    max_registers: int = MAX_REGISTERS,
    max_bits: int = MAX_BITS,
    refused: Sequence[Item] = (),
    seams: AbstractSet[Seam] = frozenset(),
) -> list[Block]:
    """Give the requests that bring all items.

    max_gap: registers (for bits sixteen times as many) read along to save a request. refused: items the device gives
    no answer for; no block reaches over one. An item wider than `max_registers` still gets a block of its own.
    """
    blocks: list[Block] = []
    for table in FUNCTION:
        most, gap = (max_bits, max_gap * 16) if table in BITS else (max_registers, max_gap)
        walls = [(item.address, item.end) for item in refused if item.table == table]
        cuts = sorted({at for of, at in seams if of == table} | {at for wall in walls for at in wall})
        open_items: list[Item] = []
        end = 0
        for item in sorted((i for i in items if i.table == table), key=lambda i: (i.address, i.end)):
            if open_items and (
                item.address > end + gap
                or max(end, item.end) - open_items[0].address > most
                or _between(cuts, open_items[0].address, item.address)
            ):
                blocks.append(_block(table, open_items, end))
                open_items = []
            end = max(end, item.end) if open_items else item.end
            open_items.append(item)
        if open_items:
            blocks.append(_block(table, open_items, end))
    return blocks


def _between(cuts: Sequence[int], first: int, last: int) -> bool:
    """Tell whether a cut lies behind `first` and not behind `last`; cuts ascend."""
    at = int(np.searchsorted(cuts, first, "right")) if cuts else 0
    return at < len(cuts) and cuts[at] <= last


def halves(block: Block) -> tuple[Block, Block]:
    """Cut a block of at least two items between two of them; what only lay between the halves is asked for no more."""
    middle = len(block.items) // 2
    first, second = block.items[:middle], block.items[middle:]
    return (
        _block(block.table, list(first), max(item.end for item in first)),
        _block(block.table, list(second), max(item.end for item in second)),
    )


def seam(first: Block, second: Block) -> Seam:
    """Give where two halves meet, for a device that gives each and not both at once."""
    return first.table, max(first.address + 1, min(first.address + first.count, second.address))


def _block(table: Table, items: list[Item], end: int) -> Block:
    start = min(item.address for item in items)
    return Block(table, start, end - start, tuple(items))


class RoundTrips:
    """What one more request costs in registers, learnt from blocks of different length: time = request + n · register."""

    FORGET: Final = 0.99
    """How much an older round trip still weighs with each new one."""
    ENOUGH: Final = 12
    MOST: Final = 100
    """Registers; also what a device gets whose answers take the same time whatever their length."""

    LEAST_REQUEST_S: Final = 0.002
    """What a request counts for at least: it costs device and network more than the time that is seen here."""

    def __init__(self, gap: int) -> None:
        self.gap = gap
        """Registers that may be read along to save a request; what it was begun with until enough is known."""
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._shortest, self._longest = float("inf"), 0.0

    def observe(self, words: float, seconds: float) -> None:
        """Take the round trip of a block of so many registers."""
        if self._weight > 4:
            seconds = min(seconds, 3 * self._y / self._weight)  # a network's hiccup says nothing of registers
        keep = self.FORGET
        self._weight = self._weight * keep + 1
        self._x = self._x * keep + words
        self._y = self._y * keep + seconds
        self._xx = self._xx * keep + words * words
        self._xy = self._xy * keep + words * seconds
        self._shortest, self._longest = min(self._shortest, words), max(self._longest, words)
        if self._weight >= self.ENOUGH and self._longest - self._shortest >= 8:
            self.gap = self._learnt()

    def _learnt(self) -> int:
        spread = self._weight * self._xx - self._x * self._x
        if spread <= 1e-9 * self._weight * self._xx:
            return self.gap
        register = (self._weight * self._xy - self._x * self._y) / spread
        request = max(self.LEAST_REQUEST_S, (self._y - register * self._x) / self._weight)
        if register <= 0:
            return self.MOST
        return min(self.MOST, int(request / register))
