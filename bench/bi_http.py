"""The cloud as a process under readers: questions from eight at once, five hundred streams, a late fact, and its memory.

Readers speak plain HTTP over sockets: a client library would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from bench.bi_plant import LINES, NS, SITE, TENANT, Gateway, today
from cloud.database import Connection, Database
from cloud.plant import Plants
from sync import facts as f
from tests.servers import ROOT, listens, wait_until

READERS = 8
STREAMS = 500
WARM_S = 5.0
"""A cloud that has just begun compiles its pages behind the first readers."""
_AS_OF = re.compile(rb'data: {"as_of":"([^"]+)"')


@dataclass
class Served:
    """What was measured of one running cloud; ms and MB."""

    asked: list[float]
    cached: list[float]
    late: list[float]
    buckets: int
    """Buckets of shifts that all late facts had recomputed."""
    streamed: list[float]
    busy: list[float]
    """The cached question again, while all streams are open."""
    rss_mb: float
    picture_kb: float
    """Of the hall, as every stream gets it."""


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else float("nan")


async def served(folder: Path, database: Database, plants: Plants, port: int, *, streams: int = STREAMS) -> Served:
    """Run the cloud of a folder over a filled database, and ask it."""
    child = _start(folder)
    try:
        await asyncio.to_thread(wait_until, lambda: listens(port) or child.poll() is not None, "the cloud listens", 60)
        if child.poll() is not None:
            raise RuntimeError((folder / "cloud.log").read_text()[-2000:])
        await asyncio.sleep(WARM_S)
        await _reader(port, [_address(_plan(0, 30))] * 20)
        plans = [_address(_window(plants, shift, line)) for shift in range(1, 26) for line in LINES]
        asked = await _closed_loop(port, plans)
        one = _address(_plan(0, 30))
        cached = await _closed_loop(port, [one] * 1_600)
        async with _streams(port, streams) as arrivals:
            late, buckets = await _late(port, database, plants)
            await asyncio.sleep(1.0)
            pictures = dict(arrivals)
            busy = await _closed_loop(port, [one] * 800)
        picture_kb = len(await _body(port, "/api/v1/overview")) / 1024
        rss = psutil.Process(child.pid).memory_info().rss / 2**20
        lags = [(at - min(times)) * 1e3 for times in pictures.values() if len(times) > streams // 2 for at in times]
        return Served(asked, cached, late, buckets, lags, busy, rss, picture_kb)
    finally:
        child.terminate()
        child.wait(15)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "cloud.log").open("wb") as log:
        command = [sys.executable, "-m", "triflow", "cloud", "run", str(folder / "cloud.toml")]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def _plan(line: int, days: int) -> dict[str, Any]:
    return {
        "analysis": "TREND",
        "metrics": ["oee"],
        "filters": [{"dimension": "line", "values": [LINES[line]]}],
        "period": {"relative": f"last_{days}_days"},
        "grain": "day",
    }


def _window(plants: Plants, shift: int, line: str) -> dict[str, Any]:
    """Give a question that nobody has asked before."""
    last = today(plants).date() - timedelta(days=shift)
    period = {"first": (last - timedelta(days=29)).isoformat(), "last": last.isoformat()}
    return _plan(0, 30) | {"filters": [{"dimension": "line", "values": [line]}], "period": period}


def _address(plan: dict[str, Any]) -> str:
    return f"/api/v1/bi/ask?plan={quote(json.dumps(plan, separators=(',', ':')))}"


async def _closed_loop(port: int, addresses: list[str]) -> list[float]:
    """Let the readers ask as fast as they are answered; gives every answer's time in ms."""
    parts = [addresses[reader::READERS] for reader in range(READERS)]
    return [ms for spent in await asyncio.gather(*(_reader(port, part) for part in parts)) for ms in spent]


async def _reader(port: int, addresses: list[str], look: Callable[[bytes], None] | None = None) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    spent: list[float] = []
    try:
        for address in addresses:
            began = time.perf_counter()
            writer.write(f"GET {address} HTTP/1.1\r\nHost: cloud\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1]))
            spent.append((time.perf_counter() - began) * 1e3)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{address}: {head[:40]!r} {body[:400]!r}")
            if look is not None:
                look(body)
    finally:
        writer.close()
    return spent


async def _body(port: int, address: str) -> bytes:
    seen: list[bytes] = []
    await _reader(port, [address], seen.append)
    return seen[0]


@contextlib.asynccontextmanager
async def _streams(port: int, count: int) -> AsyncIterator[dict[bytes, list[float]]]:
    """Hold streams open; gives when each picture of the hall (by its `as_of`) reached each of them."""
    arrivals: dict[bytes, list[float]] = {}

    async def follow(reader: asyncio.StreamReader) -> None:
        rest = b""
        while piece := await reader.read(2**18):
            now = time.perf_counter()
            rest += piece
            for found in _AS_OF.finditer(rest):
                arrivals.setdefault(found[1], []).append(now)
            rest = rest[-64:] if _AS_OF.search(rest[-64:]) is None else b""

    opened = [await asyncio.open_connection("127.0.0.1", port, limit=2**20) for _ in range(count)]
    tasks: list[asyncio.Task[None]] = []
    for reader, writer in opened:
        writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: cloud\r\n\r\n")
        tasks.append(asyncio.create_task(follow(reader)))
    await asyncio.sleep(2.0)  # every stream has had its first picture
    arrivals.clear()
    try:
        yield arrivals
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in opened:
            writer.close()


async def _late(port: int, database: Database, plants: Plants) -> tuple[list[float], int]:
    """Tell facts of days long gone beside the running cloud; gives ms from each commit to its figure, and buckets."""
    gateway = Gateway(plants)
    await database.write(gateway.resume)
    calendar, now_ms = plants[TENANT, SITE].calendar, time.time_ns() // NS
    spent: list[float] = []
    before = await database.read(_version)
    for back in range(5, 15):
        at = now_ms - back * 86_400_000
        day = calendar.at(at).business_date
        plan = {"analysis": "CHECK", "metrics": ["produced"], "period": {"first": day, "last": day}}
        plan["filters"] = [{"dimension": "line", "values": [LINES[3]]}]
        old = json.loads(await _body(port, _address(plan)))["rows"]
        fact = f.Produced(
            at=at * NS, work_unit=LINES[3], start=(at - 60_000) * NS, produced=777, good=777, ideal_cycle_ms=1.0
        )
        await database.write(lambda c, fact=fact: gateway.tell(c, fact))
        began = time.perf_counter()
        while json.loads(await _body(port, _address(plan)))["rows"] == old:
            await asyncio.sleep(0.01)
            if time.perf_counter() - began > 30:
                raise RuntimeError("a late fact did not reach its figure within 30 s")
        spent.append((time.perf_counter() - began) * 1e3)
    return spent, await database.read(_version) - before


def _version(connection: Connection) -> int:
    row = connection.one("select version from mart_version where tenant=? and mart='mart_shift'", (TENANT,))
    return 0 if row is None else int(row[0])
