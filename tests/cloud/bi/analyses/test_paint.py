from __future__ import annotations

import json
import re

import pytest

from cloud.bi.analyses.paint import PaintError, paint, palette
from cloud.bi.analyses.words import change, duration, figure, listed, number, percent, with_particle

SPEC = {"layer": [{"mark": {"color": "var(--run)"}}], "range": ["var(--down)", "#fff"], "width": 3}


def test_colours_become_those_of_the_style_sheet():
    assert paint(SPEC, "page") is SPEC
    light, dark = paint(SPEC, "light"), paint(SPEC, "dark")
    assert light["layer"][0]["mark"]["color"] == "#16706a"
    assert dark["range"] == ["#e5674d", "#fff"]
    assert "var(" not in json.dumps(dark)
    assert SPEC["range"] == ["var(--down)", "#fff"]
    with pytest.raises(PaintError, match="--nonsense"):
        paint({"color": "var(--nonsense)"}, "dark")
    assert all(re.fullmatch("#[0-9a-f]{3,8}", tone) for both in palette().values() for tone in both)


@pytest.mark.parametrize(
    ("value", "unit", "ko", "en"),
    [
        (0.7842, "1", "78.4%", "78.4%"),
        (0.00421, "1", "0.42%", "0.42%"),
        (12345.0, "pieces", "12,345개", "12,345 pieces"),
        (9000.0, "s", "2.5시간", "2.5 h"),
        (150.0, "s", "2분", "2 min"),
        (None, "1", "–", "–"),
        (2.5, "bar", "2.50 bar", "2.50 bar"),
    ],
)
def test_figures_are_said_as_people_say_them(value: float | None, unit: str, ko: str, en: str):
    assert (figure(value, unit, "ko"), figure(value, unit, "en")) == (ko, en)


def test_changes_have_no_sign_and_zero_has_none_either():
    assert change(-0.032, "1", "ko") == "3.2%p"
    assert change(-0.032, "1", "en") == "3.2 pp"
    assert number(-0.0001, 1) == "0.0"
    assert percent(0.0) == "0.0%"
    assert duration(3.2, "en") == "3.2 s"


def test_korean_particles_follow_the_sound():
    assert [with_particle(word, "은", "는") for word in ("라인", "설비", "L1", "LINE-A", "78.4%", "(개)")] == [
        "라인은", "설비는", "L1은", "LINE-A는", "78.4%는", "(개)는",
    ]  # fmt: skip
    assert with_particle("서울", "으로", "로") == "서울로"
    assert listed(["a", "b", "c"], "en") == "a, b and c"
