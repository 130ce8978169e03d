from __future__ import annotations

import pytest

from cloud.bi.kpi import Sums, first_pass, oee, scrap_ratio, teep

MIN = 60_000


def test_a_product_mix_is_weighted_by_ideal_time_not_by_pieces():
    """A: 60 s, 100 made, 50 good. B: 6 s, 1,000 made, all good. 12,000 s planned and running."""
    ideal, good = 100 * 60 + 1_000 * 6, 50 * 60 + 1_000 * 6
    sums = Sums(apt_ms=12_000_000, produced=1_100, good=1_050, ideal_us=ideal * 10**6, ideal_good_us=good * 10**6)
    figures = oee(sums)
    assert figures.availability == 1.0
    assert figures.effectiveness == 1.0
    assert figures.quality_ratio == pytest.approx(0.75)
    assert figures.oee == pytest.approx(0.75)
    assert first_pass(sums) == pytest.approx(1_050 / 1_100)  # 95.45 %: another figure with another name


def test_two_products_of_different_speed_do_not_share_an_average_cycle():
    """100 pieces at 60 s and 900 at 10 s in 300 min: 83.33 %, where an average cycle time gives 194.4 %."""
    figures = oee(
        Sums(apt_ms=300 * MIN, produced=1_000, good=1_000, ideal_us=15_000 * 10**6, ideal_good_us=15_000 * 10**6)
    )
    assert figures.effectiveness == pytest.approx(0.83333, abs=1e-5)


def test_the_worked_example_of_the_fast_guide_to_oee():
    """Vorne's example: 480 min shift, 60 min breaks, 47 min down, 1.0 s ideal, 19,271 made, 423 rejects."""
    sums = Sums(
        scheduled_ms=480 * MIN,
        planned_down_ms=60 * MIN,
        down_ms=47 * MIN,
        apt_ms=373 * MIN,
        produced=19_271,
        good=18_848,
        scrap=423,
        ideal_us=19_271 * 10**6,
        ideal_good_us=18_848 * 10**6,
    )
    figures = oee(sums)
    assert figures.availability == pytest.approx(0.8881, abs=5e-5)
    assert figures.effectiveness == pytest.approx(0.8611, abs=5e-5)
    assert figures.quality_ratio == pytest.approx(0.9780, abs=5e-5)
    assert figures.oee == pytest.approx(0.7479, abs=5e-5)
    assert teep(sums, 480 * MIN) == pytest.approx(0.6544, abs=5e-5)
    assert scrap_ratio(sums) == pytest.approx(423 / 19_271)


def test_oee_of_two_shifts_is_a_ratio_of_sums():
    """0.80 over 100 min and 0.45 over 300 min are 0.5375, not 0.625."""
    whole = Sums(apt_ms=400 * MIN, ideal_us=400 * MIN * 1000, ideal_good_us=(80 + 135) * MIN * 1000)
    assert oee(whole).oee == pytest.approx(0.5375)


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        (Sums(), "no_states"),
        (Sums(scheduled_ms=MIN, planned_down_ms=MIN), "no_plan"),
        (Sums(scheduled_ms=MIN, unknown_ms=MIN), "unknown_state"),
        (Sums(apt_ms=MIN, produced=5, good=5, unrated=5), "no_ideal_cycle"),
    ],
)
def test_no_figure_has_a_reason_and_is_never_zero(sums: Sums, reason: str):
    assert (oee(sums).oee, oee(sums).reason) == (None, reason)


def test_planned_time_in_which_nothing_was_made_is_a_true_zero():
    figures = oee(Sums(scheduled_ms=MIN, down_ms=MIN))
    assert (figures.oee, figures.availability, figures.effectiveness, figures.quality_ratio) == (0.0, 0.0, None, None)
    assert figures.reason is None


def test_an_impossible_effectiveness_is_kept_and_flagged():
    figures = oee(Sums(apt_ms=1000, produced=3, good=3, ideal_us=3_000_000, ideal_good_us=3_000_000))
    assert figures.effectiveness == pytest.approx(3.0)
    assert figures.implausible
