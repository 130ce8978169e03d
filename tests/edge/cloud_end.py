"""The real cloud end and the real uplink, for the tests of the uplink."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from cloud.bus import Bus
from cloud.config import load
from cloud.database import Database, open_database
from cloud.ingest.flow import Flow
from cloud.ingest.metrics import Metrics
from cloud.plant import Plants
from edge.store import Store
from edge.uplink import UplinkState, UplinkVitals, run_uplink
from sync.clock import WallClock
from sync.mqtt import Mqtt
from sync.signing import Signer
from sync.topics import EVERYTHING_UP, Address
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import KEY
from tests.edge.stores import until

ADDRESS = Address("demo", "seoul", "gw-1")


class Cloud:
    """The real ingest on SQLite in a folder; `run` it, leave it, run it again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database_file = folder / "cloud.db"
        self._toml = write_cloud_toml(folder, f"sqlite:///{self.database_file}")
        self.database: Database

    @contextlib.asynccontextmanager
    async def running(self, host: str, port: int, *, signer: Signer | None = None) -> AsyncIterator[Cloud]:
        plants = Plants(load(self._toml))
        async with open_database(plants.settings.database_url) as self.database:
            flow = Flow(self.database, plants, Bus(), Metrics(CollectorRegistry()), signer)

            def connect() -> Mqtt:
                return Mqtt(host, port, client_id="ingest", subscriptions=[EVERYTHING_UP])

            task = asyncio.create_task(flow.run(connect), name="cloud")
            try:
                await until(lambda: flow.broker == "connected", "the cloud is at its broker")
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def query(self, sql: str) -> list[tuple]:
        return [tuple(row) for row in await self.database.read(lambda connection: connection.execute(sql))]

    async def records(self) -> int:
        (facts,) = (await self.query("select count(*) from fact"))[0]
        (readings,) = (await self.query("select count(*) from reading"))[0]
        return facts + readings

    async def values(self) -> list[float]:
        return [value for (value,) in await self.query("select value from reading order by inc, seq")]


@contextlib.asynccontextmanager
async def uplink(store: Store, host: str, port: int, *, key: bytes = KEY, **more: Any) -> AsyncIterator[UplinkState]:
    """Run the uplink of a store until the block ends; `more` goes to `run_uplink`."""
    seen = UplinkState()

    def connect() -> Mqtt:
        subscriptions = [ADDRESS.down("ctl"), ADDRESS.down("ack")]
        return Mqtt(host, port, client_id=f"gw-1.{store.incarnation[:8]}", subscriptions=subscriptions)

    def vitals() -> UplinkVitals:
        return UplinkVitals(disk_free_bytes=1, data_at=None, sources={})

    task = asyncio.create_task(
        run_uplink(store, connect, ADDRESS, key, WallClock(), vitals, state=seen, heartbeat_s=0.3, **more),
        name="uplink",
    )
    try:
        yield seen
    finally:
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(end, Exception):
            raise end
