"""Charts: Vega-Lite specifications as pure functions of the API's answers, drawn to SVG on the server.

Colours are the page's own CSS variables, so one drawing serves light and dark. Times are shifted into the plant's zone
and drawn on a UTC scale, because the renderer knows only the zone of the machine it runs on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache
from html import escape
from typing import Any, Final

import vl_convert
from markupsafe import Markup

from cloud.dashboard.formats import instant
from cloud.dashboard.texts import Words

Spec = dict[str, Any]

ELEMENTS: Final = ("production", "setup", "delay", "down", "planned_down", "unknown")
TONES: Final = {
    "production": "var(--run)",
    "setup": "var(--setup)",
    "delay": "var(--delay)",
    "down": "var(--down)",
    "planned_down": "var(--planned)",
    "unknown": "var(--unknown)",
}
WIDE: Final = 1040
NARROW: Final = 330
"""Drawn widths in px: a whole row of a desktop page, and a phone or a third of the row."""

_CONFIG: Final[Spec] = {
    "background": "transparent",
    "font": "inherit",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "labelPadding": 6,
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
        "title": None,
    },
    "axisX": {"grid": False},
    "text": {"fill": "var(--ink)", "fontSize": 12},
}
_STYLE: Final = re.compile(r' style="[^"]*"')


def local_ms(text: str, zone: tzinfo) -> int:
    """Give an instant as ms of a clock on the plant's wall, as if that clock were UTC."""
    at = instant(text).astimezone(zone)
    offset = at.utcoffset()
    return round((at.timestamp() + (offset.total_seconds() if offset is not None else 0)) * 1000)


def _time_axis(width: int) -> Spec:
    return {"format": "%H:%M", "tickCount": 10 if width > NARROW else 4, "labelOverlap": True}


def states(line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw the state segments of [start, end] as one strip."""
    rows = [
        {"a": local_ms(part["start"], zone), "b": local_ms(part["end"], zone), "e": part["time_element"]}
        for part in line["timeline"]
    ]
    domain = [local_ms(line["start"], zone), local_ms(line["end"], zone)]
    return {
        "width": width,
        "height": 34,
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 34},
        "encoding": {
            "x": {
                "field": "a",
                "type": "temporal",
                "scale": {"type": "utc", "domain": domain, "nice": False},
                "axis": _time_axis(width),
            },
            "x2": {"field": "b"},
            "color": {
                "field": "e",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": list(ELEMENTS), "range": [TONES[e] for e in ELEMENTS]},
            },
        },
    }


def hourly(line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw good and scrapped pieces by hour, stacked, with a mark where the plan stands."""
    bars: list[Spec] = []
    plans: list[Spec] = []
    for hour in line["hours"]:
        at = instant(hour["start"]).astimezone(zone).strftime("%H" if width == NARROW else "%H:%M")
        key = {"k": hour["start"], "h": at}
        bars += [{**key, "p": "good", "o": 0, "n": hour["good"]}, {**key, "p": "scrap", "o": 1, "n": hour["scrap"]}]
        if hour["planned"] is not None:
            plans.append({**key, "n": hour["planned"]})
    x: Spec = {
        "field": "k",
        "type": "ordinal",
        "axis": {
            "labelExpr": f"{json.dumps({bar['k']: bar['h'] for bar in bars})}[datum.value]",
            "labelAngle": 0,
            "labelOverlap": True,
        },
    }
    y: Spec = {"field": "n", "type": "quantitative", "axis": {"tickCount": 4, "format": ",d"}}
    return {
        "width": width,
        "height": 190,
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "cornerRadiusEnd": 2},
                "encoding": {
                    "x": x,
                    "y": {**y, "stack": "zero"},
                    "order": {"field": "o", "type": "quantitative"},
                    "color": {
                        "field": "p",
                        "type": "nominal",
                        "legend": None,
                        "scale": {"domain": ["good", "scrap"], "range": ["var(--run)", "var(--warn-mark)"]},
                    },
                },
            },
            {
                "data": {"values": plans},
                "mark": {"type": "tick", "thickness": 2.5, "color": "var(--ink)", "opacity": 1},
                "encoding": {"x": x, "y": y},
            },
        ],
    }


def ranking(rows: Sequence[tuple[str, float, str, str]]) -> Spec:
    """Draw (name, value, value as text, colour) as horizontal bars, in the order given."""
    values = [{"k": name, "n": value, "t": text, "c": colour} for name, value, text, colour in rows]
    y: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {"labelLimit": 170, "labelColor": "var(--ink)", "labelFontSize": 13},
    }
    longest = max((value for _, value, _, _ in rows), default=1) or 1
    x: Spec = {"field": "n", "type": "quantitative", "axis": None, "scale": {"domain": [0, longest * 1.35]}}
    return {
        "width": NARROW,
        "height": {"step": 30},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar", "height": 14, "cornerRadiusEnd": 2},
                "encoding": {"y": y, "x": x, "color": {"field": "c", "type": "nominal", "scale": None}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 6},
                "encoding": {"y": y, "x": x, "text": {"field": "t", "type": "nominal"}},
            },
        ],
    }


def trend(series: Mapping[str, Any], zone: tzinfo) -> Spec:
    """Draw a measurement: its mean over a band from lowest to highest, broken where nothing was measured."""
    rows = [{"t": local_ms(p["at"], zone), "m": p["mean"], "l": p["low"], "h": p["high"]} for p in series["points"]]
    x: Spec = {"field": "t", "type": "temporal", "scale": {"type": "utc"}, "axis": _time_axis(NARROW)}
    y: Spec = {"type": "quantitative", "scale": {"zero": False}, "axis": {"tickCount": 3}}
    return {
        "width": NARROW - 40,
        "height": 84,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "area", "color": "var(--brand)", "opacity": 0.18},
                "encoding": {"x": x, "y": {"field": "l", **y}, "y2": {"field": "h"}},
            },
            {
                "mark": {"type": "line", "color": "var(--brand)", "strokeWidth": 1.8},
                "encoding": {"x": x, "y": {"field": "m", **y}},
            },
        ],
    }


def svg(spec: Spec, label: str) -> Markup:
    """Draw a chart as inline SVG that takes the width it is given; `label` is what a screen reader says.

    Takes some 20 ms of CPU, so call it off the event loop; the same chart again costs nothing.
    """
    drawn = _draw(json.dumps(spec | {"config": _CONFIG}, ensure_ascii=False, sort_keys=True))
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))  # noqa: S704 - drawn by us


@lru_cache(maxsize=256)
def _draw(spec: str) -> str:
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    # The page's policy allows no inline style; nothing we draw needs one.
    return _STYLE.sub("", drawn)


def warm() -> None:
    """Start the renderer, which takes half a second the first time."""
    _draw(json.dumps({"mark": "point", "data": {"values": []}}))


def captions(words: Words) -> list[tuple[str, str]]:
    """Give the legend of states: (time element, its word)."""
    return [(element, words.label("element", element)) for element in ELEMENTS]
