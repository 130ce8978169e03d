"""`triflow edge plan`: what would change, what that means, and whether the devices have it."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path

import pytest

from edge.__main__ import COMMANDS
from edge.blueprint import CHECKPOINT, Blueprint
from edge.commands.plan import main
from edge.commands.plan_compare import compare
from edge.pipeline import LinePipeline
from edge.site import Site, load
from edge.store import open_store
from sync.clock import WallClock
from tests.edge.drivers.machines import ModbusMachine
from tests.servers import free_port

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
language = "en"
quota_mb = 16
ballast_mb = 1
[page]
port = {page}
[[connection]]
name = "meter"
driver = "modbus"
host = "127.0.0.1"
port = {modbus}
timeout_s = 4
[[connection]]
name = "spare"
driver = "modbus"
host = "127.0.0.1"
port = {modbus}
timeout_s = 4
[[line]]
work_unit = "hall/line-1/meter"
connection = "meter"
book = "meter.toml"
rules = "rules.toml"
[[line]]
work_unit = "hall/line-1/spare"
connection = "spare"
book = "spare.toml"
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
[[tag]]
name = "strokes"
address = "holding:10"
type = "uint32"
role = "counter"
counter = "produced"
"""
SPARE = 'title = "Spare"\n[[tag]]\nname = "power"\naddress = "holding:0"\ntype = "float32"\n'
RULES = """
[ruleset]
name = "meter"
version = "1.0.0"
title = { ko = "전력", en = "Power" }
policy = "rule_only"
[[limit]]
name = "power"
title = { ko = "전력", en = "Power" }
value = "power.mean"
warning_high = 5000
"""


def words(form: str, value: float) -> list[int]:
    data = struct.pack(form, value)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


@pytest.fixture
async def machine():
    running = ModbusMachine([], holding={0: words(">f", 4213.7), 2: words(">f", 49.98), 10: words(">I", 77)})
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def folder(tmp_path: Path, machine: ModbusMachine):
    """A gateway that was started once with these files, and stopped."""
    (tmp_path / "site.toml").write_text(SITE.format(modbus=machine.port, page=free_port()))
    (tmp_path / "meter.toml").write_text(METER)
    (tmp_path / "spare.toml").write_text(SPARE)
    (tmp_path / "rules.toml").write_text(RULES)
    site = load(tmp_path / "site.toml")
    async with store_of(site) as store:
        kept = Blueprint.of(site, at=WallClock().now(), software="triflow 0.1")
        await store.commit(checkpoints={CHECKPOINT: kept.encode()})
    return tmp_path


def store_of(site: Site):
    return open_store(
        site.data, clock=WallClock(), quota_bytes=16 << 20, ballast_bytes=1 << 20, software="triflow test"
    )


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def plan(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    status = await asyncio.to_thread(main, [str(folder / "site.toml"), *more])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


async def test_no_difference_is_zero_and_nothing_is_asked(folder, machine, capsys):
    status, said = await plan(folder, capsys)
    assert status == 0, said
    assert "No difference" in said
    assert machine.requests == []


async def test_a_changed_and_a_new_tag_are_read_and_nothing_else_is(folder, machine, capsys):
    change(folder / "meter.toml", "high = 100000", "high = 60000")
    change(folder / "meter.toml", '[[tag]]\nname = "strokes"', '[[tag]]\nname = "frequency"\naddress = "holding:2"\ntype = "float32"\nlow = 45\nhigh = 55\nunit = "HTZ"\n[[tag]]\nname = "strokes"')  # fmt: skip
    change(folder / "rules.toml", "warning_high = 5000", "warning_high = 6000")
    status, said = await plan(folder, capsys)
    assert status == 2, said
    assert "~ hall/line-1/meter/power\n      high  100000.0 → 60000.0" in said
    assert "+ hall/line-1/meter/frequency" in said
    assert "limit power · warning_high  5000 → 6000" in said
    assert "windows start anew (tags or window_s differ); counters, state and alarms go on: hall/line-1/meter" in said
    assert "windows, counters and alarms go on where they are: hall/line-1/spare" in said
    assert "49.98 Hz" in said
    assert "[ABCD] 49.98*" in said
    assert sorted({address for _, address, _ in machine.requests}) == [0, 2]


async def test_a_tag_that_the_device_has_not_got_is_a_fault_before_the_restart(folder, capsys):
    change(folder / "meter.toml", "holding:10", "holding:900")
    status, said = await plan(folder, capsys)
    assert status == 1
    assert "address  holding:10 → holding:900" in said
    assert "no such register" in said
    assert said.splitlines()[-1] == "Differences: 1, to be put right before the gateway is restarted: 1."
    status, said = await plan(folder, capsys, "--no-device")
    assert status == 2
    assert "no such register" not in said


async def test_a_removed_line_a_smaller_quota_and_a_new_name_are_warned_of(folder, capsys):
    text = (folder / "site.toml").read_text()
    cut = text.index('[[line]]\nwork_unit = "hall/line-1/meter"')
    (folder / "site.toml").write_text(text[:cut] + text[text.index('[[line]]\nwork_unit = "hall/line-1/spare"') :])
    change(folder / "site.toml", "quota_mb = 16", "quota_mb = 8")
    change(folder / "site.toml", 'id = "gw-1"', 'id = "gw-2"')
    status, said = await plan(folder, capsys, "--json", "--no-device")
    told = json.loads(said)
    assert (status, told["against"]["origin"], told["faults"]) == (2, "store", 0)
    keys = {finding["key"] for finding in told["findings"] if finding["severity"] == "warning"}
    assert keys == {"plan.identity", "plan.smaller", "plan.gone", "plan.counter_gone"}
    assert told["digest"] != told["against"]["digest"]
    gone = [(one["kind"], one["part"], one["name"]) for one in told["differences"] if one["kind"] == "removed"]
    assert ("removed", "line", "hall/line-1/meter") in gone


async def test_a_gateway_that_never_ran_is_compared_with_a_file_that_is_named(folder, tmp_path, capsys):
    new = tmp_path / "new"
    new.mkdir()
    for name in ("site.toml", "meter.toml", "spare.toml", "rules.toml"):
        (new / name).write_text((folder / name).read_text())
    status, said = await plan(new, capsys)
    assert status == 1
    assert "--against SITE.toml" in said
    status, said = await plan(new, capsys, "--against", str(folder / "site.toml"), "--no-device")
    assert status == 0, said  # the other's own copy, from its store
    (folder / "data" / "edge.db").unlink()
    change(new / "site.toml", "timeout_s = 4\n[[line]]", "timeout_s = 5\n[[line]]")
    status, said = await plan(new, capsys, "--against", str(folder / "site.toml"), "--no-device")
    assert status == 2
    assert "timeout_s  4.0 → 5.0" in said


async def test_a_wrong_file_is_78_and_korean_is_spoken(folder, capsys):
    change(folder / "meter.toml", 'unit = "WTT"', 'unit = "KWT"')
    status, said = await plan(folder, capsys, "--language", "ko", "--no-device")
    assert status == 2
    assert "마지막 시작" in said
    assert "unit  WTT → KWT" in said
    change(folder / "meter.toml", "high = 100000", "hihg = 100000")
    status, said = await plan(folder, capsys)
    assert status == 78
    assert "hihg" in said


async def test_plan_and_start_agree_on_which_windows_go_on(folder):
    """The pipeline itself decides at the start; the plan must not promise otherwise."""
    before = load(folder / "site.toml")
    old = Blueprint.of(before)
    for file, this, that in (
        ("meter.toml", "high = 100000", "high = 90000"),
        ("meter.toml", 'name = "power"', 'name = "watts"'),
        ("meter.toml", '[[tag]]\nname = "strokes"', '[[tag]]\nname = "more"\naddress = "holding:2"\n[[tag]]\nname = "strokes"'),
        ("site.toml", 'book = "meter.toml"', 'book = "meter.toml"\nwindow_s = 5'),
    ):  # fmt: skip
        text = (folder / file).read_text()
        change(folder / file, this, that)
        change(folder / "rules.toml", "power.mean", "strokes.mean") if "watts" in that else None
        site = load(folder / "site.toml")
        said = {finding.key: finding.words for finding in compare(old, Blueprint.of(site)).consequences}
        going_on = "hall/line-1/meter" in said.get("plan.resumed", {}).get("lines", [])
        kept = pipeline(before).dump()
        assert pipeline(site).restore(kept) == going_on, that
        (folder / file).write_text(text)
        (folder / "rules.toml").write_text(RULES)


def pipeline(site: Site) -> LinePipeline:
    line = site.file.lines[0]
    tags, rules = site.table.of_work_unit(line.work_unit), site.rulesets.get(line.work_unit)
    window = round(line.window_s * 1e9)
    return LinePipeline(line.work_unit, tags, rules, window_ns=window, report_ns=60 * 10**9)


def test_the_command_is_known():
    assert COMMANDS["plan"][0] == "edge.commands.plan"
