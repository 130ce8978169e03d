"""The broker and the wires: a dumb pipe that acknowledges, loses, repeats, overtakes, damages and remembers.

An acknowledgement says nothing about the other end, as with the real one. Nothing survives its restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sync.topics import Address, parse
from tests.campaign.simulation.plan import MS, S
from tests.campaign.simulation.weather import Weather
from tests.campaign.simulation.world import World

KEEPALIVE: Final = 45 * S
"""After so long a connection on which one direction is dead is given up."""
REMEMBERED: Final = 40
"""Messages of each gateway and direction that may come again."""

Acknowledged = Callable[[str], None]
"""What became of a publish: `ok` or `nobody` (nobody listens)."""


@dataclass(slots=True, eq=False)
class Link:
    """One client's connection."""

    client: str
    where: int
    address: Address | None
    """A gateway's; None for the cloud."""
    deliver: Callable[[str, bytes], None]
    lost: Callable[[str], None]
    alive: bool = True
    arrives: dict[str, int] = field(default_factory=dict[str, int])
    """Direction → when the last message on its way arrives: the next one does not overtake it."""


class Broker:
    """Passes messages on; every fault of the wire happens here."""

    def __init__(self, world: World, weather: Weather) -> None:
        self._world, self._weather = world, weather
        self.links: list[Link] = []
        self.route: Callable[[Address], Link | None] = lambda _address: None
        """Who of the cloud listens to a gateway; set by the cloud."""
        self.down_until = 0
        self.messages = 0
        self._epoch = 0
        self._past: dict[tuple[Address, str], list[tuple[str, bytes]]] = {}

    # --- connections ---

    def connect(self, link: Link) -> bool:
        """Take a client in; another one of the same client id is thrown out. False when there is no way."""
        weather = self._weather
        late = self._world.plan.has("late_line") and self._world.now < self._world.plan.horizon // 3
        if link.address is not None and late:
            self._world.count("late_line")
            return False
        if self._world.now < self.down_until or any(
            weather.holds(kind, link.where) for kind in ("link_down", "up_cut", "down_cut") if link.address is not None
        ):
            return False
        for other in [one for one in self.links if one.client == link.client]:
            self.drop(other, "another client took this id")
        self.links.append(link)
        return True

    def drop(self, link: Link, why: str) -> None:
        """End a connection; what is on its way to it is lost."""
        if self._out(link):
            link.lost(why)

    def leave(self, link: Link) -> None:
        """End a connection from the client's side."""
        self._out(link)

    def _out(self, link: Link) -> bool:
        link.alive = False
        if link not in self.links:  # it never came in, or is out already
            return False
        self.links.remove(link)
        return True

    def restart(self, away: int) -> None:
        """Lose everything and everyone."""
        self._epoch += 1
        self.down_until = self._world.now + away
        for link in list(self.links):
            self.drop(link, "the broker went away")

    def cut(self, where: int) -> None:
        """A direction or the line of some gateways has died: their connections end, later or at once."""
        for link in list(self.links):
            if link.address is None:
                continue
            if self._weather.holds("link_down", link.where):
                self.drop(link, "the line is dead")
            elif where in {link.where, self._world.plan.gateways}:
                self._world.after(KEEPALIVE, self._check, link)

    def _check(self, link: Link) -> None:
        if link.alive and any(self._weather.holds(kind, link.where) for kind in ("up_cut", "down_cut")):
            self.drop(link, "no answer to a ping")

    # --- messages ---

    def publish(self, link: Link, topic: str, payload: bytes, acknowledged: Acknowledged) -> None:
        """Take a message; it arrives, or not, later."""
        self.messages += 1
        self._take(link, topic, payload, acknowledged)

    def _take(self, link: Link, topic: str, payload: bytes, acknowledged: Acknowledged) -> None:
        weather, where = self._weather, link.where
        found = parse(topic)
        assert found is not None, topic
        address, direction, _ = found
        if not link.alive:
            return
        if direction == "up":
            if weather.holds("up_cut", where):  # TCP keeps it, and sends it again until the connection is given up
                self._world.count("up_cut")
                self._world.after(S, self._take, link, topic, payload, acknowledged)
                return
            nobody = self.route(address) is None
            delay = self._delay(where)
            self._world.after(delay + self._delay(where), self._acknowledge, link, acknowledged, nobody)
            if not nobody and not weather.strikes("ack_drop", where, 0.5):
                self._forward(address, "up", where, topic, payload, delay)
            return
        for other in [one for one in self.links if one.address == address]:
            self._forward(address, "down", other.where, topic, payload, self._delay(other.where), other)

    def _acknowledge(self, link: Link, acknowledged: Acknowledged, nobody: bool) -> None:
        if not link.alive:
            return
        if self._weather.holds("down_cut", link.where):
            self._world.after(S, self._acknowledge, link, acknowledged, nobody)
            return
        acknowledged("nobody" if nobody else "ok")

    def _delay(self, where: int) -> int:
        chance = self._world.chance("delay")
        delay = chance.randrange(1 * MS, 15 * MS)
        if self._weather.strikes("delay", where, 0.6):
            delay += int(chance.expovariate(1 / 3.0) * S)
        return delay

    def _forward(
        self,
        address: Address,
        direction: str,
        where: int,
        topic: str,
        payload: bytes,
        delay: int,
        to: Link | None = None,
    ) -> None:
        weather = self._weather
        chance = self._world.chance("wire")
        past = self._past.setdefault((address, direction), [])
        if weather.strikes("stale", where, 0.3) and past:
            old_topic, old = chance.choice(past)
            self._world.after(delay, self._arrive, self._epoch, address, to, direction, old_topic, old)
        past.append((topic, payload))
        if len(past) > REMEMBERED:
            del past[chance.randrange(REMEMBERED // 2)]  # some very old ones stay
        if weather.strikes("drop", where, 0.4):
            return
        if weather.strikes("corrupt", where, 0.3):
            place = chance.randrange(len(payload))
            payload = payload[:place] + bytes([payload[place] ^ (1 << chance.randrange(8))]) + payload[place + 1 :]
        copies = 2 if weather.strikes("duplicate", where, 0.5) else 1
        for _ in range(copies):
            if weather.strikes("reorder", where, 0.5):
                when = self._world.now + delay + chance.randrange(3 * S)
            else:
                key = f"{direction}/{address}/{where}"
                line = to or self.route(address)
                when = self._world.now + delay
                if line is not None:
                    when = max(when, line.arrives.get(key, 0))
                    line.arrives[key] = when
            self._world.at(when, self._arrive, self._epoch, address, to, direction, topic, payload)

    def _arrive(
        self, epoch: int, address: Address, to: Link | None, direction: str, topic: str, payload: bytes
    ) -> None:
        if epoch != self._epoch:
            return
        link = to if direction == "down" else self.route(address)
        if link is None or link not in self.links:
            return
        if direction == "down" and self._weather.holds("down_cut", link.where):
            self._world.count("down_cut")
            self._world.after(S, self._arrive, epoch, address, to, direction, topic, payload)
            return
        link.deliver(topic, payload)
