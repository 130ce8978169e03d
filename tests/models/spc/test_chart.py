"""Limits that cannot be, charts point by point, and what must hold of every chart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spc import NELSON, Design, Kind, Limits, LimitsError, Memory, Point, advance, series
from models.spc.constants import range_limits, s_limits


@pytest.mark.parametrize(
    ("kind", "numbers", "problem"),
    [
        ("individuals", {"center": 1.0}, "sigma is missing"),
        ("individuals", {"center": 1.0, "sigma": 0.0}, "sigma 0 is not above 0"),
        ("individuals", {"center": 1.0, "sigma": -1.0}, "sigma -1 is not above 0"),
        ("individuals", {"center": math.nan, "sigma": 1.0}, "center is nan"),
        ("individuals", {"center": 1.0, "sigma": math.inf}, "sigma is inf"),
        ("individuals", {"center": 1.0, "sigma": 1.0, "upper": 2.0}, "not both"),
        ("individuals", {"center": 1.0, "lower": 1.5, "upper": 2.0}, "not in this order"),
        ("individuals", {"center": 1.0, "upper": 2.0}, "sigma is missing"),
        ("xbar", {"center": 1.0, "sigma": 1.0, "sigma_z": 2.0}, "for charts of counts"),
        ("ewma", {"center": 1.0, "lower": 0.0, "upper": 2.0}, "needs sigma"),
        ("cusum", {"center": 1.0, "lower": 0.0, "upper": 2.0}, "needs sigma"),
        ("p", {"center": 1.2}, "no proportion"),
        ("np", {"center": 0.0}, "no proportion"),
        ("p", {"center": 0.1, "sigma": 0.1}, "takes no sigma"),
        ("u", {"center": 0.1, "sigma_z": 0.0}, "sigma_z 0 is not above 0"),
        ("c", {"center": 0.0}, "not above 0"),
        ("c", {"center": 4.0, "upper": 9.0}, "takes no ucl"),
    ],
)
def test_limits_that_cannot_be_are_refused_with_the_reason(kind, numbers, problem):
    with pytest.raises(LimitsError, match=problem):
        Limits(kind=kind, **numbers)


def test_the_hash_is_of_every_number_and_of_nothing_else():
    limits = Limits(kind="individuals", center=10.0, sigma=0.5, version="2026-11")
    assert limits.hash == Limits(kind="individuals", center=10.0, sigma=0.5, version="2026-11").hash
    others = [
        Limits(kind="ewma", center=10.0, sigma=0.5, version="2026-11"),
        Limits(kind="individuals", center=10.0, sigma=0.5, version="2026-12"),
        Limits(kind="individuals", center=10.0, sigma=math.nextafter(0.5, 1), version="2026-11"),
    ]
    assert len({limits.hash, *(other.hash for other in others)}) == 4


def test_limits_that_are_not_alike_on_both_sides_are_three_sigma_on_each():
    limits = Limits(kind="individuals", center=1.0, lower=0.4, upper=4.0)
    assert (limits.line(3), limits.line(-3), limits.line(0)) == pytest.approx((4.0, 0.4, 1.0))
    assert (limits.place(2.5), limits.place(0.7)) == pytest.approx((1.5, -1.5))


def test_counts_have_no_limit_below_zero_nor_above_all():
    assert Limits(kind="p", center=0.02).line(-3, 50) == 0.0
    assert Limits(kind="p", center=0.98).line(3, 50) == 1.0
    assert Limits(kind="np", center=0.98).line(3, 50) == 50
    assert Limits(kind="np", center=0.1).centre(50) == 5


@pytest.mark.parametrize("size", [10, 37, 400])
def test_varying_sizes_have_their_own_limits(size):
    plain, laney = Limits(kind="p", center=0.1), Limits(kind="p", center=0.1, sigma_z=2.0)
    assert plain.line(3, size) == pytest.approx(0.1 + 3 * math.sqrt(0.09 / size))
    assert laney.place(0.2, size) == pytest.approx(plain.place(0.2, size) / 2)
    assert Limits(kind="np", center=0.1).place(0.2 * size, size) == pytest.approx(plain.place(0.2, size))
    assert Limits(kind="u", center=4.0).line(3, size) == pytest.approx(4 + 3 * math.sqrt(4 / size))


def test_a_moving_range_is_held_against_its_own_limit():
    limits, design = Limits(kind="individuals", center=0, sigma=1), Design(moving_range=True)
    edge = range_limits(2, 1.0)[2]
    told = series(limits, design, [Point(value=v) for v in (edge / 2, -edge / 2, edge / 2 + 1e-9, 0.0)])
    assert edge == pytest.approx(3.686, abs=5e-4)
    assert [[(s.rule, s.side, s.points) for s in found] for _, found in told] == [
        [],
        [],
        [("moving_range", "high", (2, 3))],
        [],
    ]


def test_the_spread_within_a_subgroup_is_held_against_its_own_limits():
    limits = Limits(kind="xbar", center=0, sigma=2)
    lower, _, upper = s_limits(10, 2)
    for spread, side in ((lower * 0.99, "low"), (lower, None), (upper, None), (upper * 1.01, "high")):
        _, found = advance(limits, Design(), Memory(), Point(value=0, size=10, spread=spread))
        assert [s.side for s in found if s.rule == "spread"] == ([] if side is None else [side])
    wide = Point(value=0, size=10, spread=1.01 * range_limits(10, 2)[2], spread_kind="range")
    assert [s.rule for s in advance(limits, Design(), Memory(), wide)[1]] == ["spread"]
    alone = Point(value=0, size=1, spread=1e9)
    assert advance(limits, Design(), Memory(), alone)[1] == (), "one value has no spread"


def test_an_ewma_widens_its_limits_as_roberts_says():
    limits, design = Limits(kind="ewma", center=10, sigma=2), Design(weight=0.25, width=3)
    for i, (memory, _) in enumerate(series(limits, design, [Point(value=10.0, size=4)] * 30), 1):
        assert memory.variance == pytest.approx(2**2 / 4 * 0.25 / 1.75 * (1 - 0.75 ** (2 * i)), rel=1e-12)


def test_a_cusum_begins_anew_after_a_signal_when_it_shall():
    limits = Limits(kind="cusum", center=0, sigma=1)
    points = [Point(value=3.0)] * 6
    on = series(limits, Design(h=4, k=0.5), points)
    anew = series(limits, Design(h=4, k=0.5, restart=True), points)
    assert [bool(found) for _, found in on] == [False, True, True, True, True, True]
    assert [bool(found) for _, found in anew] == [False, True, False, True, False, True]
    head = series(limits, Design(h=4, k=0.5, head_start=2.0), points)
    assert [bool(found) for _, found in head] == [True] * 6


KINDS: list[Kind] = ["individuals", "xbar", "ewma", "cusum"]
values = st.lists(st.floats(min_value=-6, max_value=6), min_size=1, max_size=40)


def design(kind: Kind) -> Design:
    return Design(rules=NELSON, moving_range=kind == "individuals", weight=0.3, width=2.7)


@given(st.sampled_from(KINDS), values, st.integers(min_value=-8, max_value=8), st.sampled_from([-1.0, 1.0]))
def test_another_unit_changes_no_signal(kind, found, exponent, sign):
    """A factor of a power of two is exact in floats, so that nothing may change; a turned axis turns the sides."""
    factor = sign * 2.0**exponent
    one = series(Limits(kind=kind, center=0, sigma=1), design(kind), [Point(value=v) for v in found])
    other = series(
        Limits(kind=kind, center=0, sigma=abs(factor)), design(kind), [Point(value=v * factor) for v in found]
    )
    turn = {"high": "low", "low": "high", None: None} if sign < 0 else {"high": "high", "low": "low", None: None}
    assert [{(s.rule, turn[s.side], s.points) for s in told} for _, told in one] == [
        {(s.rule, s.side, s.points) for s in told} for _, told in other
    ]


@given(values)
def test_wider_limits_never_signal_more_beyond_them(found):
    narrow, wide = (Limits(kind="individuals", center=0, sigma=sigma) for sigma in (1.0, 1.5))
    only = Design(rules=("nelson_1",))
    for (_, more), (_, fewer) in zip(
        series(narrow, only, [Point(value=v) for v in found]),
        series(wide, only, [Point(value=v) for v in found]),
        strict=True,
    ):
        assert len(fewer) <= len(more)


@given(st.sampled_from(KINDS), values, st.integers(min_value=0, max_value=39))
def test_a_chart_can_stop_and_go_on_anywhere(kind, found, cut):
    limits, points = Limits(kind=kind, center=0, sigma=1), [Point(value=v) for v in found]
    whole = series(limits, design(kind), points)
    memory = series(limits, design(kind), points[:cut])[-1][0] if cut and points[:cut] else Memory()
    for i in range(min(cut, len(points)), len(points)):
        memory, told = advance(limits, design(kind), memory, points[i])
        assert (memory, told) == whole[i]
