"""How a line stands still: the PackML steps of each kind of stop, and the calendar of the planned ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from demo.plant_spec import BREAK_MINUTES, DAY, KST_OFFSET, MINUTE, SECOND, SHIFTS, Cause, LineSpec
from sync.equipment import PackML

NEVER: Final = 1 << 62
"""Longer than any simulation: the state lasts until someone interrupts it."""

Step = tuple[PackML, int, str | None]
"""State, how long (ns), stop reason."""


@dataclass(slots=True)
class Plan:
    """A planned stop that comes back: next time, how often, how long (ns), why."""

    at: int
    period: int
    length: int
    reason: str


def planned_stops(spec: LineSpec, at: int) -> list[Plan]:
    """Give the line's breaks, cleaning and maintenance, each with its first time after `at`."""
    midnight = (at + KST_OFFSET) // DAY * DAY - KST_OFFSET
    plans = [
        Plan(midnight + (shift.start_hour * 60 + spec.break_minute) * MINUTE, DAY, BREAK_MINUTES * MINUTE, "break")
        for shift in SHIFTS
    ]
    if spec.cleaning is not None:
        minute, length = spec.cleaning
        plans.append(Plan(midnight + minute * MINUTE, DAY, length * MINUTE, "cleaning"))
    weekday, minute, length = spec.maintenance
    monday = midnight - ((midnight + KST_OFFSET) // DAY + 3) % 7 * DAY  # 1970-01-01 was a Thursday
    due = monday + weekday * DAY + minute * MINUTE
    plans.append(Plan(due, 7 * DAY, length * MINUTE, "planned_maintenance"))
    for plan in plans:
        while plan.at <= at:
            plan.at += plan.period
        while plan.at - plan.period > at:
            plan.at -= plan.period
    return plans


def unplanned(cause: Cause, length: int) -> list[Step]:
    """Give the steps of a stop: held and released, or aborted, cleared and started anew."""
    reason = cause.reason
    if cause.kind == "held":
        return [
            (PackML.HOLDING, 2 * SECOND, reason),
            (PackML.HELD, length, reason),
            (PackML.UNHOLDING, 4 * SECOND, reason),
        ]
    return [
        (PackML.ABORTING, 2 * SECOND, reason),
        (PackML.ABORTED, length, reason),
        (PackML.CLEARING, 45 * SECOND, reason),
        (PackML.STOPPED, 10 * SECOND, reason),
        (PackML.RESETTING, 30 * SECOND, None),
        (PackML.STARTING, 12 * SECOND, None),
    ]


def planned(plan: Plan) -> list[Step]:
    """Give the steps of a planned stop."""
    return [
        (PackML.STOPPING, 4 * SECOND, plan.reason),
        (PackML.STOPPED, plan.length, plan.reason),
        (PackML.RESETTING, 15 * SECOND, None),
        (PackML.STARTING, 12 * SECOND, None),
    ]


def next_order(changeover: int) -> list[Step]:
    """Give the steps from one order to the next; `changeover` (ns) is 0 when the product stays."""
    steps: list[Step] = [(PackML.COMPLETING, 4 * SECOND, None), (PackML.COMPLETE, 20 * SECOND, None)]
    if changeover:
        steps += [(PackML.STOPPED, changeover, "changeover"), (PackML.RESETTING, 40 * SECOND, "changeover")]
    else:
        steps.append((PackML.RESETTING, 90 * SECOND, None))
    return [*steps, (PackML.IDLE, 5 * SECOND, None), (PackML.STARTING, 15 * SECOND, None)]
