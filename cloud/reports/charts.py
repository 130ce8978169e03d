"""The charts of reports: Vega-Lite specifications, pure functions of a report's data; page and paper draw the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.drawing import charts
from cloud.drawing import rows as named_rows
from cloud.drawing import waterfall as losses
from cloud.wording.texts import Words

Spec = dict[str, Any]
Json = Mapping[str, Any]

SERIES: Final = ("var(--brand)", "var(--warn-mark)", "var(--puzzle)", "var(--down)", "var(--setup)", "var(--delay)")


def waterfall(report: Json, words: Words, width: int) -> Spec:
    """Draw where the time went, as a line's page does."""
    return losses.waterfall(losses.steps(report["waterfall"], words), width)


def timeline(report: Json, line: Json, zone: tzinfo, width: int, *, axis: bool = True) -> Spec:
    """Draw one line's states over the shift. axis: whether its clock stands below."""
    span = {"start": report["start"], "end": report["end"], "timeline": line["segments"]}
    spec = charts.states(span, zone, width)
    encoding = spec["encoding"]
    if not axis:
        encoding = {**encoding, "x": {**encoding["x"], "axis": None}}
    return {**spec, "height": 20, "mark": {"type": "bar", "height": 20}, "encoding": encoding}


def hours(report: Json, line: Json, zone: tzinfo, width: int) -> Spec:
    """Draw one line's output by hour against its plan."""
    spec = charts.hourly({"start": report["start"], "end": report["end"], "hours": line["hours"]}, zone, width)
    return {**spec, "width": width, "height": 104, "autosize": {"type": "fit-x", "contains": "padding"}}


def days(report: Json, words: Words, width: int) -> Spec:
    """Draw each line's OEE by day."""
    units = list(dict.fromkeys(one["work_unit"] for one in report["days"]))
    names = {one["work_unit"]: words.of(one["name"]) for one in report["days"]}
    rows = [
        {"d": one["date"][5:], "v": one["values"]["oee"], "s": names[one["work_unit"]]}
        for one in report["days"]
        if one["values"]["oee"] is not None
    ]
    known: list[float] = [one["values"]["oee"] for one in report["days"] if one["values"]["oee"] is not None]
    low = max(0.0, min(known, default=0.0) - 0.05)
    return {
        "width": width,
        "height": 150,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 26}},
        "encoding": {
            "x": {"field": "d", "type": "ordinal", "axis": {"labelAngle": 0, "title": None}},
            "y": {
                "field": "v",
                "type": "quantitative",
                "scale": {"domain": [low, min(1.0, max(known, default=1.0) + 0.05)], "nice": False, "zero": False},
                "axis": {"format": ".0%", "tickCount": 5, "title": None},
            },
            "color": {
                "field": "s",
                "type": "nominal",
                "scale": {"domain": [names[unit] for unit in units], "range": list(SERIES[: len(units)])},
                "legend": {
                    "orient": "top",
                    "title": None,
                    "labelColor": "var(--ink)",
                    "labelFontSize": 12,
                    "labelLimit": 0,
                    "symbolType": "circle",
                },
            },
            "strokeDash": {
                "field": "s",
                "type": "nominal",
                "scale": {
                    "domain": [names[unit] for unit in units],
                    "range": [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]],
                },
                "legend": None,
            },
        },
    }


def pareto(rows: Sequence[tuple[str, float, str]], colour: str, width: int) -> Spec:
    """Draw (name, value, value in words), the largest first, with the share that is reached so far."""
    whole = sum(value for _, value, _ in rows) or 1
    reached, values = 0.0, list[Spec]()
    for name, value, text in rows:
        reached += value
        values.append({"k": name, "n": value, "t": f"{text} · {reached / whole:.0%}"})
    named = named_rows.names(values, room=150, size=12, step=22)
    longest = max((value for _, value, _ in rows), default=1) or 1
    end = width - named_rows.GAP - max((named_rows.width(row["t"]) for row in values), default=0.0)
    x: Spec = {
        "field": "n",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [0, longest], "nice": False, "range": [named.left, max(end, named.left + 40)]},
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "height": 12, "cornerRadiusEnd": 2, "color": colour},
            "encoding": {"y": named_rows.ROWS, "x": x},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 6},
            "encoding": {"y": named_rows.ROWS, "x": x, "text": {"field": "t", "type": "nominal"}},
        },
    ]
    return named_rows.canvas(named, values, layers, width)
