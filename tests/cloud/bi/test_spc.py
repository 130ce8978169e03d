"""Charts of what was measured: the right kind, honest limits, signals where there are any, and capability by hand."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from cloud.bi.spc import Frozen, Measured, capable, measured_chart, proportion_chart
from models.spc import Limits

S = 1_000_000_000


def singles(values: list[float], low: float | None = None, high: float | None = None) -> list[Measured]:
    return [Measured(at=i * S, value=value, low=low, high=high) for i, value in enumerate(values)]


def samples(groups: list[list[float]]) -> list[Measured]:
    return [
        Measured(at=(10 * i + k) * S, value=value, sample=f"S{i}")
        for i, group in enumerate(groups)
        for k, value in enumerate(group)
    ]


def test_single_values_are_individuals_with_moving_ranges() -> None:
    draw = random.Random(1)
    values = [draw.gauss(10, 1) for _ in range(60)]
    chart = measured_chart(singles(values), "usual")
    assert (chart.kind, chart.source, chart.used + chart.excluded) == ("individuals", "computed", 30)
    assert chart.limits is not None
    base = values[:30]
    moved = statistics.fmean(abs(a - b) for a, b in itertools.pairwise(base))
    assert chart.limits.sigma == pytest.approx(moved / 1.128379, rel=1e-4)
    assert chart.points[5].spread == pytest.approx(abs(values[5] - values[4]))
    assert chart.points[0].spread is None


def test_values_of_one_sample_are_a_subgroup_and_a_later_shift_signals() -> None:
    draw = random.Random(2)
    calm = [[draw.gauss(500, 1) for _ in range(5)] for _ in range(40)]
    shifted = [[draw.gauss(502, 1) for _ in range(5)] for _ in range(20)]
    chart = measured_chart(samples(calm + shifted), "usual")
    assert chart.kind == "xbar"
    assert len(chart.points) == 60
    assert chart.points[0].value == pytest.approx(statistics.fmean(calm[0]))
    assert chart.points[0].spread == pytest.approx(statistics.stdev(calm[0]))
    assert chart.limits is not None
    assert chart.limits.center == pytest.approx(500, abs=0.4)  # the shift is not in its own limits
    signalled = [number for number, point in enumerate(chart.points) if point.signals]
    assert set(range(42, 60)) <= set(signalled)
    assert any(signal.rule == "nelson_1" for signal in chart.points[45].signals)


def test_frozen_limits_hold_where_the_rules_have_some_of_this_kind() -> None:
    frozen = Frozen(limits=Limits(kind="individuals", center=10, sigma=2), ruleset="filler", version="2026-11")
    chart = measured_chart(singles([10.0, 17.0]), "usual", frozen)
    assert (chart.source, chart.ruleset, chart.version) == ("frozen", "filler", "2026-11")
    assert [bool(point.signals) for point in chart.points] == [False, True]
    assert (chart.points[0].lower, chart.points[0].upper) == (4, 16)
    other = measured_chart(samples([[1.0, 2.0]] * 3), "usual", frozen)  # means are no individuals
    assert (other.source, other.limits) == ("none", None)


def test_too_few_points_have_no_limits_and_say_so() -> None:
    chart = measured_chart(singles([1.0, 2.0, 3.0]), "nelson")
    assert (chart.source, chart.limits) == ("none", None)
    assert chart.why
    assert all(point.lower is None and not point.signals for point in chart.points)
    assert measured_chart([], "usual").points == ()


def test_proportions_have_limits_of_their_own_size() -> None:
    draw = random.Random(3)
    counted = [(i * S, sum(draw.random() < 0.05 for _ in range(200)), 200) for i in range(30)]
    counted += [(30 * S, 12, 50), (31 * S, 0, 0)]
    chart = proportion_chart(counted, "usual")
    assert len(chart.points) == 31  # nothing inspected is no point
    assert chart.points[-1].signals
    assert (chart.points[-1].upper or 0) > (chart.points[0].upper or 0)
    assert chart.points[-1].counted == 12
    thousands = [(i * S, round(9_000 * draw.uniform(0.01, 0.03)), 9_000) for i in range(30)]
    laney = proportion_chart(thousands, "usual").limits
    assert laney is not None
    assert laney.sigma_z > 2


def test_capability_is_over_the_newest_specification() -> None:
    draw = random.Random(4)
    old = singles([draw.gauss(50, 1) for _ in range(50)], 40, 60)
    new = [Measured(at=(100 + i) * S, value=draw.gauss(10, 1), low=7, high=13) for i in range(200)]
    able, specification, why = capable([*old, *new])
    assert why == ""
    assert specification is not None
    assert (specification.lower, specification.upper) == (7, 13)
    assert able is not None
    assert able.count == 200
    assert able.cp is not None
    assert able.cp.value == pytest.approx(1.0, abs=0.15)
    assert able.cpk.low < able.cpk.value < able.cpk.high


def test_without_a_specification_or_with_few_values_there_is_a_reason_and_no_index() -> None:
    assert capable(singles([1.0, 2.0])) == (None, None, "no_specification")
    able, _, why = capable(singles([1.0, 2.0, 1.5], 0, 3))
    assert able is None
    assert "30" in why
