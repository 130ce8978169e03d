"""The demo proves itself: cut, kill -9 of a gateway and of the cloud, heal, drain, count; on the broker that comes from pip."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.servers import ROOT


@pytest.mark.timeout(240)
def test_the_headless_demo_accounts_for_every_record_and_every_piece(tmp_path):
    report = tmp_path / "report.json"
    words = [
        "demo",
        "--headless",
        "--seconds",
        "30",
        "--report",
        str(report),
        "--folder",
        str(tmp_path / "demo"),
        "--embedded",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "triflow", *words], cwd=ROOT, capture_output=True, text=True, timeout=220, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["ok"]
    assert found["broker"] == "iotcore"
    assert all(check["ok"] for check in found["checks"])
    assert len(found["gateways"]) == 2
    assert len(found["pieces"]) == 4
    said = "\n".join(step["what"] for step in found["steps"])
    for expected in ("the network is cut", "is killed (SIGKILL)", "the cloud is killed", "the backlog is drained"):
        assert expected in said
