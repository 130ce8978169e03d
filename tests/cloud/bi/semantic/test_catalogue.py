from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from cloud.bi import kpi
from cloud.bi.semantic.book import book
from cloud.bi.semantic.catalogue import ALIASES, METRICS, metric
from cloud.bi.semantic.dimensions import DIMENSIONS, dimension
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.metrics import Additive, Metric, Ratio
from cloud.bi.semantic.stars import MARTS, UNIT_OF
from cloud.bi.semantic.units import UnitError, factor, same, unit


def made(what: Any, unit_of: str) -> Metric:
    return Metric(id="x", what=what, unit=unit_of, better=None, source="test")


def test_seconds_and_pieces_do_not_add_up() -> None:
    with pytest.raises(UnitError, match="produced is in pieces and apt_ms in ms"):
        made(Additive(("produced", "apt_ms")), "pieces")
    with pytest.raises(UnitError, match="ideal_us is in us and apt_ms in ms"):
        made(Additive(("ideal_us", "apt_ms")), "s")


@pytest.mark.parametrize(
    ("what", "unit_of"),
    [
        (Additive(("produced",)), "s"),
        (Ratio(Additive(("produced",)), Additive(("apt_ms",))), "1"),
        (Ratio(Additive(("apt_ms",)), Additive(("produced",))), "pieces/h"),
        (Ratio(Additive(("energy_wh",)), Additive(("apt_ms",))), "Wh"),
    ],
)
def test_a_unit_that_the_parts_do_not_come_to_is_refused(what: Any, unit_of: str) -> None:
    with pytest.raises(UnitError, match="cannot be told in"):
        made(what, unit_of)


def test_an_average_of_ratios_cannot_be_written_down() -> None:
    oee = METRICS["oee"].what
    with pytest.raises(TypeError, match="never of ratios"):
        Ratio(oee, Additive(("produced",)))  # pyright: ignore[reportArgumentType]


def test_units_convert_exactly() -> None:
    assert factor(unit("us") / unit("ms"), "1") == Fraction(1, 1000)
    assert factor(unit("pieces") / unit("ms"), "pieces/h") == 3_600_000
    assert factor(same({"a": "ms", "b": "ms"}), "h") == Fraction(1, 3_600_000)
    with pytest.raises(UnitError, match="there is no unit"):
        unit("furlong")


def test_the_catalogue_is_whole() -> None:
    wanted = [
        "produced",
        "good",
        "scrap",
        "rework",
        "defects",
        "planned",
        "oee",
        "availability",
        "effectiveness",
        "quality_ratio",
        "teep",
        "first_pass_yield",
        "defect_rate",
        "scrap_ratio",
        "rework_ratio",
        "planned_busy_time",
        "production_time",
        "setup_time",
        "delay_time",
        "downtime",
        "planned_downtime",
        "unknown_time",
        "calendar_time",
        "stops",
        "stop_time",
        "failures",
        "mtbf",
        "mttr",
        "throughput",
        "schedule_attainment",
        "energy",
        "energy_per_piece",
        "inventory",
        "inventory_coverage",
        "judgments",
        "warnings",
        "criticals",
        "unknown_verdicts",
        "critical_ratio",
        "confidence",
        "measured",
        "quality_failed_ratio",
        "measured_mean",
    ]
    split = [
        "site",
        "area",
        "work_center",
        "line",
        "product",
        "order",
        "lot",
        "shift",
        "date",
        "week",
        "month",
        "weekday",
        "defect",
        "stop_reason",
        "time_element",
        "ruleset",
        "ruleset_version",
        "model",
        "material",
        "location",
        "characteristic",
    ]
    assert set(wanted) <= set(METRICS)
    assert set(split) == set(DIMENSIONS)
    for one in METRICS.values():
        for words in (one.title, one.description, one.formula):
            assert words["ko"], one.id
            assert words["en"], one.id
            assert words["en"].isascii() or "Σ" in words["en"] or "×" in words["en"], one.id
    hashes = [one.hash for one in METRICS.values()]
    assert len(set(hashes)) == len(hashes)
    held = {measure for mart in MARTS for measure in mart.measures}
    assert held <= set(UNIT_OF)
    assert all(set(one.measures) | set(one.watched) <= held for one in METRICS.values())
    assert set(ALIASES.values()) <= set(METRICS)
    assert not set(ALIASES) & set(METRICS)


def test_no_name_means_two_metrics() -> None:
    """Chat finds metrics by their names: a synonym of one is no name of another."""
    seen: dict[tuple[str, str], str] = {}
    for one in METRICS.values():
        for language in ("ko", "en"):
            for name in {one.title[language], *one.synonyms[language]}:
                known = seen.setdefault((language, name.casefold()), one.id)
                assert known == one.id, (name, known, one.id)


def test_a_definition_that_changes_has_another_hash() -> None:
    one = made(Ratio(Additive(("good",)), Additive(("produced",))), "1")
    other = made(Ratio(Additive(("scrap",)), Additive(("produced",))), "1")
    guarded = Metric(id="x", what=one.what, unit="1", better=None, source="test", guards=("rated",))
    assert len({one.hash, other.hash, guarded.hash}) == 3
    assert one.hash == made(one.what, "1").hash


def test_names_others_use_are_known_and_wrong_ones_get_the_nearest() -> None:
    assert metric("yield").id == "first_pass_yield"
    with pytest.raises(PlanError, match="did you mean 'oee'"):
        metric("oeee")
    with pytest.raises(PlanError, match="did you mean 'product'") as caught:
        dimension("prodct")
    assert (caught.value.code, caught.value.near) == ("ERR_BI_DATASET_NOT_FOUND", "product")


def test_a_mix_of_products_is_a_ratio_of_sums() -> None:
    """100 pieces at 60 s and 900 at 10 s in 300 minutes: 83.3 %, not the 194.4 % of averages (fault F3)."""
    sums = {"ideal_us": (100 * 60 + 900 * 10) * 1_000_000, "apt_ms": 300 * 60_000}
    assert METRICS["effectiveness"].cell(sums).value == pytest.approx(15 / 18)
    # A day of one bad piece beside 9,999 good days (fault F2).
    days = [{"scrap": 1, "produced": 1}, *[{"scrap": 0, "produced": 1_000}] * 9_999]
    total = {name: sum(day[name] for day in days) for name in ("scrap", "produced")}
    assert METRICS["scrap_ratio"].cell(total).value == 1 / 9_999_001


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        ({}, "no_states"),
        ({"scheduled_ms": 5, "calendar_ms": 5}, "no_plan"),
        ({"calendar_ms": 5}, "no_shift"),
        ({"scheduled_ms": 5, "unknown_ms": 5}, "unknown_state"),
        ({"scheduled_ms": 5, "apt_ms": 5, "unrated": 1}, "no_ideal_cycle"),
    ],
)
def test_no_data_is_null_with_a_reason_and_never_zero(sums: dict[str, int], reason: str) -> None:
    cell = METRICS["oee"].cell(sums)
    assert (cell.value, cell.reason) == (None, reason)
    figures = kpi.oee(kpi.sums_of(sums))
    assert figures.oee is None
    assert reason == "no_shift" or figures.reason == reason  # the hall says no_shift from the calendar


def test_nothing_made_in_planned_time_is_a_true_zero() -> None:
    cell = METRICS["oee"].cell({"scheduled_ms": 9, "apt_ms": 4, "down_ms": 5})
    assert (cell.value, cell.reason) == (0.0, None)
    assert METRICS["mtbf"].cell({"apt_ms": 5}).reason == "no_failures"
    assert METRICS["inventory_coverage"].cell({"quantity_micro": -1, "usage_micro": 5}).reason == "below_zero"
    assert METRICS["inventory_coverage"].cell({"quantity_micro": 5}).reason == "no_demand"
    assert METRICS["energy_per_piece"].cell({"produced": 5}).reason == "no_meter"
    assert METRICS["measured_mean"].cell({"valued": 5, "total_micro": 5}, units=2).reason == "mixed_units"
    assert METRICS["produced"].cell({}, known=False).reason == "no_data"


def test_the_book_says_what_each_metric_can_be_split_by() -> None:
    entries = {one["id"]: one for one in book()["metrics"]}
    assert "order" in entries["produced"]["dimensions"]
    assert "order" not in entries["oee"]["dimensions"]
    assert entries["inventory"]["grains"] == ["day", "week", "month"]
    assert entries["oee"]["unit"] == "1"
