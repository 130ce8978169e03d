"""A real server over a seeded plant, on either database."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from cloud.api.answers import Answers
from cloud.app import create_app
from cloud.bus import Bus
from cloud.config import Settings, load
from cloud.database import open_database
from cloud.plant import Plants
from cloud.seed import example, send
from sync.clock import WallClock
from tests.servers import free_port, listens, wait_until

DAYS = 3


@dataclass
class Served:
    """Where it listens, and what it serves."""

    url: str
    settings: Settings


@pytest.fixture
def served(tmp_path, database_url) -> Iterator[Served]:
    """Give a running cloud whose plant has lived through the last three days."""
    settings = load(example.write(tmp_path / "plant"))
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    settings = dataclasses.replace(settings, database_url=url)
    port, loop, ended = free_port(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        plants, clock = Plants(settings), WallClock()
        site = settings.file.sites[0]
        today = plants[site.tenant, site.id].calendar.local(clock.now() // 1_000_000).date()
        async with open_database(url) as database:
            first = today - timedelta(days=DAYS - 1)
            await send.tell(database, plants, site, seed=1, first=first, last=today, clock=clock)
            await send.compute(database, plants, clock.now() // 1_000_000)
            app = create_app(Answers(database, plants, Bus()), CollectorRegistry())
            server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
            server.install_signal_handlers = lambda: None
            serving = asyncio.create_task(server.serve())
            await ended.wait()
            server.should_exit = True
            await serving

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    wait_until(lambda: listens(port) or not thread.is_alive(), "the cloud listens", 60)
    yield Served(f"http://127.0.0.1:{port}", settings)
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)
    loop.close()
