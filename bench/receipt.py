"""Publish → commit → receipt, one chunk in flight: how long until the cloud's word is back.

What the gateway does with the word (a transaction of its own, which waits a moment for others) is not counted.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.stand import stand
from bench.table import Row
from edge.store import open_store
from edge.uplink import UplinkState, UplinkVitals, run_uplink
from sync.clock import WallClock
from sync.facts import TagDictionary, TagEntry
from sync.mqtt import Mqtt
from sync.reading import Readings
from sync.topics import Address
from sync.transport import Message

CHUNKS, PER_CHUNK = 100, 1_000
ADDRESS = Address("bench", "bench", "gw")


def run() -> list[Row]:
    with stand() as bench, tempfile.TemporaryDirectory() as name:
        bench.configure(source='driver = "simulated"', tags='[[tag]]\nname = "t0"\naddress = "x"\n', rules=1)
        key = bytes.fromhex((bench.folder / "credentials" / "gw.key").read_text())
        bench.start_cloud()
        spent = sorted(asyncio.run(_measure(Path(name), bench.broker_port, key)))
    p50, p95 = statistics.median(spent), spent[int(0.95 * len(spent))]
    return [Row(measure=f"publish → commit → receipt, {PER_CHUNK:,} readings, one chunk in flight", goal="p95 < 60 ms", figure=f"p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms", ok=p95 < 0.060)]  # fmt: skip


class Timed(Mqtt):
    """Notes how long the answer to each chunk took."""

    spent: ClassVar[list[float]] = []
    _published = 0.0

    async def publish(self, topic: str, payload: bytes, *words: Any, **named: Any) -> None:
        if len(payload) > PER_CHUNK:  # a chunk and no heartbeat
            self._published = time.perf_counter()
        await super().publish(topic, payload, *words, **named)

    async def messages(self) -> AsyncGenerator[Message]:
        async for message in super().messages():
            if message.topic == ADDRESS.down("ack") and self._published:
                self.spent.append(time.perf_counter() - self._published)
                self._published = 0.0
            yield message


async def _measure(folder: Path, broker: int, key: bytes) -> list[float]:
    """Commit a chunk, wait until the store knows it as arrived, and again; give how long each receipt took, s."""

    def connect() -> Mqtt:
        down = [ADDRESS.down("ctl"), ADDRESS.down("ack")]
        return Timed("127.0.0.1", broker, client_id=secrets.token_hex(8), subscriptions=down, tls=False)

    rng, state = np.random.default_rng(1), UplinkState()
    dictionary = TagDictionary(at=0, version="bench", tags=[TagEntry(id=f"a/b/c/t{i}") for i in range(PER_CHUNK)])
    async with open_store(folder, clock=WallClock(), quota_bytes=2**31, ballast_bytes=0, software="bench") as store:
        vitals = UplinkVitals(disk_free_bytes=1, data_at=None, sources={})
        sending = asyncio.create_task(
            run_uplink(store, connect, ADDRESS, key, WallClock(), lambda: vitals, state=state, software="bench")
        )
        await store.commit(dictionary=dictionary)
        for _ in range(CHUNKS):
            await store.commit(readings=[_batch(rng)])
            while store.counts().waiting:  # noqa: ASYNC110 - the store has no word for it
                await asyncio.sleep(0.001)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return Timed.spent[5:]


def _batch(rng: np.random.Generator) -> Readings:
    at = np.full(PER_CHUNK, time.time_ns(), np.int64)
    return Readings(
        tag=np.arange(PER_CHUNK, dtype=np.int32),
        value=rng.normal(50, 3, PER_CHUNK).round(2),
        status=np.zeros(PER_CHUNK, np.uint32),
        source_time=at,
        server_time=at,
        received=int(at[0]),
    )
