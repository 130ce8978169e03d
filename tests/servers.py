"""Real servers on loopback for the tests: free ports, mosquitto, processes of our own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Give a TCP port of loopback that nobody listens on now, each once in a process.

    It lies below those that the kernel gives to outgoing connections (from 32768 on Linux): a client of another test
    would take it before our server does. Every worker of a run draws from ports of its own: while a test holds its
    server down, nobody else may sit down on its port.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = 17_000 // workers
    if len(_given) > share * 3 // 4:
        _given.clear()  # a very long run: those of its beginning are free again
    while True:
        port = secrets.randbelow(share) + 15_000 + worker * share
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


_given: set[int] = set()


def wait_until(true: Callable[[], object], what: str | Callable[[], str], seconds: float = 20.0) -> None:
    """Return as soon as `true()` is; fail the test with `what` after so many seconds. For processes we cannot await.

    what: given as a function it is asked at the end, when there is more to say.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """A mosquitto process that a test can stop, kill -9 and start again on the same port."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = "127.0.0.1"
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
            f"max_queued_messages 1000\nlog_dest file {folder / 'mosquitto.log'}\n{extra}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        if not Path(program).exists():
            raise AssertionError("mosquitto is not installed; `bash tests/install_parts.sh` installs it")
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_until(lambda: listens(self.port), f"mosquitto listens on {self.port}")
        if self._process.poll() is not None:
            raise AssertionError(f"mosquitto ended with {self._process.returncode}: who else listens on {self.port}?")

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


@contextlib.contextmanager
def mosquitto(folder: Path, extra: str = "") -> Iterator[Broker]:
    """Run a broker until the block ends."""
    broker = Broker(folder, extra)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def process(*arguments: str, log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m …` of this project until the block ends; its output goes to `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=env
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)


NODE = ROOT / "tests" / "node"


@contextlib.contextmanager
def node(script: str, *arguments: str, log: Path, ready: Callable[[], object]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of another make (`tests/node/<script>`) until the block ends; `ready` tells when it answers."""
    if not (NODE / "node_modules" / ".installed").exists():
        raise AssertionError("the Node servers are not installed; `bash tests/install_parts.sh` installs them")
    with log.open("ab") as out:
        process = subprocess.Popen(["node", script, *arguments], cwd=NODE, stdout=out, stderr=out)
    try:
        wait_until(lambda: process.poll() is not None or ready(), f"{script} is ready (its log: {log})", 40)
        if process.poll() is not None:
            raise AssertionError(f"{script} ended at once: {log.read_text()[-2000:]}")
        yield process
    finally:
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        process.kill()
        process.wait(10)
