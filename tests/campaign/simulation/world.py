"""The simulated world: virtual time, a heap of what is to happen, chance by name, and the trace of what did."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.campaign.simulation.plan import Plan, draws

EPOCH: Final = 1_790_000_000 * 1_000_000_000
"""True time at the beginning, ns since 1970."""
TAIL: Final = 40
"""Lines of the trace that a failure shows."""


class ViolationError(AssertionError):
    """The promise is broken: what, where, and when in virtual time."""


@dataclass(slots=True)
class Clock:
    """One machine's clocks in virtual time; `sync.clock.Clock` for whoever never sleeps."""

    world: World
    offset: int = 0
    """Wall clock minus true time; jumps."""
    started: int = 0
    """When the machine was switched on."""

    def now(self) -> int:
        return EPOCH + self.world.now + self.offset

    def monotonic(self) -> int:
        return self.world.now - self.started + 1_000_000_000

    def __deepcopy__(self, memo: object) -> Clock:
        return self  # a copied process stands in the same world, and before the same clock

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing in the simulation waits: it is called when it is due")


class World:
    """Virtual time and everything that is drawn, scheduled and noted in it."""

    def __init__(self, plan: Plan, *, keep: bool = False) -> None:
        self.plan = plan
        self.now = 0
        self.healed = False
        self.events = 0
        self.faults: Counter[str] = Counter()
        self.tail: deque[str] = deque(maxlen=None if keep else TAIL)
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._trace = hashlib.sha256()
        self._chances: dict[str, random.Random] = {}

    # --- chance ---

    def chance(self, name: str) -> random.Random:
        """Give the stream of chance of one purpose; the same seed and name draw the same."""
        found = self._chances.get(name)
        if found is None:
            found = self._chances[name] = draws(self.plan.seed, name)
        return found

    def token(self, name: str, size: int = 16) -> str:
        """Give random bytes as hex, as `secrets.token_hex` does."""
        return self.chance(f"token/{name}").randbytes(size).hex()

    # --- time ---

    def after(self, delay: int, what: Callable[..., None], *arguments: Any) -> None:
        """Have something happen so many ns from now."""
        heapq.heappush(self._heap, (self.now + max(0, delay), next(self._order), what, arguments))

    def at(self, when: int, what: Callable[..., None], *arguments: Any) -> None:
        """Have something happen at a virtual time."""
        self.after(when - self.now, what, *arguments)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._heap:
            return False
        self.now, _, what, arguments = heapq.heappop(self._heap)
        self.events += 1
        what(*arguments)
        return True

    # --- what was ---

    def say(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now / 1e9:12.6f} {who:<10} {what}"
        self._trace.update(line.encode())
        self.tail.append(line)

    def count(self, kind: str, times: int = 1) -> None:
        """Note that a fault was really injected."""
        self.faults[kind] += times

    def digest(self) -> str:
        """Give the hash of all that was said so far."""
        return self._trace.hexdigest()
