"""How many nodes a server takes in one request: what it states, what it turns out to take, and what we were told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

T = TypeVar("T")
R = TypeVar("R")

_TOO_MANY: Final = (
    ua.uaerrors.BadTooManyOperations,
    ua.uaerrors.BadRequestTooLarge,
    ua.uaerrors.BadResponseTooLarge,
    ua.uaerrors.BadEncodingLimitsExceeded,
)


class Limit:
    """Most nodes in one request of a kind; halved when the server turns out to have a limit that it does not state."""

    def __init__(self, most: int) -> None:
        self.most = most

    async def ask(self, things: Sequence[T], call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> list[R]:
        """Give the answers about all things, asked for in calls of a size the server takes.

        Raises what `call` raises, and ua.UaError when an answer has another length than its question.
        """
        answers: list[R] = []
        while len(answers) < len(things):
            part = things[len(answers) : len(answers) + self.most]
            try:
                said = await call(part)
            except _TOO_MANY:
                if len(part) == 1:
                    raise
                self.most = max(1, len(part) // 2)
                continue
            if len(said) != len(part):
                raise ua.UaError(f"asked about {len(part)} nodes, the server answered about {len(said)}")
            answers += said
        return answers


class Limits:
    """A server's OperationLimits (OPC UA Part 5, 6.3.11), one for each kind of request."""

    def __init__(self, most: int) -> None:
        self.read = Limit(most)
        self.write = Limit(most)
        self.call = Limit(most)
        self.browse = Limit(most)
        self.translate = Limit(most)
        self.monitor = Limit(most)
        self.history = Limit(most)

    async def learn(self, session: UaSession) -> list[str]:
        """Read the limits, and give the namespaces in their order, which a restart may have changed."""
        stated = {
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: self.read,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite: self.write,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall: self.call,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: self.browse,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: self.translate,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: self.monitor,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData: self.history,
        }
        nodes = [ua.NodeId(ua.Int32(node)) for node in (ObjectIds.Server_NamespaceArray, *stated)]
        names, *said = await self.read.ask(nodes, lambda part: session.read_attributes(list(part), AttributeIds.Value))
        for limit, value in zip(stated.values(), said, strict=True):
            most = None if value.Value is None else value.Value.Value
            if isinstance(most, int) and most > 0:
                limit.most = min(limit.most, most)
        return [] if names.Value is None else list(names.Value.Value or [])
