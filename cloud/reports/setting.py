"""Type setting on paper: texts, rules, tables and charts as blocks of known height. Units are points."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from cloud.bi.analyses.paint import palette
from cloud.reports.press import drawing

WIDE, HIGH, EDGE, FOOT = 595.0, 842.0, 40.0, 34.0
INNER: Final = WIDE - 2 * EDGE
SCALE: Final = 0.72
"""Charts are drawn for a screen and set smaller."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that stays whole: its height, and what draws it at (x, y)."""

    height: float
    draw: Callable[[float, float], str]
    keep: bool = False
    """Stays on the page of the block that follows it."""


def hue(name: str) -> str:
    """Give a colour of the house for paper."""
    return palette()[name][0]


def write(
    x: float, y: float, said: str, size: float = 8.5, *, tone: str = "--ink", weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{hue(tone)}" text-anchor="{anchor}">'
        f"{escape(said)}</text>"
    )


def rule(x: float, y: float, width: float, tone: str = "--line") -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + width:.1f}" y2="{y:.1f}" stroke="{hue(tone)}" stroke-width="0.6"/>'
    )


def fit(said: str, width: float, size: float) -> str:
    """Cut a text to a width: Hangul is as wide as high."""
    room = width / size
    for place, letter in enumerate(said):
        room -= 1.0 if letter >= "\u1100" else 0.53
        if room < 0:
            return said[: max(0, place - 1)].rstrip() + "…"
    return said


def wrap(said: str, width: float, size: float) -> list[str]:
    wide = sum(1.0 if letter >= "\u1100" else 0.53 for letter in said) * size
    if wide <= width:
        return [said]
    per_line = max(10, int(len(said) * width / wide))
    return textwrap.wrap(said, per_line) or [""]


def heading(said: str, note: str = "") -> Block:
    def draw(x: float, y: float) -> str:
        aside = write(x + INNER, y + 18, note, 7.5, tone="--muted", anchor="end") if note else ""
        return write(x, y + 18, said, 11.5, weight=700) + aside + rule(x, y + 23, INNER)

    return Block(31, draw, keep=True)


def label(said: str) -> Block:
    return Block(12, lambda x, y: write(x, y + 9, said, 8, weight=600), keep=True)


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], shares: Sequence[float], *, right_from: int = 1
) -> list[Block]:
    """Give a table, its head kept with the first row. shares: of the width, by column."""
    edges = [INNER * sum(shares[:k]) for k in range(len(shares) + 1)]

    def line(cells: Sequence[str], *, head: bool) -> Callable[[float, float], str]:
        def draw(x: float, y: float) -> str:
            size, tone = (7.0, "--muted") if head else (8.5, "--ink")
            parts: list[str] = []
            for k, cell in enumerate(cells):
                right = k >= right_from
                at = x + (edges[k + 1] if right else edges[k])
                room = edges[k + 1] - edges[k] - 4
                parts.append(
                    write(at, y + 10, fit(cell, room, size), size, tone=tone, anchor="end" if right else "start")
                )
            return "".join(parts) + rule(x, y + 14.5, INNER)

        return draw

    return [
        Block(16, line(heads, head=True), keep=True),
        *(Block(16, line(row, head=False)) for row in rows),
        Block(8, lambda _x, _y: ""),
    ]


def chart(spec: Mapping[str, Any], width: float = INNER, at: float = 0.0) -> Block:
    svg, wide, high = drawing(dict(spec))
    scale = min(SCALE, width / wide)

    def draw(x: float, y: float) -> str:
        return f'<g transform="translate({x + at:.1f} {y:.1f}) scale({scale:.4f})">{svg}</g>'

    return Block(high * scale + 6, draw)
