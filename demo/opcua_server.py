"""The hall's OPC UA server: one address space for the fillers, values with the machine's own status and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server

from demo.plant_signals import Value
from demo.plant_tags import Shown
from edge.tags import DataType, TagBook
from sync.clock import Clock

NAMESPACE: Final = "urn:triflow:demo:bottling"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

TYPES: Final[dict[DataType, ua.VariantType]] = {
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "float64": ua.VariantType.Double,
    "string": ua.VariantType.String,
}


class OpcUaHall:
    """A server on loopback, without security: it is a demo's machine, not a gateway."""

    def __init__(self, lines: dict[str, TagBook], port: int, clock: Clock) -> None:
        self.port = port
        self._clock = clock
        self._books = {line: [Shown(spec) for spec in tags.tags] for line, tags in lines.items()}
        self._nodes: dict[tuple[str, str], Node] = {}
        self._last: dict[tuple[str, str], Value] = {}
        self._server = Server()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/triflow/demo"

    async def __aenter__(self) -> Self:
        """Build the address space and listen. Raises OSError when the port is taken."""
        server = self._server
        await server.init()
        server.set_endpoint(self.url)
        server.set_server_name("Triflow demo hall")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        # Somebody else's namespace first: whoever addresses nodes by index reads the wrong ones.
        await server.register_namespace("urn:triflow:demo:cellar")
        index: Any = await server.register_namespace(NAMESPACE)  # asyncua's own integer types are for annotations only
        name: Any
        for line, tags in self._books.items():
            name = line
            folder = await server.nodes.objects.add_object(ua.NodeId(name, index), ua.QualifiedName(name, index))
            for shown in tags:
                kind = TYPES[shown.spec.type]
                nothing: Any = "" if kind is ua.VariantType.String else 0
                name = f"{line}.{shown.spec.name}"
                self._nodes[line, shown.spec.name] = await folder.add_variable(
                    ua.NodeId(name, index),
                    ua.QualifiedName(shown.spec.name, index),
                    ua.Variant(nothing, kind),
                )
        await server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def show(self, line: str, observed: dict[str, Value], at: int) -> None:
        """Write what changed on a line since the last call, each value with its own source time."""
        for shown in self._books[line]:
            key = (line, shown.spec.name)
            value = shown.of(observed, at)
            before = self._last.get(key)
            if before is not None and (before.value, before.status) == (value.value, value.status):
                continue  # as a real server does, an unchanged value keeps the time it became so
            self._last[key] = value
            status: Any = value.status
            variant = ua.Variant(value.value, TYPES[shown.spec.type]) if value.value is not None else None
            await self._server.write_attribute_value(
                self._nodes[key].nodeid,
                ua.DataValue(
                    Value=variant,
                    StatusCode=ua.StatusCode(status),
                    SourceTimestamp=_time(value.at),
                    ServerTimestamp=_time(self._clock.now()),
                ),
            )


def _time(ns: int) -> ua.DateTime:
    return EPOCH + timedelta(microseconds=ns // 1000)  # pyright: ignore[reportReturnType] - asyncua takes any datetime
