"""`triflow demo`: the whole system on the simulated plant, with one command."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from demo import broker, site_files
from demo.faces import Faces
from demo.headless import Proof, ProofError, table
from demo.history import Backfill, backfill
from demo.parts import parts
from demo.plant_clock import week_back
from demo.processes import Crew, PartError
from demo.site_files import PortError, Ports
from sync.clock import WallClock

EX_UNAVAILABLE: Final = 69
EX_BUSY: Final = 75
FAILED: Final = 1
INTERRUPTED: Final = 130


def main(argv: list[str]) -> int:
    arguments = _arguments(argv)
    folder: Path = arguments.folder.resolve()
    if arguments.command != "run":
        return asyncio.run(_talk(folder, arguments.command))
    if arguments.headless:
        folder /= "headless"
    running = _running(folder)
    if running is not None:
        print(
            f"triflow demo: one runs in {folder} already (process {running}); stop it with Ctrl-C there, or choose another --folder",
            file=sys.stderr,
        )
        return EX_BUSY
    if arguments.fresh or arguments.headless:
        site_files.clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(_run(folder, arguments))
    except PortError as error:
        print(f"triflow demo: {error}", file=sys.stderr)
        return EX_UNAVAILABLE
    except PartError as error:
        print(f"triflow demo: {error}\n  logs: {folder / 'logs'}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="triflow demo",
        description="Run the whole system on a simulated bottling hall: plant, broker, two gateways, cloud.",
    )
    parser.add_argument("command", nargs="?", choices=["run", "cut", "heal", "status"], default="run")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where everything is kept (.demo)")
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier run left there")
    parser.add_argument("--weeks", type=float, help="history to begin with (3; 0.1 with --headless)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same plant (7)")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="plant time against wall time; 10080 lives a week in a minute"
    )
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--headless", action="store_true", help="prove it: cut, kill, heal, count, report")
    parser.add_argument("--report", type=Path, help="write the proof's report here (JSON)")
    parser.add_argument("--embedded", action="store_true", help="the broker from pip even where mosquitto is installed")
    for name in Ports.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.speed < 1:
        parser.error("--speed is 1 or more: a plant slower than the wall clock would never be in the present")
    return arguments


async def _run(folder: Path, arguments: argparse.Namespace) -> int:
    clock = WallClock()
    wanted = {n: p for n in Ports.__dataclass_fields__ if (p := getattr(arguments, f"{n}_port")) is not None}
    if arguments.headless:
        wanted = dict.fromkeys(site_files.KNOWN, 0) | wanted
    ports = site_files.choose_ports(wanted)
    site_files.write(folder, ports, arguments.speed, quick=arguments.headless)
    weeks = arguments.weeks if arguments.weeks is not None else (0.1 if arguments.headless else 3.0)
    end = week_back(clock.now(), arguments.speed)
    if not (folder / site_files.HISTORY).exists():
        print(f"Living through {weeks:g} weeks of the plant's past …", flush=True)
    past = await backfill(folder, weeks=weeks, seed=arguments.seed, end=end, clock=clock)
    if past is not None:
        print(_told(past), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    crew = Crew(
        parts(folder, ports, seed=arguments.seed, speed=arguments.speed, embedded=arguments.embedded), folder, _say
    )
    print(
        f"Starting broker ({'iotcore' if arguments.embedded else broker.name()}), plant, cloud and two gateways …",
        flush=True,
    )
    async with crew, httpx.AsyncClient(timeout=5, trust_env=False) as http:
        site_files.write_state(folder, ports, os.getpid(), crew.pids())
        faces = Faces(ports, http)
        if arguments.headless:
            return await _headless(crew, faces, folder, arguments, stop)
        await _when_connected(faces, crew)
        await faces.produce(on=True)
        print(_welcome(ports, crew), flush=True)
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), crew.failed]
        await asyncio.wait(waits, timeout=arguments.seconds, return_when=asyncio.FIRST_COMPLETED)
        waits[0].cancel()
        if crew.failed.done():
            await crew.failed
        print("\nStopping everything …", flush=True)
    return 0


async def _headless(crew: Crew, faces: Faces, folder: Path, arguments: argparse.Namespace, stop: asyncio.Event) -> int:
    proof = Proof(crew, faces, folder, arguments.seed, arguments.seconds or 60.0, _say)
    work = asyncio.create_task(proof.run(), name="proof")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        work.cancel()
    (outcome,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(outcome, BaseException) and not isinstance(outcome, ProofError | PartError | asyncio.CancelledError):
        raise outcome
    if outcome is not None:
        print(f"triflow demo: {outcome or 'interrupted'}", file=sys.stderr)
    finding = proof.finding() | {"broker": "iotcore" if arguments.embedded else broker.name()}
    finding["ok"] = finding["ok"] and outcome is None
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(finding, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(finding), flush=True)
    return 0 if finding["ok"] else FAILED


async def _when_connected(faces: Faces, crew: Crew) -> None:
    """Let the plant begin when its machines are watched, so that the first bottle is seen; in any case soon."""
    limit = time.monotonic() + 15
    while time.monotonic() < limit and not crew.failed.done():
        try:
            states = [s["state"] for name in ("gw-opcua", "gw-modbus") for s in (await faces.gateway(name))["sources"]]
        except httpx.HTTPError:
            states = ["down"]
        if all(state == "connected" for state in states):
            return
        await asyncio.sleep(0.2)


async def _talk(folder: Path, command: str) -> int:
    """Say something to the demo that runs in a folder: cut, heal or status."""
    state = site_files.read_state(folder)
    if state is None or not psutil.pid_exists(state.pid):
        print(f"triflow demo: none runs in {folder}; start one with `triflow demo`", file=sys.stderr)
        return EX_UNAVAILABLE
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        faces = Faces(state.ports, http)
        try:
            if command in {"cut", "heal"}:
                await faces.cut(cut=command == "cut")
                print(
                    "The network is cut. Lines go on being judged; look at a gateway's page."
                    if command == "cut"
                    else "The network is back; the backlog drains."
                )
            print(await _status(faces))
        except httpx.HTTPError as error:
            print(f"triflow demo: the running demo does not answer: {error!r}", file=sys.stderr)
            return EX_UNAVAILABLE
    return 0


async def _status(faces: Faces) -> str:
    link, plant, overview = await faces.link(), await faces.plant(), await faces.overview()
    lines = [f"  network    {'CUT' if link['cut'] else 'whole'}, {link['connections']} connections"]
    lines += [f"  plant      {plant['plant_time']}, {'producing' if plant['producing'] else 'standing still'}"]
    for unit, line in plant["lines"].items():
        lines.append(
            f"             {unit:26} {line['state']:12} {line['reason'] or '':14} {line['order']} {line['product']}"
        )
    for row in overview["proof"]:
        sum_ = f"{row['produced']} = {row['stored']} stored + {row['waiting']} waiting + {row['lost']} lost"
        lines.append(f"  {row['gateway']:10} {sum_}  {'balanced' if row['balanced'] else 'DOES NOT BALANCE'}")
    return "\n".join(lines)


def _running(folder: Path) -> int | None:
    """Give the process that runs a demo in this folder; end parts that a killed one left behind."""
    state = site_files.read_state(folder)
    if state is None:
        return None
    if state.pid != os.getpid() and _is_ours(state.pid, "demo"):
        return state.pid
    for name, pid in state.parts.items():
        if _is_ours(pid, str(folder)) or _is_ours(pid, f"demo.{name}"):
            print(f"an earlier demo was killed and left its {name} running (process {pid}); ending it", flush=True)
            orphan = psutil.Process(pid)
            orphan.terminate()
            psutil.wait_procs([orphan], timeout=10)
    return None


def _is_ours(pid: int, word: str) -> bool:
    try:
        return any(word in argument for argument in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _say(what: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')}  {what}", flush=True)


def _told(past: Backfill) -> str:
    return f"  {past.pieces:,} pieces, {past.facts:,} facts, in {past.seconds:.1f} s; they reach the cloud the way all facts do"


def _welcome(ports: Ports, crew: Crew) -> str:
    def url(port: int) -> str:
        return f"http://127.0.0.1:{port}"

    me = "triflow" if shutil.which("triflow") else os.path.relpath(sys.argv[0])
    return f"""
  A bottling hall with four lines is running.

    dashboard          {url(ports.dashboard)}
    gateway, OPC UA    {url(ports.page_opcua)}     lines 1 and 2
    gateway, Modbus    {url(ports.page_modbus)}     lines 3 and 4
    MES                {url(ports.mes)}/api/job-orders
    OPC UA server      opc.tcp://127.0.0.1:{ports.opcua}/triflow/demo
    Modbus machines    127.0.0.1:{ports.modbus_3} (unit 1), 127.0.0.1:{ports.modbus_4} (unit 17)

  Try
    cut the network    the switch on the dashboard, or: {me} demo cut   (then: {me} demo heal)
    kill a gateway     kill -9 {crew.pid("gw-modbus")}
    kill the cloud     kill -9 {crew.pid("cloud")}
    how it stands      {me} demo status

  Ctrl-C stops everything. What was made stays in {crew.folder}; `{me} demo --fresh` begins anew.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
