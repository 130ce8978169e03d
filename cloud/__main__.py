"""`triflow cloud run|check|migrate cloud.toml`: puts the cloud together and runs it until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from cloud.config import Settings, load
from sync.logs import log_to_stderr
from sync.settings import ConfigError

log = logging.getLogger("cloud")

EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69


def main(argv: list[str]) -> int:
    """Run one command; gives the exit status (78: configuration, 69: database or port)."""
    parser = argparse.ArgumentParser(prog="triflow cloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("run", "receive, compute, serve"),
        ("check", "check the file and say every fault"),
        ("migrate", "bring the database's schema up to date"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("file", type=Path, help="cloud.toml")
    asked = parser.parse_args(argv)
    try:
        settings = load(asked.file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if asked.command == "check":
        print(f"{asked.file}: {len(settings.file.gateways)} gateways, {len(settings.file.sites)} sites, no faults")
        return 0
    log_to_stderr(
        "triflow-cloud", settings.file.log.format, settings.file.log.level, journal="JOURNAL_STREAM" in os.environ
    )
    logging.getLogger("alembic").setLevel("WARNING")  # it introduces every plugin of its own at every start
    from cloud.database import DatabaseError, migrate

    faults: list[str] = []
    try:
        if asked.command == "migrate":
            migrate(settings.database_url)
            print("the schema is up to date")
        else:
            _run(settings)
    except* DatabaseError as errors:
        faults += [f"database: {error}" for error in errors.exceptions]
    except* OSError as errors:
        faults += [str(error) for error in errors.exceptions]
    for fault in faults:
        log.error("%s", fault)
    return EXIT_UNAVAILABLE if faults else 0


def _run(settings: Settings) -> None:
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ModuleNotFoundError:  # Windows
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(settings))


def _server(config: Any) -> Any:
    """Give a uvicorn server that leaves the signals to us: ingest must end in order too."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(config)


async def serve(settings: Settings) -> None:
    """Run everything until SIGTERM or SIGINT."""
    import uvicorn
    from prometheus_client import CollectorRegistry

    from cloud.api.answers import Answers
    from cloud.api.pulse import run_pulse
    from cloud.app import create_app
    from cloud.bus import Bus
    from cloud.dashboard import charts
    from cloud.database import open_database
    from cloud.ingest.flow import Flow
    from cloud.ingest.metrics import Metrics
    from cloud.marts.refresh import run_refresher
    from cloud.plant import Plants
    from sync.topics import EVERYTHING_UP

    listening = _listen(settings.file.http.host, settings.file.http.port)
    registry, plants, bus = CollectorRegistry(), Plants(settings), Bus()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_database(settings.database_url) as database, asyncio.TaskGroup() as tasks:
        answers = Answers(database, plants, bus)
        forever = [
            tasks.create_task(run_refresher(database, plants, bus), name="marts"),
            tasks.create_task(run_pulse(answers), name="pulse"),
            tasks.create_task(asyncio.to_thread(charts.warm), name="charts"),
        ]
        broker = settings.file.broker
        if broker is not None:
            from sync.mqtt import Mqtt

            flow = Flow(database, plants, bus, Metrics(registry))
            answers.broker = lambda: flow.broker

            def connect() -> Mqtt:
                return Mqtt(
                    broker.host,
                    broker.port,
                    client_id=f"triflow-cloud-{os.urandom(4).hex()}",
                    subscriptions=[EVERYTHING_UP],
                    username=broker.username,
                    password=settings.broker_password,
                    ca=settings.broker_ca,
                    certificate=settings.broker_certificate,
                    tls=broker.tls,
                )

            forever.append(tasks.create_task(flow.run(connect), name="ingest"))
        server = _server(
            uvicorn.Config(
                create_app(answers, registry),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                lifespan="off",
            )
        )
        serving = tasks.create_task(server.serve([listening]), name="http")
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
