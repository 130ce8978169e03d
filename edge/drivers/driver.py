"""The driver contract: connect, read, close. The host (`edge.flow`) owns retry, time, logs and metrics.

What only some machines can (write, browse, remember, notify) is a protocol of its own with one method: the host asks
`isinstance(driver, Writable)`, and nobody implements what his machine has not got.

A driver's ten rules: answers or fails in 5 s · never invents a value · a status for every doubt · the machine's own
time where it has one · a unit for every tag · leaves nothing open · writes only what the book allows · no log line
per reading · passes the contract suite (`tests/contracts/driver_contract.py`) · meets a real server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from edge.tags import Tag
from sync.facts import Context, Fact, JobResponded
from sync.reading import Readings, Scalar


class DriverError(Exception):
    """The connection is lost or cannot be made. Open a new driver later; the message says what to check."""


class RefusedError(Exception):
    """The machine said no to one request (a write, a call, a browse): the connection lives. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a driver may know of the box it runs on."""

    folder: Path
    """Of the site file: relative paths and the credentials folder start here."""
    data: Path
    """The gateway's own folder, for certificates and what else must survive a restart."""
    gateway: str
    """Id of the gateway."""


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
    without_history: dict[int, str] = field(default_factory=dict[int, str])
    """Tag index → why its history could not be read, for tags asked for since the connection was made."""
    resumed: bool = False
    """The connection took up where the one before was lost: the machine kept everything for us."""
    started: int = 0
    """When the machine's own server was started, ns; 0 where it does not say."""
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """What people should see besides: `security` → "Basic256Sha256, sign and encrypt"; `unit 7` → "silent since …"."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a write: what the machine held afterwards, as read back in the same connection."""

    asked: Scalar
    found: Scalar
    status: int
    """StatusCode of the value read back."""

    @property
    def taken(self) -> bool:
        """Whether the machine now holds what was asked for."""
        return self.found == self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing a machine offers, as found by browsing."""

    path: str
    """Names from the root, joined by `/`."""
    address: str
    """As a tag book writes it."""
    kind: str
    """variable, object or method."""
    type: str = ""
    """Data type as a tag book writes it (`float64`, `string`, …), or the machine's own name of it."""
    count: int = 1
    """Elements, for an array."""
    value: Scalar = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    writable: bool = False
    values: dict[str, str] = field(default_factory=dict[str, str])
    """Number → name, of an enumeration."""


@runtime_checkable
class Writable(Protocol):
    """A driver that can write, where the book says `writable = true`."""

    async def write(self, tag: Tag, value: Scalar) -> Written:
        """Write one value, in the tag's engineering unit, and read it back.

        Goes before waiting polls. Raises RefusedError (not writable, out of range, the machine says no) and DriverError.
        """
        ...


@runtime_checkable
class Methodical(Protocol):
    """A driver whose machine has methods."""

    async def call(self, object_address: str, method_address: str, arguments: Sequence[Scalar]) -> list[Scalar]:
        """Call a method and give its outputs. Raises RefusedError and DriverError."""
        ...


@runtime_checkable
class Browsable(Protocol):
    """A driver whose machine can tell what it offers."""

    def browse(self, pattern: str = "**", *, depth: int = 12, most: int = 100_000) -> AsyncGenerator[Node]:
        """Give the nodes whose path matches a glob (`*` within a name, `**` across levels).

        depth: levels below the root; most: nodes given. Raises RefusedError when nothing matches, with what is near,
        and DriverError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """A stretch of time of which a machine's history does not give a tag's values."""

    tag: int
    """Tag index."""
    start: int
    end: int
    why: str
    late: bool = False
    """The history may only not have been written yet: worth asking again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A piece of what a machine remembers."""

    readings: Readings | None = None
    """Marked `historical`, in order of source time within each tag."""
    missing: list[Missing] = field(default_factory=list[Missing])
    finished: list[int] = field(default_factory=list[int])
    """Tags (index) of which nothing more follows: all is given that is not missing."""


@runtime_checkable
class Historical(Protocol):
    """A driver whose machine remembers."""

    def history(self, since: Mapping[int, int], until: Mapping[int, int]) -> AsyncGenerator[Recalled]:
        """Give what the machine remembers of tags strictly between two source times, piece by piece.

        since, until: tag index → source time, ns, of the values around the hole, which are known already. Tags of
        which nothing could be read at all are in `health.without_history` too. Raises DriverError when the connection
        is lost on the way.
        """
        ...


@runtime_checkable
class Eventful(Protocol):
    """A driver whose machine reports events and conditions besides values."""

    def events(self, standing: Collection[tuple[str, str]] = ()) -> AsyncGenerator[list[Fact]]:
        """Give facts (`EventNotified`, `AlarmChanged`) as they come, until the connection is lost.

        standing: (work unit, alarm) of the conditions that were active when last heard of. Those the machine no longer
        names are given as over, with no severity: the host knows the rest. Raises DriverError when the connection is
        lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Learned:
    """What a source of facts said, and the cursor to commit in the same transaction: asked from there after a restart."""

    facts: list[Fact]
    cursor: bytes = b""
    """Opaque to the host; given back when the source is opened again. Empty: no change."""


@runtime_checkable
class Responsive(Protocol):
    """A source of facts that takes answers: what was made of an order."""

    async def respond(self, response: JobResponded) -> None:
        """Hand one job response over; the same response twice must do no harm. Raises RefusedError and DriverError."""
        ...


class FactSource(Protocol):
    """A source of ready facts rather than readings (MES, ERP); the same life as a driver."""

    health: DriverHealth
    contexts: dict[str, Context]
    """Work unit → what is being made there now, as of the last asking; empty for a source that does not say."""
    cycles: dict[str, dict[str, float]]
    """Product → work unit → planned run time per item, ms."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def facts(self) -> AsyncGenerator[Learned]:
        """Give what is new or changed each time the source was asked (nothing: an empty list), until it is lost.

        Then raises DriverError.
        """
        ...
