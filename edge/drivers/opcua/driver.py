"""OPC UA: a server's values, by subscription where it has them and by polling where it has not.

The ten rules: every await stands under a timeout; a refused node is a bad reading with the server's own status and is
tried again every 30 s; source and server times are the machine's; silence is measured against the keep-alive that was
agreed on; leaving closes session, channel and socket even if the server no longer answers; nothing is written that
the book does not allow.

We supervise ourselves (the library's reconnect can come back without data): a driver object has one client, and the
host makes a new one for every attempt. Nodes are named by namespace URI and resolved anew at every connect, because a
server may number its namespaces differently after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Coroutine, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, DriverHealth, RefusedError, Surroundings
from edge.drivers.opcua import resumption, security
from edge.drivers.opcua.addresses import Refusal, resolve
from edge.drivers.opcua.arrivals import LOST, Arrivals, Arrived
from edge.drivers.opcua.items import MonitoredItems
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.poll import Poller
from edge.drivers.opcua.publish import Publish, UndecodableError
from edge.drivers.opcua.services import Services
from edge.drivers.opcua.subscription import LIFETIME_S, LIVENESS_S, Subscriptions
from edge.drivers.opcua.values import Values
from edge.drivers.opcua.wire import Changes
from edge.tags import Tag
from sync.clock import Clock
from sync.quality import BAD_WAITING_FOR_INITIAL_DATA
from sync.reading import Readings, concatenate

CONNECT_S: Final = 4.5
"""Connecting and opening the session: within the five seconds every driver has."""
REQUEST_S: Final = 4.0
CLOSE_S: Final = 1.0
FIRST_VALUES_S: Final = 3.0
RESUMED_S: Final = 1.0
"""After a session was taken up again: time for what waited at the server, before the rest is read."""
MERGED: Final = 20_000
"""Most readings in one batch: when messages wait, they are taken together."""

# The library logs a traceback for each trouble; all of them reach us as errors, and the host logs changes of state.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcUaDriver(Services):
    """One OPC UA connection, from connect to loss."""

    def __init__(
        self, config: OpcUa, tags: Sequence[Tag], clock: Clock, around: Surroundings, *, retry_s: float = 30.0
    ) -> None:
        self.health = DriverHealth()
        self.limits = Limits(config.items_per_call)
        """How many nodes the server takes in one request of each kind."""
        self._config = config
        self._clock = clock
        self._around = around
        self._retry_s = retry_s
        self._client = resumption.ResumingClient(config.url, timeout=REQUEST_S, watchdog_intervall=60.0)
        self._client.name = self._client.description = "Triflow edge gateway"
        self._client.session_timeout = round(LIFETIME_S * 1000)
        self._protocol: UASocketProtocol | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._arrivals = Arrivals()
        self._values = Values(tags, self.health)
        self._items = MonitoredItems(config, tags, self.limits, self.health)
        self._values.serve(self._items.targets)
        self.subscriptions = Subscriptions(config, clock, self.health, self._request, self._arrivals)
        self._poller = Poller(
            self._items,
            indexes=[tag.index for tag in tags],
            limits=self.limits,
            clock=clock,
            health=self.health,
            request=self._request,
            arrivals=self._arrivals,
        )
        self._first_due: int | None = None
        self._link_broke = False
        """Whether the session may still live at the server."""

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:  # cancelled too: whatever ends the attempt, nothing stays open
            if self._protocol is None:
                resumption.keep(self._config, self._around, self._client.kept)
            await self._close()
            raise
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self.subscriptions.listen(self._spawn)
        self._poller.run(self._spawn)
        self._spawn(self._reconcile(), "reconcile")
        if not self.subscriptions.open_ones:
            self._spawn(self._keep_alive(), "keep alive")
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
        """Give first the refused tags, then what the server publishes and what is read."""
        if self._items.refused:
            yield self._refusals(self._items.refused)
        while True:
            yield await self._next()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                self.health.notes["security"] = await security.secure(
                    self._client, self._config, self._around, clock=self._clock
                )
                tags = self._values.columns.tags
                self._client.kept = resumption.take(self._config, self._around, tags, self._items, self._clock)
                await security.connect(self._client)
            self._protocol = self._client.uaclient.protocol
            if not await self._resume():
                await self._items.create(self._client.uaclient.session, self.subscriptions, self._request)
        except LOST as error:
            raise self._lost(error) from error
        if self.health.resumed:
            self._first_due = self._clock.monotonic() + round(RESUMED_S * 1e9)
            return
        slowest = max((one.interval_ms for one in self.subscriptions.open_ones.values()), default=0.0)
        self._first_due = self._clock.monotonic() + round(max(FIRST_VALUES_S, 4 * slowest / 1000) * 1e9)

    async def _resume(self) -> bool:
        """Go on where the last connection broke, if the server can."""
        try:
            missed = await resumption.resume(self._client, self._items, self.subscriptions)
        except ua.UaStatusCodeError:
            return False  # it cannot, or no longer
        if missed is None:
            return False
        for message in missed:
            self._arrivals.put(message)
        self.health.resumed = True
        return True

    async def _close(self) -> None:
        protocol = self._protocol or self._client.uaclient.protocol
        transport = protocol.transport if protocol is not None else None
        if self._link_broke:
            left = self._client.left(self._values.columns.tags, self._items, self.subscriptions)
            resumption.keep(self._config, self._around, left)
            if left is not None and transport is not None:
                transport.abort()  # before the session is told that it is over
                await asyncio.sleep(0)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._client.disconnect()
        finally:
            if transport is not None:  # the library leaves the socket open when it has found out itself
                transport.abort()
                await asyncio.sleep(0)  # one turn of the loop, in which the transport closes

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._group is not None:
            self._tasks.append(self._group.create_task(work, name=f"{self._config.name} {name}"))

    async def _request(self, request: object, timeout_s: float | None = None, /) -> Buffer:
        if self._protocol is None:
            raise ConnectionError("not connected")
        self.health.requests += 1
        return await self._protocol.send_request(request, timeout_s)

    def _refusals(self, refused: dict[int, Refusal]) -> Readings:
        positions = np.fromiter(refused, np.intp, len(refused))
        status = np.fromiter((refusal.status for refusal in refused.values()), np.uint32, len(refused))
        self._values.seen[positions] = True
        return self._values.columns.without_value(positions, status, self._clock.now())

    async def _next(self) -> Readings:
        """Give the next batch; raise DriverError when the connection is lost or silent for too long."""
        waiting_since = self._clock.monotonic()
        while True:
            dead_at, limit_s = self._silent_at(waiting_since)
            due = min((moment for moment in (dead_at, self._first_due) if moment is not None), default=None)
            try:
                async with asyncio.timeout(None if due is None else max(0.0, (due - self._clock.monotonic()) / 1e9)):
                    await self._arrivals.some()
            except TimeoutError:
                now = self._clock.monotonic()
                if self._first_due is not None and now >= self._first_due:
                    self._first_due = None
                    silent = np.flatnonzero(~self._values.seen)
                    if silent.size and self.health.resumed:
                        await self._read_silent()
                    elif silent.size:
                        return self._values.columns.without_value(
                            silent, BAD_WAITING_FOR_INITIAL_DATA, self._clock.now()
                        )
                elif dead_at is not None and now >= dead_at:
                    self._link_broke = True
                    raise self._lost(ConnectionError(f"silent for {limit_s:.0f} s, not even a keep-alive")) from None
                continue
            try:
                batches = await self._take()
            except LOST as error:
                raise self._lost(error) from error
            if batches:
                return concatenate(batches)

    async def _read_silent(self) -> None:
        """Read what has not changed since the link broke: whoever lost sight of it wants its value."""
        unseen = ~self._values.seen
        handles = [
            handle
            for handle, targets in enumerate(self._items.targets)
            if handle in self._items.nodes and any(unseen[target.position] for target in targets)
        ]
        try:
            await self._poller.read(handles)
        except LOST as error:
            raise self._lost(error) from error

    def _silent_at(self, waiting_since: int) -> tuple[int | None, float]:
        """Give when a subscription counts as dead, and the silence that means, s. Who takes late finds none dead for that."""
        first = min(
            (
                (max(waiting_since, one.heard) + one.liveness, one.liveness)
                for one in self.subscriptions.open_ones.values()
            ),
            default=None,
        )
        return (None, 0.0) if first is None else (first[0], first[1] / 1e9)

    async def _take(self) -> list[Readings]:
        """Give what waits, oldest first. Raises what ended the connection, once all before it is given."""
        batches: list[Readings] = []
        rows = 0
        while len(self._arrivals) and rows < MERGED:
            thing = self._arrivals.first()
            if isinstance(thing, BaseException):
                if batches:
                    break
                self._link_broke = isinstance(thing, OSError | TimeoutError)
                raise thing
            self._arrivals.take()
            if isinstance(thing, Readings):
                batches.append(thing)
            elif isinstance(thing, Arrived):
                batches += [
                    self._values.readings(changes, thing.received) for changes in await self._changes(thing.what)
                ]
            rows = sum(len(batch) for batch in batches)
        return batches

    async def _changes(self, what: Publish | Changes) -> list[Changes]:
        """Give the values of a message, whole: what is missing before it, and the meaning of new structures."""
        if isinstance(what, Changes):
            every = [what]
        else:
            session = self._client.uaclient.session
            whole = await self.subscriptions.whole(what, session)
            every = [changes for message in whole for changes in message.changes]
        for changes in every:
            for encoding, handle in self._values.untold(changes).items():
                node = self._items.nodes.get(handle)
                if node is not None:
                    await self._values.structures.learn(self._client.uaclient.session, encoding, node)
        return every

    async def _keep_alive(self) -> None:
        """Ask now and then whether the server is there: where it publishes nothing, nothing else would tell."""
        state = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))
        try:
            while True:
                await self._clock.sleep(LIVENESS_S)
                await self._client.uaclient.session.read_attributes([state], AttributeIds.Value)
        except LOST as error:
            self._arrivals.put(error)

    async def _reconcile(self) -> None:
        """Set right what is monitored, now and then, for as long as the connection lives."""
        try:
            while True:
                await self._clock.sleep(self._retry_s)
                self._values.structures.forget_unknown()
                await security.recheck(self._client, self._around)
                changed = await self._items.retry(
                    self._client.uaclient.session, self.subscriptions, self._request, self._values.last_status
                )
                self._poller.run(self._spawn)
                if changed:
                    self._arrivals.put(self._refusals(changed))
        except LOST as error:
            self._arrivals.put(error)

    def _lost(self, error: BaseException) -> DriverError:
        if isinstance(error, DriverError):
            return error
        url, name = self._config.url, self._config.name
        if secured := security.explain(error, self._client, self._config, self._around):
            return DriverError(f"{name} ({url}): {secured}")
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
