"""The driver contract: connect, read, close. The host (`edge.flow`) owns retry, time, logs and metrics.

A driver's ten rules: answers or fails in 5 s · never invents a value · a status for every doubt · the machine's own
time where it has one · a unit for every tag · leaves nothing open · writes only what the book allows · no log line
per reading · passes the contract suite (`tests/contracts/driver_contract.py`) · meets a real server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from sync.facts import Context, Fact
from sync.reading import Readings


class DriverError(Exception):
    """The connection is lost or cannot be made. Open a new driver later; the message says what to check."""


@dataclass(slots=True)
class DriverHealth:
    """What a driver counts while it lives; the host reads it for metrics and for the page."""

    requests: int = 0
    notifications: int = 0
    bad_items: dict[int, str] = field(default_factory=dict[int, str])
    """Tag index → why it gives no value, for tags the machine refuses (wrong node, wrong register, wrong type)."""
    overflows: int = 0
    """Values dropped from a queue on the way, as counted by the machine's overflow bits or by us."""
    overruns: int = 0
    """Polls skipped because the one before had not ended."""
    fast_decodes: int = 0
    slow_decodes: int = 0


class Driver(Protocol):
    """One connection's life: a new object per attempt; enter connects, exit leaves nothing open."""

    health: DriverHealth

    async def __aenter__(self) -> Self:
        """Connect and set up all tags; a tag the machine refuses becomes a bad reading, not an error.

        Raises DriverError within 5 s if there is no connection.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def readings(self) -> AsyncGenerator[Readings]:
        """Give batches until the connection is lost, then raise DriverError.

        The first batches hold every tag once (bad ones included); afterwards what changed, or each poll. Silence is
        no sign of life: a driver that can hear nothing for its liveness limit raises.
        """
        ...


class FactSource(Protocol):
    """A source of ready facts rather than readings (MES, ERP); the same life as a driver."""

    health: DriverHealth
    contexts: dict[str, Context]
    """Work unit → what is being made there now, as of the last asking."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def facts(self) -> AsyncGenerator[list[Fact]]:
        """Give what is new or changed each time the source was asked (nothing: an empty list), until it is lost.

        Then raises DriverError.
        """
        ...
