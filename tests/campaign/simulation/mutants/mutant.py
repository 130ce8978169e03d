"""What a deliberately broken variant is: a sentence, the fault kinds that show it, and how the product is broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from tests.campaign.simulation.plan import KINDS, Plan, make
from tests.campaign.simulation.simulate import Outcome, Simulation, simulate

MOST_EVENTS: Final = 15_000
"""A broken variant may turn in a circle; nobody waits long for it."""


class Mutant:
    """The right protocol; each of its kinds breaks one rule while it is `applied`."""

    sentence: ClassVar[str] = "nothing is broken"
    kinds: ClassVar[frozenset[str]] = frozenset()
    """Switched on in every seed in addition to the seed's own swarm."""
    without: ClassVar[frozenset[str]] = frozenset()
    """Never on: the variant could not run at all with it."""
    simulation: ClassVar[type[Simulation]] = Simulation
    survives: ClassVar[str] = ""
    """Why nobody catches this one, by design; empty for a variant that must be caught."""

    @classmethod
    def patches(cls) -> Iterator[tuple[Any, str, Any]]:
        """Give (owner, name, replacement) of everything that is replaced."""
        yield from ()

    @classmethod
    @contextlib.contextmanager
    def applied(cls) -> Iterator[None]:
        """Break the product within the block."""
        with contextlib.ExitStack() as stack:
            for owner, name, replacement in cls.patches():
                before = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
                stack.callback(setattr, owner, name, before)
                setattr(owner, name, replacement)
            yield

    @classmethod
    def plan(cls, seed: int) -> Plan:
        """Give what a seed does to this variant: every other one has nothing but its own kinds of faults."""
        others = frozenset(KINDS) - cls.kinds if seed % 2 else frozenset[str]()
        return make(seed, only=cls.kinds, without=cls.without | others)

    @classmethod
    def outcome(cls, seed: int) -> Outcome:
        """Run one seed with the rule broken."""
        kind = type("Impatient", (cls.simulation,), {"most_events": MOST_EVENTS})
        with cls.applied():
            return simulate(cls.plan(seed), kind=kind)

    @classmethod
    def control(cls, seed: int) -> Outcome:
        """Run the same seed with nothing broken: who fails there, too, has not been caught by it."""
        return simulate(cls.plan(seed))


def simulation(*, box: Any = None, cloud: Any = None) -> type[Simulation]:
    """Give a simulation with another gateway or another cloud in it."""
    return type("Broken", (Simulation,), {
        **({"box_kind": box} if box else {}),
        **({"cloud_kind": cloud} if cloud else {}),
    })  # fmt: skip
