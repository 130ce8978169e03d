"""The charts of reports: Vega-Lite specifications, pure functions of a report's data; page and paper draw the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.bi.analyses.loss_parts import LOSS_NAMES
from cloud.drawing import charts
from cloud.wording.texts import Words

Spec = dict[str, Any]
Json = Mapping[str, Any]

_TONE: Final = {
    "calendar": "var(--planned)",
    "planned_busy": "var(--setup)",
    "production": "var(--brand)",
    "effective": "var(--run)",
    "setup": "var(--setup)",
    "delay": "var(--delay)",
    "down": "var(--down)",
    "unknown": "var(--unknown)",
    "speed_loss": "var(--warn-mark)",
    "scrap": "var(--bad)",
    "rework": "var(--bad)",
}
SERIES: Final = ("var(--brand)", "var(--warn-mark)", "var(--puzzle)", "var(--down)", "var(--setup)", "var(--delay)")
HOUR_MS: Final = 3_600_000


def waterfall(report: Json, words: Words, width: int) -> Spec:
    """Draw where the time went: calendar at the top, time of good pieces at the foot; in hours and per cent of busy time."""
    rows: list[Spec] = []
    level = 0.0
    busy = next((one["ms"] for one in report["waterfall"]["steps"] if one["name"] == "planned_busy"), 0)
    for step in report["waterfall"]["steps"]:
        hours = step["ms"] / HOUR_MS
        if step["kind"] == "loss" and not step["ms"]:
            continue  # what took nothing needs no line
        total = step["kind"] == "total"
        begin, end = (0.0, hours) if total else (level - hours, level)
        level = hours if total else level - hours
        share = (
            f" · {step['ms'] / busy:.1%}"
            if busy and step["name"] not in {"calendar", "not_scheduled", "not_accounted"}
            else ""
        )
        text = f"{hours:,.1f} h{share}" if abs(hours) >= 1 else f"{hours * 60:,.0f} min{share}"
        name = LOSS_NAMES[step["name"]][words.language]
        rows.append(
            {
                "k": name if total else f"– {name}",
                "a": min(begin, end),
                "b": max(begin, end),
                "t": text,
                "c": _TONE.get(step["name"], "var(--delay)"),
                "o": 1.0 if total else 0.85,
            }
        )
    top = max((row["b"] for row in rows), default=1) or 1
    y: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {"labelLimit": 150, "labelColor": "var(--ink)", "title": None, "grid": False},
    }
    x: Spec = {
        "field": "a",
        "type": "quantitative",
        "scale": {"domain": [0, top * 1.2]},
        "axis": {
            "tickCount": 6,
            "format": "~s",
            "title": words("report.hours_axis"),
            "titleColor": "var(--muted)",
            "titleFontWeight": "normal",
            "grid": True,
        },
    }
    colour: Spec = {"field": "c", "type": "nominal", "scale": None}
    return {
        "width": width,
        "height": {"step": 21},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar", "height": 13, "cornerRadius": 2},
                "encoding": {
                    "y": y,
                    "x": x,
                    "x2": {"field": "b"},
                    "color": colour,
                    "opacity": {"field": "o", "type": "quantitative", "scale": None},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {"y": y, "x": {**x, "field": "b"}, "text": {"field": "t", "type": "nominal"}},
            },
        ],
    }


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
                "legend": {"orient": "top", "title": None, "labelColor": "var(--ink)", "symbolType": "circle"},
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
    longest = max((value for _, value, _ in rows), default=1) or 1
    y: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {"labelLimit": 140, "labelColor": "var(--ink)", "title": None},
    }
    x: Spec = {"field": "n", "type": "quantitative", "axis": None, "scale": {"domain": [0, longest * 2.1]}}
    return {
        "width": width,
        "height": {"step": 21},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar", "height": 12, "cornerRadiusEnd": 2, "color": colour},
                "encoding": {"y": y, "x": x},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {"y": y, "x": x, "text": {"field": "t", "type": "nominal"}},
            },
        ],
    }
