"""The plant's servers show the model's values to real clients, each in its own tongue."""

from __future__ import annotations

import asyncio
import itertools
import math
import struct
from collections import Counter
from contextlib import aclosing
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from asyncua import Client, ua
from pymodbus.client import AsyncModbusTcpClient

from demo.mes import mes_app
from demo.mes_store import MesStore
from demo.modbus_server import DROPPED_OUT, ModbusMachine
from demo.opcua_server import NAMESPACE, OpcUaHall
from demo.plant import Plant
from demo.plant_signals import Value
from demo.plant_spec import DAY, HOUR, LINE, LINES, SECOND
from demo.plant_tags import book
from demo.site_plan import MODBUS, OPCUA
from edge.connections import Mes
from edge.drivers.driver import Surroundings
from edge.drivers.mes.rest import MesSource
from edge.page.server import serve
from sync.clock import WallClock
from sync.facts import JobResponded
from sync.quality import BAD_SENSOR_FAILURE
from tests.contracts.driver_contract import until
from tests.servers import free_port, listens

START = 1_785_542_400 * SECOND


@pytest.fixture
def plant() -> Plant:
    plant = Plant(seed=7, start=START)
    plant.run_to(START + 30 * HOUR + 12_345_678_901)
    return plant


def test_every_tag_of_every_book_is_something_the_plant_shows(plant: Plant):
    used = OPCUA | {line: unit.book for line, unit in MODBUS.items()}
    for line, name in used.items():
        shown = set(plant.line[line].observe(plant.now)) | {"clock"}
        assert {tag.name for tag in book(name).tags} <= shown


async def test_opc_ua_shows_values_with_the_machines_own_status_and_time(plant: Plant):
    async with OpcUaHall({n: book(b) for n, b in OPCUA.items()}, free_port(), WallClock()) as hall:
        observed = plant.line["line-1"].observe(plant.now)
        broken = observed | {"vibration": Value(None, plant.now, BAD_SENSOR_FAILURE)}
        await hall.show("line-1", broken, plant.now)
        async with Client(hall.url) as client:
            index = await client.get_namespace_index(NAMESPACE)
            assert index > 2, "the namespace's index is not the obvious one"
            for tag in book("filler_opcua").tags:
                node = client.get_node(ua.NodeId(f"line-1.{tag.name}", index))
                data = await node.read_data_value(raise_on_bad_status=False)
                expected = broken[tag.name]
                assert data.StatusCode.value == expected.status
                assert data.Value.Value == (expected.value if expected.status == 0 else None)
                assert round(data.SourceTimestamp.timestamp() * 1e6) == expected.at // 1000


async def test_every_state_on_the_way_reaches_a_subscriber_with_its_own_time():
    plant = Plant(seed=7, start=START)
    seen: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    class Ear:
        def datachange_notification(self, node, value, data):
            stamp = data.monitored_item.Value.SourceTimestamp
            seen.put_nowait((round(stamp.timestamp() * 1e6), value))

    async with OpcUaHall({n: book(b) for n, b in OPCUA.items()}, free_port(), WallClock()) as hall:
        await hall.show("line-1", plant.line["line-1"].observe(START), START)
        async with Client(hall.url) as client:
            index = await client.get_namespace_index(NAMESPACE)
            subscription = await client.create_subscription(20, Ear())
            await subscription.subscribe_data_change(client.get_node(ua.NodeId("line-1.state", index)), queuesize=1000)
            expected = [(START // 1000, int(plant.line["line-1"].stage.state))]
            for moment in plant.advance(START + 12 * HOUR):
                if moment.changed and moment.line.spec.line == "line-1":
                    await hall.show("line-1", moment.line.observe(moment.at), moment.at)
                    entry = (moment.line.stage.since // 1000, int(moment.line.stage.state))
                    if entry[1] != expected[-1][1]:
                        expected.append(entry)
            got = [await asyncio.wait_for(seen.get(), 10) for _ in expected]
            await subscription.delete()
    assert len(expected) > 20
    assert got == expected


def word(order: str, words: list[int], code: str) -> float:
    raw = [struct.pack(">H", w) for w in words]
    if order in {"BADC", "DCBA"}:
        raw = [r[::-1] for r in raw]
    if order in {"CDAB", "DCBA"}:
        raw.reverse()
    return struct.unpack(">" + code, b"".join(raw))[0]


async def test_the_modbus_filler_answers_as_its_makers_sheet_says(plant: Plant):
    unit = MODBUS["line-3"]
    machine = ModbusMachine(
        book(unit.book), unit=unit.unit, word_order=unit.word_order, offset=unit.offset, port=free_port()
    )
    observed = plant.line["line-3"].observe(plant.now)
    async with machine:
        machine.show(observed, plant.now)
        client = AsyncModbusTcpClient("127.0.0.1", port=machine.port)
        assert await client.connect()
        registers = (await client.read_holding_registers(0, count=40, device_id=1)).registers
        client.close()
    assert word("CDAB", registers[0:4], "Q") == plant.now // 1_000_000
    assert registers[4] == observed["state"].value
    produced = observed["produced"].value
    assert isinstance(produced, int)
    assert produced > 65_535, "after thirty hours the counter has rolled over"
    assert registers[10] == produced % 65_536
    assert word("CDAB", registers[20:22], "I") == observed["energy"].value
    assert word("CDAB", registers[30:32], "f") == pytest.approx(observed["product_temperature"].value, rel=1e-6)
    assert registers[34] == round(observed["fill_pressure"].value * 1000)
    assert machine.reads == 1
    assert machine.seen_at == plant.now


async def test_the_packer_has_its_own_codes_word_order_and_block(plant: Plant):
    unit = MODBUS["line-4"]
    tags = book(unit.book)
    machine = ModbusMachine(tags, unit=unit.unit, word_order=unit.word_order, offset=unit.offset, port=free_port())
    observed = plant.line["line-4"].observe(plant.now) | {"vacuum": Value(None, plant.now, BAD_SENSOR_FAILURE)}
    codes = next(tag.values for tag in tags.tags if tag.name == "state")
    async with machine:
        machine.show(observed, plant.now)
        client = AsyncModbusTcpClient("127.0.0.1", port=machine.port)
        assert await client.connect()
        holding = (await client.read_holding_registers(100, count=24, device_id=17)).registers
        inputs = (await client.read_input_registers(100, count=8, device_id=17)).registers
        refused = [
            await client.read_holding_registers(0, count=1, device_id=17),
            await client.write_register(112, 0, device_id=17),
        ]
        client.close()
    assert word("DCBA", holding[0:4], "Q") == plant.now // 1_000_000
    assert codes[str(int(word("DCBA", [holding[8]], "H")))] == plant.line["line-4"].stage.state.name
    assert word("DCBA", [holding[12]], "H") == observed["produced"].value % 65_536
    assert word("DCBA", [inputs[1]], "H") == DROPPED_OUT
    assert word("DCBA", inputs[2:4], "f") == pytest.approx(observed["case_weight"].value, rel=1e-6)
    assert all(answer.isError() for answer in refused)


async def test_a_broken_wire_is_nan_where_the_register_can_say_so(plant: Plant):
    machine = ModbusMachine(book("filler_modbus"), unit=1, word_order="ABCD", offset=0, port=free_port())
    observed = plant.line["line-3"].observe(plant.now) | {"fill_weight": Value(None, plant.now, BAD_SENSOR_FAILURE)}
    async with machine:
        machine.show(observed, plant.now)
        client = AsyncModbusTcpClient("127.0.0.1", port=machine.port)
        assert await client.connect()
        registers = (await client.read_holding_registers(32, count=2, device_id=1)).registers
        client.close()
    assert math.isnan(word("ABCD", registers, "f"))


async def test_the_mes_tells_orders_products_stock_shifts_and_context(plant: Plant, tmp_path: Path):
    with MesStore(tmp_path / "mes.db") as store:
        store.update(plant, orders=True)
        transport = httpx.ASGITransport(mes_app(store))
        async with httpx.AsyncClient(transport=transport, base_url="http://mes") as mes:
            unit = LINE["line-2"].work_unit
            orders = (await mes.get("/api/job-orders", params={"work_unit": unit})).json()
            running = [order for order in orders if order["state"] == "running"]
            planned = [order for order in orders if order["state"] == "planned"]
            truth = plant.line["line-2"].orders.running
            assert [(o["order"], o["product"], o["lot"]) for o in running] == [(truth.order, truth.product, truth.lot)]
            assert len(planned) == 3
            assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(planned))
            assert running[0]["start"].endswith("Z")
            context = (await mes.get("/api/context", params={"work_unit": unit})).json()
            assert context == {"order": truth.order, "product": truth.product, "lot": truth.lot, "shift": "B"}
            products = {p["product"]: p for p in (await mes.get("/api/products")).json()}
            assert products["juice-350"]["ideal_cycle_ms"][unit] == 240
            assert products["juice-350"]["name"]["ko"]
            stock = (await mes.get("/api/inventory")).json()
            assert {"material", "location", "quantity", "unit", "daily_usage"} == set(stock[0])
            shifts = (await mes.get("/api/shifts", params={"work_unit": unit})).json()
            assert [s["shift"] for s in shifts] == ["B", "C", "A"]
            assert all(a["end"] == b["start"] for a, b in itertools.pairwise(shifts))
            assert datetime.fromisoformat(shifts[0]["start"]).timestamp() * 1e9 <= plant.now


async def test_the_mes_of_the_demo_is_one_our_driver_reads_whole_and_answers(plant: Plant, tmp_path: Path):
    """Every row of every resource fits what was agreed on, and a response that was put is there."""
    with MesStore(tmp_path / "mes.db") as store:
        plant.run_to(plant.now + DAY)
        store.update(plant, orders=True)
        port = free_port()
        serving = asyncio.create_task(serve(mes_app(store), "127.0.0.1", port))
        around = Surroundings(folder=tmp_path, data=tmp_path, gateway="gw")
        config = Mes(driver="mes", name="mes", url=f"http://127.0.0.1:{port}")
        source = MesSource(config, [spec.work_unit for spec in LINES], WallClock(), around)
        try:
            await until(lambda: listens(port), "the MES serves")
            async with source, aclosing(source.facts()) as facts:
                kinds = Counter(type(fact).__name__ for fact in (await anext(facts)).facts)
                assert not [why for name, why in source.health.notes.items() if name != "security"]
                response = JobResponded(
                    at=plant.now, work_unit=LINES[0].work_unit, response="r1", order="WO-1", start=1, produced=5, good=5
                )
                await source.respond(response)
                await source.respond(response)
            async with httpx.AsyncClient(trust_env=False) as http:
                (told,) = (await http.get(f"http://127.0.0.1:{port}/api/job-responses")).json()
                assert (told["order"], told["good"]) == ("WO-1", 5)
                refused = await http.put(f"http://127.0.0.1:{port}/api/job-responses/r2", json={"order": "WO-2"})
                assert refused.status_code == 422
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    assert kinds["ShiftPlanned"] == 3 * len(LINES)
    assert kinds["LotDefined"] == kinds["JobOrderPlanned"] > 3 * len(LINES)
    assert kinds["QualityMeasured"] > 12


async def test_the_mes_answers_304_until_something_changed(plant: Plant, tmp_path: Path):
    with MesStore(tmp_path / "mes.db") as store:
        store.update(plant, orders=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(mes_app(store)), base_url="http://mes") as mes:
            first = await mes.get("/api/inventory")
            again = await mes.get("/api/inventory", headers={"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            plant.run_to(plant.now + DAY)
            store.update(plant, orders=True)
            changed = await mes.get("/api/inventory", headers={"if-none-match": first.headers["etag"]})
            assert changed.status_code == 200
            assert changed.headers["etag"] != first.headers["etag"]


async def test_the_mes_says_what_is_wrong_with_a_question(plant: Plant, tmp_path: Path):
    with MesStore(tmp_path / "mes.db") as store:
        store.update(plant, orders=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(mes_app(store)), base_url="http://mes") as mes:
            assert (await mes.get("/api/context")).status_code == 400
            unknown = await mes.get("/api/context", params={"work_unit": "bottling/line-9/filler"})
            assert unknown.status_code == 404
            assert "line-9" in unknown.json()["error"]
