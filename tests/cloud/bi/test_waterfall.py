from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.bi.kpi import Sums, oee
from cloud.bi.waterfall import BUSY_LOSSES, LOSSES, TOTALS, losses_us, waterfall

MIN = 60_000
times = st.integers(0, 10**9)


@st.composite
def buckets(draw: st.DrawFn) -> Sums:
    """Draw a bucket of one product: any times, any pieces, any pace (also an impossible one)."""
    parts = {
        name: draw(times) for name in ("apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")
    }
    cycle = draw(st.integers(1, 10**8))
    good, scrap, rework = (draw(st.integers(0, 10_000)) for _ in range(3))
    scheduled = sum(parts.values())
    return Sums(
        **parts,
        scheduled_ms=scheduled,
        calendar_ms=scheduled + draw(times),
        produced=good + scrap + rework,
        good=good,
        scrap=scrap,
        rework=rework,
        ideal_us=cycle * (good + scrap + rework),
        ideal_good_us=cycle * good,
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(buckets(), min_size=1, max_size=5))
def test_every_waterfall_closes_to_the_millisecond(parts: list[Sums]):
    whole = sum(parts, Sums())
    fall = waterfall(parts)
    assert fall.closes()
    assert [step.name for step in fall.steps if step.kind == "total"] == list(TOTALS)
    assert fall.ms("calendar") == whole.calendar_ms
    assert fall.ms("planned_busy") == whole.planned_busy_ms
    assert fall.ms("production") == whole.apt_ms
    assert whole.calendar_ms - sum(fall.ms(name) for name in LOSSES) == fall.ms("effective")
    assert abs(fall.ms("effective") * 1000 - whole.ideal_good_us) <= 500
    # What OEE lacks to 1 is what the waterfall takes away, exactly.
    lost = sum(losses_us(part)[name] for part in parts for name in BUSY_LOSSES)
    assert whole.planned_busy_ms * 1000 - lost == whole.ideal_good_us


def test_the_fast_guide_as_a_waterfall():
    """Vorne's example again: 420 min planned, 47 min down, 373 min of production hold 19,271 s of ideal time."""
    sums = Sums(
        calendar_ms=1_440 * MIN, scheduled_ms=480 * MIN, planned_down_ms=60 * MIN, down_ms=47 * MIN, apt_ms=373 * MIN,
        produced=19_271, good=18_848, scrap=423, ideal_us=19_271 * 10**6, ideal_good_us=18_848 * 10**6,
    )  # fmt: skip
    fall = waterfall(sums)
    assert {step.name: step.ms / 1000 for step in fall.steps if step.ms} == {
        "calendar": 86_400, "not_scheduled": 57_600, "planned_down": 3_600, "planned_busy": 25_200, "down": 2_820,
        "production": 22_380, "speed_loss": 3_109, "scrap": 423, "effective": 18_848,
    }  # fmt: skip
    assert fall.ms("effective") / fall.ms("planned_busy") == pytest.approx(oee(sums).oee)


def test_pieces_faster_than_ideal_are_a_speed_loss_below_zero_and_nothing_is_clipped():
    sums = Sums(calendar_ms=1000, scheduled_ms=1000, apt_ms=1000, produced=3, good=3, ideal_us=3 * 10**6, ideal_good_us=3 * 10**6)  # fmt: skip
    fall = waterfall(sums)
    assert fall.ms("speed_loss") == -2000
    assert fall.ms("effective") == 3000
    assert fall.closes()


def test_pieces_without_an_ideal_time_end_the_waterfall_where_nothing_more_can_be_told():
    fall = waterfall(Sums(calendar_ms=5, scheduled_ms=5, apt_ms=5, produced=2, good=2, unrated=1))
    assert fall.reason == "no_ideal_cycle"
    assert fall.steps[-1].name == "production"
    assert fall.closes()


def test_a_shift_that_still_runs_shows_what_is_not_accounted_for():
    fall = waterfall(Sums(calendar_ms=100, scheduled_ms=100, apt_ms=60, produced=0))
    assert fall.ms("not_accounted") == 40
    assert fall.closes()


def test_a_step_out_of_place_does_not_close():
    fall = waterfall(Sums(calendar_ms=100, scheduled_ms=100, apt_ms=60))
    broken = type(fall)(steps=tuple(step for step in fall.steps if step.name != "not_accounted"))
    assert not broken.closes()
