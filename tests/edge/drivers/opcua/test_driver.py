from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asyncua import ua

from edge.drivers.driver import DriverError, DriverHealth
from sync.quality import (
    BAD_CONFIGURATION_ERROR,
    BAD_NODE_ID_UNKNOWN,
    BAD_OUT_OF_RANGE,
    BAD_TYPE_MISMATCH,
    BAD_WAITING_FOR_INITIAL_DATA,
    GOOD,
    OVERFLOW,
    UNCERTAIN_UNITS_EXCEEDED,
)
from sync.reading import Readings
from tests.contracts.driver_contract import CONTRACT, until_all, until_lost
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.servers import listens, process, wait_until

T = ua.VariantType


def small_machine() -> OpcUaMachine:
    return OpcUaMachine(
        {
            "temperature": ua.Variant(61.5, T.Double),
            "count": ua.Variant(12, T.UInt32),
            "running": ua.Variant(True, T.Boolean),
            "product": ua.Variant("cola-330", T.String),
        },
        [
            tag(3, f"nsu={URI};s=temperature"),
            tag(4, f"nsu={URI};s=count", type="uint32"),
            tag(5, f"nsu={URI};s=running", type="bool"),
            tag(9, f"nsu={URI};s=product", type="string"),
        ],
    )


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_opcua_keeps_the_driver_contract(promise) -> None:
    await promise(small_machine())


def rows(batches: list[Readings]) -> dict[int, tuple[object, int]]:
    """Give the newest (value, status) of each tag."""
    return {tag: (value, status) for batch in batches for tag, value, status, _ in batch}


async def first_values(machine: OpcUaMachine, **more) -> tuple[dict[int, tuple[object, int]], DriverHealth]:
    await machine.start()
    try:
        async with machine.driver(**more) as driver:
            return rows(await until_all(driver, machine.tags)), driver.health
    finally:
        await machine.stop()


async def test_wrong_nodes_are_bad_readings_with_the_servers_reason() -> None:
    machine = small_machine()
    machine.tags += [
        tag(20, f"nsu={URI};s=nobody"),
        tag(21, "nsu=urn:nobody;s=temperature"),
        tag(22, "ns=2;s=temperature"),
        tag(23, f"nsu={URI};x=1"),
    ]
    found, health = await first_values(machine)
    assert found[3] == (61.5, GOOD)
    assert {i: found[i] for i in (20, 21, 22, 23)} == {
        20: (None, BAD_NODE_ID_UNKNOWN),
        21: (None, BAD_NODE_ID_UNKNOWN),
        22: (None, BAD_CONFIGURATION_ERROR),
        23: (None, BAD_CONFIGURATION_ERROR),
    }
    assert "BadNodeIdUnknown" in health.bad_items[20]
    assert URI in health.bad_items[21]
    assert "nsu=" in health.bad_items[22]
    assert set(health.bad_items) == {20, 21, 22, 23}


async def test_a_node_that_appears_later_is_found_again() -> None:
    machine = small_machine()
    machine.tags = [tag(3, f"nsu={URI};s=temperature"), tag(20, f"nsu={URI};s=late", type="int32")]
    await machine.start()
    try:
        async with machine.driver(retry_s=0.1) as driver, aclosing(driver.readings()) as readings:
            assert rows([await anext(readings)])[20] == (None, BAD_NODE_ID_UNKNOWN)
            await machine.add("late", ua.Variant(5, T.Int32))
            async with asyncio.timeout(10):
                async for batch in readings:
                    if 20 in batch.tag:
                        break
            assert rows([batch])[20] == (5, GOOD)
            assert driver.health.bad_items == {}
    finally:
        await machine.stop()


async def test_a_value_of_another_type_than_the_book_says_is_bad() -> None:
    machine = OpcUaMachine(
        {
            "text": ua.Variant("12", T.String),
            "real": ua.Variant(1.5, T.Double),
            "list": ua.Variant([1, 2], T.Int32),
            "flag": ua.Variant(True, T.Boolean),
            "number": ua.Variant(4, T.Byte),
        },
        [
            tag(0, f"nsu={URI};s=text"),
            tag(1, f"nsu={URI};s=real", type="int32"),
            tag(2, f"nsu={URI};s=list", type="int32"),
            tag(3, f"nsu={URI};s=flag", type="int16"),
            tag(4, f"nsu={URI};s=number", type="string"),
            tag(5, f"nsu={URI};s=number", type="bool"),
            tag(6, f"nsu={URI};s=number", type="uint32"),
        ],
    )
    found, health = await first_values(machine)
    wrong = (None, BAD_TYPE_MISMATCH)
    assert found == {0: wrong, 1: wrong, 2: wrong, 3: (1.0, GOOD), 4: wrong, 5: wrong, 6: (4.0, GOOD)}
    assert "gives String, the book says float64" in health.bad_items[0]
    assert "array" in health.bad_items[2]


async def test_statuses_and_times_are_the_machines_own() -> None:
    machine = small_machine()
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            await anext(readings)
            await machine.write(
                "temperature",
                70.0,
                T.Double,
                StatusCode=ua.StatusCode(ua.StatusCodes.UncertainSensorNotAccurate),
                SourceTimestamp=at,
                ServerTimestamp=at + timedelta(seconds=1),
            )
            batch = await anext(readings)
    finally:
        await machine.stop()
    ((index, value, status, source_time),) = list(batch)
    ns = 1_767_323_045_678_901_000
    assert (index, value, status, source_time) == (3, 70.0, ua.StatusCodes.UncertainSensorNotAccurate, ns)
    assert batch.server_time.tolist() == [ns + 10**9]


async def test_what_nobody_can_calculate_with_is_bad_and_what_is_out_of_range_uncertain() -> None:
    machine = OpcUaMachine(
        {name: ua.Variant(held, T.Double) for name, held in (("nan", math.nan), ("inf", math.inf), ("hot", 301.0))}
        | {"empty": ua.Variant(None, T.Null)},
        [
            tag(0, f"nsu={URI};s=nan"),
            tag(1, f"nsu={URI};s=inf"),
            tag(2, f"nsu={URI};s=hot", low=0, high=300, scale=1.0),
            tag(3, f"nsu={URI};s=hot", low=0, high=300, scale=0.5, offset=10),
            tag(4, f"nsu={URI};s=empty"),
        ],
    )
    found, _ = await first_values(machine)
    assert found == {
        0: (None, BAD_OUT_OF_RANGE),
        1: (None, BAD_OUT_OF_RANGE),
        2: (301.0, UNCERTAIN_UNITS_EXCEEDED),
        3: (160.5, GOOD),
        4: (None, BAD_WAITING_FOR_INITIAL_DATA),
    }


async def test_counters_of_every_integer_type_count_exactly() -> None:
    held = {
        "byte": (T.Byte, 255), "uint16": (T.UInt16, 65_535), "uint32": (T.UInt32, 2**32 - 1),
        "int64": (T.Int64, 2**53), "uint64": (T.UInt64, 2**64 - 1),
    }  # fmt: skip
    machine = OpcUaMachine(
        {name: ua.Variant(number, kind) for name, (kind, number) in held.items()},
        [
            tag(i, f"nsu={URI};s={name}", type="uint64", role="counter", counter="produced")
            for i, name in enumerate(held)
        ],
    )
    found, _ = await first_values(machine)
    assert [found[i][0] for i in range(5)] == [255, 65_535, 2**32 - 1, 2**53, 2**64 - 1]


async def test_the_overflow_bit_is_kept_and_counted() -> None:
    machine = small_machine()
    await machine.start()
    try:
        async with machine.driver() as driver, aclosing(driver.readings()) as readings:
            await anext(readings)
            await machine.write("temperature", 70.0, T.Double, StatusCode=ua.StatusCode(OVERFLOW))
            batch = await anext(readings)
            assert rows([batch])[3] == (70.0, OVERFLOW)
            assert driver.health.overflows == 1
    finally:
        await machine.stop()


async def test_namespaces_numbered_anew_after_a_restart_still_give_each_tag_its_own_value() -> None:
    machine = small_machine()
    machine.namespaces = ("urn:other", URI)
    await machine.start()
    try:
        async with machine.driver() as driver:
            before = rows(await until_all(driver, machine.tags))
        await machine.stop()
        machine.namespaces = (URI, "urn:other")
        await machine.start()
        # the same identifier now also stands where the old number points to
        index = await machine.server.get_namespace_index("urn:other")
        await machine.server.nodes.objects.add_variable(ua.NodeId("temperature", index), "temperature", -1.0)
        async with machine.driver() as driver:
            assert rows(await until_all(driver, machine.tags)) == before
    finally:
        await machine.stop()


async def test_items_are_created_in_calls_of_the_size_the_server_allows() -> None:
    nodes = {f"n{i}": ua.Variant(float(i), T.Double) for i in range(10)}
    machine = OpcUaMachine(nodes, [tag(i, f"nsu={URI};s=n{i}") for i in range(10)])
    await machine.start()
    limit = ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall)
    await machine.server.write_attribute_value(limit, ua.DataValue(ua.Variant(3, T.UInt32)))
    try:
        async with machine.driver() as driver:
            assert driver.health.requests == 2 + 4  # subscription, limits and namespaces, then 3 + 3 + 3 + 1 items
            assert rows(await until_all(driver, machine.tags)) == {i: (float(i), GOOD) for i in range(10)}
    finally:
        await machine.stop()


async def test_a_thousand_values_come_without_the_librarys_decoder() -> None:
    nodes = {f"n{i}": ua.Variant(float(i), T.Double) for i in range(1000)}
    machine = OpcUaMachine(nodes, [tag(i, f"nsu={URI};s=n{i}") for i in range(1000)])
    found, health = await first_values(machine)
    assert found == {i: (float(i), GOOD) for i in range(1000)}
    assert health.slow_decodes == 0
    assert health.fast_decodes >= 1


@contextlib.asynccontextmanager
async def counting_server(tmp_path: Path) -> AsyncIterator[tuple[subprocess.Popen[bytes], OpcUaMachine]]:
    """Run a server that counts, in a process that can be stopped dead."""
    machine = OpcUaMachine({}, [tag(0, f"nsu={URI};s=count", type="uint32")])
    with process("tests.edge.drivers.opcua.server_process", str(machine.port), log=tmp_path / "server.log") as server:
        await asyncio.to_thread(wait_until, lambda: listens(machine.port), "the OPC UA server listens")
        try:
            yield server, machine
        finally:
            server.send_signal(signal.SIGCONT)


async def test_a_server_that_pauses_for_two_and_a_half_seconds_is_waited_for(tmp_path) -> None:
    async with (
        counting_server(tmp_path) as (server, machine),
        machine.driver() as driver,
        aclosing(driver.readings()) as readings,
    ):
        before = rows([await anext(readings)])[0][0]
        server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)  # the pause itself: the library's own watchdog never recovers from this one
        server.send_signal(signal.SIGCONT)
        async with asyncio.timeout(5):
            async for batch in readings:
                if (newest := rows([batch])[0][0]) > before + 5:
                    break
        assert newest > before + 5  # the same connection goes on: another one would have been an error


async def test_a_server_that_stops_dead_is_noticed_and_left(tmp_path) -> None:
    async def read_on(server: subprocess.Popen[bytes], machine: OpcUaMachine) -> None:
        async with machine.driver() as driver:
            async with aclosing(driver.readings()) as readings:
                await anext(readings)
            server.send_signal(signal.SIGSTOP)
            await until_lost(driver)

    async with counting_server(tmp_path) as (server, machine):
        with pytest.raises(DriverError, match="silent for 5 s"):
            async with asyncio.timeout(15):
                await read_on(server, machine)


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "not OPC UA"])
async def test_what_listens_and_is_no_opcua_server_is_an_error_in_time(greeting) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                writer.write(greeting)
        writer.close()

    machine = small_machine()
    async with await asyncio.start_server(serve, "127.0.0.1", machine.port):
        with pytest.raises(DriverError, match="check"):
            async with asyncio.timeout(6), machine.driver():
                pass


async def test_a_node_that_is_deleted_and_made_anew_with_the_right_type_is_read_again() -> None:
    machine = OpcUaMachine({"free": ua.Variant("text", T.String)}, [tag(0, f"nsu={URI};s=free")])
    await machine.start()
    node = ua.NodeId("free", await machine.server.get_namespace_index(URI))
    try:
        async with machine.driver(retry_s=0.1) as driver, aclosing(driver.readings()) as readings:
            assert rows([await anext(readings)]) == {0: (None, BAD_TYPE_MISMATCH)}
            assert set(driver.health.bad_items) == {0}
            # asyncua's delete_nodes forgets to tell the subscribers (it never awaits them), so the server is made to
            unknown = ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)
            await machine.write("free", None, T.Null, StatusCode=unknown)
            del machine.server.iserver.aspace._nodes[node]
            assert rows([await anext(readings)]) == {0: (None, BAD_NODE_ID_UNKNOWN)}
            await machine.add("free", ua.Variant(7.5, T.Double))
            found: dict[int, tuple[object, int]] = {}
            async with asyncio.timeout(10):
                while found.get(0) != (7.5, GOOD):
                    found = rows([await anext(readings)])
            assert driver.health.bad_items == {}
    finally:
        await machine.stop()
