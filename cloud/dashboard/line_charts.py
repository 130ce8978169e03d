"""Charts of a line's page beside those of `charts`: output as it adds up, and by day. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.drawing.charts import LONG_MS, NARROW, Spec, local_ms
from cloud.drawing.waterfall import steps, waterfall
from cloud.wording.formats import instant

__all__ = ["by_day", "cumulative", "daily", "steps", "waterfall"]

Json = Mapping[str, Any]

MOST_POINTS: Final = 120
DAILY_HOURS: Final = 8 * 24
"""From more hours than this on output is drawn by day."""


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
