"""A Modbus connection examined against real servers: what is wrong with it is found and named."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest
from pymodbus.constants import ExcCodes

from edge.connections import Modbus
from edge.drivers.driver import Surroundings
from edge.drivers.finding import Finding, worst
from edge.drivers.modbus.examine import examine
from edge.tags import Tag
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND, ModbusMachine, tag
from tests.edge.drivers.modbus.test_tls import TlsMachine, pki
from tests.servers import free_port

__all__ = ["pki"]  # the fixture


def registers(form: str, *values: float) -> list[int]:
    data = struct.pack(form, *values)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


async def examined(config: Modbus, tags: list[Tag]) -> list[Finding]:
    return [finding async for finding in examine(config, tags, WallClock(), AROUND)]


def of(findings: list[Finding], check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check and finding.tag is None]
    return found


def tagged(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.tag.rpartition("/")[2]: finding for finding in findings if finding.tag is not None}


TEMPERATURE = {"name": "temperature", "type": "float32", "unit": "CEL", "low": 0, "high": 200}
HOLDING = {0: [*registers(">f", 23.4), *reversed(registers(">f", 4.2)), 0x7FFF, 7], 10: registers(">Q", 123_456)}


@pytest.fixture
async def machine():
    running = ModbusMachine([], holding=HOLDING, coils={0: [True]}, timeout_s=4)
    await running.start()
    yield running
    await running.stop()


async def test_a_healthy_device_is_read_once_with_its_registers_shown(machine):
    tags = [tag(0, "holding:0", **TEMPERATURE), tag(1, "coil:0", name="running", type="bool")]
    findings = await examined(machine.config(), tags)
    assert worst(findings) == "ok"
    read = tagged(findings)
    assert read["temperature"].what("en") == "23.4 °C  (holding:0 = 41BB 3333)"
    assert read["temperature"].words["orders"] == pytest.approx(
        {"ABCD": 23.4, "CDAB": 4.1739e-08, "BADC": -0.0029484, "DCBA": 4.1851e-08}, rel=1e-3
    )
    assert "[ABCD] 23.4*" in read["temperature"].words["detail"].what("en")
    assert read["running"].what("en") == "true  (coil:0)"
    assert of(findings, "tags").words == {"good": 2, "all": 2}
    assert [count for _, _, count in machine.requests] == [2, 1]


async def test_a_wrong_word_order_is_named_with_the_one_that_would_do(machine):
    tags = [tag(0, "holding:2", name="pressure", type="float32", unit="BAR", low=0, high=10)]
    found = tagged(await examined(machine.config(), tags))["pressure"]
    assert (found.severity, found.key) == ("fault", "modbus.order")
    assert "in order CDAB it is 4.2 bar" in found.what("en")
    assert 'word_order = "CDAB"' in found.advice("en")
    right = tagged(await examined(machine.config(word_order="CDAB"), tags))["pressure"]
    assert right.severity == "ok"


async def test_a_value_outside_its_range_in_every_order_is_the_machines_own(machine):
    tags = [tag(0, "holding:0", **TEMPERATURE | {"high": 20})]
    found = tagged(await examined(machine.config(), tags))["temperature"]
    assert (found.severity, found.key) == ("warning", "tag.range")
    assert "23.4 °C is outside the book's range 0 … 20" in found.what("en")


async def test_registers_that_say_there_is_no_value_are_known(machine):
    tags = [tag(0, "holding:4", name="level", type="int16", low=0, high=100)]
    found = tagged(await examined(machine.config(), tags))["level"]
    assert (found.severity, found.key) == ("warning", "modbus.no_value")


async def test_a_number_without_a_name_in_the_book_is_doubted(machine):
    tags = [tag(0, "holding:5", name="mode", type="uint16", values={"1": "auto", "2": "manual"})]
    assert tagged(await examined(machine.config(), tags))["mode"].key == "tag.unnamed"


async def test_a_register_that_is_not_there_does_not_hide_its_neighbours(machine):
    tags = [tag(0, "holding:0", **TEMPERATURE), tag(1, "holding:500", name="nowhere", type="uint16")]
    findings = await examined(machine.config(), tags)
    read = tagged(findings)
    assert read["temperature"].severity == "ok"
    assert (read["nowhere"].severity, read["nowhere"].key) == ("fault", "modbus.exception_2")
    assert "address_base = 1" in read["nowhere"].advice("en")
    assert of(findings, "tags").what("en") == "1 of 2 tags read and good"


async def test_an_exception_is_said_in_its_own_sentence(machine):
    machine.failing[0] = ExcCodes.DEVICE_BUSY
    found = tagged(
        await examined(machine.config(), [tag(0, "holding:0", **TEMPERATURE), tag(1, "holding:4", name="b")])
    )
    assert found["temperature"].key == "modbus.exception_6"


async def test_a_unit_that_is_not_there_is_said_once_and_the_others_are_read():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a gateway whose unit 9 is switched off."""
        while head := await reader.read(12):
            if head[6] == 1:
                writer.write(head[:4] + b"\0\5" + bytes((1, 3, 2, 0, 42)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = Modbus(driver="modbus", name="m", host="127.0.0.1", port=port, timeout_s=0.5, retries=0)
    tags = [tag(0, "holding:0", name="here", type="uint16")] + [
        Tag(**{**{field: getattr(tag(i, f"holding:{i}", type="uint16"), field) for field in ("index", "work_unit", "connection", "address", "spec", "element")}, "unit": 9})
        for i in range(1, 30)
    ]  # fmt: skip
    findings = await examined(config, tags)
    server.close()
    await server.wait_closed()
    assert tagged(findings)["here"].words["orders"] == {"ABCD": 42, "BADC": 42 << 8}
    units = {finding.words["unit"]: finding for finding in findings if finding.check == "unit"}
    assert units[1].severity == "ok"
    assert (units[9].severity, units[9].key) == ("fault", "modbus.silent_unit")
    assert "29 tags unread" in units[9].what("en")


async def test_a_closed_port_and_an_unknown_name_end_the_examination_at_once():
    closed = Modbus(driver="modbus", name="m", host="127.0.0.1", port=free_port())
    findings = await examined(closed, [tag(0, "holding:0")])
    assert [finding.key for finding in findings] == ["reach.address", "reach.refused"]
    unknown = Modbus(driver="modbus", name="m", host="plc.invalid")
    (found,) = await examined(unknown, [tag(0, "holding:0")])
    assert found.key in {"reach.unknown", "reach.no_name_server"}


async def test_a_device_that_takes_the_connection_and_drops_it_is_told_from_a_closed_port():
    async def drop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    config = Modbus(
        driver="modbus", name="m", host="127.0.0.1", port=server.sockets[0].getsockname()[1], timeout_s=4, retries=0
    )
    findings = await examined(config, [tag(0, "holding:0", type="uint16")])
    server.close()
    await server.wait_closed()
    assert of(findings, "device").key == "modbus.closed"


async def test_a_serial_line_that_is_not_there_is_said(tmp_path: Path):
    config = Modbus(driver="modbus", name="m", transport="rtu", serial={"device": str(tmp_path / "ttyUSB7")})
    (found,) = await examined(config, [tag(0, "holding:0")])
    assert (found.severity, found.key) == ("fault", "modbus.line_missing")


async def test_a_machine_clock_that_is_off_is_said():
    late = WallClock().now() // 1_000_000 - 3_600_000
    machine = ModbusMachine([], holding={0: registers(">Q", late)}, timeout_s=4)
    await machine.start()
    found = tagged(await examined(machine.config(), [tag(0, "holding:0", name="clock", type="uint64", role="clock")]))
    await machine.stop()
    assert (found["clock"].severity, found["clock"].key) == ("fault", "tag.clock_behind_far")


async def test_a_connection_that_is_lost_on_the_way_keeps_what_was_found():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then hang up."""
        if head := await reader.read(12):
            writer.write(head[:4] + b"\0\5" + bytes((head[6], 3, 2, 0, 42)))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    config = Modbus(
        driver="modbus", name="m", host="127.0.0.1", port=server.sockets[0].getsockname()[1], timeout_s=4, retries=0
    )
    tags = [tag(i, f"holding:{i}", name=f"t{i}", type="uint16") for i in range(5)]
    findings = await examined(config, tags)
    server.close()
    await server.wait_closed()
    assert tagged(findings)["t0"].what("en").startswith("42")
    assert of(findings, "device").key == "modbus.lost"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({}, None),
        ({"ca": "other-ca.pem"}, "reach.tls_unknown_ca"),
        ({"server_name": "else.plant"}, "reach.tls_other_name"),
    ],
)
async def test_a_device_with_tls_is_examined_by_its_certificate(pki, wrong, key):
    around = Surroundings(folder=pki, data=pki, gateway="gw")
    async with TlsMachine(pki) as machine:
        config = Modbus(**{
            "driver": "modbus", "name": "m", "transport": "tls", "host": "127.0.0.1", "port": machine.port, "ca": "ca.pem",
            "server_name": "device.plant", "certificate": "gateway.pem", "private_key": {"credential": "gateway.key"}, **wrong,
        })  # fmt: skip
        tags = [tag(0, "holding:0", name="first", type="uint16")]
        findings = [finding async for finding in examine(config, tags, WallClock(), around)]
    assert [finding.key for finding in findings if finding.severity == "fault"] == ([] if key is None else [key])
    assert ("first" in tagged(findings)) == (key is None)
