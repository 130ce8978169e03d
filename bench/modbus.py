"""Acquisition over Modbus TCP, the driver alone, beside one pymodbus request per tag against the same server."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from bench.stand import machine
from bench.table import Row, show
from edge.connections import Modbus
from edge.drivers import open_driver
from edge.drivers.driver import Surroundings
from edge.drivers.modbus.registers import decode
from edge.tags import Tag, TagSpec
from sync.clock import WallClock

TAGS, RATE_HZ, SCANS = 1_000, 10, 60
NEAR = [7 * i % 3 + 3 * i for i in range(100)]
"""100 addresses with holes of up to three registers between them."""
ROUND_TRIP_MS = 10
"""Of an ordinary controller; on loopback one more request costs next to nothing, and the planner learns that, too."""


def tags(addresses: Sequence[int]) -> list[Tag]:
    """Give one tag of 16 bits per address."""
    return [
        Tag(
            index=i,
            work_unit="bench/line/unit",
            connection="bench",
            address=f"holding:{address}",
            spec=TagSpec(name=f"t{i}", address=f"holding:{address}", type="uint16"),
        )
        for i, address in enumerate(addresses)
    ]


async def scanning(port: int, addresses: Sequence[int]) -> tuple[float, float]:
    """Give (CPU seconds per million points, requests a scan) of some scans after the first few."""
    with tempfile.TemporaryDirectory() as data:
        around = Surroundings(folder=Path(data), data=Path(data), gateway="bench")
        config = Modbus(driver="modbus", name="bench", host="127.0.0.1", port=port, period_ms=1000 / RATE_HZ)
        driver = open_driver(config, tags(addresses), WallClock(), around)
        async with driver, aclosing(driver.readings()) as readings:
            for _ in range(3):
                await anext(readings)
            points, requests, cpu = 0, driver.health.requests, time.process_time()
            async for batch in readings:
                points += len(batch)
                if points >= SCANS * len(addresses):
                    break
            used, asked = time.process_time() - cpu, driver.health.requests - requests
    return used / points * 1e6, asked * len(addresses) / points


async def tag_by_tag(port: int) -> float:
    """Give CPU seconds per million points for one pymodbus request and conversion per tag."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    try:
        cpu = time.process_time()
        for _ in range(3):
            for i in range(TAGS):
                answer = await client.read_holding_registers(i, count=1, device_id=1)
                client.convert_from_registers(answer.registers, client.DATATYPE.UINT16)
        return (time.process_time() - cpu) / (3 * TAGS) * 1e6
    finally:
        client.close()


def decoding() -> tuple[float, float]:
    """Give µs a value of 32-bit floats in swapped word order: ours in bulk, and pymodbus's conversion one by one."""
    rng = np.random.default_rng(1)
    words = rng.integers(0, 10_000, (TAGS, 2)).astype(np.uint16)
    times = 500
    cpu = time.process_time()
    for _ in range(times):
        decode(words, "float32", "CDAB")
    ours = (time.process_time() - cpu) / (times * TAGS) * 1e6
    rows, convert = words.tolist(), AsyncModbusTcpClient.convert_from_registers
    cpu = time.process_time()
    for row in rows:
        convert(row, AsyncModbusTcpClient.DATATYPE.FLOAT32, word_order="little")
    return ours, (time.process_time() - cpu) / TAGS * 1e6


def run() -> list[Row]:
    """Measure scan, planner and decoder."""
    with machine("bench.bench_plant", "modbus", "{port}", str(TAGS)) as port:
        ours, _ = asyncio.run(scanning(port, range(TAGS)))
        theirs = asyncio.run(tag_by_tag(port))
        with machine("bench.delay", "{port}", str(port), str(ROUND_TRIP_MS)) as far:
            _, requests = asyncio.run(scanning(far, NEAR))
    decoded, converted = decoding()
    return [
        Row(
            measure=f"Modbus, a scan of {TAGS:,} registers at {RATE_HZ} Hz",
            goal="< 3 CPU-s/M points",
            figure=f"{ours:.2f} CPU-s/M points",
            alternative=f"pymodbus, tag by tag: {theirs:.0f} CPU-s/M",
            ratio=f"{theirs / ours:.0f}x",
            ok=ours < 3,
        ),
        Row(
            measure=f"Modbus: requests for {len(NEAR)} scattered tags on {max(NEAR) + 1} registers, {ROUND_TRIP_MS} ms away",
            goal="≤ 4 a scan",
            figure=f"{requests:.1f}",
            alternative=f"tag by tag: {len(NEAR)}",
            ratio=f"{len(NEAR) / requests:.0f}x",
            ok=requests <= 4,
        ),
        Row(
            measure="Modbus: decoding float32 with swapped words, in bulk",
            goal="< 0.05 µs a value",
            figure=f"{decoded:.3f} µs",
            alternative=f"pymodbus, one by one: {converted:.2f} µs",
            ratio=f"{converted / decoded:.0f}x",
            ok=decoded < 0.05,
        ),
    ]


if __name__ == "__main__":
    print(show(run()))
