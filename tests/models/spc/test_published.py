"""Charts against worked examples as they were printed; the sources stand with the data in `published`."""

from __future__ import annotations

import pytest

from models.spc import Design, Limits, Point, series
from models.spc.phase1 import Subgroup, counts, individuals, subgroups
from models.spc.rules import signals
from tests.models.spc import published


def test_individuals_and_moving_range_of_the_nist_handbook():
    """NIST 6.3.2.2: x̄ = 50.81, mean moving range 1.8778, UCL 55.8041, LCL 45.8159; the process is in control.

    NIST takes d2 = 1.128; exactly it is 1.128379, which moves its limits by 0.002.
    """
    found = individuals(published.FLOW_RATE, minimum=10)
    assert found.limits.center == pytest.approx(50.81)
    assert found.spread_center == pytest.approx(1.8778, abs=5e-5)
    assert found.limits.line(3) == pytest.approx(55.8041, abs=2e-3)
    assert found.limits.line(-3) == pytest.approx(45.8159, abs=2e-3)
    rounded = Limits(kind="individuals", center=50.81, sigma=found.spread_center / 1.128)
    assert (rounded.line(3), rounded.line(-3)) == pytest.approx((55.8041, 45.8159), abs=5e-5)
    assert found.excluded == ()
    assert not signals(["nelson_1"], [found.limits.place(value) for value in published.FLOW_RATE])


def test_ewma_of_the_nist_handbook():
    """NIST 6.3.2.4: UCL 52.5884, LCL 47.4115 (steady), the printed averages, all in control."""
    limits = Limits(kind="ewma", center=50, sigma=2.0539)
    told = series(limits, Design(weight=0.3, width=3, steady=True), [Point(value=value) for value in published.EWMA])
    assert [memory.ewma for memory, _ in told] == pytest.approx(published.EWMA_PRINTED, abs=5.1e-3)
    assert not any(found for _, found in told)
    beyond = series(limits, Design(weight=1.0 - 1e-12, width=3 * 0.3**0.5 / 1.7**0.5, steady=True), [Point(value=53.0)])
    assert beyond[0][1][0].line == pytest.approx(52.5884, abs=1e-4)


def test_cusum_of_the_nist_handbook():
    """NIST 6.3.2.3: k = 0.3175, h = 4.1959, S_hi and S_lo as printed; out of control from group 14 on."""
    sigma = 0.635  # so that k is half a σ
    told = series(
        Limits(kind="cusum", center=325, sigma=sigma),
        Design(k=0.3175 / sigma, h=4.1959 / sigma),
        [Point(value=value) for value in published.CUSUM],
    )
    assert [memory.high * sigma for memory, _ in told] == pytest.approx(published.CUSUM_HIGH, abs=6e-3)
    assert [memory.low * sigma for memory, _ in told] == pytest.approx(published.CUSUM_LOW, abs=6e-3)
    assert [number for number, (_, found) in enumerate(told, 1) if found] == list(range(14, 21))


def test_cusum_of_montgomery():
    """6th ed., example 9.1: k = 1/2, h = 5; C⁺ of table 9-2, signal at 29, N⁺ = 7: the shift came between 22 and 23."""
    told = series(Limits(kind="cusum", center=10, sigma=1), Design(), [Point(value=v) for v in published.SHIFTED])
    assert [memory.high for memory, _ in told][:29] == pytest.approx(published.SHIFTED_HIGH, abs=5.1e-3)
    first = next((number, found) for number, (_, found) in enumerate(told, 1) if found)
    assert first[0] == 29
    assert (first[1][0].side, first[1][0].first, told[28][0].high_run) == ("high", 23, 7)


def test_ewma_of_montgomery():
    """6th ed., example 9.2: λ = 0.10, L = 2.7; z₁ = 9.945, z₂ = 9.7495; limits 10 ± 0.27, ± 0.36, then 10.62 and 9.38."""
    limits, design = Limits(kind="ewma", center=10, sigma=1), Design(weight=0.1, width=2.7)
    told = series(limits, design, [Point(value=value) for value in published.SHIFTED])
    assert [memory.ewma for memory, _ in told][:3] == pytest.approx([9.945, 9.7495, 9.70355], abs=1e-9)
    widths = [2.7 * memory.variance**0.5 for memory, _ in told]
    assert widths[:2] == pytest.approx([0.27, 0.36], abs=5e-3)
    assert 10 + widths[-1] == pytest.approx(10.62, abs=5e-3)
    signalled = [(number, found[0].side) for number, (_, found) in enumerate(told, 1) if found]
    assert signalled == [(29, "high"), (30, "high")]


def test_c_chart_of_the_nist_handbook():
    """NIST 6.3.3.1: c̄ = 400/25 = 16, UCL 28, LCL 4; wafer 24 is beyond, wafer 3 on the line."""
    limits = Limits(kind="c", center=sum(published.WAFER_DEFECTS) / 25)
    assert (limits.center, limits.line(3), limits.line(-3)) == (16, 28, 4)
    fired = signals(["nelson_1"], [limits.place(value) for value in published.WAFER_DEFECTS])
    assert list(fired) == [23]
    found = counts([Subgroup(counted=value) for value in published.WAFER_DEFECTS], "c")
    assert [(one.position, one.round) for one in found.excluded] == [(2, 2), (23, 1)]


def test_p_chart_of_the_nist_handbook_and_of_montgomery():
    """NIST 6.3.3.2: p̄ = 0.2313, limits 0.4102 and 0.0524. Montgomery, example 7.1: without samples 15 and 23 p̄ = 0.2150, limits
    0.3893 and 0.0407, and then sample 21 is beyond.
    """
    samples = [Subgroup(counted=value, inspected=50) for value in published.MISREGISTERED]
    first = Limits(kind="p", center=sum(published.MISREGISTERED) / 1500)
    assert (first.center, first.line(3, 50), first.line(-3, 50)) == pytest.approx((0.2313, 0.4102, 0.0524), abs=5e-5)
    kept = [one.counted for i, one in enumerate(samples, 1) if i not in {15, 23}]
    second = Limits(kind="p", center=sum(kept) / 1400)
    assert (second.center, second.line(3, 50), second.line(-3, 50)) == pytest.approx((0.2150, 0.3893, 0.0407), abs=5e-5)
    found = counts(samples, "p")
    assert [(one.position + 1, one.round) for one in found.excluded] == [(15, 1), (21, 2), (23, 1)]
    assert found.limits.sigma_z == 1.0
    assert any("binomial" in doubt["en"] for doubt in found.doubts)


def test_means_and_ranges_of_montgomery():
    """6th ed., example 6.1: x̿ = 1.5056, R̄ = 0.32521; UCL 1.69325, LCL 1.31795; UCL of R 0.68749; σ̂ = 0.1398."""
    found = subgroups([Subgroup(values=values) for values in published.HARD_BAKE], spread="range")
    assert (found.limits.center, found.spread_center) == pytest.approx((1.5056, 0.32521), abs=5e-5)
    assert found.limits.sigma == pytest.approx(0.1398, abs=5e-5)
    # The book's A2 = 0.577 and D4 = 2.114 are rounded.
    assert found.limits.line(3, 5) == pytest.approx(1.69325, abs=2e-4)
    assert found.limits.line(-3, 5) == pytest.approx(1.31795, abs=2e-4)
    assert found.spread_upper == pytest.approx(0.68749, abs=4e-4)
    assert found.excluded == ()


def test_means_of_the_piston_rings():
    """R package qcc 2.7, vignette "A quick tour of qcc": warning limits (2 σ) 73.99242 and 74.00993 from the first 25 samples;
    of the 15 that follow, those with a mean beyond 3 σ are samples 37, 38 and 39.
    """
    found = subgroups([Subgroup(values=values) for values in published.PISTON_RINGS], spread="range")
    assert found.limits.line(-2, 5) == pytest.approx(73.99242, abs=5e-6)
    assert found.limits.line(2, 5) == pytest.approx(74.00993, abs=5e-6)
    points = [Point(value=sum(values) / 5, size=5) for values in published.LATER_RINGS]
    told = series(found.limits, Design(rules=("nelson_1",)), points)
    assert [25 + number for number, (_, signals_) in enumerate(told, 1) if signals_] == [37, 38, 39]
