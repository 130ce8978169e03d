"""The cloud while it runs: what is put together, and how it ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Final

from cloud.config import Settings
from cloud.database import Database, open_database
from cloud.ingest.chores import run_chores
from cloud.ingest.flow import Flow
from cloud.ingest.shard import Shard
from cloud.plant import Plants
from cloud.running import alone, file_of
from sync.mqtt import Mqtt

log = logging.getLogger("cloud")

PAGES_REST_S: Final = 0.05
"""Between two pages that are compiled before anybody asks for them: each takes 10 ms, and readers wait meanwhile."""


async def serve(settings: Settings, *, ingest: bool = True) -> None:
    """Run everything until SIGTERM or SIGINT; without ingest only pages, API and marts."""
    import uvicorn
    from prometheus_client import CollectorRegistry

    from cloud.alerting.telling import run_telling
    from cloud.alerting.watching import run_watching
    from cloud.api.answers import Answers
    from cloud.api.pulse import run_pulse
    from cloud.app import create_app
    from cloud.bus import Bus
    from cloud.dashboard import render
    from cloud.drawing import charts
    from cloud.etl.auditor import run_auditor
    from cloud.etl.worker import run_worker
    from cloud.lasting import Lasting
    from cloud.marts.refresh import run_refresher
    from cloud.outgoing.sending import run_sending
    from cloud.reports.making import run_reports

    listening = _listen(settings.file.http.host, settings.file.http.port)
    registry, plants, bus = CollectorRegistry(), Plants(settings), Bus()
    stop = _stop()
    async with _database(settings) as database, asyncio.TaskGroup() as tasks:
        answers = Answers(database, plants, bus)
        lasting = Lasting(registry)
        behind: dict[str, Callable[[], Awaitable[None]]] = {
            "marts": lambda: run_refresher(database, plants, bus),
            "jobs": lambda: run_worker(database, plants, bus),
            "auditor": lambda: run_auditor(answers.etl.auditor, bus),
            "pulse": lambda: run_pulse(answers),
            "watching": lambda: run_watching(database, plants, bus),
            "telling": lambda: run_telling(database, plants),
            "reports": lambda: run_reports(database, plants),
            "sending": lambda: run_sending(database, settings),
            "chores": lambda: run_chores(database, file_of(settings), plants),
        }
        forever = [tasks.create_task(lasting.keep(name, work), name=name) for name, work in behind.items()]
        if ingest and settings.file.broker is not None:
            flow = _flow(settings, database, plants, bus, registry)
            answers.broker = lambda: flow.broker
            forever.append(tasks.create_task(flow.run(_connect(settings, plants, Shard())), name="ingest"))
        app = create_app(answers, registry)
        gc.freeze()  # what was imported stays for good: no collection has to walk it again
        server = _server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                lifespan="off",
            )
        )
        serving = tasks.create_task(server.serve([listening]), name="http")

        async def warm() -> None:
            """Make what takes a moment the first time, off the loop, once people are served; they come first."""
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.05)
            await asyncio.to_thread(charts.warm)
            for page in render.pages():
                await asyncio.to_thread(render.compiled, page)
                await asyncio.sleep(PAGES_REST_S)

        forever.append(tasks.create_task(lasting.keep("warming", warm), name="warming"))
        log.info("serving on http://%s:%d", *listening.getsockname()[:2])
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        stopping.cancel()
        bus.closing.set()
        server.should_exit = True
        await serving
        for task in forever:
            task.cancel()


async def serve_ingest(settings: Settings, part: Shard, metrics_port: int | None) -> None:
    """Receive and store the gateways of one shard until SIGTERM or SIGINT; nothing is served but gauges, if asked for."""
    from prometheus_client import CollectorRegistry, start_http_server

    from cloud.bus import Bus
    from cloud.lasting import Lasting

    registry, plants = CollectorRegistry(), Plants(settings)
    stop = _stop()
    async with _database(settings) as database, asyncio.TaskGroup() as tasks:
        flow = _flow(settings, database, plants, Bus(), registry)
        forever = [
            tasks.create_task(flow.run(_connect(settings, plants, part)), name="ingest"),
            tasks.create_task(
                Lasting(registry).keep("chores", lambda: run_chores(database, file_of(settings), plants)), name="chores"
            ),
        ]
        if metrics_port is not None:
            start_http_server(metrics_port, "127.0.0.1", registry)
        mine = sum(part.has(address) for address in plants.keys)
        log.info("ingest of shard %s: %d of %d gateways", part, mine, len(plants.keys))
        await stop.wait()
        log.info("stopping")
        for task in forever:
            task.cancel()


def _stop() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@contextlib.asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    """Open the database, alone on it where it is a file."""
    with alone(settings):
        async with open_database(settings.database_url) as database:
            yield database


def _flow(settings: Settings, database: Database, plants: Plants, bus: Any, registry: Any) -> Flow:
    from cloud.ingest.metrics import Metrics
    from cloud.ingest.witness import load_key
    from sync.signing import Signer

    key, said = load_key(settings)
    if said:
        log.warning("%s", said)
    return Flow(database, plants, bus, Metrics(registry), Signer(key))


def _connect(settings: Settings, plants: Plants, part: Shard) -> Callable[[], Mqtt]:
    broker = settings.file.broker
    if broker is None:
        raise OSError("there is no [broker] in cloud.toml; without one nothing is received")

    def connect() -> Mqtt:
        return Mqtt(
            broker.host,
            broker.port,
            client_id=f"triflow-cloud-{os.urandom(4).hex()}",
            subscriptions=part.subscriptions(plants.keys),
            username=broker.username,
            password=settings.broker_password,
            ca=settings.broker_ca,
            certificate=settings.broker_certificate,
            tls=broker.tls,
        )

    return connect


def _server(config: Any) -> Any:
    """Give a uvicorn server that leaves the signals to us: ingest must end in order too."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(config)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else happens, so that a second start fails at once and says why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(
            f"cannot listen on {host}:{port} ({error.strerror}); is another cloud running? see [http] in cloud.toml"
        ) from error
    return listening
