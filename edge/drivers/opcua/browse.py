"""What a server offers: walked level by level from its Objects folder, each node once, by its shortest path.

Continuation points are read to their end, no request holds more nodes than the server takes, and loops end because a
node is opened once. The server's own object and other nodes of OPC UA itself are left out unless the pattern begins
with `Server`; properties, which describe other nodes, unless it ends with their name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.object_ids import ObjectIds

from edge.drivers.driver import Node, RefusedError
from edge.drivers.glob import Glob, State
from edge.drivers.opcua.describe import Described, Describer
from edge.drivers.opcua.limits import Limits
from edge.drivers.opcua.references import local, question
from sync.settings import nearest

PER_NODE: Final = 1000
"""References in one answer about a node; more come by continuation points."""
AT_ONCE: Final = 200
"""Nodes that are described together."""
_NAMED: Final = 12
_CLASSES: Final = int(ua.NodeClass.Object | ua.NodeClass.Variable | ua.NodeClass.Method)
_KINDS: Final = {ua.NodeClass.Object: "object", ua.NodeClass.Variable: "variable", ua.NodeClass.Method: "method"}


@dataclass(slots=True)
class _Place:
    """A node on the walk."""

    node: ua.NodeId
    path: tuple[str, ...]
    kind: ua.NodeClass
    state: State
    properties: dict[str, ua.NodeId] = field(default_factory=dict[str, ua.NodeId])


class Browse:
    """One walk over one server."""

    def __init__(self, session: UaSession, limits: Limits, namespaces: Mapping[str, int], pattern: str) -> None:
        self._session = session
        self._limits = limits
        self._uris = {index: uri for uri, index in namespaces.items()}
        self._pattern = pattern
        self._glob = Glob.of(pattern)
        self._describer = Describer(session, limits)
        self._nearest: tuple[tuple[str, ...], list[str]] = ((), [])
        """The deepest place that the pattern led to, and what is there."""

    async def walk(self, *, depth: int, most: int) -> AsyncGenerator[Node]:
        """Give the nodes that match. Raises RefusedError when there is none, ua.UaError when the connection is lost."""
        root = _Place(ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder)), (), ua.NodeClass.Object, self._glob.start())
        level, seen, given = [root], {root.node}, 0
        for _ in range(depth + 1):
            below: list[_Place] = []
            for begin in range(0, len(level), AT_ONCE):
                part = level[begin : begin + AT_ONCE]
                await self._open(part, seen, below)
                matching = [place for place in part if place.path and self._glob.matches(place.state)]
                for node in await self._nodes(matching[: most - given]):
                    given += 1
                    yield node
                if given >= most:
                    return
            level = below
            if not level:
                break
        if not given:
            raise RefusedError(self._nothing())

    async def _open(self, part: Sequence[_Place], seen: set[ua.NodeId], below: list[_Place]) -> None:
        """Look below nodes: note their properties, and the children that may lead to a match."""
        wanted = [
            place
            for place in part
            if self._glob.goes_on(place.state)
            or (place.kind == ua.NodeClass.Variable and self._glob.matches(place.state))
        ]
        for place, references in zip(wanted, await self._references([w.node for w in wanted]), strict=True):
            names: list[str] = []
            found = False
            for reference in references:
                node, name = local(reference.NodeId), str(reference.BrowseName.Name)
                if node is None or reference.NodeClass not in _KINDS:
                    continue
                is_property = reference.ReferenceTypeId == ua.NodeId(ua.Int32(ObjectIds.HasProperty))
                if is_property:
                    place.properties[name] = node
                    if not self._glob.names(name):
                        continue
                elif node.NamespaceIndex == 0 and self._glob.parts[0] != "Server":
                    continue
                names.append(name)
                state = self._glob.step(place.state, name)
                if not state:
                    continue
                found = True
                if node not in seen:
                    seen.add(node)
                    below.append(_Place(node, (*place.path, name), reference.NodeClass, state))
            if names and (not found or not place.path) and len(place.path) >= len(self._nearest[0]):
                self._nearest = (place.path, names)

    async def _references(self, nodes: Sequence[ua.NodeId]) -> list[list[ua.ReferenceDescription]]:
        async def ask(part: Sequence[ua.NodeId]) -> list[ua.BrowseResult]:
            request = ua.BrowseParameters(
                RequestedMaxReferencesPerNode=ua.Counter(PER_NODE),
                NodesToBrowse=[question(node, classes=_CLASSES) for node in part],
            )
            return await self._session.browse(request)

        results = await self._limits.browse.ask(nodes, ask)
        found = [list(result.References or []) for result in results]
        waiting = {i: result.ContinuationPoint for i, result in enumerate(results) if result.ContinuationPoint}
        while waiting:
            places = list(waiting)[: self._limits.browse.most]
            request = ua.BrowseNextParameters(
                ReleaseContinuationPoints=False,  # the library's own default would end the browse here
                ContinuationPoints=[waiting.pop(i) for i in places],
            )
            for i, result in zip(places, await self._session.browse_next(request), strict=True):
                result.StatusCode.check()
                found[i] += result.References or []
                if result.ContinuationPoint:
                    waiting[i] = result.ContinuationPoint
        return found

    async def _nodes(self, places: Sequence[_Place]) -> list[Node]:
        variables = [place for place in places if place.kind == ua.NodeClass.Variable]
        about = await self._describer.describe([(place.node, place.properties) for place in variables])
        described = dict(zip((place.node for place in variables), about, strict=True))
        return [self._node(place, described.get(place.node)) for place in places]

    def _node(self, place: _Place, about: Described | None) -> Node:
        path, address, kind = "/".join(place.path), self.address(place.node), _KINDS[place.kind]
        if about is None:
            return Node(path=path, address=address, kind=kind)
        return Node(
            path=path, address=address, kind=kind, type=about.type, count=about.count, value=about.value,
            unit=about.unit, low=about.low, high=about.high, writable=about.writable, values=about.values,
        )  # fmt: skip

    def address(self, node: ua.NodeId) -> str:
        """Write a node as a tag book does: its namespace by URI."""
        plain = ua.NodeId(node.Identifier, ua.Int16(0), node.NodeIdType).to_string()
        if node.NamespaceIndex == 0:
            return plain
        return f"nsu={self._uris.get(int(node.NamespaceIndex), '?')};{plain}"

    def _nothing(self) -> str:
        path, names = self._nearest
        if not names:
            return f"nothing matches {self._pattern!r}, and the server offers nothing below its Objects folder"
        wanted = self._glob.parts[min(len(path), len(self._glob.parts) - 1)]
        where = f"{'/'.join(path)!r} holds" if path else "the server offers"
        shown = ", ".join(sorted(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        close = nearest(wanted, names)
        hint = f" ({close})" if close.startswith("did") else ""
        return f"nothing matches {self._pattern!r}: {where} {shown}{hint}"
