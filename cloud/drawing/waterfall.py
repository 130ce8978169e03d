"""Where the time went: the steps from calendar time to the time of good pieces, in words and as a chart. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.drawing import rows as named_rows
from cloud.drawing.charts import NARROW, Spec
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]

GAP: Final = 10
"""Between a bar and what is said of it, px, with a little to spare."""

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


def waterfall(found: Sequence[Json], width: int) -> Spec:
    """Draw the way from the calendar down to the time of good pieces: totals from the left, losses where they fall away."""
    slim = width <= NARROW
    rows: list[Spec] = [
        {
            "k": row["title"],
            "a": min(row["begin"], row["end"]) / 3_600_000,
            "b": max(row["begin"], row["end"]) / 3_600_000,
            "c": TONES.get(row["name"], "var(--unknown)"),
            "t": row["time"] if row["share"] is None else f"{row['time']} · {formats.percent(row['share'])}",
            "total": row["kind"] == "total",
        }
        for row in found
    ]
    size = 10 if slim else 12
    named = named_rows.names(rows, room=96 if slim else 170, size=11 if slim else 13, step=30 if slim else 27)
    whole = max((row["b"] for row in rows), default=0.0) or 1.0
    room = [width - named.left - GAP - named_rows.width(row["t"], size) for row in rows]
    reach = min((left * whole / row["b"] for left, row in zip(room, rows, strict=True) if row["b"] > 0), default=100.0)
    scale: Spec = {
        "domain": [0, whole],
        "nice": False,
        "range": [named.left, named.left + min(reach, max(room, default=100.0))],
    }
    x: Spec = {"type": "quantitative", "axis": None, "scale": scale}
    y = named_rows.ROWS
    layers: list[Spec] = [
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
            "mark": {"type": "text", "align": "left", "dx": GAP - 3, "fontSize": size},
            "encoding": {
                "y": y,
                "x": {**x, "field": "b"},
                "text": {"field": "t", "type": "nominal"},
                "color": {"condition": {"test": "datum.total", "value": "var(--ink)"}, "value": "var(--muted)"},
            },
        },
    ]
    return named_rows.canvas(named, rows, layers, width)
