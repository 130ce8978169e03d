from __future__ import annotations

import pytest

from cloud.bi import kpi
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
    """480 min shift, 60 min breaks, 47 min down, 1.0 s ideal, 19,271 made, 423 rejects.

    Vorne Industries, The Fast Guide to OEE, 2002-2008 ("Calculating OEE Worksheet": 88.81, 86.11, 97.80 and 74.79 %).
    """
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


WELDING = (
    *((5, 243), (0, 380), (10, 328), (5, 200), (0, 326)),
    *((10, 345), (10, 103), (5, 386), (5, 187)),
)
"""(min down, pieces) of nine shifts of 240 min with 20 min planned downtime, at 0.5 min a piece, none of them bad."""


def test_the_published_record_of_a_welding_cell():
    """97.5, 64.7, 100 and 63.1 % over all shifts; the best shift's performance 87.7 %.

    P. Willmott & D. McCarthy, TPM: A Route to World-Class Performance, Butterworth-Heinemann 2001, figure 5.3 and p. 82.
    """
    shifts = [
        Sums(
            scheduled_ms=240 * MIN, planned_down_ms=20 * MIN, down_ms=down * MIN, apt_ms=(220 - down) * MIN,
            produced=made, good=made, ideal_us=made * 30 * 10**6, ideal_good_us=made * 30 * 10**6,
        )
        for down, made in WELDING
    ]  # fmt: skip
    whole = oee(sum(shifts, Sums()))
    assert sum(one.produced for one in shifts) == 2_498
    assert whole.availability == pytest.approx(0.975, abs=5e-4)
    assert whole.effectiveness == pytest.approx(0.647, abs=5e-4)
    assert whole.quality_ratio == 1.0
    assert whole.oee == pytest.approx(0.631, abs=5e-4)
    assert oee(shifts[7]).oee == pytest.approx(0.877, abs=5e-4)  # "best of best": 386 pieces of 0.5 min in 220


def test_a_changeover_is_lost_availability_as_in_the_published_example():
    """910 min planned, 115 min of stops, 12 of changeover, 203 cycles of 3 min: 86.0 and 77.7 % (same book, p. 127)."""
    ideal = 203 * 180 * 10**6
    figures = oee(Sums(apt_ms=783 * MIN, down_ms=115 * MIN, setup_ms=12 * MIN, produced=203, good=203, ideal_us=ideal, ideal_good_us=ideal))  # fmt: skip
    assert figures.availability == pytest.approx(0.860, abs=1e-3)
    assert figures.effectiveness == pytest.approx(0.777, abs=1e-3)


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


DAY = Sums(
    calendar_ms=1_440 * MIN,
    scheduled_ms=480 * MIN,
    planned_down_ms=60 * MIN,
    down_ms=47 * MIN,
    apt_ms=373 * MIN,
    produced=19_271,
    good=18_848,
    scrap=400,
    rework=23,
    ideal_us=19_271 * 10**6,
    ideal_good_us=18_848 * 10**6,
    energy_wh=38_542,
    planned_micro=20_000 * 10**6,
    failures=3,
)
"""The same example of Vorne's Fast Guide to OEE, with the rest of its day, three failures, a meter and a plan."""


def test_the_other_figures_of_the_same_shift():
    assert kpi.ooe(DAY).value == pytest.approx(18_848 / (480 * 60))
    assert teep(DAY, DAY.calendar_ms) == pytest.approx(18_848 / 86_400)
    assert kpi.mtbf_ms(DAY).value == pytest.approx(373 * MIN / 3)
    assert kpi.mttr_ms(DAY).value == pytest.approx(47 * MIN / 3)
    assert kpi.rework_ratio(DAY).value == pytest.approx(23 / 19_271)
    assert kpi.throughput(DAY).value == pytest.approx(19_271 / 7)  # seven planned hours
    assert kpi.schedule_attainment(DAY).value == pytest.approx(0.96355)
    assert kpi.energy_per_piece(DAY).value == pytest.approx(2.0)
    assert kpi.allocation_efficiency(DAY).value == pytest.approx(373 / 420)
    assert kpi.utilisation_efficiency(DAY).value == kpi.technical_efficiency(DAY).value == 1.0


def test_every_time_element_is_charged_to_its_own_figures():
    """400 min produced, 60 set up, 90 waited, 30 down in five failures, 20 unseen: no two of them mean the same."""
    sums = Sums(apt_ms=400 * MIN, setup_ms=60 * MIN, delay_ms=90 * MIN, down_ms=30 * MIN, unknown_ms=20 * MIN, failures=5)  # fmt: skip
    assert kpi.mttr_ms(sums).value == 6 * MIN
    assert kpi.mtbf_ms(sums).value == 80 * MIN
    assert oee(sums).availability == pytest.approx(400 / 600)
    assert kpi.allocation_efficiency(sums).value == pytest.approx(550 / 600)
    assert kpi.utilisation_efficiency(sums).value == pytest.approx(400 / 550)
    assert kpi.technical_efficiency(sums).value == pytest.approx(400 / 490)
    assert kpi.setup_ratio(sums).value == pytest.approx(60 / 460)


def test_world_class_is_the_product_of_its_factors():
    """0.90 x 0.95 x 0.99 = 84.6 %: the levels of S. Nakajima, Introduction to TPM, 1988, whose product is said as "85"."""
    sums = Sums(apt_ms=900_000, down_ms=100_000, ideal_us=855_000_000, ideal_good_us=846_450_000)
    figures = oee(sums)
    assert (figures.availability, figures.effectiveness) == (0.9, 0.95)
    assert figures.quality_ratio == pytest.approx(0.99)
    assert figures.oee == pytest.approx(0.84645)


def test_setup_is_not_charged_to_net_equipment_effectiveness():
    """400 min planned, 300 producing, 60 setup, 40 down; effectiveness 0.9, quality 0.95: NEE = 0.9 x 0.9 x 0.95."""
    ideal = 270 * MIN * 1000
    sums = Sums(apt_ms=300 * MIN, setup_ms=60 * MIN, down_ms=40 * MIN, ideal_us=ideal, ideal_good_us=ideal * 95 // 100)
    assert kpi.nee(sums).value == pytest.approx(0.9 * 0.9 * 0.95)
    assert oee(sums).oee == pytest.approx(0.75 * 0.9 * 0.95)
    assert kpi.setup_ratio(sums).value == pytest.approx(60 / 360)
    assert kpi.nee(Sums(down_ms=MIN)).reason == "no_production"


def test_a_stock_lasts_as_long_as_its_usage_says():
    assert kpi.coverage_days(700_000_000, 500_000_000, 5).value == pytest.approx(7.0)
    assert kpi.coverage_days(700_000_000, 0, 5) == kpi.Figure(value=None, reason="no_demand")
    assert kpi.coverage_days(-1, 5, 5).reason == kpi.coverage_days(5, -1, 5).reason == "below_zero"


@pytest.mark.parametrize(
    ("figure", "reason"),
    [
        (kpi.mtbf_ms, "no_failures"),
        (kpi.mttr_ms, "no_failures"),
        (kpi.ooe, "no_plan"),
        (kpi.nee, "no_plan"),
        (kpi.throughput, "no_plan"),
        (kpi.rework_ratio, "no_pieces"),
        (kpi.schedule_attainment, "no_orders"),
        (kpi.energy_per_piece, "no_meter"),
    ],
)
def test_nothing_to_divide_by_is_a_reason(figure, reason):
    assert figure(Sums()) == kpi.Figure(value=None, reason=reason)
    unrated = Sums(apt_ms=MIN, produced=1, good=1, unrated=1)
    assert kpi.ooe(unrated).reason == kpi.nee(unrated).reason == "no_ideal_cycle"


def test_sums_add_up_and_are_read_by_name():
    assert kpi.sums_of({"apt_ms": 5, "good": 2, "judgments": 9}) == Sums(apt_ms=5, good=2)
    assert DAY + Sums(good=1) == kpi.sums_of({name: getattr(DAY, name) for name in kpi.MEASURES} | {"good": 18_849})
