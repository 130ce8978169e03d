"""Which nodes are monitored, which are polled, which are refused and why; and trying the refused ones again."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary
from numpy.typing import NDArray

from edge.connections import OpcUa
from edge.drivers.driver import DriverHealth
from edge.drivers.opcua.addresses import Refusal, path_of, resolve
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.subscription import Request, Subscription, Subscriptions
from edge.drivers.opcua.values import Target
from edge.tags import Tag
from sync.quality import BAD, BAD_NODE_ID_UNKNOWN

_CODE: Final = 0xFFFF_0000
"""A StatusCode without its info bits."""
UNMONITORED: Final = frozenset({StatusCodes.BadNotSupported, StatusCodes.BadNotImplemented, StatusCodes.BadMonitoringModeInvalid, StatusCodes.BadTooManyMonitoredItems, StatusCodes.BadServiceUnsupported})  # fmt: skip
"""The server cannot monitor this one, or no more: it is polled instead."""
_UNFILTERED: Final = frozenset({StatusCodes.BadMonitoredItemFilterUnsupported, StatusCodes.BadMonitoredItemFilterInvalid, StatusCodes.BadFilterNotAllowed, StatusCodes.BadDeadbandFilterInvalid})  # fmt: skip
"""The server monitors it, but not with this filter."""
_TRIGGERS: Final = {
    "status": ua.DataChangeTrigger.Status,
    "value": ua.DataChangeTrigger.StatusValue,
    "timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}


@dataclass(frozen=True, slots=True)
class Item:
    """A node and how it is watched; tags that agree in all of this share one."""

    address: str
    publishing_ms: float
    sampling_ms: float
    period_ms: float
    """When it is polled."""
    queue_size: int
    discard: Literal["oldest", "newest"]
    trigger: Literal["status", "value", "timestamp"]
    deadband: float
    percent: float
    triggered_by: tuple[str, str] | None
    """Work unit and name of the tag that sets it off."""


def items_of(config: OpcUa, tags: Sequence[Tag]) -> tuple[list[Item], list[list[Target]], dict[int, Refusal]]:
    """Give the items that the tags need, which tags each serves, and the tags whose path is wrong (position → why)."""
    targets: dict[Item, list[Target]] = {}
    refused: dict[int, Refusal] = {}
    by_name = {(tag.work_unit, tag.spec.name): tag for tag in tags}
    for position, tag in enumerate(tags):
        spec = tag.spec
        path = path_of(tag)
        if isinstance(path, Refusal):
            refused[position] = path
            continue
        trigger = None if spec.triggered_by is None else by_name.get((tag.work_unit, spec.triggered_by))
        publishing = (trigger or tag).spec.publishing_ms  # one that sets another off shares its subscription
        item = Item(
            address=tag.address,
            publishing_ms=config.publishing_ms if publishing is None else publishing,
            sampling_ms=config.sampling_ms if spec.sampling_ms is None else spec.sampling_ms,
            period_ms=config.poll_ms if spec.period_ms is None else spec.period_ms,
            queue_size=config.queue_size if spec.queue_size is None else spec.queue_size,
            discard=config.discard if spec.discard is None else spec.discard,
            trigger=spec.trigger,
            deadband=spec.source_deadband,
            percent=spec.source_deadband_percent,
            triggered_by=None if trigger is None else (trigger.work_unit, trigger.spec.name),
        )
        targets.setdefault(item, []).append(Target(position, path))
    return list(targets), list(targets.values()), refused


class MonitoredItems:
    """Desired against actual: every item is monitored, polled, or refused with a reason."""

    def __init__(self, config: OpcUa, tags: Sequence[Tag], limits: Limits, health: DriverHealth) -> None:
        self.namespaces: dict[str, int] = {}
        """URI → index, as read when items were last created."""
        self.nodes: dict[int, ua.NodeId] = {}
        """Handle → node, of every item whose address the server's namespaces know."""
        self.refused: dict[int, Refusal] = {}
        """Position of a tag → why it has no value."""
        self.polled: dict[int, float] = {}
        """Handle → period in ms, of what is not monitored but read."""
        self.items, self.targets, astray = items_of(config, tags)
        self.asked = tuple(self.items)
        """What the tags need, whatever the server makes of it."""
        self.holds_ms = 0.0
        """How long the shortest queue at the server holds every change of its item; 0 when that cannot be said."""
        self._config = config
        self._tags = tags
        self._limits = limits
        self._health = health
        self._ids: dict[int, tuple[int, int]] = {}
        """Handle → (subscription, MonitoredItemId)."""
        self._plain: set[int] = set()
        """Handles whose filter the server refused."""
        self._handle_of = {
            (tags[target.position].work_unit, tags[target.position].spec.name): handle
            for handle, each in enumerate(self.targets)
            for target in each
        }
        for position, refusal in astray.items():
            self.refused[position] = refusal
            health.bad_items[tags[position].index] = refusal.why

    async def create(
        self, session: UaSession, subscriptions: Subscriptions, request: Request, handles: Iterable[int] | None = None
    ) -> None:
        """Monitor these items, all if none are named; a tag that the server now takes is no longer refused."""
        self._health.requests += 1
        names = await self._limits.learn(session)
        self.namespaces = {uri: index for index, uri in enumerate(names)}
        by_interval: defaultdict[float, list[int]] = defaultdict(list)
        for handle in range(len(self.items)) if handles is None else handles:
            node = resolve(self.items[handle].address, self.namespaces)
            if isinstance(node, Refusal):
                self.nodes.pop(handle, None)
                self._refuse(handle, node)
                continue
            self.nodes[handle] = node
            if self._config.acquire == "poll":
                self._poll(handle)
            else:
                by_interval[self.items[handle].publishing_ms].append(handle)
        for interval, wanted in sorted(by_interval.items()):
            subscription = await self._subscription(subscriptions, interval)
            if subscription is None:
                for handle in wanted:
                    self._poll(handle)
            else:
                await self._monitor(session, subscription, wanted)
                await self._link(request, subscription, wanted)
        self._tell()

    def adopt(self, other: MonitoredItems) -> None:
        """Go on with the items that another connection left."""
        self.items, self._ids, self._plain = other.items, other._ids, other._plain
        self.nodes, self.namespaces, self.holds_ms = other.nodes, other.namespaces, other.holds_ms
        self.refused = other.refused
        self._health.notes = other._health.notes | self._health.notes
        for position, refusal in self.refused.items():
            self._health.bad_items[self._tags[position].index] = refusal.why

    async def _subscription(self, subscriptions: Subscriptions, interval: float) -> Subscription | None:
        """Give the subscription of this publishing interval, the nearest if the server makes no more; None to poll."""
        have = list(subscriptions.open_ones.values())
        for one in have:
            if one.interval_ms == interval:
                return one
        try:
            return await subscriptions.open(interval)
        except (
            ua.uaerrors.BadServiceUnsupported,
            ua.uaerrors.BadNotImplemented,
            ua.uaerrors.BadNotSupported,
            ua.uaerrors.BadTooManySubscriptions,
        ) as error:
            if have:
                nearest = min(have, key=lambda one: abs(one.interval_ms - interval))
                self._health.notes["subscriptions"] = (
                    f"the server makes no more than {len(have)} subscriptions: tags of {interval:g} ms are published "
                    f"every {nearest.interval_ms:g} ms"
                )
                return nearest
            if self._config.acquire == "subscribe":
                raise
            self._health.notes["subscriptions"] = f"the server makes none ({error}): its tags are polled"
            return None

    async def _monitor(self, session: UaSession, subscription: Subscription, handles: list[int]) -> None:
        """Monitor items in one subscription; what is refused for its filter only is asked for again without it."""
        unfiltered: list[int] = []
        short: list[int] = []
        holds = [self.holds_ms] if self._ids else []

        async def call(part: Sequence[int]) -> list[ua.MonitoredItemCreateResult]:
            self._health.requests += 1
            return await session.create_monitored_items(
                ua.CreateMonitoredItemsParameters(
                    SubscriptionId=ua.IntegerId(subscription.id),
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ItemsToCreate=[self._asked(handle) for handle in part],
                )
            )

        results = await self._limits.monitor.ask(handles, call)
        for handle, result in zip(handles, results, strict=True):
            status = int(result.StatusCode.value)
            if not status & BAD:
                self._ids[handle] = subscription.id, int(result.MonitoredItemId)
                self._accept(handle)
                holds.append(result.RevisedQueueSize * result.RevisedSamplingInterval)
                if result.RevisedQueueSize < self.items[handle].queue_size:
                    short.append(int(result.RevisedQueueSize))
            elif status & _CODE in _UNFILTERED and handle not in self._plain and self._filter(handle) is not None:
                unfiltered.append(handle)
            elif status & _CODE in UNMONITORED and self._config.acquire == "auto":
                self._poll(handle)
            else:
                why = f"server refuses {self.nodes[handle].to_string()}: {result.StatusCode.name}"
                self._refuse(handle, Refusal(status, why))
        self.holds_ms = 0.0 if self.polled else max(0.0, min(holds, default=0.0))
        if short:
            self._health.notes["queues"] = (
                f"the server keeps at most {min(short)} values of {len(short)} tags between two publishes, fewer than asked for"
            )
        if unfiltered:
            await self._without_filter(session, subscription, unfiltered)

    async def _without_filter(self, session: UaSession, subscription: Subscription, handles: list[int]) -> None:
        """Ask again: percent as an absolute deadband where the node tells its range, else without any filter."""
        percents = [handle for handle in handles if self.items[handle].percent]
        ranges = await self._ranges(session, percents)
        for handle in handles:
            item, span = self.items[handle], ranges.get(handle)
            if span is None:
                self._plain.add(handle)
            else:
                self.items[handle] = replace(item, percent=0.0, deadband=item.percent / 100 * span)
        bare = [handle for handle in handles if handle in self._plain]
        if ranges:
            self._health.notes["deadband percent"] = (
                f"the server takes none: {len(ranges)} tags have it as an absolute one, from their EURange"
            )
        if bare:
            self._health.notes["filters"] = (
                f"the server refuses the deadband or trigger of {len(bare)} tags (first: {self.items[bare[0]].address}): "
                "every change of theirs is sent"
            )
        await self._monitor(session, subscription, handles)

    async def _ranges(self, session: UaSession, handles: list[int]) -> dict[int, float]:
        """Give the width of each node's EURange, of those that have one."""
        step = ua.RelativePathElement(
            ReferenceTypeId=ua.NodeId(ua.Int32(ObjectIds.HasProperty)),
            IsInverse=False,  # pyright: ignore[reportArgumentType]  # the library's Boolean is a bool
            IncludeSubtypes=True,  # pyright: ignore[reportArgumentType]
            TargetName=ua.QualifiedName("EURange", 0),  # pyright: ignore[reportArgumentType]  # 0 is a UInt16
        )
        paths = [
            ua.BrowsePath(StartingNode=self.nodes[handle], RelativePath=ua.RelativePath(Elements=[step]))
            for handle in handles
        ]
        found = await self._limits.translate.ask(
            paths, lambda part: session.translate_browsepaths_to_nodeids(list(part))
        )
        have = {
            handle: ua.NodeId(r.Targets[0].TargetId.Identifier, r.Targets[0].TargetId.NamespaceIndex)
            for handle, r in zip(handles, found, strict=True)
            if r.StatusCode.is_good() and r.Targets
        }
        values = await self._limits.read.ask(
            list(have.values()), lambda part: session.read_attributes(list(part), AttributeIds.Value)
        )
        held: list[Any] = [None if value.Value is None else value.Value.Value for value in values]
        return {
            handle: float(told.High - told.Low)
            for handle, told in zip(have, held, strict=True)
            if isinstance(told, ua.Range) and told.High > told.Low
        }

    async def _link(self, request: Request, subscription: Subscription, handles: list[int]) -> None:
        """Let the items that say so be set off by another; where the server cannot, they report by themselves."""
        links: defaultdict[int, list[int]] = defaultdict(list)
        for handle in handles:
            by = self.items[handle].triggered_by
            trigger = None if by is None else self._handle_of.get(by)
            if trigger is not None and handle in self._ids and trigger in self._ids:
                links[self._ids[trigger][1]].append(handle)
        for trigger, linked in links.items():
            ids = [ua.IntegerId(self._ids[handle][1]) for handle in linked]
            ask = ua.SetTriggeringRequest()
            ask.Parameters = ua.SetTriggeringParameters(
                SubscriptionId=ua.IntegerId(subscription.id), TriggeringItemId=ua.IntegerId(trigger), LinksToAdd=ids
            )
            mode = ua.SetMonitoringModeRequest()
            mode.Parameters = ua.SetMonitoringModeParameters(
                SubscriptionId=ua.IntegerId(subscription.id),
                MonitoringMode=ua.MonitoringMode.Sampling,
                MonitoredItemIds=ids,
            )
            try:
                struct_from_binary(ua.SetTriggeringResponse, await request(ask)).ResponseHeader.ServiceResult.check()
                # Only now: an item that no trigger sets off must not fall silent.
                await request(mode)
            except ua.UaStatusCodeError as error:
                first = self.items[linked[0]].address
                self._health.notes["triggered_by"] = (
                    f"the server cannot ({error}): {len(linked)} tags (first: {first}) report on their own"
                )

    async def retry(
        self, session: UaSession, subscriptions: Subscriptions, request: Request, last_status: NDArray[np.uint32]
    ) -> dict[int, Refusal]:
        """Try the refused tags again, and those whose node the server has since lost; give what is refused anew.

        last_status: newest status of each item; one whose node vanished stays dead even if the node comes back.
        """
        gone = [handle for handle in self._ids if int(last_status[handle]) & _CODE == BAD_NODE_ID_UNKNOWN]
        leaving: defaultdict[int, list[int]] = defaultdict(list)
        for handle in gone:
            subscription, item = self._ids.pop(handle)
            leaving[subscription].append(item)
        for subscription, ids in leaving.items():
            call = ua.DeleteMonitoredItemsParameters(
                SubscriptionId=ua.IntegerId(subscription), MonitoredItemIds=[ua.IntegerId(each) for each in ids]
            )
            with contextlib.suppress(ua.UaStatusCodeError):  # a server that cannot has forgotten the item with its node
                await session.delete_monitored_items(call)
        before = dict(self.refused)
        waiting = {handle for handle in range(len(self.items)) if handle not in self._ids and handle not in self.polled}
        if not waiting:
            return {}
        await self.create(session, subscriptions, request, sorted(waiting))
        lost = {target.position for handle in gone for target in self.targets[handle]}
        return {
            p: refusal
            for p, refusal in self.refused.items()
            if p not in lost and before.get(p, refusal).status != refusal.status
        }

    def _filter(self, handle: int) -> ua.DataChangeFilter | None:
        item = self.items[handle]
        if handle in self._plain or not (item.deadband or item.percent or item.trigger != "value"):
            return None
        kind = ua.DeadbandType.Percent if item.percent else ua.DeadbandType.Absolute if item.deadband else 0
        return ua.DataChangeFilter(
            Trigger=_TRIGGERS[item.trigger],
            DeadbandType=ua.UInt32(int(kind)),
            DeadbandValue=ua.Double(item.percent or item.deadband),
        )

    def _asked(self, handle: int) -> ua.MonitoredItemCreateRequest:
        item = self.items[handle]
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=self.nodes[handle], AttributeId=ua.IntegerId(AttributeIds.Value)),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.IntegerId(handle),
                SamplingInterval=ua.Duration(item.sampling_ms),
                Filter=self._filter(handle),
                QueueSize=ua.Counter(item.queue_size),
                DiscardOldest=item.discard == "oldest",
            ),
        )

    def _poll(self, handle: int) -> None:
        self.polled[handle] = self.items[handle].period_ms
        self._accept(handle)

    def _accept(self, handle: int) -> None:
        for target in self.targets[handle]:
            if self.refused.pop(target.position, None) is not None:
                self._health.bad_items.pop(self._tags[target.position].index, None)

    def _refuse(self, handle: int, refusal: Refusal) -> None:
        for target in self.targets[handle]:
            self.refused[target.position] = refusal
            self._health.bad_items[self._tags[target.position].index] = refusal.why

    def _tell(self) -> None:
        if self.polled and self._config.acquire == "auto":
            periods = sorted(set(self.polled.values()))
            self._health.notes["polled"] = (
                f"{len(self.polled)} nodes that the server cannot monitor are read every {periods[0]:g} ms"
            )
