"""Doctor and plan beside a gateway that runs: they know it, compare with what it really runs, and leave it alone."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from edge.commands import doctor, plan
from tests.servers import free_port, process, wait_until

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "gumi"
language = "en"
quota_mb = 16
ballast_mb = 0
[page]
port = {page}
[[connection]]
name = "press"
driver = "simulated"
period_ms = 100
[[line]]
work_unit = "hall/line-1/press"
connection = "press"
book = "press.toml"
"""
BOOK = 'title = "Press"\n[[tag]]\nname = "oil"\naddress = "a"\nlow = 0\nhigh = 100\n'


@pytest.fixture
def site(tmp_path: Path):
    page = free_port()
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(page=page))
    (tmp_path / "press.toml").write_text(BOOK)

    def connected() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/status", timeout=1) as answer:
                return json.load(answer)["sources"][0]["state"] == "connected"
        except OSError:
            return False

    with process("edge", "run", str(file), log=tmp_path / "gateway.log"):
        wait_until(connected, f"the gateway reads (its log: {tmp_path / 'gateway.log'})")
        yield file


def test_a_running_gateway_is_known_and_a_plan_compares_with_what_it_runs(site, capsys):
    assert doctor.main([str(site)]) == 0
    said = capsys.readouterr().out
    assert "running (process " in said
    assert "uplink not configured" in said
    assert plan.main([str(site)]) == 0
    assert "compared with what it has been running since" in capsys.readouterr().out
    book = site.parent / "press.toml"
    book.write_text(BOOK.replace("high = 100", "high = 90"))  # changed under it: what runs is what was loaded
    assert plan.main([str(site)]) == 2
    assert "high  100.0 → 90.0" in capsys.readouterr().out
