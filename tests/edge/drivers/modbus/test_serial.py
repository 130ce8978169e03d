"""RTU on a real pair of terminals, libmodbus at the other end and mbpoll beside us; and behind a socket, with pymodbus."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType as Sim
from pymodbus.simulator import SimData, SimDevice

from edge.connections import Modbus
from edge.drivers.driver import DriverError
from edge.drivers.modbus.driver import ModbusDriver
from edge.drivers.modbus.serial_line import character_s, silence_s
from edge.tags import Tag
from sync.clock import WallClock
from sync.quality import BAD_DEVICE_FAILURE, BAD_TIMEOUT, GOOD
from tests.edge.drivers.machines import AROUND, tag
from tests.edge.drivers.modbus.adversary import Adversary, framed
from tests.edge.drivers.modbus.test_desync import right, tags_of
from tests.modbus_servers import adversary_on, line, mbpoll, word
from tests.servers import free_port


def driver_on(device: Path | str, tags: list[Tag], **more) -> ModbusDriver:
    serial = {"device": str(device), "baudrate": 115_200, "parity": "none", **more.pop("serial", {})}
    config = {"driver": "modbus", "name": "machine", "transport": "rtu", "serial": serial, "period_ms": 50, **more}
    return ModbusDriver(Modbus(**config), tags, WallClock(), AROUND)


async def test_libmodbus_on_a_line_gives_every_value_of_its_own_register(tmp_path) -> None:
    tags = [tag(i, f"holding:{3 * i}", type="uint16", device=4) for i in range(300)]
    with line(tmp_path) as (ours, theirs), adversary_on(theirs, 4):
        driver = driver_on(ours, tags)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            for _ in range(3):
                assert right(tags, await anext(readings)) == 300
        # The line is free again, and a reader who shares no code with us sees the same.
        held = await asyncio.to_thread(
            mbpoll, "-m", "rtu", "-b", "115200", "-P", "none", "-a", "4", "-t", "4", "-r", "6", "-c", "3", str(ours)
        )
    assert {int(at): int(value) for at, value in held.items()} == {at: word(at, 4) for at in (6, 7, 8)}


async def test_a_line_that_misbehaves_gives_no_wrong_value_and_lives(tmp_path) -> None:
    # busy · too few registers · another unit · byte by byte · never · twice
    places = [5000, 5001, 5002, 5004, 5005, 5006, 10]
    tags = [tag(i, f"holding:{at}", type="uint16", device=4) for i, at in enumerate(places)]
    wanted = [BAD_DEVICE_FAILURE, BAD_TIMEOUT, BAD_TIMEOUT, GOOD, BAD_TIMEOUT, GOOD, GOOD]
    with line(tmp_path) as (ours, theirs), adversary_on(theirs, 4):
        driver = driver_on(ours, tags, timeout_s=0.4, retries=0, max_registers=1, breaker_fails=100)
        async with asyncio.timeout(40), driver, aclosing(driver.readings()) as readings:
            for _ in range(2):
                batch = await anext(readings)
                right(tags, batch)
                assert batch.status.tolist() == wanted


async def test_several_pymodbus_units_share_a_line_behind_a_socket() -> None:
    units = [
        SimDevice(unit, simdata=[SimData(0, values=[word(at, unit) for at in range(50)], datatype=Sim.REGISTERS)])
        for unit in (1, 2)
    ]
    tags = [
        tag(i, f"holding:{at}", type="uint16", device=unit)
        for i, (unit, at) in enumerate((unit, at) for unit in (1, 2) for at in range(0, 50, 5))
    ]
    port = free_port()
    server = ModbusTcpServer(units, framer=FramerType.RTU, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        config = Modbus(
            driver="modbus", name="machine", transport="rtu_over_tcp", host="127.0.0.1", port=port, period_ms=50,
            timeout_s=2.0,
        )  # fmt: skip
        driver = ModbusDriver(config, tags, WallClock(), AROUND)
        async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
            for _ in range(3):
                assert right(tags, await anext(readings)) == 20
    finally:
        await server.shutdown()
        await asyncio.sleep(0)


@pytest.mark.parametrize("echo", [False, True], ids=["quiet", "hears itself"])
async def test_an_adapter_that_hears_itself_and_a_line_full_of_others_frames(tmp_path, echo) -> None:
    """The other end is ours, byte by byte: our own request first, then another master's answer, then the right one."""
    tags = tags_of((1,))
    with line(tmp_path) as (ours, theirs):
        file = os.open(theirs, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        came = bytearray()

        def answer() -> None:
            came.extend(os.read(file, 4096))
            while len(came) >= 8:
                request, came[:8] = bytes(came[:8]), b""
                unit, pdu = request[0], request[1:6]
                asked = Adversary.request(unit, pdu)
                out = request if echo else b""
                if asked.function == 3:
                    out += framed("rtu", 0, 9, Adversary.right(asked._replace(unit=9)))
                    out += framed("rtu", 0, unit, Adversary.right(asked))
                else:
                    out += framed("rtu", 0, unit, b"\x81\x01")
                os.write(file, out)

        loop.add_reader(file, answer)
        try:
            driver = driver_on(ours, tags, timeout_s=1.0)
            async with asyncio.timeout(30), driver, aclosing(driver.readings()) as readings:
                for _ in range(3):
                    assert right(tags, await anext(readings)) == len(tags)
        finally:
            loop.remove_reader(file)
            os.close(file)


async def test_a_line_that_is_unplugged_is_lost(tmp_path) -> None:
    tags = [tag(0, "holding:0", type="uint16", device=1)]
    with line(tmp_path) as (ours, theirs), adversary_on(theirs) as machine:
        driver = driver_on(ours, tags, timeout_s=0.3)
        async with asyncio.timeout(20), driver, aclosing(driver.readings()) as readings:
            await anext(readings)
            machine.kill()
            with pytest.raises(DriverError, match="check"):  # noqa: PT012 - what comes on the way is looked at too
                async for batch in readings:
                    right(tags, batch)


async def test_a_line_is_ours_alone_and_a_wrong_one_says_what_to_check(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with line(tmp_path) as (ours, _):
        async with driver_on(ours, []):
            with pytest.raises(DriverError, match="in use"):
                await driver_on(ours, []).__aenter__()
        for device, serial, why in (
            (tmp_path / "nowhere", {}, "no such line"),
            (tmp_path / "file", {}, "no serial line"),
            (ours, {"baudrate": 12_345}, "12345 baud"),
        ):
            with pytest.raises(DriverError, match=why):
                await driver_on(device, [], serial=serial).__aenter__()


def test_frames_are_kept_apart_by_three_and_a_half_characters() -> None:
    slow = Modbus(driver="modbus", name="m", transport="rtu", serial={"device": "x", "baudrate": 9600}).serial
    fast = Modbus(driver="modbus", name="m", transport="rtu", serial={"device": "x", "baudrate": 115_200}).serial
    assert slow is not None
    assert fast is not None
    assert silence_s(slow) == pytest.approx(0.0040, abs=0.0001)
    assert silence_s(fast) == 0.00175
    assert character_s(slow) == pytest.approx(11 / 9600)
