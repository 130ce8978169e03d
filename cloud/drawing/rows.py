"""Horizontal bars with a name before each and a text behind it, laid out by what the words need.

The renderer knows no font of the reader's, so its guess of a text's width is not asked: names are texts of ours beside the
bars, broken where they are too long, and the bars end where the longest text still has room. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

Spec = dict[str, Any]

ROOM: Final = 158
"""Most that names take, px; what is longer stands in two lines, and ends in … where that is not enough."""
GAP: Final = 10
_NARROW: Final = frozenset(" .,:;·'|!()[]ijltfrI-")
_WIDE: Final = frozenset("mwMW%—…")


def width(text: str, size: float = 12) -> float:
    """Estimate how wide a text is drawn, px: Hangul is nearly as wide as high."""
    return size * sum(
        0.96
        if one >= "\u1100" and one not in "–−·…"
        else 0.34
        if one in _NARROW
        else 0.88
        if one in _WIDE
        else 0.66
        if one.isupper()
        else 0.58
        for one in text
    )


def wrapped(text: str, room: float, size: float) -> list[str]:
    """Give the lines of a name, two at most: parted between its parts (`a · b`), else between words."""
    if width(text, size) <= room:
        return [text]
    head, dot, tail = text.partition(" · ")
    if not dot:
        words, head = text.split(" "), ""
        while words and (not head or width(f"{head} {words[0]}", size) <= room):
            head, words = f"{head} {words[0]}".strip(), words[1:]
        tail = " ".join(words)
    return [_cut(line, room, size) for line in (head, tail) if line]


def _cut(text: str, room: float, size: float) -> str:
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text.rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Names:
    """How the rows are named."""

    left: float
    """Where bars may begin, px."""
    step: int
    """Height of a row, px."""
    layers: list[Spec]
    """The texts."""


ROWS: Final[Spec] = {"field": "k", "type": "nominal", "sort": None, "axis": None}
"""The axis of rows, without names."""


def names(rows: list[dict[str, Any]], *, room: float = ROOM, size: float = 13, step: int = 32) -> Names:
    """Name the rows by `k`; their lines are added to them."""
    lines = [wrapped(str(row["k"]), room, size) for row in rows]
    for row, parts in zip(rows, lines, strict=True):
        row["k0"], row["k1"] = (parts[0], "") if len(parts) == 1 else ("", parts[0])
        row["k2"], row["k3"] = (parts[-1], "") if " · " in row["k"] else ("", parts[-1])
        if len(parts) == 1:
            row["k2"] = row["k3"] = ""
    widest = max((width(part, size) for parts in lines for part in parts), default=0.0)
    double = any(len(parts) > 1 for parts in lines)
    half = size * 0.58
    layers = [
        {
            "mark": {"type": "text", "align": "right", "dy": dy, "fontSize": size, "fill": fill},
            "encoding": {"y": ROWS, "x": {"value": widest}, "text": {"field": field, "type": "nominal"}},
        }
        for field, dy, fill in (
            ("k0", 0, "var(--ink)"),
            *(
                (("k1", -half, "var(--ink)"), ("k2", half, "var(--muted)"), ("k3", half, "var(--ink)"))
                if double
                else ()
            ),
        )
    ]
    return Names(widest + GAP, max(step, round(size * 2.9)) if double else step, layers)


def canvas(named: Names, rows: list[dict[str, Any]], layers: list[Spec], total: float) -> Spec:
    """Put the bars' layers and the names on one canvas of this width."""
    return {
        "width": total,
        "height": {"step": named.step},
        "autosize": {"type": "none"},
        "padding": {"left": 0, "right": 0, "top": 2, "bottom": 2},
        "data": {"values": rows},
        "layer": [*named.layers, *layers],
    }
