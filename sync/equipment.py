"""Where things stand: ISA-95 equipment paths, and PackML states with the time element each one counts towards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, slots=True, order=True)
class Equipment:
    """A work unit's place below its site: area / work center / work unit (ISA-95 part 1)."""

    area: str
    work_center: str
    work_unit: str

    def __str__(self) -> str:
        return f"{self.area}/{self.work_center}/{self.work_unit}"


def equipment(path: str) -> Equipment:
    """Read `area/work-center/work-unit`; ValueError says what is wrong with it."""
    parts = path.split("/")
    if len(parts) != 3:
        raise ValueError(f"{path!r} has {len(parts)} levels; write area/work-center/work-unit")
    for part in parts:
        if not _NAME.fullmatch(part):
            raise ValueError(
                f"{part!r} in {path!r}: use lower-case letters, digits, '-' and '_', letters or digits first"
            )
    return Equipment(*parts)


class PackML(IntEnum):
    """StateCurrent of PackML (ISA-TR88.00.02); 0 means the machine's state is not known."""

    UNDEFINED = 0
    CLEARING = 1
    STOPPED = 2
    STARTING = 3
    IDLE = 4
    SUSPENDED = 5
    EXECUTE = 6
    STOPPING = 7
    ABORTING = 8
    ABORTED = 9
    HOLDING = 10
    HELD = 11
    UNHOLDING = 12
    SUSPENDING = 13
    UNSUSPENDING = 14
    RESETTING = 15
    COMPLETING = 16
    COMPLETE = 17


TimeElement = Literal["production", "setup", "delay", "down", "planned_down", "unknown"]
"""ISO 22400-2: APT, AUST, ADET, ADOT; planned downtime; and time nobody can account for."""

TIME_ELEMENT: Final[dict[PackML, TimeElement]] = {
    PackML.UNDEFINED: "unknown",
    PackML.CLEARING: "down",
    PackML.STOPPED: "down",
    PackML.STARTING: "setup",
    PackML.IDLE: "delay",
    PackML.SUSPENDED: "delay",
    PackML.EXECUTE: "production",
    PackML.STOPPING: "down",
    PackML.ABORTING: "down",
    PackML.ABORTED: "down",
    PackML.HOLDING: "down",
    PackML.HELD: "down",
    PackML.UNHOLDING: "down",
    PackML.SUSPENDING: "delay",
    PackML.UNSUSPENDING: "delay",
    PackML.RESETTING: "setup",
    PackML.COMPLETING: "production",
    PackML.COMPLETE: "delay",
}

REASON_ELEMENT: Final[dict[str, TimeElement]] = {
    "changeover": "setup",
    "cleaning": "planned_down",
    "planned_maintenance": "planned_down",
    "break": "planned_down",
    "no_order": "planned_down",
    "starved": "delay",
    "blocked": "delay",
}
"""A stop reason that says more than the state: it wins over TIME_ELEMENT."""


def time_element(state: str, reason: str | None) -> TimeElement:
    """Give the ISO 22400 time element that a state (PackML name) with a stop reason counts towards."""
    if reason is not None and reason in REASON_ELEMENT and state != PackML.EXECUTE.name:
        return REASON_ELEMENT[reason]
    return TIME_ELEMENT[PackML[state]] if state in PackML.__members__ else "unknown"
