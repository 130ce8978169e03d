"""Charts of a line's page beside those of `charts`: where the time went, and output as it adds up. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.drawing.charts import LONG_MS, NARROW, Spec, local_ms
from cloud.wording import formats
from cloud.wording.formats import instant
from cloud.wording.texts import Words

Json = Mapping[str, Any]

TONES: Final = {
    "calendar": "var(--line-strong)",
    "planned_busy": "var(--setup)",
    "production": "var(--run)",
    "effective": "var(--run)",
    "not_scheduled": "var(--planned)",
    "not_accounted": "var(--planned)",
    "planned_down": "var(--planned)",
    "unknown": "var(--unknown)",
    "down": "var(--down)",
    "delay": "var(--delay)",
    "setup": "var(--setup)",
    "speed_loss": "var(--warn-mark)",
    "scrap": "var(--warn-mark)",
    "rework": "var(--warn-mark)",
}
TOTALS: Final = ("calendar", "planned_busy", "production", "effective")
MOST_POINTS: Final = 120
DAILY_HOURS: Final = 8 * 24
"""From more hours than this on output is drawn by day."""


def steps(waterfall: Json, words: Words) -> list[dict[str, Any]]:
    """Give the steps that are something, each with where its bar begins and ends (ms), its words and its share.

    Shares are of planned busy time, which OEE divides by; above it there are none.
    """
    busy = next((step["ms"] for step in waterfall["steps"] if step["name"] == "planned_busy"), 0)
    found: list[dict[str, Any]] = []
    level, below = 0, False
    for step in waterfall["steps"]:
        below = below or step["name"] == "planned_busy"
        total = step["kind"] == "total"
        if total:
            level = step["ms"]
        begin, end = (0, level) if total else (level - step["ms"], level)
        if not total:
            level -= step["ms"]
        if total or step["ms"]:
            found.append(
                {
                    "name": step["name"],
                    "title": words.label("loss_step", step["name"]),
                    "kind": step["kind"],
                    "ms": step["ms"],
                    "time": ("" if total else formats.MINUS if step["ms"] > 0 else "+")
                    + formats.duration(abs(step["ms"]) / 1000, words),
                    "share": step["ms"] / busy if below and busy else None,
                    "begin": begin,
                    "end": end,
                }
            )
    return found


def waterfall(rows: Sequence[Json], width: int) -> Spec:
    """Draw the way from the calendar down to the time of good pieces: totals from the left, losses where they fall away."""
    values = [
        {
            "k": row["title"],
            "a": min(row["begin"], row["end"]) / 3_600_000,
            "b": max(row["begin"], row["end"]) / 3_600_000,
            "c": TONES.get(row["name"], "var(--unknown)"),
            "t": row["time"]
            + (f"  {formats.percent(row['share'])}" if row["share"] is not None and width > NARROW else ""),
            "total": row["kind"] == "total",
        }
        for row in rows
    ]
    whole = max((max(row["begin"], row["end"]) / 3_600_000 for row in rows), default=0.0) or 1.0
    y: Spec = {
        "field": "k",
        "type": "nominal",
        "sort": None,
        "axis": {
            "labelLimit": 0,
            "labelColor": "var(--ink)",
            "labelFontSize": 13 if width > NARROW else 11,
            "labelPadding": 10 if width > NARROW else 5,
        },
    }
    # On a phone half the width is the steps' names, and behind the longest bars must be room for what is said of them.
    said = max((len(row["time"]) for row in rows if max(row["begin"], row["end"]) > whole * 2_160_000), default=0)
    room = 1.24 if width > NARROW else 1.15 + 0.045 * said
    x: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [0, whole * room], "nice": False}}
    return {
        "width": width,
        "height": {"step": 27},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadius": 2, "minBandSize": 2},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "a"},
                    "x2": {"field": "b"},
                    "color": {"field": "c", "type": "nominal", "scale": None},
                    "size": {"condition": {"test": "datum.total", "value": 17}, "value": 12},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 7, "fontSize": 12 if width > NARROW else 10},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "b"},
                    "text": {"field": "t", "type": "nominal"},
                    "color": {
                        "condition": {"test": "datum.total", "value": "var(--ink)"},
                        "value": "var(--muted)",
                    },
                },
            },
        ],
    }


def cumulative(hours: Sequence[Json], line: Json, zone: tzinfo, width: int) -> Spec:
    """Draw good pieces as they add up, against the plan as it does; what is made ends at now, the plan goes on."""
    begin, end = local_ms(line["start"], zone), local_ms(line["end"], zone)
    now = local_ms(line["as_of"], zone)
    made, plan = [{"t": begin, "n": 0}], [{"t": begin, "n": 0}]
    good = planned = 0
    for hour in hours:
        at = min(local_ms(hour["start"], zone) + 3_600_000, end)
        planned += hour["planned"] or 0
        plan.append({"t": at, "n": planned})
        if local_ms(hour["start"], zone) < now:
            good += hour["good"]
            made.append({"t": min(at, now), "n": good})
    made, plan = _thinned(made), _thinned(plan)
    long = end - begin > LONG_MS
    x: Spec = {
        "field": "t",
        "type": "temporal",
        "scale": {"type": "utc", "domain": [begin, end], "nice": False},
        "axis": {"format": "%m-%d" if long else "%H:%M", "tickCount": 8 if width > NARROW else 4, "labelOverlap": True},
    }
    y: Spec = {"field": "n", "type": "quantitative", "axis": {"tickCount": 4, "format": ",d"}}
    return {
        "width": width,
        "height": 190,
        "layer": [
            {
                "data": {"values": made},
                "mark": {"type": "area", "color": "var(--run)", "opacity": 0.16},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": plan if planned else []},
                "mark": {"type": "line", "color": "var(--ink)", "strokeWidth": 1.6, "strokeDash": [5, 4]},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": made},
                "mark": {"type": "line", "color": "var(--run)", "strokeWidth": 2.6},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": made[-1:]},
                "mark": {"type": "point", "filled": True, "color": "var(--run)", "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": y},
            },
        ],
    }


def _thinned(points: list[dict[str, int]]) -> list[dict[str, int]]:
    """Leave out points that nobody can tell apart; sums so far stay what they are, and the last one stays."""
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


def by_day(hours: Sequence[Json], zone: tzinfo) -> list[dict[str, Any]]:
    """Add hours up to local days, in the shape of hours; a plan that no hour has stays none."""
    days: dict[str, dict[str, Any]] = {}
    for hour in hours:
        at = instant(hour["start"]).astimezone(zone)
        day = days.setdefault(
            f"{at:%Y-%m-%d}", {"start": hour["start"], "produced": 0, "good": 0, "scrap": 0, "planned": None}
        )
        for name in ("produced", "good", "scrap"):
            day[name] += hour[name]
        if hour["planned"] is not None:
            day["planned"] = (day["planned"] or 0) + hour["planned"]
    return list(days.values())


def daily(days: Sequence[Json], zone: tzinfo, width: int) -> Spec:
    """Draw good and scrapped pieces by day, stacked, with a mark where the plan stands."""
    keys = [instant(day["start"]).astimezone(zone).strftime("%m-%d") for day in days]
    wanted = set(keys[:: max(1, -(-len(keys) // (16 if width > NARROW else 5)))])
    labels = {key: key for key in keys if key in wanted}
    bars: list[Spec] = []
    for key, day in zip(keys, days, strict=True):
        bars += [{"k": key, "p": "good", "o": 0, "n": day["good"]}, {"k": key, "p": "scrap", "o": 1, "n": day["scrap"]}]
    plans = [{"k": key, "n": day["planned"]} for key, day in zip(keys, days, strict=True) if day["planned"] is not None]
    x: Spec = {
        "field": "k",
        "type": "ordinal",
        "sort": None,
        "axis": {"values": list(labels), "labelExpr": f"{json.dumps(labels)}[datum.value]", "labelAngle": 0},
    }
    y: Spec = {"field": "n", "type": "quantitative", "axis": {"tickCount": 4, "format": ",d"}}
    tones: Spec = {"domain": ["good", "scrap"], "range": ["var(--run)", "var(--warn-mark)"]}
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
                    "color": {"field": "p", "type": "nominal", "legend": None, "scale": tones},
                },
            },
            {
                "data": {"values": plans},
                "mark": {"type": "tick", "thickness": 2.5, "color": "var(--ink)", "opacity": 1},
                "encoding": {"x": x, "y": y},
            },
        ],
    }
