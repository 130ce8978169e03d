"""What the pages about quality need besides the API's answer: drawn charts, names, chips. Draws, so off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from markupsafe import Markup

from cloud.dashboard import quality_charts
from cloud.dashboard.render import Reader
from cloud.drawing import charts
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]

WIDE: Final = 900
HALF: Final = 620
RANKED: Final = 8
SIGNALS: Final = 12
"""Newest signals that are listed beside a chart."""
CCP_SHOWN: Final = 12
DEVIATIONS: Final = 6
GOOD_CPK: Final = 1.33
"""What is usually asked of a running process (AIAG SPC); below 1 it makes scrap."""
CPK_SCALE: Final = 2.5
"""Cp and Cpk are drawn from 0 to here."""


def page(answer: Json, lines: Sequence[Json], asked: dict[str, Any], reader: Reader) -> dict[str, Any]:
    """Give the model of the quality page. asked: period, line, characteristic, product, rules, and the two charts."""
    words, chart, faulty = reader.words, asked["chart"], asked["defect_chart"]
    defects = _ranked(answer["defects"], words)
    days = answer["days"]
    return asked | {
        "quality": answer,
        "now": answer["as_of"],
        "line_chips": [{"key": line["key"], "name": words.of(line["name"])} for line in lines],
        "name_of": partial(words.label, "characteristic"),
        "rows": [one for one in answer["characteristics"] if one["measured"]],
        "counted": {
            name: sum(one[name] for one in answer["characteristics"])
            for name in ("measured", "passed", "failed", "untold")
        },
        "points": answer["ccp_counts"],
        "ccp_shown": _shown(answer),
        "signals": [] if chart is None else signals(chart, words),
        "defect_signals": [] if faulty is None else signals(faulty, words),
        "indices": [] if chart is None else indices(chart["capability"]),
        "drawn": {
            "control": None if chart is None or not chart["points"] else _control(chart, reader),
            "spread": None if chart is None or not _spread(chart) else _within(chart, reader),
            "proportion": None if faulty is None or not faulty["points"] else _proportion(faulty, reader),
            "pareto": _both(
                lambda width: quality_charts.pareto(defects, width), _said(words("quality.pareto"), defects)
            )
            if defects
            else None,
            "yields": _both(partial(quality_charts.yields, days), words("quality.yield_trend"))
            if any(day["produced"] for day in days)
            else None,
        },
    }


def _shown(answer: Json) -> list[Json]:
    """Give the newest records, and among them those out of their limits, however old they are."""
    out = answer["deviations"][:DEVIATIONS]
    rest = [one for one in answer["ccp"] if one["within"] is not False][: CCP_SHOWN - len(out)]
    return sorted([*out, *rest], key=lambda one: one["at"], reverse=True)


def _ranked(defects: Sequence[Json], words: Words) -> list[tuple[str, float, float]]:
    shown = [(words.label("defect", one["defect"]), one["quantity"], one["cumulative"]) for one in defects[:RANKED]]
    if len(defects) > RANKED:
        rest = sum(one["quantity"] for one in defects[RANKED:])
        shown.append((words("quality.other"), rest, 1.0))
    return shown


def _said(title: str, rows: Sequence[tuple[str, float, float]]) -> str:
    return f"{title}: " + "; ".join(
        f"{name} {formats.number(n)} ({formats.percent(share, 0)})" for name, n, share in rows
    )


def _both(draw: Callable[[int], charts.Spec], label: str) -> dict[str, Markup]:
    return {"wide": charts.svg(draw(HALF), label), "narrow": charts.svg(draw(charts.NARROW), label)}


def _control(chart: Json, reader: Reader) -> dict[str, Markup]:
    words = reader.words
    label = words(
        "quality.chart_spoken",
        name=words.label("characteristic", chart["characteristic"]),
        n=len(chart["points"]),
        signals=sum(bool(point["signals"]) for point in chart["points"]),
    )
    return {
        name: charts.svg(quality_charts.control(chart, reader.zone, width), label)
        for name, width in (("wide", WIDE), ("narrow", charts.NARROW))
    }


def _spread(chart: Json) -> bool:
    return any(point["spread"] is not None for point in chart["points"])


def _within(chart: Json, reader: Reader) -> dict[str, Markup]:
    label = reader.words("quality.spread_" + chart["kind"])
    return {
        name: charts.svg(quality_charts.spread(chart, reader.zone, width), label)
        for name, width in (("wide", WIDE), ("narrow", charts.NARROW))
    }


def _proportion(chart: Json, reader: Reader) -> dict[str, Markup]:
    label = reader.words("quality.defect_chart")
    return {
        name: charts.svg(quality_charts.control(chart, reader.zone, width, percent=True), label)
        for name, width in (("wide", HALF), ("narrow", charts.NARROW))
    }


def signals(chart: Json, words: Words) -> list[dict[str, Any]]:
    """Give the newest points that signal, newest first, each with its rules in words."""
    said = {one["rule"]: words.of(one["text"]) for one in chart["rules"]}
    found = [point for point in reversed(chart["points"]) if point["signals"]]
    return [
        {
            "at": point["at"],
            "value": point["value"],
            "lot": point["lot"],
            "rules": [
                {"code": words.label("rule", one["rule"]), "text": said.get(one["rule"], one["rule"])}
                for one in point["signals"]
            ],
        }
        for point in found[:SIGNALS]
    ]


def indices(capability: Json | None) -> list[dict[str, Any]]:
    """Give Cp, Cpk, Pp and Ppk with where they and their intervals are drawn, in thousandths of the scale."""
    if capability is None:
        return []
    found: list[dict[str, Any]] = []
    for name in ("cp", "cpk", "pp", "ppk"):
        index = capability[name]
        if index is None:
            continue
        places = {
            key: round(min(max(index[key], 0.0), CPK_SCALE) / CPK_SCALE * 1000) for key in ("value", "low", "high")
        }
        tone = "bad" if index["value"] < 1 else "warn" if index["value"] < GOOD_CPK else "ok"
        found.append({"name": name, "index": index, "places": places, "tone": tone})
    return found


def lot_list(found: Json, search: str, reader: Reader) -> dict[str, Any]:
    """Give the model of the list of lots."""
    return {
        "found": found,
        "search": search,
        "pages": max(1, -(-found["total"] // found["page_size"])),
        "now": formats.utc_now(),
        "zone": reader.zone,
    }


def lot(trace: Json, words: Words) -> dict[str, Any]:
    """Give the model of one lot's page."""
    verdicts = [
        verdict | {"site": line["site"], "work_unit": line["work_unit"]}
        for line in trace["judgments"]
        for verdict in line["verdicts"]
    ]
    decisions: dict[str, int] = {}
    for line in trace["judgments"]:
        for decision, count in line["decisions"].items():
            decisions[decision] = decisions.get(decision, 0) + count
    out = [one for one in trace["ccp"] if one["within"] is not True]
    failed = [one for one in trace["measurements"] if one["passed"] is False]
    lost = sum(
        formats.age(stop["start"], stop["end"]) or 0.0
        for stop in trace["stops"]
        if stop["time_element"] != "planned_down"
    )
    return {
        "trace": trace,
        "now": trace["as_of"],
        "name_of": partial(words.label, "characteristic"),
        "decisions": [
            (code, decisions[code]) for code in ("normal", "warning", "critical", "unknown") if code in decisions
        ],
        "judged": sum(decisions.values()),
        "verdicts": verdicts,
        "out": out,
        "failed": failed,
        "lost_s": lost,
        "made_total": {
            name: sum(one[name] for one in trace["made"]) for name in ("produced", "good", "scrap", "rework")
        },
        "whole": bool(trace["completeness"]) and all(one["complete"] for one in trace["completeness"]),
    }
