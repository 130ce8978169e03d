"""Events and conditions of one connection: subscribed to, refreshed at every connect, and closed when they are gone.

A condition's state is not an event that can be missed: after (re)connecting the server is asked to say again which
conditions stand (ConditionRefresh, Part 9, 5.5.7). One that we believed active and it does not name is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.connections import OpcUa
from edge.drivers.driver import DriverHealth, RefusedError
from edge.drivers.opcua import notice
from edge.drivers.opcua.notice import Notice
from edge.drivers.opcua.subscription import Subscriptions
from sync.clock import Clock
from sync.facts import AlarmChanged, Fact
from sync.quality import BAD

QUEUE: Final = 1000
"""Events that the server keeps for us between two publishes."""
MOST: Final = 20_000
"""Events that wait here; of more the oldest go, and are counted."""
RETRY_S: Final = 30.0
REFRESH_AT_MOST_S: Final = 60.0
REFRESH_S: Final = 2.0
"""How long after the end of a refresh conditions may still be named, by way of another node."""
SERVER: Final = "i=2253"
_NOTIFIES: Final = AttributeIds.EventNotifier

Standing = Collection[tuple[str, str]]
"""(work unit, alarm) of the conditions that were active when last heard of."""


class Events:
    """The event side of one connection."""

    def __init__(
        self,
        config: OpcUa,
        session: UaSession,
        subscriptions: Subscriptions,
        *,
        node_of: Callable[[str], ua.NodeId],
        health: DriverHealth,
        clock: Clock,
    ) -> None:
        self._config, self._session, self._subscriptions = config, session, subscriptions
        self._node_of, self._health, self._clock = node_of, health, clock
        self._waiting: deque[tuple[Notice, int]] = deque()
        self._some = asyncio.Event()
        self._names: dict[ua.NodeId, str] = {}
        self._subscription = 0
        self._listening: set[int] = set()
        """Sources (place in the configuration) that the server notifies us of."""
        self._named: set[tuple[str, str]] = set()
        """Conditions named since the last refresh began."""
        self._ended = False
        """Whether the server said that the last refresh is over."""
        self._bracketed = False
        self._close_at: int | None = None

    async def follow(self, standing: Standing) -> AsyncGenerator[list[Fact]]:
        """Give facts as they come, for ever. Raises ua.UaError and OSError when the connection is lost."""
        made = await self._subscriptions.open(self._config.publishing_ms)
        made.on_events = self._came
        self._subscription = made.id
        due = 0
        believed = set(standing)
        while True:
            now = self._clock.monotonic()
            if now >= due and len(self._listening) < len(self._config.events):
                due = now + round(RETRY_S * 1e9)
                if await self._listen():
                    await self._refresh()
            if self._close_at is not None and now >= self._close_at:
                self._close_at = None
                gone = self._gone(believed) if self._ended else []
                believed -= {(fact.work_unit, fact.alarm) for fact in gone}
                if gone:
                    yield list(gone)
            wake = min(at for at in (due, self._close_at, now + round(RETRY_S * 1e9)) if at is not None and at > now)
            facts = await self._take((wake - now) / 1e9)
            for fact in facts:
                if isinstance(fact, AlarmChanged):
                    (believed.add if fact.active else believed.discard)((fact.work_unit, fact.alarm))
            if facts:
                yield facts

    def _came(self, found: list[ua.EventFieldList]) -> None:
        received = self._clock.now()
        for one in found:
            if len(self._waiting) == MOST:
                self._waiting.popleft()
                self._health.overflows += 1
            self._waiting.append((notice.of(one), received))
        self._some.set()

    async def _take(self, wait_s: float) -> list[Fact]:
        """Give the facts of all that waits; an empty list when nothing comes in time."""
        try:
            async with asyncio.timeout(wait_s):
                await self._some.wait()
        except TimeoutError:
            return []
        self._some.clear()
        facts: list[Fact] = []
        while self._waiting:
            one, received = self._waiting.popleft()
            fact = await self._fact(one, received)
            if fact is not None:
                facts.append(fact)
        return facts

    async def _fact(self, one: Notice, received: int) -> Fact | None:
        """Give what an event says; None when it is about the refresh, or below the severity asked for."""
        kind = one.type
        if kind == notice.REFRESH_BEGINS:
            return None
        if kind == notice.REFRESH_ENDS:
            if self._close_at is not None and not self._ended:
                self._ended = True
                self._close_at = self._clock.monotonic() + round(REFRESH_S * 1e9)
            return None
        if kind in {notice.REFRESH_WANTED, notice.OVERFLOW}:
            self._health.overflows += kind == notice.OVERFLOW
            await self._refresh()
            return None
        if one.source >= len(self._config.events):
            return None
        source = self._config.events[one.source]
        if one.condition is None:
            if one.severity < source.severity:
                return None
            return notice.event(one, self._config.name, source.work_unit, await self._name(kind), received)
        if one.is_branch:
            return None
        self._named.add((source.work_unit, one.condition))
        if one.severity < source.severity and one.active:
            return None
        return notice.alarm(one, self._config.name, source.work_unit, received)

    def _gone(self, believed: set[tuple[str, str]]) -> list[AlarmChanged]:
        """Close what was believed active and was not named in a refresh."""
        mine = {self._config.events[i].work_unit for i in self._listening}
        return [
            AlarmChanged(
                at=self._clock.now(),
                work_unit=work_unit,
                alarm=alarm,
                active=False,
                severity="",
                source=self._config.name,
            )
            for work_unit, alarm in sorted(believed - self._named)
            if work_unit in mine
        ]

    async def _listen(self) -> bool:
        """Ask for the events of every source that we have none of; tells whether there is a new one."""
        before = len(self._listening)
        for i, source in enumerate(self._config.events):
            if i in self._listening:
                continue
            note = f"events {source.node}"
            try:
                node = self._node_of(source.node)
            except RefusedError as error:
                self._health.notes[note] = str(error)
                continue
            status = await self._monitor(i, node, notice.filter_of(source.severity, conditions=True))
            if status is not None and status.name not in {"BadNodeIdUnknown", "BadUserAccessDenied"}:
                plain = notice.filter_of(1, conditions=False)  # conditions, or comparing, are too much for it
                status = await self._monitor(i, node, plain)
            if status is None:
                self._listening.add(i)
                self._health.notes.pop(note, None)
            else:
                self._health.notes[note] = f"the server does not notify of {source.node}: {status.name}"
        if not self._bracketed and all(source.node != SERVER for source in self._config.events):
            # What brackets a refresh comes from the server's own object, and from no node below it.
            server = self._node_of(SERVER)
            bracket = notice.bracket_filter()
            self._bracketed = await self._monitor(len(self._config.events), server, bracket) is None
        return len(self._listening) > before

    async def _monitor(self, handle: int, node: ua.NodeId, wanted: ua.EventFilter) -> ua.StatusCode | None:
        """Ask for the events of one node; give why not, or None."""
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.IntegerId(_NOTIFIES)),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.IntegerId(handle),
                SamplingInterval=ua.Duration(0),
                Filter=wanted,
                QueueSize=ua.Counter(QUEUE),
            ),
        )
        request = ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.IntegerId(self._subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[item],
        )
        (result,) = await self._session.create_monitored_items(request)
        return result.StatusCode if int(result.StatusCode.value) & BAD else None

    async def _refresh(self) -> None:
        """Have the server say again which conditions stand."""
        call = ua.CallMethodRequest(
            ObjectId=ua.NodeId(ua.Int32(ObjectIds.ConditionType)),
            MethodId=ua.NodeId(ua.Int32(ObjectIds.ConditionType_ConditionRefresh)),
            InputArguments=[ua.Variant(self._subscription, ua.VariantType.UInt32)],
        )
        self._named.clear()
        self._ended = False
        self._close_at = self._clock.monotonic() + round(REFRESH_AT_MOST_S * 1e9)
        try:
            (result,) = await self._session.call([call])
        except ua.UaStatusCodeError as error:
            name = ua.StatusCode(ua.UInt32(error.code)).name
        else:
            name = result.StatusCode.name if int(result.StatusCode.value) & BAD else ""
        if name and name != "BadRefreshInProgress":
            self._close_at = None
            self._health.notes["conditions"] = f"the server cannot say again which conditions stand ({name})"
        else:
            self._health.notes.pop("conditions", None)

    async def _name(self, kind: ua.NodeId | None) -> str:
        """Give the browse name of an event type; asked once."""
        if kind is None:
            return ""
        if kind not in self._names:
            (value,) = await self._session.read_attributes([kind], AttributeIds.BrowseName)
            held = None if value.Value is None else value.Value.Value
            self._names[kind] = str(held.Name) if isinstance(held, ua.QualifiedName) else kind.to_string()
        return self._names[kind]
