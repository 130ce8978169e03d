from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cloud.bi.analyses import inference

values = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=8, max_size=30)


@pytest.mark.parametrize(("hits", "count"), [(0, 100), (3, 10), (50, 1000), (999, 1000)])
def test_wilsons_interval_is_scipys(hits: int, count: int):
    known = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert inference.wilson(hits, count) == pytest.approx((known.low, known.high), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2.5, 7, 30, 500])
def test_students_t_is_scipys(freedom: float):
    for t in (0.0, 0.3, 1.7, 4.0, 25.0):
        assert inference.student_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-10, abs=1e-15)
    assert inference.student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(values, st.integers(0, 2**32 - 1))
def test_correlations_are_scipys(x: list[float], seed: int):
    y = (np.random.default_rng(seed).normal(size=len(x)) * 10 + np.round(x)).tolist()
    linear, ranked = inference.pearson(x, y), inference.spearman(x, y)
    if linear is None:
        assert np.std(x) < 1e-3
        return
    known = stats.pearsonr(x, y)
    assert (linear.value, linear.p) == pytest.approx((known.statistic, known.pvalue), rel=1e-6, abs=1e-9)
    if ranked is not None:
        expected = stats.spearmanr(x, y)
        assert (ranked.value, ranked.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-6, abs=1e-9)


def test_a_line_correlates_wholly_and_a_constant_with_nothing():
    assert inference.pearson([1, 2, 3], [2, 4, 6]) == inference.Correlation(1.0, 0.0, 3)
    assert inference.pearson([1, 2, 3, 4], [5, 5, 5, 5]) is None
    assert inference.pearson([1, 2], [1, 2]) is None


def test_welchs_test_is_scipys_where_denominators_are_alike():
    """With equal denominators the ratio estimator is a mean."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(10, 2, 12), rng.normal(12, 5, 20)
    found = inference.difference_p(*(inference.ratio_of([(v, 1.0) for v in one]) for one in (a, b)))  # pyright: ignore[reportArgumentType]
    assert found == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)


def test_the_interval_of_a_ratio_holds_what_it_promises():
    """Shifts of unequal length whose OEE scatters: the true ratio lies within the 95 % interval 92 to 98 times of 100."""
    rng, held, series = np.random.default_rng(7), 0, 600
    for _ in range(series):
        time = rng.uniform(300, 480, 21)
        known = inference.ratio_of(list(zip(time * rng.normal(0.75, 0.06, 21), time, strict=True)))
        assert known is not None
        low, high = known.interval()
        held += low <= 0.75 <= high
    assert 0.92 <= held / series <= 0.98


def test_scrap_in_clumps_widens_the_interval_that_pieces_alone_would_give():
    clumped = inference.ratio_of([(90.0 if shift % 10 == 0 else 0.0, 1000.0) for shift in range(30)])
    even = inference.ratio_of([(9.0, 1000.0)] * 30)
    assert clumped is not None
    assert even is not None
    assert clumped.value == even.value
    wide, narrow = inference.proportion_interval(clumped), inference.proportion_interval(even)
    assert wide[1] - wide[0] > 4 * (narrow[1] - narrow[0])
    assert narrow == pytest.approx(inference.wilson(270, 30_000))


def test_holm_corrects_like_the_worked_example():
    """p = 0.01, 0.04, 0.03, 0.005 (m = 4): 0.03, 0.06, 0.06, 0.02."""
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.holm([]) == []


def test_a_trend_test_is_kendalls():
    rng = np.random.default_rng(3)
    y = np.round(np.arange(25) * 0.2 + rng.normal(0, 1.5, 25))
    # SciPy's tau-b counts the same score; its asymptotic p has no continuity correction: close, and ours is the careful one.
    known = stats.kendalltau(np.arange(25), y, method="asymptotic").pvalue
    assert known <= inference.mann_kendall(y.tolist()) <= known * 1.3
    assert inference.mann_kendall([1.0] * 10) == 1.0
    assert inference.theil_sen(y.tolist()) == pytest.approx(stats.theilslopes(y).slope)


def test_one_sample_says_nothing_of_its_error():
    one = inference.ratio_of([(3.0, 4.0)])
    assert one is not None
    assert math.isinf(one.error)
    assert inference.ratio_of([(3.0, 0.0)]) is None
    assert inference.ratio_of([]) is None
