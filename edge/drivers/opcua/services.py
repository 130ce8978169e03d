"""What an OPC UA connection offers besides live values: history, writes, methods, browsing, events. Part of the driver."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, DriverHealth, Node, Recalled, Written
from edge.drivers.opcua import browse, events, history, methods, write
from edge.drivers.opcua.arrivals import LOST
from edge.drivers.opcua.items import MonitoredItems
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.objects import ticks
from edge.drivers.opcua.subscription import Subscriptions
from edge.drivers.opcua.values import UNIX_EPOCH_TICKS, Values
from edge.tags import Tag
from sync.clock import Clock
from sync.facts import Fact
from sync.reading import Scalar


class Services(abc.ABC):
    """Mixed into the driver: each service is thin, its work stands in a module of its own."""

    health: DriverHealth
    limits: Limits
    subscriptions: Subscriptions
    _config: OpcUa
    _clock: Clock
    _values: Values
    _items: MonitoredItems

    @property
    @abc.abstractmethod
    def session(self) -> UaSession: ...

    @abc.abstractmethod
    def node_of(self, address: str) -> ua.NodeId: ...

    @abc.abstractmethod
    async def _request(self, request: object, timeout_s: float | None = None, /) -> Buffer: ...

    @abc.abstractmethod
    def _lost(self, error: BaseException) -> DriverError: ...

    async def write(self, tag: Tag, value: Scalar) -> Written:
        """Write one value, in the tag's engineering unit, and read it back."""
        async with self._asking():
            return await write.write(self.session, self.node_of(tag.address), tag, value)

    async def call(self, object_address: str, method_address: str, arguments: Sequence[Scalar]) -> list[Scalar]:
        """Call a method and give its outputs."""
        async with self._asking():
            owner, method = self.node_of(object_address), self.node_of(method_address)
            return await methods.call(self.session, owner, method, arguments)

    async def browse(self, pattern: str = "**", *, depth: int = 12, most: int = 100_000) -> AsyncGenerator[Node]:
        """Give the nodes whose path below the Objects folder matches a glob."""
        walk = browse.Browse(self.session, self.limits, self._items.namespaces, pattern)
        try:
            async with aclosing(walk.walk(depth=depth, most=most)) as nodes:
                async for node in nodes:
                    yield node
        except LOST as error:
            raise self._lost(error) from error

    async def events(self, standing: Collection[tuple[str, str]] = ()) -> AsyncGenerator[list[Fact]]:
        """Give the events and conditions of the configured sources as they come."""
        followed = events.Events(
            self._config, self.session, self.subscriptions, node_of=self.node_of, health=self.health, clock=self._clock
        )
        try:
            async with aclosing(followed.follow(standing)) as batches:
                async for batch in batches:
                    yield batch
        except LOST as error:
            raise self._lost(error) from error

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncGenerator[None]:
        """Say a lost connection in the driver's words."""
        try:
            yield
        except LOST as error:
            raise self._lost(error) from error

    async def history(self, since: Mapping[int, int], until: Mapping[int, int]) -> AsyncGenerator[Recalled]:
        """Give what the server remembers of tags (by index) strictly between two source times, ns."""
        past = history.History(
            self._request,
            self.node_of,
            self._values.columns.tags,
            self.health,
            structures=self._values.structures,
            most=min(self.limits.history.most, history.NODES_PER_CALL),
        )
        try:
            self.health.started = await _started(self.session)
            async with aclosing(past.recall(since, until, self._clock.now)) as pieces:
                async for piece in pieces:
                    yield piece
        except LOST as error:
            raise self._lost(error) from error


async def _started(session: UaSession) -> int:
    """Give when the server was started, ns; 0 when it does not say."""
    node = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_StartTime))
    (value,) = await session.read_attributes([node], AttributeIds.Value)
    held: Any = None if value.Value is None else value.Value.Value
    return (ticks(held) - UNIX_EPOCH_TICKS) * 100 if isinstance(held, datetime) else 0
