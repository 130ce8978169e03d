"""What follows from the statistics of a window, and how good it is."""

from __future__ import annotations

import math

import pytest

from models.expression_interpreter import Cause
from models.ruleset_inputs import reader
from tests.models.windows import S, tag, window

FULL = tag("vibration", 4.0, first=1.0, min=-3.0, max=5.0, mean=3.0, stddev=4.0)
BAD = 0x8031_0000


def read(field: str, of) -> object:
    return reader(f"vibration.{field}", "double")(of)


@pytest.mark.parametrize(("field", "value"), [("range", 8.0), ("rms", 5.0), ("delta", 3.0), ("rate", 0.3)])
def test_what_follows_from_the_statistics(field, value):
    assert read(field, window(FULL)) == value


def test_the_root_mean_square_is_that_of_the_values():
    values = [1.5, -2.0, 4.25, 0.0]
    mean = sum(values) / 4
    stddev = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
    rms = read("rms", window(tag("vibration", 0.0, mean=mean, stddev=stddev)))
    assert rms == pytest.approx(math.sqrt(sum(value**2 for value in values) / 4), rel=1e-15)


@pytest.mark.parametrize("field", ["range", "rms", "delta", "rate"])
def test_it_is_as_good_as_what_it_follows_from(field):
    name = f"vibration.{field}"
    assert read(field, window()).why == "missing"
    assert read(field, window(tag("vibration", None, status=BAD, count=0, age_ns=S))).why == "bad"
    stale = tag("vibration", 4.0, count=0, age_ns=31 * S)
    assert read(field, window(stale)).why == "stale"
    quiet = tag("vibration", 4.0, count=0)
    assert read(field, window(quiet)) == (4.0 if field == "rms" else 0.0)
    huge = tag("vibration", 1.7e308, first=-1.7e308, mean=1.7e308, stddev=1.0, min=-1.7e308, max=1.7e308)
    assert read(field, window(huge)) == Cause(name, "overflow")


def test_a_change_needs_the_newest_value_and_a_rate_needs_time():
    newest_bad = tag("vibration", None, first=1.0, mean=1.0, min=1.0, max=1.0, stddev=0.0, status=BAD)
    assert read("delta", window(newest_bad)) == Cause("vibration.delta", "bad")
    assert read("range", window(newest_bad)) == 0.0
    assert read("rate", window(FULL, seconds=0)) == Cause("vibration.rate", "zero_division")
