from __future__ import annotations

import numpy as np
import pytest

from cloud.bi.analyses.forecast import METHODS, conformal, fit_line, forecast, r_squared, season_shape

AIR = np.array([112,118,132,129,121,135,148,148,136,119,104,118,115,126,141,135,125,149,170,170,158,133,114,140,145,150,178,163,172,178,199,199,184,162,146,166,171,180,193,181,183,218,230,242,209,191,172,194,196,196,236,235,229,243,264,272,237,211,180,201], float)  # fmt: skip
"""Airline passengers 1949 to 1953 (Box & Jenkins, series G)."""
NILE = np.array([1120,1160,963,1210,1160,1160,813,1230,1370,1140,995,935,1110,994,1020,960,1180,799,958,1140,1100,1210,1150,1250,1260,1220,1030,1100,774,840,874,694,940,833,701,916,692,1020,1050,969,831,726,456,824,702], float)  # fmt: skip
"""Flow of the Nile at Aswan, 1871 to 1915 (Cobb 1978)."""
STATSFORECAST = {
    "ses": [728.721, 728.721, 728.721],
    "theta": [719.742, 715.287, 710.833, 706.378, 701.924, 697.469, 693.015],
}
"""What statsforecast 2 gives for the Nile: SimpleExponentialSmoothingOptimized and Theta(season_length=1)."""


def last(name: str, y, season: int, horizon: int):
    return METHODS[name](y, season, horizon, [len(y)])[len(y)]


def test_the_plain_methods_agree_with_another_implementation():
    assert last("seasonal_naive", AIR, 12, 12).tolist() == AIR[-12:].tolist()
    for name, known in STATSFORECAST.items():
        assert last(name, NILE, 1, len(known)) == pytest.approx(known, rel=0.008)
    # The slope of Theta is half that of the line, whatever the level is fitted to.
    theta = last("theta", NILE, 1, 7)
    assert np.diff(theta) == pytest.approx(fit_line(NILE)[0] / 2)


def test_the_airline_series_is_forecast_better_than_by_last_year():
    found = forecast(AIR, None, season=12, horizon=12)
    assert found.beaten
    assert found.tried[found.method].mase < 0.7 < 1.2 < found.tried["seasonal_naive"].mase
    actual = [204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229]  # 1954
    error = np.mean(np.abs(np.array([v or 0.0 for v in found.values]) - actual))
    naive = np.mean(np.abs(AIR[-12:] - actual))
    assert error < naive


def test_no_method_looks_ahead():
    """A forecast from an origin is the same whether or not the rest of the series is there."""
    for name, method in METHODS.items():
        early = method(AIR, 12, 6, [40])[40]
        assert early == pytest.approx(METHODS[name](AIR[:40], 12, 6, [40])[40])


def test_a_constant_stays_what_it_is_without_doubt():
    found = forecast([0.8] * 20, None, season=7, horizon=5)
    assert (found.method, found.beaten) == ("constant", True)
    assert found.values == pytest.approx([0.8] * 5)
    assert found.reach[0.8] == found.reach[0.95] == (0.0,) * 5


def test_a_line_goes_on_as_the_line():
    y = 5 + 2 * np.arange(30.0)
    found = forecast(y, None, season=7, horizon=5)
    assert (found.method, found.beaten) == ("line", True)
    assert found.values == pytest.approx([65, 67, 69, 71, 73])
    assert found.reach[0.8] == pytest.approx([0.0] * 5, abs=1e-9)
    assert r_squared(y) == pytest.approx(1.0)


def test_a_ratio_is_forecast_by_its_parts():
    """Every seventh day is short: the forecast of scrap over pieces keeps the ratio, though both parts swing."""
    made = np.array([1000.0] * 6 + [100.0] * 1)
    made = np.tile(made, 8)
    found = forecast(made * 0.02, made, season=7, horizon=7)
    assert found.values == pytest.approx([0.02] * 7)
    nothing = forecast(np.zeros(14), np.zeros(14), season=7, horizon=3)
    assert nothing.values == (None, None, None)  # no pieces: no ratio, not a ratio of 0


def test_pure_repetition_is_not_beaten_and_said_to_be_so():
    week = np.array([10.0, 12, 9, 14, 11, 3, 2])
    found = forecast(np.tile(week, 6), None, season=7, horizon=7)
    assert found.method == "seasonal_naive"
    assert not found.beaten
    assert found.values == pytest.approx(week)


@pytest.mark.parametrize(("count", "season"), [(6, 1), (13, 7), (0, 1)])
def test_too_short_a_history_is_refused(count: int, season: int):
    with pytest.raises(ValueError, match="points"):
        forecast([1.0] * count, None, season=season, horizon=3)


def test_the_shape_of_a_season_is_found_and_sums_to_nothing():
    shape = np.array([3.0, -1, -2, 0])
    y = 0.5 * np.arange(24) + np.tile(shape, 6)
    assert season_shape(y, 4) == pytest.approx(shape)
    assert season_shape(y[:7], 4).tolist() == [0, 0, 0, 0]


def test_an_interval_needs_enough_errors():
    errors = np.arange(1.0, 20.0)
    assert conformal(errors, 0.95) == 19.0
    assert conformal(errors[:18], 0.95) is None
    assert conformal(errors, 0.80) == 16.0
    assert conformal(np.array([]), 0.80) is None


@pytest.mark.parametrize("kind", ["walk", "week", "level"])
def test_intervals_hold_what_they_promise(kind: str):
    """Of 70 simulated series the next point lies within the 80 % interval 70 to 90 times of 100, the 95 % one 88 to 100."""
    rng = np.random.default_rng(20_261_123)
    held = {0.80: 0, 0.95: 0}
    series = 70
    for _ in range(series):
        noise = rng.normal(0, 1, 71)
        y = {
            "walk": 50 + np.cumsum(noise) * 0.3,
            "week": 50 + 6 * np.sin(np.arange(71) * 2 * np.pi / 7) + noise,
            "level": 50 + noise,
        }[kind]
        found = forecast(y[:-1], None, season=7, horizon=1)
        for level in held:
            reach, value = found.reach[level][0], found.values[0]
            assert reach is not None
            assert value is not None
            held[level] += abs(y[-1] - value) <= reach
    assert 0.70 <= held[0.80] / series <= 0.90
    assert 0.88 <= held[0.95] / series <= 1.0
