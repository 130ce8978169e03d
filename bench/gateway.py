"""What a whole gateway costs: 1,000 tags at 10 Hz, 50 rules, on disk, sent and confirmed."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from bench.stand import Stand, cpu_seconds, stand
from bench.table import Row
from tests.servers import ROOT

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
        bench.processes.pop("edge").kill()
        plain, plain_share = _plain(bench)
        points = after["store"]["produced"] - before["store"]["produced"]
        judged = after["judged_total"] - before["judged_total"]
    offered = TAGS * RATE_HZ * wall
    ours = used / points * 1e6
    what = f"{TAGS:,} Modbus tags at {RATE_HZ} Hz, 50 rules, {judged / wall:.1f} judgments/s, confirmed by the cloud"
    return [
        Row(measure=f"gateway CPU: {what}", goal="< 10 % of a core", figure=f"{100 * used / wall:.1f} % ({ours:.1f} CPU-s/M points)", alternative=f"request per tag, row per reading, JSON, no rules, no receipt: {plain:.0f} CPU-s/M at {plain_share:.0f} % of the rate", ratio=f"{plain / ours:.0f}x less", ok=used / wall < 0.10 and points > 0.95 * offered),
        Row(measure="gateway RSS in that run", goal="< 150 MB", figure=f"{rss:.0f} MB", ok=rss < 150),
        Row(measure="points recorded of those offered", goal="≥ 95 %", figure=f"{100 * points / offered:.1f} %", ok=points > 0.95 * offered),
    ]  # fmt: skip


def _plain(bench: Stand) -> tuple[float, float]:
    """Measure the plain gateway on the same machine: (CPU seconds per million points, share of the rate in %)."""
    arguments = [str(bench.machine), str(bench.broker_port), str(TAGS), str(RATE_HZ), str(bench.folder / "plain.db")]
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.plain_gateway", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    process = psutil.Process(child.pid)
    try:
        for _ in range(2):
            first = int(child.stdout.readline())
        cpu, began, points = cpu_seconds(process), time.monotonic(), first
        while time.monotonic() - began < 10:
            points = int(child.stdout.readline())
        wall, used = time.monotonic() - began, cpu_seconds(process) - cpu
    finally:
        child.kill()
        child.wait()
    made = points - first
    return used / made * 1e6, 100 * made / (TAGS * RATE_HZ * wall)
