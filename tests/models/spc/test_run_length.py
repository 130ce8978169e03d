"""How often a chart alarms for nothing, against published run lengths."""

from __future__ import annotations

import pytest

from models.spc import NELSON, USUAL, WESTERN_ELECTRIC
from models.spc.run_length import cusum, ewma, shewhart, simulated, spread_rate


@pytest.mark.parametrize(
    ("rules", "arl"),
    [
        (["we_1"], 370.40),
        (["we_1", "we_2"], 225.44),
        (["we_1", "we_3"], 166.05),
        (["we_1", "we_4"], 152.73),
        (["we_1", "we_2", "we_3"], 132.89),
        (["we_1", "we_2", "we_4"], 122.05),
        (["we_1", "we_3", "we_4"], 105.78),
        (["we_1", "we_2", "we_3", "we_4"], 91.75),
    ],
)
def test_runs_rules_are_as_champ_and_woodall_computed(rules, arl):
    """Champ & Woodall (1987), Technometrics 29(4), table 1, shift 0."""
    found = shewhart(rules)
    assert found.arl == pytest.approx(arl, abs=0.006)
    assert found.error == 0


def test_a_shift_shortens_the_run():
    """Montgomery, 6th ed., section 5.3: a shift of 1 σ of the mean is found after 43.9 points by the 3 σ limits alone."""
    assert shewhart(["nelson_1"], shift=1.0).arl == pytest.approx(43.9, abs=0.05)
    assert shewhart(USUAL, shift=1.0).arl < 10.5


def test_simulation_agrees_with_the_exact_chain_and_says_how_well():
    exact, found = shewhart(USUAL), simulated(USUAL)
    assert found.arl == pytest.approx(exact.arl, abs=3 * found.error)
    assert 0 < found.error < 0.01 * found.arl
    assert simulated(USUAL) == found, "always the same seed"


def test_all_eight_together_alarm_often():
    assert shewhart(WESTERN_ELECTRIC).arl < shewhart(USUAL).arl < shewhart(["nelson_1"]).arl
    all_eight = shewhart(NELSON)
    assert all_eight.error > 0
    assert 70 < all_eight.arl < 78
    assert all_eight.rate == 1 / all_eight.arl


@pytest.mark.parametrize(
    ("h", "shift", "arl"), [(4, 0, 168), (4, 0.5, 26.6), (4, 1, 8.38), (4, 2, 3.34), (5, 0, 465), (5, 0.5, 38.0), (5, 1, 10.4)]
)  # fmt: skip
def test_cusum_is_as_lucas_and_crosier_computed(h, shift, arl):
    """Montgomery, 6th ed., table 9-3 (Lucas & Crosier 1982), k = 1/2."""
    assert cusum(0.5, h, shift=shift).arl == pytest.approx(arl, rel=4e-3)


def test_fast_initial_response_finds_an_early_shift_sooner():
    """Lucas & Crosier (1982), table 3 (also Montgomery, section 9.1.5): h = 5, head start 2.5: 430 without, 6.35 at 1 σ."""
    assert cusum(0.5, 5, head_start=2.5).arl == pytest.approx(430, abs=1)
    assert cusum(0.5, 5, head_start=2.5, shift=1).arl == pytest.approx(6.35, abs=0.01)


@pytest.mark.parametrize(
    ("weight", "width", "at_one"), [(0.40, 3.054, 14.3), (0.25, 2.998, 11.1), (0.20, 2.962, 10.5), (0.10, 2.814, 10.3), (0.05, 2.615, 11.4)]
)  # fmt: skip
def test_ewma_is_as_lucas_and_saccucci_computed(weight, width, at_one):
    """Montgomery, 6th ed., table 9-11 (Lucas & Saccucci 1990): ARL₀ about 500, and at a shift of 1 σ, steady limits."""
    assert ewma(weight, width, steady=True).arl == pytest.approx(500, abs=1)
    assert ewma(weight, width, steady=True, shift=1.0).arl == pytest.approx(at_one, abs=0.06)
    assert ewma(weight, width).arl < ewma(weight, width, steady=True).arl


def test_an_ewma_of_weight_one_is_a_shewhart_chart():
    assert ewma(1.0, 3.0).arl == pytest.approx(shewhart(["nelson_1"]).arl, rel=1e-9)


def test_no_rules_never_signal():
    with pytest.raises(ValueError, match="never"):
        shewhart([])


def test_a_moving_range_and_a_spread_alarm_by_themselves():
    """P(|x - y| > 3.686 σ) = P(|z| > 2.606) = 0.0092, and neighbouring ranges come in pairs; the chance of an s of 5 values
    beyond B6 σ is 0.0039 (chi-square).
    """
    alone = shewhart([], moving_range=True)
    assert 100 < alone.arl < 150
    both = shewhart(USUAL, moving_range=True)
    assert both.arl < shewhart(USUAL).arl
    assert both.error > 0
    assert spread_rate(5) == pytest.approx(0.0039, abs=5e-5)
