"""Modbus servers of other makes, as processes: libmodbus (C) and modbus-serial (Node). Every register says where it is."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from edge.connections import Modbus
from edge.drivers.modbus.driver import ModbusDriver
from edge.tags import Tag
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND
from tests.servers import NODE, free_port, listens, wait_until

SILENT = 9
"""The unit that takes requests and never answers, on both servers."""
SLOW = 8
"""The unit that takes 0.3 s, on the Node server."""


def word(address: int, unit: int = 1, table: int = 3) -> int:
    """Give what a register of both servers holds from the start; table 3: holding, 4: input."""
    return (address * 31 + unit * 7919 + table * 101) & 0xFFFF


def bit(address: int, unit: int = 1) -> bool:
    """Give what a coil or discrete input of both servers holds from the start."""
    return (address * 7 + unit) % 3 == 0


@functools.cache
def adversary() -> Path:
    """Compile the C server once per run."""
    folder = Path(tempfile.mkdtemp(prefix="modbus-adversary-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False
    )
    if flags.returncode or not shutil.which("gcc"):
        raise AssertionError("gcc and libmodbus are not installed; `bash tests/install_parts.sh` installs them")
    program = folder / "adversary"
    source = Path(__file__).parent / "adversary.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", program, source, *flags.stdout.split()], check=True)
    return program


class OtherMachine:
    """A server in a process of its own, as the driver contract wants it."""

    def __init__(self, make: str, tags: list[Tag], **config: Any) -> None:
        """make: libmodbus or node."""
        self.make = make
        self.tags = tags
        self.port = free_port()
        self.more = config
        self.process: subprocess.Popen[bytes] | None = None

    def config(self, **more: Any) -> Modbus:
        return Modbus(**{
            "driver": "modbus", "name": "machine", "host": "127.0.0.1", "port": self.port, "period_ms": 50,
            "timeout_s": 0.5, **self.more, **more,
        })  # fmt: skip

    def driver(self, **more: Any) -> ModbusDriver:
        return ModbusDriver(self.config(**more), self.tags, WallClock(), AROUND)

    def absent(self) -> ModbusDriver:
        return self.driver(port=free_port())

    async def start(self) -> None:
        if self.make == "node":
            if not (NODE / "node_modules" / ".installed").exists():
                raise AssertionError("the Node servers are not installed; `bash tests/install_parts.sh` installs them")
            words, folder = ["node", "modbus.mjs", str(self.port)], NODE
        else:
            words, folder = [str(adversary()), "tcp", str(self.port)], None
        process = self.process = await asyncio.to_thread(subprocess.Popen, words, cwd=folder)
        await asyncio.to_thread(
            wait_until, lambda: process.poll() is not None or listens(self.port), f"{self.make} listens", 40
        )
        assert process.poll() is None

    async def stop(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(signal.SIGCONT)
            process.kill()
            await asyncio.to_thread(process.wait, 10)

    async def spoil(self) -> int:
        self.process.send_signal(signal.SIGUSR2)
        return self.tags[0].index

    def connections(self) -> int:
        open_ones = psutil.Process(self.process.pid).net_connections(kind="tcp")
        return sum(1 for c in open_ones if c.status == psutil.CONN_ESTABLISHED)


@contextlib.contextmanager
def line(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give the two ends of a serial line: a pair of pseudo terminals."""
    ends = folder / "line-a", folder / "line-b"
    process = subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={end}" for end in ends)])
    try:
        wait_until(lambda: all(end.exists() for end in ends), "socat made the line")
        yield ends
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def adversary_on(device: Path, unit: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """Run the C server on a serial line until the block ends."""
    process = subprocess.Popen([str(adversary()), "rtu", str(device), str(unit)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)
        process.stdout.close()


def mbpoll(*words: str) -> dict[int, str]:
    """Read with mbpoll, which shares no code with us; gives address (from 0) → what it printed."""
    out = subprocess.run(["mbpoll", "-0", "-1", "-q", *words], capture_output=True, text=True, check=True, timeout=20)
    rows = [row.split(":", 1) for row in out.stdout.splitlines() if row.startswith("[")]
    return {int(at.strip("[]")): text.split("(")[0].strip() for at, text in rows}
