"""Calling a machine's methods: arguments in the types that the method itself names (Part 4, 5.11; Part 3, 8.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge.drivers.driver import RefusedError
from edge.drivers.opcua.typed import base_type, scalar, variant, variant_type
from sync.quality import BAD
from sync.reading import Scalar

_WHY: Final = {
    "BadMethodInvalid": "the object has no such method",
    "BadNodeIdUnknown": "the server does not have this object",
    "BadNotExecutable": "the server does not let it be called now",
    "BadUserAccessDenied": "the server does not let this user call it",
    "BadArgumentsMissing": "the method wants more arguments",
    "BadTooManyArguments": "the method wants fewer arguments",
    "BadInvalidArgument": "the method does not take these arguments",
}


async def call(session: UaSession, owner: ua.NodeId, method: ua.NodeId, arguments: Sequence[Scalar]) -> list[Scalar]:
    """Call a method of an object and give its outputs. Raises RefusedError and ua.UaError."""
    name = method.to_string()
    wanted = await _inputs(session, method)
    if wanted is not None and len(wanted) != len(arguments):
        said = ", ".join(str(each.Name) for each in wanted) or "none"
        raise RefusedError(f"{name} takes {len(wanted)} argument(s) ({said}), {len(arguments)} given")
    made = [
        await _argument(session, value, None if wanted is None else wanted[i], f"{name}, argument {i + 1}")
        for i, value in enumerate(arguments)
    ]
    request = ua.CallMethodRequest(ObjectId=owner, MethodId=method, InputArguments=made)
    (result,) = await session.call([request])
    if int(result.StatusCode.value) & BAD:
        why = _WHY.get(result.StatusCode.name, "the server refuses the call")
        wrong = [
            f"argument {i + 1}: {status.name}"
            for i, status in enumerate(result.InputArgumentResults or [])
            if int(status.value) & BAD
        ]
        raise RefusedError("; ".join([f"{name}: {why} ({result.StatusCode.name})", *wrong]))
    return [scalar(each) for each in result.OutputArguments or []]


async def _inputs(session: UaSession, method: ua.NodeId) -> list[Any] | None:
    """Give the method's InputArguments; none when it has no such property, None when the server does not say."""
    path = ua.BrowsePath(
        StartingNode=method,
        RelativePath=ua.RelativePath(
            Elements=[
                ua.RelativePathElement(
                    ReferenceTypeId=ua.NodeId(ua.Int32(ObjectIds.HasProperty)),
                    IsInverse=False,  # pyright: ignore[reportArgumentType]
                    IncludeSubtypes=True,  # pyright: ignore[reportArgumentType]
                    TargetName=ua.QualifiedName("InputArguments", ua.UInt16(0)),
                )
            ]
        ),
    )
    (found,) = await session.translate_browsepaths_to_nodeids([path])
    if found.StatusCode.name == "BadNoMatch":
        return []
    if int(found.StatusCode.value) & BAD or not found.Targets:
        return None
    node: Any = found.Targets[0].TargetId
    (value,) = await session.read_attributes([node], AttributeIds.Value)
    held: Any = None if value.Value is None else value.Value.Value
    return list(held) if isinstance(held, list) else None


async def _argument(session: UaSession, value: Scalar, wanted: Any, what: str) -> ua.Variant:
    if wanted is None:
        return ua.Variant(value)
    kind = variant_type(await base_type(session, wanted.DataType))
    if kind is None:
        return ua.Variant(value)
    if int(wanted.ValueRank) >= 1:
        return ua.Variant([variant(value, kind, f"{what} ({wanted.Name})").Value], kind)
    return variant(value, kind, f"{what} ({wanted.Name})")
