"""What refers to what on a server: the one question behind browsing, data types and encodings."""

from __future__ import annotations

from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.object_ids import ObjectIds


def question(
    node: ua.NodeId,
    *,
    kind: int = ObjectIds.HierarchicalReferences,
    inverse: bool = False,
    classes: int = 0,
) -> ua.BrowseDescription:
    """Give the question for the references of a node, of this kind and its subtypes.

    inverse: those that point at the node. classes: NodeClass bits, 0 for all.
    """
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.Int32(kind)),
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(classes),
        ResultMask=ua.UInt32(ua.BrowseResultMask.All),
    )


async def referred(
    session: UaSession, node: ua.NodeId, kind: int, *, inverse: bool = False
) -> list[tuple[ua.NodeId, str]]:
    """Give the nodes of this server that one node's references of a kind lead to, with their browse names."""
    wanted = question(node, kind=kind, inverse=inverse)
    (result,) = await session.browse(ua.BrowseParameters(NodesToBrowse=[wanted]))
    found = [(local(reference.NodeId), str(reference.BrowseName.Name)) for reference in result.References or []]
    return [(there, name) for there, name in found if there is not None]


def local(node: Any) -> ua.NodeId | None:
    """Give a reference's end as a node of this server; None for one of another server."""
    if getattr(node, "ServerIndex", 0):
        return None
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)
