"""The plant's clock: runs fast until it has caught up with the wall clock, then is the wall clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantClock:
    """plant time = min(start + speed × elapsed, wall), all ns UTC.

    With speed 10,080 a plant that starts a week back is in the present after a minute.
    """

    start: int
    speed: float
    wall: int
    """Wall clock when the plant started."""

    def at(self, wall: int) -> int:
        """Give the plant time at a wall-clock time; never ahead of it."""
        return min(self.start + round(self.speed * (wall - self.wall)), wall)

    def caught_up(self, wall: int) -> bool:
        return self.at(wall) == wall


def week_back(wall: int, speed: float) -> int:
    """Give where a plant of that speed starts: as far back as it can catch up in a minute, at most a week."""
    return wall - min(round((speed - 1) * 60e9), 7 * 86_400_000_000_000) if speed > 1 else wall
