"""The account of what was seen and missed: whatever the outages, losses of memory and half-done fills, it is exact."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edge.drivers.driver import Missing
from edge.holes import UNKNOWN, Holes
from sync.reading import Readings, readings
from tests.edge.drivers.machines import tag

S = 10**9
TAGS = [tag(10 + i, f"i={i}", name=f"t{i}") for i in range(4)]
Value = tuple[int, int]
"""Tag index, source time."""


def batch(values: list[Value], received: int) -> Readings:
    return readings([(index, float(at), 0, at) for index, at in values], received=received)


class Disk:
    """What is recorded, and the checkpoint that was written with it."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.lost: list[tuple[int, int, int]] = []
        self.state: tuple[bytes, bytes] | None = None
        self.base = b""

    def commit(self, holes: Holes, values: list[Value]) -> None:
        self.values += values
        if self.state is None or random.random() < 0.2:
            self.base = holes.rebase()
        self.state = (self.base, holes.dump())

    def open(self) -> Holes:
        holes = Holes(TAGS)
        if self.state is not None:
            holes.restore(*self.state)
        return holes


@pytest.mark.parametrize("seed_", range(40))
def test_live_values_history_and_declared_gaps_are_everything_once(seed_: int) -> None:
    rng = random.Random(seed_)
    truth: list[Value] = []
    disk = Disk()
    holes = disk.open()
    now = 100 * S
    connected = False
    newest: dict[int, int] = {}

    def happen(steps: int) -> list[Value]:
        nonlocal now
        made: list[Value] = []
        for _ in range(steps):
            now += rng.randrange(1, S)
            index = rng.choice(TAGS[:3]).index  # the fourth hardly ever changes
            newest[index] = now
            made.append((index, now))
        truth.extend(made)
        return made

    def live(values: list[Value]) -> None:
        repeated = holes.observe(batch(values, now + 1))
        new = [value for value, again in zip(values, repeated, strict=True) if not again]
        if new and rng.random() < 0.9:
            disk.commit(holes, new)
        elif new:  # power cut before the commit
            die()

    def die() -> None:
        nonlocal holes, connected
        holes = disk.open()
        connected = False

    newest[TAGS[3].index] = now
    truth.append((TAGS[3].index, now))
    for _ in range(60):
        act = rng.random()
        if not connected:
            happen(rng.randrange(6))
            if act < 0.6:
                connected = True
                holes.came_back(now, "away")
                present = sorted(newest.items(), key=lambda item: item[1])  # a server says its present values first
                if rng.random() < 0.3:  # … and the link breaks on the way
                    present, connected = rng.sample(present, rng.randrange(len(present))), False
                live(present)
        elif act < 0.5:
            live(happen(rng.randrange(1, 5)))
        elif act < 0.65:
            connected = False
        elif act < 0.75:
            die()
        else:
            fill(holes, disk, truth, rng, die)
    if not connected:
        holes.came_back(now, "away")
        live(sorted(newest.items(), key=lambda item: item[1]))
    for _ in range(100):
        if not holes.open:
            break
        fill(holes, disk, truth, rng, lambda: None, whole=True)
    assert not holes.open
    assert sorted(disk.values) == sorted(set(disk.values)), f"recorded twice (seed {seed_})"
    first = {index: min(at for i, at in disk.values if i == index) for index in {i for i, _ in disk.values}}
    expected = {(i, at) for i, at in truth if i in first and at >= first[i]}
    declared = {(i, at) for i, at in expected if any(i == tag and a < at < b for tag, a, b in disk.lost)}
    assert set(disk.values) | declared == expected
    assert not set(disk.values) & declared


def fill(holes: Holes, disk: Disk, truth: list[Value], rng: random.Random, die, *, whole: bool = False) -> None:
    """Fill the oldest hole from a history that is the truth, but for one tag that has none; die on the way now and then."""
    if not holes.open:
        return
    hole = holes.open[0]
    ready = np.flatnonzero(hole.ready())
    for i in ready.tolist():
        index = holes.tags[hole.position[i]].index
        since, until = int(hole.since[i]), int(hole.until[i])
        if index == TAGS[2].index:
            holes.lose(hole, [Missing(index, since, until, "none kept")])
            holes.finish(hole, [index])
            continue
        wanted = sorted(value for value in truth if value[0] == index and since < value[1] < until)
        part = wanted if whole else wanted[: rng.randrange(len(wanted) + 1)]
        if part:
            holes.took(hole, batch(part, until))
        if len(part) == len(wanted):
            holes.finish(hole, [index])
        if not whole and rng.random() < 0.1:
            die()  # taken, but not on disk: the account on disk does not know of it either
            return
        disk.commit(holes, part)
    if hole.done.all():
        holes.close(hole)
        disk.lost += [(index, s.start, s.end) for s in hole.lost.values() for index in s.tags]
        disk.commit(holes, [])


def test_a_value_said_again_closes_its_hole_with_nothing_in_it() -> None:
    holes = Holes(TAGS)
    holes.observe(batch([(10, 5 * S), (11, 6 * S)], 7 * S))
    assert holes.came_back(20 * S, "cut")
    repeated = holes.observe(batch([(10, 5 * S), (11, 15 * S)], 21 * S))
    assert repeated.tolist() == [True, False]
    (hole,) = holes.open
    assert hole.done.tolist() == [True, False]
    assert hole.ready().tolist() == [False, True]
    assert (int(hole.since[1]), int(hole.until[1])) == (6 * S, 15 * S)


def test_a_refusal_with_our_own_time_closes_nothing() -> None:
    holes = Holes(TAGS)
    holes.observe(batch([(10, 5 * S)], 7 * S))
    holes.came_back(20 * S, "cut")
    holes.observe(readings([(10, None, 0x80340000, 21 * S)], received=21 * S))
    assert holes.open[0].until.tolist() == [UNKNOWN]
    holes.give_up(holes.open[0], "no live value came since", 90 * S)
    (stretch,) = holes.open[0].lost.values()
    assert (stretch.start, stretch.end, stretch.tags) == (5 * S, 90 * S, {10})


def test_a_clock_that_went_back_is_a_gap_and_no_history_is_asked() -> None:
    holes = Holes(TAGS)
    holes.observe(batch([(10, 50 * S)], 51 * S))
    holes.came_back(60 * S, "cut")
    assert holes.observe(batch([(10, 40 * S)], 61 * S)).tolist() == [False]
    (hole,) = holes.open
    assert hole.done.all()
    (stretch,) = hole.lost.values()
    assert (stretch.start, stretch.end) == (50 * S, 61 * S)


def test_a_server_that_was_started_meanwhile_was_silent_until_then() -> None:
    holes = Holes(TAGS)
    holes.observe(batch([(10, 5 * S), (11, 6 * S)], 7 * S))
    holes.came_back(30 * S, "cut")
    holes.observe(batch([(10, 29 * S), (11, 28 * S)], 31 * S))
    (hole,) = holes.open
    holes.note_start(hole, 20 * S)
    holes.took(hole, batch([(10, 9 * S), (10, 22 * S)], 32 * S))  # 9: before it went down; 22: since it is up
    holes.finish(hole, [10, 11])
    holes.close(hole)
    (stretch,) = hole.lost.values()
    assert (stretch.start, stretch.end, stretch.tags) == (9 * S, 20 * S, {10, 11})
    other = Holes(TAGS)
    other.observe(batch([(10, 25 * S)], 26 * S))
    other.came_back(30 * S, "cut")
    other.observe(batch([(10, 29 * S)], 31 * S))
    other.note_start(other.open[0], 20 * S)  # it ran all along
    assert other.open[0].started == 0


def test_an_account_outlives_a_change_of_the_tags() -> None:
    holes = Holes(TAGS)
    holes.observe(batch([(10, 5 * S), (12, 6 * S)], 7 * S))
    holes.came_back(20 * S, "cut")
    ids = holes.rebase()
    holes.observe(batch([(10, 18 * S)], 19 * S))
    state = holes.dump()
    moved = Holes([tag(0, "i=9", name="new"), tag(1, "i=2", name="t2"), tag(2, "i=0", name="t0")])
    moved.restore(ids, state)
    assert moved.seen.tolist() == [0, 6 * S, 18 * S]
    (hole,) = moved.open
    assert hole.position.tolist() == [1, 2]
    assert hole.since.tolist() == [6 * S, 5 * S]
    assert hole.until.tolist() == [UNKNOWN, 18 * S]
    gone = Holes([tag(0, "i=9", name="new")])
    gone.restore(ids, state)
    assert gone.open == []
    with pytest.raises(ValueError, match="not a record"):
        Holes(TAGS).restore(ids, b"\xc1nonsense")
