"""Globs over paths of names: `*` and `?` within a name, `**` across levels. Pure.

A walk carries a state from level to level: which parts of the pattern may come next. So a branch that cannot match any
more is never asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

State = frozenset[int]
"""Places in the pattern that the path so far may have reached."""
_ANY: Final = "**"


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern such as `line1/*/temperature` or `**/count`."""

    parts: tuple[str, ...]

    @staticmethod
    def of(pattern: str) -> Glob:
        """Read a pattern; slashes at its ends mean nothing, an empty one is everything."""
        return Glob(tuple(part for part in pattern.split("/") if part) or (_ANY,))

    def start(self) -> State:
        """Give the state at the root."""
        return self._spread({0})

    def step(self, state: State, name: str) -> State:
        """Give the state after one more name; empty when nothing below can match."""
        reached: set[int] = set()
        for place in state:
            if place == len(self.parts):
                continue
            if self.parts[place] == _ANY:
                reached.add(place)
            elif fnmatchcase(name, self.parts[place]):
                reached.add(place + 1)
        return self._spread(reached)

    def matches(self, state: State) -> bool:
        """Tell whether the path so far is one that is meant."""
        return len(self.parts) in state

    def goes_on(self, state: State) -> bool:
        """Tell whether something below may be meant."""
        return any(place < len(self.parts) for place in state)

    def names(self, name: str) -> bool:
        """Tell whether the pattern begins or ends with exactly this name."""
        return name in {self.parts[0], self.parts[-1]}

    def _spread(self, places: set[int]) -> State:
        """`**` also stands for no level at all."""
        reached = set(places)
        for place in sorted(places):
            while place < len(self.parts) and self.parts[place] == _ANY:
                place += 1  # noqa: PLW2901 - on to what may come next
                reached.add(place)
        return frozenset(reached)
