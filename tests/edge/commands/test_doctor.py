"""`triflow doctor` from end to end: a healthy plant is 0, any fault is 1, a wrong file is 78, and it can be read."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from pathlib import Path

import pytest
from asyncua import ua

from edge.commands.doctor import main
from edge.commands.doctor_report import columns_of, wrapped
from edge.store import open_store
from sync.clock import WallClock
from tests.edge.drivers.machines import URI, ModbusMachine, OpcUaMachine
from tests.servers import ROOT, Broker, free_port

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
language = "en"
quota_mb = 16
ballast_mb = 1

[uplink]
host = "127.0.0.1"
port = {broker}
tls = false
key = {{ credential = "gw-1.key" }}

[[connection]]
name = "plc"
driver = "opcua"
url = "{opcua}"
security = "none"

[[connection]]
name = "meter"
driver = "modbus"
host = "127.0.0.1"
port = {modbus}
timeout_s = 4

[[line]]
work_unit = "hall/line-1/press"
connection = "plc"
book = "press.toml"

[[line]]
work_unit = "hall/line-1/meter"
connection = "meter"
book = "meter.toml"
"""
PRESS = f"""
title = "Press"
[[tag]]
name = "oil_temperature"
address = "nsu={URI};s=temp"
unit = "CEL"
low = 0
high = 120
"""
METER = """
title = "Meter"
[[tag]]
name = "power"
address = "holding:0"
type = "float32"
unit = "WTT"
low = 0
high = 100000
"""


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker):
    """A press, a meter, a broker, and the site file of the gateway between them."""
    data = struct.pack(">f", 4213.7)
    press = OpcUaMachine({"temp": ua.Variant(61.5, ua.VariantType.Double)}, [])
    meter = ModbusMachine([], holding={0: [int.from_bytes(data[at : at + 2], "big") for at in (0, 2)]})
    folder = tmp_path / "site"
    (folder / "credentials").mkdir(parents=True)
    (folder / "credentials" / "gw-1.key").write_text("ab" * 32)
    text = SITE.format(broker=broker.port, opcua=press.url, modbus=meter.port)
    (folder / "site.toml").write_text(text)
    (folder / "press.toml").write_text(PRESS)
    (folder / "meter.toml").write_text(METER)
    await press.start()
    await meter.start()
    yield folder
    await press.stop()
    await meter.stop()


async def doctor(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    status = await asyncio.to_thread(main, [str(folder / "site.toml"), *more])
    return status, capsys.readouterr().out


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def test_a_healthy_plant_is_zero_and_looking_changes_nothing(plant, capsys):
    before = sorted(plant.rglob("*"))
    status, said = await doctor(plant, capsys, "--tags")
    assert status == 0, said
    assert "61.5 °C" in said
    assert "4213.7 W  (holding:0 = 4583 AD9A)" in said
    assert "the broker accepts us" in said
    assert "FAULT" not in said
    assert "\033" not in said  # colour only on a terminal
    assert sorted(plant.rglob("*")) == before


async def test_any_fault_is_one_and_stands_with_what_to_do(plant, capsys):
    change(plant / "press.toml", "s=temp", "s=tmep")
    status, said = await doctor(plant, capsys)
    assert status == 1
    assert "there is no such node" in said
    assert "→ Find it with triflow edge browse" in said
    assert said.splitlines()[-1].startswith("1 to be put right")


async def test_a_wrong_word_order_is_said_in_korean(plant, capsys):
    change(plant / "site.toml", "timeout_s = 4", 'timeout_s = 4\nword_order = "CDAB"')
    status, said = await doctor(plant, capsys, "--language", "ko", "--connection", "meter")
    assert status == 1
    assert "ABCD 순서로는 4213.7 W" in said
    assert '→ 이 태그에 word_order = "ABCD"로 설정하세요' in said
    assert "plc" not in said


async def test_programs_get_every_finding_with_its_details(plant, capsys):
    change(plant / "site.toml", "quota_mb = 16", "quota_mb = 100000000")
    status, said = await doctor(plant, capsys, "--json")
    told = json.loads(said)
    assert (status, told["gateway"], told["faults"]) == (0, "gw-1", 0)
    by_key = {finding["key"]: finding for finding in told["findings"]}
    assert by_key["box.disk_small"]["severity"] == "warning"
    power = next(finding for finding in told["findings"] if finding["tag"] == "hall/line-1/meter/power")
    assert power["details"]["orders"]["ABCD"] == pytest.approx(4213.7)
    assert power["details"]["registers"] == "4583 AD9A"
    assert power["subject"] == "meter"


async def test_a_wrong_site_file_is_78_with_every_fault(plant, capsys):
    change(plant / "site.toml", "quota_mb = 16", "quota_md = 16")
    change(plant / "site.toml", 'book = "press.toml"', 'book = "pres.toml"')
    status, said = await doctor(plant, capsys)
    assert status == 78
    assert "did you mean 'quota_mb'?" in said
    status, said = await doctor(plant, capsys, "--json")
    assert (status, json.loads(said)["faults"]) == (78, said.count('"severity": "fault"'))


async def test_an_unknown_connection_is_a_wrong_command(plant, capsys):
    status = await asyncio.to_thread(main, [str(plant / "site.toml"), "--connection", "mter"])
    assert status == 64
    assert "mter" in capsys.readouterr().err


async def test_a_machine_that_is_gone_does_not_hide_the_others(plant, capsys):
    change(plant / "site.toml", "timeout_s = 4", f'timeout_s = 4\n[[connection]]\nname = "gone"\ndriver = "modbus"\nhost = "127.0.0.1"\nport = {free_port()}')  # fmt: skip
    status, said = await doctor(plant, capsys, "--tags")
    assert status == 1
    assert "nothing listens on port" in said
    assert "4213.7 W" in said


async def test_beside_a_running_gateway_a_refusal_is_called_what_it_is(plant, capsys):
    """The gateway holds the store, and its page does not answer here: it may hold every connection."""
    change(plant / "site.toml", "timeout_s = 4", f'timeout_s = 4\n[[connection]]\nname = "shy"\ndriver = "modbus"\nhost = "127.0.0.1"\nport = {free_port()}')  # fmt: skip
    change(plant / "site.toml", "[uplink]", f"[page]\nport = {free_port()}\n[uplink]")
    store = open_store(
        plant / "data", clock=WallClock(), quota_bytes=16 << 20, ballast_bytes=1 << 20, software="triflow test"
    )
    async with store:
        status, said = await doctor(plant, capsys)
    assert status == 0, said
    assert "many devices take one connection only" in said
    assert "edge.db is sound" in said
    assert "its page does not answer" in said


async def test_a_reader_who_has_seen_enough_is_no_trouble(plant):
    command = [sys.executable, "-m", "triflow", "doctor", str(plant / "site.toml"), "--tags"]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await child.stdout.readline()
    child._transport.get_pipe_transport(1).close()
    assert await child.stderr.read() == b""
    assert await child.wait() == 0


def test_korean_letters_take_two_columns_when_lines_are_broken():
    assert columns_of("온도 ok") == 7
    assert list(wrapped("유압유 온도가 한계를 넘었습니다", 14)) == ["유압유 온도가", "한계를", "넘었습니다"]
    assert list(wrapped("", 14)) == [""]
