"""Taking a session and its subscriptions up again after the link broke, where the server still has it.

A lost connection leaves its session at the server for a while. A new driver activates that session over its own
channel (Part 4, 5.6.3), asks for the messages that went into the broken link (Republish), and goes on as if nothing
had been. That is only honest while no queue at the server can have run over: an outage longer than the shortest queue
holds begins anew, and is a gap.

TransferSubscriptions (Part 4, 5.13.7), which would move the subscriptions into a new session, is left out: open62541 and
node-opcua refuse it to an anonymous user without a secured channel, as they should, and asyncua's server says yes and
then publishes nothing more. Where the old session is gone, so are its values, and the gap is declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.client.client import Client

from edge.connections import OpcUa
from edge.drivers.driver import Surroundings
from edge.drivers.opcua.arrivals import Arrived
from edge.drivers.opcua.items import MonitoredItems
from edge.drivers.opcua.subscription import REPUBLISHED, Subscription, Subscriptions, after
from edge.tags import Tag
from sync.clock import Clock


@dataclass(frozen=True, slots=True)
class Kept:
    """What a driver leaves to the next one of the same connection."""

    tags: tuple[Tag, ...]
    token: ua.NodeId
    nonce: bytes | None
    policies: list[ua.UserTokenPolicy]
    items: MonitoredItems
    subscriptions: list[Subscription]
    unsent: list[ua.SubscriptionAcknowledgement]


_KEPT: Final[dict[tuple[str, str, str], Kept]] = {}
"""(data folder, connection, url) → what its last driver left; one process, one event loop."""


def _key(config: OpcUa, around: Surroundings) -> tuple[str, str, str]:
    return str(around.data), config.name, config.url


def keep(config: OpcUa, around: Surroundings, kept: Kept | None) -> None:
    """Leave this for the next attempt, if there is anything to leave."""
    if kept is not None:
        _KEPT[_key(config, around)] = kept


def take(config: OpcUa, around: Surroundings, tags: Sequence[Tag], items: MonitoredItems, clock: Clock) -> Kept | None:
    """Give what the last driver left, once, if the server's queues can hold all that has happened since."""
    kept = _KEPT.pop(_key(config, around), None)
    if kept is None or kept.tags != tuple(tags) or kept.items.asked != items.asked:
        return None
    now = clock.monotonic()
    away_ms = max((now - one.heard) / 1e6 + one.interval_ms for one in kept.subscriptions)
    return kept if away_ms < kept.items.holds_ms else None


class ResumingClient(Client):
    """The library's client, that activates a session which was left before it makes a new one."""

    kept: Kept | None = None
    resumed: bool = False
    """Whether the session is the one that was left."""

    def left(self, tags: tuple[Tag, ...], items: MonitoredItems, subscriptions: Subscriptions) -> Kept | None:
        """Give what the next client needs to go on."""
        token = self.uaclient.session.authentication_token
        plain = [one for one in subscriptions.open_ones.values() if one.on_events is None]
        if token.is_null() or not plain or len(plain) < len(subscriptions.open_ones) or not items.holds_ms:
            return None
        return Kept(tags, token, self._server_nonce, list(self._policy_ids), items, plain, subscriptions.unsent)

    def _try_load_persisted_session(self) -> bool:
        """Stands in for the library's way, which keeps the session's secret in a file."""
        if self.kept is None:
            return False
        self.uaclient.session.restore_authentication_token(self.kept.token)
        self._server_nonce = self.kept.nonce
        self._policy_ids: Any = self.kept.policies
        return True

    async def _try_resume_persisted_session(self) -> bool:
        self.resumed = await super()._try_resume_persisted_session()
        return self.resumed


async def resume(client: ResumingClient, items: MonitoredItems, subscriptions: Subscriptions) -> list[Arrived] | None:
    """Take up what was left, and give the messages that went into the broken link; None when the server has forgotten."""
    kept, session = client.kept, client.uaclient.session
    if kept is None or not client.resumed:
        return None
    found: list[Arrived] = []
    for one in kept.subscriptions:
        if one.sequence is None:
            continue
        for _ in range(REPUBLISHED):
            message = await subscriptions.ask_again(one, after(one.sequence), session)
            if message is None:
                break
            found += subscriptions.again(one, message)
    items.adopt(kept.items)
    subscriptions.adopt(kept.subscriptions, kept.unsent)
    return found
