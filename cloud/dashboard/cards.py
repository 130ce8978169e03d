"""The hall's row of figures: each as people read it, with what it was, what it should be, and the question behind it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from cloud.wording import formats
from cloud.wording.texts import Words

Json = Mapping[str, Any]

_TODAY: Final[dict[str, Any]] = {"period": {"relative": "today"}}
PLANS: Final[Mapping[str, dict[str, Any]]] = {
    "oee": {"analysis": "CHECK", "metrics": ["oee"], "dimensions": ["line"], **_TODAY},
    "output": {"analysis": "TREND", "metrics": ["good"], "grain": "hour", **_TODAY},
    "defect_rate": {"analysis": "CHECK", "metrics": ["defect_rate"], "dimensions": ["line"], **_TODAY},
    "downtime": {"analysis": "RANK", "metrics": ["stop_time"], "dimensions": ["stop_reason"], **_TODAY},
    "schedule_attainment": {"analysis": "CHECK", "metrics": ["schedule_attainment"], "dimensions": ["line"], **_TODAY},
    "energy_per_piece": {
        "analysis": "TREND",
        "metrics": ["energy_per_piece"],
        "grain": "day",
        "period": {"relative": "last_7_days"},
    },
}
"""Card → the plan that a click asks."""
TONE_ICON: Final = {"met": "check", "below": None, "warning": "triangle", "critical": "octagon"}


def cards(today: Json, overview: Json, words: Words) -> list[dict[str, Any]]:
    """Give the model of the row. Freshness is that of all the lines within: the oldest newest datum."""
    fresh = freshness(overview)
    return [_card(card, today, fresh, words) for card in today["cards"]]


def freshness(overview: Json) -> dict[str, Any]:
    """Give {as_of, data_at, pending, silent} of a hall; data_at is None where a line has no data yet."""
    times = [line["data_at"] for line in overview["lines"]]
    return {
        "as_of": overview["as_of"],
        "data_at": min(times) if times and all(times) else None,
        "pending": sum(line["oee"]["pending_buckets"] for line in overview["lines"]),
        "silent": [gateway["id"] for gateway in overview["gateways"] if gateway["state"] == "offline"],
    }


def _card(card: Json, today: Json, fresh: Json, words: Words) -> dict[str, Any]:
    value, unit = figure(card["value"], card["unit"], words)
    change = _change(card, today, words)
    plan = json.dumps(PLANS[card["id"]], separators=(",", ":"))
    return {
        "id": card["id"],
        "title": words(f"card.{card['id']}"),
        "value": value,
        "unit": unit,
        "reason": card["reason"],
        "tone": card["tone"],
        "tone_icon": TONE_ICON.get(card["tone"]),
        "target": _target(card, today, words),
        "change": change,
        "better": None if change is None or change["sign"] == "=" else card["better"],
        "address": f"/analysis?{urlencode({'plan': plan})}",
        "fresh": fresh,
    }


def figure(value: float | None, unit: str, words: Words) -> tuple[str, str]:
    """Give a figure and the unit that stands behind it, small."""
    if value is None:
        return formats.ABSENT, ""
    match unit:
        case "1":
            return formats.percent(value).removesuffix("%"), "%"
        case "pieces":
            return formats.number(value), ""
        case "s":
            return formats.duration(value, words), ""
        case _:
            return formats.measured(value), words("card.wh_piece")


def _target(card: Json, today: Json, words: Words) -> str:
    target = card["target"]
    if card["id"] == "output":
        return words("card.of_plan", n=formats.number(today["planned"])) if today["planned"] else words("line.no_plan")
    if card["id"] == "downtime" and target is not None:
        return words("card.target_stops", target=formats.duration(target, words), n=formats.number(today["stops"]))
    if target is None:
        return words("card.no_target")
    return words("card.target", target=" ".join(filter(None, figure(target, card["unit"], words))).replace(" %", "%"))


def _change(card: Json, today: Json, words: Words) -> dict[str, str] | None:
    """Give the change as a sign and an amount: percentage points of a ratio, else percent of what it was."""
    if card["change"] is None:
        return None
    change, was = card["change"], card["before"]
    if card["unit"] == "1":
        amount = formats.points(change, words.language)
        flat = not formats.sign(change, amount)
    elif was:
        amount = f"{abs(change) / was * 100:.0f}%"
        flat = abs(change) / was < 0.005
    else:
        return None
    sign = "=" if flat else "▲" if change > 0 else "▼"
    said = "card.same" if flat else "card.more" if change > 0 else "card.less"
    day = today["compared_to"] or ""
    return {"sign": sign, "amount": "" if flat else amount, "said": words(said, amount=amount, day=day)}
