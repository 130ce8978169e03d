"""A plant small enough to count by hand: one machine on OPC UA, one on Modbus TCP, as a process of its own.

`python -m tests.scenarios.plant FOLDER OPCUA_PORT MODBUS_PORT`. The file FOLDER/run makes it produce while it exists;
FOLDER/truth.json always says what was made, and is where a restarted plant goes on (a PLC keeps its counters).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

URI = "urn:triflow:test:hall"
TICK_S = 0.05
EXECUTE, IDLE = 6, 4


class Truth:
    """What was really made, on disk before anybody can read it from a machine."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "truth.json"
        self._run = folder / "run"
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.made: int = known.get("made", 0)
        self.tick = 0
        self.save()

    def save(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"made": self.made}))
        draft.replace(self._path)

    def step(self) -> None:
        self.tick += 1
        if self.running:
            self.made += 1
            self.save()

    @property
    def running(self) -> bool:
        return self._run.exists()

    @property
    def temperature(self) -> float:
        return round(60 + 5 * math.sin(self.tick / 20), 2)


async def serve_opcua(port: int, truth: Truth) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/hall")
    index = await server.register_namespace(URI)
    folder = await server.nodes.objects.add_folder(index, "M1")
    kinds = {
        "state": ua.VariantType.Int32,
        "made": ua.VariantType.Int64,
        "temperature": ua.VariantType.Double,
        "product": ua.VariantType.String,
    }
    nodes = {}
    for name, kind in kinds.items():
        start = "" if kind == ua.VariantType.String else 0
        nodes[name] = await folder.add_variable(ua.NodeId(f"M1.{name}", index), name, ua.Variant(start, kind))
    async with server:
        while True:
            values = {
                "state": EXECUTE if truth.running else IDLE,
                "made": truth.made,
                "temperature": truth.temperature,
                "product": "cola",
            }
            now = datetime.now(UTC)
            for name, value in values.items():
                await nodes[name].write_value(ua.DataValue(ua.Variant(value, kinds[name]), SourceTimestamp=now))
            await asyncio.sleep(TICK_S)


async def serve_modbus(port: int, truth: Truth) -> None:
    async def answer(
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        write: list[int] | list[bool] | None,
    ) -> None:
        del function_code, start, address, count, write
        high, low = struct.unpack(">HH", struct.pack(">f", truth.temperature))
        made = truth.made & 0xFFFF  # a uint16 counter: it rolls over
        registers[0:4] = [EXECUTE if truth.running else IDLE, made, high, low]

    device = SimDevice(1, simdata=[SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)], action=answer)
    await ModbusTcpServer(device, address=("127.0.0.1", port)).serve_forever()


async def main() -> None:
    logging.disable(logging.WARNING)
    folder, opcua, modbus = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    truth = Truth(folder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_opcua(opcua, truth))
        tasks.create_task(serve_modbus(modbus, truth))
        while True:
            await asyncio.sleep(TICK_S)
            truth.step()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
