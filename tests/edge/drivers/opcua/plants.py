"""OPC UA servers of another make, in processes that a test can stop, kill and start again; and a line that fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from edge.connections import OpcUa
from edge.drivers.driver import Surroundings
from edge.drivers.opcua.driver import OpcUaDriver
from edge.tags import Tag
from sync.clock import WallClock
from sync.reading import Readings
from tests.edge.drivers.machines import URI, standard_nodes, tag
from tests.servers import NODE, ROOT, free_port, listens, wait_until

MILLION = 1_000_000
Make = Literal["node-opcua", "asyncua", "open62541"]


def counting_tags(count: int, **spec: Any) -> list[Tag]:
    """Give the tags of a counting plant: a value of tag i is i × 1,000,000 + count."""
    return [tag(i, f"nsu={URI};s=t{i}", **spec) for i in range(count)]


def newest(batches: list[Readings]) -> dict[int, tuple[object, int]]:
    """Give the newest (value, status) of each tag."""
    return {index: (value, status) for batch in batches for index, value, status, _ in batch}


class Plant:
    """A server in a process, behind a line of its own: node-opcua (`tests/node/plant.mjs`), asyncua or open62541."""

    def __init__(self, folder: Path, tags: list[Tag], /, make: Make = "node-opcua", **options: Any) -> None:
        self.tags = tags
        self.folder = folder
        self.make = make
        self.options: dict[str, Any] = {"tags": len(tags), **options}
        self.port = free_port()
        self.line = Line(self.port)
        self.process: subprocess.Popen[bytes] | None = None
        self.always: dict[str, Any] = {}
        """Settings of every connection to it."""

    def config(self, **more: Any) -> OpcUa:
        url = f"opc.tcp://127.0.0.1:{more.pop('port', self.line.port)}/machine"
        return OpcUa(**{"driver": "opcua", "name": "machine", "url": url, "security": "none", "publishing_ms": 50, "sampling_ms": 20, **self.always, **more})  # fmt: skip

    def driver(self, *, retry_s: float = 30.0, **config: Any) -> OpcUaDriver:
        around = Surroundings(folder=self.folder, data=self.folder, gateway="gw-test")
        return OpcUaDriver(self.config(**config), self.tags, WallClock(), around, retry_s=retry_s)

    def absent(self) -> OpcUaDriver:
        return self.driver(port=free_port())

    def launch(self, **options: Any) -> None:
        """Run the server's process, with other options than before if any are given."""
        self.options |= options
        said = json.dumps({"port": self.port, **self.options})
        match self.make:
            case "node-opcua":
                if not (NODE / "node_modules" / ".installed").exists():
                    raise AssertionError(
                        "the Node servers are not installed; `bash tests/install_parts.sh` installs them"
                    )
                command, folder = ["node", "plant.mjs", said], NODE
            case "asyncua":
                said = json.dumps({"port": self.port, "standard": str(standard_nodes()), **self.options})
                command, folder = [sys.executable, "-m", "tests.edge.drivers.opcua.plant_process", said], ROOT
            case "open62541":
                words = [str(self.port), str(self.options["tags"]), "20"]
                command, folder = [sys.executable, "-m", "bench.opcua_plant", *words], ROOT
        with (self.folder / "plant.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        wait_until(lambda: self.process.poll() is not None or listens(self.port), f"{self.make} listens", 40)
        assert self.process.poll() is None, (self.folder / "plant.log").read_text()[-2000:]

    def signal(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    def kill(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)

    # ── the machine of the driver contract: the line comes and goes, the process stays ──

    async def start(self) -> None:
        if self.process is None:
            await asyncio.to_thread(self.launch)
        await self.line.open()

    async def stop(self) -> None:
        await self.line.close()

    async def spoil(self) -> int:
        self.signal(signal.SIGUSR2)
        return self.tags[0].index

    def connections(self) -> int:
        return self.line.connections


class Line:
    """A TCP line to a server on loopback, that can swallow, cut and break what passes."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.connections = 0
        self.swallows = False
        """Whether all that either end says is lost, while both connections stay."""
        self.cut: int | None = None
        """Bytes from the server that still pass before the line breaks in the middle of a frame."""
        self.delay_s = 0.0
        """How late each end hears the other."""
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            self.hang_up()
            await server.wait_closed()
        while self._passing:
            await asyncio.wait(self._passing)

    def hang_up(self) -> None:
        """Break all connections; new ones may come."""
        for task in self._passing:
            task.cancel()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._passing.add(task)
        self.connections += 1
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(far_writer)
            up = asyncio.create_task(self._carry(reader, far_writer, cuts=False))
            down = asyncio.create_task(self._carry(far_reader, writer, cuts=True))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            for end in ends:
                end.transport.abort()
            self._passing.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self.swallows:
                    continue
                if cuts and self.cut is not None:
                    data, self.cut = data[: self.cut], self.cut - len(data)
                    if self.cut <= 0:
                        self.cut = None
                        writer.write(data)
                        await writer.drain()
                        return
                if self.delay_s:
                    loop.call_later(self.delay_s, self._late, writer, data)
                else:
                    writer.write(data)
                    await writer.drain()

    @staticmethod
    def _late(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.is_closing():
            writer.write(data)
