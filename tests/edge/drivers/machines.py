"""Real OPC UA and Modbus servers that a test can fill, spoil, stop and start."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.server.address_space import AddressSpace, NodeManagementService
from asyncua.server.standard_address_space import standard_address_space
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType as Sim
from pymodbus.simulator import SimData, SimDevice

from edge.connections import Modbus, OpcUa
from edge.drivers.driver import Surroundings
from edge.drivers.modbus.driver import ModbusDriver
from edge.drivers.opcua.driver import OpcUaDriver
from edge.tags import Tag, TagSpec
from sync.clock import WallClock
from tests.servers import free_port

URI = "urn:triflow:test:machine"
AROUND = Surroundings(folder=Path(), data=Path(), gateway="gw-test")
"""For drivers that need nothing of the box; tests of certificates make their own."""
WORK_UNIT = "bottling/line-1/filler"


def tag(index: int, address: str, **spec: Any) -> Tag:
    """Give a tag of the test's work unit. device: its Modbus unit."""
    name = spec.pop("name", f"tag_{index}")
    work_unit = spec.pop("work_unit", WORK_UNIT)
    device = spec.pop("device", None)
    element = spec.pop("element", 0)
    return Tag(
        index=index,
        work_unit=work_unit,
        connection="machine",
        address=address,
        spec=TagSpec(name=name, address=address, **spec),
        element=element,
        unit=device,
    )


@functools.cache
def standard_nodes() -> Path:
    """Make OPC UA's own nodes once per run and let the servers take from them what they need: 2 s less for each."""
    folder = Path(tempfile.mkdtemp(prefix="opcua-nodes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    space = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(space))
    space.make_aspace_shelf(folder / "nodes")
    (folder / "nodes").touch()  # what asyncua looks for; the kind of database decides on the real file names
    return folder / "nodes"


class OpcUaMachine:
    """An asyncua server; nodes are `s=<name>` in the namespace `URI`."""

    def __init__(self, nodes: dict[str, ua.Variant], tags: list[Tag], *, namespaces: tuple[str, ...] = (URI,)) -> None:
        self.tags = tags
        self.nodes = nodes
        self.namespaces = namespaces
        self.port = free_port()
        self.server: Server | None = None
        self.shared = True
        """Whether other servers of this process will want OPC UA's own nodes too."""
        self.standard: Path | None = None
        """OPC UA's own nodes, as another process made them."""

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/machine"

    def config(self, **more: Any) -> OpcUa:
        given = {"driver": "opcua", "name": "machine", "url": self.url, "security": "none", "publishing_ms": 50}
        return OpcUa(**{**given, **more})

    def driver(self, *, retry_s: float = 30.0, **config: Any) -> OpcUaDriver:
        return OpcUaDriver(self.config(**config), self.tags, WallClock(), AROUND, retry_s=retry_s)

    def absent(self) -> OpcUaDriver:
        return OpcUaDriver(self.config(url=f"opc.tcp://127.0.0.1:{free_port()}"), self.tags, WallClock(), AROUND)

    async def start(self) -> None:
        server = Server()
        await server.init(await asyncio.to_thread(standard_nodes) if self.shared else self.standard)
        server.set_endpoint(self.url)
        await self.protect(server)
        for uri in self.namespaces:
            await server.register_namespace(uri)
        self.server = server
        for name, value in self.nodes.items():
            await self.add(name, value)
        await server.start()

    async def protect(self, server: Server) -> None:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])

    async def add(self, name: str, value: ua.Variant) -> None:
        index = await self.server.get_namespace_index(URI)
        await self.server.nodes.objects.add_variable(ua.NodeId(name, index), name, value)

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop()
            for task in asyncio.all_tasks():  # sessions whose client never said goodbye outlive asyncua's stop()
                if task.get_coro().__qualname__ in {
                    "InternalSession._timeout_loop",
                    "InternalSubscription._subscription_loop",
                }:
                    task.cancel()

    async def write(self, name: str, value: Any, kind: ua.VariantType, **more: Any) -> None:
        """Write a value as the machine's program would: with status and source time."""
        index = await self.server.get_namespace_index(URI)
        more.setdefault("SourceTimestamp", datetime.now(UTC))
        await self.server.write_attribute_value(
            ua.NodeId(name, index), ua.DataValue(ua.Variant(value, kind), **more), ua.AttributeIds.Value
        )

    async def spoil(self) -> int:
        bad = ua.StatusCode(ua.StatusCodes.BadSensorFailure)
        await self.write(next(iter(self.nodes)), None, ua.VariantType.Null, StatusCode=bad)
        return self.tags[0].index

    def connections(self) -> int:
        return len(self.server.bserver.clients)


class ModbusMachine:
    """A pymodbus server; registers by table, holes where nothing is given, requests counted."""

    def __init__(
        self,
        tags: list[Tag],
        *,
        holding: dict[int, list[int]] | None = None,
        registers: dict[int, list[int]] | None = None,
        coils: dict[int, list[bool]] | None = None,
        discrete: dict[int, list[bool]] | None = None,
        **config: Any,
    ) -> None:
        self.tags = tags
        self.blocks = (coils or {0: [False]}, discrete or {0: [False]}, holding or {0: [0]}, registers or {0: [0]})
        self.port = free_port()
        self.more = config
        self.requests: list[tuple[int, int, int]] = []
        """(function, address, count) of every request that reached the registers."""
        self.failing: dict[int, ExcCodes] = {}
        """Address → exception of any request that touches it."""
        self.most: int | None = None
        """More registers than this in one request are refused (exception 3)."""
        self.server: ModbusTcpServer | None = None

    def config(self, **more: Any) -> Modbus:
        return Modbus(**{
            "driver": "modbus", "name": "machine", "host": "127.0.0.1", "port": self.port, "period_ms": 50,
            "timeout_s": 0.5, **self.more, **more,
        })  # fmt: skip

    def driver(self, *, retry_s: float = 30.0, **config: Any) -> ModbusDriver:
        return ModbusDriver(self.config(**config), self.tags, WallClock(), AROUND, retry_s=retry_s)

    def absent(self) -> ModbusDriver:
        return ModbusDriver(self.config(port=free_port()), self.tags, WallClock(), AROUND)

    async def start(self) -> None:
        bits, words = Sim.BITS, Sim.REGISTERS
        tables = tuple(
            [SimData(address, values=list(values), datatype=kind) for address, values in sorted(blocks.items())]
            for blocks, kind in zip(self.blocks, (bits, bits, words, words), strict=True)
        )
        device = SimDevice(1, simdata=tables, action=self._act)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)

    async def _act(self, function: int, start: int, address: int, count: int, current: list[int], new: Any) -> Any:
        self.requests.append((function, address, count))
        if self.most is not None and count > self.most:
            return ExcCodes.ILLEGAL_VALUE
        for failing, code in self.failing.items():
            if address <= failing < address + count:
                return code
        return None

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.shutdown()
            await asyncio.sleep(0)

    async def spoil(self) -> int:
        self.failing[0] = ExcCodes.DEVICE_FAILURE
        return self.tags[0].index

    def connections(self) -> int:
        return len(self.server.active_connections)
