"""What a whole gateway costs: 1,000 tags at 10 Hz, 50 rules, on disk, sent and confirmed."""

from __future__ import annotations

import time

from bench.stand import cpu_seconds, stand
from bench.table import Row

TAGS, RATE_HZ, SECONDS = 1_000, 10, 20


def run() -> list[Row]:
    with stand() as bench:
        bench.configure(
            source=f'driver = "modbus"\nhost = "127.0.0.1"\nport = {bench.machine}\nperiod_ms = {1000 / RATE_HZ}',
            tags="".join(
                f'[[tag]]\nname = "t{i}"\naddress = "holding:{i}"\ntype = "uint16"\nscale = 0.01\n' for i in range(TAGS)
            ),
        )
        bench.start("machine", "bench.bench_plant", "modbus", str(bench.machine), str(TAGS), port=bench.machine)
        bench.start_cloud()
        gateway = bench.start_gateway()
        time.sleep(8)
        before, cpu, began = bench.get(bench.edge, "/api/status"), cpu_seconds(gateway), time.monotonic()
        time.sleep(SECONDS)
        wall, used = time.monotonic() - began, cpu_seconds(gateway) - cpu
        after, rss = bench.get(bench.edge, "/api/status"), gateway.memory_info().rss / 1e6
        points = after["store"]["produced"] - before["store"]["produced"]
        judged = after["judged_total"] - before["judged_total"]
    offered = TAGS * RATE_HZ * wall
    what = f"{TAGS:,} Modbus tags at {RATE_HZ} Hz, {judged / wall:.1f} judgments/s, confirmed by the cloud"
    return [
        Row(measure=f"gateway CPU: {what}", goal="< 10 % of a core", figure=f"{100 * used / wall:.1f} % ({used / points * 1e6:.1f} CPU-s/M points)", alternative="ThingsBoard Gateway tag by tag, published measurement: 297 CPU-s/M", ratio=f"{297 / (used / points * 1e6):.0f}x less", ok=used / wall < 0.10 and points > 0.95 * offered),
        Row(measure="gateway RSS in that run", goal="< 150 MB", figure=f"{rss:.0f} MB", ok=rss < 150),
        Row(measure="points recorded of those offered", goal="≥ 95 %", figure=f"{100 * points / offered:.1f} %", ok=points > 0.95 * offered),
    ]  # fmt: skip
