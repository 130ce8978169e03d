"""One connection examined beside others: its time limit, its secrets, and the gateway that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.commands.doctor_examine import examined, place
from edge.connections import Connection
from edge.drivers.finding import Finding
from edge.site import Site, load
from sync.clock import WallClock
from tests.servers import free_port

GATEWAY = '[gateway]\nid = "gw-1"\ntenant = "acme"\nsite = "gumi"\n'


def site(folder: Path, *connections: str) -> Site:
    (folder / "site.toml").write_text(GATEWAY + "".join(f"[[connection]]\n{one}\n" for one in connections))
    return load(folder / "site.toml")


def first(of: Site) -> Connection:
    return of.file.connections[0]


async def alone(of: Site, held: set[str] = frozenset(), **more: float) -> list[Finding]:
    return await examined(of, first(of), of.table.of_connection(first(of).name), WallClock(), set(held), **more)


@pytest.fixture
async def mute() -> AsyncIterator[int]:
    """A port that takes connections and says nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_an_examination_that_takes_too_long_keeps_what_it_found(tmp_path, mute):
    of = site(tmp_path, f'name = "plc"\ndriver = "opcua"\nsecurity = "none"\nurl = "opc.tcp://127.0.0.1:{mute}"')
    keys = [finding.key for finding in await alone(of, limit_s=0.5)]
    assert keys[-1] == "report.stopped"
    assert keys[:-1] == ["reach.address", "reach.open"][: len(keys) - 1]  # a slow computer may not come that far


async def test_a_line_that_the_gateway_uses_is_not_touched(tmp_path):
    of = site(
        tmp_path, f'name = "line"\ndriver = "modbus"\ntransport = "rtu"\nserial = {{ device = "{tmp_path}/tty" }}'
    )
    (found,) = await alone(of, {"line"})
    assert (found.severity, found.key) == ("warning", "report.serial_held")
    (found,) = await alone(of)
    assert found.key == "modbus.line_missing"


async def test_a_refusal_is_a_warning_only_while_the_gateway_holds_that_very_machine(tmp_path):
    of = site(tmp_path, f'name = "plc"\ndriver = "modbus"\nhost = "127.0.0.1"\nport = {free_port()}')
    assert [finding.severity for finding in await alone(of)] == ["ok", "fault"]
    held = await alone(of, {"plc"})
    assert [finding.severity for finding in held] == ["ok", "warning"]
    assert held[-1].what("en").startswith("127.0.0.1 answers, but nothing listens on port")
    assert "many devices take one connection only" in held[-1].what("en")


async def test_a_machine_without_lines_and_a_simulated_one_need_nothing(tmp_path):
    of = site(tmp_path, 'name = "sim"\ndriver = "simulated"')
    assert [finding.key for finding in await alone(of)] == ["report.simulated"]
    assert place(first(of)) == "simulated"


async def test_a_secret_that_went_away_since_the_file_was_read_is_said(tmp_path, mute):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mes").write_text("token")
    of = site(
        tmp_path, f'name = "mes"\ndriver = "mes"\nurl = "http://127.0.0.1:{mute}"\ntoken = {{ credential = "mes" }}'
    )
    (tmp_path / "credentials" / "mes").unlink()
    found = await alone(of)
    assert [finding.key for finding in found] == ["reach.address", "reach.open", "report.secret"]
