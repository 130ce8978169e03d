"""Drift against an independent oracle (scipy), against its own promises, and against acceptance scenario 41."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.drift import Reference, binned, histogram, kolmogorov, ks_p, ks_p_of, psi
from models.drift_calibration import Plan, calibrated
from models.drift_window import Window
from models.package import read
from tests.models.package.specimens import LIBRARY

S = 1_000_000_000


def normal(n: int, seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


def reference(spacing_s: float = 10.0, **columns: np.ndarray) -> Reference:
    return Reference(
        spacing_s=spacing_s,
        alarms_per_month=1.0,
        features={name: histogram(column) for name, column in columns.items()},
        outputs={},
        labels={},
    )


def fed(window: Window, values: np.ndarray, begin: int = 0, name: str = "x", **how) -> Window:
    for i, value in enumerate(values):
        assert window.take(begin + (i + 1) * 10 * S, {name: None if np.isnan(value) else float(value)}, **how)
    return window


def test_psi_is_the_textbook_sum():
    # p = 50/50, q = 70/30: (0.7-0.5)·ln(0.7/0.5) + (0.3-0.5)·ln(0.3/0.5)
    assert psi([50, 50], [70, 30]) == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6), rel=1e-12)
    assert psi([50, 50], [5, 5]) == 0
    assert psi([100, 0], [100, 0]) == 0  # empty on both sides
    assert psi([100, 0], [0, 100]) == pytest.approx(2 * (1 - 1e-4) * np.log(1e4), rel=1e-12)


@given(
    st.lists(st.integers(0, 1000), min_size=3, max_size=11).filter(any),
    st.randoms(use_true_random=False),
)
def test_psi_is_zero_for_the_same_shares_and_never_negative_and_the_same_both_ways(counts, chance):
    other = counts[:]
    chance.shuffle(other)
    assert psi(counts, [3 * count for count in counts]) == pytest.approx(0, abs=1e-12)
    assert psi(counts, other) >= 0
    assert psi(counts, other) == pytest.approx(psi(other, counts))


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=200))
def test_a_histogram_holds_every_value_once(values):
    column = np.array(values)
    made = histogram(column)
    assert sum(made.counts) == made.n == len(values)
    assert made.counts[-1] == int(np.isnan(column).sum())
    assert list(binned(column, made.edges)) == list(made.counts)


def test_bins_hold_equal_shares_of_the_reference():
    made = histogram(normal(10_000, 1))
    assert len(made.edges) == 9
    assert all(abs(count - 1_000) <= 1 for count in made.counts[:-1])


def test_a_number_of_few_values_has_few_bins():
    made = histogram(np.array([0.0] * 90 + [1.0] * 10))
    assert sum(made.counts[:-1]) == 100
    assert psi(made.counts, binned(np.array([0.0] * 50 + [1.0] * 50), made.edges)) > 0.25


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 1.0])
def test_ks_p_is_scipys(seed, shift):
    a, b = normal(300, seed), normal(200, seed + 100, shift)
    expected = float(stats.ks_2samp(a, b, method="asymp").pvalue)
    assert ks_p(a, b) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("x", [0.3, 0.5, 0.8, 1.0, 1.36, 1.63, 2.5])
def test_the_kolmogorov_distribution_is_scipys(x):
    n = 1e12  # Stephens' correction vanishes
    assert kolmogorov(x / np.sqrt(n), n) == pytest.approx(float(stats.kstwobign.sf(x)), abs=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5, 2.0])
def test_ks_against_kept_quantiles_is_nearly_that_against_all_rows(shift):
    known, values = normal(20_000, 1), normal(400, 2, shift)
    expected = float(stats.ks_2samp(known, values, method="asymp").pvalue)
    assert ks_p_of(histogram(known), values) == pytest.approx(expected, abs=0.12)


def test_ks_with_ties_does_not_invent_a_difference():
    chance = np.random.default_rng(4)
    known, values = chance.choice([0.0, 1.0, 2.0], 5_000), chance.choice([0.0, 1.0, 2.0], 300)
    assert ks_p_of(histogram(known), values) > 0.05
    assert ks_p_of(histogram(known), chance.choice([0.0, 2.0], 300)) < 1e-6


@pytest.mark.parametrize("n", [500, 1_000])
@pytest.mark.parametrize("seed", range(5))
def test_scenario_41_two_deviations_alarm_and_unshifted_data_stay_quiet(n, seed):
    """spec/16 no. 41: mean + 2σ raises PSI above 0.25, unshifted data stay below 0.10."""
    known = reference(x=normal(5_000, 50))
    still = fed(Window(known, most=n), normal(n, seed)).peek()
    moved = fed(Window(known, most=n), normal(n, seed, 2.0)).peek()
    assert still is not None
    assert moved is not None
    assert still.psi["x"] < 0.10
    assert still.levels == {}
    assert moved.psi["x"] > 0.25
    assert moved.levels == {"x": "critical"}
    assert moved.ks_p["x"] < 0.01
    assert moved.shift["x"] == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(
    ("package", "feature"),
    [("fill_quality", "product_temperature"), ("filler_anomaly", "cap_torque"), ("filler_anomaly", "weight_error")],
)
def test_scenario_41_holds_for_what_is_shipped(package, feature):
    known = read(LIBRARY / package / f"{package}.tfm", trusted=None).reference
    one = known.features[feature]
    chance = np.random.default_rng(2)
    drawn = np.interp(chance.random(1_000), np.linspace(0, 1, 201), one.quantiles)
    at = 0
    for shift, expected in ((0.0, "ok"), (2 * one.sd, "critical")):
        window = Window(known)
        for _ in range(2):
            for value in drawn:
                at += round(known.spacing_s * S)
                others = {name: h.quantiles[chance.integers(0, 201)] for name, h in known.features.items()}
                window.take(at, others | {feature: float(value + shift)}, outputs={})
            assert window.ready
            found = window.close()
        assert found is not None
        assert found.psi[feature] < 0.10 if shift == 0 else found.psi[feature] > 0.25
        assert found.levels.get(feature, "ok") == expected
        assert (feature in found.alarmed) == (shift != 0)


def test_nothing_is_said_on_too_few_samples():
    window = fed(Window(reference(x=normal(1_000, 1))), normal(199, 2, 9.0))
    assert window.peek() is None
    assert window.close() is None
    assert window.samples == 199
    fed(window, normal(1, 3, 9.0), begin=10_000 * S)
    assert window.peek() is not None


def test_an_alarm_is_two_windows_in_a_row():
    window = Window(reference(x=normal(5_000, 1)), least=200, most=200)
    levels = []
    for i, shift in enumerate([0, 3, 0, 3, 3, 3, 0]):
        drift = fed(window, normal(200, i, shift), begin=i * 3_000 * S).close()
        assert drift is not None
        levels.append((drift.level, drift.alarmed))
    quiet, alarm = ("ok", ()), ("critical", ("x",))
    assert levels == [quiet, quiet, quiet, quiet, alarm, alarm, quiet]


def test_peeking_changes_nothing():
    window = fed(Window(reference(x=normal(5_000, 1))), normal(250, 2, 3.0))
    before = window.dump()
    assert window.peek() == window.peek()
    assert window.dump() == before


def test_missing_values_and_values_out_of_range_are_drift_too():
    values = normal(400, 2)
    values[::3] = np.nan
    found = fed(Window(reference(x=normal(5_000, 1))), values).peek()
    assert found is not None
    assert found.missing["x"] == pytest.approx(1 / 3, abs=0.01)
    assert found.levels["x"] == "critical"
    far = fed(Window(reference(x=normal(5_000, 1))), normal(400, 3), outside=("x",)).peek()
    assert far is not None
    assert far.out_of_range["x"] == 1
    assert far.levels["x"] == "critical"
    gone = fed(Window(reference(x=normal(5_000, 1))), np.full(300, np.nan)).peek()
    assert gone is not None
    assert gone.shift == {}
    assert gone.ks_p["x"] == 1.0


def test_samples_are_thinned_to_the_spacing_and_time_never_goes_back():
    window = Window(reference(spacing_s=60, x=normal(1_000, 1)))
    taken = [window.take(at * S, {"x": 0.0}) for at in (60, 61, 119, 120, 100, 180)]
    assert taken == [True, False, False, True, False, True]


def test_a_full_window_lets_the_oldest_go_and_its_memory_is_bounded():
    window = Window(reference(x=normal(1_000, 1)), most=300)
    fed(window, np.arange(1_000.0))
    assert window.samples == 300
    assert window.ready
    assert len(window.dump()) < 300 * 18 + 200
    found = window.peek()
    assert found is not None
    assert found.start == 7_010 * S
    assert found.end == 10_000 * S


def test_a_day_with_enough_samples_is_a_window():
    window = Window(reference(x=normal(1_000, 1)))
    for hour in range(0, 23 * 60, 6):
        window.take(hour * 60 * S + 1, {"x": 0.0})
    assert not window.ready
    window.take(24 * 3600 * S + 1, {"x": 0.0})
    assert window.ready


def test_a_window_goes_on_after_a_restart_as_if_there_had_been_none():
    known = reference(x=normal(5_000, 1))
    whole = Window(known, most=200)
    fed(whole, normal(200, 1, 3)).close()
    fed(whole, normal(100, 2, 3), begin=5_000 * S)
    again = Window(known, most=200)
    again.restore(whole.dump())
    for window in (whole, again):
        fed(window, normal(100, 3, 3), begin=9_000 * S)
    assert again.dump() == whole.dump()
    first, second = whole.close(), again.close()
    assert first == second
    assert first is not None
    assert first.alarmed == ("x",)


def test_a_dump_of_another_model_or_a_damaged_one_is_refused():
    dumped = fed(Window(reference(x=normal(500, 1))), normal(10, 1)).dump()
    with pytest.raises(ValueError, match="another model"):
        Window(reference(y=normal(500, 1))).restore(dumped)
    for at in range(len(dumped)):
        try:
            Window(reference(x=normal(500, 1))).restore(dumped[:at])
        except ValueError:
            continue
        raise AssertionError(at)


@given(st.binary(max_size=200))
def test_no_bytes_crash_a_restore(data):
    window = Window(reference(x=np.arange(50.0)))
    try:
        window.restore(data)
    except ValueError:
        assert window.samples == 0


def test_calibrated_thresholds_keep_the_alarms_that_were_agreed():
    """Shifts with a level of their own: a fixed 0.25 alarms nearly always, the calibrated threshold hardly ever."""
    chance = np.random.default_rng(6)

    def production(shifts: int) -> np.ndarray:
        levels = np.repeat(chance.normal(0, 1, shifts), 240)
        return levels + chance.normal(0, 0.3, len(levels))

    past, future = production(300), production(300)
    runs = np.zeros(len(past), np.int64)
    known = histogram(past)
    plan = Plan(spacing_s=120, alarms_per_month=1.0, draws=1_000, sizes=(200,))
    made = calibrated({"x": known}, {"x": past}, runs, plan, np.random.default_rng(1))["x"]
    found = [
        min(psi(known.counts, binned(future[at + part : at + part + 200], known.edges)) for part in (0, 200))
        for at in range(0, len(future) - 400, 200)
    ]
    months = len(found) * 200 * 120 / (30 * 24 * 3600)
    assert sum(value > 0.25 for value in found) / months > 50
    assert sum(value > made.threshold(200) for value in found) / months < 4


def test_a_threshold_is_the_stricter_of_the_sizes_around():
    made = histogram(normal(500, 1))
    sized = msgspec.structs.replace(made, thresholds={"200": 3.0, "500": 1.0, "1000": 0.5})
    assert [sized.threshold(n) for n in (200, 300, 500, 700, 1000, 5000, 100)] == [3, 3, 1, 1, 0.5, 0.5, 3]
    assert made.threshold(300) == 0
