"""Windows in columns give what a plain loop gives."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.tags import Tag, TagSpec
from edge.window import NEVER, TagColumns, rounds
from models.window import Window
from sync import quality
from sync.facts import Context
from sync.reading import Readings, readings

SECOND = 1_000_000_000


def columns(n: int, **spec: object) -> TagColumns:
    specs = [TagSpec.model_validate({"name": f"t{i}", "address": str(i), **spec}) for i in range(n)]
    return TagColumns(
        [Tag(index=i, work_unit="a/b/c", connection="x", address=s.address, spec=s) for i, s in enumerate(specs)]
    )


def feed(target: TagColumns, batch: Readings) -> None:
    status = target.judge_range(batch.tag, batch)
    for rows in rounds(batch.tag):
        target.add(batch.tag[rows], batch.take(rows), status[rows])


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.floats(-1e6, 1e6))), max_size=80))
def test_a_window_equals_the_plain_computation(rows):
    target = columns(4)
    batch = [(tag, value, quality.BAD if value is None else 0, i) for i, (tag, value) in enumerate(rows)]
    if batch:
        feed(target, readings(batch, received=0))
    window = target.close(SECOND, SECOND)
    for tag in range(4):
        good = [value for t, value in rows if t == tag and value is not None]
        got = window[f"t{tag}"]
        assert (got.count, got.bad) == (len(good), sum(1 for t, v in rows if t == tag and v is None))
        if good:
            assert (got.min, got.max, got.first) == (min(good), max(good), good[0])
            assert math.isclose(got.mean or 0, statistics.fmean(good), rel_tol=1e-9, abs_tol=1e-6)
            assert math.isclose(got.stddev or 0, statistics.pstdev(good), rel_tol=1e-6, abs_tol=1e-3)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.one_of(st.none(), st.floats(-1e6, 1e6)), st.integers(0, 30)), max_size=40
    ),
    end=st.integers(0, 60),
    alive=st.integers(0, 60),
)
def test_a_tag_that_is_asked_for_later_is_as_it_was_when_the_window_closed(rows, end, alive):
    target = columns(5, max_age_s=5)
    for tag, value, at in rows:
        feed(target, readings([(tag, value, quality.BAD if value is None else 0, at * SECOND)], received=0))
    value, status, time = target.value.copy(), target.status.copy(), target.time.copy()
    closed = target.close(end * SECOND, alive * SECOND)
    feed(target, readings([(tag, -1.0, 0, 99 * SECOND) for tag in range(5)], received=0))  # belongs to the next one
    assert list(closed) == [f"t{i}" for i in range(5)] == list(dict(closed))
    for i in range(5):
        got = closed[f"t{i}"]
        assert got is closed[f"t{i}"]
        good = [v for tag, v, _ in rows if tag == i and v is not None]
        assert (got.count, got.first if good else None) == (len(good), good[0] if good else None)
        came = time[i] != NEVER
        age = end * SECOND - (max(int(time[i]), min(alive, end) * SECOND) if came else NEVER)
        assert got.age_ns == min(age, 2**62)
        expected = int(status[i])
        if came and not expected & quality.BAD and age > 5 * SECOND:
            old = age > 15 * SECOND
            expected = quality.BAD_NO_COMMUNICATION if old else quality.UNCERTAIN_LAST_USABLE_VALUE
        assert got.status == expected
        assert got.last == (None if expected & quality.BAD or math.isnan(value[i]) else value[i])


def test_a_window_knows_its_required_tags_without_making_the_others():
    specs = [TagSpec(name=name, address=name, required=name in "ca") for name in "cbad"]
    tags = [
        Tag(index=i, work_unit="a/b/c", connection="x", address=spec.address, spec=spec) for i, spec in enumerate(specs)
    ]
    closed = TagColumns(tags).close(SECOND, SECOND)
    assert closed.required == ("a", "c")
    window = Window(
        work_unit="a/b/c", start=0, end=SECOND, tags=closed, state="EXECUTE", reason=None, context=Context(), counts={}
    )
    assert window.required == replace(window, tags=dict(closed)).required == ("a", "c")


@given(st.lists(st.integers(0, 5), max_size=50))
def test_rounds_visit_every_row_once_and_each_tag_once_per_round(tags):
    column = np.array(tags, np.int32)
    seen: list[int] = []
    for rows in rounds(column):
        assert len(set(column[rows].tolist())) == len(rows)
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(tags)))
    for tag in set(tags):
        mine = [i for i in seen if tags[i] == tag]
        assert mine == sorted(mine)


def test_a_value_out_of_range_is_uncertain_and_still_counts():
    target = columns(1, low=0, high=100)
    feed(target, readings([(0, 120.0, 0, 5)], received=5))
    got = target.close(SECOND, SECOND)["t0"]
    assert (got.last, got.status, got.count) == (120.0, quality.UNCERTAIN_UNITS_EXCEEDED, 1)


def test_a_value_ages_only_while_its_connection_is_dead():
    target = columns(1, max_age_s=1)
    feed(target, readings([(0, 7.0, 0, 0)], received=0))
    assert target.close(10 * SECOND, alive_until=10 * SECOND)["t0"].status == quality.GOOD
    assert target.close(12 * SECOND, alive_until=10 * SECOND)["t0"].status == quality.UNCERTAIN_LAST_USABLE_VALUE
    stale = target.close(14 * SECOND, alive_until=10 * SECOND)["t0"]
    assert (stale.status, stale.last) == (quality.BAD_NO_COMMUNICATION, None)


def test_a_bad_value_is_no_number():
    target = columns(1)
    feed(target, readings([(0, 7.0, 0, 0), (0, None, quality.BAD_SENSOR_FAILURE, 1)], received=1))
    got = target.close(SECOND, SECOND)["t0"]
    assert (got.last, got.status, got.count, got.bad) == (None, quality.BAD_SENSOR_FAILURE, 1, 1)


def test_only_changes_beyond_the_deadband_are_recorded_and_a_heartbeat():
    target = columns(1, deadband=0.5)
    kept = []
    for at, value in [(0, 10.0), (1, 10.4), (2, 10.6), (3, 10.5), (4, None), (5, None), (100, None)]:
        batch = readings([(0, value, 0 if value is not None else quality.BAD, at)], received=at)
        kept.append(bool(target.changed(batch.tag, batch, batch.status, heartbeat_ns=60)[0]))
        target.add(batch.tag, batch, batch.status)
    assert kept == [True, False, True, False, True, False, True]


def test_a_checkpoint_brings_the_open_window_back():
    target, again = columns(2), columns(2)
    feed(target, readings([(0, 1.0, 0, 1), (1, "A-1", 0, 1)], received=1))
    again.restore(target.dump())
    feed(again, readings([(0, 3.0, 0, 2)], received=2))
    assert again.close(SECOND, SECOND)["t0"].mean == 2.0
