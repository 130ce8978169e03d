"""The wall display: scenes that take turns, each readable from across the hall. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cloud.dashboard import cards, views
from cloud.wording.texts import Words

Json = Mapping[str, Any]

LINES: Final = 4
"""Of one scene; more would be read from nowhere but a desk."""
ALARMS: Final = 5
SECONDS: Final = 15
"""How long a scene stays, unless the address says otherwise."""
SHORTEST, LONGEST = 5, 600


def wall(overview: Json, today: Json, words: Words) -> dict[str, Any]:
    """Give the model: today's figures, the lines four at a time, and the alarms while there are any."""
    lines = sorted(overview["lines"], key=lambda line: not line["alarms_active"])
    groups = [lines[start : start + LINES] for start in range(0, len(lines), LINES)]
    scenes = ["today", *(f"lines-{number}" for number in range(1, len(groups) + 1))] if lines else ["empty"]
    if overview["alarms"]:
        scenes.append("alarms")
    return views.hall(overview) | {
        "today": today,
        "cards": cards.cards(today, overview, words),
        "fresh": cards.freshness(overview),
        "groups": groups,
        "scenes": scenes,
        "alarms": overview["alarms"][:ALARMS],
        "more_alarms": max(0, len(overview["alarms"]) - ALARMS),
    }


def seconds(asked: str | None) -> int:
    """Give how long a scene stays; what is no number is as if nobody had asked."""
    try:
        return min(max(int(asked or SECONDS), SHORTEST), LONGEST)
    except ValueError:
        return SECONDS
