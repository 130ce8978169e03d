"""Every gateway gets its turn: a queue that serves them in rotation, and a quota on what one may send.

A gateway with a valid key that sends as fast as it can fills its own queue and nobody else's. What does not fit is
thrown away and counted: the receipt's watermark tells the gateway where to begin again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from cloud.ingest.items import Item
from sync.frames import Batch
from sync.topics import Address

ITEMS_EACH: Final = 128
BYTES_ALL: Final = 128 * 1024 * 1024
LEAST_BYTES_EACH: Final = 1024 * 1024
BURST_S: Final = 2.0
SECOND: Final = 1_000_000_000


def records(item: Item) -> int:
    """Give what an item weighs in a transaction."""
    return item.frame.count if isinstance(item.frame, Batch) else 1


@dataclass(slots=True)
class _Line:
    items: deque[Item] = field(default_factory=deque[Item])
    bytes: int = 0


class FairQueue:
    """Items that wait to be stored; in order for one gateway, in rotation among gateways."""

    def __init__(self) -> None:
        self._lines: dict[Address, _Line] = {}
        self._turn: deque[Address] = deque()
        self._items = 0

    def __len__(self) -> int:
        return self._items

    def put(self, item: Item) -> bool:
        """Add an item; False when its gateway has too much here already, and then it is not added."""
        line = self._lines.get(item.address)
        if line is None:
            line = self._lines[item.address] = _Line()
            self._turn.append(item.address)
        limit = max(LEAST_BYTES_EACH, BYTES_ALL // len(self._lines))
        if len(line.items) >= ITEMS_EACH or (line.items and line.bytes + len(item.body) > limit):
            return False
        line.items.append(item)
        line.bytes += len(item.body)
        self._items += 1
        return True

    def take(self) -> Item | None:
        """Give the next item of the gateway whose turn it is; None when there is nothing."""
        if not self._turn:
            return None
        address = self._turn.popleft()
        line = self._lines[address]
        item = line.items.popleft()
        line.bytes -= len(item.body)
        self._items -= 1
        if line.items:
            self._turn.append(address)
        else:
            del self._lines[address]
        return item


@dataclass(slots=True)
class _Bucket:
    messages: float
    bytes: float
    at: int


class Quota:
    """A token bucket of messages and one of bytes for each gateway, looked at before anything is opened."""

    def __init__(self, messages_per_s: float, bytes_per_s: float) -> None:
        self._messages = messages_per_s
        self._bytes = bytes_per_s
        self._buckets: dict[Address, _Bucket] = {}

    def allows(self, address: Address, size: int, now: int) -> bool:
        """Tell whether a message may come in, and count it. now: monotonic ns."""
        most_messages, most_bytes = self._messages * BURST_S, self._bytes * BURST_S
        bucket = self._buckets.setdefault(address, _Bucket(most_messages, most_bytes, now))
        passed = (now - bucket.at) / SECOND
        bucket.messages = min(most_messages, bucket.messages + passed * self._messages)
        bucket.bytes = min(most_bytes, bucket.bytes + passed * self._bytes)
        bucket.at = now
        if bucket.messages < 1 or bucket.bytes < min(size, most_bytes):
            return False
        bucket.messages -= 1
        bucket.bytes -= size
        return True
