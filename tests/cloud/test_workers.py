"""Several ingest processes on real PostgreSQL and a real broker; two of them wrongly hear the same gateways."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from pathlib import Path

import msgspec
import pytest

from cloud.commands.verify import verify
from cloud.config import load
from cloud.database import open_database
from cloud.ingest.shard import Shard
from sync.frames import Challenge, Hello, Receipt, Stale, Welcome, open_down
from sync.topics import Address
from sync.transport import NobodyListensError
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import KEY, S, Start, produced
from tests.cloud.peer import Peer, peer
from tests.servers import Broker, process, wait_until

NOW = 1_790_000_000 * S
HALL = [Address("demo", "seoul", f"gw-{i}") for i in range(1, 7)]


async def deliver(gateway: Peer, start: Start, until: int) -> None:
    """Send an incarnation's chunks as a gateway does: from the watermark, hello again when nobody answers."""
    stored = 0
    while stored < until:
        with contextlib.suppress(TimeoutError):
            stored = await _session(gateway, start, until)


async def _session(gateway: Peer, start: Start, until: int) -> int:
    with contextlib.suppress(NobodyListensError):
        await gateway.say("ctl", Hello(session="ab" * 8, inc=start.inc, software="test"))
    nonce = ""
    while True:
        async with asyncio.timeout(1.5):
            frame = open_down((await anext(gateway._arriving)).payload, KEY)
        match frame:
            case Challenge() if not nonce:
                nonce = frame.nonce
                await gateway.say("ctl", start.resume(nonce=nonce))
            case Stale() if frame.nonce == nonce:
                return 0
            case Welcome() | Receipt() if frame.nonce == nonce:
                stored = max((mark.stored for mark in frame.watermarks), default=0)
                if stored >= until:
                    return stored
                for batch, body in start.chunks:
                    if stored < batch.first <= min(stored + 30, until):
                        await gateway.say("b/2", msgspec.structs.replace(batch, nonce=nonce), body)
            case _:
                pass


@pytest.mark.timeout(150)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_every_record_is_stored_once_whoever_hears_it(tmp_path: Path, database_url: str, broker: Broker) -> None:
    enrolled = "\n".join(
        f'[[gateway]]\ntenant = "demo"\nsite = "seoul"\nid = "{a.gateway}"\nkey = {{credential = "gw-1.key"}}'
        for a in HALL[2:]
    )
    more = f'{enrolled}\n[broker]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false'
    path = write_cloud_toml(tmp_path, database_url, more)
    starts = [Start(address=address) for address in HALL]
    moments = itertools.count(NOW)  # the same pieces of the same time would count once
    for start in starts:
        for _ in range(40):
            start.facts(*(produced(at, at + S, 2, 1) for at in itertools.islice(moments, 5)))
    assert {Shard(1, 2).has(address) for address in HALL} == {True, False}

    def workers(stack: contextlib.ExitStack, *parts: str):
        logs = [tmp_path / f"{len(list(tmp_path.glob('*.log')))}-{i}.log" for i in range(len(parts))]
        children = [
            stack.enter_context(process("triflow", "cloud", "ingest", str(path), "--shard", part, log=log))
            for part, log in zip(parts, logs, strict=True)
        ]
        for log in logs:
            wait_until(lambda log=log: b"broker connected" in log.read_bytes(), f"{log} tells of a broker", 40)
        return children

    with contextlib.ExitStack() as stack:
        async with contextlib.AsyncExitStack() as links:
            peers = [await links.enter_async_context(peer(broker.port, start.address)) for start in starts]
            first, second, _twin = workers(stack, "1/2", "2/2", "1/2")
            await asyncio.gather(*(deliver(p, s, 100) for p, s in zip(peers, starts, strict=True)))
            going = asyncio.gather(*(deliver(p, s, 200) for p, s in zip(peers, starts, strict=True)))
            for child in (first, second):
                child.send_signal(signal.SIGKILL)
            workers(stack, "1/1")  # takes over, beside the twin that still hears half of them
            await going
    async with open_database(load(path).database_url) as database:
        found = await database.read(
            lambda c: c.execute("select count(*), count(distinct (inc, stream, seq)), sum(produced) from production")
        )
    assert found == [(1_200, 1_200, 2_400)]
    report = verify(load(path))
    assert (report.faults, report.rows, report.lost) == ([], 1_200, 0)
