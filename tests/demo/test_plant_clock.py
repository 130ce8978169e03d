"""The plant's clock is never ahead of the wall and catches up as fast as it was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from demo.plant_clock import PlantClock, week_back

WALL = 1_785_542_400_000_000_000
WEEK = 7 * 86_400_000_000_000


def test_at_speed_10080_a_week_is_lived_in_a_minute():
    start = week_back(WALL, 10_080)
    assert abs(start - (WALL - WEEK)) <= 60_000_000_000
    clock = PlantClock(start=start, speed=10_080, wall=WALL)
    assert clock.at(WALL) == start
    assert not clock.caught_up(WALL + 59_000_000_000)
    assert clock.caught_up(WALL + 61_000_000_000)


def test_at_speed_1_the_plant_is_in_the_present():
    assert week_back(WALL, 1) == WALL
    assert PlantClock(start=WALL, speed=1, wall=WALL).at(WALL + 5) == WALL + 5


@given(speed=st.floats(1, 1e5), back=st.integers(0, WEEK), steps=st.lists(st.integers(0, 10**10), max_size=20))
def test_it_never_goes_back_and_never_overtakes_the_wall(speed: float, back: int, steps: list[int]):
    clock = PlantClock(start=WALL - back, speed=speed, wall=WALL)
    wall, before = WALL, WALL - back
    for step in steps:
        wall += step
        now = clock.at(wall)
        assert before <= now <= wall
        before = now
