"""The plant is physics that adds up, and the same seed tells the same story."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.plant import Plant, load
from demo.plant_line import Line
from demo.plant_spec import DAY, HOUR, LINES, MINUTE, PRODUCT, SECOND, shift_at
from sync.equipment import PackML, time_element

START = 1_785_542_400 * SECOND  # 2026-08-01T00:00:00Z


def trace(plant: Plant, until: int) -> list[tuple[object, ...]]:
    return [
        (m.at, m.line.spec.line, m.line.stage.state, m.line.stage.reason, m.line.totals(m.at))
        for m in plant.advance(until)
    ]


def books(line: Line, at: int) -> tuple[int, ...]:
    totals = line.totals(at)
    return (totals.produced, totals.good, *totals.rejects.values(), totals.energy_wh)


@pytest.fixture(scope="module")
def month() -> tuple[Plant, dict[str, Counter[str]], Counter[tuple[str, str, str]], Counter[tuple[str, str, str]]]:
    """Four weeks: time per element of each line; produced and rejected pieces by (line, product, shift)."""
    plant = Plant(seed=7, start=START)
    elements: dict[str, Counter[str]] = {spec.line: Counter() for spec in LINES}
    since = {line.spec.line: (START, line.stage.state, line.stage.reason) for line in plant.lines}
    made: Counter[tuple[str, str, str]] = Counter()
    bad: Counter[tuple[str, str, str]] = Counter()
    before = {line.spec.line: (line.orders.running.product, line.totals(START)) for line in plant.lines}
    for moment in plant.advance(START + 28 * DAY):
        name = moment.line.spec.line
        began, state, reason = since[name]
        elements[name][time_element(state.name, reason)] += moment.at - began
        since[name] = (moment.at, moment.line.stage.state, moment.line.stage.reason)
        product, then = before[name]
        now = moment.line.totals(moment.at)
        key = (name, product, shift_at(moment.at - 1).code)
        made[key] += now.produced - then.produced
        bad[key] += now.scrap - then.scrap
        before[name] = (moment.line.orders.running.product, now)
    for name, (began, state, reason) in since.items():
        elements[name][time_element(state.name, reason)] += plant.now - began
    return plant, elements, made, bad


def share(month, choose) -> float:
    _, _, made, bad = month
    return sum(n for key, n in bad.items() if choose(*key)) / sum(n for key, n in made.items() if choose(*key))


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    one = trace(Plant(seed=3, start=START), START + 2 * DAY)
    assert one == trace(Plant(seed=3, start=START), START + 2 * DAY)
    assert one != trace(Plant(seed=4, start=START), START + 2 * DAY)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), looks=st.lists(st.integers(1, 40 * MINUTE), min_size=1, max_size=40))
def test_looking_more_often_changes_nothing_and_the_books_agree_at_any_moment(seed: int, looks: list[int]):
    watched, alone = Plant(seed=seed, start=START), Plant(seed=seed, start=START)
    last = {line.spec.line: books(line, START) for line in watched.lines}
    at = START
    for step in looks:
        at += step
        watched.run_to(at)
        for line in watched.lines:
            totals = line.totals(at)
            assert totals.good + totals.scrap == totals.produced
            now = books(line, at)
            assert all(a >= b for a, b in zip(now, last[line.spec.line], strict=True)), "a counter went back"
            last[line.spec.line] = now
    alone.run_to(at)
    assert alone.totals() == watched.totals()
    for line in alone.lines:
        assert line.observe(at) == watched.line[line.spec.line].observe(at)


def test_time_adds_up_and_states_follow_each_other_without_a_hole(month):
    plant, elements, *_ = month
    for line in plant.lines:
        assert sum(elements[line.spec.line].values()) == 28 * DAY


def test_oee_is_what_a_hall_like_this_has(month):
    plant, elements, *_ = month
    for line in plant.lines:
        time = elements[line.spec.line]
        planned_busy = sum(time.values()) - time["planned_down"]
        ideal = sum(n * PRODUCT[p].ideal_ms[line.spec.line] for p, n in line.made_of.items()) * 1e6
        totals = line.totals(plant.now)
        oee = ideal / planned_busy * totals.good / totals.produced
        assert 0.55 < oee < 0.90
        assert ideal < time["production"], "no line is faster than its ideal"


def test_pieces_by_product_are_the_pieces_made(month):
    plant, _, made, _ = month
    for line in plant.lines:
        mine = sum(n for (name, _, _), n in made.items() if name == line.spec.line)
        assert mine == line.totals(plant.now).produced == pytest.approx(sum(line.made_of.values()), abs=600)


def test_line_2_spoils_juice_in_any_shift_and_nothing_else_is_like_it(month):
    for shift in "ABC":
        juice = share(month, lambda line, product, s, shift=shift: (line, product, s) == ("line-2", "juice-350", shift))
        assert 0.07 < juice < 0.10
    rest = share(month, lambda line, product, s: (line, product) != ("line-2", "juice-350") and s == "A")
    assert 0.01 < rest < 0.03


def test_the_night_shift_is_worse(month):
    def shift(code):
        return share(month, lambda line, product, s: s == code and (line, product) != ("line-2", "juice-350"))

    assert 1.5 < shift("C") / shift("A") < 2.6


def test_line_3_stops_most_and_the_packer_starves_behind_it(month):
    _, elements, *_ = month
    down = {name: time["down"] for name, time in elements.items()}
    assert max(down, key=lambda name: down[name]) == "line-3"
    assert elements["line-4"]["delay"] > 20 * HOUR


def test_the_bearing_of_line_2_wears_until_it_is_maintained():
    plant = Plant(seed=7, start=START)
    line = plant.line["line-2"]
    wear = []
    for day in range(1, 15):
        plant.run_to(START + day * DAY)
        wear.append(line.wear)
    assert max(wear) > 0.6
    drops = sum(b < a for a, b in itertools.pairwise(wear))
    assert drops == 2, "maintenance is on Wednesdays, and there are two"


def test_sensors_fail_sometimes_and_say_so_or_lie():
    plant = Plant(seed=11, start=START)
    statuses: Counter[int] = Counter()
    for hour in range(1, 24 * 14 * 6):
        plant.run_to(START + hour * 10 * MINUTE)
        for line in plant.lines:
            statuses.update(value.status for value in line.observe(plant.now).values())
    assert len(statuses) == 2
    assert statuses[0x808C0000] < statuses[0] / 1000


def test_a_saved_plant_goes_on_as_if_it_had_never_stopped(tmp_path: Path):
    plant = Plant(seed=5, start=START)
    plant.run_to(START + 5 * HOUR + 17 * SECOND)
    plant.save(tmp_path / "plant")
    again = load(tmp_path / "plant")
    assert again is not None
    assert trace(again, START + DAY) == trace(plant, START + DAY)


def test_a_closed_plant_makes_nothing_and_goes_on_where_it_was():
    plant = Plant(seed=5, start=START)
    plant.run_to(START + HOUR)
    plant.close()
    still = plant.totals()
    plant.run_to(START + 9 * HOUR)
    for work_unit, totals in plant.totals().items():
        before = still[work_unit]
        assert (totals.produced, totals.good, totals.rejects) == (before.produced, before.good, before.rejects)
    assert all(line.stage.state is PackML.STOPPED and line.stage.reason == "no_order" for line in plant.lines)
    plant.reopen()
    plant.run_to(START + 10 * HOUR)
    assert all(plant.totals()[unit].produced > still[unit].produced for unit in still)


def test_the_store_never_runs_empty_and_usage_is_known_after_a_day(month):
    plant = month[0]
    for stock in plant.stocks():
        assert stock.quantity > 0
        assert stock.daily_usage is not None
