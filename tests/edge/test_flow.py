"""The flow over real drivers and a real store: what is read is judged and on disk, through loss, return and restart."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge.flow import Flow
from edge.site import load
from edge.store import Store, open_store
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import AnyFact, ConnectionChanged, Gap, Judged, Produced, StateChanged, Stream
from tests.scenarios.hall import MODBUS_BOOK, RULES
from tests.servers import ROOT, free_port, listens, wait_until

WORK_UNIT = "hall/line-1/filler"
SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[[connection]]
name = "plc"
driver = "modbus"
host = "127.0.0.1"
port = {port}
period_ms = 50
timeout_s = 0.5
[[line]]
work_unit = "hall/line-1/filler"
connection = "plc"
book = "modbus.toml"
rules = "rules.toml"
window_s = 0.5
report_s = 0.5
"""


class Machine:
    """The test plant as a process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._opcua = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["tests.scenarios.plant", str(self.folder), str(self._opcua), str(self.port)]
        self._process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT)
        wait_until(lambda: listens(self.port), "the machine answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


@pytest.fixture
def machine(tmp_path):
    plant = Machine(tmp_path)
    (tmp_path / "modbus.toml").write_text(MODBUS_BOOK)
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "site.toml").write_text(SITE.format(port=plant.port))
    plant.start()
    yield plant
    plant.stop()


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Flow, Store]]:
    site = load(folder / "site.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test") as store:
        flow = Flow(site, store, WallClock())
        task = asyncio.create_task(flow.run())
        try:
            yield flow, store
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)
    assert true(), what


async def on_disk(store: Store) -> list[AnyFact]:
    """Every event on disk, of all incarnations, in order: decoded from the very bytes that will be sent."""
    found: list[AnyFact] = []
    for incarnation in (await store.holdings())[0]:
        after = 0
        while chunk := (await store.next_chunk(incarnation.inc, Stream.EVENT, after)).chunk:
            found += decode(chunk.body, chunk.count)
            after = chunk.first + chunk.count - 1
    return found


async def test_what_is_read_is_judged_and_on_disk(machine):
    (machine.folder / "run").touch()
    async with running(machine.folder) as (flow, store):
        await until(lambda: flow.judged >= 3, "three verdicts")
        verdicts = [f for f in await on_disk(store) if isinstance(f, Judged)]
        assert len(verdicts) >= 3
        assert all(v.decision in {"normal", "warning"} for v in verdicts[1:])
        assert store.counts().produced == store.counts().waiting > 20
        assert flow.judged_offline == flow.judged


async def test_a_lost_machine_is_a_gap_and_an_unknown_state_and_comes_back(machine):
    async with running(machine.folder) as (flow, store):
        await until(lambda: flow.sources["plc"].state == "connected", "connected")
        machine.stop()
        await until(lambda: flow.sources["plc"].state == "down", "lost")
        assert "check" in flow.sources["plc"].why
        machine.start()
        await until(lambda: flow.sources["plc"].state == "connected", "back")
        await until(lambda: flow.pipelines[WORK_UNIT].production.now.state == "IDLE", "state known again")
        facts = await on_disk(store)
        assert [f.connected for f in facts if isinstance(f, ConnectionChanged)] == [True, False, True]
        (gap,) = [f for f in facts if isinstance(f, Gap)]
        assert gap.start < gap.at
        assert [f.state for f in facts if isinstance(f, StateChanged)] == ["IDLE", "UNDEFINED", "IDLE"]


async def test_an_unreachable_machine_is_said_once_and_tried_again(machine):
    machine.stop()
    async with running(machine.folder) as (flow, store):
        await until(lambda: flow.sources["plc"].state == "down", "down")
        machine.start()
        await until(lambda: flow.judged >= 1, "judged after all")
        facts = await on_disk(store)
        assert [f.connected for f in facts if isinstance(f, ConnectionChanged)] == [False, True]


async def test_a_restart_counts_what_was_made_meanwhile_once(machine):
    truth = machine.folder / "truth.json"
    (machine.folder / "run").touch()
    async with running(machine.folder) as (flow, _):
        await until(lambda: flow.judged >= 2, "judged")
        baseline = flow.pipelines[WORK_UNIT].production.now
        await until(lambda: sum(baseline.counters.values()) > 20, "counted")
    before = truth.read_text()
    await until(lambda: truth.read_text() != before, "made while nobody looked")
    async with running(machine.folder) as (flow, store):
        await until(lambda: flow.judged >= 4, "judged again")
        (machine.folder / "run").unlink()
        await until(lambda: flow.pipelines[WORK_UNIT].production.now.state == "IDLE", "held")
        made = int(truth.read_text().split(":")[1].strip(" }"))
        await until(lambda: flow.pipelines[WORK_UNIT].production.now.counters["made"] == made, "the last count is read")
        await until(lambda: not any(flow.pipelines[WORK_UNIT].production.now.gains.values()), "reported")
        facts = [f for f in await on_disk(store) if isinstance(f, Produced)]
        starts = [f.start for f in facts]
        assert starts == sorted(set(starts)), "periods follow each other"
        assert sum(f.produced for f in facts) <= made
        first_seen = made - sum(f.produced for f in facts)
        assert first_seen <= 20, "only what was made before the first look is not ours to count"
