"""The driver against servers of other makes: libmodbus (C) and modbus-serial (Node), with mbpoll as a second reader."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing

import numpy as np
import pytest

from edge.drivers.driver import DriverError
from sync.quality import (
    BAD_CONFIGURATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_TIMEOUT,
    GOOD,
)
from sync.reading import Readings
from tests.contracts.driver_contract import CONTRACT, until_lost
from tests.edge.drivers.machines import tag
from tests.modbus_servers import OtherMachine, bit, mbpoll, word

MAKES = ["libmodbus", "node"]


def small(make: str, **config) -> OtherMachine:
    return OtherMachine(
        make,
        [
            tag(3, "holding:0", type="uint16"),
            tag(4, "holding:7", type="int16"),
            tag(7, "input:5", type="uint16"),
            tag(9, "coil:2", type="bool"),
            tag(11, "discrete:3", type="bool"),
        ],
        **config,
    )


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_modbus_keeps_the_driver_contract_with_other_makes(promise, make) -> None:
    await promise(small(make))


async def scans(machine: OtherMachine, count: int = 1, **more) -> list[Readings]:
    """Start the machine, poll it, stop it."""
    await machine.start()
    try:
        batches: list[Readings] = []
        async with machine.driver(**more) as driver, aclosing(driver.readings()) as readings:
            async for batch in readings:
                batches.append(batch)
                if len(batches) == count:
                    break
        return batches
    finally:
        await machine.stop()


def truth(machine: OtherMachine, batch: Readings) -> dict[int, tuple[object, object]]:
    """Give tag → (value, what its register holds) for all good values of a batch."""
    told = {}
    for index, value, status, _ in batch:
        if status != GOOD:
            continue
        of = next(t for t in machine.tags if t.index == index)
        table, address = of.address.split(":")
        unit = of.unit or 1
        if table in {"coil", "discrete"}:
            told[index] = (value, float(bit(int(address), unit)))
        else:
            told[index] = (value, float(word(int(address), unit, 3 if table == "holding" else 4)))
    return told


def right(machine: OtherMachine, batch: Readings) -> int:
    """Check that every good value is that of its own register; give how many there are."""
    told = truth(machine, batch)
    assert all(value == held for value, held in told.values()), {k: v for k, v in told.items() if v[0] != v[1]}
    return len(told)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("in_flight", [1, 8])
async def test_every_value_of_a_thousand_is_its_own_registers(make, in_flight) -> None:
    machine = OtherMachine(
        make,
        [tag(i, f"{'holding' if i % 2 else 'input'}:{100 + 2 * i}", type="uint16") for i in range(900)]
        + [tag(900 + i, f"{'coil' if i % 2 else 'discrete'}:{3 * i}", type="bool") for i in range(100)],
        in_flight=in_flight,
        timeout_s=2.0,
    )
    for batch in await scans(machine, 3):
        assert right(machine, batch) == 1000


@pytest.mark.parametrize("make", MAKES)
async def test_mbpoll_reads_what_we_read(make) -> None:
    machine = OtherMachine(
        make,
        [tag(i, f"holding:{i}", type="uint16") for i in range(20)]
        + [tag(20 + i, f"input:{30 + 2 * i}", type="float32", word_order="CDAB") for i in range(4)]
        + [tag(30 + i, f"coil:{i}", type="bool") for i in range(8)],
    )
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            ours = {index: value for index, value, _, _ in await anext(readings)}
        where = ("-m", "tcp", "-a", "1", "-p", str(machine.port), "127.0.0.1")
        held = await asyncio.to_thread(mbpoll, "-t", "4", "-r", "0", "-c", "20", *where)
        floats = await asyncio.to_thread(mbpoll, "-t", "3:float", "-r", "30", "-c", "4", *where)
        coils = await asyncio.to_thread(mbpoll, "-t", "0", "-r", "0", "-c", "8", *where)
    finally:
        await machine.stop()
    assert [ours[i] for i in range(20)] == [float(held[i]) for i in range(20)]
    assert [ours[20 + i] for i in range(4)] == [pytest.approx(float(floats[30 + 2 * i]), rel=1e-4) for i in range(4)]
    assert [ours[30 + i] for i in range(8)] == [float(coils[i]) for i in range(8)]


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (5000, BAD_DEVICE_FAILURE),  # busy
        (5001, BAD_DECODING_ERROR),  # one register too few
        (5002, BAD_TIMEOUT),  # nobody's transaction
        (5004, GOOD),  # byte by byte
        (5005, BAD_TIMEOUT),  # never
        (5006, GOOD),  # twice
    ],
)
async def test_a_block_that_misbehaves_harms_no_other(at, status) -> None:
    tags = [tag(0, f"holding:{at}", type="uint16"), *(tag(i, f"holding:{i}", type="uint16") for i in range(1, 9))]
    machine = OtherMachine("libmodbus", tags, timeout_s=0.8, retries=0)
    for batch in await scans(machine, 2):
        right(machine, batch)
        assert batch.status.tolist() == [status] + [GOOD] * 8
        assert np.isnan(batch.value[0]) == (status != GOOD)


async def test_an_answer_that_comes_too_late_lands_nowhere() -> None:
    # Register 5003 answers after 1.2 s and is given up before: its answer comes while others are asked for.
    tags = [tag(0, "holding:5003", type="uint16"), *(tag(i, f"holding:{200 * i}", type="uint16") for i in range(1, 9))]
    machine = OtherMachine("libmodbus", tags, timeout_s=0.8, retries=0, breaker_fails=100)
    good = 0
    for batch in await scans(machine, 2):
        good += right(machine, batch)
        assert batch.status[0] == BAD_TIMEOUT
    assert good


async def test_a_hole_costs_one_tag_and_a_device_that_refuses_a_function_says_so() -> None:
    tags = [tag(i, f"holding:{40 + i}", type="uint16") for i in range(40)]
    machine = OtherMachine("node", tags)
    first, second = await scans(machine, 2)
    for batch in (first, second):
        assert [i for i, status in enumerate(batch.status.tolist()) if status != GOOD] == [20]
        assert batch.status[20] == BAD_CONFIGURATION_ERROR
        assert right(machine, batch) == 39


@pytest.mark.parametrize("make", MAKES)
async def test_a_machine_that_stalls_is_lost_and_its_late_answers_are_nobodys(make) -> None:
    machine = small(make)
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            right(machine, await anext(readings))
            machine.process.send_signal(signal.SIGSTOP)
            with pytest.raises(DriverError, match="silent"):  # noqa: PT012 - what comes on the way is looked at too
                async for batch in readings:
                    right(machine, batch)
        machine.process.send_signal(signal.SIGCONT)
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            assert right(machine, await anext(readings)) == 5
    finally:
        await machine.stop()


@pytest.mark.parametrize("make", MAKES)
async def test_a_short_stall_costs_values_and_no_connection(make) -> None:
    tags = [tag(i, f"holding:{i}", type="uint16") for i in range(5)]
    machine = OtherMachine(make, tags, timeout_s=0.5, breaker_fails=100, retries=0)
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            await anext(readings)
            machine.process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(20):
                async for batch in readings:
                    right(machine, batch)
                    if (batch.status != GOOD).any():
                        machine.process.send_signal(signal.SIGCONT)
                        break
                async for batch in readings:
                    if (good := right(machine, batch)) == 5:
                        break
            assert good == 5  # on the same connection
    finally:
        await machine.stop()


@pytest.mark.parametrize("make", MAKES)
async def test_a_machine_that_is_killed_is_lost_at_once(make) -> None:
    machine = small(make)
    await machine.start()
    try:
        async with machine.driver() as driver:
            async with aclosing(driver.readings()) as readings:
                await anext(readings)
            machine.process.kill()
            with pytest.raises(DriverError, match="check"):
                async with asyncio.timeout(20):
                    await until_lost(driver)
    finally:
        await machine.stop()
