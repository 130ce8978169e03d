"""OPC UA: one subscription per server, read as columns.

The ten rules: every await stands under a timeout; a refused node is a bad reading with the server's own status and is
tried again every 30 s; source and server times are the machine's; silence is measured against the keep-alive that was
agreed on; leaving closes session, channel and socket even if the server no longer answers; nothing is written.

We supervise ourselves (the library's reconnect can come back without data): a driver object has one client, and the
host makes a new one for every attempt. Nodes are named by namespace URI and resolved anew at every connect, because a
server may number its namespaces differently after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary
from numpy.typing import NDArray

from edge.connections import OpcUa
from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverError, DriverHealth, RefusedError, Surroundings
from edge.drivers.opcua.items import MonitoredItems, Refusal, resolve
from edge.drivers.opcua.publish import KINDS, LOCALIZED, NULL, TEXT, Changes, Publish, UndecodableError, decode
from edge.tags import DataType, Tag
from sync.clock import Clock
from sync.quality import BAD, BAD_TYPE_MISMATCH, BAD_WAITING_FOR_INITIAL_DATA
from sync.reading import Readings

CONNECT_S = 4.5
"""Connecting, opening the session and subscribing: within the five seconds every driver has."""
REQUEST_S = 4.0
CLOSE_S = 1.0
KEEP_ALIVE_S = 1.0
LIVENESS_S = 5.0
"""Longer than the pauses that servers make (2.5 s was met), short enough to notice a dead one."""
LIFETIME_S = 30.0
"""How long a server keeps a subscription whose client vanished."""
FIRST_VALUES_S = 3.0
IN_FLIGHT = 3
"""PublishRequests waiting at the server: one alone loses data once the round trip nears the publishing interval."""
UNIX_EPOCH_TICKS = 116_444_736_000_000_000
MAX_TICKS = UNIX_EPOCH_TICKS + (2**63 - 1) // 100

_LOST = (OSError, TimeoutError, ua.UaError, UndecodableError)
_BOOLEAN, _INTEGERS, _FLOATS, _DATE_TIME = {1}, set(range(2, 10)), {10, 11}, 13
_ACCEPTED: Final[dict[DataType, set[int]]] = {
    "bool": _BOOLEAN,
    "string": {TEXT, LOCALIZED},
    "float32": _BOOLEAN | _INTEGERS | _FLOATS,
    "float64": _BOOLEAN | _INTEGERS | _FLOATS,
}
"""Tag type → built-in types its value may have; an integer tag takes any integer, whatever its width."""

# The library logs a traceback for each trouble; all of them reach us as errors, and the host logs changes of state.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcUaDriver:
    """One OPC UA connection, from connect to loss."""

    def __init__(
        self, config: OpcUa, tags: Sequence[Tag], clock: Clock, around: Surroundings, *, retry_s: float = 30.0
    ) -> None:
        self.health = DriverHealth()
        self._config = config
        self._clock = clock
        self._around = around
        self._retry_s = retry_s
        self._columns = TagColumns(tags)
        self._accepts = np.zeros((len(tags), KINDS), np.bool_)
        for i, tag in enumerate(tags):
            self._accepts[i, list(_ACCEPTED.get(tag.spec.type, _BOOLEAN | _INTEGERS) | {NULL})] = True
            self._accepts[i, _DATE_TIME] = tag.spec.role == "clock"
        self._client = Client(config.url, timeout=REQUEST_S, watchdog_intervall=60.0)
        self._client.application_uri = "urn:triflow:edge"
        self._client.name = self._client.description = "Triflow edge gateway"
        self._client.session_timeout = round(LIFETIME_S * 1000)
        self._protocol: UASocketProtocol | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Bounded: when nobody takes batches, no PublishRequest is sent, the server queues and sets its overflow bits.
        self._arrived: asyncio.Queue[Readings | DriverError] = asyncio.Queue(maxsize=32)
        self._acknowledge: list[ua.SubscriptionAcknowledgement] = []
        self._subscription = 0
        self._sequence: int | None = None
        self._liveness = round(LIVENESS_S * 1e9)
        self._heard = 0
        self._first_due: int | None = None
        self._seen = np.zeros(len(tags), np.bool_)
        self._last_status = np.zeros(len(tags), np.uint32)
        self._items = MonitoredItems(config, self._columns, self.health)
        self._mistyped = np.zeros(len(tags), np.bool_)

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:  # cancelled too: whatever ends the attempt, nothing stays open
            await self._close()
            raise
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        name = self._config.name
        self._tasks = [
            self._group.create_task(self._listen(), name=f"{name} publish {i}") for i in range(IN_FLIGHT)
        ] + [self._group.create_task(self._reconcile(), name=f"{name} reconcile")]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            if self._group is not None:
                # The group must see a cancellation (its own, when a task has a bug), but not wrap other errors.
                passed = error if isinstance(error, asyncio.CancelledError) else None
                await self._group.__aexit__(None if passed is None else type(passed), passed, None)
        finally:
            await self._close()

    @property
    def session(self) -> UaSession:
        """The session of this connection, for services besides values. Raises DriverError when there is none."""
        if self._protocol is None or self._protocol.transport is None:
            raise self._lost(ConnectionError("not connected"))
        return self._client.uaclient.session

    def node_of(self, address: str) -> ua.NodeId:
        """Give the node that a tag book's address names on this server, by the namespaces read at this connect.

        Raises RefusedError.
        """
        node = resolve(address, self._items.namespaces)
        if isinstance(node, Refusal):
            raise RefusedError(node.why)
        return node

    async def readings(self) -> AsyncGenerator[Readings]:
        """Give first the refused tags, then what the server publishes."""
        if self._items.refused:
            yield self._refusals(self._items.refused)
        while True:
            yield await self._next()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.connect()
                self._protocol = self._client.uaclient.protocol
                await self._subscribe()
            await self._items.create(self._client.uaclient.session, self._subscription, range(len(self._columns)))
        except _LOST as error:
            raise self._lost(error) from error
        now = self._clock.monotonic()
        self._heard = now
        self._first_due = now + round(max(FIRST_VALUES_S, 4 * self._config.publishing_ms / 1000) * 1e9)

    async def _close(self) -> None:
        protocol = self._protocol or self._client.uaclient.protocol
        transport = protocol.transport if protocol is not None else None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._client.disconnect()
        finally:
            if transport is not None:  # the library leaves the socket open when it has found out itself
                transport.abort()
                await asyncio.sleep(0)  # one turn of the loop, in which the transport closes

    async def _subscribe(self) -> None:
        interval = self._config.publishing_ms
        keep_alive = max(1, round(KEEP_ALIVE_S * 1000 / interval))
        request = ua.CreateSubscriptionRequest()
        request.Parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval,
            RequestedMaxKeepAliveCount=keep_alive,
            RequestedLifetimeCount=max(3 * keep_alive, round(LIFETIME_S * 1000 / interval)),
            MaxNotificationsPerPublish=10_000,
        )
        # Not the session's own call: that would start the library's publish loop beside ours.
        body = await self._request(request)
        response = struct_from_binary(ua.CreateSubscriptionResponse, body)
        response.ResponseHeader.ServiceResult.check()
        agreed = response.Parameters
        self._subscription = int(agreed.SubscriptionId)
        beat_s = agreed.RevisedPublishingInterval * agreed.RevisedMaxKeepAliveCount / 1000
        self._liveness = round(max(LIVENESS_S, 3 * beat_s) * 1e9)

    async def _request(self, request: object, timeout_s: float | None = None) -> Buffer:
        if self._protocol is None:
            raise ConnectionError("not connected")
        self.health.requests += 1
        return await self._protocol.send_request(request, timeout_s)

    def _refusals(self, refused: dict[int, Refusal]) -> Readings:
        positions = np.fromiter(refused, np.intp, len(refused))
        status = np.fromiter((refusal.status for refusal in refused.values()), np.uint32, len(refused))
        self._seen[positions] = True
        return self._columns.without_value(positions, status, self._clock.now())

    async def _listen(self) -> None:
        """Keep one PublishRequest at the server; there are several of these tasks, answered in their order."""
        try:
            while True:
                request = ua.PublishRequest()
                request.Parameters.SubscriptionAcknowledgements, self._acknowledge = self._acknowledge, []
                try:
                    body = await self._request(request, 0)  # no time limit of its own: `_next` watches over liveness
                except ua.uaerrors.BadTimeout:
                    continue
                except ua.uaerrors.BadTooManyPublishRequests:
                    return  # the server wants fewer; the other tasks go on
                published = decode(bytes(body))
                self._heard = self._clock.monotonic()
                for batch in self._take(published):
                    await self._arrived.put(batch)
        except _LOST as error:
            await self._arrived.put(self._lost(error))

    def _take(self, published: Publish) -> list[Readings]:
        """Note a message's sequence and give its batches. Raises ConnectionError when the subscription is over."""
        if published.ended is not None:
            raise ConnectionError(
                f"the server ended the subscription with {ua.StatusCode(ua.UInt32(published.ended)).name}"
            )
        if published.fast:
            self.health.fast_decodes += 1
        else:
            self.health.slow_decodes += 1
        if not published.changes:
            return []
        expected = None if self._sequence is None else self._sequence % 0xFFFF_FFFF + 1
        if expected is not None and published.sequence != expected:
            self.health.overflows += 1  # a whole message is missing
        self._sequence = published.sequence
        self._acknowledge.append(
            ua.SubscriptionAcknowledgement(SubscriptionId=published.subscription, SequenceNumber=published.sequence)
        )
        received = self._clock.now()
        return [self._batch(changes, received) for changes in published.changes]

    def _batch(self, changes: Changes, received: int) -> Readings:
        position = changes.handle.astype(np.intp)
        if int(position.max(initial=0)) >= len(self._columns):
            raise UndecodableError("a value for an item nobody asked for")
        kind, status, value, other = changes.kind, changes.status, changes.value, changes.other
        self.health.notifications += len(position)
        self._seen[position] = True
        self._last_status[position] = status
        self.health.overflows += int(np.count_nonzero((status & np.uint32(0xC80)) == np.uint32(0x480)))
        said_bad = (status & np.uint32(BAD)) != 0
        mistyped = ~self._accepts[position, kind] & ~said_bad
        turned = mistyped != self._mistyped[position]
        if turned.any():
            self._note_types(position[turned], kind[turned], mistyped[turned])
        if other and mistyped.any():
            other = {row: held for row, held in other.items() if not mistyped[row]}
        status = np.where(mistyped, np.uint32(BAD_TYPE_MISMATCH), status)
        absent = np.isnan(value) & ((kind == NULL) | (kind == TEXT) | (kind == LOCALIZED))
        if absent.any():
            absent[list(other)] = False
            status = np.where(absent & ~said_bad & ~mistyped, np.uint32(BAD_WAITING_FOR_INITIAL_DATA), status)
        dated = kind == _DATE_TIME
        if dated.any():
            value = np.where(dated, (value - UNIX_EPOCH_TICKS) / 10_000, value)  # a clock tag is in ms since 1970
        return self._columns.readings(
            position,
            value,
            status,
            source_time=_unix_ns(changes.source),
            server_time=_unix_ns(changes.server),
            received=received,
            other=other,
        )

    def _note_types(self, position: NDArray[np.intp], kind: NDArray[np.uint8], mistyped: NDArray[np.bool_]) -> None:
        """Note which tags give another type than before, and say it."""
        self._mistyped[position] = mistyped
        for place, at, wrong in zip(position.tolist(), kind.tolist(), mistyped.tolist(), strict=True):
            tag = self._columns.tags[place]
            if wrong:
                given = ua.VariantType(at).name if at < KINDS - 1 else "an array or structure"
                self.health.bad_items[tag.index] = f"{tag.address} gives {given}, the book says {tag.spec.type}"
            else:
                self.health.bad_items.pop(tag.index, None)

    async def _next(self) -> Readings:
        """Give the next batch; raise DriverError when the connection is lost or silent for too long."""
        since = self._clock.monotonic()
        while True:
            dead = max(since, self._heard) + self._liveness
            due = dead if self._first_due is None else min(dead, self._first_due)
            try:
                async with asyncio.timeout(max(0.0, (due - self._clock.monotonic()) / 1e9)):
                    item = await self._arrived.get()
            except TimeoutError:
                now = self._clock.monotonic()
                if self._first_due is not None and now >= self._first_due:
                    self._first_due = None
                    silent = np.flatnonzero(~self._seen)
                    if silent.size:
                        return self._columns.without_value(silent, BAD_WAITING_FOR_INITIAL_DATA, self._clock.now())
                elif now >= max(since, self._heard) + self._liveness:
                    raise self._lost(
                        ConnectionError(f"silent for {self._liveness / 1e9:.0f} s, not even a keep-alive")
                    ) from None
                continue
            if isinstance(item, DriverError):
                raise item
            return item

    async def _reconcile(self) -> None:
        """Set right what is monitored, now and then, for as long as the connection lives."""
        try:
            while True:
                await self._clock.sleep(self._retry_s)
                changed = await self._items.retry(self._client.uaclient.session, self._subscription, self._last_status)
                if changed:
                    await self._arrived.put(self._refusals(changed))
        except _LOST as error:
            await self._arrived.put(self._lost(error))

    def _lost(self, error: BaseException) -> DriverError:
        url, name = self._config.url, self._config.name
        match error:
            case TimeoutError():
                why = f"no answer within {CONNECT_S} s; check address, cable and firewall"
            case ConnectionRefusedError():
                why = "connection refused; check that the OPC UA server runs and listens on this port"
            case socket.gaierror():
                why = "host name not found; check the url, or write the IP address"
            case UndecodableError():
                why = f"{error}; check the server's make and version"
            case ua.UaError():
                why = f"the server says {error}; check its security settings and session limit"
            case _:
                why = f"{error or type(error).__name__}; check that the server runs and the network between"
        return DriverError(f"{name} ({url}): {why}")


def _unix_ns(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give ns since 1970 of 100 ns since 1601; 0 stays 0, and a time before 1970 becomes 1 ns, which nobody believes."""
    unix = (np.minimum(ticks, MAX_TICKS) - UNIX_EPOCH_TICKS) * 100
    return np.where(ticks == 0, 0, np.where(ticks <= UNIX_EPOCH_TICKS, 1, unix))
