"""What a site file says of acting: every fault on its line with what to write instead; nothing is allowed by silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.acting.modes import Modes
from edge.blueprint import Blueprint, decode
from edge.permits import Acting
from edge.site import load
from sync.settings import ConfigError
from tests.edge.acting.gateway import MODBUS, REGISTERS, TARGET, write_site


def site(folder: Path, acting: str = "") -> Path:
    return write_site(folder, MODBUS.format(port=1), REGISTERS, acting=acting)


def test_without_a_word_nothing_is_allowed(tmp_path):
    path = site(tmp_path)
    text = path.read_text()
    path.write_text(text[: text.index("[acting]")])
    loaded = load(path)
    assert loaded.permits == {}
    assert loaded.file.acting.mode == "monitor"
    assert Modes(Acting()).of("any/line/at-all") == "monitor"


def test_a_permit_is_bound_to_its_tag_with_strict_defaults(tmp_path):
    permit = load(site(tmp_path)).permits[TARGET]
    assert permit.tag.id == TARGET
    assert permit.entry.risk == "HIGH"
    assert permit.entry.fail_safe is None
    assert permit.interlock.tags == ("oil_pressure",)


def fault(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (one,) = caught.value.faults
    return str(one)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("filler/speed_setpoint", "filler/speed_setpiont", "did you mean 'hall/line-1/filler/speed_setpoint'?"),
        ("filler/speed_setpoint", "filler/oil_pressure", "oil_pressure is not writable in its book"),
        ("filler/speed_setpoint", "filler/door_closed", "is a bool; leave low and high out"),
        ("low = 20\nhigh = 80\n", "", "is a number; give low and high"),
        ("low = 20\n", "", "low and high go together"),
        ("low = 20\n", "low = 90\n", "low 90 is above high 80"),
        ("low = 20\n", "low = -1\n", "-1 to 80 is wider than the book's range"),
        ("high = 80\n", "high = 80\nfail_safe = 10\n", "fail_safe 10 is outside 20 to 80"),
        ("high = 80\n", "high = 80\nfail_safe = true\n", "fail_safe"),
        ("high = 80\n", "high = 80\nmax_chnage = 3\n", "did you mean 'max_change'?"),
        ("oil_pressure > 2.0", "oil_presure > 2.0", "nearest"),
        ("oil_pressure > 2.0", "oil_pressure + 2.0", "bool"),
        ("oil_pressure > 2.0", "oil_pressure >", "interlock"),
        ("oil_pressure > 2.0", "true", "names nothing of the line"),
        ('mode = "control"', 'mode = "full"', "'monitor', 'advise' or 'control'"),
        ('mode = "control"', 'mode = "control"\n[[acting.line]]\nwork_unit = "hall/x/y"\nmode = "advise"', "no line 'hall/x/y'"),
        ('mode = "control"', 'mode = "control"\n[[acting.risk]]\naction = "MES *"\nrisk = "LOW"', "action"),
        ('mode = "control"', 'mode = "control"' + '\n[[acting.cell]]\ntrust = 2\nrisk = "LOW"\ndecision = "reject"' * 2, "is in this matrix already"),
        ('mode = "control"', 'mode = "control"' + '\n[[acting.risk]]\naction = "mes_*"\nrisk = "LOW"' * 2, "has a risk already"),
    ],
)  # fmt: skip
def test_a_fault_stands_on_its_line_and_says_what_to_write(tmp_path, old, new, said):
    path = site(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    told = fault(path)
    assert said in told, told
    assert "site.toml:" in told
    assert "acting" in told


def test_two_permits_for_one_tag_are_one_too_many(tmp_path):
    path = site(tmp_path)
    text = path.read_text()
    path.write_text(text + text[text.index("[[acting.write]]") :])
    assert "has a permit already" in fault(path)


def test_a_key_for_the_page_that_anybody_guesses_is_a_fault(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "pin").write_text("1234")
    path = write_site(tmp_path, MODBUS.format(port=1), REGISTERS, key='key = {credential = "pin"}')
    assert "the key has 4 characters; at least 6" in fault(path)


def test_the_configuration_on_record_holds_the_permits(tmp_path):
    loaded = load(site(tmp_path, acting='[[acting.cell]]\ntrust = 2\nrisk = "LOW"\ndecision = "reject"\n'))
    again = decode(Blueprint.of(loaded).encode()).file
    assert again.acting == loaded.file.acting


def test_a_line_goes_no_further_than_the_gateway():
    modes = Modes(Acting.model_validate({"mode": "advise", "line": [{"work_unit": "a", "mode": "control"}]}))
    assert (modes.of(""), modes.of("a"), modes.of("b")) == ("advise", "advise", "advise")
    modes.order("", "control", actor="kim", reason="trial", now=1)
    assert (modes.of(""), modes.of("a"), modes.of("b")) == ("control", "control", "control")
    modes.order("a", "monitor", actor="kim", reason="by hand", now=1)
    assert (modes.of("a"), modes.of("b")) == ("monitor", "control")
    assert (modes.written("a"), modes.written("b")) == ("advise", "advise")
