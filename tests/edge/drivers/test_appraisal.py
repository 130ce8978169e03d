"""Whether a value can be what the book speaks of."""

from __future__ import annotations

import math

import pytest

from edge.drivers.appraisal import engineering, off_by, plausible, shown, tally, valued
from edge.drivers.finding import fault, ok
from edge.tags import TagSpec


def spec(**more) -> TagSpec:
    return TagSpec(**{"name": "x", "address": "a", **more})


@pytest.mark.parametrize(
    ("raw", "more", "said"),
    [
        (23.4, {"low": 0, "high": 200}, True),
        (4.17e-8, {"low": 0, "high": 200}, False),  # what a wrong word order makes of it
        (0.0, {"low": 0, "high": 200}, True),
        (250.0, {"low": 0, "high": 200}, False),
        (250.0, {"low": 0, "high": 30, "scale": 0.1}, True),
        (math.nan, {}, False),
        (2.7e23, {}, False),
        (49.98, {}, True),
        (77, {"type": "uint32"}, None),
        (77, {"type": "uint32", "high": 50}, False),
        (2, {"type": "uint16", "values": {"1": "auto", "2": "manual"}}, True),
        (3, {"type": "uint16", "values": {"1": "auto", "2": "manual"}}, False),
        ("text", {"type": "string"}, None),
        (True, {"type": "bool"}, None),
    ],
)
def test_what_can_be_meant(raw, more, said):
    assert plausible(raw, spec(**more)) is said


def test_values_are_written_as_people_do():
    assert shown(23.456789, spec(unit="CEL")) == "23.4568 °C"
    assert shown(7, spec(type="uint16", unit="C62")) == "7"
    assert shown(2.0, spec(values={"2": "manual"})) == "2 (manual)"
    assert shown(True, spec(type="bool")) == "true"
    assert shown("A-1", spec(type="string")) == "'A-1'"
    assert shown(None, spec()) == "-"
    assert engineering(2**60 + 1, spec(type="uint64")) == 2**60 + 1
    assert engineering(100, spec(type="int16", scale=0.1, offset=-5)) == pytest.approx(5.0)


def test_no_reason_needs_no_name():
    reasons = spec(type="uint16", role="reason", values={"10": "jam"})
    assert valued(0, reasons, "t", more="").severity == "ok"
    assert valued(99, reasons, "t", more="").key == "tag.unnamed"
    assert valued(math.inf, spec(), "t", more="").key == "tag.no_number"


def test_clocks_are_judged_by_how_far_they_are_off():
    assert [off_by(offset, "plc").key for offset in (0.4, 12, -12, 4000, -4000)] == [
        "tag.clock", "tag.clock_ahead", "tag.clock_behind", "tag.clock_ahead_far", "tag.clock_behind_far",
    ]  # fmt: skip


def test_all_tags_are_summed_up_in_one_line():
    assert tally([ok("tag", "tag.good", tag="a"), ok("port", "reach.open")]).what("en") == "all 1 tags read and good"
    some = tally([ok("tag", "tag.good", tag="a"), fault("tag", "modbus.silent", tag="b")])
    assert (some.severity, some.what("en")) == ("fault", "1 of 2 tags read and good")
