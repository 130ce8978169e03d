"""A clone is told from a bad line by the way connections end."""

from __future__ import annotations

import random

from sync.clock import backoff
from sync.takeover import SuspectedCloneError, Takeovers
from sync.transport import CloneError


def test_one_takeover_may_be_our_own_past_a_second_is_a_clone():
    seen = Takeovers()
    assert seen.ended(0.0, 5.0, told=True) is None
    assert seen.ended(59.0, 30.0, told=True) is CloneError
    assert seen.ended(400.0, 300.0, told=True) is CloneError, "it comes back after the long wait, and the other one too"


def test_takeovers_far_apart_are_no_clone():
    seen = Takeovers()
    assert all(seen.ended(hour * 3600.0, 3000.0, told=True) is None for hour in range(10))


def test_silent_hang_ups_of_young_connections_are_suspected():
    seen = Takeovers()
    assert [seen.ended(i * 5.0, 3.0, told=False) for i in range(5)] == [None] * 4 + [SuspectedCloneError]
    assert seen.ended(90.0, 20.0, told=False) is SuspectedCloneError
    assert seen.ended(90.0 + 1000.0, 3.0, told=False) is None, "a quarter of an hour of peace clears it"


def test_a_restarting_broker_is_no_clone():
    seen = Takeovers()
    for i in range(50):
        seen.failed()  # refused while it starts
        assert seen.ended(i * 2.0, 1.0, told=False) is None


def test_a_flapping_line_with_longer_connections_is_no_clone():
    seen = Takeovers()
    assert all(seen.ended(i * 20.0, 19.0, told=False) is None for i in range(50))


def test_two_gateways_with_one_id_find_out_within_a_minute():
    """Both with the uplink's own back-off, for a thousand seeds: whoever comes throws the other one out."""
    for seed in range(1000):
        random.seed(seed)
        sides = [Takeovers(), Takeovers()]
        waits = [backoff(0.5, 10.0), backoff(0.5, 10.0)]
        since = [0.0, -1.0]
        inside, due = 0, [float("inf"), random.uniform(0.1, 20)]
        found = None
        while found is None:
            now = min(due)
            comer = due.index(now)
            due[comer] = float("inf")
            since[comer] = now
            other, inside = inside, comer
            found = sides[other].ended(now, now - since[other], told=False)
            due[other] = now + next(waits[other])
        assert found is SuspectedCloneError
        assert now < 80, seed
