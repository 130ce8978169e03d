"""Limits from data: what is left out, what is doubted, what is refused."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spc.phase1 import PhaseOneError, Subgroup, counts, individuals, subgroups
from tests.models.spc import published

STEADY = random.Random(5)  # a fixed seed
NORMAL = [STEADY.gauss(50, 2) for _ in range(200)]


def test_an_outlier_is_left_out_and_told_and_its_neighbours_are_no_pair():
    spoiled = [*NORMAL[:60], 90.0, *NORMAL[60:]]
    clean, found = individuals(NORMAL), individuals(spoiled)
    assert [(one.position, one.round) for one in found.excluded] == [(60, 1)]
    assert "90 > " in found.excluded[0].why
    assert found.limits.center == pytest.approx(clean.limits.center)
    pairs = [abs(b - a) for i, (a, b) in enumerate(itertools.pairwise(NORMAL)) if i != 59]
    assert found.spread_center == pytest.approx(math.fsum(pairs) / len(pairs))


def test_leaving_out_goes_on_until_nothing_is_beyond():
    spoiled = [*NORMAL[:100], 58.5, *NORMAL[100:], 500.0]
    found = individuals(spoiled)
    assert {(one.position, one.round) for one in found.excluded} >= {(201, 1)}
    assert found.rounds == max(one.round for one in found.excluded) + 1
    kept = [v for i, v in enumerate(spoiled) if i not in {one.position for one in found.excluded}]
    assert all(found.limits.line(-3) <= value <= found.limits.line(3) for value in kept)


def test_two_processes_are_not_one():
    with pytest.raises(PhaseOneError, match="not one process"):
        individuals([1.0 + 0.01 * (-1) ** i for i in range(30)] + [9.0 + 0.01 * (-1) ** i for i in range(30)])


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1.0] * 19, "19 points give no limits"),
        ([1.0] * 30, "no variation at all"),
        ([1.0, math.nan] * 15, "nan is no number"),
        ([1.0, math.inf] * 15, "inf is no number"),
    ],
)
def test_what_gives_no_limits_is_refused(values, problem):
    with pytest.raises(PhaseOneError, match=problem):
        individuals(values)


@pytest.mark.parametrize(
    ("samples", "kind", "problem"),
    [
        (
            [Subgroup(counted=5, inspected=4)] * 30,
            "p",
            "sample 1: 5 of 4 inspected; for several faults on a unit take a u chart",
        ),
        ([Subgroup(counted=-1, inspected=4)] * 30, "u", "cannot be"),
        ([Subgroup(counted=1, inspected=0)] * 30, "p", "cannot be"),
        ([Subgroup(counted=0, inspected=50)] * 30, "p", "nothing was counted"),
        ([Subgroup(counted=50, inspected=50)] * 30, "p", "good ones"),
        ([Subgroup(counted=1, inspected=2)] * 30, "c", "u chart"),
    ],
)
def test_counts_that_cannot_be_are_refused(samples, kind, problem):
    with pytest.raises(PhaseOneError, match=problem):
        counts(samples, kind)


def test_a_subgroup_of_one_is_refused():
    with pytest.raises(PhaseOneError, match="chart of individuals"):
        subgroups([Subgroup(values=(1.0,))] * 30)


def test_points_that_depend_on_each_other_are_doubted():
    value, walk = 0.0, []
    noise = random.Random(6)
    for _ in range(200):
        value = 0.4 * value + noise.gauss(0, 1)
        walk.append(value)
    assert any("correlated (+0." in doubt["en"] for doubt in individuals(walk).doubts)
    assert not any("correlated" in doubt["en"] for doubt in individuals(NORMAL).doubts)


def test_coarse_values_and_few_points_are_doubted():
    coarse = individuals([float(round(v / 4)) for v in NORMAL[:60]])
    assert any("resolution" in doubt["en"] for doubt in coarse.doubts)
    assert any("rough" in doubt["en"] for doubt in coarse.doubts)


def test_run_rules_among_the_points_used_are_told():
    drifting = [v + 0.02 * i for i, v in enumerate(NORMAL)]
    assert any("nelson_2 fires at point" in doubt["en"] for doubt in individuals(drifting).doubts)


def test_overdispersed_counts_of_large_samples_get_laneys_factor_and_it_is_said():
    noise = random.Random(7)
    rates = [0.05 + 0.008 * noise.gauss(0, 1) for _ in range(60)]
    samples = [Subgroup(counted=float(round(20_000 * rate)), inspected=20_000.0) for rate in rates]
    found = counts(samples, "p")
    assert found.limits.sigma_z == pytest.approx(0.008 / math.sqrt(0.05 * 0.95 / 20_000), rel=0.2)
    assert any("Laney" in doubt["en"] for doubt in found.doubts)
    assert found.excluded == ()
    with pytest.raises(PhaseOneError, match="not one process"):
        counts(samples, "p", laney=False)


def test_laneys_factor_can_be_asked_for():
    samples = [Subgroup(counted=value, inspected=50) for value in published.MISREGISTERED]
    z = [(value / 50 - 347 / 1500) / math.sqrt(347 / 1500 * (1 - 347 / 1500) / 50) for value in published.MISREGISTERED]
    moving = [abs(b - a) for a, b in itertools.pairwise(z)]
    found = counts(samples, "p", laney=True)
    assert found.limits.sigma_z == pytest.approx(sum(moving) / 29 / 1.128379, rel=1e-6)  # Laney (2002)


def test_unequal_subgroups_share_one_sigma():
    noise = random.Random(8)
    samples = [Subgroup(values=tuple(noise.gauss(10, 3) for _ in range(noise.choice([4, 5, 9])))) for _ in range(400)]
    for spread in ("stddev", "range"):
        found = subgroups(samples, spread=spread)
        assert found.limits.sigma == pytest.approx(3, rel=0.05)
        assert found.sizes == (4, 9)


steady = st.lists(st.floats(min_value=-2, max_value=2), min_size=25, max_size=60).filter(lambda v: len(set(v)) > 20)


@settings(max_examples=60)
@given(steady, st.integers(min_value=-6, max_value=6))
def test_another_unit_scales_the_limits(values, exponent):
    factor = 2.0**exponent
    try:
        one = individuals(values)
    except PhaseOneError:
        return
    other = individuals([value * factor for value in values])
    assert (other.limits.center, other.limits.sigma) == (one.limits.center * factor, one.limits.sigma * factor)
    assert [e.position for e in other.excluded] == [e.position for e in one.excluded]


@settings(max_examples=60)
@given(st.permutations(list(published.PISTON_RINGS)), st.randoms(use_true_random=False))
def test_the_order_of_subgroups_and_of_values_within_them_does_not_matter(samples, shuffle):
    mixed = [Subgroup(values=tuple(shuffle.sample(values, len(values)))) for values in samples]
    straight = subgroups([Subgroup(values=values) for values in published.PISTON_RINGS])
    found = subgroups(mixed)
    assert found.limits.center == straight.limits.center
    assert found.limits.sigma == pytest.approx(straight.limits.sigma, rel=1e-14)
