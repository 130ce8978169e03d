"""What carries frames: publish bytes on a topic, receive bytes, know whether there is a link. MQTT 5 in `sync.mqtt`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


class TransportError(Exception):
    """The link is gone or the broker refused. Back off with jitter and connect anew; nothing that counts is lost."""


class NobodyListensError(TransportError):
    """The broker took the message and threw it away: nobody is subscribed. The link itself is well."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in."""

    topic: str
    payload: bytes


class Transport(Protocol):
    """One connection's life: enter connects and subscribes, exit closes; a new object per attempt."""

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises TransportError within the connect timeout."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """Hand one message to the broker; returns at its PUBACK, which proves nothing about the other end.

        Raises TransportError when the link is gone or the broker says no ("not authorized", "no matching
        subscribers" for chunks, "packet too large").
        """
        ...

    def messages(self) -> AsyncIterator[Message]:
        """Give what arrives until the link is gone, then raise TransportError."""
        ...
