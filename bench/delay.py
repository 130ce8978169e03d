"""A long line, as a process: `python -m bench.delay PORT TARGET_PORT ROUND_TRIP_MS` carries TCP both ways, late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    """Give on what comes, in order, each piece `delay_s` after it came."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            sink.write(data)
            await sink.drain()
            if not data:
                return

    delivery = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while data := await source.read(1 << 20):
            under_way.put_nowait((loop.time() + delay_s, data))
        under_way.put_nowait((loop.time() + delay_s, b""))
        await delivery
    delivery.cancel()
    sink.close()


async def main(port: int, target: int, round_trip_ms: float) -> None:
    async def connected(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_connection("127.0.0.1", target)
        for writer in (near_out, far_out):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one_way_s = round_trip_ms / 2000
        await asyncio.gather(carry(near_in, far_out, one_way_s), carry(far_in, near_out, one_way_s))

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
