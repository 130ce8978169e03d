"""What a page needs besides the API's answer: sums, look-ups, and names in the reader's language. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

from markupsafe import Markup

from cloud.dashboard import line_charts
from cloud.dashboard.render import Reader
from cloud.drawing import charts
from cloud.wording import formats
from cloud.wording.texts import TEXTS, Words

RANKED: Final = 8
"""Rows of a ranking; the tail of reasons is longer than anybody reads."""

Drawn = Mapping[str, Any]
"""Chart → its drawings by width, or None where there is nothing to draw."""

HALF: Final = 620
"""Drawn width of a chart that shares its row, px."""
BESIDE: Final = 2
"""Measurements that share a row; of more, each has a quarter of it."""
_RANK: Final = {"warning": 1, "critical": 2}

PERIODS: Final = {
    "shift": None,
    "8h": timedelta(hours=8),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""What a line's page can look back on; None is the present shift."""
EVERY_MS: Final = {"7d": 30_000, "30d": 120_000, "dates": 120_000}
"""How often a page of a long period is drawn anew at most."""


def hall(overview: Mapping[str, Any]) -> dict[str, Any]:
    """Give the model of the hall page: the overview as it came, totals and the health of each gateway.

    The totals add pieces of all lines that have both output and plan; ratios are never averaged.
    """
    lines = overview["lines"]
    planned = [line["output"] for line in lines if line["output"]["planned_now"] is not None]
    known = [line["output"]["good"] for line in lines if line["output"]["good"] is not None]
    return {
        "overview": overview,
        "worst": worst(overview["alarms"]),
        "health": {(gateway["site"], gateway["id"]): gateway for gateway in overview["gateways"]},
        "marks": marks(overview["gateways"]),
        "total": {
            "good": sum(known),
            "planned_now": sum(output["planned_now"] for output in planned),
            "good_of_planned": sum(output["good"] or 0 for output in planned),
        },
        "shift": next((line["shift"] for line in lines if line["shift"]), None),
    }


def worst(alarms: list[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """(site, work unit) → the highest severity among its active alarms."""
    found: dict[tuple[str, str], str] = {}
    for alarm in alarms:
        line = (alarm["site"], alarm["work_unit"])
        known = found.get(line, "info")
        found[line] = max(known, alarm["severity"], key=lambda severity: _RANK.get(severity, 0))
    return found


def marks(gateways: Sequence[Mapping[str, Any]], name: str = "id") -> dict[tuple[str, str], str]:
    """(site, gateway) → what it is called: its id, with its site before it where another site has one of that id."""
    sites = Counter(one for _, one in {(gateway["site"], gateway[name]) for gateway in gateways})
    return {
        (site, one): one if sites[one] == 1 else f"{site}:{one}"
        for site, one in ((gateway["site"], gateway[name]) for gateway in gateways)
    }


def line(
    detail: Mapping[str, Any], reader: Reader, period: str, decision: str | None = None, *, drawn: Drawn | None = None
) -> dict[str, Any]:
    """Give the model of a line's page. decision: verdicts shown; drawn: its charts, drawn here where they are not given."""
    words = reader.words
    daily, parts = _parts(detail, reader)
    return {
        "line": detail["line"],
        "detail": detail,
        "now": detail["as_of"],
        "range": period,
        "ranges": list(PERIODS),
        "every": EVERY_MS.get(period, 5_000),
        "decision": decision,
        "captions": charts.captions(words),
        "shares_s": (charts.shares_of(detail, charts.WIDE) or 0) / 1000,
        "steps": line_charts.steps(detail["waterfall"], words),
        "daily": daily,
        "parts": parts,
        "stops": _pareto(_stop_rows(detail, words)),
        "defects": _pareto(
            [
                {"title": words.label("defect", one["defect"]), "amount": one["quantity"], "tone": "scrap"}
                for one in detail["defects"]
            ]
        ),
        "short": short,
        "last": last,
        "charts": line_drawn(detail, reader) if drawn is None else drawn,
    }


def line_drawn(detail: Mapping[str, Any], reader: Reader) -> Drawn:
    """Draw the charts of a line's page; off the event loop."""
    words, zone = reader.words, reader.zone
    steps = line_charts.steps(detail["waterfall"], words)
    daily, parts = _parts(detail, reader)
    draw_parts = partial(line_charts.daily, parts, zone) if daily else partial(charts.hourly, detail, zone)
    made = _made(detail)
    loss_words = [(step["title"], 0.0, step["time"], "") for step in steps]
    return {
        "states": _both(lambda width: charts.states(detail, zone, width), words("line.states")),
        "waterfall": _both(partial(line_charts.waterfall, steps), spoken(words("line.losses"), loss_words)),
        "hourly": _both(draw_parts, words("line.daily" if daily else "line.hourly"), HALF) if made else None,
        "cumulative": _both(
            lambda width: line_charts.cumulative(detail["hours"], detail, zone, width),
            words("line.cumulative"),
            HALF,
        )
        if made
        else None,
        "trends": [
            _both(
                partial(charts.trend, series, detail, zone),
                words.label("tag", short(series["tag"])),
                HALF if len(detail["trends"]) <= BESIDE else charts.NARROW,
            )
            if last(series) is not None
            else None
            for series in detail["trends"]
        ],
    }


def line_shape(detail: Mapping[str, Any]) -> tuple[object, ...]:
    """Tell drawings apart that cannot stand for each other however close in time: what there is to be drawn at all."""
    measured = tuple(last(series) is not None for series in detail["trends"])
    steps = tuple(step["name"] for step in detail["waterfall"]["steps"] if step["ms"])
    return (len(detail["hours"]), _made(detail), bool(detail["timeline"]), steps, measured)


def _parts(detail: Mapping[str, Any], reader: Reader) -> tuple[bool, list[dict[str, Any]]]:
    """Give (by day?, the days or hours)."""
    daily = len(detail["hours"]) > line_charts.DAILY_HOURS
    return daily, line_charts.by_day(detail["hours"], reader.zone) if daily else detail["hours"]


def _made(detail: Mapping[str, Any]) -> bool:
    return any(hour["produced"] or hour["planned"] for hour in detail["hours"])


def _stop_rows(detail: Mapping[str, Any], words: Words) -> list[dict[str, Any]]:
    return [
        {
            "title": words.label("reason" if f"reason.{stop['reason']}" in TEXTS else "state", stop["reason"]),
            "amount": stop["duration_s"],
            "text": formats.duration(stop["duration_s"], words),
            "times": stop["stops"],
            "tone": stop["time_element"],
        }
        for stop in detail["stops"]
    ]


def _pareto(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the first RANKED rows, each with its share of the largest and the share of all so far."""
    whole = sum(row["amount"] for row in rows)
    most = max((row["amount"] for row in rows), default=0)
    so_far, found = 0.0, list[dict[str, Any]]()
    for row in rows[:RANKED]:
        so_far += row["amount"]
        found.append(
            row | {"share": row["amount"] / most if most else 0.0, "cumulative": so_far / whole if whole else 0.0}
        )
    return found


def short(tag: str) -> str:
    """Give a tag's name within its work unit."""
    return tag.rpartition("/")[2]


def last(series: Mapping[str, Any]) -> float | None:
    """Give the newest known value of a measurement."""
    return next((point["mean"] for point in reversed(series["points"]) if point["mean"] is not None), None)


def _both(draw: Callable[[int], charts.Spec], label: str, wide: int = charts.WIDE) -> dict[str, Markup]:
    return {"wide": charts.svg(draw(wide), label), "narrow": charts.svg(draw(charts.NARROW), label)}


def spoken(title: str, rows: list[tuple[str, float, str, str]]) -> str:
    """Give a ranking as a sentence for those who hear the page."""
    return f"{title}: " + "; ".join(f"{name} {text}" for name, _, text, _ in rows)
