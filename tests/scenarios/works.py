"""A works where judging is tried end to end: steered machines, a gateway that may act and has models, broker, cloud."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sync.topics import Address
from tests.edge.scoring import moody
from tests.scenarios.hall import Hall
from tests.scenarios.steered import URI, Shown
from tests.servers import ROOT, Broker, wait_until

GATEWAY = "gw-works"
ADDRESS = Address("test", "hall", GATEWAY)
FILLER, TANK, PRESS, MIXER = "works/line-1/filler", "works/line-2/tank", "works/line-3/press", "works/line-4/mixer"
"""Judged by rules that may ask a model, and acted on; by rules sure enough not to ask, on OPC UA; by a model; by both."""
SPEED = f"{FILLER}/speed_setpoint"

FILLER_BOOK = """
title = "Filler"
tag = [
  { name = "machine_state", address = "holding:0", type = "uint16", role = "state" },
  { name = "made", address = "holding:1", type = "uint16", role = "counter", counter = "produced", rollover = 65536 },
  { name = "temperature", address = "holding:2", type = "float32", unit = "CEL", low = 0, high = 150, max_age_s = 2 },
  { name = "load", address = "holding:4", type = "float32", low = 0, high = 1, max_age_s = 600 },
  { name = "speed_setpoint", address = "holding:6", type = "int16", low = 0, high = 100, writable = true },
  { name = "pressure", address = "holding:7", type = "int16" },
  { name = "rejects", address = "holding:8", type = "uint16", role = "counter", counter = "scrap", rollover = 65536 },
]
"""
TANK_BOOK = f"""
title = "Tank"
tag = [
  {{ name = "machine_state", address = "nsu={URI};s=state", type = "int32", role = "state" }},
  {{ name = "temperature", address = "nsu={URI};s=temperature", unit = "CEL", low = 0, high = 150, required = true }},
  {{ name = "load", address = "nsu={URI};s=load", low = 0, high = 1 }},
]
"""
HEAD = """
[ruleset]
name = "{name}"
version = "1.0.0"
title = {{ ko = "시험 {name}", en = "Test {name}" }}
{more}
"""
TEMPERATURE = """
[[limit]]
name = "temperature"
title = { ko = "온도", en = "Temperature" }
value = "temperature.mean"
unit = "CEL"
warning_high = 70
critical_high = 90
"""
FILLER_RULES = (
    HEAD.format(name="filler", more='policy = "rule_fallback"\ncache_s = 300\n[model]\nname = "moody"')
    + TEMPERATURE
    + """
[[rule]]
name = "defects"
title = { ko = "불량률", en = "Defect rate" }
when = "counts.produced > 0 && 100.0 * double(counts.scrap) / double(counts.produced) > 2.0"
value = "100.0 * double(counts.scrap) / double(counts.produced)"
threshold = 2
unit = "P1"
status = "HIGH_DEFECT"
severity = "critical"
[[limit]]
name = "pressure"
title = { ko = "압력", en = "Pressure" }
value = "pressure.last"
critical_high = 8
[[limit.action]]
action_type = "parameter_adjust"
on = "critical"
en = "Slow the filler down"
ko = "충전 속도를 낮추십시오"
write = { tag = "speed_setpoint", value = 25 }
"""
)
TANK_RULES = (
    HEAD.format(name="tank", more='policy = "hybrid_gate"\ngate = 0.85\n[model]\nname = "moody"')
    + TEMPERATURE
    + """
[[limit]]
name = "load"
title = { ko = "부하", en = "Load" }
value = "load.mean"
warning_high = 0.95
"""
)
PRESS_RULES = HEAD.format(name="press", more='policy = "ml_fallback"\n[model]\nname = "moody"') + TEMPERATURE
MIXER_RULES = (
    HEAD.format(name="mixer", more='policy = "hybrid_weighted"\n[model]\nname = "moody"')
    + TEMPERATURE
    + """
[[limit]]
name = "load"
title = { ko = "부하", en = "Load" }
value = "load.mean"
critical_high = 1.5
"""
)
ACTING = f"""
[acting]
mode = "control"
[[acting.write]]
tag = "{SPEED}"
low = 20
high = 80
interlock = "machine_state == 6.0"
read_back_s = 2
expiry_s = 600
hold_s = 1
writes_per_min = 60
risk = "MEDIUM"
"""


class Works(Hall):
    """One gateway with four lines on steered machines. machine.json, rules and packages are the test's to change."""

    machines = "tests.scenarios.steered"
    gateways = (GATEWAY,)
    work_units = (FILLER, TANK, PRESS, MIXER)

    def __init__(
        self, folder: Path, broker: Broker, database: str = "sqlite:///cloud.db", *, package: bytes | None = None
    ) -> None:
        """package: the model that the lines begin with; moody-1.0.0 if left out."""
        self._package = moody.package() if package is None else package
        super().__init__(folder, broker, database)

    def _lay_out(self, folder: Path) -> None:
        for name, text in {
            "filler.toml": FILLER_BOOK, "tank.toml": TANK_BOOK, "filler.rules.toml": FILLER_RULES,
            "tank.rules.toml": TANK_RULES, "press.rules.toml": PRESS_RULES, "mixer.rules.toml": MIXER_RULES,
        }.items():  # fmt: skip
            (folder / name).write_text(text)
        (folder / "moody.tfm").write_bytes(self._package)
        self.show()

    def _site(self, gateway: str) -> str:
        def line(work_unit: str, connection: str, book: str, rules: str, model: str = "") -> str:
            named = f'model = "{model}"' if model else ""
            return (
                f'[[line]]\nwork_unit = "{work_unit}"\nconnection = "{connection}"\nbook = "{book}.toml"\n'
                f'rules = "{rules}.rules.toml"\nwindow_s = 0.5\nreport_s = 1\n{named}\n'
            )

        return f"""
[gateway]
id = "{gateway}"
tenant = "test"
site = "hall"
data = "{gateway}"
ballast_mb = 0
[page]
port = {self.ports[gateway]}
[uplink]
host = "{self.broker.host}"
port = {self.broker.port}
tls = false
heartbeat_s = 0.5
key = {{ credential = "{gateway}.key" }}
packages = "http://127.0.0.1:{self.ports["cloud"]}"
[models]
trusted = ["{moody.TRUSTED}"]
{ACTING}
[[connection]]
name = "plc"
driver = "modbus"
host = "127.0.0.1"
port = {self.ports["modbus"]}
period_ms = 100
timeout_s = 0.5
[[connection]]
name = "tank"
driver = "opcua"
url = "opc.tcp://127.0.0.1:{self.ports["opcua"]}/works"
security = "none"
publishing_ms = 100
{line(FILLER, "plc", "filler", "filler", "moody.tfm")}
{line(TANK, "tank", "tank", "tank", "moody.tfm")}
{line(PRESS, "plc", "filler", "press", "moody.tfm")}
{line(MIXER, "plc", "filler", "mixer", "moody.tfm")}
"""

    # ── the machines ──

    def show(self, **shown: Any) -> None:
        """Let the machines show this; what is not named is as at the beginning."""
        draft = self.folder / "machine.new"
        draft.write_bytes(msgspec.json.encode(Shown(**shown)))
        draft.replace(self.folder / "machine.json")

    @property
    def writes(self) -> list[int]:
        """Every value that was ever written to the filler's speed, as the machine says."""
        path = self.folder / "writes.json"
        return json.loads(path.read_text()) if path.exists() else []

    # ── the gateway ──

    def post(self, where: str, path: str, said: Any, **headers: str) -> tuple[int, Any]:
        """Send JSON as the gateway's page does; gives status and answer."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[where]}{path}", data=body, method="POST",
            headers={"Content-Type": "application/json", "X-Triflow": "page", **headers},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def said(self) -> str:
        """What the processes said, for a failing test."""
        return "\n".join(f"── {name}\n{self.log(name)}" for name in (GATEWAY, "cloud", "plant"))

    def wait(self, true: Any, what: str, seconds: float = 45) -> Any:
        """Wait until it is true and give what it gave; a gateway that is about to listen counts as not yet."""
        found: Any = None

        def there() -> Any:
            nonlocal found
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                found = true()
            return found

        wait_until(there, lambda: f"{what}\n{self.said()}", seconds)
        return found

    def verdicts(self, work_unit: str, limit: int = 200) -> list[dict[str, Any]]:
        """The newest on the gateway, newest first."""
        found = self.get(GATEWAY, f"/api/verdicts?limit={limit}")["verdicts"]
        return [one for one in found if one["work_unit"] == work_unit]

    def newest(self, work_unit: str) -> int:
        """End of the newest window that was judged, ns; 0 before the first."""
        return max((one["at"] for one in self.verdicts(work_unit)), default=0)

    def verdict(self, work_unit: str, fits: Any, what: str, seconds: float = 45) -> dict[str, Any]:
        """Wait for a verdict of a window that has yet to begin, and that fits."""
        now = self.newest(work_unit)
        return self.wait(
            lambda: next((one for one in self.verdicts(work_unit) if one["start"] >= now and fits(one)), None),
            f"{what}; the newest of {work_unit}: {self.verdicts(work_unit)[:1]}",
            seconds,
        )

    def model(self, work_unit: str) -> dict[str, Any]:
        return next(one for one in self.get(GATEWAY, "/api/status")["models"] if one["work_unit"] == work_unit)

    def actions(self, kind: str) -> list[dict[str, Any]]:
        """The newest records of acting, newest first."""
        return [one for one in self.get(GATEWAY, "/api/actions")["recent"] if one["kind"] == kind]

    # ── the cloud ──

    @contextlib.contextmanager
    def cloud_db(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.folder / 'cloud.db'}?mode=ro", uri=True, timeout=10)
        try:
            yield connection
        finally:
            connection.close()

    def stored(self, kind: str, work_unit: str | None = None) -> list[dict[str, Any]]:
        """Every fact of a kind that the cloud has stored, in the order of their records."""
        with self.cloud_db() as cloud:
            rows = cloud.execute("select body from fact where kind=? order by inc, stream, seq", (kind,)).fetchall()
        found = [json.loads(body) for (body,) in rows]
        return [one for one in found if work_unit in {None, one.get("work_unit")}]

    def command(self, kind: str, arguments: Mapping[str, Any], actor: str = "kim", expires_s: int = 600) -> str:
        """Order something of the gateway in the cloud; gives the command's id."""
        order = {
            "site": "hall", "gateway": GATEWAY, "kind": kind, "arguments": dict(arguments), "actor": actor,
            "expires_s": expires_s,
        }  # fmt: skip
        status, said = self.post("cloud", "/api/v1/commands", order)
        assert status == 200, said
        return said["command"]

    def answered(self, command: str, seconds: float = 45) -> dict[str, Any]:
        """Wait until the gateway's answer to a command is in the cloud, and give it."""

        def answer() -> dict[str, Any] | None:
            items = self.get("cloud", "/api/v1/commands?page_size=100")["items"]
            return next((one for one in items if one["command"] == command and one["answered"]), None)

        return self.wait(answer, f"command {command} is answered", seconds)

    def triflow(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command beside everything that runs."""
        return subprocess.run(
            [sys.executable, "-m", "triflow", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
        )

    @property
    def site_file(self) -> Path:
        return self.folder / f"{GATEWAY}.toml"

    def begin(self) -> None:
        """Start everything and wait until every line is judged and heard."""
        self.start("plant")
        self.start("cloud", GATEWAY)
        for work_unit in self.work_units:
            self.wait(lambda w=work_unit: self.verdicts(w), f"{work_unit} is judged")
        self.wait(lambda: self.get(GATEWAY, "/api/status")["uplink"]["state"] == "streaming", "the cloud listens")
        for one in (PRESS, MIXER):
            self.wait(lambda w=one: self.model(w)["asked"] > 0, f"the model of {one} is asked")
