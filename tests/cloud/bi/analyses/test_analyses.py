"""Every analysis on a small plant: what it finds, what it refuses, and that its sentences say nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

import pytest

from cloud.bi.analyses.run import analyse
from cloud.bi.semantic.plan import Edit, Filter, Period, Plan
from tests.cloud.bi.analyses.plant import Aim, Fact, Plant, PlantError, days, grid, shift_of
from tests.cloud.bi.analyses.truth import sound, unfounded

LAST = date(2026, 11, 22)


def period(count: int) -> Period:
    return Period(first=days(count)[0], last=LAST)


def ask(plant: Plant, analysis: str, metric: str | tuple[str, ...], **more: Any):
    metrics = (metric,) if isinstance(metric, str) else metric
    plan = Plan.model_validate({"analysis": analysis, "metrics": metrics, "period": period(14), **more})
    return sound(analyse(plan, plant, "en"), [text for name in plant.names.values() for text in name.values()])


def story(day: date, shift: str, line: str, product: str, *, since: date | None = None) -> dict[str, int]:
    """The planted story: LINE-A makes PROD-X badly (since a day), shift C is bad everywhere, the rest is well."""
    rng = Random(f"{day}{shift}{line}{product}")
    bad = (line, product) == ("LINE-A", "PROD-X") and (since is None or day >= since)
    share = rng.uniform(0.07, 0.10) if bad else rng.uniform(0.04, 0.06) if shift == "C" else rng.uniform(0.01, 0.03)
    pieces = rng.randint(280, 320)
    return shift_of(minutes=160, pieces=pieces, bad=round(pieces * share), down=rng.randint(5, 20), setup=5)


STORY = {"lines": ("LINE-A", "LINE-B", "LINE-C"), "products": ("PROD-W", "PROD-X", "PROD-Z")}


# --- the scenarios of the specification


def test_lines_are_ranked_by_defects_and_the_cause_is_named():
    """Scenario 43: LINE-A first; the cause is PROD-X, and shift C."""
    plant = Plant(grid(story, count=28, **STORY))
    ranked = ask(plant, "RANK", "scrap_ratio", dimensions=("line",))
    assert ranked.rows[0][:2] == (1, "LINE-A")
    assert ranked.findings["not_distinguishable_from_first"] == []
    cause = ask(plant, "FIND_CAUSE", "scrap_ratio")
    standing = [(one["dimensions"], one["keys"]) for one in cause.findings["standing_out"]]
    assert standing[:2] == [(("line", "product"), ("LINE-A", "PROD-X")), (("shift",), ("C",))]
    assert "LINE-A · PROD-X" in " ".join(cause.sentences["en"])
    assert any(one.line == "LINE-A" for one in cause.drill)


def test_a_story_that_began_this_week_explains_the_change():
    since = LAST - timedelta(days=13)
    plant = Plant(grid(lambda *a: story(*a, since=since), count=28, **STORY))
    found = ask(plant, "FIND_CAUSE", "scrap_ratio")
    assert found.findings["explains_most"] == "line×product"
    top = found.findings["views"]["line×product"]["parts"][0]
    assert top["keys"] == ("LINE-A", "PROD-X")
    assert top["share"] > 0.7
    assert top["rate"] > abs(top["mix"])
    for view in found.findings["views"].values():
        assert view["sum"] == pytest.approx(found.findings["change"], abs=1e-12)
    assert "PROD-X" in found.sentences["ko"][1]


def test_oee_that_fell_is_taken_apart_by_loss_and_reason():
    since = LAST - timedelta(days=6)

    def measure(day: date, *_: str) -> dict[str, int]:
        return shift_of(down=90 if day >= since else 20, pieces=1000 if day >= since else 1200)

    facts = grid(measure, count=14)
    facts += [
        Fact(day=fact.day, shift=fact.shift, of="stop", keys={"time_element": "down", "stop_reason": why}, measures={"duration_ms": ms * 60_000, "stops": 1})
        for fact in facts
        for why, ms in (("jam", 80 if fact.day >= since else 10), ("film_roll", 10))
    ]  # fmt: skip
    names = {("stop_reason", "jam"): {"ko": "걸림", "en": "Jam"}}
    found = ask(Plant(facts, names=names), "FIND_CAUSE", "oee", period=Period(first=since, last=LAST))
    parts = {part["keys"]: part["total"] for part in found.findings["views"]["stop_reason"]["parts"]}
    assert sum(parts.values()) == pytest.approx(found.findings["change"], abs=1e-12)
    assert parts["down", "jam"] == pytest.approx(-70 / 480)
    assert ("down", "film_roll") not in parts or parts["down", "film_roll"] == 0
    assert ("down", "*") not in parts or parts["down", "*"] == 0
    assert "Down (Jam)" in " ".join(found.sentences["en"])
    assert "고장·정지 (걸림)" in " ".join(found.sentences["ko"])


def test_kinds_of_defects_and_what_has_none_sum_to_the_change():
    facts = grid(lambda d, *_: shift_of(bad=40 if d > LAST - timedelta(days=14) else 20), count=28, shifts=("A",))
    facts += [
        Fact(day=f.day, of="defect", keys={"defect": kind}, measures={"defects": n})
        for f in facts
        for kind, n in (("crack", f.measures["scrap"] - 15), ("scratch", 5))
    ]
    found = ask(Plant(facts), "FIND_CAUSE", "scrap_ratio")
    parts = {part["keys"]: part["total"] for part in found.findings["views"]["defect"]["parts"]}
    assert parts == pytest.approx({("crack",): 0.02, ("scratch",): 0.0, ("",): 0.0})


def test_a_forecast_of_a_constant_and_of_a_line_and_too_short_a_history():
    """Scenario 47."""
    constant = ask(Plant(grid(lambda *_: shift_of(), count=28)), "PREDICT", "oee", period=period(28))
    assert constant.findings["method"] == "constant"
    first = constant.rows[28]
    assert first[2:] == pytest.approx((first[2],) * 5)
    assert first[2] == pytest.approx(980 * 20 / 28_800)
    rising = ask(
        Plant(grid(lambda d, *_: shift_of(pieces=100 + 10 * (LAST - d).days), count=28, shifts=("A",))),
        "PREDICT", "produced", period=period(28), horizon=3,
    )  # fmt: skip
    assert [row[2] for row in rising.rows[-3:]] == pytest.approx([90, 80, 70])
    assert rising.findings["r_squared"] == pytest.approx(1.0)
    assert rising.refused is None
    short = ask(Plant(grid(lambda *_: shift_of(), count=6)), "PREDICT", "oee", period=period(6))
    assert (short.refused, short.rows) == ("not_enough_history", ())
    assert short.drill[0].plan is not None
    assert short.drill[0].plan["period"] == {"relative": "last_90_days"}


def test_what_cannot_be_beaten_is_shown_under_its_name():
    week = [300, 310, 305, 320, 290, 40, 20]
    found = ask(Plant(grid(lambda d, *_: shift_of(pieces=week[d.weekday()]), count=35, shifts=("A",))), "PREDICT", "produced", period=period(35))  # fmt: skip
    assert found.refused == "worse_than_naive"
    assert found.findings["method"] == "seasonal_naive"
    assert [row[2] for row in found.rows[-7:]] == [week[(LAST + timedelta(days=n)).weekday()] for n in range(1, 8)]


def test_days_off_are_no_steps_and_the_running_day_is_left_out():
    facts = [f for f in grid(lambda d, *_: shift_of(pieces=500 + d.day), count=36, last=date(2026, 11, 23)) if f.day.weekday() < 5 and f.day != date(2026, 11, 11)]  # fmt: skip
    found = ask(
        Plant(facts), "PREDICT", "produced", period=Period(first=days(36)[1], last=date(2026, 11, 23)), horizon=6
    )
    assert found.findings["season"] == 5
    assert found.findings["filled"] == 1
    ahead = [row[0] for row in found.rows[-6:]]
    assert ahead == ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27", "2026-11-30"]


# --- COMPARE


def test_a_week_with_a_holiday_is_compared_per_planned_hour():
    holiday = LAST - timedelta(days=3)
    facts = [fact for fact in grid(lambda *_: shift_of(pieces=1000), count=14) if fact.day != holiday]
    found = ask(Plant(facts), "COMPARE", "produced", period=period(7))
    assert found.findings["equal_planned_time"] is False
    assert found.findings["percent"] == pytest.approx(0.0)
    assert found.findings["hours"] == {"then": 168.0, "now": 144.0}
    assert "per planned hour" in " ".join(found.sentences["en"])
    assert found.findings["delta"] == -3000


def test_a_difference_within_what_shifts_vary_by_is_said_to_be_that():
    rng = Random(5)
    noisy = Plant(grid(lambda *_: shift_of(pieces=rng.randint(800, 1200)), count=14))
    usual = ask(noisy, "COMPARE", "oee", period=period(7))
    assert usual.findings["significant"] is False
    assert "usually differ" in usual.sentences["en"][-1]
    since = LAST - timedelta(days=6)
    fallen = Plant(
        grid(
            lambda d, *_: shift_of(pieces=rng.randint(950, 1050) - (300 if d >= since else 0)),
            count=14,
            lines=("L1", "L2"),
        )
    )
    found = ask(fallen, "COMPARE", "oee", period=period(7), dimensions=("line",))
    assert found.findings["significant"] is True
    assert {row[0] for row in found.rows} == {"L1", "L2"}


def test_two_groups_are_held_against_each_other():
    rng = Random(5)
    plant = Plant(grid(lambda d, s, line, p: shift_of(pieces=rng.randint(950, 1050), bad=100 if line == "L2" else 10), count=14, lines=("L1", "L2", "L3")))  # fmt: skip
    found = ask(
        plant, "COMPARE", "scrap_ratio", dimensions=("line",), filters=(Filter(dimension="line", values=("L2", "L1")),)
    )
    assert [row[0] for row in found.rows] == ["L2", "L1"]
    assert found.findings["significant"] is True
    assert found.findings["delta"] == pytest.approx(0.09, abs=0.005)


def test_a_period_without_figures_is_not_compared():
    found = ask(Plant(grid(lambda *_: shift_of(), count=7)), "COMPARE", "oee", period=period(7))
    assert found.refused == "no_data"
    empty = ask(Plant([]), "COMPARE", "oee")
    assert empty.refused == "no_data"


# --- RANK


def test_equal_figures_share_a_rank_and_small_samples_stand_apart():
    facts = grid(lambda d, s, line, p: shift_of(bad={"L1": 10, "L2": 30, "L3": 30, "L4": 5}[line]), count=14, lines=("L1", "L2", "L3", "L4"))  # fmt: skip
    facts = [fact for fact in facts if fact.line != "L4" or fact.day == LAST]
    found = ask(Plant(facts), "RANK", "scrap_ratio", dimensions=("line",))
    assert [(row[0], row[1]) for row in found.rows] == [(1, "L2"), (1, "L3"), (3, "L1"), (None, "L4")]
    assert found.rows[-1][-1] == "too_few_shifts"
    assert found.findings["ties"] == 2
    best = ask(Plant(facts), "RANK", "scrap_ratio", dimensions=("line",), order="best")
    assert best.rows[0][1] == "L1"


def test_ranks_do_not_depend_on_the_order_of_the_rows():
    facts = grid(story, count=14, **STORY)
    mixed = list(facts)
    Random(3).shuffle(mixed)
    plans = [ask(Plant(one), "RANK", "scrap_ratio", dimensions=("line", "product")) for one in (facts, mixed)]
    assert (
        plans[0].rows == pytest.approx(plans[1].rows)
        if False
        else [r[:3] for r in plans[0].rows] == [r[:3] for r in plans[1].rows]
    )


def test_what_cannot_be_told_apart_is_said():
    rng = Random(1)
    found = ask(
        Plant(grid(lambda *_: shift_of(pieces=rng.randint(700, 1300)), count=10, lines=("L1", "L2", "L3"))),
        "RANK",
        "oee",
    )
    assert len(found.findings["not_distinguishable_from_first"]) == 2
    assert all(row[7:9] == (1, 3) for row in found.rows)
    assert "cannot be told apart" in " ".join(found.sentences["en"])


def test_sums_are_counted_and_have_no_interval():
    found = ask(Plant(grid(lambda d, s, line, p: shift_of(pieces=1000 if line == "L1" else 900), count=3, lines=("L1", "L2"))), "RANK", "produced", order="most")  # fmt: skip
    assert [row[:6] for row in found.rows] == [(1, "L1", 9000.0, None, None, None), (2, "L2", 8100.0, None, None, None)]


def test_nothing_is_ranked_below_the_minimum_sample():
    found = ask(Plant(grid(lambda *_: shift_of(), count=1)), "RANK", "oee")
    assert found.refused == "insufficient_data"
    assert found.findings["minimum"]["shifts"] == 5


# --- CHECK, TREND, CORRELATE, DETECT_ANOMALY


@pytest.mark.parametrize(("pieces", "level"), [(1400, "met"), (1200, "below"), (1000, "warning"), (800, "critical")])
def test_a_figure_is_held_against_its_target(pieces: int, level: str):
    plant = Plant(grid(lambda *_: shift_of(pieces=pieces), count=7), targets={("oee", None): Aim(0.9, 0.8, 0.65)})
    found = ask(plant, "CHECK", "oee", period=period(7))
    assert found.findings["levels"] == {"oee": level}
    by_line = ask(plant, "CHECK", "oee", period=period(7), dimensions=("line",))
    assert by_line.findings["levels"][level] == 1


def test_a_lower_figure_can_be_the_better_one_and_no_target_is_said():
    plant = Plant(grid(lambda *_: shift_of(bad=60), count=7), targets={("scrap_ratio", None): Aim(0.02, 0.03, 0.05)})
    assert ask(plant, "CHECK", ("scrap_ratio", "oee")).findings["levels"] == {
        "scrap_ratio": "critical",
        "oee": "no_target",
    }
    nothing = ask(Plant([]), "CHECK", "oee")
    assert nothing.findings["levels"] == {"oee": "no_figure"}
    assert "no data" in nothing.sentences["en"][0]


def test_without_a_target_nothing_is_on_target_and_where_to_set_one_is_said():
    """A metric nobody set a target of was "0 on target"."""
    plant = Plant(grid(lambda *_: shift_of(), count=7), targets={("downtime", None): Aim(60_000, 120_000, 180_000)})
    for found in (ask(plant, "CHECK", "oee"), ask(plant, "CHECK", "oee", dimensions=("line",))):
        assert 'no target is set; set one in cloud.toml: [[site.target]], kpi = "oee"' in found.sentences["en"][0]
        assert "on target" not in found.sentences["en"][0]
        assert '설정된 목표가 없습니다. cloud.toml의 [[site.target]]에 kpi = "oee"' in found.sentences["ko"][0]
        assert "목표 달성" not in found.sentences["ko"][0]
    assert "none can be set" in ask(plant, "CHECK", "planned_busy_time").sentences["en"][0]
    assert "of one line and one day" in ask(plant, "CHECK", "downtime", period=period(7)).sentences["en"][0]
    one = Plant(grid(lambda *_: shift_of(), count=7), targets={("oee", grid(lambda *_: shift_of(), count=1)[0].line): Aim(0.1, 0.08, 0.05)})  # fmt: skip
    assert ask(one, "CHECK", "oee", dimensions=("line",)).findings["levels"]["met"] == 1


def test_a_trend_is_told_where_there_is_one():
    rng = Random(2)
    rising = Plant(grid(lambda d, *_: shift_of(pieces=800 + 15 * (d.toordinal() % 30) + rng.randint(-20, 20)), count=14, last=date(2026, 11, 17)))  # fmt: skip
    span = Period(first=date(2026, 11, 4), last=date(2026, 11, 17))
    found = ask(rising, "TREND", "oee", period=span)
    assert found.findings["direction"] in {"up", "down"}
    flat = ask(Plant(grid(lambda *_: shift_of(pieces=rng.randint(990, 1010)), count=14)), "TREND", "oee")
    assert flat.findings["direction"] == "none"
    few = ask(Plant(grid(lambda *_: shift_of(), count=3)), "TREND", "oee", period=period(3), grain="day")
    assert few.findings["direction"] is None
    by_line = ask(rising, "TREND", "oee", period=span, dimensions=("line",))
    assert by_line.findings["count"] == 1


def test_the_moving_average_is_a_ratio_of_sums():
    """One piece, all bad, and 9,999 good ones the day after: 0.01 %, where a mean of ratios says 50 % (F2)."""
    facts = [
        Fact(day=LAST - timedelta(days=1), measures=shift_of(pieces=1, bad=1)),
        Fact(day=LAST, measures=shift_of(pieces=9999, bad=0)),
    ]
    found = ask(Plant(facts), "TREND", "scrap_ratio", period=period(2), grain="day")
    assert found.rows[-1][2] == pytest.approx(1e-4)


def test_figures_that_move_together_some_days_later_are_found():
    rng = Random(8)
    down = {day: rng.randint(10, 120) for day in days(40)}
    plant = Plant(grid(lambda d, *_: shift_of(down=down[d], bad=10 + down.get(d - timedelta(days=2), 60) // 2), count=40, shifts=("A",)))  # fmt: skip
    found = ask(plant, "CORRELATE", ("downtime", "scrap_ratio"), period=period(40), grain="day")
    best = found.findings["strongest"]
    assert (best["lag"], best["significant"]) == (2, True)
    assert best["pearson"] > 0.95
    assert len(found.rows) == 4
    noise = ask(Plant(grid(lambda *_: shift_of(down=rng.randint(10, 90), bad=rng.randint(5, 40)), count=40, shifts=("A",))), "CORRELATE", ("downtime", "scrap_ratio"), period=period(40), grain="day")  # fmt: skip
    assert noise.findings["strongest"]["significant"] is False


@pytest.mark.parametrize(
    ("metrics", "count", "code"),
    [
        (("oee",), 40, "needs_two_metrics"),
        (("oee", "scrap"), 8, "insufficient_data"),
        (("oee", "scrap"), 40, "no_variation"),
    ],
)
def test_a_correlation_that_cannot_be_is_refused(metrics: tuple[str, ...], count: int, code: str):
    found = ask(
        Plant(grid(lambda *_: shift_of(), count=count)), "CORRELATE", metrics, period=period(count), grain="day"
    )
    assert found.refused == code


@pytest.mark.parametrize("metric", ["scrap_ratio", "oee", "produced"])
def test_the_day_that_does_not_belong_is_found(metric: str):
    rng = Random(4)
    odd = LAST - timedelta(days=4)

    def measure(day: date, *_: str) -> dict[str, int]:
        bad = sum(rng.random() < (0.08 if day == odd else 0.02) for _ in range(800))
        return shift_of(pieces=rng.randint(980, 1020) - (300 if day == odd else 0), bad=bad)

    found = ask(Plant(grid(measure, count=40, shifts=("A",))), "DETECT_ANOMALY", metric, period=period(40), grain="day")
    assert str(odd) in [one["at"] for one in found.findings["anomalies"]]
    assert found.findings["count"] <= 5
    row = next(row for row in found.rows if row[0] == str(odd))
    assert not row[2] <= row[1] <= row[3]


def test_half_a_shift_is_no_anomaly():
    rng = Random(6)
    half = LAST - timedelta(days=4)

    def measure(day: date, *_: str) -> dict[str, int]:
        pieces = rng.randint(980, 1020)
        return shift_of(minutes=240, down=15, pieces=pieces // 2) if day == half else shift_of(pieces=pieces)

    found = ask(
        Plant(grid(measure, count=30, shifts=("A",))), "DETECT_ANOMALY", "produced", period=period(30), grain="day"
    )
    assert found.findings["per_planned_hour"] is True
    assert str(half) not in [one["at"] for one in found.findings["anomalies"]]


def test_a_chart_needs_points_and_variation():
    assert (
        ask(Plant(grid(lambda *_: shift_of(), count=5)), "DETECT_ANOMALY", "oee", grain="day").refused
        == "not_enough_history"
    )
    assert ask(Plant(grid(lambda *_: shift_of(), count=30)), "DETECT_ANOMALY", "oee", period=period(30), grain="day").refused == "no_variation"  # fmt: skip


# --- what holds for all


ALL = ("CHECK", "TREND", "COMPARE", "RANK", "FIND_CAUSE", "DETECT_ANOMALY", "PREDICT")


@pytest.mark.parametrize("analysis", ALL)
@pytest.mark.parametrize("metric", ["oee", "scrap_ratio", "produced", "mtbf", "throughput", "planned_busy_time"])
def test_every_answer_is_sound_on_a_plant_with_holes(analysis: str, metric: str):
    facts = [fact for place, fact in enumerate(grid(story, count=35, **STORY)) if place % 7]
    one = ask(
        Plant(facts),
        analysis,
        metric,
        period=period(17),
        filters=(Filter(dimension="shift", op="not_in", values=("B",)),),
    )
    assert one.columns or one.refused


@pytest.mark.parametrize("analysis", ALL)
def test_nothing_at_all_is_an_answer_too(analysis: str):
    found = ask(Plant([]), analysis, "oee")
    assert found.refused or "no data" in found.sentences["en"][0]


@pytest.mark.parametrize("analysis", ALL)
def test_an_unknown_name_is_the_looks_to_refuse(analysis: str):
    with pytest.raises(PlantError):
        analyse(Plan(analysis=analysis, metrics=("nonsense",), period=period(7)), Plant([]))


def test_a_number_from_nowhere_is_found_out():
    """The test of the tests: a sentence with a number that no row holds is caught."""
    found = ask(Plant(grid(lambda *_: shift_of(), count=14)), "CHECK", "oee")
    lying = type(found)(
        columns=found.columns, rows=found.rows, findings=found.findings, sentences={"en": ("OEE: 71.3%.",)}
    )
    assert unfounded(lying) == [("71.3", "OEE: 71.3%.")]


def test_an_edit_is_not_forgotten_by_a_drill_down():
    plant = Plant(grid(lambda *_: shift_of(), count=14))
    found = ask(plant, "WHAT_IF", "oee", edits=(Edit(what="scrap", points=-1),))
    for drill in found.drill:
        assert drill.plan is None or Plan.model_validate(drill.plan).analysis in {"RANK", "TREND"}
