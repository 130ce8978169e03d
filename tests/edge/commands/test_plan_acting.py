"""What a new site file would let the gateway do stands in the plan, in both languages, before it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.blueprint import Blueprint
from edge.commands.plan_compare import compare
from edge.drivers.finding import advice
from edge.site import load
from tests.edge.acting.gateway import AUTO, MODBUS, REGISTERS, TARGET, write_site


def blueprint(folder: Path, **more: str) -> Blueprint:
    folder.mkdir()
    return Blueprint.of(load(write_site(folder, MODBUS.format(port=1), REGISTERS, **more)))


def test_a_new_permit_and_control_are_warnings(tmp_path):
    old = blueprint(tmp_path / "old", mode="monitor")
    new = blueprint(tmp_path / "new", mode="control", acting=AUTO, permit="max_change = 5")
    comparison = compare(old, new)
    changed = {(one.part, one.name): {name: (a, b) for name, a, b in one.settings} for one in comparison.differences}
    assert changed["permit", TARGET] == {"max_change": (None, 5)}
    assert changed["acting", ""]["mode"] == ("monitor", "control")
    assert changed["acting", ""]["trust 0 × MEDIUM · decision"] == (None, "auto_execute")
    meant = {finding.key for finding in comparison.consequences}
    assert {"plan.permit", "plan.control"} <= meant
    assert compare(new, new).differences == []


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_is_said_in_both_languages(tmp_path, language):
    comparison = compare(blueprint(tmp_path / "old", mode="monitor"), blueprint(tmp_path / "new", permit="fresh_s = 1"))
    for finding in comparison.consequences:
        assert finding.what(language)
        assert finding.severity == "ok" or advice(finding.key, language, finding.words)
    assert any(TARGET in finding.what(language) for finding in comparison.consequences)
