"""A test stand for the benches: broker, machine, gateway and cloud as processes, in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.servers import ROOT, free_port, listens, mosquitto, wait_until

WORK_UNIT = "bench/line-1/machine"

RULES = """
[ruleset]
name = "bench"
version = "1.0.0"
title = { ko = "벤치", en = "Bench" }
policy = "rule_only"
"""


@contextlib.contextmanager
def machine(*arguments: str) -> Iterator[int]:
    """Run `python -m arguments…` until the block ends; gives its port, which stands where `{port}` is written."""
    port = free_port()
    words = [word.format(port=port) for word in arguments]
    server = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: listens(port) or server.poll() is not None, f"{arguments[0]} listens", 60)
        if server.poll() is not None:
            raise RuntimeError(f"{' '.join(words)} ended at once")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


class Stand:
    """Processes of one bench; `start` them by name."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self.folder, self.broker_port = folder, broker_port
        self.machine, self.edge, self.cloud = free_port(), free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "credentials").mkdir()
        (folder / "credentials" / "gw.key").write_text(secrets.token_hex(32))

    def configure(
        self,
        *,
        source: str,
        tags: str,
        rules: int = 50,
        window_s: float = 1.0,
        uplink: bool = True,
        database: str = "sqlite:///cloud.db",
    ) -> None:
        """Write book, rules, site and cloud files; `source` is the body of the connection, `tags` of the book."""
        (self.folder / "book.toml").write_text(f'title = "bench"\n{tags}')
        limits = "".join(
            f'[[rule]]\nname = "r{i}"\ntitle = {{ ko = "r{i}", en = "r{i}" }}\nseverity = "warning"\nalarm = false\n'
            f'when = "t{i}.mean > 1000000.0 && t{i}.last < 5.0 || t{i}.max - t{i}.min > 1000000.0"\n'
            for i in range(rules)
        )
        (self.folder / "rules.toml").write_text(RULES + limits)
        link = (
            f'[uplink]\nhost = "127.0.0.1"\nport = {self.broker_port}\ntls = false\nkey = {{ credential = "gw.key" }}\n'
            "heartbeat_s = 1\n"
        )
        (self.folder / "site.toml").write_text(
            f'[gateway]\nid = "gw"\ntenant = "bench"\nsite = "bench"\n[page]\nport = {self.edge}\n{link if uplink else ""}'
            f'[[connection]]\nname = "machine"\n{source}\n'
            f'[[line]]\nwork_unit = "{WORK_UNIT}"\nconnection = "machine"\nbook = "book.toml"\nrules = "rules.toml"\n'
            f"window_s = {window_s}\n"
        )
        (self.folder / "cloud.toml").write_text(
            f'safe = "stored"\n[database]\nurl = "{database}"\n[broker]\nhost = "127.0.0.1"\nport = {self.broker_port}\ntls = false\n[http]\nport = {self.cloud}\n'
            '[[gateway]]\ntenant = "bench"\nsite = "bench"\nid = "gw"\nkey = { credential = "gw.key" }\n'
            '[[site]]\ntenant = "bench"\nid = "bench"\nname = { ko = "벤치", en = "Bench" }\ntimezone = "Asia/Seoul"\n'
            'shift = [{ code = "A", start = "00:00:00", end = "12:00:00" }, { code = "B", start = "12:00:00", end = "00:00:00" }]\n'
            f'work_unit = [{{ path = "{WORK_UNIT}", name = {{ ko = "기계", en = "Machine" }} }}]\n'
        )

    def start(self, name: str, *arguments: str, port: int) -> psutil.Process:
        """Start `python -m arguments…` and wait until it listens."""
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.processes[name] = child
        wait_until(lambda: listens(port) or child.poll() is not None, f"{name} listens", 60)
        if child.poll() is not None:
            raise RuntimeError(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
        return psutil.Process(child.pid)

    def start_gateway(self) -> psutil.Process:
        return self.start("edge", "triflow", "edge", "run", str(self.folder / "site.toml"), port=self.edge)

    def start_cloud(self) -> psutil.Process:
        return self.start("cloud", "triflow", "cloud", "run", str(self.folder / "cloud.toml"), port=self.cloud)

    def get(self, port: int, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        for child in self.processes.values():
            child.terminate()
        for child in self.processes.values():
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """Give a stand with a running mosquitto; everything ends with the block."""
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name) / "broker") as broker:
        made = Stand(Path(name), broker.port)
        try:
            yield made
        finally:
            made.stop()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
