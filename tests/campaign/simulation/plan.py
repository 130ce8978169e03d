"""What one seed does: which fault kinds it switches on (swarm), how often, for how long, and with which installation.

Swarm testing: every kind is on with p = 0.45, so that some seeds are pure and others are a storm; each draws its own
rates. Every draw comes from a stream of its own name, so that taking one kind away changes no other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

MS: Final = 1_000_000
S: Final = 1_000_000_000

SWARM_P: Final = 0.45

WINDOWS: Final = {
    "drop": "messages vanish",
    "duplicate": "messages arrive twice",
    "reorder": "messages overtake each other",
    "delay": "messages take seconds",
    "corrupt": "a byte turns on the way",
    "stale": "messages of earlier sessions arrive once more",
    "ack_drop": "the broker acknowledges and loses",
    "up_cut": "what the gateway sends vanishes, what it is sent arrives",
    "down_cut": "the other way round",
    "link_down": "no connection",
    "nobody_listens": "the cloud is not subscribed",
    "window_zero": "the cloud stops the flow",
    "database_down": "the cloud's database refuses",
    "disk_pressure": "the outbox is at its quota",
}
"""Kinds that hold for a while."""

MOMENTS: Final = {
    "broker_restart": "every connection ends, what the broker had is gone",
    "takeover": "another client takes the gateway's client id",
    "edge_crash": "the gateway's process ends and starts anew",
    "edge_restore": "the gateway's store is one from a backup",
    "memory_image": "a machine goes on from an earlier state of memory and disk",
    "clone": "a second box with the first one's store",
    "replaced": "a new box with an empty store takes the first one's place",
    "turn": "a new incarnation within the process",
    "edge_clock": "the gateway's wall clock jumps",
    "bit_rot": "a bit turns in a chunk on the gateway's disk",
    "damaged_body": "a body is damaged in memory before it is sealed",
    "cloud_crash": "the ingest's processes end and start anew",
    "cloud_restore": "the cloud's database is the last verified backup",
    "cloud_clock": "the cloud's wall clock jumps",
    "reshard": "gateways move to another ingest worker",
    "wanted": "the cloud asks for records again",
    "person": "a person gives up what a lost incarnation still owes",
}
"""Kinds that happen at an instant."""

SETTINGS: Final = {
    "boot_1970": "gateways without a battery: they start in 1970 until a time service answers",
    "two_workers": "two ingest workers share the gateways",
    "old_gateway": "a gateway of protocol 1",
    "old_cloud": "a cloud of protocol 1",
    "old_backup": "a person restores an older backup of the cloud than the last verified one",
    "late_line": "gateways run for a third of the time before their line is connected",
    "many_starts": "so many starts offline that a resume cannot name them all",
}
"""Kinds that hold for the whole seed."""

KINDS: Final = {**WINDOWS, **MOMENTS, **SETTINGS}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault of the schedule."""

    at: int
    """Virtual ns."""
    until: int
    """For a window its end, else `at`."""
    kind: str
    where: int
    """Which gateway it hits; the gateways' number for all of them."""
    strength: float
    """0 … 1: a probability, a share, whatever the kind makes of it."""

    def __str__(self) -> str:
        lasting = f" for {(self.until - self.at) / S:.1f} s" if self.until > self.at else ""
        return f"{self.at / S:.1f} s: {self.kind}{lasting} (gateway {self.where}, strength {self.strength:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One seed's installation, load and faults."""

    seed: int
    horizon: int
    """Virtual ns of disturbance; then everything is healed."""
    gateways: int
    kinds: frozenset[str]
    commits: int
    """Of all gateways together."""
    facts: int
    """Most records of one commit."""
    safe: str
    """`backup` or `stored`: what the operator of this cloud has chosen."""
    heartbeat: int
    faults: tuple[Fault, ...] = field(default=())

    def has(self, kind: str) -> bool:
        return kind in self.kinds

    @property
    def bound(self) -> int:
        """Virtual ns after the healing by which everything must be told: the longest waits of both sides, and slack."""
        return 900 * S


def draws(seed: int, name: str) -> random.Random:
    """Give the stream of chance of one purpose."""
    return random.Random(f"{seed}/{name}")


def make(
    seed: int, *, without: frozenset[str] = frozenset(), shorter: float = 1.0, only: frozenset[str] = frozenset()
) -> Plan:
    """Give the plan of a seed.

    without, shorter: fault kinds that are left out, and how much of the horizon is run, to make a failure small. only:
    kinds that are on in any case and come four times as often, to show what a broken variant breaks.
    """
    chance = draws(seed, "plan")
    kinds = {kind for kind in KINDS if draws(seed, f"swarm/{kind}").random() < SWARM_P}
    if only:
        kinds |= only
    kinds -= without
    if kinds & {"old_gateway", "old_cloud"}:
        kinds.discard(
            "memory_image"
        )  # protocol 1 has no links: nobody could tell a copy's records from the stored ones
    horizon_s = math.exp(chance.uniform(math.log(60), math.log(4 * 3600)))
    if chance.random() < 0.05:
        horizon_s = chance.uniform(1, 5) * 86_400
    horizon = int(horizon_s * shorter * S)
    gateways = chance.choices((1, 2, 3, 4), (0.5, 0.3, 0.12, 0.08))[0]
    commits = int(chance.choice((12, 25, 40)) * (0.5 + 0.5 * gateways))
    facts = chance.choice((1, 3, 6, 12))
    plan = Plan(
        seed=seed,
        horizon=horizon,
        gateways=gateways,
        kinds=frozenset(kinds),
        commits=max(1, int(commits * shorter)),
        facts=facts,
        safe="backup" if chance.random() < 0.75 else "stored",
        heartbeat=max(5 * S, horizon // 60),
    )
    faults = sorted(fault for kind in sorted(kinds) for fault in _schedule(plan, kind, 4 if kind in only else 1))
    return Plan(**{name: getattr(plan, name) for name in Plan.__slots__ if name != "faults"}, faults=tuple(faults))


CHATTY: Final = {"nobody_listens", "window_zero", "database_down", "up_cut", "down_cut"}
"""While these hold a gateway speaks every few seconds: a day of it costs time and shows nothing new."""
RARE: Final = {"edge_restore", "memory_image", "clone", "replaced", "cloud_restore", "person", "reshard", "wanted"}


def _schedule(plan: Plan, kind: str, often: int) -> Iterator[Fault]:
    if kind in SETTINGS:
        return
    chance = draws(plan.seed, f"schedule/{kind}")
    times = 1 + (chance.random() < 0.4) if kind in RARE else chance.choice((1, 1, 2, 3, 5))
    for _ in range(times * often):
        at = int(plan.horizon * chance.uniform(0.05, 0.9))
        until = at
        if kind in WINDOWS:
            shortest, longest = 0.5 * S, max(2 * S, plan.horizon / 4)
            if kind in CHATTY:
                longest = min(longest, 900 * S)
            until = min(plan.horizon, at + int(math.exp(chance.uniform(math.log(shortest), math.log(longest)))))
        everywhere = kind in WINDOWS and chance.random() < 0.3
        where = plan.gateways if everywhere else chance.randrange(plan.gateways)
        yield Fault(at, until, kind, where, chance.random())
