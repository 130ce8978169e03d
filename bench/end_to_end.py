"""From a change in the PLC to the dashboard's event stream: 500 tags a second, everything running."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request

from bench.stand import stand
from bench.table import Row

TAGS, SECONDS = 500, 20


def run() -> list[Row]:
    with stand() as bench:
        bench.configure(
            source=f'driver = "opcua"\nurl = "opc.tcp://127.0.0.1:{bench.machine}/bench"\nsecurity = "none"\npublishing_ms = 100',
            tags="".join(f'[[tag]]\nname = "t{i}"\naddress = "nsu=urn:triflow:bench;s=T{i}"\n' for i in range(TAGS)),
        )
        bench.start("machine", "bench.bench_plant", "opcua", str(bench.machine), str(TAGS), "1", port=bench.machine)
        bench.start_cloud()
        bench.start_gateway()
        time.sleep(8)
        ages = _ages(f"http://127.0.0.1:{bench.cloud}/api/v1/stream", SECONDS)
    ages.sort()
    p50, p95 = statistics.median(ages), ages[int(0.95 * len(ages))]
    rate = len(ages) / SECONDS
    return [Row(measure=f"PLC change → dashboard event stream, {rate:.0f} tags/s", goal="p95 < 1 s", figure=f"p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms", ok=p95 < 1 and rate > 0.9 * TAGS)]  # fmt: skip


def _ages(url: str, seconds: float) -> list[float]:
    """Give the age of every newest value at the moment its event arrived, s."""
    ages: list[float] = []
    event, end, seen = "", time.monotonic() + seconds, {}
    with urllib.request.urlopen(url, timeout=20) as stream:
        for raw in stream:
            now, line = time.time(), raw.decode().rstrip("\n")
            if time.monotonic() > end:
                break
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:") and event == "readings":
                for tag, (_, _, source_time) in json.loads(line[5:]).items():
                    if seen.get(tag) != source_time:
                        seen[tag] = source_time
                        ages.append(now - source_time / 1000)
    return ages
