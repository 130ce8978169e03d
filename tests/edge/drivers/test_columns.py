from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from edge.drivers.columns import TagColumns
from sync.quality import BAD, BAD_OUT_OF_RANGE, GOOD, OVERFLOW, UNCERTAIN, UNCERTAIN_UNITS_EXCEEDED, is_bad
from sync.reading import Readings
from tests.edge.drivers.machines import tag

NOW = 1_767_225_600 * 10**9
TAGS = TagColumns([tag(10, "a", low=0, high=100, scale=0.1, offset=-5), tag(20, "b"), tag(30, "c", scale=2)])


def readings(value, status=GOOD, *, at=1, source=0, server=0, received=NOW, other=None) -> Readings:
    return TAGS.readings(
        np.array([at]),
        np.array([value], np.float64),
        np.array([status], np.uint32),
        source_time=np.array([source], np.int64),
        server_time=np.array([server], np.int64),
        received=received,
        other=other,
    )


def test_scale_and_offset_come_before_the_range() -> None:
    assert list(readings(500, at=0)) == [(10, 45.0, GOOD, NOW)]
    assert next(iter(readings(1051, at=0)))[2] == UNCERTAIN_UNITS_EXCEEDED
    assert next(iter(readings(1049, at=0)))[2] == GOOD


def test_an_overflow_is_still_said_when_the_range_is_exceeded() -> None:
    assert next(iter(readings(2000, OVERFLOW, at=0)))[2] == UNCERTAIN_UNITS_EXCEEDED | OVERFLOW


def test_the_machines_doubt_is_not_replaced_by_ours() -> None:
    assert next(iter(readings(2000, 0x40930000, at=0)))[2] == 0x40930000


@example(1.7e308, GOOD, 2)
@given(st.floats(), st.sampled_from([GOOD, UNCERTAIN, BAD, 0x808C0000, 0xC0000000]), st.integers(0, 2))
def test_a_bad_value_is_never_a_number_and_a_number_never_infinite(value, status, at) -> None:
    batch = readings(value, status, at=at)
    assert np.isnan(batch.value[is_bad(batch.status)]).all()
    assert np.isfinite(batch.value[~is_bad(batch.status)]).all()


def test_nan_with_a_good_status_is_out_of_range() -> None:
    assert list(readings(np.nan)) == [(20, None, BAD_OUT_OF_RANGE, NOW)]


def test_text_and_long_integers_stand_beside_unless_the_value_is_bad_or_scaled() -> None:
    assert list(readings(np.nan, other={0: "cola"})) == [(20, "cola", GOOD, NOW)]
    assert list(readings(np.nan, other={0: 2**60 + 1})) == [(20, 2**60 + 1, GOOD, NOW)]
    assert list(readings(np.nan, at=2, other={0: 2**60})) == [(30, 2.0**61, GOOD, NOW)]
    assert list(readings(np.nan, BAD, other={0: "cola"})) == [(20, None, BAD, NOW)]


def test_a_time_nobody_can_believe_is_replaced_by_ours_and_the_value_doubted() -> None:
    day = 86_400 * 10**9
    for wild in (day, NOW + day, 1):
        assert list(readings(1.0, source=wild)) == [(20, 1.0, UNCERTAIN, NOW)]
    assert list(readings(1.0, source=NOW - 400 * day)) == [(20, 1.0, GOOD, NOW - 400 * day)]


def test_without_a_source_time_the_servers_stands_in() -> None:
    batch = readings(1.0, server=NOW - 5)
    assert (batch.source_time[0], batch.server_time[0]) == (NOW - 5, NOW - 5)


def test_a_gateway_whose_clock_is_not_set_does_not_doubt_the_machines() -> None:
    assert list(readings(1.0, source=NOW, received=1000)) == [(20, 1.0, GOOD, NOW)]
