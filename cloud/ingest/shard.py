"""Which gateways one of several ingest processes listens to: the highest of its hashes says whose a gateway is.

With one process more or less only the gateways of that one move. Nothing but the load depends on it: two processes that
hear one gateway store every record once all the same, because each stream's row is locked while it moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sync.topics import EVERYTHING_UP, Address


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of process `index` of `count`, counted from 1."""

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, address: Address) -> bool:
        """Tell whether a gateway is this process's."""
        return self.index == max(range(1, self.count + 1), key=lambda index: _weight(address, index))

    def subscriptions(self, enrolled: Iterable[Address]) -> list[str]:
        """Give what to subscribe to: everything, or exactly the topics of its gateways."""
        if self.count == 1:
            return [EVERYTHING_UP]
        return [address.up("#") for address in sorted(enrolled) if self.has(address)]


def _weight(address: Address, index: int) -> bytes:
    return hashlib.sha256(f"{address}\n{index}".encode()).digest()


def shard(text: str) -> Shard:
    """Read `I/N`. Raises ValueError with what is expected."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count) <= 1024):
        raise ValueError(f"{text!r} is no shard; write I/N, such as 1/3, 2/3 and 3/3 for three processes")
    return Shard(int(index), int(count))
