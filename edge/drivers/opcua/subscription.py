"""Subscriptions of one session: made, listened to, acknowledged, and made whole again when a message is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final, Protocol

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from edge.connections import OpcUa
from edge.drivers.driver import DriverHealth
from edge.drivers.opcua.arrivals import LOST, Arrivals, Arrived, EndedError
from edge.drivers.opcua.publish import Publish, decode, republished
from sync.clock import Clock

KEEP_ALIVE_S: Final = 1.0
LIVENESS_S: Final = 5.0
"""Longer than the pauses that servers make (2.5 s was met), short enough to notice a dead one."""
LIFETIME_S: Final = 30.0
"""How long a server keeps a subscription whose client vanished."""
NOTIFICATIONS: Final = 10_000
"""Most values in one message."""
MOST_IN_FLIGHT: Final = 10
"""PublishRequests at the server when it always has more to say than they can carry."""
REPUBLISHED: Final = 1000
"""More missing messages than this are not asked for one by one."""
_HIGHEST: Final = 0xFFFF_FFFF
_TRANSFERRED: Final = 0x002D_0000


Spawn = Callable[[Coroutine[None, None, None], str], None]
"""Starts a task, with a name, that ends with the connection."""


class Request(Protocol):
    """Sends one request and gives the body of its response; 0 s: without a time limit of its own."""

    def __call__(self, request: object, timeout_s: float | None = None, /) -> Awaitable[Buffer]: ...


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscription at the server."""

    id: int
    interval_ms: float
    """As asked for."""
    liveness: int
    """Silence that is believed, ns."""
    heard: int
    """When anything came last, monotonic ns."""
    sequence: int | None = None
    """Number of the newest message taken."""
    announced: int | None = None
    """Number that the newest keep-alive said comes next."""
    taken: deque[int] = field(default_factory=lambda: deque(maxlen=256))
    """Numbers of the messages taken last."""
    on_events: Callable[[list[ua.EventFieldList]], None] | None = None


class Subscriptions:
    """All subscriptions of a session; PublishRequests are pipelined over them, so that a slow one holds up none."""

    def __init__(self, config: OpcUa, clock: Clock, health: DriverHealth, request: Request, arrivals: Arrivals) -> None:
        self.open_ones: dict[int, Subscription] = {}
        """By id."""
        self._config = config
        self._clock = clock
        self._health = health
        self._request = request
        self._arrivals = arrivals
        self._acknowledge: list[ua.SubscriptionAcknowledgement] = []
        self._listening = 0
        self._most = MOST_IN_FLIGHT
        self._spawn: Spawn | None = None

    async def open(self, publishing_ms: float) -> Subscription:
        """Make one more subscription. Raises ua.UaError when the server does not."""
        keep_alive = max(1, round(KEEP_ALIVE_S * 1000 / publishing_ms))
        request = ua.CreateSubscriptionRequest()
        request.Parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_ms,
            RequestedMaxKeepAliveCount=keep_alive,
            RequestedLifetimeCount=max(3 * keep_alive, round(LIFETIME_S * 1000 / publishing_ms)),
            MaxNotificationsPerPublish=NOTIFICATIONS,
        )
        # Not the session's own call: that would start the library's publish loop beside ours.
        response = struct_from_binary(ua.CreateSubscriptionResponse, await self._request(request))
        response.ResponseHeader.ServiceResult.check()
        agreed = response.Parameters
        beat_s = agreed.RevisedPublishingInterval * agreed.RevisedMaxKeepAliveCount / 1000
        made = Subscription(
            int(agreed.SubscriptionId),
            publishing_ms,
            round(max(LIVENESS_S, 3 * beat_s) * 1e9),
            self._clock.monotonic(),
        )
        self.open_ones[made.id] = made
        self._listen_more()
        return made

    @property
    def unsent(self) -> list[ua.SubscriptionAcknowledgement]:
        """What was taken and is not acknowledged yet."""
        return list(self._acknowledge)

    def adopt(self, left: list[Subscription], unsent: list[ua.SubscriptionAcknowledgement]) -> None:
        """Go on with subscriptions that another connection left."""
        now = self._clock.monotonic()
        for one in left:
            one.heard = now
            self.open_ones[one.id] = one
        self._acknowledge += unsent

    async def ask_again(self, one: Subscription, number: int, session: UaSession) -> Publish | None:
        """Ask for the message of a number once more; None when the server does not have it (any more)."""
        self._health.requests += 1
        try:
            message = await session.republish(one.id, number)
        except ua.uaerrors.BadMessageNotAvailable:
            return None
        # A server without it may answer with an empty message instead (asyncua's does).
        return republished(one.id, message) if message.SequenceNumber == number else None

    def again(self, one: Subscription, message: Publish) -> list[Arrived]:
        """Take a message that was asked for again, as if it had just come."""
        self._acknowledge.append(ua.SubscriptionAcknowledgement(SubscriptionId=one.id, SequenceNumber=message.sequence))
        one.taken.append(message.sequence)
        one.sequence = message.sequence
        received = self._clock.now()
        return [Arrived(changes, received) for changes in message.changes]

    def listen(self, spawn: Spawn) -> None:
        """Begin to ask the server for what the subscriptions have to say."""
        self._spawn = spawn
        self._listen_more()

    def _listen_more(self) -> None:
        """Keep more PublishRequests at the server than there are subscriptions."""
        if self._spawn is None or not self.open_ones:
            return
        for _ in range(self._listening, max(self._config.in_flight, len(self.open_ones) + 1)):
            self._listen_once_more()

    def _listen_once_more(self) -> None:
        if self._spawn is not None:
            self._listening += 1
            self._spawn(self._listen(), f"publish {self._listening}")

    async def _listen(self) -> None:
        """Keep one PublishRequest at the server; there are several of these tasks, answered in their order."""
        try:
            while True:
                await self._arrivals.room()
                request = ua.PublishRequest()
                acknowledged, self._acknowledge = self._acknowledge, []
                request.Parameters.SubscriptionAcknowledgements = acknowledged
                try:
                    body = await self._request(request, 0)  # silence is watched over by whoever takes
                except ua.uaerrors.BadTimeout:
                    self._acknowledge += acknowledged
                    continue
                except ua.uaerrors.BadTooManyPublishRequests:
                    self._acknowledge += acknowledged
                    self._most = max(1, self._listening - 1)
                    if self._listening > 1:
                        self._listening -= 1  # the server wants fewer; the other tasks go on
                        return
                    await self._clock.sleep(KEEP_ALIVE_S)
                    continue
                self._note(decode(bytes(body)))
        except LOST as error:
            self._arrivals.put(error)

    def _note(self, published: Publish) -> None:
        """Acknowledge a message and hand it on. Raises EndedError when its subscription is over."""
        one = self.open_ones.get(published.subscription)
        if one is None:
            return  # of a subscription that was just left
        one.heard = self._clock.monotonic()
        if published.ended is not None:
            why = "another client has taken it over" if published.ended == _TRANSFERRED else None
            raise EndedError(
                f"the server ended the subscription: {why or ua.StatusCode(ua.UInt32(published.ended)).name}"
            )
        if published.fast:
            self._health.fast_decodes += 1
        else:
            self._health.slow_decodes += 1
        if not published.keeps_alive:
            self._acknowledge.append(
                ua.SubscriptionAcknowledgement(SubscriptionId=one.id, SequenceNumber=published.sequence)
            )
        if published.more and not published.keeps_alive and self._listening < self._most:
            self._listen_once_more()  # at a long round trip, more requests on their way are what carries more
        self._arrivals.put(Arrived(published, self._clock.now()))

    async def whole(self, published: Publish, session: UaSession) -> list[Publish]:
        """Give a message, and before it those that are missing, as far as the server still has them; nothing twice.

        Raises EndedError when one is lost: the newest value of a tag may have been in it, so that only a new
        connection, which gives every tag anew and says what is missing, is honest.
        """
        one = self.open_ones.get(published.subscription)
        if one is None:
            return []
        found: list[Publish] = []
        if one.sequence is not None:
            expected = after(one.sequence)
            ahead = (published.sequence - expected) % _HIGHEST
            if ahead > _HIGHEST // 2:  # it is behind
                if published.keeps_alive or published.sequence in one.taken:
                    return []
                raise EndedError("the server numbers its messages anew")
            if ahead:
                found = await self._republish(one, expected, ahead, session, announced=one.announced == expected)
        if published.keeps_alive:
            one.announced = published.sequence
        else:
            one.sequence, one.announced = published.sequence, None
            one.taken.append(published.sequence)
        if one.sequence is None:
            one.sequence = (published.sequence - 2) % _HIGHEST + 1  # a keep-alive says what comes next
        whole = [*found, published]
        for message in whole:
            if message.events and one.on_events is not None:
                one.on_events(message.events)
        return whole

    async def _republish(
        self, one: Subscription, first: int, count: int, session: UaSession, *, announced: bool
    ) -> list[Publish]:
        found: list[Publish] = []
        number = first
        for _ in range(min(count, REPUBLISHED)):
            message = await self.ask_again(one, number, session)
            if message is None:
                if count == 1 and announced:
                    # The number it announced in a keep-alive never came, nor does the server have it: it counts its
                    # keep-alives, which Part 4 forbids. Nothing is missing.
                    self._health.notes["sequence"] = "the server numbers its keep-alives; a lost message cannot be told"
                    return []
                break
            self.again(one, message)
            found.append(message)
            number = after(number)
        if len(found) < count:
            self._health.overflows += count - len(found)
            raise EndedError(f"{count - len(found)} messages of a subscription are lost, the server no longer has them")
        return found


def after(sequence: int) -> int:
    """Give the sequence number after this one; 0 is none (Part 4, 7.8)."""
    return sequence % _HIGHEST + 1
