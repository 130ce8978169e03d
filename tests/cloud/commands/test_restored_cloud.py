"""A restored cloud and the gateways that had gone on: with the real store, the real uplink, and the real commands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from cloud.bus import Bus
from cloud.commands.backup import backup
from cloud.commands.restore import restore
from cloud.commands.verify import verify
from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.ingest.flow import Flow
from cloud.ingest.metrics import Metrics
from cloud.plant import Plants
from sync.mqtt import Mqtt
from sync.signing import Signer, make_key
from sync.topics import EVERYTHING_UP
from tests.edge.cloud_end import uplink
from tests.edge.stores import batch, dictionary, state, store_in, until
from tests.servers import Broker


@contextlib.asynccontextmanager
async def cloud(settings: Settings, broker: Broker) -> AsyncIterator[Database]:
    async with open_database(settings.database_url) as database:
        flow = Flow(database, Plants(settings), Bus(), Metrics(CollectorRegistry()), Signer(bytes(range(32))))
        running = asyncio.create_task(
            flow.run(lambda: Mqtt("127.0.0.1", broker.port, client_id="cloud", subscriptions=[EVERYTHING_UP]))
        )
        try:
            yield database
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _made(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".json"]


def _with(cloud_toml: Path, mode: str) -> Settings:
    cloud_toml.write_text(cloud_toml.read_text().replace('safe = "stored"', f'safe = "{mode}"'))
    return load(cloud_toml)


async def back(settings: Settings, folder: Path) -> None:
    """Put the newest backup in the place of the database, as a person does."""
    (path,) = _made(folder)
    if settings.database_url.startswith("postgresql"):
        url = settings.database_url.replace("postgresql+psycopg", "postgresql")
        server, _, name = url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(f'drop database "{name}" with (force)')
            admin.execute(f'create database "{name}" template template0')
    await asyncio.to_thread(restore, settings, path)


async def rows(database: Database) -> tuple[int, list[tuple]]:
    def look(c) -> tuple[int, list[tuple]]:
        here = c.execute("select (select count(*) from fact) + (select count(*) from reading)")[0][0]
        return here, c.execute("select reason, sum(last-first+1) from loss group by reason")

    return await database.read(look)


@pytest.mark.parametrize("mode", ["backup", "stored"])
async def test_what_came_after_the_backup_is_sent_again_or_declared(
    cloud_toml: Path, broker: Broker, tmp_path: Path, mode: str
) -> None:
    settings, folder = _with(cloud_toml, mode), tmp_path / "backups"
    signer = Signer(make_key())
    async with store_in(tmp_path / "edge") as store, uplink(store, "127.0.0.1", broker.port, signer=signer) as seen:
        await store.commit(dictionary=dictionary(), readings=[batch(2_000)], facts=[state(1)])
        async with cloud(settings, broker) as database:
            await until(lambda: store.counts().waiting == 0, "all confirmed")
            await asyncio.to_thread(backup, settings, folder, 3)
            await store.commit(readings=[batch(2_000, start=2_000)], facts=[state(2)])
            await until(lambda: store.counts().waiting == 0, "the rest confirmed, too")
            assert (await rows(database))[0] == store.counts().produced
        await until(lambda: seen.state != "streaming", "the gateway notices", 20)
        produced = store.counts().produced
        await back(settings, folder)
        async with cloud(settings, broker) as database:
            await until(lambda: seen.state == "streaming", "the session stands")

            async def account() -> tuple[int, list[tuple]]:
                here, lost = await rows(database)
                async with asyncio.timeout(30):
                    while here + sum(count for _, count in lost) < produced:
                        await asyncio.sleep(0.05)
                        here, lost = await rows(database)
                return here, lost

            here, lost = await account()
            if mode == "backup":
                assert (here, lost) == (produced, [])
            else:  # it was told that committed is enough: what it has forgotten it declares
                assert here + sum(count for _, count in lost) == produced
                assert [reason for reason, _ in lost] == ["retention"]
    assert verify(settings).faults == []
