"""What the installed mosquitto does with our settings: `python -m bench.broker`, about a minute and a half.

Queue limits against drops, the cost of persistence, kill -9 with queued messages, Nagle, connections that come back
together. The numbers stand in docs/broker.md and are why deploy/mosquitto/mosquitto.conf says what it says.
"""

from __future__ import annotations

import asyncio
import getpass
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from bench.table import Row, show
from sync.clock import backoff
from sync.mqtt import Mqtt
from tests.deploy.broker import Production, authority
from tests.raw_mqtt import Raw
from tests.servers import Broker

ME = f"user {getpass.getuser()}\n"


def process(broker: Broker | Production) -> psutil.Process:
    return psutil.Process(broker.pid)


def rss_mb(broker: Broker) -> float:
    return process(broker).memory_info().rss / 1e6


async def queue(broker: Broker) -> tuple[int, int, float, float]:
    """3,000 messages of 16 KiB for one that is connected and takes nothing: (PUBACKed, delivered, MB before, MB full)."""
    slow = await Raw.connect(broker.port, "slow", receive=20)
    await slow.subscribe("t")
    sender = await Raw.connect(broker.port, "sender")
    before = rss_mb(broker)
    taken = await sender.publish("t", bytes(16_384), 3_000)
    full = rss_mb(broker)
    delivered = await slow.take()
    await slow.close()
    await sender.close()
    return taken, delivered, before, full


async def killed(broker: Broker, how: Callable[[], None], *, settle_s: float = 0.0) -> tuple[int, int, float]:
    """500 messages for a remembered session that is away, broker ended and started: (PUBACKed, delivered, msg/s)."""
    away = await Raw.connect(broker.port, "away", durable=True)
    await away.subscribe("t")
    await away.close()
    await asyncio.sleep(0.1)
    sender = await Raw.connect(broker.port, "sender")
    began = time.monotonic()
    taken = await sender.publish("t", bytes(1_000), 500)
    rate = 500 / (time.monotonic() - began)
    await asyncio.sleep(settle_s)
    how()
    broker.start()
    back = await Raw.connect(broker.port, "away", durable=True)
    delivered = await back.take()
    await back.close()
    await sender.close()
    return taken, delivered, rate


async def throughput(broker: Broker, size: int, count: int) -> tuple[float, float]:
    """Give (messages/s, broker CPU µs a message) with one subscriber that keeps up."""
    to = await Raw.connect(broker.port, "to", receive=65_535)
    await to.subscribe("t")
    sender = await Raw.connect(broker.port, "sender")
    cpu = process(broker).cpu_times()
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(to.take(5.0, count))
        tasks.create_task(sender.publish("t", bytes(size), count))
    lasted = time.monotonic() - began
    after = process(broker).cpu_times()
    spent = after.user + after.system - cpu.user - cpu.system
    await to.close()
    await sender.close()
    return count / lasted, spent / count * 1e6


async def round_trip(broker: Broker) -> float:
    """Give the median ms from a 12 KiB chunk to its small receipt, one at a time, through our own client."""
    async with (
        Mqtt("127.0.0.1", broker.port, client_id="gw", subscriptions=["ack"]) as gateway,
        Mqtt("127.0.0.1", broker.port, client_id="cloud", subscriptions=["up"]) as cloud,
    ):

        async def answer() -> None:
            async for _ in cloud.messages():
                await cloud.publish("ack", b"x" * 200)

        answering = asyncio.create_task(answer())
        arriving = gateway.messages()
        times: list[float] = []
        for _ in range(60):
            began = time.monotonic()
            publishing = asyncio.create_task(gateway.publish("up", bytes(12_000)))
            await anext(arriving)
            times.append((time.monotonic() - began) * 1000)
            await publishing
        answering.cancel()
    return statistics.median(times)


async def storm(connect: Callable[[int], Awaitable[Raw]], restart: Callable[[], None], count: int) -> list[float]:
    """Let `count` clients lose the broker together and come back by the uplink's back-off: seconds of each return."""
    links = await asyncio.gather(*(connect(i) for i in range(count)))
    restart()
    began = time.monotonic()

    async def come_back(i: int, link: Raw) -> float:
        await link.reader.read()  # the end
        for wait in backoff(0.5, 10.0):
            await asyncio.sleep(wait)
            try:
                async with asyncio.timeout(8):
                    links[i] = await connect(i)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            return time.monotonic() - began
        raise AssertionError

    back = await asyncio.gather(*(come_back(i, link) for i, link in enumerate(links)))
    for link in links:
        await link.close()
    return sorted(back)


def said(back: list[float]) -> str:
    busiest = max(sum(1 for t in back if start <= t < start + 0.1) for start in (s / 20 for s in range(400)))
    return f"first {back[0]:.2f} s, half {back[len(back) // 2]:.2f} s, last {back[-1]:.2f} s; busiest 100 ms: {busiest}"


def _tls(ca: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca / "ca.crt")
    context.load_cert_chain(ca / f"{name}.crt", ca / f"{name}.key")
    return context


async def measure(folder: Path) -> list[Row]:
    rows: list[Row] = []

    def row(measure: str, figure: str, alternative: str = "–") -> None:
        rows.append(Row(measure=measure, goal="–", figure=figure, alternative=alternative, ok=True))
        print(f"{measure}: {figure} | {alternative}", file=sys.stderr, flush=True)

    def broker(name: str, extra: str = "") -> Broker:
        # What a Broker of the tests sets is repeated by `extra`; mosquitto takes the last word of each.
        made = Broker(folder / name, f"{ME}{extra}")
        made.start()
        return made

    for limit, extra in (
        ("100 messages", "max_queued_messages 100"),
        ("1000 messages (shipped)", "max_queued_messages 1000\nmax_queued_bytes 67108864"),
        ("1000 messages or 4 MiB", "max_queued_messages 1000\nmax_queued_bytes 4194304"),
        ("none", "max_queued_messages 0\nmax_queued_bytes 0"),
    ):
        one = broker(f"q{limit[:4].strip()}{len(rows)}", extra)
        taken, delivered, before, full = await queue(one)
        one.stop()
        row(
            f"queue limit {limit}",
            f"3,000 × 16 KiB: {taken} PUBACKed, {delivered} delivered",
            f"{before:.0f} → {full:.0f} MB",
        )

    for name, extra, settle in (
        ("off (shipped)", "persistence false", 0.0),
        ("on, autosave 60 s", "persistence true\nautosave_interval 60", 0.0),
        ("on, autosave 1 s, 2 s later", "persistence true\nautosave_interval 1", 2.5),
        ("on, every change", "persistence true\nautosave_interval 1\nautosave_on_changes true", 0.0),
    ):
        figures: list[str] = []
        rate = 0.0
        for how in ("kill", "stop"):
            place = folder / f"p{len(rows)}{how}"
            one = broker(place.name, f"{extra}\npersistence_location {place}/")
            taken, delivered, rate = await killed(one, getattr(one, how), settle_s=settle if how == "kill" else 0.0)
            figures.append(f"{'kill -9' if how == 'kill' else 'SIGTERM'}: {delivered} of {taken}")
            one.stop()
        row(f"persistence {name}", ", ".join(figures), f"{rate:.0f} msg/s for a session that is away")

    for name, extra in (
        ("off", "persistence false"),
        ("on, autosave 60 s", "persistence true\nautosave_interval 60"),
        ("on, every change", "persistence true\nautosave_interval 1\nautosave_on_changes true"),
    ):
        place = folder / f"t{len(rows)}"
        one = broker(place.name, f"{extra}\npersistence_location {place}/")
        small, cpu = await throughput(one, 200, 20_000)
        large, cpu_large = await throughput(one, 65_536, 2_000)
        one.stop()
        row(f"throughput, persistence {name}", f"200 B: {small:.0f} msg/s, {cpu:.0f} µs CPU",
            f"64 KiB: {large:.0f} msg/s, {cpu_large:.0f} µs CPU")  # fmt: skip

    delays = []
    for value in ("true", "false"):
        one = broker(f"n{value}", f"set_tcp_nodelay {value}")
        delays.append(await round_trip(one))
        one.stop()
    row("chunk → receipt, set_tcp_nodelay on", f"{delays[0]:.2f} ms", f"off: {delays[1]:.2f} ms")

    for count in (300, 1_000):
        one = broker(f"storm{count}")
        idle = rss_mb(one)

        def again(one: Broker = one) -> None:
            one.kill()
            one.start()

        back = await storm(lambda i, one=one: Raw.connect(one.port, f"gw-{i}"), again, count)
        row(f"{count} clients, broker killed and started", said(back), f"{rss_mb(one) - idle:.1f} MB more")
        one.stop()

    ca = authority(folder / "ca", "demo/seoul/gw-1")
    with_tls = Production(folder / "tls", ca)
    with_tls.start()
    context = _tls(ca, "demo_seoul_gw-1")

    def connect_tls(i: int) -> Awaitable[Raw]:
        return Raw.connect(with_tls.port, f"gw-{i}", tls=context)

    watched = process(with_tls)
    cpu = sum(watched.cpu_times()[:2])
    memory = watched.memory_info().rss
    held = await asyncio.gather(*(connect_tls(i) for i in range(300)))
    spent = sum(watched.cpu_times()[:2]) - cpu
    grown = (watched.memory_info().rss - memory) / 300 / 1024
    for link in held:
        await link.close()
    row(
        "300 TLS connections with certificates", f"{spent / 300 * 1000:.2f} ms broker CPU each", f"{grown:.0f} KiB each"
    )

    def again_tls() -> None:
        with_tls.stop()
        with_tls.start()

    row("300 TLS clients, broker restarted", said(await storm(connect_tls, again_tls, 300)))
    with_tls.stop()
    return rows


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    print(show(run()))
