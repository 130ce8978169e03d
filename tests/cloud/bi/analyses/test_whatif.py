from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.bi.analyses.edits import EditError, apply, capped
from cloud.bi.analyses.run import analyse
from cloud.bi.kpi import Sums, oee, sums_of
from cloud.bi.semantic.plan import Edit, Filter, Period, Plan
from cloud.bi.waterfall import waterfall
from tests.cloud.bi.analyses.plant import Fact, Plant, days, grid, shift_of
from tests.cloud.bi.analyses.test_analyses import LAST, period
from tests.cloud.bi.analyses.truth import sound

MIN = 60_000
SHIFT = sums_of(shift_of(minutes=480, down=80, setup=40, pieces=900, bad=45, cycle_us=20_000_000))
"""360 min of production, 900 pieces of 20 s (300 min), 45 scrapped: 2.5 pieces a minute, 95 % good."""


def ask(plant: Plant, *edits: Edit, metrics: tuple[str, ...] = ("oee", "produced"), **more: Any):
    plan = Plan.model_validate(
        {"analysis": "WHAT_IF", "metrics": metrics, "period": period(14), "edits": edits, **more}
    )
    return sound(analyse(plan, plant, "en"))


def test_time_won_yields_at_the_pace_and_quality_that_were_seen():
    """Half of 80 min down: 40 min more production at 2.5 pieces a minute are 100 pieces, 95 of them good."""
    (after,), applied = apply([SHIFT], Edit(what="stop", percent=-50), {}, 1)
    assert (after.apt_ms, after.down_ms) == (400 * MIN, 40 * MIN)
    assert (after.produced, after.good, after.scrap) == (1000, 950, 50)
    assert (applied.time_ms, applied.pieces) == (40 * MIN, 95)
    assert oee(after).effectiveness == oee(SHIFT).effectiveness
    assert oee(after).quality_ratio == oee(SHIFT).quality_ratio
    assert oee(after).oee == pytest.approx(950 * 20 / 28_800)


def test_each_edit_changes_what_it_names_and_no_more():
    (fast,), _ = apply([SHIFT], Edit(what="speed", percent=10), {}, 1)
    assert (fast.produced, fast.good, fast.apt_ms, fast.down_ms) == (990, 940, SHIFT.apt_ms, SHIFT.down_ms)
    (clean,), _ = apply([SHIFT], Edit(what="scrap", points=-1), {}, 1)
    assert (clean.produced, clean.scrap, clean.good) == (900, 36, 864)
    (halved,), _ = apply([SHIFT], Edit(what="scrap", percent=-50), {}, 1)
    assert halved.scrap + halved.good == 900
    (none,), _ = apply([SHIFT], Edit(what="scrap", points=-50), {}, 1)
    assert (none.scrap, none.good) == (0, 900)
    assert oee(none).quality_ratio == 1.0
    (longer,), won = apply([SHIFT], Edit(what="setup", percent=100), {}, 1)
    assert (longer.setup_ms, longer.apt_ms, longer.produced) == (80 * MIN, 320 * MIN, 800)
    assert won.time_ms == -40 * MIN


def test_one_stop_reason_frees_its_own_time():
    stops = {("down", "jam"): 30 * MIN, ("down", "no_film"): 50 * MIN, ("setup", "jam"): 10 * MIN}
    (after,), applied = apply([SHIFT], Edit(what="stop", value="jam", percent=-100), stops, 1)
    assert (after.down_ms, after.setup_ms, applied.time_ms) == (50 * MIN, 30 * MIN, 40 * MIN)
    with pytest.raises(EditError) as caught:
        apply([SHIFT], Edit(what="stop", value="nonsense", percent=-10), stops, 1)
    assert (caught.value.code, caught.value.told) == ("unknown_stop_reason", {"known": ["jam", "no_film"]})


def test_an_extra_shift_is_like_the_mean_one_and_needs_free_time():
    day = [replace(SHIFT, calendar_ms=1440 * MIN)]
    (after,), _ = apply(day, Edit(what="extra_shift", count=2), {}, 1)
    assert (after.produced, after.good, after.scheduled_ms, after.calendar_ms) == (2700, 2565, 1440 * MIN, 1440 * MIN)
    assert oee(after).oee == oee(SHIFT).oee
    with pytest.raises(EditError, match="no_free_time"):
        apply(day, Edit(what="extra_shift", count=3), {}, 1)


def test_no_more_is_made_than_is_ordered():
    now = replace(SHIFT, planned_micro=950 * 10**6)
    (after,), _ = apply([now], Edit(what="stop", percent=-50), {}, 1)
    cut, pieces = capped(after, now)
    assert (pieces, cut.produced, cut.good) == (50, 950, 902)
    assert cut.apt_ms + cut.delay_ms == after.apt_ms + after.delay_ms
    assert waterfall(cut).closes()
    assert capped(replace(after, planned_micro=0), SHIFT)[1] == 0  # no order known: no limit invented
    behind = replace(SHIFT, planned_micro=10 * 10**6)
    assert capped(behind, behind)[1] == 0  # more was made than ordered already: that is not taken away


edits = st.one_of(
    st.builds(lambda what, p: Edit(what=what, percent=p), st.sampled_from(["stop", "setup", "delay", "planned_down", "speed", "scrap"]), st.floats(-100, 200)),
    st.builds(lambda p: Edit(what="scrap", points=p), st.floats(-20, 20)),
    st.builds(lambda c: Edit(what="extra_shift", count=c), st.integers(1, 3)),
)  # fmt: skip


@st.composite
def parts(draw: st.DrawFn) -> Sums:
    times = {
        name: draw(st.integers(0, 10**8))
        for name in ("apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")
    }
    good, scrap, rework, cycle = (draw(st.integers(0, 10**5)) for _ in range(4))
    scheduled = sum(times.values())
    return Sums(
        **times, scheduled_ms=scheduled, calendar_ms=scheduled * 5, produced=good + scrap + rework, good=good, scrap=scrap,
        rework=rework, ideal_us=cycle * (good + scrap + rework), ideal_good_us=cycle * good,
        planned_micro=draw(st.integers(0, 10**5)) * 10**6,
    )  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(parts(), min_size=1, max_size=4), st.lists(edits, min_size=1, max_size=3))
def test_whatever_is_edited_the_waterfall_closes_and_nothing_is_below_zero(before: list[Sums], asked: list[Edit]):
    after = before
    for edit in asked:
        try:
            after, _ = apply(after, edit, {}, 5)
        except EditError:
            continue
    after = [capped(part, now)[0] for part, now in zip(after, before, strict=True)]
    whole, old = sum(after, Sums()), sum(before, Sums())
    assert waterfall(after).closes()
    assert whole.calendar_ms == old.calendar_ms
    if not any(edit.what == "extra_shift" for edit in asked):
        assert whole.scheduled_ms == old.scheduled_ms
    for part in after:
        assert part.produced >= part.good + part.scrap + part.rework - 2  # rounding down never makes pieces
        assert min(part.apt_ms, part.down_ms, part.setup_ms, part.delay_ms, part.good, part.scrap, part.produced) >= 0
    assert whole.scheduled_ms == whole.planned_busy_ms + whole.planned_down_ms


def test_an_answer_shows_before_after_and_what_it_assumes():
    facts = grid(lambda *_: shift_of(minutes=480, down=80, pieces=900, bad=45), count=14)
    facts += [
        Fact(day=fact.day, shift=fact.shift, of="stop", keys={"time_element": "down", "stop_reason": "jam"}, measures={"duration_ms": 60 * MIN, "stops": 2})
        for fact in facts
    ]  # fmt: skip
    found = ask(Plant(facts), Edit(what="stop", value="jam", percent=-30), Edit(what="scrap", percent=-20))
    oee_row, produced = found.rows[0], found.rows[1]
    assert oee_row[0] == "oee"
    assert oee_row[4] == pytest.approx(oee_row[3] - oee_row[2])
    assert produced[4] == pytest.approx(42 * 900 * 18 / 400, abs=1)  # 42 shifts, 18 min each, 2.25 pieces a minute
    steps = {step["name"]: step for step in found.findings["waterfall"]}
    assert steps["down"]["difference_ms"] == -42 * 18 * MIN
    assert steps["calendar"]["difference_ms"] == 0
    assert len(found.findings["assumptions"]) == 3
    assert "jam −30%" in found.sentences["en"][0]


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (None, "no_edits"),
        (Edit(what="stop", value="nonsense", percent=-10), "unknown_stop_reason"),
        (Edit(what="setup", percent=-10), "nothing_to_change"),
        (Edit(what="extra_shift", count=1), "no_free_time"),
    ],
)
def test_an_edit_with_nothing_to_work_on_is_refused(edit: Edit | None, code: str):
    found = ask(Plant(grid(lambda *_: shift_of(), count=14)), *([edit] if edit else []))
    assert (found.refused, found.rows) == (code, ())


def test_too_little_to_go_by_is_refused_and_no_coefficient_is_invented():
    """Scenario 47: insufficient data."""
    little = Plant(grid(lambda *_: shift_of(), count=1, shifts=("A",)))
    assert ask(little, Edit(what="speed", percent=5)).refused == "insufficient_data"
    for shifts, refused in ((2, "insufficient_data"), (3, None)):
        few = Plant(grid(lambda *_: shift_of(), count=shifts, shifts=("A",), lines=("L1",)))
        assert ask(few, Edit(what="speed", percent=5)).refused == refused
    unrated = Plant(grid(lambda *_: shift_of() | {"unrated": 3}, count=14))
    assert ask(unrated, Edit(what="speed", percent=5)).refused == "no_ideal_cycle"
    stopped = Plant(grid(lambda *_: shift_of(minutes=480, down=480, pieces=0, bad=0), count=14))
    assert ask(stopped, Edit(what="stop", percent=-50)).refused == "insufficient_data"
    other = ask(Plant(grid(lambda *_: shift_of(), count=14)), Edit(what="speed", percent=5), metrics=("inventory",))
    assert other.refused == "not_recomputable"


def test_orders_limit_what_more_time_can_bring():
    plant = Plant(grid(lambda *_: shift_of(down=80, pieces=900, bad=0, planned=910), count=14))
    found = ask(plant, Edit(what="stop", percent=-100), metrics=("produced",))
    assert found.rows[0][:5] == ("produced", "pieces", 37_800.0, 38_220.0, 420.0)
    assert found.findings["cut_to_plan"] == 42 * 180 - 420
    assert "left out" in found.sentences["en"][1]


def test_faster_than_ideal_is_flagged():
    plant = Plant(grid(lambda *_: shift_of(pieces=1200), count=14), today=LAST + timedelta(days=1))
    found = ask(plant, Edit(what="speed", percent=50), filters=(Filter(dimension="line", values=("L1",)),), period=Period(first=days(14)[0], last=LAST))  # fmt: skip
    assert found.findings["implausible"] is True
    assert found.drill[0].line == "L1"
