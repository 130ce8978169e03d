"""Capability indices, their intervals, and when there are none."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.spc.capability import (
    Capability,
    CapabilityError,
    Moments,
    Specification,
    capability,
    moving_range_freedom,
    of_values,
    of_windows,
)
from models.spc.distributions import anderson_darling, chi_square_quantile, normal_quantile


def known(mean: float, sigma: float, count: int) -> Moments:
    return Moments(count, mean, sigma, sigma, count - 1.0)


def test_the_nist_handbook_example():
    """NIST/SEMATECH e-Handbook 6.1.6: USL 20, LSL 8, x̄ = 16, s = 2: Cp 1.0, Cpk 0.6667, and with T = 14 Cpm = 1/√2."""
    found = capability(known(16, 2, 50), Specification(8, 20))
    assert found.cp is not None
    assert found.cpm is not None
    assert (found.cp.value, found.cpk.value, found.cpm.value) == pytest.approx((1.0, 0.6667, 0.7071), abs=5e-5)


def test_the_interval_of_cp_by_montgomery():
    """6th ed., example 8.4: USL 62, LSL 38, n = 20, s = 1.75: Cp = 2.29, 95 % between 1.57 and 3.01."""
    found = capability(known(50, 1.75, 20), Specification(38, 62), minimum=20)
    assert found.cp is not None
    assert (found.cp.value, found.cp.low, found.cp.high) == pytest.approx((2.29, 1.57, 3.01), abs=6e-3)


def test_the_interval_of_cpk_by_bissell():
    """Quality Digest, May 2000, "Last Word": Cpk = 1.15 from n = 45 lies with 95 % between 0.89 and 1.41."""
    found = capability(known(10 - 1.15 * 3, 1.0, 45), Specification(upper=10))
    assert (found.cpk.value, found.cpk.low, found.cpk.high) == pytest.approx((1.15, 0.89, 1.41), abs=5e-3)


def test_the_interval_of_cpm_by_boyles():
    """Boyles (1991): χ² with n (1 + ξ²)² / (1 + 2ξ²) degrees of freedom; here ξ = 1, 50 · 4/3 of them."""
    found = capability(known(16, 2, 50), Specification(8, 20)).cpm
    assert found is not None
    low, high = (found.value * (stats.chi2.ppf(p, 200 / 3) / (200 / 3)) ** 0.5 for p in (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_the_hard_bake_process_of_montgomery():
    """6th ed., example 6.1: flow width 1.5 ± 0.5 µm, x̿ = 1.5056, σ̂ = 0.1398: Cp = 1.192, 0.035 % beyond."""
    found = capability(known(1.5056, 0.1398, 125), Specification(1.0, 2.0))
    assert found.cp is not None
    assert found.cp.value == pytest.approx(1.192, abs=5e-4)
    assert found.beyond == pytest.approx(0.00035, abs=1e-5)


def test_one_sided_specifications_have_no_cp():
    found = capability(known(264, 32, 100), Specification(lower=200))  # Montgomery, example 8.2: bottles, C_pl = 0.67
    assert found.cpk.value == pytest.approx(0.67, abs=5e-3)
    assert (found.cp, found.pp, found.cpm) == (None, None, None)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    noise, hits = random.Random(9), 0
    for _ in range(400):
        found = capability(of_values([noise.gauss(0, 1) for _ in range(60)]), Specification(-4, 4))
        hits += found.ppk.low <= 4 / 3 <= found.ppk.high
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("moments", "problem"),
    [
        (known(1, 1, 29), "29 values; at least 30 are needed"),
        (Moments(50, 1, 0.0, 0.0, 49), "no variation"),
        (of_values([]), "0 values"),
        (of_values([1.0]), "1 values"),
        (of_windows([]), "0 values"),
    ],
)
def test_there_is_no_index_without_enough_values(moments, problem):
    with pytest.raises(CapabilityError, match=problem):
        capability(moments, Specification(0, 10))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ((None, None, None), "give lsl, usl or both"),
        ((2.0, 1.0, None), "lsl 2 is not below usl 1"),
        ((1.0, 1.0, None), "not below"),
        ((math.nan, 1.0, None), "finite"),
        ((0.0, 1.0, 1.0), "target 1 is not within"),
    ],
)
def test_specifications_that_cannot_be_are_refused(limits, problem):
    with pytest.raises(CapabilityError, match=problem):
        Specification(*limits)


def test_values_that_are_not_normal_are_warned_of():
    noise = random.Random(10)
    skewed = [noise.expovariate(1.0) for _ in range(200)]
    found = capability(of_values(skewed), Specification(upper=8), values=skewed)
    assert found.normal_p is not None
    assert found.normal_p < 0.005
    assert "not normal" in found.warnings[0]
    straight = [noise.gauss(0, 1) for _ in range(200)]
    assert capability(of_values(straight), Specification(-9, 9), values=straight).warnings == ()


def test_quantiles_and_the_test_for_normality_agree_with_scipy():
    for degrees in (1, 2, 5.3, 19, 200, 5000.5):
        for p in (1e-4, 0.025, 0.5, 0.975, 0.9999):
            assert chi_square_quantile(p, degrees) == pytest.approx(stats.chi2.ppf(p, degrees), rel=1e-10)
    assert normal_quantile(0.975) == pytest.approx(stats.norm.ppf(0.975), rel=1e-14)
    noise = random.Random(11)
    for sample in ([noise.gauss(5, 2) for _ in range(40)], [noise.expovariate(1) for _ in range(25)]):
        statistic = stats.anderson(sample, "norm", method="interpolate").statistic
        assert anderson_darling(sample)[0] == pytest.approx(statistic, rel=1e-12)


@pytest.mark.parametrize(("a", "p"), [(0.561, 0.15), (0.631, 0.10), (0.752, 0.05), (0.873, 0.025), (1.035, 0.01)])
def test_p_values_of_anderson_darling_are_those_of_stephens(a, p):
    """Stephens (1986), table 4.7: upper tail percentage points of A*²."""
    from models.spc.distributions import p_value

    assert p_value(a) == pytest.approx(p, rel=0.05)


def test_the_freedom_of_a_moving_range_is_that_of_cryer_and_ryan():
    """The mean moving range is 0.605 as efficient as s for long series (Cryer & Ryan 1990)."""
    assert moving_range_freedom(10_000) / 9_999 == pytest.approx(0.605, abs=5e-4)
    assert 1 / (2 * moving_range_freedom(2)) == pytest.approx((math.pi / 2 - 1), rel=1e-12)


rows = st.lists(st.lists(st.floats(min_value=-5, max_value=5), min_size=2, max_size=6), min_size=8, max_size=20)


@given(rows)
def test_windows_give_the_moments_of_their_values(found):
    flat = [value for row in found for value in row]
    means = [math.fsum(row) / len(row) for row in found]
    windows = [
        (len(row), mean, math.fsum((v - mean) ** 2 for v in row)) for row, mean in zip(found, means, strict=True)
    ]
    moments = of_windows(windows)
    mean = math.fsum(flat) / len(flat)
    assert moments.count == len(flat)
    assert moments.mean == pytest.approx(mean, abs=1e-9)
    overall = math.sqrt(math.fsum((v - mean) ** 2 for v in flat) / (len(flat) - 1))
    assert moments.overall == pytest.approx(overall, abs=1e-9)


@given(
    st.floats(min_value=-3, max_value=3),
    st.floats(min_value=0.1, max_value=3),
    st.integers(min_value=30, max_value=500),
)
def test_indices_stand_in_order_and_do_not_ask_for_the_unit(mean, sigma, count):
    found = capability(known(mean, sigma, count), Specification(-4, 5))
    scaled = capability(known(mean * 8, sigma * 8, count), Specification(-32, 40))
    assert _values(found) == pytest.approx(_values(scaled))
    assert found.cp is not None
    assert found.cpm is not None
    assert found.cpk.value <= found.cp.value
    assert found.cpm.value <= found.cp.value * (1 + 1e-12)
    assert found.cpk.low < found.cpk.value < found.cpk.high
    assert found.cp.low < found.cp.value < found.cp.high


def _values(found: Capability) -> list[float]:
    return [index.value for index in (found.cp, found.cpk, found.pp, found.ppk, found.cpm) if index is not None]
