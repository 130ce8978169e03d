from __future__ import annotations

import random

from cloud.marts.calendar import Instance
from cloud.marts.measure import COLUMN, State, times
from sync.equipment import time_element

SHIFT = Instance(0, 1000, "2026-03-04", "A", ((400, 500),))


def whole(states, gaps=(), *, known=1000, now=2000, instance=SHIFT):
    result = times(instance, states, list(gaps), known_until_ms=known, now_ms=now)
    sums: dict[str, int] = {}
    for part in result.by_product.values():
        for name, value in part.items():
            sums[name] = sums.get(name, 0) + value
    return {
        name: value for name, value in sums.items() if value and name not in {"calendar_ms", "scheduled_ms", "failures"}
    }, result


def test_a_state_before_the_shift_reaches_into_it():
    assert whole([State(-50, "EXECUTE", None, "")])[0] == {"apt_ms": 1000}


def test_a_break_is_planned_downtime_unless_it_is_worked_through():
    assert whole([State(0, "HELD", "jam", "")])[0] == {"down_ms": 900, "planned_down_ms": 100}
    assert whole([State(0, "EXECUTE", None, "")])[0] == {"apt_ms": 1000}


def test_a_silent_line_is_not_running():
    sums, _ = whole([State(0, "EXECUTE", None, "")], known=300)
    assert sums == {"apt_ms": 300, "unknown_ms": 600, "planned_down_ms": 100}


def test_a_shift_that_lasts_counts_up_to_the_newest_data_only():
    sums, result = whole([State(0, "EXECUTE", None, "")], known=300, now=350)
    assert sums == {"apt_ms": 300}
    assert result.by_product[""]["scheduled_ms"] == 300


def test_a_known_silence_is_unknown_time():
    sums, _ = whole([State(0, "EXECUTE", None, "")], [(100, 200), (150, 250)])
    assert sums == {"apt_ms": 850, "unknown_ms": 150}


def test_outside_every_shift_no_time_is_charged():
    night = Instance(0, 1000, "2026-03-04", "")
    sums, result = whole([State(0, "HELD", "jam", "")], instance=night)
    assert sums == {}
    assert result.by_product[""]["calendar_ms"] == 1000


def test_what_is_made_outside_every_shift_took_its_time():
    night = Instance(0, 1000, "2026-03-04", "")
    states = [State(0, "HELD", "jam", "P"), State(200, "EXECUTE", None, "P"), State(500, "STOPPED", None, "P")]
    _, result = whole(states, instance=night)
    assert result.by_product == {
        "": {"calendar_ms": 700},
        "P": {"calendar_ms": 300, "scheduled_ms": 300, "apt_ms": 300},
    }
    assert not result.stops


def test_stops_are_counted_where_they_begin():
    _, result = whole([State(-10, "HELD", "jam", ""), State(100, "EXECUTE", None, ""), State(600, "HELD", "jam", "")])
    assert result.stops["down", "jam"] == (500, 1)


def test_the_time_elements_add_up_on_random_histories(seed: int):
    names = ["EXECUTE", "HELD", "IDLE", "STARTING", "ABORTED", "UNDEFINED"]
    reasons = [None, None, "jam", "changeover", "starved", "break"]
    rng = random.Random(seed)
    for _ in range(300):
        made = (
            State(rng.randrange(-300, 1300), rng.choice(names), rng.choice(reasons), rng.choice(["", "P", "Q"]))
            for _ in range(rng.randrange(12))
        )
        states = sorted(made, key=lambda state: state.at_ms)
        gaps = [(a, a + rng.randrange(1, 200)) for a in (rng.randrange(-100, 1000) for _ in range(rng.randrange(3)))]
        known, now = rng.randrange(-200, 1400), rng.choice([500, 999, 1000, 5000])
        result = times(SHIFT, states, gaps, known_until_ms=known, now_ms=now)
        until = 1000 if now >= 1000 else max(0, min(1000, known))
        # Millisecond by millisecond, the slow and obvious way.
        slow: dict[tuple[str, str], int] = {}
        for ms in range(until):
            holding = [s for s in states if s.at_ms <= ms]
            state = holding[-1] if holding else State(0, "UNDEFINED", None, "")
            element = time_element(state.state, state.reason)
            if ms >= known or any(a <= ms < b for a, b in gaps):
                element, state = "unknown", State(0, "UNDEFINED", None, "")
            if element != "production" and 400 <= ms < 500:
                element = "planned_down"
            slow[state.product, COLUMN[element]] = slow.get((state.product, COLUMN[element]), 0) + 1
        fast = {
            (product, name): value
            for product, sums in result.by_product.items()
            for name, value in sums.items()
            if value and name not in {"calendar_ms", "scheduled_ms", "failures"}
        }
        assert fast == slow
        assert sum(fast.values()) == sum(sums["scheduled_ms"] for sums in result.by_product.values()) == until
