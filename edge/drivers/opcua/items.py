"""Which nodes are monitored, which are refused and why, and trying the refused ones again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from numpy.typing import NDArray

from edge.connections import OpcUa
from edge.drivers.columns import TagColumns
from edge.drivers.driver import DriverHealth
from sync.quality import BAD, BAD_CONFIGURATION_ERROR, BAD_NODE_ID_UNKNOWN

ITEMS_PER_CALL = 1000
_CODE = 0xFFFF_0000
"""A StatusCode without its info bits."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tag has no value."""

    status: int
    why: str


class MonitoredItems:
    """Desired against actual: every tag is either monitored or refused with a reason."""

    def __init__(self, config: OpcUa, columns: TagColumns, health: DriverHealth) -> None:
        self.refused: dict[int, Refusal] = {}
        """Position of a tag → why it is not monitored."""
        self.namespaces: dict[str, int] = {}
        """URI → index, as read when items were last created."""
        self._config = config
        self._columns = columns
        self._health = health
        self._ids: dict[int, int] = {}
        self._chunk = ITEMS_PER_CALL

    async def create(self, session: UaSession, subscription: int, positions: Iterable[int]) -> None:
        """Monitor these tags in calls of a size the server takes; a tag it now takes is no longer refused."""
        namespaces = self.namespaces = await self._ask(session)
        wanted: list[tuple[int, ua.NodeId]] = []
        for position in positions:
            node = resolve(self._columns.tags[position].address, namespaces)
            if isinstance(node, Refusal):
                self._refuse(position, node)
            else:
                wanted.append((position, node))
        done = 0
        while done < len(wanted):
            chunk = wanted[done : done + self._chunk]
            self._health.requests += 1
            try:
                results = await session.create_monitored_items(self._call(subscription, chunk))
            except ua.uaerrors.BadTooManyOperations:
                if self._chunk == 1:
                    raise
                self._chunk = max(1, self._chunk // 2)  # some servers state no limit and have one
                continue
            for (position, node), result in zip(chunk, results, strict=True):
                status = int(result.StatusCode.value)
                if status & BAD:
                    why = f"server refuses {node.to_string()}: {result.StatusCode.name}"
                    self._refuse(position, Refusal(status, why))
                else:
                    self._ids[position] = int(result.MonitoredItemId)
                    if self.refused.pop(position, None) is not None:
                        self._health.bad_items.pop(int(self._columns.index[position]), None)
            done += len(chunk)

    async def retry(self, session: UaSession, subscription: int, last_status: NDArray[np.uint32]) -> dict[int, Refusal]:
        """Try the refused tags again, and those whose node the server has since lost; give what is refused anew.

        last_status: newest status of each tag; an item whose node vanished stays dead even if the node comes back.
        """
        gone = [p for p in self._ids if int(last_status[p]) & _CODE == BAD_NODE_ID_UNKNOWN]
        if gone:
            ids = [ua.IntegerId(self._ids.pop(p)) for p in gone]
            call = ua.DeleteMonitoredItemsParameters(SubscriptionId=ua.IntegerId(subscription), MonitoredItemIds=ids)
            with contextlib.suppress(ua.UaStatusCodeError):  # a server that cannot has forgotten the item with its node
                await session.delete_monitored_items(call)
        before = dict(self.refused)
        again = [*before, *gone]
        if not again:
            return {}
        await self.create(session, subscription, again)
        return {
            p: refusal
            for p, refusal in self.refused.items()
            if p not in gone and before.get(p, refusal).status != refusal.status
        }

    async def _ask(self, session: UaSession) -> dict[str, int]:
        """Read the namespaces (URI → index), and how many items the server takes in one call."""
        asked = [
            ObjectIds.Server_NamespaceArray,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        ]
        self._health.requests += 1
        names, limit = await session.read_attributes([ua.NodeId(ua.Int32(node)) for node in asked], AttributeIds.Value)
        most = None if limit.Value is None else limit.Value.Value
        if isinstance(most, int) and most > 0:
            self._chunk = min(self._chunk, most)
        uris: list[str] = [] if names.Value is None else list(names.Value.Value or [])
        return {uri: index for index, uri in enumerate(uris)}

    def _call(self, subscription: int, chunk: list[tuple[int, ua.NodeId]]) -> ua.CreateMonitoredItemsParameters:
        return ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.IntegerId(subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.IntegerId(AttributeIds.Value)),
                    MonitoringMode=ua.MonitoringMode.Reporting,
                    RequestedParameters=ua.MonitoringParameters(
                        ClientHandle=ua.IntegerId(position),
                        SamplingInterval=ua.Duration(self._config.sampling_ms),
                        QueueSize=ua.Counter(self._config.queue_size),
                    ),
                )
                for position, node in chunk
            ],
        )

    def _refuse(self, position: int, refusal: Refusal) -> None:
        self.refused[position] = refusal
        self._health.bad_items[int(self._columns.index[position])] = refusal.why


def resolve(address: str, namespaces: dict[str, int]) -> ua.NodeId | Refusal:
    """Give the node that an address (`nsu=<uri>;s=<id>`, or `i=<number>` of OPC UA's own) names on this server."""
    namespace, _, rest = address.partition(";") if address.startswith("nsu=") else ("", "", address)
    index = 0
    if namespace:
        uri = namespace.removeprefix("nsu=")
        if uri not in namespaces:
            known = ", ".join(namespaces)
            return Refusal(BAD_NODE_ID_UNKNOWN, f"{address}: the server has no namespace {uri!r}; it has {known}")
        index = namespaces[uri]
    if rest[:2] not in {"s=", "i=", "g=", "b="}:
        why = f"{address}: write nsu=<namespace uri>;s=<id>; ns=<number> will not do, a server may number them anew"
        return Refusal(BAD_CONFIGURATION_ERROR, why)
    try:
        return ua.NodeId.from_string(f"ns={index};{rest}")
    except (ua.UaError, ValueError) as error:
        return Refusal(BAD_CONFIGURATION_ERROR, f"{address}: no node address ({error}); write nsu=<uri>;s=<id>")
