"""Charts of the quality page: control charts, Pareto, yield. Pure specifications, drawn by `charts.svg`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.drawing.charts import NARROW, Spec
from cloud.wording.formats import instant

Json = Mapping[str, Any]

HEIGHT: Final = 210
SPREAD_HEIGHT: Final = 84
_LINE: Final[Spec] = {"color": "var(--muted)", "strokeWidth": 1.2}
_DASHED: Final[Spec] = {"color": "var(--bad)", "strokeWidth": 1.2, "strokeDash": [6, 4]}
_SPECIFIED: Final[Spec] = {"color": "var(--setup)", "strokeWidth": 1.2, "strokeDash": [2, 3]}


def _places(points: Sequence[Json], zone: tzinfo, width: int) -> Spec:
    """Give the x axis: points stand one after the other, and some of them say when they were taken."""
    wanted = 9 if width > NARROW else 4
    step = max(1, -(-len(points) // wanted))
    labels: dict[str, str] = {}
    day = ""
    for number in range(0, len(points), step):
        at = instant(points[number]["at"]).astimezone(zone)
        labels[str(number)] = at.strftime("%H:%M") if f"{at:%m-%d}" == day else at.strftime("%m-%d %H:%M")
        day = f"{at:%m-%d}"
    if width == NARROW:
        labels = {number: text[:5] for number, text in labels.items()}
    return {
        "field": "i",
        "type": "quantitative",
        "scale": {"domain": [-0.6, max(len(points), 2) - 0.4], "nice": False},
        "axis": {
            "values": [int(number) for number in labels],
            "labelExpr": f"{json.dumps(labels)}[datum.value] || ''",
            "labelOverlap": True,
            "offset": 8,
        },
    }


def control(chart: Json, zone: tzinfo, width: int, *, percent: bool = False) -> Spec:
    """Draw the points with centre, limits (they may differ from point to point) and what the product must keep."""
    points = chart["points"]
    specified = chart.get("specification") or {}
    x = _places(points, zone, width)
    axis: Spec = {"tickCount": 5, "format": ".0%" if _reach(points) > 0.05 else ".1%"} if percent else {"tickCount": 5}
    y: Spec = {"type": "quantitative", "scale": {"zero": False, "nice": True}, "axis": axis}
    rows = [
        {"i": i, "v": p["value"], "l": p["lower"], "u": p["upper"], "s": bool(p["signals"])}
        for i, p in enumerate(points)
    ]
    layers: list[Spec] = []
    if chart["limits"] is not None:
        layers += _limits(chart["limits"]["center"], x, y, len(points))
    for value in _within_sight([specified.get("low"), specified.get("high")], points):
        layers.append(
            {
                "data": {"values": [{"n": value}]},
                "mark": {"type": "rule", **_SPECIFIED},
                "encoding": {"y": {"field": "n", **y}},
            }
        )
    few = len(points) <= 150
    return {
        "width": width,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            *layers,
            {
                "mark": {"type": "line", "color": "var(--run)", "strokeWidth": 1.4, "opacity": 0.75},
                "encoding": {"x": x, "y": {"field": "v", **y}},
            },
            {
                "transform": [{"filter": "!datum.s"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "color": "var(--run)",
                    "size": 26 if few else 10,
                    "opacity": 1,
                },
                "encoding": {"x": x, "y": {"field": "v", **y}},
            },
            {
                "transform": [{"filter": "datum.s"}],
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "filled": True,
                    "color": "var(--down)",
                    "size": 90 if few else 60,
                    "opacity": 1,
                },
                "encoding": {"x": x, "y": {"field": "v", **y}},
            },
        ],
    }


def _reach(points: Sequence[Json]) -> float:
    """Give how high the points and their limits go."""
    return max((p[name] or 0.0 for p in points for name in ("value", "upper")), default=0.0)


def _limits(center: float, x: Spec, y: Spec, count: int) -> list[Spec]:
    ends = [{"i": -0.5, "n": center}, {"i": max(count, 2) - 0.5, "n": center}]
    steps: Spec = {"type": "line", "interpolate": "step", **_DASHED}
    return [
        {
            "data": {"values": ends},
            "mark": {"type": "line", **_LINE},
            "encoding": {"x": {**x, "field": "i"}, "y": {"field": "n", **y}},
        },
        *({"mark": steps, "encoding": {"x": x, "y": {"field": side, **y}}} for side in ("l", "u")),
    ]


def _within_sight(values: Sequence[float | None], points: Sequence[Json]) -> list[float]:
    """Give the specification's limits that can be drawn without pressing the points flat."""
    shown = [p[name] for p in points for name in ("value", "lower", "upper") if p[name] is not None]
    if not shown:
        return []
    low, high = min(shown), max(shown)
    room = (high - low) * 1.5
    return [value for value in values if value is not None and low - room <= value <= high + room]


def spread(chart: Json, zone: tzinfo, width: int) -> Spec:
    """Draw what is within the points: standard deviations of subgroups, or moving ranges."""
    points = chart["points"]
    limits = chart["limits"] or {}
    x = _places(points, zone, width)
    y: Spec = {"type": "quantitative", "scale": {"zero": True}, "axis": {"tickCount": 3}}
    beyond = {"spread", "moving_range"}
    rows = [
        {"i": i, "v": p["spread"], "s": any(one["rule"] in beyond for one in p["signals"])}
        for i, p in enumerate(points)
        if p["spread"] is not None
    ]
    lines = [
        {
            "data": {"values": [{"n": limits[name]}]},
            "mark": {"type": "rule", **style},
            "encoding": {"y": {"field": "n", **y}},
        }
        for name, style in (("spread_center", _LINE), ("spread_upper", _DASHED))
        if limits.get(name) is not None
    ]
    return {
        "width": width,
        "height": SPREAD_HEIGHT,
        "data": {"values": rows},
        "layer": [
            *lines,
            {
                "mark": {"type": "line", "color": "var(--muted)", "strokeWidth": 1.2},
                "encoding": {"x": x, "y": {"field": "v", **y}},
            },
            {
                "transform": [{"filter": "datum.s"}],
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "filled": True,
                    "color": "var(--down)",
                    "size": 60,
                    "opacity": 1,
                },
                "encoding": {"x": x, "y": {"field": "v", **y}},
            },
        ],
    }


def pareto(rows: Sequence[tuple[str, float, float]], width: int) -> Spec:
    """Draw (name, quantity, share of all so far) as bars with the line that adds up to all."""
    values = [{"k": name, "n": quantity, "c": share} for name, quantity, share in rows]
    x: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {
            "labelAngle": 0 if len(rows) < (8 if width > NARROW else 4) else -35,
            "labelLimit": 0,
            "labelColor": "var(--ink)",
        },
    }
    share: Spec = {"format": ".0%", "values": [0, 0.5, 0.8, 1], "grid": False, "orient": "right"}
    return {
        "width": width,
        "height": HEIGHT,
        "data": {"values": values},
        "resolve": {"scale": {"y": "independent"}},
        "layer": [
            {
                "mark": {"type": "bar", "color": "var(--warn-mark)", "cornerRadiusEnd": 2, "width": {"band": 0.62}},
                "encoding": {
                    "x": x,
                    "y": {"field": "n", "type": "quantitative", "axis": {"tickCount": 4, "format": ",d"}},
                },
            },
            {
                "mark": {
                    "type": "line",
                    "color": "var(--ink)",
                    "strokeWidth": 1.6,
                    "point": {"color": "var(--ink)", "size": 30},
                },
                "encoding": {
                    "x": x,
                    "y": {"field": "c", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": share},
                },
            },
        ],
    }


def yields(days: Sequence[Json], width: int) -> Spec:
    """Draw first-pass yield by business date; days without pieces are a break and not a zero."""
    rows = [{"d": day["date"], "v": day["first_pass_yield"]} for day in days]
    long = len(rows) > (16 if width > NARROW else 6)
    step = max(1, -(-len(rows) // (12 if width > NARROW else 4)))
    labels = (
        {day["date"]: day["date"][5:] for day in days[::step]}
        if long
        else {day["date"]: day["date"][5:] for day in days}
    )
    x: Spec = {
        "field": "d",
        "type": "ordinal",
        "axis": {"values": list(labels), "labelExpr": f"{json.dumps(labels)}[datum.value]", "labelAngle": 0},
    }
    y: Spec = {
        "field": "v",
        "type": "quantitative",
        "scale": {"zero": False, "nice": True},
        "axis": {"tickCount": 4, "format": ".1%"},
    }
    return {
        "width": width,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {
                    "type": "line",
                    "color": "var(--run)",
                    "strokeWidth": 2,
                    "point": {"color": "var(--run)", "size": 36},
                },
                "encoding": {"x": x, "y": y},
            }
        ],
    }
