"""Back-fill through the real flow and store, from a real server's history: live, historical and gaps add up, once each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.flow import Flow
from edge.site import load
from edge.store import Store, open_store
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import Backfilled, Fact, Gap, Stream
from tests.link import Link
from tests.servers import free_port, listens, node, process, wait_until

URI = "urn:triflow:test:history"
WORK_UNIT = "hall/line-1/filler"
TAGS = {
    "count": "uint32", "level": "float64", "state": "int32", "text": "string",
    "short": "uint32", "plain": "uint32", "still": "int32",
}  # fmt: skip
REMEMBERED = ("count", "level", "state", "text")
SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[page]
port = {page}
[[connection]]
name = "plc"
driver = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
security = "none"
publishing_ms = 50
sampling_ms = 0
queue_size = 10000
history = true
[[line]]
work_unit = "hall/line-1/filler"
connection = "plc"
book = "machine.toml"
report_s = 0.5
"""

Value = tuple[str, object, int]
"""Tag, value, ms since 1970."""


class Plant:
    """A node-opcua server with a history, and the truth it wrote down."""

    def __init__(self, folder: Path, port: int, server) -> None:
        self.folder, self.port, self.server = folder, port, server

    def truth(self) -> list[Value]:
        lines = (self.folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def forget_sessions(self) -> None:
        """Make the server close all sessions, so that what was missed is really missed."""
        self.server.send_signal(signal.SIGUSR2)


@pytest.fixture
def plant(tmp_path):
    port = free_port()
    arguments = (str(port), str(tmp_path / "truth.jsonl"))
    with node("history.mjs", *arguments, log=tmp_path / "node.log", ready=lambda: listens(port)) as server:
        yield Plant(tmp_path, port, server)


def write_site(folder: Path, port: int, names: tuple[str, ...] = tuple(TAGS)) -> None:
    book = ['title = "machine"'] + [
        f'[[tag]]\nname = "{name}"\naddress = "nsu={URI};s={name}"\ntype = "{kind}"\n'
        for name, kind in TAGS.items() if name in names
    ]  # fmt: skip
    (folder / "machine.toml").write_text("\n".join(book))
    (folder / "site.toml").write_text(SITE.format(port=port, page=free_port()))


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Flow, Store]]:
    site = load(folder / "site.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**27, ballast_bytes=0, software="test") as store:
        flow = Flow(site, store, WallClock())
        task = asyncio.create_task(flow.run())
        try:
            yield flow, store
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(true, what: str, seconds: float = 30) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not (found := true()):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None
    return found


async def on_disk(store: Store) -> tuple[list[Fact], list[tuple[Value, bool]]]:
    """Give every event and every reading on disk, of all incarnations: decoded from the very bytes that will be sent."""
    names = list(TAGS)
    facts: list[Fact] = []
    values: list[tuple[Value, bool]] = []
    for incarnation in (await store.holdings())[0]:
        for stream in (Stream.EVENT, Stream.FACT):
            after = 0
            while chunk := (await store.next_chunk(incarnation.inc, stream, after)).chunk:
                after = chunk.first + chunk.count - 1
                found = decode(chunk.body, chunk.count)
                if isinstance(found, list):
                    facts += found
                    continue
                values += [
                    ((names[tag], value, at // 1_000_000), found.readings.historical)
                    for tag, value, status, at in found.readings
                    if not status & 0x8000_0000
                ]
    return facts, values


async def said(store: Store, kind: type[Fact]) -> list[Fact]:
    return [fact for fact in (await on_disk(store))[0] if isinstance(fact, kind)]


async def until_said(store: Store, kind: type[Fact], count: int, seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while len(await said(store, kind)) < count:
            await asyncio.sleep(0.1)


def check(plant: Plant, facts: list[Fact], values: list[tuple[Value, bool]], gaps_of: tuple[str, ...]) -> None:
    """Compare what is on disk with what the server had: nothing invented, nothing twice, nothing missing undeclared."""
    truth = plant.truth()
    true = set(truth)
    assert [value for value, _ in values if value not in true] == [], "values that the machine never had"
    twice = [value for value, times in Counter(value for value, _ in values).items() if times > 1]
    assert twice == [], "values recorded twice"
    gaps = [fact for fact in facts if isinstance(fact, Gap)]
    have = {value for value, _ in values}
    for name in {tag for tag, _, _ in have}:
        times = [at for (tag, _, at) in have if tag == name]
        first, last = min(times), max(times)
        lost = [value for value in truth if value[0] == name and first < value[2] < last and value not in have]
        undeclared = [
            value for value in lost
            if not any(g.start <= value[2] * 1_000_000 <= g.at and (not g.names or name in g.names) for g in gaps)
        ]  # fmt: skip
        assert undeclared == [], f"{name}: missing and nobody said so"
        if name not in gaps_of:
            assert lost == [], f"{name}: its history has them all"


async def test_what_was_missed_comes_from_the_machines_history_once_and_the_rest_is_a_gap(plant) -> None:
    async with Link(plant.port) as link:
        write_site(plant.folder, link.port)
        async with running(plant.folder) as (flow, store):
            await until(lambda: flow.sources["plc"].readings > 50, "live")
            for outage in (1, 2):
                await link.cut()
                await until(lambda: flow.sources["plc"].state == "down", "lost")
                plant.forget_sessions()
                before = len(plant.truth())
                await until(lambda before=before: len(plant.truth()) > before + 400, "the machine goes on alone")
                await link.mend()
                await until_said(store, Backfilled, outage)
            read = flow.sources["plc"].readings
            await until(lambda: flow.sources["plc"].readings > read + 50, "live again")
        async with reopened(plant.folder) as store:
            facts, values = await on_disk(store)
    check(plant, facts, values, ("short", "plain"))
    filled = [fact for fact in facts if isinstance(fact, Backfilled)]
    assert len(filled) == 2
    assert all(fact.work_unit == WORK_UNIT and fact.tags == 5 and fact.readings > 100 for fact in filled)
    historical = [value for value, past in values if past]
    assert {name for name, _, _ in historical} >= set(REMEMBERED)
    assert len(historical) == sum(fact.readings for fact in filled)
    gaps = [fact for fact in facts if isinstance(fact, Gap)]
    assert {tuple(gap.names) for gap in gaps} == {("short",), ("plain",)}
    assert any("BadHistoryOperationUnsupported" in gap.reason for gap in gaps)


class Gateway:
    """A real gateway process, which can be told where to die."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.log = plant.folder / "gateway.log"

    def said(self, what: str) -> int:
        return self.log.read_text().count(what) if self.log.exists() else 0

    def run(self, dies_at: str = ""):
        return process(
            "edge",
            "run",
            str(self.plant.folder / "site.toml"),
            log=self.log,
            env=os.environ | {"TRIFLOW_FAILPOINT": dies_at},
        )

    def wait_for_values(self, count: int) -> None:
        before = len(self.plant.truth())
        wait_until(lambda: len(self.plant.truth()) > before + count, "the machine goes on")


async def test_kill_9_at_any_point_of_a_back_fill_neither_loses_nor_doubles_a_value(plant) -> None:
    write_site(plant.folder, plant.port, REMEMBERED)
    gateway = Gateway(plant)
    with gateway.run() as running_one:
        wait_until(lambda: gateway.said("connected: source=plc"), "connected")
        gateway.wait_for_values(150)
        running_one.kill()
        running_one.wait(10)
    for place in ("edge.backfill:1", "edge.backfilled:1", "edge.after_commit:9"):
        plant.forget_sessions()
        gateway.wait_for_values(100)
        with gateway.run(place) as dying:
            wait_until(lambda dying=dying: dying.poll() is not None, f"killed at {place}")
            assert dying.returncode == -signal.SIGKILL
    plant.forget_sessions()
    before = gateway.said("history is complete")
    with gateway.run():
        wait_until(lambda: gateway.said("history is complete") > before, "filled at last", 40)
        gateway.wait_for_values(50)
    async with reopened(plant.folder) as store:
        facts, values = await on_disk(store)
    check(plant, facts, values, ())
    assert {value[0] for value, past in values if past} >= set(REMEMBERED)
    assert any(isinstance(fact, Backfilled) for fact in facts)


async def test_a_server_that_forgot_all_at_its_restart_leaves_a_gap_that_says_so(tmp_path) -> None:
    port = free_port()
    arguments = (str(port), str(tmp_path / "truth.jsonl"))
    plant = Plant(tmp_path, port, None)
    write_site(tmp_path, port, REMEMBERED)
    async with running(tmp_path) as (flow, store):
        with node("history.mjs", *arguments, log=tmp_path / "node.log", ready=lambda: listens(port)):
            await until(lambda: flow.sources["plc"].readings > 50, "live")
        await until(lambda: flow.sources["plc"].state == "down", "lost")
        with node("history.mjs", *arguments, log=tmp_path / "node.log", ready=lambda: listens(port)):
            await until_said(store, Gap, 1)
            read = flow.sources["plc"].readings
            await until(lambda: flow.sources["plc"].readings > read + 50, "live again")
            facts, values = await on_disk(store)
    check(plant, facts, values, REMEMBERED)
    gaps = [fact for fact in facts if isinstance(fact, Gap)]
    assert any("does not reach back" in gap.reason for gap in gaps)
    assert all(gap.work_unit == WORK_UNIT and gap.start < gap.at for gap in gaps)


@contextlib.asynccontextmanager
async def reopened(folder: Path) -> AsyncIterator[Store]:
    """Open the store as it lies, without a gateway on it."""
    data = load(folder / "site.toml").data
    async with open_store(data, clock=WallClock(), quota_bytes=2**27, ballast_bytes=0, software="test") as store:
        yield store
