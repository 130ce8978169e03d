"""A site file is loaded whole, or every fault in it is named with its place and what to check."""

from __future__ import annotations

import pytest

from edge.site import load
from sync.settings import ConfigError

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"

[uplink]
host = "127.0.0.1"
port = 1883
tls = false
key = { credential = "gw-1.key" }

[[connection]]
name = "plc"
driver = "modbus"
host = "127.0.0.1"

[[line]]
work_unit = "area/line-1/press"
connection = "plc"
book = "press.toml"
rules = "press.rules.toml"
"""
BOOK = """
title = "Press"
[[tag]]
name = "oil_temperature"
address = "holding:10"
type = "float32"
unit = "CEL"
[[tag]]
name = "strokes"
address = "holding:{at}"
role = "counter"
counter = "produced"
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.0"
title = { ko = "프레스", en = "Press" }
policy = "rule_only"
[[limit]]
name = "oil"
title = { ko = "유온", en = "Oil" }
value = "oil_temperature.mean"
warning_high = 70
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gw-1.key").write_text("ab" * 32)
    (tmp_path / "site.toml").write_text(SITE + "fill = { at = 20 }\n")
    (tmp_path / "press.toml").write_text(BOOK)
    (tmp_path / "press.rules.toml").write_text(RULES)
    return tmp_path


def faults(folder) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder / "site.toml")
    return [f"{fault.file.name}:{fault.line}: {fault.path}: {fault.what}" for fault in caught.value.faults]


def change(folder, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def test_a_good_site_is_loaded_whole(folder):
    site = load(folder / "site.toml")
    assert [tag.id for tag in site.table.tags] == ["area/line-1/press/oil_temperature", "area/line-1/press/strokes"]
    assert site.table.tags[1].address == "holding:20"
    assert site.rulesets["area/line-1/press"].name == "press"
    assert str(site.address) == "acme/gumi/gw-1"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("site.toml", 'host = "127.0.0.1"\n\n[[line', 'hots = "127.0.0.1"\n\n[[line', "site.toml:16: connection[0].hots: unknown key; did you mean 'host'?"),
        ("site.toml", 'host = "127.0.0.1"\n\n[[line', "\n[[line", "site.toml:13: connection[0].modbus: host is missing"),
        ("site.toml", 'driver = "modbus"', 'driver = "profibus"', "site.toml:15: connection[0].driver: 'profibus' is none of"),
        ("site.toml", 'connection = "plc"', 'connection = "plk"', "site.toml:20: line[0].connection: no connection 'plk' with tags; did you mean 'plc'?"),
        ("site.toml", 'book = "press.toml"', 'book = "pres.toml"', "site.toml:21: line[0].book: no tag book at"),
        ("site.toml", 'book = "press.toml"', 'book = "pres"', "site.toml:21: line[0].book: no shipped tag book 'pres'"),
        ("site.toml", "fill = { at = 20 }", "", "site.toml:18: line[0].fill: tag 'strokes' of press.toml needs {at}; add fill.at"),
        ("site.toml", "area/line-1/press", "area/line-1", "site.toml:19: line[0].work_unit: 'area/line-1' has 2 levels"),
        ("site.toml", 'site = "gumi"', 'site = "gumi"\ntimezone = "Asia/Soul"', "site.toml:6: gateway.timezone: 'Asia/Soul' is no time zone"),
        ("site.toml", "gw-1.key", "gw-2.key", "site.toml:11: uplink.key: credential 'gw-2.key': cannot read"),
        ("site.toml", "port = 1883", "port = 188300", "site.toml:9: uplink.port: Input should be less than or equal to 65535"),
        ("site.toml", "[uplink]", "[uplink", "site.toml:7: : is not TOML"),
        ("site.toml", "[uplink]", f"x = {'[' * 5_000}\n[uplink]", "site.toml:0: : is nested too deep to be read"),
        ("press.toml", 'type = "float32"', f"low = {'9' * 5_000}", "press.toml:0: : is not TOML"),
        ("press.toml", "holding:10", "holding:{at}", "press.toml:10: tag[1].address: duplicate tag: 'holding:20' already is 'oil_temperature'"),
        ("press.toml", "holding:10", "40010", "press.toml:5: tag[0].address: '40010' is no Modbus address; write holding:9 for the reference 40010"),
        ("press.toml", 'name = "strokes"', 'name = "oil_temperature"', "duplicate tag 'oil_temperature'"),
        ("press.toml", 'counter = "produced"', "", "tag strokes: role = 'counter' and counter = '…' go together"),
        ("press.toml", 'type = "float32"', 'typ = "float32"', "press.toml:6: tag[0].typ: unknown key; did you mean 'type'?"),
        ("site.toml", "[[line]]", '[[connection]]\nname = "ua"\ndriver = "opcua"\nurl = "opc.tcp://127.0.0.1:4840"\nsecurity = "none"\n[[connection.events]]\nwork_unit = "area/line-1/pres"\n\n[[line]]', "connection[1].events[0].work_unit: no line 'area/line-1/pres' in this file; did you mean 'area/line-1/press'?"),
        ("press.rules.toml", "oil_temperature.mean", "oil_temprature.mean", "press.rules.toml:10: limit oil"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line_and_what_to_check(folder, file, old, new, expected):
    change(folder, file, old, new)
    found = faults(folder)
    assert any(expected in fault for fault in found), found


def test_all_faults_come_at_once(folder):
    change(folder, "site.toml", "gw-1.key", "gw-2.key")
    change(folder, "site.toml", 'connection = "plc"', 'connection = "plk"')
    change(folder, "press.rules.toml", "oil_temperature.mean", "oil_temprature.mean")
    assert len(faults(folder)) >= 3


def test_a_missing_file_is_said_plainly(tmp_path):
    assert faults(tmp_path) == ["site.toml:0: : cannot read it (No such file or directory); check the path"]


def test_the_same_work_unit_twice_is_a_fault(folder):
    text = (folder / "site.toml").read_text()
    (folder / "site.toml").write_text(text + text[text.index("[[line]]") :])
    assert any("already is line[0]" in fault for fault in faults(folder))


def test_a_key_that_is_none_is_a_fault(folder):
    (folder / "credentials" / "gw-1.key").write_text("hunter2")
    found = faults(folder)
    assert any("64 hex digits" in fault for fault in found)
    assert not any("hunter2" in fault for fault in found)
