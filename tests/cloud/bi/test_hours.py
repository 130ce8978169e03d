"""The ledger by the hour, as arithmetic: no database, numbers that can be checked by hand."""

from __future__ import annotations

import itertools
import random

import pytest

from cloud.bi.completeness import Account
from cloud.bi.completeness import waiting as waits
from cloud.bi.hours import HOUR_MS, HOUR_NS, Hour, Lane, Sums, Told, judge, lay, sums_of, untold

ZERO = 480_000
"""An hour, in hours since 1970."""


def account(last: int, stored: int, *, held=(), told: int | None = None, lost=(), closed=False) -> Account:
    return Account(
        number=1,
        inc="ab" * 16,
        ord=1,
        closed=closed,
        first_seen_ms=ZERO * HOUR_MS,
        stream=3,
        watermark=stored,
        produced=last,
        stored=stored,
        told_last=last if told is None else told,
        held=list(held),
        ranges=list(lost),
    )


def hours(count: int = 4) -> list[Hour]:
    return [Hour(start_ms=(ZERO + i) * HOUR_MS) for i in range(count)]


def told(place: int, first: int, last: int, end: float = 1.0) -> Told:
    return Told((ZERO + place) * HOUR_NS, int((ZERO + place + end) * HOUR_NS), first, last)


def at(hour: float) -> int:
    return int((ZERO + hour) * HOUR_NS)


def test_every_record_of_a_range_is_in_one_place():
    one = account(1000, 600, held=[(601, 700), (801, 1000)], lost=[(101, 110, "shed"), (701, 720, "rollback")])
    sums = sums_of(one, 91, 900)
    assert sums.produced == 810
    assert sums.stored == 600 - 90 - 10
    assert sums.waiting == 100 + 100
    assert sums.reasons == {"shed": 10, "rollback": 20}
    assert sums.unaccounted == 80  # 721 to 800: neither here nor there
    assert sums.produced == sums.stored + sums.waiting + sums.lost + sums.unaccounted


def test_hours_add_up_to_the_account_whatever_the_ranges():
    for seed in range(300):
        chance = random.Random(seed)
        last, stored = 500, chance.randrange(500)
        cuts = sorted(chance.sample(range(1, 501), 8))
        lost = [(a, b - 1, "shed") for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
        told_last = chance.randrange(500)
        held = [] if chance.random() < 0.3 or told_last <= stored else [(stored + 1, told_last)]
        one = account(last, stored, held=held, told=told_last, lost=lost)
        marks = [0, *sorted(chance.sample(range(1, 500), 3)), 500]
        parts = [sums_of(one, a + 1, b) for a, b in itertools.pairwise(marks)]
        whole = sums_of(one, 1, 500)
        for term in ("produced", "stored", "waiting", "lost", "unaccounted"):
            assert sum(getattr(part, term) for part in parts) == getattr(whole, term), f"seed {seed}: {term}"
            assert getattr(whole, term) >= 0
        beyond = [(a, b) for a, b, _ in lost if b > stored]
        assert whole.waiting == waits(one.held, one.told_last, stored, last, beyond), f"seed {seed}"


def test_a_finished_hour_is_known_before_its_readings_are_here():
    lane = Lane(account=account(300, 100, held=[(101, 300)]), told=[told(0, 1, 100), told(1, 101, 300)], ends=at(2))
    laid = hours()
    lay(laid, lane)
    assert [hour.total().stored for hour in laid] == [100, 0, 0, 0]
    assert [hour.total().waiting for hour in laid] == [0, 200, 0, 0]
    assert all(hour.untold == 0 for hour in laid)


def test_what_no_tally_covers_counts_where_it_must_lie_and_is_unknown_where_it_may_lie():
    running = Lane(account=account(150, 150), told=[told(0, 1, 100)], ends=at(1.5))
    laid = hours()
    lay(laid, running)
    assert [hour.total().produced for hour in laid] == [100, 50, 0, 0]
    silent = Lane(account=account(150, 150), told=[told(0, 1, 100)], ends=at(3.5))
    laid = hours()
    lay(laid, silent)
    assert [hour.total().produced for hour in laid] == [100, 0, 0, 0]
    assert [hour.untold for hour in laid] == [0, 50, 50, 50]


def test_a_lost_tally_leaves_its_hour_known_between_its_neighbours():
    lane = Lane(account=account(300, 300), told=[told(0, 1, 100), told(2, 201, 300)], ends=at(3))
    assert untold(lane) == [(at(1), at(2), 101, 200)]
    laid = hours()
    lay(laid, lane)
    assert [hour.total().produced for hour in laid] == [100, 100, 100, 0]


def test_tallies_outside_the_period_bound_what_lies_within():
    lane = Lane(account=account(900, 900), told=[], before=(at(1), 400), after=(at(2), 501), begins=at(-5), ends=at(9))
    laid = hours()
    lay(laid, lane)
    assert [hour.total().produced for hour in laid] == [0, 100, 0, 0]


@pytest.mark.parametrize(
    ("sums", "untold_", "online", "state"),
    [
        ({"produced": 9, "stored": 9}, 0, True, "complete"),
        ({}, 0, True, "empty"),
        ({"produced": 9, "stored": 8, "lost": 1}, 0, True, "lost"),
        ({"produced": 9, "stored": 7, "waiting": 1, "lost": 1}, 0, True, "arriving"),
        ({"produced": 9, "stored": 8, "unaccounted": 1}, 0, True, "unaccounted"),
        ({"produced": 9, "stored": 9}, 3, True, "unknown"),
    ],
)
def test_the_worst_that_is_so_is_what_an_hour_is(sums, untold_, online, state):
    hour = hours(1)[0]
    for name, value in sums.items():
        setattr(hour.streams.setdefault(3, Sums()), name, value)
    hour.untold = untold_
    now = (ZERO + 2) * HOUR_MS
    assert judge(hour, first_ms=0, heard_ms=now, online=online, now_ms=now) == state


def test_hours_nobody_can_know_say_so():
    hour, now = hours(1)[0], int((ZERO + 0.5) * HOUR_MS)
    assert judge(hour, first_ms=None, heard_ms=None, online=False, now_ms=now) == "before"
    assert judge(hour, first_ms=now + HOUR_MS, heard_ms=now, online=True, now_ms=now) == "before"
    assert judge(hour, first_ms=0, heard_ms=now, online=True, now_ms=now) == "running"
    assert judge(hour, first_ms=0, heard_ms=now - 60_000, online=False, now_ms=now) == "unknown"
    assert judge(hour, first_ms=0, heard_ms=now - 60_000, online=False, now_ms=now + HOUR_MS) == "unknown"


def test_an_hour_the_clock_came_to_twice_is_the_sum_of_its_parts():
    """At 10:40 the clock goes back to 9:50: hour 10 has two parts with hour 9 between them."""
    parts = [told(1, 1, 100, 0.7), told(0, 101, 120), told(1, 121, 200)]
    lane = Lane(account=account(200, 200), told=parts, ends=at(2))
    laid = hours()
    lay(laid, lane)
    assert [hour.total().produced for hour in laid] == [20, 180, 0, 0]
    assert untold(lane) == []
