"""Where a tag lies on a Modbus device: what the planner packs into requests and the image decodes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge.addresses import AddressError, Table, place
from edge.tags import TagSpec, WordOrder

__all__ = ["AddressError", "Item", "Table", "parse"]


@dataclass(frozen=True, slots=True)
class Item:
    """Where one tag lies on the device."""

    position: int
    """Place in the connection's list of tags."""
    table: Table
    address: int
    """As the protocol counts, from 0."""
    width: int
    """Registers, or one bit."""
    bit: int | None = None
    """Lowest bit of the register that is meant, 0 the least significant; None for all of it."""
    bits: int = 1
    """How many, from `bit` upwards: 1 for a single bit, 8 for a byte."""

    @property
    def end(self) -> int:
        return self.address + self.width


def parse(
    position: int, address: str, spec: TagSpec, *, base: int = 0, element: int = 0, order: WordOrder = "ABCD"
) -> Item:
    """Read a tag's address (the grammar: `edge.addresses`). Raises AddressError with what to write instead.

    base, order: the connection's `address_base` and `word_order`; element: which one of an array the tag is.
    """
    at = place(address, spec, base=base, element=element, order=order)
    return Item(position, at.table, at.address, at.width, at.bit, at.bits)
