"""The breaker as a table of moments, and on a line with a model that fails."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.scoring.breaker import COOL_NS, FAILURES, LONGEST_NS, QUIET_NS, Breaker, resumed
from sync.facts import AlarmChanged
from sync.judgment import ModelChanged
from tests.edge.scoring import moody
from tests.edge.scoring.gateway import lay_out, running
from tests.edge.stores import until

S = 10**9


def opened(at: int = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allows(at)
        breaker.failed(at, "deadline")
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not():
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed(0, "deadline")
        breaker.worked(0)
    assert breaker.state(0) == "closed"
    assert opened().state(0) == "open"
    assert not opened().allows(COOL_NS - 1)


def test_after_the_cool_down_one_window_is_its_try():
    breaker = opened()
    assert breaker.allows(COOL_NS)
    assert breaker.state(COOL_NS) == "half_open"
    assert not breaker.allows(COOL_NS)  # one, not all that wait
    breaker.worked(COOL_NS + 1)
    assert breaker.state(COOL_NS + 1) == "closed"


def test_each_failed_try_doubles_the_wait_up_to_ten_minutes():
    breaker, now, waits = opened(), 0, []
    for _ in range(8):
        now += breaker.cool_ns
        waits.append(breaker.cool_ns // S)
        assert breaker.allows(now)
        breaker.failed(now, "deadline")
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_try_that_was_nobodys_fault_leaves_the_next_window_to_try():
    breaker = opened()
    assert breaker.allows(COOL_NS)
    breaker.spared()
    assert breaker.allows(COOL_NS)


def test_one_that_opens_again_soon_waits_longer_and_a_steady_one_is_forgiven():
    breaker = opened()
    assert breaker.allows(COOL_NS)
    breaker.worked(COOL_NS)
    for _ in range(FAILURES):
        breaker.failed(COOL_NS + 1, "nan")
    assert breaker.cool_ns == 2 * COOL_NS
    assert breaker.allows(4 * COOL_NS)
    breaker.worked(4 * COOL_NS)
    breaker.worked(4 * COOL_NS + QUIET_NS)
    assert breaker.cool_ns == COOL_NS


def test_the_alarm_is_raised_at_most_every_ten_minutes_and_never_says_less_than_is():
    breaker, raised, now = Breaker(), [], 0
    while now < 2 * 3600 * S:  # flapping: five failures, cool-down, one answer, and again
        now += 5 * S
        if breaker.allows(now):
            if breaker.opened is not None:
                breaker.worked(now)
            else:
                breaker.failed(now, "deadline")
        if breaker.due(now) == "raised":
            raised.append(now)
        assert breaker.alarmed or breaker.opened is None
    assert all(later - earlier >= QUIET_NS for earlier, later in itertools.pairwise(raised))


def test_a_restart_tries_at_once_and_if_that_fails_waits_longer_than_before():
    breaker = opened()
    assert breaker.allows(COOL_NS)
    breaker.failed(COOL_NS, "deadline")
    assert breaker.due(COOL_NS) == "raised"
    again = resumed(breaker.dump(), 7)  # another monotonic clock
    assert again.allows(7)
    again.failed(7, "deadline")
    assert again.cool_ns == 4 * COOL_NS
    assert again.due(8) is None  # the alarm still is up, and is not raised twice


@given(st.lists(st.tuples(st.sampled_from(["worked", "failed", "spared"]), st.integers(0, 700 * S)), max_size=60))
def test_it_never_locks_and_never_waits_longer_than_ten_minutes(steps):
    breaker, now = Breaker(), 0
    for what, wait in steps:
        now += wait
        if breaker.allows(now):
            match what:
                case "worked":
                    breaker.worked(now)
                case "failed":
                    breaker.failed(now, "x")
                case _:
                    breaker.spared()
        assert breaker.cool_ns <= LONGEST_NS
        assert not breaker.trying
    assert breaker.allows(now + LONGEST_NS)


@pytest.mark.parametrize("load", [moody.NAN, moody.SLOW])
async def test_a_failing_model_is_not_asked_any_more_and_people_are_told_once(tmp_path, load):
    lay_out(tmp_path)
    if load == moody.SLOW:
        (tmp_path / "moody-1.0.0.tfm").write_bytes(moody.package(deadline_ms=20.0))
    async with running(tmp_path) as gateway:
        await gateway.active()
        seen = Counter()
        while not seen["breaker_open"]:
            scored = await gateway.scorer.score(moody.moment(load, seen.total()))
            assert scored.failure is not None
            seen[scored.failure.partition(":")[0]] += 1
            assert seen.total() < 50
        # A run that is being stopped leaves the next window its process busy: nobody's fault, and not counted.
        assert seen["not_finite"] + seen["deadline"] >= FAILURES
        assert gateway.scoring.states()[0].breaker == "open"
        good = await gateway.scorer.score(moody.moment(0.5, 200))
        assert good.failure is not None
        assert good.failure.startswith("breaker_open: ")
        assert good.features == {"load": 0.5}

        async def told() -> list[str]:
            return [fact.state for fact in await gateway.facts() if isinstance(fact, ModelChanged)]

        for _ in range(200):
            if "breaker_open" in await told():
                break
            await gateway.scoring._clock.sleep(0.02)
        assert (await told()).count("breaker_open") == 1
        alarms = [fact for fact in await gateway.facts() if isinstance(fact, AlarmChanged)]
        assert [(a.alarm, a.active) for a in alarms] == [("model.breaker", True)]
    async with running(tmp_path) as gateway:  # after a restart it is tried at once
        await until(lambda: gateway.scoring.states()[0].process is not None, "its process")
        assert gateway.scoring.states()[0].breaker == "half_open"
        assert (await gateway.scorer.score(moody.moment(0.5, 300))).failure is None
        assert gateway.scoring.states()[0].breaker == "closed"


async def test_a_new_version_that_fails_gives_way_to_the_one_before_on_its_own(tmp_path):
    lay_out(tmp_path)
    async with running(tmp_path) as gateway:
        await gateway.active()
        assert (await gateway.order("activate", moody.package("2.0.0", nan_at=0.45))).done
        for i in range(FAILURES):
            assert (await gateway.scorer.score(moody.moment(0.45, i))).failure is not None
        await until(lambda: gateway.scoring.states()[0].version == "1.0.0", "the version before")
        scored = await gateway.scorer.score(moody.moment(0.45, 10))
        assert (scored.version, scored.failure) == ("1.0.0", None)
        facts = await gateway.facts()
        back = [
            fact for fact in facts if isinstance(fact, ModelChanged) and fact.why.startswith("rolled back from 2.0.0")
        ]
        assert "it failed when it was new: not_finite" in back[0].why
        alarms = sorted((f.alarm, f.active) for f in facts if isinstance(f, AlarmChanged))
        assert alarms == [("model.breaker", False), ("model.breaker", True)]
