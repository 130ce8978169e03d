from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing

import numpy as np
import pytest
from pymodbus.constants import ExcCodes

from edge.drivers.driver import DriverError, DriverHealth
from edge.drivers.modbus.registers import encode, encode_text
from edge.drivers.modbus.scan_class import CHANCES, PIECES
from edge.drivers.schedule import Beat
from sync.clock import WallClock
from sync.quality import (
    BAD_CONFIGURATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_NO_COMMUNICATION,
    BAD_OUT_OF_RANGE,
    GOOD,
    UNCERTAIN,
    UNCERTAIN_UNITS_EXCEEDED,
)
from sync.reading import Readings
from tests.contracts.driver_contract import CONTRACT
from tests.edge.drivers.machines import ModbusMachine, tag


def small_machine() -> ModbusMachine:
    return ModbusMachine(
        [
            tag(3, "holding:0", type="uint16"),
            tag(4, "holding:1", type="int16"),
            tag(7, "input:5", type="uint16"),
            tag(9, "coil:2", type="bool"),
        ],
        holding={0: [7, 0xFFFF]},
        registers={5: [500]},
        coils={0: [False, False, True] + [False] * 13},
    )


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_modbus_keeps_the_driver_contract(promise) -> None:
    await promise(small_machine())


async def one_scan(machine: ModbusMachine, **more) -> tuple[Readings, DriverHealth]:
    """Start the machine, poll it once, stop it."""
    await machine.start()
    try:
        async with machine.driver(**more) as driver, aclosing(driver.readings()) as readings:
            return await anext(readings), driver.health
    finally:
        await machine.stop()


def statuses(batch: Readings) -> dict[int, int]:
    return dict(zip(batch.tag.tolist(), batch.status.tolist(), strict=True))


def values(batch: Readings) -> dict[int, object]:
    return {tag: value for tag, value, _, _ in batch}


async def test_every_type_and_word_order_arrives_as_the_right_number() -> None:
    # Acceptance scenario 3: float32 in CDAB, int32 in DCBA, a scaled int16 and a coil, all on one device.
    machine = ModbusMachine(
        [
            tag(0, "holding:0", type="float32", word_order="CDAB"),
            tag(1, "holding:2", type="int32", word_order="DCBA"),
            tag(2, "holding:4", type="int16", scale=0.1, offset=-20.0),
            tag(3, "coil:9", type="bool"),
            tag(4, "holding:5", type="uint64"),
            tag(5, "holding:9", type="string", length=4),
            tag(6, "holding:13.3", type="bool"),
            tag(7, "discrete:1", type="bool"),
            tag(8, "input:0", type="float64", word_order="BADC"),
        ],
        holding={
            0: [
                *encode(61.5, "float32", "CDAB"),
                *encode(-70_000, "int32", "DCBA"),
                *encode(305, "int16", "ABCD"),
                *encode(2**60 + 1, "uint64", "ABCD"),
                *encode_text("cola", 4, "ABCD"),
                0b1000,
            ]
        },
        registers={0: encode(-1.5e-9, "float64", "BADC")},
        coils={0: [False] * 9 + [True] + [False] * 6},
        discrete={0: [False, True] + [False] * 14},
    )
    batch, health = await one_scan(machine)
    assert values(batch) == {
        0: 61.5, 1: -70_000, 2: pytest.approx(10.5), 3: 1.0, 4: 2**60 + 1, 5: "cola", 6: 1.0, 7: 1.0, 8: -1.5e-9
    }  # fmt: skip
    assert set(statuses(batch).values()) == {GOOD}
    assert health.bad_items == {}


async def test_a_hundred_adjacent_registers_come_in_one_request() -> None:
    machine = ModbusMachine([tag(i, f"holding:{i}", type="uint16") for i in range(100)], holding={0: list(range(100))})
    batch, health = await one_scan(machine)
    assert machine.requests == [(3, 0, 100)]
    assert health.requests == 1
    assert batch.value.tolist() == list(range(100))


async def test_a_hundred_and_thirty_registers_are_asked_for_in_legal_requests() -> None:
    machine = ModbusMachine([tag(i, f"holding:{i}", type="uint16") for i in range(130)], holding={0: list(range(130))})
    batch, _ = await one_scan(machine)
    assert [count for _, _, count in machine.requests] == [125, 5]
    assert batch.value.tolist() == list(range(130))


async def test_a_hundred_tags_near_each_other_stay_at_four_requests_whatever_is_learnt() -> None:
    machine = ModbusMachine(
        [tag(i, f"holding:{7 * i % 4 + 4 * i}", type="uint16") for i in range(100)], holding={0: list(range(410))}
    )
    await machine.start()
    try:
        async with machine.driver(period_ms=20) as driver, aclosing(driver.readings()) as readings:
            for _ in range(60):
                machine.requests.clear()
                batch = await anext(readings)
                assert len(machine.requests) <= 4
        assert batch.value.tolist() == [7 * i % 4 + 4 * i for i in range(100)]
    finally:
        await machine.stop()


async def test_one_refused_register_makes_one_tag_bad_and_is_not_asked_for_again() -> None:
    # 0..39 and 41..99 exist, 40 does not: one exception 2 in the middle of the block.
    machine = ModbusMachine(
        [tag(i, f"holding:{i}", type="uint16") for i in range(100)],
        holding={0: list(range(40)), 41: list(range(41, 100))},
    )
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            first = await anext(readings)
            machine.requests.clear()
            second = await anext(readings)
    finally:
        await machine.stop()
    for batch in (first, second):
        assert [i for i, status in statuses(batch).items() if status != GOOD] == [40]
        assert statuses(batch)[40] == BAD_CONFIGURATION_ERROR
        assert {i: v for i, v in values(batch).items() if i != 40} == {i: i for i in range(100) if i != 40}
    assert "holding:40" in driver.health.bad_items[40]
    assert "no such register" in driver.health.bad_items[40]
    assert machine.requests == [(3, 0, 40), (3, 41, 59)]


async def test_a_hole_that_nobody_asked_for_is_no_longer_read_along() -> None:
    machine = ModbusMachine(
        [tag(0, "holding:0", type="uint16"), tag(1, "holding:10", type="uint16")], holding={0: [7], 10: [8]}
    )
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            first = await anext(readings)
            machine.requests.clear()
            second = await anext(readings)
    finally:
        await machine.stop()
    assert first.value.tolist() == second.value.tolist() == [7, 8]
    assert machine.requests == [(3, 0, 1), (3, 10, 1)]
    assert driver.health.bad_items == {}


async def test_a_register_that_appears_later_is_found_again() -> None:
    machine = ModbusMachine(
        [tag(0, "holding:0", type="uint16"), tag(1, "holding:1", type="uint16")], holding={0: [7, 8]}
    )
    machine.failing[1] = ExcCodes.ILLEGAL_ADDRESS
    await machine.start()
    try:
        async with machine.driver(retry_s=0.0) as driver, aclosing(driver.readings()) as readings:
            assert statuses(await anext(readings)) == {0: GOOD, 1: BAD_CONFIGURATION_ERROR}
            machine.failing.clear()
            async with asyncio.timeout(10):
                async for batch in readings:
                    if statuses(batch)[1] == GOOD:
                        break
            assert batch.value.tolist() == [7, 8]
            assert driver.health.bad_items == {}
    finally:
        await machine.stop()


async def test_a_register_that_disappears_and_comes_back_is_bad_meanwhile_and_alone() -> None:
    machine = ModbusMachine([tag(i, f"holding:{i}", type="uint16") for i in range(20)], holding={0: list(range(20))})
    await machine.start()
    try:
        async with machine.driver(retry_s=0.0, period_ms=20) as driver, aclosing(driver.readings()) as readings:
            assert set(statuses(await anext(readings)).values()) == {GOOD}
            machine.failing[7] = ExcCodes.ILLEGAL_ADDRESS
            for _ in range(4):
                batch = await anext(readings)
                assert [i for i, status in statuses(batch).items() if status != GOOD] == [7]
                assert {i: v for i, v in values(batch).items() if i != 7} == {i: i for i in range(20) if i != 7}
            assert "no such register" in driver.health.bad_items[7]
            machine.failing.clear()
            async with asyncio.timeout(10):
                async for batch in readings:
                    if statuses(batch)[7] == GOOD:
                        break
            assert batch.value.tolist() == list(range(20))
            assert driver.health.bad_items == {}
            machine.requests.clear()
            await anext(readings)
            assert machine.requests == [(3, 0, 20)]  # as if it had never been away
    finally:
        await machine.stop()


async def test_a_device_that_refuses_everything_is_not_stormed_and_recovers() -> None:
    # As some do while they start.
    machine = ModbusMachine([tag(i, f"holding:{i}", type="uint16") for i in range(500)], holding={0: list(range(500))})
    await machine.start()
    try:
        async with machine.driver(retry_s=0.0, period_ms=20) as driver, aclosing(driver.readings()) as readings:
            machine.failing = dict.fromkeys(range(500), ExcCodes.ILLEGAL_ADDRESS)
            for _ in range(3):
                machine.requests.clear()
                batch = await anext(readings)
                assert len(machine.requests) <= 4 + 2 * PIECES + CHANCES
                assert set(statuses(batch).values()) == {BAD_CONFIGURATION_ERROR}
            machine.failing.clear()
            async with asyncio.timeout(30):
                async for batch in readings:
                    if set(statuses(batch).values()) == {GOOD}:
                        break
            assert batch.value.tolist() == list(range(500))
            assert driver.health.bad_items == {}
    finally:
        await machine.stop()


async def test_books_that_count_from_one_are_read_one_lower() -> None:
    machine = ModbusMachine(
        [
            tag(0, "holding:1", type="uint16"),
            tag(1, "holding:65536", type="uint16"),
            tag(2, "holding:0", type="uint16"),
        ],
        holding={0: [7], 65_535: [8]},
        address_base=1,
    )
    batch, health = await one_scan(machine)
    assert statuses(batch) == {0: GOOD, 1: GOOD, 2: BAD_CONFIGURATION_ERROR}
    assert batch.value.tolist()[:2] == [7, 8]
    assert "from 1" in health.bad_items[2]


async def test_a_device_with_a_shorter_limit_is_asked_for_less() -> None:
    machine = ModbusMachine([tag(i, f"holding:{i}", type="uint16") for i in range(100)], holding={0: list(range(100))})
    machine.most = 60
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            first = await anext(readings)
            machine.requests.clear()
            await anext(readings)
    finally:
        await machine.stop()
    assert first.value.tolist() == list(range(100))
    assert [count for _, _, count in machine.requests] == [50, 50]


@pytest.mark.parametrize(
    ("code", "status"),
    [(ExcCodes.DEVICE_FAILURE, BAD_DEVICE_FAILURE), (ExcCodes.GATEWAY_NO_RESPONSE, BAD_NO_COMMUNICATION)],
)
async def test_a_device_failure_is_the_status_of_this_poll_only(code, status) -> None:
    machine = small_machine()
    machine.failing[0] = code
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            first = await anext(readings)
            machine.failing.clear()
            second = await anext(readings)
    finally:
        await machine.stop()
    assert statuses(first) == {3: status, 4: status, 7: GOOD, 9: GOOD}
    assert set(statuses(second).values()) == {GOOD}


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("holding:70000", "uint16", "65535"),
        ("hold:1", "uint16", "no Modbus address"),
        ("coil:1", "float32", "type = 'bool'"),
        ("holding:1.16", "bool", "0 to 15"),
    ],
)
async def test_a_wrong_address_in_the_book_is_a_bad_reading_that_says_what_to_write(address, kind, said) -> None:
    machine = ModbusMachine([tag(0, "holding:0", type="uint16"), tag(1, address, type=kind)], holding={0: [7]})
    batch, health = await one_scan(machine)
    assert statuses(batch) == {0: GOOD, 1: BAD_CONFIGURATION_ERROR}
    assert said in health.bad_items[1]


async def test_values_nobody_can_calculate_with_are_bad_and_those_out_of_range_uncertain() -> None:
    machine = ModbusMachine(
        [
            tag(0, "holding:0", type="float32"),
            tag(1, "holding:2", type="float32"),
            tag(2, "holding:4", type="float32", low=0, high=100),
            tag(3, "holding:6", type="string", length=1),
        ],
        holding={
            0: [
                *encode(float("nan"), "float32", "ABCD"),
                *encode(float("inf"), "float32", "ABCD"),
                *encode(101.0, "float32", "ABCD"),
                0xFFFF,
            ]
        },
    )
    batch, _ = await one_scan(machine)
    assert statuses(batch) == {
        0: BAD_OUT_OF_RANGE, 1: BAD_OUT_OF_RANGE, 2: UNCERTAIN_UNITS_EXCEEDED, 3: BAD_DECODING_ERROR
    }  # fmt: skip
    assert values(batch) == {0: None, 1: None, 2: 101.0, 3: None}


async def test_the_machines_clock_is_the_time_of_its_own_values_only() -> None:
    told = 1_767_225_600_123  # 2026-01-01, ms
    machine = ModbusMachine(
        [
            tag(0, "holding:0", type="uint64", role="clock"),
            tag(1, "holding:4", type="uint16"),
            tag(2, "holding:5", type="uint16", work_unit="bottling/line-2/filler"),
        ],
        holding={0: [*encode(told, "uint64", "ABCD"), 7, 8]},
    )
    batch, _ = await one_scan(machine)
    assert batch.source_time.tolist()[:2] == [told * 1_000_000] * 2
    assert batch.source_time[2] <= batch.server_time[2] <= batch.received


async def test_without_a_clock_the_time_is_the_middle_of_the_request_and_its_answer() -> None:
    machine = ModbusMachine([tag(0, "holding:0", type="uint16")], holding={0: [7]})
    before = WallClock().now()
    batch, _ = await one_scan(machine)
    asked = 2 * batch.source_time[0] - batch.server_time[0]
    assert before <= asked < batch.source_time[0] < batch.server_time[0] <= batch.received


async def test_a_machine_clock_that_nobody_can_believe_puts_the_values_in_doubt() -> None:
    machine = ModbusMachine(
        [tag(0, "holding:0", type="uint64", role="clock"), tag(1, "holding:4", type="uint16")],
        holding={0: [*encode(86_400_000, "uint64", "ABCD"), 7]},  # the second of January 1970
    )
    batch, _ = await one_scan(machine)
    assert statuses(batch)[1] == UNCERTAIN
    assert batch.source_time[1] == batch.received


async def scripted(answer: Callable[[bytes], bytes]) -> tuple[asyncio.Server, int]:
    """Serve TCP and answer each request with `answer(request)`, whatever it is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while request := await reader.read(260):
                writer.write(answer(request))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def first_of(port: int) -> Readings:
    machine = ModbusMachine([tag(0, "holding:0", type="uint16"), tag(1, "holding:1", type="uint16")], timeout_s=0.2)
    machine.port = port
    async with machine.driver() as driver, aclosing(driver.readings()) as readings:
        return await anext(readings)


async def test_a_device_that_accepts_and_never_answers_is_lost() -> None:
    server, port = await scripted(lambda _: b"")
    async with server:
        with pytest.raises(DriverError, match="check"):
            async with asyncio.timeout(5):
                await first_of(port)


def answer_to(request: bytes, function: int, data: bytes) -> bytes:
    body = bytes([request[6], function, len(data)]) + data
    return request[:4] + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("too short", lambda request: answer_to(request, 3, b"\x00\x07")),
        ("too long", lambda request: answer_to(request, 3, b"\x00\x07" * 9)),
        ("another function", lambda request: answer_to(request, 4, b"\x00\x07\x00\x08")),
        ("another unit", lambda request: answer_to(request[:6] + b"\x09" + request[7:], 3, b"\x00\x07\x00\x08")),
    ],
)
async def test_an_answer_that_does_not_fit_is_no_value(what, answer) -> None:
    server, port = await scripted(answer)
    async with server:
        batch = await first_of(port)
    assert set(statuses(batch).values()) == {BAD_DECODING_ERROR}, what
    assert np.isnan(batch.value).all()


class RunningClock(WallClock):
    """A clock on which every look takes 25 ms."""

    def __init__(self) -> None:
        self.ns = 0
        self.slept: list[float] = []

    def monotonic(self) -> int:
        self.ns += 25_000_000
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_polls_that_cannot_keep_up_are_skipped_and_counted() -> None:
    clock = RunningClock()
    beat = Beat(clock, 0.010)
    # at 25 ms; due 35, looked at 50: 35 was missed, 45 is late; due 55, looked at 75: 55 and 65 were missed
    assert [await beat.wait() for _ in range(3)] == [0, 1, 2]
    assert clock.slept == []


async def test_polls_in_time_keep_the_beat_whatever_they_took() -> None:
    clock = RunningClock()
    beat = Beat(clock, 0.100)
    assert [await beat.wait() for _ in range(2)] == [0, 0]
    assert clock.slept == [0.075]
