"""What "on disk" costs: readings committed with full durability, and what they weigh there and on the wire.

Beside it, in the same file system and the same run: a row per reading, ThingsBoard Gateway's three storages (filled as
its service fills them), and paho's plain publish at QoS 1, which is what one does without a store.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt

from bench import thingsboard
from bench.table import Row
from edge.store import open_store
from sync.clock import WallClock
from sync.facts import TagDictionary, TagEntry
from sync.frames import Batch, seal
from sync.reading import Readings
from sync.topics import Address
from tests.servers import ROOT, mosquitto

POINTS, BATCH, SMALL = 300_000, 1_000, 10
SMALL_POINTS = 100_000
AT_ONCE = 8
MQTT_OVERHEAD = 7
"""Fixed header, topic length, packet identifier, empty properties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a way of keeping readings costs, per point."""

    per_s: float
    cpu_s_per_million: float
    disk: float = 0.0
    wire: float = 0.0

    def __str__(self) -> str:
        return f"{self.per_s:,.0f}/s, {self.cpu_s_per_million:.2f} CPU-s/M"


def run() -> list[Row]:
    missing = thingsboard.install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = asyncio.run(_ours(folder / "ours", POINTS, BATCH))
        small = asyncio.run(_ours(folder / "small", SMALL_POINTS, SMALL))
        plain = _plain(folder / "plain.db")
        peers = {} if missing else {kind: _thingsboard(folder / kind, kind, POINTS, BATCH) for kind in ("sqlite", "file", "memory")}  # fmt: skip
        peer_small = None if missing else _thingsboard(folder / "small-tb", "sqlite", SMALL_POINTS, SMALL)
        with mosquitto(folder / "broker") as broker:
            published = _published(broker.port)
    sqlite = peers.get("sqlite")
    said = missing or "; ".join(f"{kind} {cost.cpu_s_per_million:.2f}" for kind, cost in peers.items())
    ratio = f"{sqlite.cpu_s_per_million / ours.cpu_s_per_million:.1f}x" if sqlite else "–"
    small_ratio = f"{peer_small.cpu_s_per_million / small.cpu_s_per_million:.1f}x" if peer_small else "–"
    return [
        Row(measure=f"durable readings a second (FULL, {BATCH:,} a call)", goal="≥ 100,000, ≤ 1 CPU-s/M", figure=str(ours), alternative=f"row per reading: {plain}", ratio=f"{ours.per_s / plain.per_s:.1f}x", ok=ours.per_s >= 100_000 and ours.cpu_s_per_million <= 1),
        Row(measure="the same beside ThingsBoard's storages, CPU-s/M", goal="none: theirs sync nothing", figure=f"{ours.cpu_s_per_million:.2f}", alternative=f"ThingsBoard Gateway {thingsboard.VERSION}: {said}", ratio=ratio, ok=True),
        Row(measure=f"durable readings in calls of {SMALL}, CPU-s/M", goal="none: for fairness", figure=f"{small.cpu_s_per_million:.2f}", alternative=missing or f"ThingsBoard sqlite, packs of {SMALL}: {peer_small and peer_small.cpu_s_per_million:.2f}", ratio=small_ratio, ok=True),
        Row(measure="beside publishing without a store, CPU-s/M", goal="none: it keeps nothing", figure=f"{ours.cpu_s_per_million:.2f} to disk", alternative=f"paho, QoS 1, JSON, {BATCH:,} a message: {published.cpu_s_per_million:.2f}", ratio=f"{published.cpu_s_per_million / ours.cpu_s_per_million:.1f}x", ok=True),
        Row(measure="bytes a reading on disk", goal="≤ 8", figure=f"{ours.disk:.1f}", alternative=f"row: {plain.disk:.1f}; ThingsBoard sqlite: {sqlite.disk if sqlite else 0:.1f}", ratio=f"{plain.disk / ours.disk:.1f}x less", ok=ours.disk <= 8),
        Row(measure="bytes a reading on the wire, sealed and signed", goal="≤ 5", figure=f"{ours.wire:.2f}", alternative=f"paho, JSON: {published.wire:.1f}; ThingsBoard: {sqlite.wire if sqlite else 0:.1f}", ratio=f"{published.wire / ours.wire:.1f}x less", ok=ours.wire <= 5),
    ]  # fmt: skip


def _batches(points: int, size: int) -> list[Readings]:
    rng = np.random.default_rng(1)
    return [_batch(rng, k, size) for k in range(points // size)]


def _batch(rng: np.random.Generator, k: int, size: int) -> Readings:
    at = np.full(size, 1_700_000_000_000_000_000 + k * 100_000_000, np.int64)
    return Readings(
        tag=np.arange(size, dtype=np.int32),
        value=rng.normal(50, 3, size).round(2),
        status=np.zeros(size, np.uint32),
        source_time=at,
        server_time=at,
        received=int(at[0]),
    )


async def _ours(folder: Path, points: int, size: int) -> Cost:
    batches = _batches(points, size)
    dictionary = TagDictionary(at=0, version="bench", tags=[TagEntry(id=f"a/b/c/t{i}") for i in range(size)])
    async with open_store(folder, clock=WallClock(), quota_bytes=2**31, ballast_bytes=0, software="bench") as store:
        await store.commit(dictionary=dictionary)
        began, cpu = time.perf_counter(), time.process_time()
        waiting: set[asyncio.Task[None]] = set()
        for batch in batches:
            waiting.add(asyncio.create_task(store.commit(readings=[batch])))
            if len(waiting) >= AT_ONCE * max(1, BATCH // size):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(waiting)
        wall, used = time.perf_counter() - began, time.process_time() - cpu
        disk = store.counts().waiting_bytes / points
    return Cost(
        per_s=points / wall,
        cpu_s_per_million=used / points * 1e6,
        disk=disk,
        wire=_on_the_wire(folder / "edge.db") / points,
    )


def _on_the_wire(path: Path) -> int:
    """Give the bytes of MQTT packets that carry every chunk of a store, signature and seal and topic and all."""
    address, key, total = Address("tenant", "site", "gateway"), secrets.token_bytes(32), 0
    store = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    for inc, stream, first, count, digest, body in store.execute(
        "select inc, stream, first, count, digest, body from chunk join incarnation using (ord)"
    ):
        hexes = {"digest": digest.hex(), "before": digest.hex(), "signature": secrets.token_hex(64)}
        frame = Batch(nonce=inc, inc=inc, stream=stream, first=first, count=count, last=first + count - 1, **hexes)
        total += len(seal(frame, key, body)) + len(address.up("data")) + MQTT_OVERHEAD
    store.close()
    return total


def _plain(path: Path) -> Cost:
    batches = _batches(POINTS, BATCH)
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
    return Cost(per_s=POINTS / wall, cpu_s_per_million=used / POINTS * 1e6, disk=path.stat().st_size / POINTS)


def _thingsboard(folder: Path, kind: str, points: int, batch: int) -> Cost:
    folder.mkdir()
    python, script = thingsboard.VENV / "bin" / "python", ROOT / "bench" / "thingsboard_storage.py"
    done = subprocess.run(
        [str(python), str(script), str(folder), kind, str(points), str(batch)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return Cost(**json.loads(done.stdout))


def _published(port: int) -> Cost:
    """Publish the same values as JSON, a message a scan, and wait for every PUBACK."""
    batches, sent = _batches(POINTS, BATCH), 0
    names = [f"t{i}" for i in range(BATCH)]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect("127.0.0.1", port)
    client.loop_start()
    began, cpu = time.perf_counter(), time.process_time()
    messages: list[mqtt.MQTTMessageInfo] = []
    for batch in batches:
        text = json.dumps({"ts": int(batch.received) // 1_000_000, "values": dict(zip(names, batch.value.tolist(), strict=True))})  # fmt: skip
        sent += len(text) + len("tenant/site/gateway/data") + MQTT_OVERHEAD
        messages.append(client.publish("tenant/site/gateway/data", text, qos=1))
    for message in messages:
        message.wait_for_publish(30)
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    client.loop_stop()
    client.disconnect()
    return Cost(per_s=POINTS / wall, cpu_s_per_million=used / POINTS * 1e6, wire=sent / POINTS)
