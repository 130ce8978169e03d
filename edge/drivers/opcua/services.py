"""What an OPC UA connection offers besides live values: history, writes, methods, browsing, events. Part of the driver."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.connections import OpcUa
from edge.drivers.driver import DriverError, DriverHealth, Recalled
from edge.drivers.opcua import history
from edge.drivers.opcua.arrivals import LOST
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.objects import ticks
from edge.drivers.opcua.subscription import Subscriptions
from edge.drivers.opcua.values import UNIX_EPOCH_TICKS, Values
from sync.clock import Clock


class Services(abc.ABC):
    """Mixed into the driver: each service is thin, its work stands in a module of its own."""

    health: DriverHealth
    limits: Limits
    subscriptions: Subscriptions
    _config: OpcUa
    _clock: Clock
    _values: Values

    @property
    @abc.abstractmethod
    def session(self) -> UaSession: ...

    @abc.abstractmethod
    def node_of(self, address: str) -> ua.NodeId: ...

    @abc.abstractmethod
    async def _request(self, request: object, timeout_s: float | None = None, /) -> Buffer: ...

    @abc.abstractmethod
    def _lost(self, error: BaseException) -> DriverError: ...

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
