"""Every word on a chart lies inside it, whatever the names are called: Korean or English, on a wide page or a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cloud.bi.analyses import drawing
from cloud.drawing import charts, rows, waterfall
from cloud.reports import charts as paper
from cloud.wording.texts import Words

WIDTHS = (900, charts.NARROW)
NAMES = (
    "LINE-A assembly · Housing X",
    "고장·정지 (라벨 롤 교체 대기)",
    "B",
    "packaging/line-17/labeller-of-the-second-floor",
)
STEPS: dict[str, list[dict[str, Any]]] = {
    "steps": [
        {"name": "calendar", "kind": "total", "ms": 2_600_000_000},
        {"name": "not_scheduled", "kind": "loss", "ms": 1_300_000_000},
        {"name": "planned_busy", "kind": "total", "ms": 1_300_000_000},
        {"name": "down", "kind": "loss", "ms": 4_000},
        {"name": "setup", "kind": "loss", "ms": 600_000_000},
        {"name": "production", "kind": "total", "ms": 699_996_000},
        {"name": "speed_loss", "kind": "loss", "ms": -9_000_000},
        {"name": "effective", "kind": "total", "ms": 708_996_000},
    ]
}


def _texts(element: ET.Element, x: float = 0.0) -> Iterator[tuple[str, float, float]]:
    """Give (text, left, right) of every text that is shown, as wide as we take it to be."""
    moved = re.match(r"translate\(([-\d.e]+)", element.get("transform", ""))
    x += float(moved[1]) if moved else 0.0
    said = "".join(element.itertext())
    if element.tag.endswith("text") and said and element.get("opacity") != "0":
        size = float(element.get("font-size", "11px").removesuffix("px"))
        lines = [part.text or "" for part in element] or [said]
        long = max(rows.width(line, size) for line in lines)
        left = x - {"end": long, "middle": long / 2}.get(element.get("text-anchor", "start"), 0.0)
        yield said, left, left + long
        return
    for child in element:
        yield from _texts(child, x)


def _drawn(spec: dict[str, Any]) -> list[str]:
    """Draw it, and give its texts; all of them lie within."""
    drawn = ET.fromstring(str(charts.svg(spec, "x")))
    found = list(_texts(drawn))
    wide = float(drawn.get("viewBox", "").split()[2])
    beyond = [one for one in found if one[1] < -1 or one[2] > wide + 1]
    assert beyond == []
    return [text for text, _, _ in found]


def _words(said: list[str]) -> set[str]:
    """Names may stand in two lines, but no word of theirs is lost."""
    return {word for text in said for word in text.split()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("below", [False, True], ids=["above", "below"])
def test_bars(width: int, *, below: bool) -> None:
    values = [
        {"k": name, "n": -0.03 if below and place % 2 else 0.08 / (place + 1), "l": 0.0, "h": 0.09, "t": "+0.05 pp", "c": "red"}
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    said = _drawn(drawing.bars(values, interval=not below, mark_at=None) | {"width": width})
    assert {"LINE-A assembly", "Housing X", "B"} <= set(said)
    assert set(NAMES[1].split()) <= _words(said)
    assert [text for text in said if "…" in text] == ["packaging/line-17/lab…"]


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_that_a_target_is_marked_at(width: int) -> None:
    told = "72.0% · target 85.0%"
    values = [{"k": name, "n": 0.72, "m": 0.85, "t": told, "c": "red"} for name in NAMES]
    assert _drawn(drawing.bars(values, mark_at="m") | {"width": width}).count(told) == len(NAMES)


def test_columns() -> None:
    values = [{"k": name, "a": 0.0, "b": 5.0 + place, "t": "+1.0", "c": "red"} for place, name in enumerate(NAMES[:3])]
    assert "+1.0" in _drawn(drawing.cascade(values) | {"width": charts.NARROW})


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_where_the_time_went(width: int, language: Any) -> None:
    words = Words(language)
    said = _drawn(waterfall.waterfall(waterfall.steps(STEPS, words), width))
    names = [words.label("loss_step", one["name"]) for one in STEPS["steps"]]
    assert _words(names) <= _words(said)
    assert paper.waterfall({"waterfall": STEPS}, words, width) == waterfall.waterfall(
        waterfall.steps(STEPS, words), width
    )


@pytest.mark.parametrize("width", [500, charts.NARROW])
def test_rankings(width: int) -> None:
    drawn = _drawn(
        paper.pareto([(name, 60.0 - place, "12시간 30분") for place, name in enumerate(NAMES)], "red", width)
    )
    assert sum("12시간 30분" in text for text in drawn) == len(NAMES)
    drawn = _drawn(charts.ranking([(name, 0.5, "0.5, 12 checks", "red") for name in NAMES]))
    assert drawn.count("0.5, 12 checks") == len(NAMES)
