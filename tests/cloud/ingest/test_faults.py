"""The database hangs, is cut at the worst moment, is locked or full: waiting is all it costs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import cloud.database
from cloud.bus import Bus
from cloud.commands.verify import verify
from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.ingest.flow import Flow
from cloud.ingest.metrics import Metrics
from cloud.plant import Plants
from sync.frames import Receipt
from sync.mqtt import Mqtt
from sync.topics import EVERYTHING_UP
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import S, Start, produced, state
from tests.cloud.peer import Peer, peer
from tests.link import Link
from tests.servers import Broker, free_port, process, wait_until

NOW = 1_790_000_000 * S
only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextlib.asynccontextmanager
async def ingest(database: Database, settings: Settings, broker: Broker) -> AsyncIterator[Flow]:
    flow = Flow(database, Plants(settings), Bus(), Metrics(CollectorRegistry()))
    running = asyncio.create_task(
        flow.run(lambda: Mqtt("127.0.0.1", broker.port, client_id="cloud", subscriptions=[EVERYTHING_UP]))
    )
    try:
        yield flow
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def flow(database: Database, settings: Settings, broker: Broker) -> AsyncIterator[Flow]:
    async with ingest(database, settings, broker) as running:
        yield running


async def until_stored(gateway: Peer, seq: int) -> None:
    while (await gateway.receipt()).watermarks[0].stored < seq:
        pass


async def windows(gateway: Peer, wanted: int) -> None:
    """Return when the cloud has told this window: 0 stops the flow, more starts it again."""
    while True:
        receipt = await gateway.hear(Receipt)
        if receipt.window == 0 if wanted == 0 else receipt.window:
            return


async def count(database: Database, table: str = "fact") -> int:
    return (await database.read(lambda c: c.execute(f"select count(*) from {table}")))[0][0]


async def trouble(database: Database, times: int, what: str) -> None:
    """Let PostgreSQL itself do `what` the first times that a chunk is inserted; a sequence counts, no rollback undoes it."""
    body = f"begin if nextval('trouble') <= {times} then {what}; end if; return new; end"
    for sql in (
        "create sequence trouble",
        f"create function trouble() returns trigger language plpgsql as $$ {body} $$",
        "create trigger trouble before insert on ingest_chunk for each row execute function trouble()",
    ):
        await database.write(lambda c, sql=sql: c.execute(sql))


@only_postgresql
async def test_a_server_that_hangs_is_left_and_found_again(database: Database, flow: Flow, broker: Broker) -> None:
    start = Start()
    database._patience_s = 1.0
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await until_stored(gateway, 1)
        ((pid,),) = await database.write(lambda c: c.execute("select pg_backend_pid()"))
        os.kill(pid, signal.SIGSTOP)
        try:
            await gateway.send(start.facts(state(NOW, "EXECUTE")))  # once: the cloud keeps it meanwhile
            await windows(gateway, 0)
            await until_stored(gateway, 2)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert await count(database) == 2


class Cutter(Link):
    """Cuts the link at COMMIT: after the server has it and before its answer is heard, or before it ever hears it."""

    def __init__(self, to: int, *, deliver: bool) -> None:
        super().__init__(to)
        self.deliver, self.armed, self.cuts = deliver, False, 0

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", self._to)
        tasks = [asyncio.create_task(self._up(reader, there, writer)), asyncio.create_task(self._down(back, writer))]
        await asyncio.gather(*tasks, return_exceptions=True)
        for end in (there, writer):
            end.transport.abort()

    async def _up(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65_536):
            if self.armed and b"commit\x00" in data:
                self.armed, self.cuts = False, self.cuts + 1
                if self.deliver:
                    answers.transport.abort()
                    sink.write(data)
                    await sink.drain()
                    await asyncio.sleep(0.3)  # the server works on it; nobody will hear what came of it
                sink.transport.abort()
                answers.transport.abort()
                return
            sink.write(data)
            await sink.drain()
        sink.transport.abort()

    async def _down(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
        sink.transport.abort()


@only_postgresql
@pytest.mark.parametrize("deliver", [True, False])
async def test_a_commit_of_unknown_outcome_is_stored_once(
    database_url: str, tmp_path: Path, broker: Broker, deliver: bool
) -> None:
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    link = Cutter(port, deliver=deliver)
    await link.mend()
    folder = tmp_path / "through"
    folder.mkdir()
    settings = load(write_cloud_toml(folder, database_url.replace(f":{port}/", f":{link.port}/")))
    start = Start()
    async with open_database(settings.database_url) as database, ingest(database, settings, broker):
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            for round_ in range(1, 4):
                link.armed = True
                await gateway.send(start.facts(produced(NOW, NOW + S, 10, 9)))
                await until_stored(gateway, round_)
        assert link.cuts == 3
        assert await count(database) == 3
        assert await database.read(lambda c: c.execute("select rows from ingest_stream")) == [(3,)]
    await link.cut()


@only_postgresql
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_in_the_way_of_another_is_tried_again(
    database: Database, flow: Flow, broker: Broker, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    await trouble(database, 3, f"raise exception using errcode='{code}'")
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await gateway.send(start.facts(state(NOW, "EXECUTE")))
        await until_stored(gateway, 1)
    assert await count(database) == 1
    assert not [one for one in caplog.records if "cannot store" in one.getMessage()]


@only_postgresql
async def test_what_takes_too_long_at_once_is_stored_in_parts(
    settings: Settings, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.database, "STATEMENT_S", 1)
    start = Start()
    async with open_database(settings.database_url) as database, ingest(database, settings, broker):
        await trouble(database, 2, "perform pg_sleep(20)")
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            for i in range(8):
                await gateway.send(start.facts(state(NOW + i, "EXECUTE")))
            await until_stored(gateway, 8)
        assert await count(database) == 8


@only_sqlite
async def test_a_database_that_another_process_holds_is_waited_for(
    settings: Settings,
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cloud.database, "BUSY_MS", 100)
    start = Start()
    async with open_database(settings.database_url) as database, ingest(database, settings, broker):
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            with _holder(tmp_path / "cloud.db"):
                await gateway.send(start.facts(state(NOW, "EXECUTE")))
                await windows(gateway, 0)
            await windows(gateway, 16)
            await gateway.send(start.facts(state(NOW, "EXECUTE")))
            await until_stored(gateway, 2)
        assert await count(database) == 2
    said = [one.getMessage() for one in caplog.records if "cannot store" in one.getMessage()]
    assert len(said) == 1
    assert "another process holds the database" in said[0]


@contextlib.contextmanager
def _holder(path: Path) -> Iterator[None]:
    """Hold a database's write lock from another process."""
    code = (
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('begin immediate');"
        " print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield
    finally:
        child.communicate()


@only_sqlite
async def test_a_full_database_says_so_and_stores_again_when_there_is_room(
    database: Database, flow: Flow, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        await database.write(lambda c: c.execute("pragma max_page_count=1"))  # no page more than there are; SQLITE_FULL
        for _ in range(40):
            await gateway.send(
                start.facts(*(state(NOW + i, "EXECUTE", "because of something" * 20) for i in range(50)))
            )
        await until_stored(gateway, 2_000)
    said = [one.getMessage() for one in caplog.records if "cannot store" in one.getMessage()]
    assert any("free space there" in text for text in said)
    assert await count(database) == 2_000


async def test_a_cloud_at_its_file_size_limit_recovers_alone(
    tmp_path: Path, broker: Broker, sqlite_template: Path
) -> None:
    """EFBIG takes another way through SQLite than ENOSPC: it is an I/O error. The limit is the kernel's, on the process."""
    port = free_port()
    more = f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false'
    path, log = write_cloud_toml(tmp_path, "sqlite:///cloud.db", more, port), tmp_path / "cloud.log"
    start = Start()
    with process("triflow", "cloud", "run", str(path), log=log) as child:
        wait_until(lambda: b"broker connected" in log.read_bytes(), "it runs")
        async with peer(broker.port) as gateway:
            await gateway.resume(start)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
            for _ in range(4):
                await gateway.send(start.facts(*(state(NOW + i, "EXECUTE") for i in range(50))))
            await windows(gateway, 0)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await until_stored(gateway, 200)
    assert verify(load(path)).faults == []
    assert "free space there" in log.read_text()


async def test_a_chunk_that_nobody_can_process_is_set_aside_and_others_go_on(
    database: Database, flow: Flow, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours, provoked by one body: the gateway would send it again for ever."""
    from cloud.ingest.project import Projection

    honest = Projection.add

    def add(self, key, tenant, site, gateway, fact) -> None:
        if getattr(fact, "reason", None) == "poison":
            raise KeyError("poison")
        honest(self, key, tenant, site, gateway, fact)

    monkeypatch.setattr(Projection, "add", add)
    caplog.set_level(logging.CRITICAL)
    start = Start()
    async with peer(broker.port) as gateway:
        await gateway.resume(start)
        for reason in ("jam", "poison", "jam"):
            await gateway.send(start.facts(state(NOW, "HELD", reason)))
        await until_stored(gateway, 3)
    assert await count(database) == 2
    ((why,),) = await database.read(lambda c: c.execute("select why from dead_letter"))
    assert "KeyError" in why


async def test_a_gateway_at_full_speed_harms_no_other(
    database: Database, settings: Settings, flow: Flow, broker: Broker
) -> None:
    from sync.topics import Address

    greedy, modest = Start(), Start(address=Address("demo", "seoul", "gw-2"))
    async with peer(broker.port) as loud, peer(broker.port, modest.address) as quiet:
        await loud.resume(greedy)
        await quiet.resume(modest)
        chunk = greedy.facts(*(state(NOW + i, "EXECUTE") for i in range(500)))
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                await asyncio.gather(*(loud.send(chunk) for _ in range(20)))

        flooding = asyncio.create_task(flood())
        for seq in range(1, 6):
            await quiet.send(modest.facts(state(NOW + seq, "EXECUTE")))
            await until_stored(quiet, seq)
        stop.set()
        await flooding
    assert await count(database) == 505


def test_sqlite_has_what_we_use() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35), "update … returning"
