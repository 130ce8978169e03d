"""Constants from their definitions, against published tables and against adaptive quadrature."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from models.spc import constants
from models.spc.constants import MAX_SIZE, a2, a3, b3, b4, big_d3, big_d4, c4, d2, d3, range_limits, s_limits

# Montgomery, D. C., Introduction to Statistical Quality Control, 6th ed., appendix table VI, "Factors for constructing variables
# control charts": n, A2, A3, c4, B3, B4, d2, d3, D3, D4. One figure of that table is rounded the wrong way (d3 of 3 is 0.8884).
TABLE = [
    (2, 1.880, 2.659, 0.7979, 0.000, 3.267, 1.128, 0.853, 0.000, 3.267),
    (3, 1.023, 1.954, 0.8862, 0.000, 2.568, 1.693, 0.888, 0.000, 2.574),
    (4, 0.729, 1.628, 0.9213, 0.000, 2.266, 2.059, 0.880, 0.000, 2.282),
    (5, 0.577, 1.427, 0.9400, 0.000, 2.089, 2.326, 0.864, 0.000, 2.114),
    (6, 0.483, 1.287, 0.9515, 0.030, 1.970, 2.534, 0.848, 0.000, 2.004),
    (7, 0.419, 1.182, 0.9594, 0.118, 1.882, 2.704, 0.833, 0.076, 1.924),
    (8, 0.373, 1.099, 0.9650, 0.185, 1.815, 2.847, 0.820, 0.136, 1.864),
    (9, 0.337, 1.032, 0.9693, 0.239, 1.761, 2.970, 0.808, 0.184, 1.816),
    (10, 0.308, 0.975, 0.9727, 0.284, 1.716, 3.078, 0.797, 0.223, 1.777),
    (15, 0.223, 0.789, 0.9823, 0.428, 1.572, 3.472, 0.756, 0.347, 1.653),
    (20, 0.180, 0.680, 0.9869, 0.510, 1.490, 3.735, 0.729, 0.415, 1.585),
    (25, 0.153, 0.606, 0.9896, 0.565, 1.435, 3.931, 0.708, 0.459, 1.541),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"n={row[0]}")
def test_every_constant_is_that_of_the_published_table(row):
    n, *published = row
    computed = [a2(n), a3(n), c4(n), b3(n), b4(n), d2(n), d3(n), big_d3(n), big_d4(n)]
    for value, printed in zip(computed, published, strict=True):
        # Printed D4 of 3 (2.574) and 5 (2.114) were made of rounded d2 and d3; the last digit may differ by one.
        assert value == pytest.approx(printed, abs=0.00105)


def test_those_with_a_closed_form_are_exact():
    assert c4(2) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-15)
    assert d2(2) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-14)
    assert d3(2) == math.sqrt(2 - 4 / math.pi)
    assert d2(3) == pytest.approx(3 / math.sqrt(math.pi), rel=1e-14)


@pytest.mark.parametrize("n", [3, 5, 25])
def test_the_range_integrals_agree_with_adaptive_quadrature(n):
    def cover(x: float, w: float) -> float:
        return (
            n * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (constants.below(x + w) - constants.below(x)) ** (n - 1)
        )

    def weighted(w: float) -> float:
        return 2 * w * (1 - integrate.quad(cover, -9, 9, args=(w,), epsabs=1e-12)[0])

    mean = integrate.quad(lambda x: 1 - constants.below(x) ** n - constants.below(-x) ** n, -9, 9, epsabs=1e-13)[0]
    square = integrate.quad(weighted, 0, 16, epsabs=1e-10, limit=200)[0]
    assert d2(n) == pytest.approx(mean, abs=1e-11)
    assert d3(n) == pytest.approx(math.sqrt(square - mean**2), abs=1e-7)


@given(st.integers(min_value=2, max_value=400))
def test_larger_subgroups_have_larger_ranges_and_surer_deviations(n):
    assert c4(n) < c4(n + 1) < 1
    assert d2(n) < d2(n + 1)
    assert a3(n + 1) < a3(n)


@given(st.integers(min_value=2, max_value=60), st.floats(min_value=1e-6, max_value=1e6))
def test_limits_of_a_spread_stand_in_order_and_scale(n, sigma):
    for limits in (s_limits, range_limits):
        lower, centre, upper = limits(n, sigma)
        assert 0 <= lower < centre < upper
        assert limits(n, 2 * sigma) == pytest.approx((2 * lower, 2 * centre, 2 * upper))


@pytest.mark.parametrize("constant", [c4, d2, d3])
def test_one_value_has_no_spread(constant):
    with pytest.raises(ValueError, match="2"):
        constant(1)


def test_a_range_of_too_many_is_refused():
    with pytest.raises(ValueError, match=str(MAX_SIZE)):
        constants.d2(MAX_SIZE + 1)
    assert c4(100_000) == pytest.approx(1, abs=1e-5)
