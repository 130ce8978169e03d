"""Machines for the benches, as processes: `python -m bench.bench_plant modbus PORT TAGS` or `opcua PORT TAGS RATE_HZ`.

Values change all the time; each carries its own source time, so that an age can be measured at the other end.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime

from asyncua import Server, ua
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

URI = "urn:triflow:bench"


async def modbus(port: int, tags: int) -> None:
    """Holding registers 0 … tags-1, all different at every read."""

    async def answer(*call):
        registers = call[4]  # (function code, start, address, count, registers, values to write)
        tick = int(time.time() * 100)
        registers[:] = [(tick + 7 * i) % 30_000 for i in range(len(registers))]

    device = SimDevice(1, simdata=[SimData(0, values=[0] * tags, datatype=DataType.REGISTERS)], action=answer)
    await ModbusTcpServer(device, address=("127.0.0.1", port)).serve_forever()


async def opcua(port: int, tags: int, rate_hz: float) -> None:
    """Doubles `T0` …, each written `rate_hz` times a second with its own source time, spread over the second."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/bench")
    index = await server.register_namespace(URI)
    nodes = [await server.nodes.objects.add_variable(ua.NodeId(f"T{i}", index), f"T{i}", 0.0) for i in range(tags)]
    async with server:
        step = 0
        slots = 20
        begin = time.monotonic()
        while True:
            for i in range(step % slots, tags, slots):
                value = ua.DataValue(
                    ua.Variant(step + i / 10, ua.VariantType.Double), SourceTimestamp=datetime.now(UTC)
                )
                await server.write_attribute_value(nodes[i].nodeid, value)
            step += 1
            await asyncio.sleep(max(0.0, begin + step / (slots * rate_hz) - time.monotonic()))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    kind, port, tags = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(modbus(port, tags) if kind == "modbus" else opcua(port, tags, float(sys.argv[4])))
