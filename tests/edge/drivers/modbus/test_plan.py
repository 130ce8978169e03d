from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.address import Item
from edge.drivers.modbus.plan import MAX_BITS, RoundTrips, halves, plan, seam
from edge.drivers.modbus.units import SOCKET_GAP

ITEMS = st.lists(
    st.tuples(
        st.sampled_from(["coil", "discrete", "holding", "input"]),
        st.integers(0, 600),
        st.sampled_from([1, 1, 1, 2, 4, 20]),
    ),
    min_size=1,
    max_size=60,
).map(
    lambda rows: [
        Item(i, table, address, 1 if table in {"coil", "discrete"} else words)
        for i, (table, address, words) in enumerate(rows)
    ]
)


@given(ITEMS, st.integers(0, 60), st.integers(20, 125))
def test_every_item_lies_whole_in_exactly_one_legal_block(items, gap, most) -> None:
    blocks = plan(items, max_gap=gap, max_registers=most)
    assert sorted(item.position for block in blocks for item in block.items) == list(range(len(items)))
    for block in blocks:
        assert 1 <= block.count <= (most if block.registers else MAX_BITS)
        for item in block.items:
            assert item.table == block.table
            assert block.address <= item.address
            assert item.end <= block.address + block.count


@given(ITEMS, st.integers(0, 60))
def test_blocks_end_where_items_do_and_never_reach_over_a_refused_one(items, gap) -> None:
    refused, asked = items[::7], [item for i, item in enumerate(items) if i % 7]
    for block in plan(asked, max_gap=gap, max_registers=125, refused=refused):
        assert min(item.address for item in block.items) == block.address
        assert max(item.end for item in block.items) == block.address + block.count
        covered = {a for item in block.items for a in range(item.address, item.end)}
        walls = {item.address for item in refused if item.table == block.table}
        assert not (walls & set(range(block.address, block.address + block.count)) - covered)


@given(ITEMS)
def test_halves_of_a_block_hold_its_items_and_nothing_between(items) -> None:
    for block in plan(items, max_gap=600, max_registers=700):
        if len(block.items) < 2:
            continue
        first, second = halves(block)
        assert [*first.items, *second.items] == list(block.items)
        assert first.count + second.count <= block.count + 20  # overlapping items may stand in both


def test_a_gap_is_read_along_up_to_the_limit() -> None:
    items = [Item(0, "holding", 0, 1), Item(1, "holding", 11, 1)]
    assert [block.count for block in plan(items, max_gap=10, max_registers=125)] == [12]
    assert [block.count for block in plan(items, max_gap=9, max_registers=125)] == [1, 1]


def test_a_hundred_tags_that_lie_near_each_other_come_in_four_requests() -> None:
    chance = random.Random(3)
    for _ in range(200):
        places = chance.sample(range(1000, 1400), 100)
        items = [Item(i, "holding", at, 1) for i, at in enumerate(places)]
        assert len(plan(items, max_gap=SOCKET_GAP)) <= 4


def test_limits_of_a_device_hold_for_registers_and_for_bits() -> None:
    items = [Item(i, "holding", i, 1) for i in range(100)] + [Item(100 + i, "coil", i, 1) for i in range(100)]
    blocks = plan(items, max_gap=0, max_registers=30, max_bits=40)
    assert [block.count for block in blocks if block.registers] == [30, 30, 30, 10]
    assert [block.count for block in blocks if not block.registers] == [40, 40, 20]


@given(ITEMS, st.integers(0, 60), st.sets(st.tuples(st.sampled_from(["holding", "coil"]), st.integers(1, 620))))
def test_no_block_reaches_over_a_seam(items, gap, seams) -> None:
    blocks = plan(items, max_gap=gap, seams=seams)
    assert sorted(item.position for block in blocks for item in block.items) == list(range(len(items)))
    for block in blocks:
        for table, at in seams:
            if table == block.table:
                starts = [item.address for item in block.items]
                assert not (min(starts) < at <= max(starts))


def test_a_seam_lies_where_the_halves_meet_or_where_the_hole_begins() -> None:
    adjacent = plan([Item(0, "holding", 10, 2), Item(1, "holding", 12, 1)], max_gap=0)
    apart = plan([Item(0, "holding", 10, 2), Item(1, "holding", 20, 1)], max_gap=50)
    assert seam(*halves(adjacent[0])) == ("holding", 12)
    assert seam(*halves(apart[0])) == ("holding", 12)


@given(st.floats(0.002, 0.1), st.floats(1e-6, 0.01), st.randoms(use_true_random=False))
def test_the_gap_that_pays_is_learnt_from_round_trips(request, register, chance) -> None:
    trips = RoundTrips(16)
    for i in range(200):
        words = 1 + (i * 37) % 125
        trips.observe(words, (request + register * words) * chance.uniform(0.98, 1.02))
    pays = min(RoundTrips.MOST, request / register)
    assert 0 <= trips.gap <= RoundTrips.MOST
    if 5 <= pays < 50 and register * 60 > 0.1 * (request + register * 60):
        assert trips.gap == pytest.approx(pays, rel=0.6, abs=3)


def test_nothing_is_learnt_from_blocks_of_one_length_or_from_a_hiccup() -> None:
    trips = RoundTrips(16)
    for _ in range(100):
        trips.observe(125, 0.004)
    assert trips.gap == 16
    for i in range(100):
        trips.observe(1 + i % 100, 0.010 + 0.001 * (i % 100))
    before = trips.gap
    trips.observe(1, 30.0)
    assert abs(trips.gap - before) <= 5


def test_over_a_fast_network_a_gap_is_worth_reading_along_whatever_the_times_say() -> None:
    trips = RoundTrips(48)
    for i in range(100):
        trips.observe(1 + i % 100, 0.0002 + 0.00001 * (i % 100))  # 20 registers would take as long as a request
    assert trips.gap == RoundTrips.MOST
