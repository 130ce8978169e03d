"""Machines whose every value a test says: a filler on Modbus TCP that can be written, and one on OPC UA.

`python -m tests.scenarios.steered FOLDER OPCUA_PORT MODBUS_PORT`. FOLDER/machine.json says what they show (`Shown`);
FOLDER/writes.json holds every value that was ever written to the filler's speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from asyncua import Server, ua
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

URI = "urn:triflow:test:works"
TICK_S = 0.05
SPEED = 6
"""Register of the filler's speed, the one that can be written."""


class Shown(msgspec.Struct, kw_only=True):
    """What the machines show."""

    state: int = 6
    """PackML: EXECUTE."""
    temperature: float = 60.0
    load: float = 0.5
    pressure: int = 5
    made: int = 0
    """Of the filler; it also counts 20 a second by itself while `running`."""
    scrap: int = 0
    running: bool = False
    bad: list[str] = []
    """OPC UA nodes whose value is bad."""


class Works:
    """What is shown now, and what was written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: list[int] = []
        self._count = 0
        self.shown = Shown()
        with contextlib.suppress(FileNotFoundError):
            self._written = json.loads((folder / "writes.json").read_text())

    @property
    def speed(self) -> int:
        return self._written[-1] if self._written else 30

    @property
    def made(self) -> int:
        return self.shown.made + self._count

    def look(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.shown = msgspec.json.decode((self._folder / "machine.json").read_bytes(), type=Shown)
        self._count += self.shown.running

    def write(self, value: int) -> None:
        """Note a write; on disk before the gateway hears that it was done."""
        self._written.append(value)
        draft = self._folder / "writes.new"
        draft.write_text(json.dumps(self._written))
        draft.replace(self._folder / "writes.json")


async def serve_opcua(port: int, works: Works) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/works")
    index = await server.register_namespace(URI)
    kinds = {"state": ua.VariantType.Int32, "temperature": ua.VariantType.Double, "load": ua.VariantType.Double}
    nodes = {}
    for name, kind in kinds.items():
        start = ua.Variant(0 if name == "state" else 0.0, kind)
        nodes[name] = await server.nodes.objects.add_variable(ua.NodeId(name, index), name, start)
    async with server:
        while True:
            now = datetime.now(UTC)
            for name, node in nodes.items():
                status = ua.StatusCode(ua.StatusCodes.BadSensorFailure if name in works.shown.bad else 0)
                value = ua.Variant(getattr(works.shown, name), kinds[name])
                await node.write_value(ua.DataValue(value, status, SourceTimestamp=now))
            await asyncio.sleep(TICK_S)


async def serve_modbus(port: int, works: Works) -> None:
    async def answer(
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        write: list[int] | list[bool] | None,
    ) -> None:
        del function_code, start, count
        if write is not None:
            assert address == SPEED
            works.write(int(write[0]))
            return
        shown = works.shown
        temperature = struct.unpack(">HH", struct.pack(">f", shown.temperature))
        load = struct.unpack(">HH", struct.pack(">f", shown.load))
        registers[0:9] = [
            shown.state, works.made & 0xFFFF, *temperature, *load, works.speed, shown.pressure, shown.scrap & 0xFFFF
        ]  # fmt: skip

    device = SimDevice(1, simdata=[SimData(0, values=[0] * 9, datatype=DataType.REGISTERS)], action=answer)
    await ModbusTcpServer(device, address=("127.0.0.1", port)).serve_forever()


async def main() -> None:
    logging.disable(logging.WARNING)
    works = Works(Path(sys.argv[1]))
    works.look()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_opcua(int(sys.argv[2]), works))
        tasks.create_task(serve_modbus(int(sys.argv[3]), works))
        while True:
            await asyncio.sleep(TICK_S)
            works.look()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
