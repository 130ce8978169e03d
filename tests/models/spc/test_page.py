"""docs/spc.md says what the software does: its examples load, its run lengths are computed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.expression import window_environment
from models.rulesets import load
from models.spc.run_length import RunLength, cusum, ewma, shewhart, spread_rate

PAGE = (Path(__file__).parents[3] / "docs" / "spc.md").read_text("utf-8")
SETS = {
    '`["nelson_1"]`': ["nelson_1"],
    '`["nelson_1", "nelson_2"]`': ["nelson_1", "nelson_2"],
    '`"usual"`: Nelson 1, 2, 5, 6': ["nelson_1", "nelson_2", "nelson_5", "nelson_6"],
    '`"western_electric"`': ["we_1", "we_2", "we_3", "we_4"],
    '`"nelson"`: all eight': [f"nelson_{i}" for i in range(1, 9)],
}


def computed(what: str, shift: float) -> RunLength:
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*", what)]
    if what.startswith("`ewma`"):
        return ewma(*numbers, shift=shift)
    if what.startswith("`cusum`"):
        return cusum(*numbers[:2], head_start=numbers[2] if len(numbers) > 2 else 0.0, shift=shift)
    return shewhart(SETS[what], shift)


def test_the_table_of_false_alarms_is_what_is_computed():
    section = PAGE.split("## How often a chart alarms for nothing")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| .*\|$", section, re.MULTILINE)
    ]
    assert rows[0] == ["rules", "all is well", "0.5 σ", "1 σ", "2 σ", "3 σ"]
    assert len(rows) == 10
    for what, *lengths in rows[1:]:
        for shift, printed in zip((0.0, 0.5, 1.0, 2.0, 3.0), lengths, strict=True):
            assert f"{computed(what, shift).arl:.1f}" == printed, (what, shift)
    assert f"every {shewhart([], moving_range=True).arl:.0f} points" in section
    assert f"every {1 / spread_rate(5):.0f}" in section.replace("\n", " ")


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
def test_every_example_loads(block):
    head = '[ruleset]\nname = "r"\nversion = "1.0.0"\n'
    assert load(head + block, window_environment({"fill_weight": "float32"})).checks
