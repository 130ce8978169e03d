"""A report's data in words: what every form of it says the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from cloud.bi.semantic.catalogue import METRICS
from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]
LEVEL_MARK: Final = {"met": "●", "below": "◐", "warning": "▲", "critical": "■", "no_target": "", "no_figure": ""}
"""A shape for every level: colour is never the only sign."""
UNITS: Final = {
    "pieces": {"ko": "개", "en": "pcs"},
    "s": {"ko": "초", "en": "s"},
    "h": {"ko": "시간", "en": "h"},
    "min": {"ko": "분", "en": "min"},
    "pieces/h": {"ko": "개/시간", "en": "pcs/h"},
    "Wh/pieces": {"ko": "Wh/개", "en": "Wh/pc"},
    "times": {"ko": "회", "en": "times"},
}


def title(report: Json, words: Words) -> str:
    """Give 교대 보고서 or its like."""
    return words("report.shift_title" if report["kind"] == "shift" else "report.week_title")


def name(report: Json, words: Words) -> str:
    """Give what it is about: the shift and its date, the week's dates."""
    if report["kind"] == "shift":
        return words("report.shift_name", date=report["business_date"], shift=report["shift"])
    return words("report.week_name", date=report["business_date"], end=report["last_date"])


def span(report: Json, words: Words, zone: tzinfo) -> str:
    """Give begin and end on the plant's clock."""
    start, end = (formats.instant(report[what]).astimezone(zone) for what in ("start", "end"))
    return words("report.span", start=f"{start:%Y-%m-%d %H:%M}", end=f"{end:%Y-%m-%d %H:%M}", zone=report["timezone"])


def at(text: str, zone: tzinfo) -> str:
    """Give an instant with its date on the plant's clock."""
    return f"{formats.instant(text).astimezone(zone):%Y-%m-%d %H:%M}"


SECONDS: Final = {"s": 1, "min": 60, "h": 3600}


def figure(value: float | None, unit: str, words: Words) -> str:
    """Give a figure as a report says it: times as people count them."""
    if value is None:
        return formats.ABSENT
    if unit == "1":
        return formats.percent(value)
    if unit in SECONDS:
        return formats.duration(value * SECONDS[unit], words)
    shown = formats.number(value) if unit in {"pieces", "times"} else formats.measured(value)
    said = UNITS.get(unit, {}).get(words.language, unit)
    return f"{shown} {said}" if said else shown


def change(card: Json, words: Words) -> str:
    """Give how a figure changed: percentage points of ratios, per cent of all else; empty where it cannot be told."""
    value, before = card["value"], card["before"]
    if value is None or before is None:
        return ""
    if card["unit"] == "1":
        size = formats.points(value - before, words.language)
        return (formats.sign(value - before, size) or "±") + size
    if not before:
        return ""
    share = round(value / before - 1, 3)
    return f"{formats.MINUS if share < 0 else '+' if share else '±'}{abs(share):.1%}"


def better(card: Json) -> bool | None:
    """Tell whether a change is for the better; None where it is none or nobody says which way is better."""
    value, before = card["value"], card["before"]
    if value is None or before is None or card["better"] is None:
        return None
    if abs(value - before) < (0.00005 if card["unit"] == "1" else 0.0005 * abs(before)):
        return None  # no change that is shown
    return (value > before) == (card["better"] == "higher")


def reason(code: str | None, words: Words) -> str:
    """Say why there is no figure."""
    return words.label("oee_reason", code) if code else ""


def before(report: Json, words: Words) -> str:
    return words("report.before_shift" if report["kind"] == "shift" else "report.before_week")


def stop(row: Json, words: Words) -> str:
    """Give a stop reason's name."""
    known = words.label("reason", row["code"]) if row["code"] else ""
    said = words.of(row["name"])
    return said if not row["code"] or said != row["code"] else known


def defect(row: Json, words: Words) -> str:
    """Give a defect's name."""
    known = words.label("defect", row["code"]) if row["code"] else ""
    said = words.of(row["name"])
    return said if not row["code"] or said != row["code"] else known


def lacks(report: Json, words: Words) -> list[str]:
    """Say what the figures lack; the first sentence is the sum of it."""
    told, said = report["lacks"], list[str]()
    said.append(words("report.complete" if told["complete"] else "report.incomplete"))
    if not report["ended"]:
        said.append(words("report.running"))
    if told["pending"]:
        said.append(words("report.lack_pending", n=formats.number(told["pending"])))
    if told["held"]:
        said.append(words("report.lack_held", n=formats.number(told["held"])))
    said += [
        words(
            "report.lack_gateway",
            **{key: value if key == "gateway" else formats.number(value) for key, value in one.items()},
        )
        for one in told["gateways"]
        if one["waiting"] or one["lost"] or one["unaccounted"]
    ]
    if told.get("unheard"):  # reports kept before this was told have none
        said.append(words("report.lack_unheard", names=", ".join(told["unheard"])))
    if told["silent"]:
        said.append(words("report.lack_silent", names=", ".join(told["silent"])))
    return said


def restated(report: Json, words: Words) -> str:
    """Say which figures the version before said otherwise; empty where none."""
    changes: Sequence[Json] = report.get("restated", ())
    if not changes:
        return ""
    lines = {line["work_unit"]: words.of(line["name"]) for line in report["lines"]}
    said: list[str] = []
    for one in changes[:6]:
        metric = METRICS[one["metric"]]
        where = f"{lines.get(one['work_unit'], one['work_unit'])} " if one["work_unit"] else ""
        told = " → ".join(figure(one[when], metric.unit, words) for when in ("before", "after"))
        said.append(f"{where}{words.of(metric.title)} {told}")
    more = f" (+{len(changes) - 6})" if len(changes) > 6 else ""
    return words("report.restated", n=report["version"] - 1, what="; ".join(said) + more)
