"""Writing: the right function for each tag, read back, and nothing that the book does not allow."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from edge.connections import Modbus
from edge.drivers.driver import RefusedError, Writable
from edge.drivers.modbus.driver import ModbusDriver
from edge.tags import Tag
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND, ModbusMachine, tag
from tests.edge.drivers.modbus.adversary import Adversary
from tests.modbus_servers import OtherMachine, adversary_on, line, mbpoll, word

TAGS: dict[str, Tag] = {
    made.spec.name: made
    for made in (
        tag(0, "coil:3", name="valve", type="bool", writable=True),
        tag(1, "holding:0", name="level", type="int16", scale=0.1, offset=-20.0, low=-20, high=100, writable=True),
        tag(2, "holding:2", name="power", type="float32", word_order="CDAB", writable=True),
        tag(3, "holding:4", name="energy", type="uint64", writable=True),
        tag(4, "holding:8.5", name="enable", type="bool", writable=True),
        tag(5, "holding:8.8-11", name="gear", type="uint8", writable=True),
        tag(6, "holding:10", name="recipe", type="string", length=4, writable=True),
        tag(7, "holding:14", name="mode", type="uint16", values={"1": "auto", "2": "manual"}, writable=True),
        tag(8, "holding:15", name="speed", type="uint16"),
        tag(9, "input:3", name="pressure", type="uint16", writable=True),
        tag(10, "discrete:3", name="door", type="bool", writable=True),
        tag(11, "holding:20.low", name="tenths", type="int8", writable=True),
    )
}
EVERY = list(TAGS.values())

WRITES = [
    ("valve", True), ("valve", False), ("level", 10.5), ("level", -20.0), ("power", 61.5), ("power", 0.1),
    ("energy", 2**60 + 1), ("enable", True), ("gear", 9), ("enable", False), ("recipe", "cola"), ("mode", 2),
    ("tenths", -3),
]  # fmt: skip


@pytest.mark.parametrize("make", ["libmodbus", "node"])
async def test_every_kind_of_tag_is_written_and_read_back_on_two_makes(make) -> None:
    """libmodbus knows functions 22 and 23; modbus-serial does not, so registers are changed the long way there."""
    machine = OtherMachine(make, EVERY, timeout_s=2.0)
    await machine.start()
    try:
        async with machine.driver() as driver:
            assert isinstance(driver, Writable)
            for name, value in WRITES:
                written = await driver.write(TAGS[name], value)
                assert written.taken, (name, written)
                assert written.status == 0
            async with aclosing(driver.readings()) as readings:
                values = {EVERY[index].spec.name: value for index, value, _, _ in await anext(readings)}
        where = ("-m", "tcp", "-a", "1", "-p", str(machine.port), "127.0.0.1")
        held = await asyncio.to_thread(mbpoll, "-t", "4", "-r", "0", "-c", "15", *where)
        coils = await asyncio.to_thread(mbpoll, "-t", "0", "-r", "3", "-c", "1", *where)
    finally:
        await machine.stop()
    assert values["level"] == -20
    assert values["power"] == pytest.approx(0.1)
    assert values["energy"] == 2**60 + 1
    assert values["recipe"] == "cola"
    assert (values["valve"], values["enable"], values["gear"], values["mode"], values["tenths"]) == (0, 0, 9, 2, -3)
    registers = [int(held[at].split()[0]) & 0xFFFF for at in range(15)]
    assert registers[0] == 0
    assert registers[4:8] == [0x1000, 0, 0, 1]
    assert registers[8] == (8 * 31 + 7919 + 303) & ~0b1111_0010_0000 | 9 << 8  # nobody else's bits
    assert registers[10:12] == [0x636F, 0x6C61]
    assert coils[3] == "0"


async def test_a_bit_is_written_on_a_serial_line_as_well(tmp_path) -> None:
    with line(tmp_path) as (ours, theirs), adversary_on(theirs):
        serial = {"device": str(ours), "baudrate": 115_200, "parity": "none"}
        config = Modbus(driver="modbus", name="machine", transport="rtu", serial=serial)
        async with ModbusDriver(config, EVERY, WallClock(), AROUND) as driver:
            for name, value in WRITES:
                assert (await driver.write(TAGS[name], value)).taken, name


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("speed", 1, "writable = true"),
        ("pressure", 1, "can only be read"),
        ("door", True, "can only be read"),
        ("level", 101, "outside its range -20 to 100"),
        ("level", float("nan"), "no number"),
        ("level", "high", "is a number"),
        ("recipe", "much too long", "4 registers hold 8"),
        ("recipe", 7, "is a text"),
        ("gear", 16, "0 to 15"),
        ("valve", 2, "a coil is 0 or 1"),
        ("mode", 70_000, "0 to 65535"),
        ("mode", "sideways", "is a number"),
    ],
)
async def test_what_the_book_does_not_allow_never_reaches_the_machine(name, value, why) -> None:
    machine = OtherMachine("libmodbus", EVERY)
    await machine.start()
    try:
        async with machine.driver() as driver:
            with pytest.raises(RefusedError, match=why):
                await driver.write(TAGS[name], value)
            assert driver.health.requests == 0
    finally:
        await machine.stop()


async def test_a_named_value_is_written_by_its_name_and_what_does_not_fit_the_step_is_told() -> None:
    machine = OtherMachine("libmodbus", EVERY)
    await machine.start()
    try:
        async with machine.driver() as driver:
            assert (await driver.write(TAGS["mode"], "manual")).taken
            written = await driver.write(TAGS["level"], 10.54)
            assert not written.taken
            assert written.found == pytest.approx(10.5)
    finally:
        await machine.stop()


def plain_machine(**more: Any) -> ModbusMachine:
    return ModbusMachine(EVERY, holding={0: [0] * 40}, coils={0: [False] * 16}, **more)


async def test_what_the_machine_refuses_is_said_and_the_connection_lives() -> None:
    machine = plain_machine()
    machine.failing[0] = ExcCodes.DEVICE_BUSY
    await machine.start()
    try:
        async with machine.driver() as driver:
            with pytest.raises(RefusedError, match="busy"):
                await driver.write(TAGS["level"], 5)
            machine.failing.clear()
            assert (await driver.write(TAGS["level"], 5)).taken
    finally:
        await machine.stop()


class Stubborn(Adversary):
    """Takes every write, and holds what it always held."""

    @staticmethod
    def right(asked) -> bytes:
        if asked.function == 6:
            return bytes([6]) + asked.address.to_bytes(2, "big") + asked.count.to_bytes(2, "big")
        return Adversary.right(asked)


async def test_a_machine_that_takes_the_write_and_holds_another_value_is_found_out() -> None:
    tags = [tag(0, "holding:7", type="uint16", writable=True, device=1)]
    async with Stubborn("tcp") as server, server.driver(tags, timeout_s=2.0) as driver:
        written = await driver.write(tags[0], 9)
    assert not written.taken
    assert written.found == word(7)


async def test_a_write_goes_before_polls_that_wait() -> None:
    tags = [tag(i, f"holding:{300 * i}", type="uint16", writable=True) for i in range(6)]
    reached, go = asyncio.Event(), asyncio.Event()
    order: list[int] = []

    class Slow(Stubborn):
        async def _answer(self, asked, writer) -> None:
            order.append(asked.function)
            if len(order) == 1:
                reached.set()
                await go.wait()
            await super()._answer(asked, writer)

    async with Slow("tcp") as server:
        driver = server.driver(tags, timeout_s=5.0, max_gap=0)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            polling = asyncio.create_task(anext(readings))
            await reached.wait()
            writing = asyncio.create_task(driver.write(tags[0], 9))
            await asyncio.sleep(0)  # the write is in the queue now, behind the first of six polls
            go.set()
            await writing
            await polling
    assert order[:3] == [3, 6, 3]
    assert len(order) == 8


async def test_a_write_to_a_unit_without_power_says_that_nothing_is_known() -> None:
    tags = [tag(0, "holding:0", type="uint16", writable=True, device=2)]
    async with Adversary("tcp") as server:
        server.dead.add(2)
        async with server.driver(tags) as driver:
            with pytest.raises(RefusedError, match="not known"):
                await driver.write(tags[0], 9)
