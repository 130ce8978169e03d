"""What "on disk" costs: readings committed with full durability, beside a row per reading in the same file system."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.table import Row
from edge.store import open_store
from sync.clock import WallClock
from sync.facts import TagDictionary, TagEntry
from sync.reading import Readings

POINTS, BATCH = 300_000, 1_000


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        ours, cpu, size = asyncio.run(_ours(Path(name) / "ours"))
        plain, plain_cpu, plain_size = _plain(Path(name) / "plain.db")
    return [
        Row(measure=f"durable readings a second (FULL, {BATCH} a commit)", goal="≥ 100,000", figure=f"{ours:,.0f} ({cpu:.2f} CPU-s/M)", alternative=f"row per reading: {plain:,.0f} ({plain_cpu:.2f} CPU-s/M)", ratio=f"{ours / plain:.1f}x", ok=ours > 100_000),
        Row(measure="bytes a reading on disk", goal="≤ 8", figure=f"{size:.1f}", alternative=f"row per reading: {plain_size:.1f}", ratio=f"{plain_size / size:.1f}x less", ok=size <= 8),
    ]  # fmt: skip


def _batch(rng: np.random.Generator, k: int) -> Readings:
    at = np.full(BATCH, 1_700_000_000_000_000_000 + k * 100_000_000, np.int64)
    return Readings(
        tag=np.arange(BATCH, dtype=np.int32),
        value=rng.normal(50, 3, BATCH).round(2),
        status=np.zeros(BATCH, np.uint32),
        source_time=at,
        server_time=at,
        received=int(at[0]),
    )


async def _ours(folder: Path) -> tuple[float, float, float]:
    rng = np.random.default_rng(1)
    batches = [_batch(rng, k) for k in range(POINTS // BATCH)]
    dictionary = TagDictionary(at=0, version="bench", tags=[TagEntry(id=f"a/b/c/t{i}") for i in range(BATCH)])
    async with open_store(folder, clock=WallClock(), quota_bytes=2**31, ballast_bytes=0, software="bench") as store:
        await store.commit(dictionary=dictionary)
        began, cpu = time.perf_counter(), time.process_time()
        waiting: set[asyncio.Task[None]] = set()
        for batch in batches:
            waiting.add(asyncio.create_task(store.commit(readings=[batch])))
            if len(waiting) >= 8:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(waiting)
        wall, used = time.perf_counter() - began, time.process_time() - cpu
        size = store.counts().waiting_bytes / POINTS
    return POINTS / wall, used / POINTS * 1e6, size


def _plain(path: Path) -> tuple[float, float, float]:
    rng = np.random.default_rng(1)
    batches = [_batch(rng, k) for k in range(POINTS // BATCH)]
    store = sqlite3.connect(path, isolation_level=None)
    store.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE reading (id INTEGER PRIMARY KEY AUTOINCREMENT, tag INTEGER, at INTEGER, value REAL, status INTEGER)"
    )
    began, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        store.execute("BEGIN IMMEDIATE")
        rows = zip(
            batch.tag.tolist(), batch.source_time.tolist(), batch.value.tolist(), batch.status.tolist(), strict=True
        )
        store.executemany("INSERT INTO reading (tag, at, value, status) VALUES (?, ?, ?, ?)", rows)
        store.execute("COMMIT")
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return POINTS / wall, used / POINTS * 1e6, path.stat().st_size / POINTS
