"""What it costs to acquire 1,000 tags ten times a second, the driver alone: CPU seconds per million points.

Beside each figure stands the documented way to do the same with the library underneath, against the same server in
the same run, so that the ratio holds on any machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from pymodbus.client import AsyncModbusTcpClient

from bench.acquisition_server import TAGS, URI
from bench.table import Row, show
from edge.connections import Modbus, OpcUa
from edge.drivers import open_driver
from edge.drivers.driver import Driver, Surroundings
from edge.tags import Tag, TagSpec
from sync.clock import WallClock
from tests.servers import ROOT, free_port, listens, wait_until

SCANS = 60
RATE_HZ = 10

AROUND = Surroundings(folder=Path(), data=Path(), gateway="bench")


@contextlib.contextmanager
def machine(*arguments: str) -> Iterator[int]:
    """Run `python -m arguments… PORT …` until the block ends; gives the port, which stands where `{port}` is written."""
    port = free_port()
    words = [word.format(port=port) for word in arguments]
    server = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT)
    try:
        wait_until(lambda: listens(port), f"{arguments[0]} listens", 30)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def tags(address: str, kind: Any) -> list[Tag]:
    return [
        Tag(
            index=i,
            work_unit="bench/line/unit",
            connection="bench",
            address=address.format(i=i),
            spec=TagSpec(name=f"t{i}", address=address.format(i=i), type=kind),
        )
        for i in range(TAGS)
    ]


async def cost(driver: Driver) -> float:
    """Give CPU seconds per million points of this process, over some scans after the first."""
    points = 0
    async with driver, aclosing(driver.readings()) as readings:
        await anext(readings)
        began = time.process_time()
        async for batch in readings:
            points += len(batch)
            if points >= SCANS * TAGS:
                break
        return (time.process_time() - began) / points * 1e6


class Handler:
    """What asyncua's documentation shows: a method called for each value."""

    def __init__(self) -> None:
        self.points = 0
        self.enough = asyncio.Event()

    def datachange_notification(self, _node: Any, _value: Any, _data: Any) -> None:
        self.points += 1
        if self.points >= SCANS // 2 * TAGS:
            self.enough.set()


async def asyncua_cost(port: int) -> float:
    """Give the same figure for asyncua's subscription handler."""
    async with Client(f"opc.tcp://127.0.0.1:{port}") as client:
        index = await client.get_namespace_index(URI)
        handler = Handler()
        subscription = await client.create_subscription(100, handler)
        await subscription.subscribe_data_change(
            [client.get_node(ua.NodeId(f"t{i}", index)) for i in range(TAGS)], queuesize=10
        )
        before, began = handler.points, time.process_time()
        await handler.enough.wait()
        return (time.process_time() - began) / (handler.points - before) * 1e6


async def tag_by_tag_cost(port: int) -> float:
    """Give the same figure for one pymodbus request and conversion per tag."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    try:
        began = time.process_time()
        for _ in range(3):
            for i in range(TAGS):
                answer = await client.read_holding_registers(i, count=1, device_id=1)
                client.convert_from_registers(answer.registers, client.DATATYPE.UINT16)
        return (time.process_time() - began) / (3 * TAGS) * 1e6
    finally:
        client.close()


def row(measure: str, ours: float, theirs: float, *, percent: float, ratio: float) -> Row:
    """Give the line of the table; percent and ratio are the goals."""
    share = ours * TAGS * RATE_HZ / 1e6 * 100
    return Row(
        measure=measure,
        goal=f"≤ {percent:g} % of a core, ≥ {ratio:g}x cheaper",
        figure=f"{ours:.2f} CPU-s/M points, {share:.1f} % of a core",
        alternative=f"{theirs:.1f} CPU-s/M points",
        ratio=f"{theirs / ours:.0f}x",
        ok=share <= percent and theirs / ours >= ratio,
    )


def run() -> list[Row]:
    """Measure both drivers, each beside its library's own way."""
    with machine("bench.acquisition_server", "{port}") as port:
        config = OpcUa(
            driver="opcua", name="bench", url=f"opc.tcp://127.0.0.1:{port}", security="none", publishing_ms=100
        )
        opcua = asyncio.run(cost(open_driver(config, tags(f"nsu={URI};s=t{{i}}", "float64"), WallClock(), AROUND)))
        handler = asyncio.run(asyncua_cost(port))
    with machine("bench.bench_plant", "modbus", "{port}", str(TAGS)) as port:
        device = Modbus(driver="modbus", name="bench", host="127.0.0.1", port=port, period_ms=1000 / RATE_HZ)
        modbus = asyncio.run(cost(open_driver(device, tags("holding:{i}", "uint16"), WallClock(), AROUND)))
        single = asyncio.run(tag_by_tag_cost(port))
    return [
        row("driver: OPC UA, 1,000 tags at 10 Hz, against asyncua's handler", opcua, handler, percent=5, ratio=5),
        row("driver: Modbus, 1,000 registers at 10 Hz, against a request per tag", modbus, single, percent=5, ratio=25),
    ]


if __name__ == "__main__":
    print(show(run()))
