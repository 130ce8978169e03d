"""How the uplink is: what the page, the metrics and the log say of it, and how long it stays away after a failure."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sync.clock import Clock
from sync.effects import Counters

log = logging.getLogger("edge.uplink")

BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkVitals:
    """What the heartbeat says beside the store's numbers."""

    disk_free_bytes: int
    data_at: int | None
    """Newest source time among good readings, ns."""
    sources: Mapping[str, str]
    """Source → connected, connecting or down."""


@dataclass(slots=True)
class UplinkState:
    """How the uplink is, for the page and for metrics."""

    state: str = "offline"
    """offline (no broker), connecting, waiting for the cloud, resuming, streaming."""
    since: int = 0
    """Wall clock when it became so, ns."""
    why: str = ""
    """What to check, when it is not streaming."""
    last_receipt_at: int | None = None
    """Wall clock of the last receipt, ns."""
    attempts: int = 0
    """Connections tried."""
    connects: int = 0
    """Connections that came about."""
    foreign: int = 0
    """Messages that were no frame of our cloud: wrong seal, wrong form, kept by the broker."""
    unknown: int = 0
    """Frames of our cloud of a kind this version does not know: the cloud is newer."""
    unproven: int = 0
    """Countersignatures that the kept key did not make; not kept."""
    in_flight: int = 0
    protocol: int = 0
    """Of the newest session; 0 before the first."""
    identity: str = "ok"
    """conflict: the cloud hears another box with this identity."""
    cloud_key: str = ""
    """The key the cloud countersigns with, hex, as its newest challenge said."""
    cloud_key_kept: str = ""
    """The first one it ever said, hex: what it asks of us has to be signed with that one. Empty before a session."""
    cloud_key_changed: bool = False
    """It is not the one that was kept at the first session."""
    counters: Counters = field(default_factory=Counters)


def full_jitter(first_s: float = BACKOFF_S, longest_s: float = MAX_BACKOFF_S) -> Iterator[float]:
    """Give waits anywhere below a limit that doubles: a hall of gateways that lost its broker must not come back at once."""
    limit = first_s
    while True:
        yield random.uniform(0, limit)  # noqa: S311 - spreading, not a secret
        limit = min(longest_s, limit * 2)


def enter(seen: UplinkState, state: str, why: str, clock: Clock) -> None:
    """Note a change of state, and say in the log what a person would want to know: once gone, once back."""
    if seen.state == state and seen.why == why:
        return
    was = seen.state
    if state == "offline" and why != seen.why:
        log.warning("uplink down: why=%s; judging goes on, facts wait on disk", why)
    elif state == "waiting for the cloud" and why and why != seen.why:
        log.warning("uplink waits: why=%s", why)
    elif state == "streaming" and was != state:
        log.info("uplink streaming: connects=%d", seen.connects)
    if was != state:
        seen.since = clock.now()
    seen.state, seen.why = state, why
