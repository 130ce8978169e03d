from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.bi.analyses.decompose import concentration, ratio_parts, standing_out, sum_parts

keys = st.tuples(st.sampled_from("ABCDEF"))
cells = st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9)).map(lambda c: (Fraction(c[0]), Fraction(c[1])))
sides = st.dictionaries(keys, cells, min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sides, sides)
def test_the_parts_of_any_change_sum_to_it_exactly(before, after):
    n0, d0, n1, d1 = (sum(cell[i] for cell in side.values()) for side in (before, after) for i in (0, 1))
    assert sum(part.total for part in sum_parts(before, after)) == n1 - n0
    if d0 <= 0 or d1 <= 0:
        with pytest.raises(ValueError, match="denominator"):
            ratio_parts(before, after)
        return
    parts, back = ratio_parts(before, after), ratio_parts(after, before)
    assert sum(part.total for part in parts) == n1 / d1 - n0 / d0
    assert {p.keys: p.total for p in parts} == {p.keys: -p.total for p in back}  # the same in both directions
    assert 0 <= concentration([p for p in parts if p.weight_before >= 0]) <= 1


def test_a_change_of_mix_alone_is_mix():
    """Two products with 1 % and 5 % scrap, neither of which changed: half and half becomes a quarter and three."""
    before = {("A",): (Fraction(5), Fraction(500)), ("B",): (Fraction(25), Fraction(500))}
    after = {("A",): (Fraction(5, 2), Fraction(250)), ("B",): (Fraction(75, 2), Fraction(750))}
    parts = ratio_parts(before, after)
    assert sum(part.mix for part in parts) == Fraction(1, 100)
    assert all(part.rate == 0 for part in parts)


def test_a_group_that_is_new_is_mix_and_one_that_got_worse_is_rate():
    before = {("A",): (Fraction(10), Fraction(1000))}
    worse = ratio_parts(before, {("A",): (Fraction(30), Fraction(1000))})
    assert (worse[0].mix, worse[0].rate) == (0, Fraction(2, 100))
    new = ratio_parts(before, {("A",): (Fraction(10), Fraction(1000)), ("B",): (Fraction(90), Fraction(1000))})
    assert sum(part.rate for part in new) == 0
    assert sum(part.mix for part in new) == Fraction(40, 1000)


def test_what_stands_out_is_found_one_after_the_other_and_accuses_nobody_else():
    """PROD-X on LINE-A is bad in every shift, and shift C everywhere: not LINE-A, and not PROD-X elsewhere."""
    rng = np.random.default_rng(11)
    samples = {}
    for line in ("LINE-A", "LINE-B", "LINE-C"):
        for product in ("PROD-V", "PROD-W", "PROD-X"):
            for shift in "ABC":
                share = 0.085 if (line, product) == ("LINE-A", "PROD-X") else 0.05 if shift == "C" else 0.02
                samples[line, product, shift] = [(float(rng.binomial(400, share)), 400.0) for _ in range(12)]
    found = standing_out(
        samples, ("line", "product", "shift"), [("line", "product")], least_samples=5, least_z=3.5, most=3
    )  # fmt: skip
    assert [(one.dimensions, one.keys) for one in found] == [
        (("line", "product"), ("LINE-A", "PROD-X")),
        (("shift",), ("C",)),
    ]
    even = {keys: [(float(rng.binomial(400, 0.02)), 400.0) for _ in range(12)] for keys in samples}
    assert (
        standing_out(even, ("line", "product", "shift"), [("line", "product")], least_samples=5, least_z=3.5, most=3)
        == []
    )
