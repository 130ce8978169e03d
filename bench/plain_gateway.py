"""The alternative for the gateway bench: what one writes first. `python -m bench.plain_gateway MODBUS_PORT BROKER_PORT TAGS HZ FILE`.

One request per tag (as peers read Modbus), `convert_from_registers` per value, one row per reading in SQLite (WAL, FULL), one JSON
message per scan at QoS 1, rows deleted at the PUBACK. It judges nothing, and its acknowledgement is the broker's word.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time

import paho.mqtt.client as mqtt
from pymodbus.client import AsyncModbusTcpClient


async def main(port: int, broker: int, tags: int, hz: float, path: str) -> None:
    store = sqlite3.connect(path, isolation_level=None)
    store.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE reading (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, at INTEGER, value REAL)"
    )
    done: list[int] = []
    scans: dict[int, int] = {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_publish = lambda _client, _data, mid, _reason, _properties: done.append(mid)
    client.connect("127.0.0.1", broker)
    client.loop_start()
    machine = AsyncModbusTcpClient("127.0.0.1", port=port)
    await machine.connect()
    began, scan, points = time.monotonic(), 0, 0
    while True:
        at = time.time_ns()
        rows: list[tuple[str, int, float]] = []
        for i in range(tags):
            answer = await machine.read_holding_registers(i, count=1, device_id=1)
            raw = machine.convert_from_registers(answer.registers, machine.DATATYPE.UINT16)
            rows.append((f"t{i}", at, raw * 0.01))
        store.execute("BEGIN IMMEDIATE")
        store.executemany("INSERT INTO reading (tag, at, value) VALUES (?, ?, ?)", rows)
        last = store.execute("SELECT max(id) FROM reading").fetchone()[0]
        while done:
            store.execute("DELETE FROM reading WHERE id <= ?", (scans.pop(done.pop(0), 0),))
        store.execute("COMMIT")
        sent = client.publish("plain", json.dumps([{"tag": t, "ts": a, "value": v} for t, a, v in rows]), qos=1)
        scans[sent.mid] = last
        points += len(rows)
        scan += 1
        print(points, flush=True)
        await asyncio.sleep(max(0.0, began + scan / hz - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
