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

from markupsafe import Markup

from cloud.drawing import rows as named_rows
from cloud.drawing.renderer import renderer
from cloud.wording.formats import instant
from cloud.wording.texts import Words

Spec = dict[str, Any]
Part = tuple[int, int, str]
"""(begin, end, time element); times in ms of the plant's clock."""

ELEMENTS: Final = ("production", "setup", "delay", "down", "planned_down", "unknown")
TONES: Final = {
    "production": "var(--run)",
    "setup": "var(--setup)",
    "delay": "var(--delay)",
    "down": "var(--down)",
    "planned_down": "var(--planned)",
    "unknown": "var(--unknown)",
}
WIDE: Final = 1180
NARROW: Final = 330
"""Drawn widths in px: a whole row of a desktop page, and a phone or a third of the row."""

CELL: Final = 3
"""Narrowest piece of a strip, px."""

COLUMNS: Final = 96
STEPS_MS: Final = tuple(hours * 3_600_000 for hours in (1, 2, 4, 8, 24, 7 * 24))
"""Of these, the shortest that makes no more than COLUMNS columns."""

LONG_MS: Final = 36 * 3_600_000
"""A period longer than this is told by dates."""

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
        "titleColor": "var(--muted)",
        "titleFontWeight": 500,
    },
    "axisX": {"grid": False},
    "text": {"fill": "var(--ink)", "fontSize": 12},
}
_DOT: Final[Spec] = {"color": "var(--brand)", "size": 24}
_SPARE: Final = re.compile(r' (?:style|aria-label|aria-roledescription|role|aria-hidden)="[^"]*"')
"""No inline style, which the page's policy forbids; no marks for screen readers, who hear the picture's own label."""


def local_ms(text: str, zone: tzinfo) -> int:
    """Give an instant as ms of a clock on the plant's wall, as if that clock were UTC."""
    at = instant(text).astimezone(zone)
    offset = at.utcoffset()
    return round((at.timestamp() + (offset.total_seconds() if offset is not None else 0)) * 1000)


def _time(line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Give the x axis of a period: hours, or dates where it is longer than LONG_MS."""
    domain = [local_ms(line["start"], zone), local_ms(line["end"], zone)]
    long = domain[1] - domain[0] > LONG_MS
    return {
        "type": "temporal",
        "scale": {"type": "utc", "domain": domain, "nice": False},
        "axis": {
            "format": "%m-%d" if long else "%H:%M",
            "tickCount": ("day" if long else 10) if width > NARROW else 4,
            "labelOverlap": True,
        },
    }


_ELEMENT: Final[Spec] = {
    "field": "e",
    "type": "nominal",
    "legend": None,
    "scale": {"domain": list(ELEMENTS), "range": [TONES[e] for e in ELEMENTS]},
}


def states(line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw the state segments of [start, end] as one strip; more of them than can be told apart as shares of each step."""
    parts = [
        (local_ms(part["start"], zone), local_ms(part["end"], zone), part["time_element"]) for part in line["timeline"]
    ]
    if len(parts) > width // CELL:
        return _shares(parts, line, zone, width)
    rows = [{"a": begin, "b": end, "e": element} for begin, end, element in parts]
    return {
        "width": width,
        "height": 34,
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 34},
        "encoding": {
            "x": {"field": "a", **_time(line, zone, width)},
            "x2": {"field": "b"},
            "color": _ELEMENT,
        },
    }


def shares_of(line: Mapping[str, Any], width: int) -> int | None:
    """Give how long each column of `states` is, ms; None where every state is drawn for itself."""
    if len(line["timeline"]) <= width // CELL:
        return None
    length = (instant(line["end"]) - instant(line["start"])).total_seconds() * 1000
    return next((step for step in STEPS_MS if length / step <= COLUMNS), STEPS_MS[-1])


def _shares(parts: Sequence[Part], line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw what the time of each step counts towards, stacked: a loss of minutes is seen in a month, too."""
    start, end = local_ms(line["start"], zone), local_ms(line["end"], zone)
    step = shares_of(line, width) or STEPS_MS[-1]
    rows = [
        {"a": max(begin, start), "b": min(begin + step, end), "y": low, "z": high, "e": element}
        for begin, element, low, high in columns(parts, step)
    ]
    return {
        "width": width,
        "height": 72,
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "a", **_time(line, zone, width)},
            "x2": {"field": "b"},
            "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1], "nice": False}},
            "y2": {"field": "z"},
            "color": _ELEMENT,
        },
    }


def columns(parts: Sequence[Part], step: int) -> list[tuple[int, str, float, float]]:
    """Give (begin of the step, time element, from, to): shares of what is known of each step, in the order of ELEMENTS."""
    spent: dict[int, dict[str, int]] = {}
    for begin, end, element in parts:
        for at in range(begin // step * step, end, step):
            shared = min(end, at + step) - max(begin, at)
            if shared > 0:
                mine = spent.setdefault(at, {})
                mine[element] = mine.get(element, 0) + shared
    found: list[tuple[int, str, float, float]] = []
    for at, times in sorted(spent.items()):
        whole, below = sum(times.values()), 0
        for element in ELEMENTS:
            if mine := times.get(element, 0):
                found.append((at, element, round(below / whole, 4), round((below + mine) / whole, 4)))
                below += mine
    return found


def hourly(line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw good and scrapped pieces by hour, stacked, with a mark where the plan stands."""
    bars: list[Spec] = []
    plans: list[Spec] = []
    labels: dict[str, str] = {}
    long = len(line["hours"]) * 3_600_000 > LONG_MS
    for hour in line["hours"]:
        key, at = hour["start"], instant(hour["start"]).astimezone(zone)
        if not long:
            labels[key] = at.strftime("%H" if width == NARROW else "%H:%M")
        elif at.hour == 0 and (width > NARROW or at.day % 2 == 0):
            labels[key] = at.strftime("%m-%d")
        bars += [
            {"k": key, "p": "good", "o": 0, "n": hour["good"]},
            {"k": key, "p": "scrap", "o": 1, "n": hour["scrap"]},
        ]
        if hour["planned"] is not None:
            plans.append({"k": key, "n": hour["planned"]})
    x: Spec = {
        "field": "k",
        "type": "ordinal",
        "axis": {"values": list(labels), "labelExpr": f"{json.dumps(labels)}[datum.value]", "labelAngle": 0},
    }
    y: Spec = {"field": "n", "type": "quantitative", "axis": {"tickCount": 4, "format": ",d"}}
    return {
        "width": width,
        "height": 190,
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "cornerRadiusEnd": 0 if long else 2},
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
    """Draw (name, value, value as text, colour) as horizontal bars, in the order given, with room for the text."""
    values = [{"k": name, "n": value, "t": text, "c": colour} for name, value, text, colour in rows]
    named = named_rows.names(values, step=30)
    end = NARROW - named_rows.GAP - max((named_rows.width(text) for _, _, text, _ in rows), default=0.0)
    scale = {
        "domain": [0, max((value for _, value, _, _ in rows), default=1) or 1],
        "nice": False,
        "range": [named.left, max(end, named.left + 40)],
    }
    x: Spec = {"field": "n", "type": "quantitative", "axis": None, "scale": scale}
    y = named_rows.ROWS
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "height": 14, "cornerRadiusEnd": 2},
            "encoding": {"y": y, "x": x, "color": {"field": "c", "type": "nominal", "scale": None}},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 6},
            "encoding": {"y": y, "x": x, "text": {"field": "t", "type": "nominal"}},
        },
    ]
    return named_rows.canvas(named, values, layers, NARROW)


def trend(series: Mapping[str, Any], line: Mapping[str, Any], zone: tzinfo, width: int) -> Spec:
    """Draw a measurement: its mean over a band from lowest to highest, broken where nothing was measured."""
    rows = [{"t": local_ms(p["at"], zone), "m": p["mean"], "l": p["low"], "h": p["high"]} for p in series["points"]]
    x: Spec = {"field": "t", **_time(line, zone, width)}
    y: Spec = {"type": "quantitative", "scale": {"zero": False}, "axis": {"tickCount": 3}}
    return {
        "width": width - 40,
        "height": 120 if width > NARROW else 84,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "area", "color": "var(--brand)", "opacity": 0.18},
                "encoding": {"x": x, "y": {"field": "l", **y}, "y2": {"field": "h"}},
            },
            {
                "mark": {
                    "type": "line",
                    "color": "var(--brand)",
                    "strokeWidth": 1.8,
                    "point": _DOT if len(rows) < 3 else False,
                },
                "encoding": {"x": x, "y": {"field": "m", **y}},
            },
        ],
    }


def svg(spec: Spec, label: str) -> Markup:
    """Draw a chart as inline SVG that takes the width it is given; `label` is what a screen reader says.

    Waits some 40 ms for the drawing process, so call it off the event loop; the same chart again costs nothing.
    """
    drawn = _draw(json.dumps(spec | {"config": _CONFIG}, ensure_ascii=False, sort_keys=True))
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))  # noqa: S704 - drawn by us


@lru_cache(maxsize=256)
def _draw(spec: str) -> str:
    return _SPARE.sub("", renderer.svg(spec))


def warm() -> None:
    """Start the renderer, which takes half a second the first time."""
    _draw(json.dumps({"mark": "point", "data": {"values": []}}))


def captions(words: Words) -> list[tuple[str, str]]:
    """Give the legend of states: (time element, its word)."""
    return [(element, words.label("element", element)) for element in ELEMENTS]
