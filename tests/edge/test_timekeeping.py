"""The wall clock may be wrong and may jump: it is said with every commit, a jump is recorded once, and nothing waits for it."""

import asyncio
import time

import pytest

from edge.timekeeping import Timekeeping, kernel_clock, uptime
from sync.facts import Audited, ClockStepped

NOW = 1_795_000_000 * 10**9
BOOT = 40 * 10**9
"""1970-01-01 00:00:40."""


class Hands:
    """A clock that is set by hand."""

    def __init__(self, wall: int) -> None:
        self.wall, self.even = wall, 7_000 * 10**9

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> int:
        return self.even

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.go_on(seconds)

    def go_on(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.even += round(seconds * 1e9)


def keeper(clock: Hands, *, held: bool | None = True, error_ms: int = 12) -> Timekeeping:
    return Timekeeping(clock, lambda: (held, error_ms))


def test_a_box_that_starts_in_1970_says_so_and_is_corrected_by_one_step() -> None:
    clock = Hands(BOOT)
    keeping = keeper(clock)
    assert keeping.stamp().sync == "unset"
    clock.go_on(100)
    assert keeping.step() == []
    clock.wall = NOW
    stepped, audited = keeping.step()
    assert isinstance(stepped, ClockStepped)
    assert (stepped.at, stepped.was, stepped.sync) == (NOW, "unset", "synced")
    assert BOOT + 100 * 10**9 + stepped.step == NOW  # what was dated by the old clock is dated right with it
    assert isinstance(audited, Audited)
    assert audited.action == "clock.stepped"
    assert keeping.step() == []


@pytest.mark.parametrize("jump_s", [3600, -3600, 1.1, -1.1, 10 * 365 * 86_400.0])
def test_a_jump_either_way_is_recorded_once(jump_s) -> None:
    clock = Hands(NOW)
    keeping = keeper(clock)
    clock.wall += round(jump_s * 1e9)
    (stepped, _) = keeping.step()
    assert isinstance(stepped, ClockStepped)
    assert stepped.step == round(jump_s * 1e9)
    assert keeping.steps == 1
    clock.go_on(5)
    assert keeping.step() == []


def test_slewing_as_a_time_service_does_it_is_no_jump() -> None:
    clock = Hands(NOW)
    keeping = keeper(clock)
    for _ in range(10_000):  # 500 ppm for an hour and a half: 2.5 s in the end
        clock.go_on(0.5)
        clock.wall += 250_000
        assert keeping.step() == []


def test_starts_of_the_same_boot_are_named_with_the_step_and_those_of_another_are_not() -> None:
    clock = Hands(BOOT)
    first = Timekeeping(clock, lambda: (True, 1), boot="b1")
    saved = first.born("a" * 32)["clock:boot"]
    assert first.born("a" * 32) == {}
    again = Timekeeping(clock, lambda: (True, 1), boot="b1")
    again.recall(saved)
    saved = again.born("b" * 32)["clock:boot"]
    again.born("c" * 32)  # turned within the process
    clock.wall = NOW
    stepped = again.step()[0]
    assert isinstance(stepped, ClockStepped)
    assert stepped.incarnations == ["a" * 32, "b" * 32, "c" * 32]
    rebooted = Timekeeping(clock, lambda: (True, 1), boot="b2")
    rebooted.recall(saved)
    rebooted.born("d" * 32)
    clock.wall += 10**10
    assert rebooted.step()[0].incarnations == []  # type: ignore[attr-defined] # its clock was set: dates stay
    for damaged in (b"", b"[1, 2]", b"\xff"):
        rebooted.recall(damaged)


def test_what_the_kernel_says_is_asked_at_most_once_a_second() -> None:
    clock, asked = Hands(NOW), 0

    def ask() -> tuple[bool | None, int]:
        nonlocal asked
        asked += 1
        return asked < 2, 12

    keeping = Timekeeping(clock, ask)
    assert [keeping.stamp().sync for _ in range(5)] == ["synced"] * 5
    assert asked == 1
    clock.go_on(1.5)
    assert keeping.stamp().sync == "free"
    assert keeping.stamp().error_ms == -1
    assert asked == 2


def test_a_kernel_that_cannot_be_asked_is_no_proof_of_a_right_clock() -> None:
    assert keeper(Hands(NOW), held=None).stamp().sync == "free"


def test_the_offset_to_the_cloud_travels_along() -> None:
    keeping = keeper(Hands(NOW))
    assert keeping.stamp().offset_ms is None
    keeping.offset_ms = -1_500
    assert keeping.stamp().offset_ms == -1_500


def test_the_real_kernel_answers() -> None:
    held, error_ms = kernel_clock()
    assert held in {True, False, None}
    assert error_ms >= 0 if held else error_ms == -1
    assert 0 < uptime() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


async def test_the_watch_commits_what_happened_and_goes_on() -> None:
    clock, recorded = Hands(BOOT), []

    async def commit(facts, checkpoints) -> None:
        recorded.append([type(fact) for fact in facts] if facts else list(checkpoints))

    keeping = keeper(clock)
    watching = asyncio.create_task(keeping.watch(commit, lambda: "a" * 32))
    try:
        async with asyncio.timeout(5):
            while not recorded:
                await asyncio.sleep(0)
        for wall in (NOW, NOW - 3600 * 10**9):
            clock.wall = wall
            before = len(recorded)
            async with asyncio.timeout(5):
                while len(recorded) == before:
                    await asyncio.sleep(0)
    finally:
        watching.cancel()
    assert recorded == [["clock:boot"], [ClockStepped, Audited], [ClockStepped, Audited]]
