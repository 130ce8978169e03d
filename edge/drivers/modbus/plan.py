"""What to ask a Modbus device for: the fewest requests that bring all of them. Pure.

Registers that nobody asked for are read along where that saves a request; a value is never cut in two; where the device
refuses a block, the block is halved until the refused registers stand alone, and they are left out from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.drivers.modbus.address import Item, Table

FUNCTION: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
MAX_BITS = 2000


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
        return self.table in {"holding", "input"}

    @cached_property
    def positions(self) -> NDArray[np.intp]:
        return np.array([item.position for item in self.items], np.intp)

    @cached_property
    def source(self) -> NDArray[np.intp]:
        """Place in the answer of every register (or bit) that an item wants, item after item."""
        return np.concatenate([np.arange(item.address, item.end) for item in self.items]) - self.address


def plan(items: Sequence[Item], *, max_gap: int, max_registers: int, refused: Sequence[Item] = ()) -> list[Block]:
    """Give the requests that bring all items.

    max_gap: registers (for bits sixteen times as many) read along to save a request. refused: items the device gives
    no answer for; no block reaches over one. An item wider than `max_registers` still gets a block of its own.
    """
    blocks: list[Block] = []
    for table in FUNCTION:
        bits = table in {"coil", "discrete"}
        most, gap = (MAX_BITS, max_gap * 16) if bits else (max_registers, max_gap)
        walls = sorted(item.address for item in refused if item.table == table)
        open_items: list[Item] = []
        end = 0
        for item in sorted((i for i in items if i.table == table), key=lambda i: (i.address, i.end)):
            if open_items and (
                item.address > end + gap
                or max(end, item.end) - open_items[0].address > most
                or any(end <= wall < item.address for wall in walls)
            ):
                blocks.append(_block(table, open_items, end))
                open_items = []
            end = max(end, item.end) if open_items else item.end
            open_items.append(item)
        if open_items:
            blocks.append(_block(table, open_items, end))
    return blocks


def halves(block: Block) -> tuple[Block, Block]:
    """Cut a block of at least two items between two of them; what only lay between the halves is asked for no more."""
    middle = len(block.items) // 2
    first, second = block.items[:middle], block.items[middle:]
    return (
        _block(block.table, list(first), max(item.end for item in first)),
        _block(block.table, list(second), max(item.end for item in second)),
    )


def _block(table: Table, items: list[Item], end: int) -> Block:
    start = min(item.address for item in items)
    return Block(table, start, end - start, tuple(items))
