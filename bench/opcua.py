"""Acquisition over OPC UA, the driver alone: CPU seconds per million points, and whether every change arrives.

The machine is open62541 in a process of its own (`bench.opcua_plant`); beside each figure stands asyncua's
subscription handler, the documented way, with the same intervals and queues against the same server in the same run.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import Client, ua

from bench.opcua_plant import MIXED, URI
from bench.stand import machine
from bench.table import Row, show
from edge.connections import OpcUa
from edge.drivers import open_driver
from edge.drivers.driver import Surroundings
from edge.tags import Tag, TagSpec
from sync.clock import WallClock
from sync.reading import Readings
from tests.servers import free_port, listens, node

TAGS, RATE_HZ, PUBLISHING_MS, SECONDS = 5_000, 10, 100, 6.0
OFFERED = TAGS * RATE_HZ
ROUND_TRIP_MS = 50
LIMIT = 500
"""Nodes per request that the limited server takes."""
LIMITED_URI = "urn:triflow:limited"
KINDS = {"Double": "float64", "Float": "float32", "Boolean": "bool", "String": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What acquiring cost, over some seconds of steady work."""

    cpu_s_per_million: float
    rate: float
    """Points a second."""
    per_batch_ms: float = 0.0
    missing: int = 0
    """Changes of tags that jumped over one."""


def tags(count: int, uri: str, kinds: Sequence[str] = ("Double",)) -> list[Tag]:
    """Give the tags of a plant; `kinds` repeats over them."""
    return [
        Tag(
            index=i,
            work_unit="bench/line/unit",
            connection="bench",
            address=f"nsu={uri};s=t{i}",
            spec=TagSpec(
                name=f"t{i}", address=f"nsu={uri};s=t{i}", type=KINDS.get(kind := kinds[i % len(kinds)], kind.lower())
            ),
        )
        for i in range(count)
    ]


async def cost(port: int, wanted: list[Tag], *, counted: bool = False) -> Cost:
    """Measure our driver once every tag has had a value. counted: check that each tag's values skip no number."""
    with tempfile.TemporaryDirectory() as data:
        around = Surroundings(folder=Path(data), data=Path(data), gateway="bench")
        config = OpcUa(
            driver="opcua",
            name="bench",
            url=f"opc.tcp://127.0.0.1:{port}",
            security="none",
            publishing_ms=PUBLISHING_MS,
            sampling_ms=0,
        )
        driver = open_driver(config, wanted, WallClock(), around)
        async with driver, aclosing(driver.readings()) as readings:
            await _all_seen(readings, len(wanted))
            batches: list[Readings] = []
            began, cpu = time.perf_counter(), time.process_time()
            async for batch in readings:
                batches.append(batch)
                if (wall := time.perf_counter() - began) > SECONDS:
                    break
            used = time.process_time() - cpu
        points = sum(map(len, batches))
        return Cost(
            cpu_s_per_million=used / points * 1e6,
            rate=points / wall,
            per_batch_ms=used / len(batches) * 1e3,
            missing=_missing(batches) if counted else 0,
        )


async def _all_seen(readings: Any, count: int) -> None:
    seen = np.zeros(count, np.bool_)
    async for batch in readings:
        seen[batch.tag[batch.status == 0]] = True
        if seen.all():
            return


def _missing(batches: list[Readings]) -> int:
    """Count the numbers that tags skipped: the plant's values are consecutive."""
    tag = np.concatenate([batch.tag for batch in batches])
    number = np.floor(np.concatenate([batch.value for batch in batches]) + 1e-6)
    order = np.argsort(tag, kind="stable")
    tag, number = tag[order], number[order]
    same = tag[1:] == tag[:-1]
    return int((np.diff(number)[same] - 1).sum())


class Handler:
    """What asyncua's documentation shows: a method called for each value."""

    def __init__(self) -> None:
        self.points = 0
        self.every_tag = asyncio.Event()

    def datachange_notification(self, _node: Any, _value: Any, _data: Any) -> None:
        self.points += 1
        if self.points == TAGS:
            self.every_tag.set()


async def handler_cost(port: int) -> Cost:
    """Measure asyncua's subscription handler with the same intervals and queues."""
    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=30) as client:
        index = await client.get_namespace_index(URI)
        handler = Handler()
        subscription = await client.create_subscription(PUBLISHING_MS, handler)
        nodes = [client.get_node(ua.NodeId(f"t{i}", index)) for i in range(TAGS)]
        await subscription.subscribe_data_change(nodes, queuesize=10, sampling_interval=0)
        await handler.every_tag.wait()
        before, began, cpu = handler.points, time.perf_counter(), time.process_time()
        await asyncio.sleep(SECONDS)
        points, used = handler.points - before, time.process_time() - cpu
        return Cost(cpu_s_per_million=used / points * 1e6, rate=points / (time.perf_counter() - began))


async def subscribing(port: int) -> float:
    """Give how long it takes from nothing until every tag of the limited server has its value, s."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as data:
        around = Surroundings(folder=Path(data), data=Path(data), gateway="bench")
        config = OpcUa(driver="opcua", name="bench", url=f"opc.tcp://127.0.0.1:{port}", security="none")
        driver = open_driver(config, tags(TAGS, LIMITED_URI), WallClock(), around)
        async with driver, aclosing(driver.readings()) as readings:
            await _all_seen(readings, TAGS)
            return time.perf_counter() - began


def run() -> list[Row]:
    """Measure one after the other; every server is a process of its own and its CPU is not counted."""
    rows: list[Row] = []
    with machine("bench.opcua_plant", "{port}", str(TAGS), str(RATE_HZ), "uniform") as port:
        ours, theirs = asyncio.run(cost(port, tags(TAGS, URI), counted=True)), asyncio.run(handler_cost(port))
        rows += [_cost_row(f"OPC UA, {TAGS:,} doubles at {RATE_HZ} Hz", ours, theirs, 2.0), _arrival("", ours, theirs)]
        with machine("bench.delay", "{port}", str(port), str(ROUND_TRIP_MS)) as far:
            ours, theirs = asyncio.run(cost(far, tags(TAGS, URI), counted=True)), asyncio.run(handler_cost(far))
            rows.append(_arrival(f" at {ROUND_TRIP_MS} ms round trip", ours, theirs))
    with machine("bench.opcua_plant", "{port}", str(TAGS), str(RATE_HZ), "mixed") as port:
        mixed = asyncio.run(cost(port, tags(TAGS, URI, MIXED))), asyncio.run(handler_cost(port))
        rows.append(_cost_row(f"OPC UA, {TAGS:,} tags of seven types at {RATE_HZ} Hz", *mixed, 4.0))
    with machine("bench.opcua_plant", "{port}", "10", str(RATE_HZ), "uniform") as port:
        few = asyncio.run(cost(port, tags(10, URI)))
        rows.append(
            Row(measure="OPC UA: CPU of one publish cycle with two changes", goal="< 2 ms", figure=f"{few.per_batch_ms:.2f} ms", ok=few.per_batch_ms < 2)
        )  # fmt: skip
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        asked = json.dumps({"port": port, "tags": TAGS, "limit": LIMIT})
        with node("limited.mjs", asked, log=Path(folder) / "node.log", ready=lambda: listens(port)):
            took = asyncio.run(subscribing(port))
    what = f"OPC UA: connect, subscribe {TAGS:,} items, every value there; node-opcua, at most {LIMIT} items a call"
    rows.append(Row(measure=what, goal="< 5 s", figure=f"{took:.2f} s", ok=took < 5))
    return rows


def _cost_row(what: str, ours: Cost, theirs: Cost, goal: float) -> Row:
    return Row(
        measure=what,
        goal=f"≤ {goal:g} CPU-s/M points",
        figure=f"{ours.cpu_s_per_million:.2f} CPU-s/M points",
        alternative=f"asyncua's handler: {theirs.cpu_s_per_million:.1f} CPU-s/M",
        ratio=f"{theirs.cpu_s_per_million / ours.cpu_s_per_million:.0f}x",
        ok=ours.cpu_s_per_million <= goal,
    )


def _arrival(where: str, ours: Cost, theirs: Cost) -> Row:
    return Row(
        measure=f"OPC UA: changes that arrive of {OFFERED:,}/s{where}",
        goal="all, none missing",
        figure=f"{ours.rate:,.0f}/s, {ours.missing} missing",
        alternative=f"asyncua's handler: {theirs.rate:,.0f}/s",
        ratio=f"{ours.rate / theirs.rate:.1f}x",
        ok=ours.missing == 0 and ours.rate > 0.95 * OFFERED,
    )


if __name__ == "__main__":
    print(show(run()))
