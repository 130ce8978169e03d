"""Charts of pages that stay open are drawn once for all who look, and not more often than a pixel of time passes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloud.dashboard.pictures import KEPT, LONGEST_S, SHORTEST_S, Pictures


class Pen:
    """Counts what it draws."""

    def __init__(self) -> None:
        self.drawn = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> int:
        assert self.go.wait(10)
        self.drawn += 1
        return self.drawn


async def test_it_is_drawn_anew_after_a_pixel_of_time():
    clock, pen = [0.0], Pen()
    pictures = Pictures(now=lambda: clock[0])
    assert await pictures.of("line", 30.0, pen) == 1
    clock[0] = 29.0
    assert await pictures.of("line", 30.0, pen) == 1
    assert await pictures.of("another line", 30.0, pen) == 2
    clock[0] = 31.0
    assert await pictures.of("line", 30.0, pen) == 3


@pytest.mark.parametrize(("pixel_s", "lasts_s"), [(0.0, SHORTEST_S), (1e9, LONGEST_S)])
async def test_a_pixel_has_bounds(pixel_s: float, lasts_s: float):
    clock, pen = [0.0], Pen()
    pictures = Pictures(now=lambda: clock[0])
    await pictures.of("line", pixel_s, pen)
    clock[0] = lasts_s - 0.1
    assert await pictures.of("line", pixel_s, pen) == 1
    clock[0] = lasts_s + 0.1
    assert await pictures.of("line", pixel_s, pen) == 2


async def test_who_asks_while_it_is_drawn_waits_for_that_drawing():
    pen = Pen()
    pen.go.clear()
    pictures = Pictures()
    asked = [asyncio.create_task(pictures.of("line", 30.0, pen)) for _ in range(20)]
    await asyncio.sleep(0.01)
    asked[0].cancel()  # one of them goes away
    pen.go.set()
    assert set(await asyncio.gather(*asked[1:])) == {1}


async def test_what_fails_is_told_and_tried_again():
    def fails() -> int:
        raise ValueError("no pen")

    pictures, pen = Pictures(), Pen()
    with pytest.raises(ValueError, match="no pen"):
        await pictures.of("line", 30.0, fails)
    assert await pictures.of("line", 30.0, pen) == 1


async def test_those_nobody_looks_at_go_first():
    pictures, pen = Pictures(), Pen()
    await pictures.of("seldom", 30.0, pen)
    for number in range(KEPT):
        await pictures.of(number, 30.0, pen)
        await pictures.of("often", 30.0, pen)
    drawn = pen.drawn
    await pictures.of("often", 30.0, pen)
    assert pen.drawn == drawn
    await pictures.of("seldom", 30.0, pen)
    assert pen.drawn == drawn + 1
