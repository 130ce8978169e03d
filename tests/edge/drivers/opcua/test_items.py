from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from asyncua import ua

from edge.drivers.opcua.limits import Limit
from edge.tags import Tag
from sync.quality import BAD_NODE_ID_UNKNOWN, GOOD, OVERFLOW
from tests.contracts.driver_contract import CONTRACT, every_tag_comes_once_before_any_comes_again, until, until_all
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.edge.drivers.opcua.plants import MILLION, Plant, counting_tags, newest
from tests.servers import listens, process, wait_until

OPEN62541 = "urn:open62541:bench"


def tags_for(promise) -> list[Tag]:
    """Give tags that count; what comes once before any comes again must hold still, a busy server sends it in parts."""
    text = tag(9, f"nsu={URI};s=string", type="string")
    if promise is every_tag_comes_once_before_any_comes_again:
        return [tag(0, f"nsu={URI};s=setDouble"), tag(1, f"nsu={URI};s=setInt16", type="int16"), text]
    return [*counting_tags(5), text]


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_another_make_of_server_keeps_the_driver_contract(node_plant: Plant, promise) -> None:
    node_plant.tags = tags_for(promise)
    await promise(node_plant)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_polling_keeps_the_driver_contract(node_plant: Plant, promise) -> None:
    node_plant.tags = tags_for(promise)
    node_plant.always = {"acquire": "poll", "poll_ms": 50}
    try:
        await promise(node_plant)
    finally:
        node_plant.always = {}


async def some(driver, enough) -> list:
    """Give batches until `enough(batches)`."""
    batches = []
    async with asyncio.timeout(20), aclosing(driver.readings()) as readings:
        async for batch in readings:
            batches.append(batch)
            if enough(batches):
                return batches
    raise AssertionError


async def test_tags_are_published_and_queued_as_each_says(tmp_path) -> None:
    fast = {"sampling_ms": 0.0, "publishing_ms": 500}
    machine = OpcUaMachine(
        {},
        [
            tag(0, f"nsu={OPEN62541};s=t0", sampling_ms=0.0),
            tag(1, f"nsu={OPEN62541};s=t1", queue_size=100, **fast),
            tag(2, f"nsu={OPEN62541};s=t2", queue_size=3, **fast),
            tag(3, f"nsu={OPEN62541};s=t3", queue_size=3, discard="newest", **fast),
        ],
    )
    with process("bench.opcua_plant", str(machine.port), "4", "20", log=tmp_path / "log"):
        await asyncio.to_thread(wait_until, lambda: listens(machine.port), "open62541 listens")
        async with machine.driver(in_flight=1) as driver:
            batches = await some(driver, lambda batches: sum((b.tag == 1).sum() for b in batches) > 30)
            assert len(driver.subscriptions.open_ones) == 2
            assert driver.health.overflows > 0
    values = {i: np.concatenate([b.value[b.tag == i] for b in batches]) for i in range(4)}
    assert (np.diff(values[1]).round(6) == 1).all()  # each of its changes
    assert {batch.tag.tolist().count(1) for batch in batches} > {0}
    assert len(values[2]) < len(values[1]) / 2
    late = [b for b in batches if 2 in b.tag and 3 in b.tag][-1]
    assert late.value[late.tag == 2].min() > late.value[late.tag == 3].min()  # it keeps the oldest
    assert (late.status[late.tag == 2] == OVERFLOW).any()


async def test_a_deadband_in_percent_of_the_range_is_the_servers(node_plant: Plant) -> None:
    node_plant.tags = [tag(0, f"nsu={URI};s=analog", source_deadband_percent=5.0), tag(1, f"nsu={URI};s=t1", source_deadband=10.0)]  # fmt: skip
    await node_plant.start()
    try:
        async with node_plant.driver() as driver:
            batches = await some(
                driver, lambda batches: all(sum((b.tag == i).sum() for b in batches) > 3 for i in (0, 1))
            )
            assert set(driver.health.notes) == {"security"}
        for index, least in ((0, 10.0), (1, 10.0)):
            values = np.concatenate([b.value[b.tag == index] for b in batches])
            assert (np.abs(np.diff(values)) >= least).all()
    finally:
        await node_plant.stop()


async def test_a_deadband_that_the_server_refuses_is_left_out_and_said(node_plant: Plant) -> None:
    node_plant.tags = [
        tag(0, f"nsu={URI};s=string", type="string", source_deadband=1.0),
        tag(1, f"nsu={URI};s=t1", source_deadband_percent=50.0),
        tag(2, f"nsu={URI};s=t2"),
    ]
    await node_plant.start()
    try:
        async with node_plant.driver() as driver:
            found = newest(await until_all(driver, node_plant.tags))
            assert {status for _, status in found.values()} == {GOOD}
            assert "refuses the deadband or trigger of 2 tags (first: nsu=" in driver.health.notes["filters"]
            assert driver.health.bad_items == {}
    finally:
        await node_plant.stop()


async def test_a_tag_reports_only_when_its_trigger_does(node_plant: Plant) -> None:
    node_plant.tags = [
        tag(0, f"nsu={URI};s=string", type="string", name="lot"),
        tag(1, f"nsu={URI};s=t1", triggered_by="lot", queue_size=1),
        tag(2, f"nsu={URI};s=t2"),
    ]
    await node_plant.start()
    try:
        async with node_plant.driver() as driver:
            batches = await some(driver, lambda batches: sum((b.tag == 2).sum() for b in batches) > 20)
            assert "triggered_by" not in driver.health.notes
        assert sum((b.tag == 1).sum() for b in batches) <= 2
    finally:
        await node_plant.stop()


async def test_a_server_that_makes_no_more_subscriptions_publishes_all_in_the_nearest(tmp_path) -> None:
    plant = Plant(
        tmp_path, [tag(i, f"nsu={URI};s=t{i}", publishing_ms=50.0 * (1 + i % 4)) for i in range(8)], max_subscriptions=2
    )
    await plant.start()
    try:
        async with plant.driver() as driver:
            await until_all(driver, plant.tags)
            assert "no more than 2 subscriptions" in driver.health.notes["subscriptions"]
    finally:
        await plant.stop()
        plant.kill()


async def test_what_the_server_will_not_monitor_is_polled_and_said(tmp_path) -> None:
    plant = Plant(tmp_path, counting_tags(8), max_items=5)
    await plant.start()
    try:
        async with plant.driver(poll_ms=100) as driver:
            batches = await some(
                driver, lambda batches: all(sum((b.tag == i).sum() for b in batches) > 5 for i in range(8))
            )
            assert "3 nodes that the server cannot monitor are read every 100 ms" in driver.health.notes["polled"]
            assert driver.health.bad_items == {}
        assert {int(value // MILLION) for value, _ in newest(batches).values()} == set(range(8))
        async with plant.driver(acquire="subscribe") as driver:
            found = newest(await until_all(driver, plant.tags))
            assert (
                sorted(status for _, status in found.values())
                == [GOOD] * 5 + [ua.StatusCodes.BadTooManyMonitoredItems] * 3
            )
    finally:
        await plant.stop()
        plant.kill()


async def test_what_is_polled_comes_by_its_own_period_and_in_requests_the_server_takes(tmp_path) -> None:
    tags = [*counting_tags(100), tag(100, f"nsu={URI};s=late", period_ms=60_000), tag(101, f"nsu={URI};s=t5", period_ms=400)]  # fmt: skip
    plant = Plant(tmp_path, tags, limits={"maxNodesPerRead": 30})
    await plant.start()
    try:
        async with plant.driver(acquire="poll", poll_ms=100) as driver:
            assert driver.limits.read.most == 30
            batches = await some(driver, lambda batches: sum((b.tag == 7).sum() for b in batches) > 8)
            assert not driver.subscriptions.open_ones
            assert "BadNodeIdUnknown" in driver.health.bad_items[100]
        counts = {index: sum((b.tag == index).sum() for b in batches) for index in (7, 99, 100, 101)}
        assert counts[7] in {counts[99], counts[99] + 1}
        assert counts[100] == 1
        assert counts[101] < counts[7]
        found = newest(batches)
        assert found[100] == (None, BAD_NODE_ID_UNKNOWN)
        assert {int(value // MILLION) for index, (value, _) in found.items() if index < 100} == set(range(100))
    finally:
        await plant.stop()
        plant.kill()


async def test_who_takes_late_gets_every_value_or_the_overflow_bit(tmp_path) -> None:
    tags = [tag(0, f"nsu={OPEN62541};s=t0", queue_size=1000), tag(1, f"nsu={OPEN62541};s=t1", queue_size=5)]
    plant = Plant(tmp_path, tags, make="open62541")
    await plant.start()
    try:
        async with plant.driver(sampling_ms=0) as driver, aclosing(driver.readings()) as readings:
            batches = [await anext(readings)]
            await until(lambda: len(driver._arrivals) >= 34, "the driver has no room and stops asking")
            await asyncio.sleep(2)  # meanwhile the server queues
            async with asyncio.timeout(20):
                async for batch in readings:
                    batches.append(batch)
                    if sum((b.tag == 0).sum() for b in batches) > 90:
                        break
            assert driver.health.overflows > 0
        values = {i: np.concatenate([b.value[b.tag == i] for b in batches]) for i in (0, 1)}
        marked = np.concatenate([b.status[b.tag == 1] == OVERFLOW for b in batches])
        assert (np.diff(values[0]).round(6) == 1).all()
        skipped = np.diff(values[1]).round(6) != 1
        assert skipped.any()
        assert not (skipped & ~marked[1:]).any()
    finally:
        await plant.stop()
        plant.kill()


async def test_a_limit_that_the_server_does_not_state_is_found_by_halving() -> None:
    asked = []

    async def call(part):
        asked.append(len(part))
        if len(part) > 7:
            raise ua.uaerrors.BadTooManyOperations
        return [thing * 2 for thing in part]

    limit = Limit(1000)
    assert await limit.ask(list(range(100)), call) == [2 * thing for thing in range(100)]
    assert limit.most <= 7
    assert asked[:4] == [100, 50, 25, 12]
    with pytest.raises(ua.uaerrors.BadTooManyOperations):
        await Limit(4).ask([1], lambda part: call([*part] * 8))
