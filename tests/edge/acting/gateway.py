"""A gateway's real parts around one line: site file, store, driver, pipeline, recording, acting. Also as a process.

python -m tests.edge.acting.gateway FOLDER
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from edge.acting.acting import Acting
from edge.acting.hands import Asked
from edge.acting.journal import action_id
from edge.drivers import open_driver
from edge.drivers.driver import Driver, DriverError
from edge.recording import Recording
from edge.site import load
from edge.store import open_store
from models.window import Window
from sync.clock import WallClock
from sync.facts import AnyFact, Context, Judged
from tests.edge.stores import until

LINE = "hall/line-1/filler"
TARGET = f"{LINE}/speed_setpoint"
BOOK = """
title = "Filler"
[[tag]]
name = "speed_setpoint"
address = "{speed}"
type = "{kind}"
low = 0
high = 100
writable = true
[[tag]]
name = "oil_pressure"
address = "{pressure}"
type = "{kind}"
[[tag]]
name = "door_closed"
address = "{door}"
type = "{door_kind}"
writable = true
"""
SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
ballast_mb = 0
[page]
port = {page}
{key}
[[connection]]
name = "plc"
{connection}
[[line]]
work_unit = "hall/line-1/filler"
connection = "plc"
book = "filler.toml"
rules = "rules.toml"
window_s = 3600
[acting]
mode = "{mode}"
{acting}
[[acting.write]]
tag = "hall/line-1/filler/speed_setpoint"
low = 20
high = 80
interlock = "oil_pressure > 2.0"
read_back_s = 0.5
{permit}
"""
RULES = """
[ruleset]
name = "filler"
version = "1.0.0"
[[limit]]
name = "pressure"
value = "oil_pressure"
critical_high = 1000
"""
MODBUS = 'driver = "modbus"\nhost = "127.0.0.1"\nport = {port}\nperiod_ms = 50\ntimeout_s = 0.5'
OPCUA = 'driver = "opcua"\nurl = "opc.tcp://127.0.0.1:{port}/machine"\nsecurity = "none"\npublishing_ms = 50'
URI = "nsu=urn:triflow:test:machine;s="
REGISTERS = {"speed": "holding:0", "pressure": "holding:1", "door": "coil:0", "kind": "int16", "door_kind": "bool"}
NODES = {
    "speed": f"{URI}speed", "pressure": f"{URI}pressure", "door": f"{URI}door", "kind": "float64", "door_kind": "bool",
}  # fmt: skip


def write_site(
    folder: Path,
    connection: str,
    addresses: dict[str, str],
    *,
    mode: str = "control",
    acting: str = "",
    permit: str = "",
    page: int = 8090,
    key: str = "",
) -> Path:
    """Write the files of a site; give the site file."""
    (folder / "filler.toml").write_text(BOOK.format(**addresses))
    (folder / "rules.toml").write_text(RULES)
    site = folder / "site.toml"
    site.write_text(SITE.format(connection=connection, mode=mode, acting=acting, permit=permit, page=page, key=key))
    return site


AUTO = '[[acting.cell]]\ntrust = 0\nrisk = "MEDIUM"\ndecision = "auto_execute"\n'
"""A matrix that goes ahead without any trust, for tests of what comes after."""
MEDIUM = 'risk = "MEDIUM"'


class Gateway:
    """One life of a gateway."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.drivers: dict[str, Driver] = {}
        self.blind = False
        """Nobody can see the line any more."""
        self.acting = Acting(recording, driver=self.drivers.get, window=self.window, settle_s=1.0)
        self.facts: list[AnyFact] = []
        recording.after.append(self._hear)

    def window(self, work_unit: str) -> Window | None:
        if self.blind:
            return None
        return self.recording.pipelines[work_unit].now(self.recording.steady.now())

    def _hear(self, facts):
        self.facts += facts
        return [], {}

    async def read(self) -> None:
        """Read the machine for ever, as the flow does."""
        recording, pipeline = self.recording, self.recording.pipelines[LINE]
        connection = recording.site.file.connections[0]
        tags = recording.site.table.of_connection(connection.name)
        await recording.store.commit(dictionary=recording.site.table.dictionary(recording.clock.now()))
        while True:
            with contextlib.suppress(DriverError):
                driver = open_driver(connection, tags, recording.clock, recording.around)
                async with driver, aclosing(driver.readings()) as batches:
                    async for batch in batches:
                        self.drivers[connection.name] = driver
                        await recording.commit([(pipeline, pipeline.feed(batch, recording.steady.now()))])
            self.drivers.pop(connection.name, None)
            pipeline.lost()
            await asyncio.sleep(0.1)

    async def judge(self, verdict: str, *actions: tuple[str, float | bool], decision: str = "critical") -> None:
        """Commit a verdict that recommends writes: (tag, value)."""
        await self.recording.commit([], [verdict_of(verdict, *actions, decision=decision)])

    def of(self, kind: type) -> list:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def verdict_of(verdict: str, *actions: tuple[str, float | bool], decision: str = "critical", ruleset: str = "filler"):
    """Give a verdict that recommends writes: (tag, value), or (type, tag, value)."""
    told = []
    for action in actions:
        kind, tag, value = action if len(action) == 3 else ("parameter_adjust", *action)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        told.append({"action_type": kind, "priority": "high", "ko": "조정", "en": "Adjust", "tag": tag, "value": text})
    return Judged(
        at=1, work_unit=LINE, verdict_id=verdict, start=0, ruleset=ruleset, ruleset_version="1.0.0", ruleset_hash="h",
        decision=decision, severity="critical", confidence=0.9, policy="rule_only", source="rule", actions=told,
        inputs={"oil_pressure": 3.0, "n": verdict}, context=Context(lot="L1"),
    )  # fmt: skip


def asked(verdict: str, value: float = 50.0, kind: str = "parameter_adjust", **more) -> Asked:
    return Asked(**{
        "action": action_id(verdict, kind, TARGET, str(value)), "work_unit": LINE, "action_type": kind,
        "target": TARGET, "value": value, "asker": f"filler at {LINE}", "verdict_id": verdict, "ruleset": "filler",
        **more,
    })  # fmt: skip


@contextlib.asynccontextmanager
async def gateway(site: Path, *, acts: bool = True) -> AsyncIterator[Gateway]:
    """Run one life of a gateway, connected; `acts`: with its acting running."""
    loaded = load(site)
    async with open_store(
        loaded.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test", group_ms=1
    ) as store:
        made = Gateway(Recording(loaded, store, WallClock()))
        tasks = [asyncio.create_task(made.read(), name="reading")]
        try:
            await until(lambda: _ready(made), "the machine is read")
            if acts:
                tasks.append(asyncio.create_task(made.acting.run(), name="acting"))
            yield made
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def _ready(made: Gateway) -> bool:
    window = made.window(LINE)
    return bool(made.drivers) and window is not None and all(tag.last is not None for tag in window.tags.values())


async def _life(folder: Path) -> None:
    """Ask for one write, wait for its end, say so."""
    async with gateway(folder / "site.toml") as made:
        await made.judge("v1", ("speed_setpoint", 50.0))
        os.write(1, b"asked\n")
        action = action_id("v1", "parameter_adjust", TARGET, "50.0")
        await until(lambda: action in made.acting.hands.journal.ended, "the action ends")
        os.write(1, f"{made.acting.hands.journal.ended[action].status}\n".encode())
        if os.environ.get("TRIFLOW_FAILPOINT", "").startswith("edge.act_ended"):
            await asyncio.sleep(20)  # it comes right behind the end; the process is not to be gone before


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_life(Path(sys.argv[1])))
