"""Parts of charts: Vega-Lite with the house's colours by name, drawn by `cloud.drawing.charts.svg` or by a browser.

Steps stand on an ordinal axis under their own names, because a business date is a name and not an instant.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from cloud.bi.analyses.result import Spec
from cloud.drawing import rows

WIDTH: Final = 720
HEIGHT: Final = 260
TONES: Final = (
    "var(--brand)",
    "var(--setup)",
    "var(--warn-mark)",
    "var(--unknown)",
    "var(--down)",
    "var(--delay)",
    "var(--ink)",
    "var(--planned)",
)
"""Colours of series; a chart draws no more series than there are."""
MARKS: Final = 45
"""With more points than this a line has no dots."""
LABELS: Final = 10
LEAST: Final = 30
"""Bars have at least this to grow in, px, whatever is said beside them."""
MILLIONS: Final = 1e7
"""From here on an axis counts in millions instead of writing them out."""
COLUMN: Final = 76
"""Room of a column's name, px."""

Values = list[dict[str, Any]]


def short(label: str) -> str:
    """Give a step's name without its year: 2026-11-23 A → 11-23 A."""
    return label[5:] if len(label) >= 10 and label[4] == "-" and label[7] == "-" else label


def steps(labels: Sequence[str]) -> Spec:
    """Give the x axis of steps in time, with as many names as fit."""
    names = list(dict.fromkeys(labels))
    shown = names[:: max(1, -(-len(names) // LABELS))]
    words = {name: short(name) for name in shown}
    return {
        "field": "x",
        "type": "ordinal",
        "sort": None,
        "scale": {"domain": names},
        "axis": {
            "values": shown,
            "labelExpr": f"{json.dumps(words, ensure_ascii=False)}[datum.value]",
            "labelAngle": 0,
            "labelOverlap": True,
        },
    }


def height_axis(
    field: str, unit: str, values: Sequence[float | None] = (), *, zero: bool = False, title: str = ""
) -> Spec:
    """Give the y axis of a metric: per cent for ratios, fine ones where little moves."""
    known = [value for value in values if value is not None]
    narrow = bool(known) and max(known) - min(known) < 0.05
    form = (".2%" if narrow and max(known) < 0.02 else ".1%" if narrow else ".0%") if unit == "1" else "~s"
    most = max((abs(value) for value in known), default=0.0)
    if unit != "1" and most < MILLIONS:
        form = "~g" if most < 1000 else ",.0f"
    axis: Spec = {"tickCount": 5, "format": form}
    if title:
        axis["title"] = title
    return {"field": field, "type": "quantitative", "scale": {"zero": zero}, "axis": axis}


def colours(names: Sequence[str], tones: Sequence[str] = TONES, *, legend: bool = True) -> Spec:
    """Give the colours of series, with a legend above the chart where there are several."""
    shown = {
        "orient": "top",
        "title": None,
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 0,
        "symbolType": "circle",
    }
    return {
        "field": "s",
        "type": "nominal",
        "scale": {"domain": list(names), "range": list(tones[: len(names)])},
        "legend": shown if legend and len(names) > 1 else None,
    }


def chart(layers: Sequence[Spec], values: Values | None = None, *, height: int = HEIGHT) -> Spec:
    """Put layers on one canvas."""
    spec: Spec = {"width": WIDTH, "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    if values is not None:
        spec["data"] = {"values": values}
    return {**spec, "layer": list(layers)}


def line(x: Spec, y: Spec, count: int, *, colour: str | Spec = "var(--brand)", dash: bool = False) -> Spec:
    """Draw a line, broken where there is no figure, with dots while they can be told apart."""
    mark: Spec = {"type": "line", "strokeWidth": 2, "invalid": "break-paths-show-domains"}
    encoding: Spec = {"x": x, "y": y}
    if isinstance(colour, str):
        mark["color"] = colour
        mark["point"] = {"color": colour, "size": 26} if count <= MARKS else False
    else:
        encoding["color"] = colour
        mark["point"] = {"size": 26} if count <= MARKS else False
    if dash:
        mark["strokeDash"] = [5, 4]
    return {"mark": mark, "encoding": encoding}


def band(x: Spec, y: Spec, low: str, high: str, opacity: float = 0.16) -> Spec:
    """Draw an area between two fields."""
    return {
        "mark": {"type": "area", "color": "var(--brand)", "opacity": opacity, "interpolate": "monotone"},
        "encoding": {"x": x, "y": {**y, "field": low}, "y2": {"field": high}},
    }


def rule(y: Spec, value: float, tone: str = "var(--muted)") -> Spec:
    """Draw a dashed line across at a value."""
    return {
        "data": {"values": [{"y": value}]},
        "mark": {"type": "rule", "color": tone, "strokeDash": [4, 4], "strokeWidth": 1.4},
        "encoding": {"y": {**y, "field": "y"}},
    }


def bars(values: Values, *, interval: bool = False, mark_at: str | None = None) -> Spec:
    """Draw horizontal bars of k (name), n (value), t (text), c (colour), with interval l to h and a mark at a field."""
    named = rows.names(values)
    reach = [row.get(name) or 0.0 for row in values for name in ("n", "h", "l", mark_at or "n")]
    low, high = min([0.0, *reach]), max([0.0, *reach])
    room = [
        max((rows.width(row["t"]) + rows.GAP for row in values if (row["n"] >= 0) is up), default=0.0)
        for up in (False, True)
    ]
    start = named.left + room[0]
    x: Spec = {
        "field": "n",
        "type": "quantitative",
        "axis": None,
        "scale": {
            "domain": [low, high if high > low else low + 1.0],
            "nice": False,
            "zero": False,
            "range": [start, {"expr": f"max(width - {room[1]:.0f}, {start + LEAST:.0f})"}],
        },
    }
    y = rows.ROWS
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "height": 15, "cornerRadiusEnd": 2},
            "encoding": {"y": y, "x": x, "color": {"field": "c", "type": "nominal", "scale": None}},
        }
    ]
    if interval:  # on a light seam, because half of it lies on the bar
        layers += [
            {
                "mark": {"type": "rule", "color": tone, "strokeWidth": wide},
                "encoding": {"y": y, "x": {**x, "field": "l"}, "x2": {"field": "h"}},
            }
            for tone, wide in (("var(--card)", 5), ("var(--ink)", 1.6))
        ]
    if mark_at is not None:  # a pin over the row, on a light seam: nobody takes it for the end of the bar
        pins: tuple[Spec, ...] = (
            {"type": "tick", "thickness": 6, "height": 17, "color": "var(--card)"},
            {"type": "tick", "thickness": 2, "height": 20, "color": "var(--ink)"},
            {"type": "point", "shape": "triangle-down", "filled": True, "size": 55, "opacity": 1, "yOffset": -11}
            | {"color": "var(--ink)"},
        )
        layers += [{"mark": pin, "encoding": {"y": y, "x": {**x, "field": mark_at}}} for pin in pins]
    for row in values:
        value = row.get("n") or 0.0
        row["e"] = (
            max(value, row.get("h") or value, row.get(mark_at or "n") or value)
            if value >= 0
            else min(value, row.get("l") or value)
        )
    for side, align, dx in ((">=", "left", 7), ("<", "right", -7)):
        layers.append(
            {
                "transform": [{"filter": f"datum.n {side} 0"}],
                "mark": {"type": "text", "align": align, "dx": dx, "fill": "var(--ink)", "fontSize": 12},
                "encoding": {"y": y, "x": {**x, "field": "e"}, "text": {"field": "t", "type": "nominal"}},
            }
        )
    return rows.canvas(named, values, layers, WIDTH)


def cascade(values: Values) -> Spec:
    """Draw a waterfall of k (name), a and b (ends of the bar), t (text), c (colour); bars from 0 are totals.

    The axis begins near the steps where these are small beside the totals, or nobody would see them.
    """
    ends = [end for row in values for end in (row["a"], row["b"]) if end]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    reach = high - low or high * 0.1 or 1.0
    start = low - 1.5 * reach
    start = start if start > 0.3 * low else 0.0
    for row in values:
        row["a"] = row["a"] or start
    for row in values:
        row["k"] = "\n".join(rows.wrapped(row["k"], COLUMN, 12))
    x: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {
            "labelExpr": "split(datum.label, '\\n')",
            "labelAngle": 0,
            "labelLimit": 0,
            "labelColor": "var(--ink)",
            "labelOverlap": False,
        },
    }
    for row in values:
        row["e"] = max(row["a"], row["b"])
    form = ",.0f" if high - start >= 5 else ",.1f"
    scale = {"zero": False, "nice": False, "domain": [start, high + 0.15 * (high - start)]}
    y: Spec = {"field": "a", "type": "quantitative", "scale": scale, "axis": {"tickCount": 5, "format": form}}
    return chart(
        [
            {
                "mark": {"type": "bar", "size": 34, "cornerRadius": 2},
                "encoding": {"x": x, "y": y, "y2": {"field": "b"}, "color": {"field": "c", "type": "nominal", "scale": None}},
            },
            {
                "mark": {"type": "text", "dy": -8, "fill": "var(--ink)", "fontSize": 12},
                "encoding": {"x": x, "y": {**y, "field": "e"}, "text": {"field": "t", "type": "nominal"}},
            },
        ],
        values,
    )  # fmt: skip
