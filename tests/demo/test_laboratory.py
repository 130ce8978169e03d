"""The demo's laboratory: samples of five, the same each time, with its stories in them."""

from __future__ import annotations

import itertools
from dataclasses import replace

from demo import laboratory
from demo.plant_orders import Order
from demo.plant_spec import HOUR, MINUTE

ORDER = Order(
    order="WO-200001",
    product="juice-350",
    lot="L200001-300",
    work_unit="bottling/line-2/filler",
    quantity=20_000,
    start=1_790_000_000 * 10**9,
    end=1_790_000_000 * 10**9 + 6 * HOUR,
    state="running",
    ideal_ms=300,
)


def test_samples_hold_five_pieces_and_are_the_same_however_they_are_asked_for():
    whole = list(laboratory.results(ORDER, 0, ORDER.end + HOUR))
    halves = [
        *laboratory.results(ORDER, 0, ORDER.start + 3 * HOUR),
        *laboratory.results(ORDER, ORDER.start + 3 * HOUR - MINUTE, ORDER.end + HOUR),
    ]
    assert {(one.sample, one.at, one.value) for one in halves} == {(one.sample, one.at, one.value) for one in whole}
    for _, sample in itertools.groupby(whole, key=lambda one: one.sample):
        assert len(list(sample)) == laboratory.PIECES
    assert {one.characteristic for one in whole} == {"fill_weight", "cap_torque"}
    assert all(one.passed == (one.low <= one.value <= one.high) for one in whole)


def test_juice_on_line_two_is_filled_short_and_elsewhere_it_is_not():
    def mean(order: Order) -> float:
        found = [one.value for one in laboratory.results(order, 0, order.end) if one.characteristic == "fill_weight"]
        return sum(found) / len(found)

    assert mean(ORDER) < 348.6
    assert abs(mean(replace(ORDER, work_unit="bottling/line-3/filler")) - 350) < 1.2


def test_the_packer_is_tried_for_other_things():
    packed = replace(ORDER, work_unit="packaging/line-4/packer", product="case-juice-12")
    assert {one.characteristic for one in laboratory.results(packed, 0, packed.end)} == {"case_weight", "seal_strength"}
