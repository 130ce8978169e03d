"""A whole system on loopback for the scenarios: plant, broker, two gateways and the cloud, each a real process.

Nothing here trusts the product's own totals: `account` counts rows in the gateways' and the cloud's databases, and
`truth` is what the plant says it made.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from demo.ledger import Account, account, made
from tests.servers import ROOT, Broker, free_port, listens, wait_until

LINES = {"gw-opcua": "hall/line-1/filler", "gw-modbus": "hall/line-2/filler"}

OPCUA_BOOK = """
title = "Test machine on OPC UA"
tag = [
  { name = "state", address = "nsu=urn:triflow:test:hall;s=M1.state", type = "int32", role = "state" },
  { name = "made", address = "nsu=urn:triflow:test:hall;s=M1.made", type = "int64", role = "counter", counter = "produced" },
  { name = "product", address = "nsu=urn:triflow:test:hall;s=M1.product", type = "string", role = "context", context = "product" },
  { name = "temperature", address = "nsu=urn:triflow:test:hall;s=M1.temperature", unit = "CEL", low = 0, high = 150, required = true },
]
"""
MODBUS_BOOK = """
title = "Test machine on Modbus"
tag = [
  { name = "state", address = "holding:0", type = "uint16", role = "state" },
  { name = "made", address = "holding:1", type = "uint16", role = "counter", counter = "produced", rollover = 65536 },
  { name = "temperature", address = "holding:2", type = "float32", unit = "CEL", low = 0, high = 150, required = true },
]
"""
RULES = """
[ruleset]
name = "test_machine"
version = "1.0.0"
title = { ko = "시험 규칙", en = "Test rules" }
policy = "rule_only"

[[limit]]
name = "temperature"
title = { ko = "온도", en = "Temperature" }
value = "temperature.mean"
unit = "CEL"
warning_high = 63
critical_high = 90
"""


class Hall:
    """Start what you need, break what you like, then ask whether it adds up."""

    machines = "tests.scenarios.plant"
    """The module that is run as the plant."""
    gateways: tuple[str, ...] = tuple(LINES)
    work_units: tuple[str, ...] = tuple(LINES.values())

    def __init__(self, folder: Path, broker: Broker, database: str = "sqlite:///cloud.db") -> None:
        self.folder, self.broker = folder, broker
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {name: free_port() for name in ("opcua", "modbus", "cloud", *self.gateways)}
        (folder / "credentials").mkdir(parents=True)
        self._lay_out(folder)
        for gateway in self.gateways:
            (folder / "credentials" / f"{gateway}.key").write_text(secrets.token_hex(32))
            (folder / f"{gateway}.toml").write_text(self._site(gateway))
        (folder / "cloud.toml").write_text(self._cloud(database))

    def _lay_out(self, folder: Path) -> None:
        """Write what the site files name."""
        (folder / "opcua.toml").write_text(OPCUA_BOOK)
        (folder / "modbus.toml").write_text(MODBUS_BOOK)
        (folder / "rules.toml").write_text(RULES)

    def _site(self, gateway: str) -> str:
        kind = gateway.removeprefix("gw-")
        source = (
            f'url = "opc.tcp://127.0.0.1:{self.ports["opcua"]}/hall"\nsecurity = "none"\npublishing_ms = 100'
            if kind == "opcua"
            else f'host = "127.0.0.1"\nport = {self.ports["modbus"]}\nperiod_ms = 100'
        )
        return f"""
[gateway]
id = "{gateway}"
tenant = "test"
site = "hall"
data = "{gateway}"
[page]
port = {self.ports[gateway]}
[uplink]
host = "{self.broker.host}"
port = {self.broker.port}
tls = false
heartbeat_s = 0.5
key = {{ credential = "{gateway}.key" }}
[[connection]]
name = "plc"
driver = "{kind}"
{source}
[[line]]
work_unit = "{LINES[gateway]}"
connection = "plc"
book = "{kind}.toml"
rules = "rules.toml"
window_s = 1
report_s = 1
"""

    def _cloud(self, database: str) -> str:
        gateways = "".join(
            f'[[gateway]]\ntenant = "test"\nsite = "hall"\nid = "{g}"\nkey = {{ credential = "{g}.key" }}\n'
            for g in self.gateways
        )
        units = "".join(
            f'[[site.work_unit]]\npath = "{w}"\nname = {{ ko = "{w}", en = "{w}" }}\n' for w in self.work_units
        )
        return f"""
safe = "stored"
[database]
url = "{database}"
[broker]
host = "{self.broker.host}"
port = {self.broker.port}
tls = false
[http]
port = {self.ports["cloud"]}
{gateways}
[[site]]
tenant = "test"
id = "hall"
name = {{ ko = "시험장", en = "Test hall" }}
timezone = "Asia/Seoul"
shift = [{{ code = "A", start = "00:00:00", end = "12:00:00" }}, {{ code = "B", start = "12:00:00", end = "00:00:00" }}]
{units}
"""

    # ── processes ──

    def start(self, *names: str, env: dict[str, str] | None = None) -> None:
        """Start `plant`, `cloud` or gateways by name, and wait until each answers."""
        for name in names:
            arguments = {
                "plant": [
                    self.machines,
                    str(self.folder),
                    str(self.ports["opcua"]),
                    str(self.ports["modbus"]),
                ],
                "cloud": ["triflow", "cloud", "run", str(self.folder / "cloud.toml")],
            }.get(name, ["triflow", "edge", "run", str(self.folder / f"{name}.toml")])
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                )
        for name in names:
            port = self.ports["modbus" if name == "plant" else name]
            wait_until(lambda n=name, p=port: self._up(n, p), f"{name} listens on {port}\n{self.log(name)}", 30)

    def _up(self, name: str, port: int) -> bool:
        if self.processes[name].poll() is not None:
            raise AssertionError(f"{name} ended with {self.processes[name].returncode}:\n{self.log(name)}")
        return listens(port) and (name != "plant" or listens(self.ports["opcua"]))

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(20)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    # ── the plant ──

    def produce(self, on: bool) -> None:
        """Let the machines run, or hold them."""
        run = self.folder / "run"
        run.touch() if on else run.unlink(missing_ok=True)

    @property
    def truth(self) -> int:
        return int(json.loads((self.folder / "truth.json").read_text())["made"])

    # ── what the product says ──

    def get(self, where: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[where]}{path}", timeout=10) as answer:
            return json.load(answer)

    def proof(self, gateway: str) -> dict[str, Any]:
        rows = self.get("cloud", "/api/v1/overview")["proof"]
        return next((row for row in rows if row["gateway"] == gateway), {"balanced": False, "stored": 0, "waiting": -1})

    def judged(self, gateway: str) -> int:
        return int(self.get(gateway, "/api/status")["judged_total"])

    # ── what the databases say ──

    def account(self, gateway: str) -> Account:
        return account(self.folder / gateway / "edge.db", self.folder / "cloud.db", gateway)

    def made_in_cloud(self, work_unit: str) -> int:
        return made(self.folder / "cloud.db").get(work_unit, {}).get("produced", 0)
