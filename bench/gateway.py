"""What a whole gateway costs: acquired, windowed, judged by 50 rules, on disk, sent over MQTT and confirmed by the cloud.

Beside it stand a plain gateway of sixty lines (`bench.plain_gateway`) and ThingsBoard's (`bench.thingsboard`), on the
same machine and broker in the same run. No figure here has an ONNX model in it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import psutil

from bench import opcua_plant, thingsboard
from bench.stand import Stand, cpu_seconds, stand
from bench.table import Row, show
from tests.servers import ROOT

RATE_HZ, SETTLE_S, SECONDS = 10, 8, 15
MODBUS_TAGS, OPCUA_TAGS, MANY_TAGS = 1_000, 5_000, 10_000
EASY_HZ = 2
FALLS_BEHIND_S = 2.0
"""More than so many seconds of points waiting at the end means that the way to the cloud does not keep up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A gateway in steady work."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    points: int
    judged: int
    waiting: int
    """Points not confirmed by the cloud at the end."""
    offered: int
    """Periods that the machine went through."""

    @property
    def rate(self) -> float:
        return self.points / self.wall_s

    @property
    def cores(self) -> float:
        return self.cpu_s / self.wall_s

    @property
    def cost(self) -> float:
        """CPU seconds per million points."""
        return self.cpu_s / self.points * 1e6

    def __str__(self) -> str:
        return f"{100 * self.cores:.1f} % of a core ({self.cost:.1f} CPU-s/M points)"


def run() -> list[Row]:
    """Measure Modbus, then OPC UA at 50,000 and 100,000 points a second."""
    missing = thingsboard.install()
    return [*_modbus(missing), *_opcua(missing), *_many()]


def _modbus(missing: str) -> list[Row]:
    with stand() as bench:
        bench.configure(
            source=f'driver = "modbus"\nhost = "127.0.0.1"\nport = {bench.machine}\nperiod_ms = {1000 / RATE_HZ}',
            tags="".join(
                f'[[tag]]\nname = "t{i}"\naddress = "holding:{i}"\ntype = "uint16"\nscale = 0.01\n'
                for i in range(MODBUS_TAGS)
            ),
        )
        port = str(bench.machine)
        bench.start("machine", "bench.bench_plant", "modbus", port, str(MODBUS_TAGS), port=bench.machine)
        ours = _steady(bench)
        plain, plain_share = _plain(bench)
        peer = _peer(bench, "modbus", thingsboard.modbus(bench.machine, MODBUS_TAGS, RATE_HZ), missing)
        easy = _peer(bench, "modbus", thingsboard.modbus(bench.machine, MODBUS_TAGS, EASY_HZ), missing)
    what = f"{MODBUS_TAGS:,} Modbus tags at {RATE_HZ} Hz, 50 rules, {ours.judged / ours.wall_s:.1f} judgments/s"
    share = 100 * ours.rate / (MODBUS_TAGS * RATE_HZ)
    return [
        Row(measure=f"gateway: {what}, confirmed by the cloud", goal="< 10 % of a core", figure=str(ours), alternative=f"request per tag, row per reading, JSON, no rules, no receipt: {plain:.0f} CPU-s/M at {plain_share:.0f} % of the rate", ratio=f"{plain / ours.cost:.0f}x less", ok=ours.cores < 0.10 and share > 95),
        Row(measure="gateway RSS in that run", goal="< 150 MB", figure=f"{ours.rss_mb:.0f} MB", ok=ours.rss_mb < 150),
        Row(measure="points recorded of those offered", goal="≥ 95 %", figure=f"{share:.1f} %", ok=share > 95),
        _against(f"gateway: {what}, CPU a point", ours, peer, 60),
        _against(f"the same, ThingsBoard reading at {EASY_HZ} Hz, which it keeps up with", ours, easy),
    ]  # fmt: skip


def _opcua(missing: str) -> list[Row]:
    with stand() as bench:
        _configure_opcua(bench, OPCUA_TAGS)
        ours = _steady(bench)
        url, names = f"opc.tcp://127.0.0.1:{bench.machine}", [f"t{i}" for i in range(OPCUA_TAGS)]
        peer = _peer(bench, "opcua", thingsboard.opcua(url, names), missing)
    what = f"gateway: {OPCUA_TAGS * RATE_HZ:,} points/s over OPC UA, 50 rules, no ONNX model, confirmed by the cloud"
    enough = ours.rate > 0.95 * OPCUA_TAGS * RATE_HZ
    offered = ours.offered * OPCUA_TAGS / ours.wall_s
    return [
        Row(measure=what, goal="≤ 30 % of a core", figure=f"{ours} at {ours.rate:,.0f}/s of {offered:,.0f} offered", ok=ours.cores <= 0.30 and enough),
        Row(measure="gateway RSS in that run", goal="≤ 200 MB", figure=f"{ours.rss_mb:.0f} MB", ok=ours.rss_mb <= 200),
        _against(f"gateway: {OPCUA_TAGS:,} OPC UA tags at {RATE_HZ} Hz, CPU a point", ours, peer, 20),
    ]  # fmt: skip


def _many() -> list[Row]:
    with stand() as bench:
        _configure_opcua(bench, MANY_TAGS)
        ours = _steady(bench)
    behind_s = ours.waiting / ours.rate
    offered = ours.offered * MANY_TAGS / ours.wall_s
    figure = f"{ours.rate:,.0f}/s of {offered:,.0f} offered, {ours}, {ours.rss_mb:.0f} MB, {behind_s:.1f} s behind at the end"
    ok = ours.rate > 0.95 * MANY_TAGS * RATE_HZ and behind_s < FALLS_BEHIND_S
    return [Row(measure="the same with twice the tags", goal="100,000/s sustained", figure=figure, ok=ok)]


def _configure_opcua(bench: Stand, count: int) -> None:
    """Give a stand with an OPC UA machine of so many tags; the values of all change ten times a second."""
    source = f'driver = "opcua"\nurl = "opc.tcp://127.0.0.1:{bench.machine}"\nsecurity = "none"\npublishing_ms = 100\nsampling_ms = 0'
    address = f"nsu={opcua_plant.URI};s="
    bench.configure(
        source=source, tags="".join(f'[[tag]]\nname = "t{i}"\naddress = "{address}t{i}"\n' for i in range(count))
    )
    bench.start("machine", "bench.opcua_plant", str(bench.machine), str(count), str(RATE_HZ), port=bench.machine)


def _steady(bench: Stand) -> Run:
    """Start cloud and gateway, let them settle, measure, and end the gateway and the cloud."""
    bench.start_cloud()
    gateway = bench.start_gateway()
    time.sleep(SETTLE_S)
    before, cpu, began = bench.get(bench.edge, "/api/status"), cpu_seconds(gateway), time.monotonic()
    offered = _offered(bench)
    time.sleep(SECONDS)
    wall, used, offered = time.monotonic() - began, cpu_seconds(gateway) - cpu, _offered(bench) - offered
    after, rss = bench.get(bench.edge, "/api/status"), gateway.memory_info().rss / 1e6
    for name in ("edge", "cloud"):
        process = bench.processes.pop(name)
        process.kill()
        process.wait(10)
    return Run(
        wall_s=wall,
        cpu_s=used,
        rss_mb=rss,
        points=after["store"]["produced"] - before["store"]["produced"],
        judged=after["judged_total"] - before["judged_total"],
        waiting=after["store"]["waiting"],
        offered=offered,
    )


def _offered(bench: Stand) -> int:
    """Give the number of the newest period that the OPC UA machine began; 0 for a machine that does not say."""
    said = (bench.folder / "machine.log").read_text(errors="replace").split()
    return int(said[-1]) if said and said[-1].isdigit() else 0


def _peer(bench: Stand, kind: str, connector: dict[str, object], missing: str) -> thingsboard.Peer | str:
    """Measure ThingsBoard's gateway on the stand's machine; the sentence that says why not, where it cannot be."""
    if missing:
        return missing
    try:
        return thingsboard.measure(
            kind, connector, bench.broker_port, Path(mkdtemp(dir=bench.folder)), settle_s=4, seconds=SECONDS
        )
    except AssertionError as error:
        return f"ThingsBoard Gateway did not run here ({error})"


def _against(measure: str, ours: Run, peer: thingsboard.Peer | str, goal: float = 0) -> Row:
    """Give the row that compares CPU a point; without a peer it says so and claims nothing."""
    wanted = f"≥ {goal:.0f}x less than ThingsBoard Gateway" if goal else "none: for fairness"
    figure = f"{ours.cost:.1f} CPU-s/M at {ours.rate:,.0f}/s"
    if isinstance(peer, str):
        return Row(measure=measure, goal=wanted, figure=figure, alternative=peer, ratio="not measured", ok=False)
    ratio = peer.cpu_s_per_million / ours.cost
    return Row(
        measure=measure, goal=wanted, figure=figure, alternative=str(peer), ratio=f"{ratio:.0f}x less", ok=ratio >= goal
    )


def _plain(bench: Stand) -> tuple[float, float]:
    """Measure the plain gateway on the same machine: (CPU seconds per million points, share of the rate in %)."""
    arguments = [
        str(bench.machine), str(bench.broker_port), str(MODBUS_TAGS), str(RATE_HZ), str(bench.folder / "plain.db")
    ]  # fmt: skip
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
    return used / made * 1e6, 100 * made / (MODBUS_TAGS * RATE_HZ * wall)


if __name__ == "__main__":
    print(show(run()))
