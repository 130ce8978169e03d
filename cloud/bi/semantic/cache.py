"""Answers kept in memory: bounded in bytes, the least recently asked for go first. Nothing here ever grows old.

A key holds everything that a figure depends on, so an answer under its key stays right for ever; bounds are for memory
alone. What a plan has read is remembered beside it, so that only those marts' versions have to be in its key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BYTES: Final = 32 * 1024 * 1024
PLANS: Final = 4_096
_OVERHEAD: Final = 512


@dataclass(frozen=True, slots=True)
class Read:
    """What answering a plan took, the last time."""

    tables: tuple[str, ...]
    live: bool
    """Time of a running shift."""
    clocked: bool
    """What time it is."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer without what is told anew each time."""

    body: bytes
    at_ms: int


class Cache:
    """Kept answers, and what plans read."""

    def __init__(self, most: int = BYTES) -> None:
        self._most = most
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._reads: OrderedDict[str, Read] = OrderedDict()
        self.bytes = 0
        self.hits = self.misses = 0

    def get(self, key: str) -> Kept | None:
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return found

    def put(self, key: str, kept: Kept) -> None:
        """Keep an answer; one that would fill a quarter of the room is not kept."""
        size = len(kept.body) + _OVERHEAD
        if size * 4 > self._most or key in self._kept:
            return
        self._kept[key] = kept
        self.bytes += size
        while self.bytes > self._most:
            _, old = self._kept.popitem(last=False)
            self.bytes -= len(old.body) + _OVERHEAD

    def read_of(self, plan: str) -> Read | None:
        """Give what a plan read when it was last answered."""
        return self._reads.get(plan)

    def remember(self, plan: str, read: Read) -> None:
        self._reads[plan] = read
        self._reads.move_to_end(plan)
        while len(self._reads) > PLANS:
            self._reads.popitem(last=False)


def versions_of(read: Read, versions: Mapping[str, int]) -> str:
    """Give the vector of versions that an answer depends on, as text."""
    return " ".join(f"{table}={versions.get(table, 0)}" for table in sorted(read.tables))
