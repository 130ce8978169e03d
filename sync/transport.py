"""What carries frames: publish bytes on a topic, receive bytes, know whether there is a link. MQTT 5 in `sync.mqtt`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Protocol, Self


class TransportError(Exception):
    """The link is gone or the broker refused. Back off with jitter and connect anew; nothing that counts is lost.

    The kind says what follows from it; whoever reconnects needs only `wait_s`.
    """

    wait_s: ClassVar[float] = 0.0
    """Least seconds before the next attempt, to be spread upwards by whoever waits: 0 where the usual back-off is right."""


class NobodyListensError(TransportError):
    """The broker took the message and threw it away: nobody is subscribed. The link itself is well."""


class RefusedError(TransportError):
    """The broker, or we, must be configured differently; only a person mends that, so come back seldom."""

    wait_s = 60.0


class CloneError(RefusedError):
    """Another client uses our id: each connection ends the other one's. Coming back at once only goes on with it."""

    wait_s = 300.0


class TooLargeError(RefusedError):
    """A message is larger than the other end takes. Sending it again changes nothing."""


class BusyError(TransportError):
    """The broker has no room for us now: overloaded, shutting down, too many connections."""

    wait_s = 5.0


class QuotaError(TransportError):
    """The broker limits how much we send. The link is well; send slower."""

    wait_s = 10.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in."""

    topic: str
    payload: bytes
    retained: bool = False
    """The broker kept it from before we subscribed; nothing of ours is meant to be kept there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker announced when it let us in."""

    in_flight: int = 65_535
    packet_bytes: int = 268_435_460
    retain: bool = True


class Transport(Protocol):
    """One connection's life: enter connects and subscribes, exit closes; a new object per attempt."""

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises TransportError within the connect timeout."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> None:
        """Hand one message to the broker; returns at its PUBACK, which proves nothing about the other end.

        With `expiry_s` the broker throws it away when it could not deliver it within so many seconds.
        Raises TransportError when the link is gone or the broker says no: NobodyListensError, QuotaError (both leave
        the link well), TooLargeError, RefusedError.
        """
        ...

    def messages(self) -> AsyncIterator[Message]:
        """Give what arrives until the link is gone, then raise TransportError."""
        ...
