"""Where the time goes, from the calendar down to the time in which good pieces were made. Pure, in integers.

    calendar - not scheduled - not accounted - planned downtime = planned busy time
    planned busy time - unknown - down - delay - setup           = production time
    production time - speed loss - scrap - rework                = effective time (ideal time of the good pieces)

Every step is a whole number of ms and they close exactly. Ideal times are kept in us: each level is rounded to ms, and
a step is the difference of two levels, so nothing is lost on the way. Pieces made faster than the ideal cycle give a
speed loss below zero: it is shown as it is, because clipping it would make the rest a lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from cloud.bi.kpi import Reason, Sums

Kind = Literal["total", "loss"]
TOTALS: Final = ("calendar", "planned_busy", "production", "effective")
LOSSES: Final = (
    *("not_scheduled", "not_accounted", "planned_down", "unknown", "down", "delay", "setup"),
    *("speed_loss", "scrap", "rework"),
)
BUSY_LOSSES: Final = ("unknown", "down", "delay", "setup", "speed_loss", "scrap", "rework")
"""What OEE is lost to: 1 - OEE is the sum of these over planned busy time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One bar of the waterfall."""

    name: str
    kind: Kind
    ms: int
    """A total's height; a loss takes this much away (below zero: it gives)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The steps in order; each loss leads to the level below it."""

    steps: tuple[Step, ...]
    reason: Reason | None = None
    """no_ideal_cycle: some pieces have no ideal time, so that nothing below the production time can be told."""

    def ms(self, name: str) -> int:
        """Give one step; 0 for one that cannot be told."""
        return next((step.ms for step in self.steps if step.name == name), 0)

    def closes(self) -> bool:
        """Tell whether the losses lead from each total to the next, to the millisecond."""
        level: int | None = None
        for step in self.steps:
            if step.kind == "loss":
                level = (level or 0) - step.ms
            elif level is None:
                level = step.ms
            elif level != step.ms:
                return False
        return True


def losses_us(sums: Sums) -> dict[str, int]:
    """Give every loss in us; they lead exactly from the calendar to `ideal_good_us`. Without pieces of unknown ideal time.

    What is lost to quality is shared by pieces scrapped and reworked: exact for one product, whose pieces take one time.
    """
    elements = sums.planned_busy_ms + sums.planned_down_ms
    missed = sums.ideal_us - sums.ideal_good_us
    bad = sums.scrap + sums.rework
    reworked = missed * sums.rework // bad if bad else 0
    return {
        "not_scheduled": (sums.calendar_ms - sums.scheduled_ms) * 1000,
        "not_accounted": (sums.scheduled_ms - elements) * 1000,
        "planned_down": sums.planned_down_ms * 1000,
        "unknown": sums.unknown_ms * 1000,
        "down": sums.down_ms * 1000,
        "delay": sums.delay_ms * 1000,
        "setup": sums.setup_ms * 1000,
        "speed_loss": sums.apt_ms * 1000 - sums.ideal_us,
        "scrap": missed - reworked,
        "rework": reworked,
    }


def waterfall(rows: Sums | Iterable[Sums]) -> Waterfall:
    """Give the waterfall of one sum, or of several (one for each product, so that scrap and rework are shared exactly)."""
    parts = [rows] if isinstance(rows, Sums) else list(rows)
    lost = dict.fromkeys(LOSSES, 0)
    whole = Sums()
    for part in parts:
        whole += part
        for name, us in losses_us(part).items():
            lost[name] += us
    level = whole.calendar_ms * 1000
    steps = [Step(name="calendar", kind="total", ms=whole.calendar_ms)]
    for name in LOSSES:
        if name == "speed_loss" and whole.unrated:
            return Waterfall(steps=tuple(steps), reason="no_ideal_cycle")
        below = level - lost[name]
        steps.append(Step(name=name, kind="loss", ms=_ms(level) - _ms(below)))
        level = below
        total = {"planned_down": "planned_busy", "setup": "production", "rework": "effective"}.get(name)
        if total is not None:
            steps.append(Step(name=total, kind="total", ms=_ms(level)))
    return Waterfall(steps=tuple(steps))


def _ms(us: int) -> int:
    """Round to the nearest ms, halves up."""
    return (us + 500) // 1000
