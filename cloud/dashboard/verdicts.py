"""What the pages of one verdict and of the actions need besides the API's answer. Pure; charts are drawn, so off the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cloud.dashboard.render import Reader
from cloud.dashboard.views import spoken
from cloud.drawing import charts
from cloud.wording import formats
from cloud.wording.texts import Words

WEIGHED: Final = 8
"""Features that are drawn."""
STATES: Final = ("waiting", "decided", "ended")


def verdict(detail: Mapping[str, Any], reader: Reader, now: str) -> dict[str, Any]:
    """Give the model of a verdict's page."""
    words, ml = reader.words, detail["ml"]
    weights: dict[str, float] = {} if ml is None else ml["contributions"]
    ranked = sorted(weights.items(), key=lambda item: -abs(item[1]))[:WEIGHED]
    rows = [
        (
            words.label("tag", name),
            abs(weight),
            signed(weight),
            "var(--warn-mark)" if weight > 0 else "var(--run)",
        )
        for name, weight in ranked
    ]
    return {
        "verdict": detail,
        "now": now,
        "inputs": [
            one
            | {
                "shown": shown(one["name"], words),
                "kind": kind(one["name"], one["value"]),
                "typed": typed(one["value"]),
            }
            for one in detail["given"]
        ],
        "features": [
            {"name": f"feature.{name}", "shown": words.label("tag", name), "value": value, "typed": typed(value)}
            for name, value in ({} if ml is None else ml["features"]).items()
        ],
        "weights": charts.svg(charts.ranking(rows), spoken(words("verdict.weights"), rows)) if rows else None,
        "signed": signed,
    }


def shown(name: str, words: Words) -> str:
    """Give an input's name as people say it: the tag's word, and which share of the window."""
    head, _, share = name.partition(".")
    if head in {"counts", "context", "window"}:
        return words.label("input", head) + " · " + words.label("input", share)
    if head == "state":
        return words("input.state")
    return words.label("tag", head) + (f" · {words.label('input', share)}" if share else "")


def kind(name: str, value: object) -> str:
    """Give how an input is typed: number, text or bool; a tag that had no value is taken as a number."""
    if isinstance(value, str) or name == "state" or (name.startswith("context.") and name != "context.stale"):
        return "text"
    return "bool" if isinstance(value, bool) or name == "context.stale" else "number"


def typed(value: object) -> str:
    """Give a value as a person would type it: all its digits, and no `.0`."""
    return "" if value is None else str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def signed(value: float) -> str:
    """Give a weight with its sign and three digits."""
    return ("+" if value > 0 else formats.MINUS if value < 0 else "") + f"{abs(value):.3g}"


def actions(found: Mapping[str, Any], state: str, now: str) -> dict[str, Any]:
    """Give the model of the page of actions."""
    pages = max(1, -(-found["total"] // found["page_size"]))
    return {
        "found": found,
        "items": found["items"],
        "state": state,
        "states": STATES,
        "now": now,
        "pages": pages,
    }
