"""The whole system as processes that may be killed: machine, gateway, link, broker, cloud, database."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from tests.campaign.kill import network
from tests.campaign.kill.background import Background
from tests.campaign.kill.machine import BOOK, Machine
from tests.link import Link, Trouble
from tests.postgresql import PostgreSQL
from tests.servers import ROOT, free_port

GATEWAY: Final = "gw"
WORK_UNIT: Final = "hall/line-1/counter"
RULES: Final = """
[ruleset]
name = "campaign"
version = "1.0.0"
title = { ko = "시험", en = "Campaign" }
policy = "rule_only"
[[limit]]
name = "n00"
title = { ko = "수", en = "Number" }
value = "n00.mean"
warning_high = 1e12
"""


class StuckError(Exception):
    """A condition did not come true in time; the message says which, and what the parts said last."""


def eventually(true: Callable[[], object], what: str, seconds: float) -> float:
    """Wait until it is true and give how long it took, s. Raises StuckError."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise StuckError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.03)
    return time.monotonic() - began


class Stack:
    """Enter starts everything and waits for the first verdict; exit leaves nothing behind."""

    def __init__(
        self,
        folder: Path,
        *,
        on_postgresql: bool,
        in_namespace: bool,
        period_ms: int,
        number: int,
        safe: str = "stored",
    ) -> None:
        """number: of this stack on this machine, for names of namespaces. safe: as in the cloud's file."""
        self.folder, self.period_ms, self.number, self.safe = folder, period_ms, number, safe
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {"gateway": free_port(), "cloud": free_port()}
        self.happened: Counter[str] = Counter()
        """Ends of processes that nobody had asked for: said, and started again as systemd does."""
        self.machine = Machine()
        self.namespace = network.Namespace(number) if in_namespace else None
        self.database = PostgreSQL() if on_postgresql else None
        self.link: Link | None = None
        self._background = Background()
        self._left = contextlib.ExitStack()

    # ── start and end ──

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entered:
            (self.folder / "credentials").mkdir(parents=True)
            entered.enter_context(self._background)
            if self.namespace is not None:
                entered.enter_context(self.namespace)
            if self.database is not None:
                entered.enter_context(self.database)
                self._empty_database(self.database)
            entered.callback(self._end_processes)
            self._background.do(self.machine.begin())
            entered.callback(lambda: self._background.do(self.machine.end()))
            self._configure()
            if self.link is not None:
                self._background.do(self.link.mend())
                entered.callback(lambda: self._background.do(self.cut_link()))
            self.start("broker")
            self.start("cloud")
            self.start("gateway")
            eventually(lambda: self.judged() >= 1, f"the first verdict\n{self.words()}", 60)
            self._left = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.close()

    def _configure(self) -> None:
        key = secrets.token_hex(32)
        (self.folder / "credentials" / "gw.key").write_text(key)
        if self.namespace is not None:
            host, gateway_port, cloud_port = self.namespace.host, network.GATEWAY_PORT, network.CLOUD_PORT
            listeners = f"listener {gateway_port} {host}\nlistener {cloud_port} {host}\n"
            gateway_host = host
        else:
            host = gateway_host = "127.0.0.1"
            cloud_port = free_port()
            listeners = f"listener {cloud_port} {host}\n"
            self.link = Link(cloud_port, mqtt=True, seed=self.number)
            gateway_port = self.link.port
        (self.folder / "mosquitto.conf").write_text(
            f"{listeners}allow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_queued_messages 1000\n"
        )
        (self.folder / "book.toml").write_text(BOOK)
        (self.folder / "rules.toml").write_text(RULES)
        (self.folder / "site.toml").write_text(f"""
[gateway]
id = "{GATEWAY}"
tenant = "test"
site = "hall"
data = "data"
quota_mb = 256
ballast_mb = 1
[page]
port = {self.ports["gateway"]}
[uplink]
host = "{gateway_host}"
port = {gateway_port}
tls = false
heartbeat_s = 0.5
key = {{ credential = "gw.key" }}
[[connection]]
name = "machine"
driver = "modbus"
host = "127.0.0.1"
port = {self.machine.port}
period_ms = {self.period_ms}
retries = 0
[[line]]
work_unit = "{WORK_UNIT}"
connection = "machine"
book = "book.toml"
rules = "rules.toml"
window_s = 1
report_s = 1
""")
        (self.folder / "cloud.toml").write_text(f"""
safe = "{self.safe}"
[database]
url = "{self.database_url}"
[broker]
host = "{host}"
port = {cloud_port}
tls = false
[http]
port = {self.ports["cloud"]}
[[gateway]]
tenant = "test"
site = "hall"
id = "{GATEWAY}"
key = {{ credential = "gw.key" }}
[[site]]
tenant = "test"
id = "hall"
name = {{ ko = "시험장", en = "Test hall" }}
timezone = "Asia/Seoul"
shift = [{{ code = "A", start = "00:00:00", end = "12:00:00" }}, {{ code = "B", start = "12:00:00", end = "00:00:00" }}]
work_unit = [{{ path = "{WORK_UNIT}", name = {{ ko = "수", en = "Counter" }} }}]
""")

    @property
    def database_url(self) -> str:
        """As the cloud's file names it."""
        return "sqlite:///cloud.db" if self.database is None else f"{self.database.url}/triflow"

    # ── processes ──

    def start(self, name: str, failpoint: str = "") -> None:
        """Start a part; it need not be ready yet."""
        if name == "database":
            assert self.database is not None
            self.database.start()
            return
        words = {
            "broker": [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")],
            "cloud": [sys.executable, "-m", "triflow", "cloud", "run", str(self.folder / "cloud.toml")],
            "gateway": [sys.executable, "-m", "triflow", "edge", "run", str(self.folder / "site.toml")],
        }[name]
        if name == "broker" and self.namespace is not None:
            words = self.namespace.command(*words)
        environment = {key: value for key, value in os.environ.items() if key != "TRIFLOW_FAILPOINT"}
        if failpoint:
            environment["TRIFLOW_FAILPOINT"] = failpoint
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def kill(self, name: str) -> bool:
        """End a part with SIGKILL; gives False where it had ended by itself."""
        if name == "database":
            assert self.database is not None
            self.database.kill()
            return True
        process = self.processes.pop(name)
        was = process.poll()
        process.kill()
        process.wait(20)
        if was not in {None, -signal.SIGKILL}:
            self.happened[f"{name} had ended with {was}"] += 1
        return was is None

    def ended(self, name: str) -> bool:
        return self.processes[name].poll() is not None

    def pause(self, name: str, seconds: float) -> None:
        """Stop a part where it stands and let it go on: a machine that was asleep, a disk that hung."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def look_after(self) -> None:
        """Start again what ended by itself, as systemd would."""
        for name, process in list(self.processes.items()):
            if process.poll() not in {None, -signal.SIGKILL}:
                self.happened[f"{name} ended with {process.returncode}"] += 1
                self.start(name)

    def stop(self, name: str) -> None:
        """End a part in an orderly way."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            self.happened[f"{name} did not end when asked"] += 1
            process.kill()
            process.wait(10)

    def _end_processes(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait(10)
        self.processes.clear()

    # ── backups ──

    def back_up(self, side: str) -> None:
        """Take a backup of a running side with its own command."""
        self._command(side, "backup", self.folder / f"{side}.backups")

    def restore(self, side: str) -> None:
        """Put a dead side back to its newest backup with its own command."""
        if side == "cloud" and self.database is not None:
            self._empty_database(self.database)  # the command wants an empty one, and takes none away
        made = (self.folder / f"{side}.backups").iterdir()
        self._command(side, "restore", max(p for p in made if p.is_dir() or p.suffix in {".db", ".dump"}))

    def _empty_database(self, server: PostgreSQL) -> None:
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            connection.execute("drop database if exists triflow with (force)")
            connection.execute("create database triflow")

    def _command(self, side: str, command: str, place: Path) -> None:
        part, file = ("cloud", "cloud.toml") if side == "cloud" else ("edge", "site.toml")
        words = [sys.executable, "-m", "triflow", part, command, str(self.folder / file), str(place)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"{part} {command}: {done.returncode} {done.stdout}{done.stderr}\n")
        if done.returncode:
            raise StuckError(f"triflow {part} {command} ended with {done.returncode}: {done.stdout}{done.stderr}")

    def keep_database(self) -> None:
        """Leave a dump of PostgreSQL in the folder; SQLite's file lies there already."""
        if self.database is not None:
            self.database.dump("triflow", self.folder / "cloud.sql")

    # ── the link ──

    def disturb(self, fault: str) -> None:
        """Break the link between gateway and broker in a named way, until `heal`."""
        if self.namespace is not None:
            match fault:
                case "cut" | "black hole both ways":
                    self.namespace.drop()
                case "black hole up":
                    self.namespace.drop(down=False)
                case "black hole down":
                    self.namespace.drop(up=False)
                case "reset":
                    self.namespace.reset()
                case _:
                    self.namespace.drop(percent=30)
            return
        assert self.link is not None
        if fault in {"cut", "reset"}:
            self._background.do(self.cut_link() if fault == "cut" else self.link.reset())
            return
        self.link.trouble = {
            "black hole both ways": Trouble(hold_up=True, hold_down=True),
            "black hole up": Trouble(hold_up=True),
            "black hole down": Trouble(hold_down=True),
            "PUBACK swallowed": Trouble(swallow_puback=0.5),
            "publish twice": Trouble(twice=0.5),
            "delay": Trouble(delay_s=0.05),
        }[fault]

    async def cut_link(self) -> None:
        assert self.link is not None
        await self.link.cut()

    def heal(self) -> None:
        if self.namespace is not None:
            self.namespace.heal()
        elif self.link is not None:
            self._background.do(self.link.mend())

    def still_machine(self) -> None:
        """Let the machine refuse every connection: nothing new is acquired from now on."""
        self._background.do(self.machine.end())

    # ── what the parts say: for waiting only, never for judging ──

    def status(self) -> dict[str, Any]:
        """Give what the gateway says of itself, {} while it does not answer."""
        return self._get("gateway", "/api/status")

    def cloud_up(self) -> bool:
        return bool(self._get("cloud", "/api/v1/overview"))

    def judged(self) -> int:
        return int(self.status().get("judged_total", 0))

    def _get(self, part: str, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[part]}{path}", timeout=5) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return {}

    def words(self) -> str:
        """Give the last words of every part."""
        said = ""
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-8:]
            said += "\n".join([f"--- {path.stem}", *lines, ""])
        return said
