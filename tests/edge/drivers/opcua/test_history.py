"""What servers remember, read back: asyncua's memory and SQLite, and node-opcua; page by page, and what is proved complete."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from asyncua import ua
from asyncua.server.history import HistoryDict
from asyncua.server.history_sql import HistorySQLite
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge.connections import OpcUa
from edge.drivers.driver import Historical, Missing, Recalled, Surroundings
from edge.drivers.opcua import history, pages
from edge.drivers.opcua.driver import OpcUaDriver
from edge.tags import Tag
from sync.clock import WallClock
from tests.contracts.driver_contract import until_all
from tests.edge.drivers.machines import URI, OpcUaMachine, tag
from tests.edge.drivers.opcua.test_publish import anything, data_values
from tests.servers import free_port, listens, node, wait_until

T = ua.VariantType
START = datetime(2026, 1, 2, 3, 4, 5, 123, tzinfo=UTC)
"""Never on the second: asyncua 2.1's SQLite history cannot read such a time back."""
STEP = timedelta(milliseconds=20)
COUNT = 1_300


def ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def moment(i: int) -> int:
    """Give the source time of value i, ns."""
    return ns(START + i * STEP)


class Remembering(OpcUaMachine):
    """An asyncua server with a history of its own making: value i of `count` and `zones` at `moment(i)`."""

    def __init__(self, tags: list[Tag], storage) -> None:
        super().__init__(
            {"plain": ua.Variant(0, T.UInt32)},
            tags,
        )
        self.storage = storage

    async def start(self) -> None:
        await super().start()
        await self.storage.init()
        self.server.iserver.history_manager.set_storage(self.storage)
        index = await self.server.get_namespace_index(URI)
        # asyncua 2.1 makes a table for each node and refuses those whose id is a text, for the quotes in its name.
        for number, kind, value in ((7001, T.UInt32, lambda i: i), (7002, T.Double, lambda i: [i / 2, -i / 2])):
            place = ua.NodeId(ua.Int32(number), index)
            await self.server.nodes.objects.add_variable(place, str(number), ua.Variant(value(0), kind))
            await self.storage.new_historized_node(place, None, 0)
            for i in range(COUNT):
                at = START + i * STEP
                held = ua.DataValue(
                    ua.Variant(value(i), kind),
                    ua.StatusCode(ua.StatusCodes.Good),
                    SourceTimestamp=at,
                    ServerTimestamp=at,
                )
                await self.storage.save_node_value(place, held)

    async def stop(self) -> None:
        server = self.server
        await super().stop()
        if server is not None:
            await self.storage.stop()


TAGS = [
    tag(3, f"nsu={URI};i=7001", name="count", type="uint32", scale=0.5),
    tag(4, f"nsu={URI};i=7002", name="left", count=2, element=0),
    tag(5, f"nsu={URI};i=7002", name="right", count=2, element=1),
    tag(6, f"nsu={URI};s=plain", name="plain", type="uint32"),
    tag(7, f"nsu={URI};s=nobody", name="nobody"),
]


@pytest.fixture(params=["memory", "sqlite"])
async def machine(request, tmp_path):
    storage = HistoryDict() if request.param == "memory" else HistorySQLite(tmp_path / "history.db")
    made = Remembering(list(TAGS), storage)
    await made.start()
    yield made
    await made.stop()


async def recall(pieces) -> tuple[dict, list[Missing], list[int]]:
    """Give tag → [(source time, value)], what is missing, and which tags were finished."""
    rows: dict[int, list[tuple[int, object]]] = {}
    missing: list[Missing] = []
    finished: list[int] = []
    async with aclosing(pieces):
        async for piece in pieces:
            assert isinstance(piece, Recalled)
            missing += piece.missing
            finished += piece.finished
            if piece.readings is not None:
                assert piece.readings.historical
                for index, value, status, at in piece.readings:
                    assert status == 0
                    rows.setdefault(index, []).append((at, value))
    return rows, missing, finished


async def test_history_comes_in_pages_and_strictly_between_the_two_ends(machine) -> None:
    since, until = {3: moment(100), 4: moment(7), 5: moment(1_200)}, {3: moment(1_250), 4: moment(9), 5: moment(1_299)}
    async with machine.driver() as driver:
        assert isinstance(driver, Historical)
        await until_all(driver, machine.tags)
        rows, missing, finished = await recall(driver.history(since, until))
    assert rows[3] == [(moment(i), i * 0.5) for i in range(101, 1_250)]
    assert rows[4] == [(moment(8), 4.0)]
    assert rows[5] == [(moment(i), -i / 2) for i in range(1_201, 1_299)]
    assert missing == []
    assert sorted(finished) == [3, 4, 5]


async def test_what_the_history_does_not_reach_is_missing(machine) -> None:
    early, late = moment(-50), moment(COUNT + 50)
    async with machine.driver() as driver:
        assert driver.health.started == 0
        rows, missing, _ = await recall(driver.history({3: early, 4: moment(5)}, {3: moment(10), 4: late}))
        assert [value for _, value in rows[3]] == [i * 0.5 for i in range(10)]
        assert len(rows[4]) == COUNT - 6
        assert sorted(missing, key=lambda one: one.tag) == [
            Missing(3, early, moment(0), history.NOT_HELD),
            Missing(4, moment(COUNT - 1), late, history.NOT_YET, late=True),
        ]
        assert driver.health.started > moment(0)  # when the server was started goes with what it remembers
        rows, missing, _ = await recall(driver.history({3: early - 10**9}, {3: early}))
        assert rows == {}
        assert missing == [Missing(3, early - 10**9, early, history.NOT_HELD, late=True)]


async def test_a_tag_without_a_history_says_why_and_keeps_no_other_from_theirs(machine) -> None:
    since, until = dict.fromkeys((3, 6, 7), moment(10)), dict.fromkeys((3, 6, 7), moment(20))
    async with machine.driver() as driver:
        await until_all(driver, machine.tags)
        rows, missing, finished = await recall(driver.history(since, until))
        assert len(rows.pop(3)) == 9
        assert rows == {}
        assert {one.tag for one in missing} == {6, 7}
        assert all((one.start, one.end) == (moment(10), moment(20)) for one in missing)
        assert sorted(finished) == [3, 6, 7]


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> tuple[int, Path]:
    folder, port = tmp_path_factory.mktemp("plant"), free_port()
    truth = folder / "truth.jsonl"
    with node("history.mjs", str(port), str(truth), log=folder / "node.log", ready=lambda: listens(port)):
        wait_until(lambda: len(truth.read_text().splitlines()) > 1_500, "the machine has a past")
        yield port, folder


async def test_continuation_points_are_followed_and_given_back(plant) -> None:
    port, folder = plant
    config = OpcUa(driver="opcua", name="plc", url=f"opc.tcp://127.0.0.1:{port}", security="none", publishing_ms=50)
    around = Surroundings(folder=folder, data=folder, gateway="gw-1")
    uri = "urn:triflow:test:history"
    tags = [tag(i, f"nsu={uri};s={name}", type=kind) for i, (name, kind) in enumerate(
        {"count": "uint32", "level": "float64", "text": "string", "plain": "uint32"}.items())]  # fmt: skip
    lines = [line.split(",") for line in (folder / "truth.jsonl").read_text().splitlines()]
    counted = [int(at.rstrip("]")) * 1_000_000 for name, *_, at in lines if name == '["count"'][:400]
    async with OpcUaDriver(config, tags, WallClock(), around) as driver:
        ends = dict.fromkeys(range(4), counted[0]), dict.fromkeys(range(4), counted[-1])
        past = history.History(driver._request, driver.node_of, tags, driver.health, most=3, values_per_node=40)
        async with aclosing(past.recall(*ends, WallClock().now)) as some:
            await anext(some)  # … and no more of it: its continuation points are given back
        rows, missing, finished = await recall(past.recall(*ends, WallClock().now))
        assert [at for at, _ in rows[0]] == counted[1:-1]
        assert [value for _, value in rows[0]] == [float(i) for i in range(2, len(counted))]
        assert len(rows[1]) > 150
        assert all(isinstance(value, str) and value.startswith("설비-") for _, value in rows[2][1:])
        assert {one.tag for one in missing if "BadHistoryOperationUnsupported" in one.why} == {3}
        assert "no history" in driver.health.without_history[3]
        assert sorted(finished) == [0, 1, 2, 3]


def response(lists: list[list[ua.DataValue]], continuation: bytes | None) -> bytes:
    made = ua.HistoryReadResponse()
    made.TypeId = ua.FourByteNodeId(ua.ObjectIds.HistoryReadResponse_Encoding_DefaultBinary)
    made.Results = [
        ua.HistoryReadResult(
            StatusCode=ua.StatusCode(ua.UInt32(0)),
            ContinuationPoint=continuation,
            HistoryData=ua.HistoryData(DataValues=values),
        )
        for values in lists
    ]
    return struct_to_binary(made)


@given(
    st.lists(st.lists(data_values(anything()), max_size=6), max_size=3), st.none() | st.binary(min_size=1, max_size=9)
)
def test_pages_read_as_the_librarys_own_decoder_reads_them(lists, continuation) -> None:
    body = response(lists, continuation)
    quick = pages.decode_fast(body)
    slow = pages.decode_slow(body)
    assert len(slow) == len(lists)
    if quick is None:
        return
    for one, two in zip(quick, slow, strict=True):
        assert (one.status, one.continuation) == (two.status, two.continuation)
        assert (one.changes is None) == (two.changes is None)
        if one.changes is not None:
            for column in ("kind", "status", "source", "value"):
                np.testing.assert_array_equal(getattr(one.changes, column), getattr(two.changes, column), column)
            assert one.changes.other == two.changes.other
