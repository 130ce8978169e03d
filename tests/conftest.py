"""Guards for every test: nothing left running, every seed printed, logs of our own servers kept out of the way."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.postgresql import postgresql  # noqa: F401 - the server, as a fixture everywhere
from tests.servers import Broker, mosquitto

# No deadline and no health check of speed: machines are noisy, and a slow one must not fail a right program.
hypothesis.settings.register_profile(
    "triflow",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("triflow")


LONGEST = (
    "tests/scenarios",
    "tests/campaign",
    "tests/demo",
    "tests/cloud/test_workers.py",
    "tests/cloud/etl/test_process.py",
    "tests/edge/acting",
    "tests/edge/store",
    "tests/cloud/dashboard",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it at the end."""
    items.sort(
        key=lambda item: next((i for i, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))
    )


class AtOnce:
    """Names a test when it fails: the run goes on for long, and says why only at its end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = report.longreprtext.strip() if crash is None else crash.message
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}): {why.partition(chr(10))[0][:200]}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(terminal), "at-once")


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seed `random` per test and say the seed when the test fails; TRIFLOW_SEED repeats it."""
    number = int(os.environ.get("TRIFLOW_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    random.seed(number)
    request.node.add_report_section("setup", "seed", f"TRIFLOW_SEED={number}")
    return number


@pytest.fixture(autouse=True)
async def nothing_left_running() -> AsyncIterator[None]:
    """Fail a test that leaves a task, a thread of ours or an open file descriptor behind."""
    before_tasks = asyncio.all_tasks()
    before_threads = set(threading.enumerate())
    yield
    for _ in range(50):  # what was cancelled may need a few turns to end
        left = [t for t in asyncio.all_tasks() - before_tasks - {asyncio.current_task()} if not t.done()]
        threads = [t for t in set(threading.enumerate()) - before_threads if t.is_alive() and not _pool(t)]
        if not left and not threads:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"left running: tasks {[t.get_name() for t in left]}, threads {[t.name for t in threads]}")


def _pool(thread: threading.Thread) -> bool:
    """Tell whether a thread belongs to the default executor or a library's pool, which live with the process."""
    return thread.name.startswith(("asyncio_", "ThreadPoolExecutor", "AnyIO", "pytest", "tokio"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real mosquitto on a free port of loopback, MQTT 5, TCP_NODELAY on; `stop`, `kill` and `start` it at will."""
    with mosquitto(tmp_path / "broker") as running:
        yield running
