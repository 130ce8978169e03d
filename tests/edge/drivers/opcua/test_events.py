"""Events and conditions as facts, from node-opcua and from asyncua."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from asyncua import ua

from edge.connections import EventSource
from edge.drivers.driver import Eventful
from edge.drivers.opcua import notice
from edge.drivers.opcua.notice import Notice
from edge.site import load
from edge.store import open_store
from sync.clock import WallClock
from sync.facts import AlarmChanged, EventNotified, Fact
from tests.edge.drivers.machines import URI as ASYNCUA
from tests.edge.drivers.machines import OpcUaMachine, tag
from tests.edge.drivers.opcua.press import Press, a_press, at
from tests.edge.test_backfill import on_disk, running
from tests.servers import free_port

WORK_UNIT = "hall/line-1/press"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with a_press(tmp_path_factory.mktemp("press")) as running_press:
        yield running_press


@pytest.fixture
async def press(machine):
    await set_to(machine, "temperature", 60.0)
    await set_to(machine, "pressure", 3.0)
    return machine


class Listener:
    """What a driver's events gave so far."""

    def __init__(self, driver) -> None:
        self.driver = driver
        self.facts: list[Fact] = []
        self._more = asyncio.Event()

    async def take(self, standing) -> None:
        async with aclosing(self.driver.events(standing)) as batches:
            async for batch in batches:
                self.facts += batch
                self._more.set()

    async def follow(self) -> None:
        async with aclosing(self.driver.readings()) as batches:
            async for _ in batches:
                pass

    async def until(self, true: Callable[[Fact], bool]) -> Fact:
        """Give the first fact of which this is true."""
        async with asyncio.timeout(15):
            while not (found := [fact for fact in self.facts if true(fact)]):
                self._more.clear()
                await self._more.wait()
        return found[0]


@asynccontextmanager
async def listening(driver, standing=()) -> AsyncIterator[Listener]:
    """Follow a driver's events and, as the host does, its readings."""
    async with driver:
        listener = Listener(driver)
        tasks = [asyncio.create_task(listener.take(standing)), asyncio.create_task(listener.follow())]
        try:
            yield listener
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def set_to(press: Press, name: str, value: float) -> None:
    """Write a value as somebody else at the machine would."""
    async with press.driver() as driver:
        await driver.write(tag(0, at(name), writable=True), value)


async def open_door(driver, message: str, severity: int) -> None:
    await driver.call(at("press"), at("OpenDoor"), [message, severity])


def alarm(name: str, *, active: bool) -> Callable[[Fact], bool]:
    return lambda fact: isinstance(fact, AlarmChanged) and fact.alarm == name and fact.active is active


async def test_events_and_alarms_become_facts_with_the_machines_own_time_and_words(press) -> None:
    before = time.time_ns()
    async with listening(press.driver(events=[EventSource(node=at("press"), work_unit=WORK_UNIT)])) as heard:
        assert isinstance(heard.driver, Eventful)
        await repeat_until(heard, lambda: open_door(heard.driver, "문이 열렸다", 700), EventNotified)
        door = await heard.until(lambda fact: isinstance(fact, EventNotified))
        assert (door.type, door.node, door.severity, door.message) == (
            "DoorOpenedEventType",
            "door",
            700,
            "문이 열렸다",
        )
        assert (door.work_unit, door.source) == (WORK_UNIT, "press")
        assert before - 10**9 < door.at < time.time_ns() + 10**9
        assert len(bytes.fromhex(door.event)) > 4
        await set_to(press, "temperature", 99.0)
        up = await heard.until(alarm("press/hot", active=True))
        assert (up.severity, up.acknowledged, up.source) == ("critical", False, "press")
        assert up.summary == {"ko": "온도 99.000", "en": "온도 99.000"}
        await set_to(press, "pressure", 12.0)
        assert (await heard.until(alarm("press/tight", active=True))).severity == "warning"
        await set_to(press, "temperature", 60.0)
        await heard.until(alarm("press/hot", active=False))


async def repeat_until(heard: Listener, act, kind: type[Fact]) -> None:
    """Do something until it shows: the server has to know of our interest first."""
    async with asyncio.timeout(15):
        while not any(isinstance(fact, kind) for fact in heard.facts):
            await act()
            await asyncio.sleep(0.2)


async def test_what_is_below_the_severity_asked_for_does_not_come(press) -> None:
    async with listening(press.driver(events=[EventSource(severity=500)])) as heard:

        async def both() -> None:
            await open_door(heard.driver, "low", 499)
            await open_door(heard.driver, "high", 500)

        await repeat_until(heard, both, EventNotified)
        assert {fact.message for fact in heard.facts if isinstance(fact, EventNotified)} == {"high"}
        await set_to(press, "pressure", 12.0)  # severity 400
        await set_to(press, "temperature", 99.0)  # severity 800
        await heard.until(alarm("press/hot", active=True))
        assert not [fact for fact in heard.facts if isinstance(fact, AlarmChanged) and fact.alarm == "press/tight"]
        await set_to(press, "temperature", 60.0)  # severity 1: what stands has to be closed all the same
        await heard.until(alarm("press/hot", active=False))


async def test_conditions_are_named_again_at_every_connect_and_those_that_are_not_are_over(press) -> None:
    await set_to(press, "temperature", 99.0)
    source = EventSource(node=at("press"), work_unit=WORK_UNIT)
    for _ in range(2):
        standing = {(WORK_UNIT, "press/hot"), (WORK_UNIT, "press/gone"), ("other/line/unit", "press/else")}
        async with listening(press.driver(events=[source]), standing) as heard:
            await heard.until(alarm("press/hot", active=True))
            over = await heard.until(alarm("press/gone", active=False))
            assert over.severity == ""
            closed = {fact.alarm for fact in heard.facts if isinstance(fact, AlarmChanged) and not fact.active}
            assert closed == {"press/gone"}


async def test_a_node_that_does_not_notify_is_shown_and_the_others_are_heard(press) -> None:
    sources = [EventSource(node=at("nobody")), EventSource(node=at("press"))]
    async with listening(press.driver(events=sources)) as heard:
        await repeat_until(heard, lambda: open_door(heard.driver, "open", 100), EventNotified)
        assert "BadNodeIdUnknown" in heard.driver.health.notes[f"events {at('nobody')}"]
        assert f"events {at('press')}" not in heard.driver.health.notes


async def test_another_make_of_server_that_knows_no_refresh_still_notifies() -> None:
    machine = OpcUaMachine({"speed": ua.Variant(7, ua.VariantType.Int16)}, [])
    await machine.start()
    try:
        generator = await machine.server.get_event_generator()
        config = machine.config(events=[EventSource(severity=300)])
        driver = type(machine.driver())(
            config, [tag(0, f"nsu={ASYNCUA};s=speed", type="int16")], WallClock(), machine.driver()._around
        )
        async with listening(driver) as heard:

            async def trigger() -> None:
                generator.event.Severity = 200
                await generator.trigger(message="quiet")
                generator.event.Severity = 300
                await generator.trigger(message="loud")

            await repeat_until(heard, trigger, EventNotified)
            assert {fact.message for fact in heard.facts} == {"loud"}
            assert heard.facts[0].type == "BaseEventType"
    finally:
        await machine.stop()


SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[page]
port = {page}
[[connection]]
name = "press"
driver = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
security = "none"
publishing_ms = 50
[[connection.events]]
node = "nsu=urn:triflow:test:press;s=press"
work_unit = "hall/line-1/press"
[[line]]
work_unit = "hall/line-1/press"
connection = "press"
book = "press.toml"
"""


async def test_each_change_of_an_alarm_is_on_disk_once_through_restarts(press) -> None:
    folder = press.folder
    (folder / "site.toml").write_text(SITE.format(port=press.port, page=free_port()))
    (folder / "press.toml").write_text(
        f'title = "press"\n[[tag]]\nname = "mode"\naddress = "{at("mode")}"\ntype = "int32"\n'
    )

    async def alarms(store) -> list[tuple[str, bool, str]]:
        facts, _ = await on_disk(store)
        return [(f.alarm, f.active, f.severity) for f in facts if isinstance(f, AlarmChanged)]

    async def until_alarms(store, count: int) -> list[tuple[str, bool, str]]:
        async with asyncio.timeout(20):
            while len(await alarms(store)) < count:
                await asyncio.sleep(0.1)
        return await alarms(store)

    await set_to(press, "temperature", 99.0)
    async with running(folder) as (_, store):
        assert await until_alarms(store, 1) == [("press/hot", True, "critical")]
    await set_to(press, "temperature", 60.0)  # while nobody listens
    await set_to(press, "pressure", 12.0)
    async with running(folder) as (_, store):
        found = await until_alarms(store, 3)
        assert sorted(found[1:]) == [("press/hot", False, "critical"), ("press/tight", True, "warning")]
    async with running(folder) as (_, store):
        await set_to(press, "temperature", 85.0)
        assert (await until_alarms(store, 4))[3] == ("press/hot", True, "critical")
    async with open_store(
        load(folder / "site.toml").data, clock=WallClock(), quota_bytes=2**27, ballast_bytes=0, software="test"
    ) as store:
        assert len(await alarms(store)) == 4  # and `tight`, named at each start, was said once


@pytest.mark.parametrize(("severity", "word"), [(1, "info"), (333, "info"), (334, "warning"), (667, "critical")])
def test_severities_fall_into_three_bands(severity, word) -> None:
    assert notice.band(severity) == word


def test_a_condition_without_an_active_state_stands_as_long_as_it_is_of_interest() -> None:
    fields = {"ConditionName": "ask", "SourceName": "3:robot", "Retain": True}
    assert (Notice(0, fields).condition, Notice(0, fields).active) == ("robot/ask", True)
    assert not Notice(0, fields | {"Retain": False}).active
    assert not Notice(0, fields | {"Active": True, "Enabled": False}).active
    assert Notice(0, {"SourceName": "door"}).condition is None
    assert notice.summary_of(ua.LocalizedText("뜨겁다", "ko-KR")) == {"ko": "뜨겁다"}
