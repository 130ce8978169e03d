"""Reading what is not monitored, on a beat of its own for each period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from edge.drivers.driver import DriverHealth
from edge.drivers.opcua.arrivals import LOST, Arrivals, Arrived
from edge.drivers.opcua.items import MonitoredItems
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.publish import UndecodableError, decode_read
from edge.drivers.opcua.subscription import Request, Spawn
from edge.drivers.opcua.wire import Changes
from edge.drivers.schedule import Beat
from sync.clock import Clock

REFUSED: Final = frozenset({StatusCodes.BadNodeIdUnknown, StatusCodes.BadNodeIdInvalid, StatusCodes.BadAttributeIdInvalid, StatusCodes.BadNotReadable, StatusCodes.BadUserAccessDenied})  # fmt: skip
"""The node gives no value and will not by itself; anything else is what the machine says of a value."""


class Poller:
    """Reads items by their periods. A beat that is missed is skipped and counted, so that nothing piles up."""

    def __init__(
        self,
        items: MonitoredItems,
        *,
        indexes: Sequence[int],
        limits: Limits,
        clock: Clock,
        health: DriverHealth,
        request: Request,
        arrivals: Arrivals,
    ) -> None:
        self._items = items
        self._indexes = indexes
        self._limits = limits
        self._clock = clock
        self._health = health
        self._request = request
        self._arrivals = arrivals
        self._refused: set[int] = set()
        self._running: set[float] = set()

    def run(self, spawn: Spawn) -> None:
        """Begin a task for each period that has none yet."""
        new = sorted(set(self._items.polled.values()) - self._running)
        self._running.update(new)
        for period in new:
            spawn(self._poll(period), f"poll {period:g} ms")

    async def _poll(self, period_ms: float) -> None:
        beat = Beat(self._clock, period_ms / 1000)
        try:
            while True:
                self._health.overruns += await beat.wait()
                await self._arrivals.room()
                polled = self._items.polled
                await self.read([handle for handle, period in polled.items() if period == period_ms])
        except LOST as error:
            self._arrivals.put(error)

    async def read(self, handles: Sequence[int]) -> None:
        """Read these items once, in requests of a size the server takes, and hand their values on."""

        async def call(part: Sequence[int]) -> list[None]:
            request = ua.ReadRequest()
            request.Parameters = ua.ReadParameters(
                MaxAge=ua.Duration(0.0),
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                NodesToRead=[
                    ua.ReadValueId(NodeId=self._items.nodes[handle], AttributeId=ua.IntegerId(AttributeIds.Value))
                    for handle in part
                ],
            )
            changes, fast = decode_read(bytes(await self._request(request)))
            if len(changes.handle) != len(part):
                raise UndecodableError(f"asked for {len(part)} values, the server gave {len(changes.handle)}")
            if fast:
                self._health.fast_decodes += 1
            else:
                self._health.slow_decodes += 1
            asked = np.array(part, np.uint32)
            self._note(changes, part)
            self._arrivals.put(Arrived(_with_handles(changes, asked), self._clock.now()))
            return [None] * len(part)

        await self._limits.read.ask(handles, call)

    def _note(self, changes: Changes, part: Sequence[int]) -> None:
        """Say which nodes give no value, and no longer those that do again."""
        doubtful = (changes.status & np.uint32(0x8000_0000)) != 0
        if not self._refused and not doubtful.any():
            return
        for handle, status in zip(part, changes.status.tolist(), strict=True):
            refused = status & 0xFFFF_0000 in REFUSED
            if not refused and handle not in self._refused:
                continue
            for target in self._items.targets[handle]:
                if refused:
                    why = f"server refuses {self._items.nodes[handle].to_string()}: {ua.StatusCode(status).name}"
                    self._health.bad_items[self._indexes[target.position]] = why
                else:
                    self._health.bad_items.pop(self._indexes[target.position], None)
            (self._refused.add if refused else self._refused.discard)(handle)


def _with_handles(changes: Changes, handles: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> Changes:
    return Changes(
        handle=handles,
        kind=changes.kind,
        value=changes.value,
        status=changes.status,
        source=changes.source,
        server=changes.server,
        other=changes.other,
        parts=changes.parts,
    )
