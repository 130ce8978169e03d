"""The network between gateways and broker, as a thing one can cut: a TCP proxy with a switch.

    python -m demo.link --port 18831 --broker 18830 --control 18832

Control API (loopback): GET /link → {"cut": false, "connections": 2, …}, POST /link {"cut": true}. Cut means what it
means on a roof: connections that stood are reset, and new ones are refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import sys
from types import TracebackType
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edge.page.server import serve

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: close sends a reset, as a dead cable would never even do."""


class Link:
    """A proxy from `port` to `broker` on loopback; `cut` and `heal` at will."""

    def __init__(self, port: int, broker: int) -> None:
        self.port = port
        self.broker = broker
        self.cut_times = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError when the port is taken."""
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()

    @property
    def is_cut(self) -> bool:
        return self._server is None

    @property
    def connections(self) -> int:
        return len(self._lines)

    async def heal(self) -> None:
        """Let connections through again; does nothing where they already go through."""
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Reset what stands and refuse what comes; does nothing where it is cut already."""
        if self._server is not None:
            self.cut_times += 1
            await self._hang_up()

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        lines = list(self._lines)
        for task, writers in self._lines.items():
            for writer in writers:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _carry(self, gateway_in: asyncio.StreamReader, gateway_out: asyncio.StreamWriter) -> None:
        """Carry one connection both ways until either side ends it; runs as a task of the server's."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio calls connection handlers in tasks
        self._lines[task] = (gateway_out,)
        try:
            broker_in, broker_out = await asyncio.open_connection("127.0.0.1", self.broker)
            self._lines[task] = (gateway_out, broker_out)
            for writer in (gateway_out, broker_out):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = asyncio.create_task(self._pump(gateway_in, broker_out, up=True), name="link up")
            down = asyncio.create_task(self._pump(broker_in, gateway_out, up=False), name="link down")
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for part in (up, down):
                    part.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except OSError:
            _reset(gateway_out)  # no broker behind us: the gateway sees a connection that breaks at once
        except asyncio.CancelledError:
            pass  # cut; asyncio's server would report a cancelled handler as a fault
        finally:
            for writer in self._lines.pop(task):
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(ConnectionError):  # either end may vanish at any time: that is this program's purpose
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
                if up:
                    self.bytes_up += len(data)
                else:
                    self.bytes_down += len(data)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def link_app(link: Link) -> Starlette:
    """Give the control API."""

    def said() -> dict[str, Any]:
        return {
            "cut": link.is_cut,
            "connections": link.connections,
            "cut_times": link.cut_times,
            "bytes_up": link.bytes_up,
            "bytes_down": link.bytes_down,
        }

    async def get(_: Request) -> JSONResponse:
        return JSONResponse(said())

    async def post(request: Request) -> JSONResponse:
        try:
            wish: Any = await request.json()
        except ValueError:
            wish = None
        if not isinstance(wish, dict) or not isinstance(wish.get("cut"), bool):
            return JSONResponse({"error": 'send {"cut": true} or {"cut": false}'}, status_code=400)
        if wish["cut"]:
            await link.cut()
        else:
            await link.heal()
        return JSONResponse(said())

    return Starlette(routes=[Route("/link", get, methods=["GET"]), Route("/link", post, methods=["POST"])])


async def run(port: int, broker: int, control: int) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Link(port, broker) as link:
        serving = asyncio.create_task(serve(link_app(link), "127.0.0.1", control), name="control")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        stopping.cancel()
        (broken, _) = await asyncio.gather(serving, stopping, return_exceptions=True)
        if isinstance(broken, Exception):
            raise broken


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.link", description="A network one can cut.")
    parser.add_argument("--port", type=int, required=True, help="where gateways connect")
    parser.add_argument("--broker", type=int, required=True, help="port of the broker behind")
    parser.add_argument("--control", type=int, required=True, help="port of the switch")
    arguments = parser.parse_args(argv)
    try:
        asyncio.run(run(arguments.port, arguments.broker, arguments.control))
    except OSError as error:
        print(f"link: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
