from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.address import Item
from edge.drivers.modbus.plan import MAX_BITS, halves, plan

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
