"""Answers that may be given again: the same input to the same rules and model, for a while.

For requests, where the same input comes twice; windows of a line differ, and a line judges each. The key holds all that a
verdict depends on but the time, so that another version, another policy or another memory never gets this answer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import astuple, dataclass
from typing import Final

import msgspec

from edge.judgment.given import FORM, Given, told
from edge.judgment.state import State
from edge.judgment.weighing import applies
from models.ruleset import Ruleset
from sync.facts import Judged

SURE_ENOUGH: Final = 0.7
"""Verdicts less sure than this are judged anew each time."""
MOST: Final = 1_000
S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer from memory."""

    fact: Judged
    """As it was when it was fresh, but for `cached`."""
    cached_at: int
    """ns since 1970, when it was kept."""
    remaining_s: float
    """For how long it may still be given."""


@dataclass(frozen=True, slots=True)
class _Entry:
    fact: Judged
    ruleset: str
    cached_at: int
    until: int


def key_of(ruleset: Ruleset, given: Given, *, model: str = "", tenant: str = "") -> str:
    """Give the key of a judgment. model: SHA-256 of the package that would be asked; empty where none is.

    Without a memory a verdict does not depend on when its window was, only on how long it was.
    """
    when = [given.start, given.end] if given.memory != State() else [given.end - given.start]
    content = [
        FORM, tenant, ruleset.name, ruleset.hash, astuple(ruleset.settings), model,
        given.work_unit, when, given.state, given.context, told(given),
    ]  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


class Cache:
    """At most so many answers, each for its time; who was not asked for longest goes first. Times are ns, any one clock."""

    def __init__(self, most: int = MOST) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._most = most
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str, now: int) -> Kept | None:
        """Give the answer under a key, unless it is too old."""
        entry = self._entries.get(key)
        if entry is not None and not entry.cached_at <= now < entry.until:
            del self._entries[key]  # also when the clock was set back: its age is not known any more
            entry = None
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return Kept(
            fact=msgspec.structs.replace(entry.fact, cached=True),
            cached_at=entry.cached_at,
            remaining_s=(entry.until - now) / S,
        )

    def keep(self, key: str, fact: Judged, *, now: int, ttl_s: float) -> bool:
        """Keep an answer for its time; tells whether it was kept: unsure ones, and ones that fell back, are not.

        An answer that had to do without its model is not kept: the model may be back a second later.
        """
        lacking = "rule" in fact.evidence and (fact.ml is None or (fact.ml.failure is not None and applies(fact.ml)))
        if ttl_s <= 0 or fact.confidence < SURE_ENOUGH or lacking:
            return False
        self._entries[key] = _Entry(fact, fact.ruleset, now, now + round(ttl_s * S))
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return True

    def purge(self, ruleset: str | None = None) -> int:
        """Forget the answers of a ruleset, or all; called when rules or models are activated or rolled back."""
        gone = [key for key, entry in self._entries.items() if ruleset is None or entry.ruleset == ruleset]
        for key in gone:
            del self._entries[key]
        return len(gone)
