"""The table of goals: one row per measure, with the alternative measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. Ratios against the alternative are the steady figure; machines are noisy."""

    measure: str
    goal: str
    figure: str
    alternative: str = "–"
    ratio: str = "–"
    ok: bool

    @property
    def cells(self) -> tuple[str, ...]:
        return self.measure, self.goal, self.figure, self.alternative, self.ratio, "ok" if self.ok else "MISSED"


HEAD = ("measure", "goal", "figure", "alternative in the same run", "ratio", "")


def show(rows: list[Row]) -> str:
    """Give the table as text."""
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])
