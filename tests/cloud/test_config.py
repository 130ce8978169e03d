"""cloud.toml is loaded whole, or every fault in it is named with its line and what to check."""

from __future__ import annotations

from typing import get_args

import pytest

from cloud.aims import Kpi
from cloud.bi.semantic.catalogue import METRICS
from cloud.config import load
from sync.settings import ConfigError
from tests.cloud.conftest import write_cloud_toml

FILE = """
safe = "stored"

[database]
url = "sqlite:///cloud.db"

[broker]
host = "127.0.0.1"
port = 1883
tls = false

[[gateway]]
tenant = "acme"
site = "gumi"
id = "gw-1"
key = { credential = "gw-1.key" }

[[site]]
tenant = "acme"
id = "gumi"
name = { ko = "구미", en = "Gumi" }
timezone = "Asia/Seoul"

[[site.shift]]
code = "A"
start = 06:00:00
end = 18:00:00

[[site.shift]]
code = "B"
start = 18:00:00
end = 06:00:00

[[site.work_unit]]
path = "area/line-1/press"
name = { ko = "프레스", en = "Press" }
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gw-1.key").write_text("ab" * 32)
    (tmp_path / "cloud.toml").write_text(FILE)
    return tmp_path


def test_a_good_file_is_loaded_with_paths_beside_it(folder):
    settings = load(folder / "cloud.toml")
    assert settings.database_url == f"sqlite:///{folder / 'cloud.db'}"
    assert list(settings.keys.values()) == [bytes.fromhex("ab" * 32)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('safe = "stored"', "", "safe: is missing; add it"),
        ("[broker]", "[brokr]", "cloud.toml:7: brokr: unknown key; did you mean 'broker'?"),
        ("sqlite:///cloud.db", "mysql://x", "cloud.toml:5: database.url"),
        ('site = "gumi"', 'site = "gumi-2"', "cloud.toml:14: gateway[0].site: there is no [[site]] acme/gumi-2"),
        ('id = "gw-1"', 'id = "GW 1"', "cloud.toml:15: gateway[0].id"),
        ("gw-1.key", "gw-9.key", "cloud.toml:16: gateway[0].key: credential 'gw-9.key': cannot read"),
        ("Asia/Seoul", "Asia/Soul", "cloud.toml:22: site[0].timezone: no such time zone"),
        ('code = "B"', 'code = "A"', "site[0].shift[1]"),
        ("start = 18:00:00", "start = 12:00:00", "site[0].shift"),
        ("area/line-1/press", "line-1", "site[0].work_unit[0].path"),
        ("port = 1883", 'port = 1883\ncertificate = "c.pem"', "certificate and private_key go together"),
    ],
)
def test_a_fault_is_named_with_its_line_and_what_to_check(folder, old, new, expected):
    text = (folder / "cloud.toml").read_text()
    assert old in text
    (folder / "cloud.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(folder / "cloud.toml")
    found = [str(fault).removeprefix(f"{folder}/") for fault in caught.value.faults]
    assert any(expected in fault for fault in found), found


def test_a_key_of_the_wrong_length_is_a_fault_and_is_not_shown(folder):
    (folder / "credentials" / "gw-1.key").write_text("abcd")
    with pytest.raises(ConfigError, match="64 hex digits") as caught:
        load(folder / "cloud.toml")
    assert "abcd" not in str(caught.value)


def test_targets_are_checked_with_their_lines_and_their_order(tmp_path):
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    good = '[[site.target]]\nkpi = "oee"\ntarget = 0.8\nwarning = 0.7\ncritical = 0.6\n'
    wrong = '[[site.target]]\nkpi = "oee"\nwork_unit = "bottling/line-1/fillr"\ntarget = 0.8\nwarning = 0.7\ncritical = 0.6\n'
    text = path.read_text()
    path.write_text(text + good)
    assert [one.kpi for one in load(path).file.sites[0].targets] == ["oee"]
    path.write_text(text + good + good + wrong)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert "stands here twice" in str(refused.value)
    assert "did you mean 'bottling/line-1/filler'" in str(refused.value)
    path.write_text(text + good.replace("0.7", "0.9"))
    with pytest.raises(ConfigError, match="warning lies between target and critical"):
        load(path)


def test_safety_stocks_are_checked_with_their_lines(tmp_path):
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db")
    good = '[[site.material]]\nid = "caps"\nname = {ko = "뚜껑", en = "Caps"}\nunit = "C62"\nsafety_stock = 500\n'
    text = path.read_text()
    path.write_text(text + good)
    assert [(one.id, one.safety_stock) for one in load(path).file.sites[0].materials] == [("caps", 500.0)]
    for wrong, why in (
        (good + good, r"cloud\.toml:\d+: site\[0\]\.material\[1\]\.id: material 'caps' stands here twice"),
        (good.replace("500", "-1"), r"site\[0\]\.material\[0\]\.safety_stock"),
        (good.replace("500", "nan"), r"site\[0\]\.material\[0\]\.safety_stock"),
        (good + "reorder_point = 400\n", "a reorder point lies at or above a safety stock"),
        (good.replace("safety_stock", "safty_stock"), "did you mean 'safety_stock'"),
        (good.replace('"caps"', '""'), r"site\[0\]\.material\[0\]\.id"),
    ):
        path.write_text(text + wrong)
        with pytest.raises(ConfigError, match=why):
            load(path)


def test_every_kpi_that_can_have_a_target_is_a_metric():
    assert set(get_args(Kpi)) <= set(METRICS)
