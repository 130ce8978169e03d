"""The past goes through the line's own code into the gateway's own store, once, and every piece of it is counted."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from demo.history import SLICE, backfill
from demo.plant import Plant, load
from demo.plant_spec import DAY, HOUR, PRODUCT, SECOND, shift_at
from demo.site_files import choose_ports, write
from demo.site_plan import GATEWAYS, PLANT_FILE
from edge.pipeline import LinePipeline
from edge.site import load as load_site
from edge.store import open_store
from sync.chunk import UnknownFact, decode
from sync.clock import WallClock
from sync.facts import AlarmChanged, Fact, JobOrderPlanned, Judged, Produced, StateChanged

END = 1_785_542_400 * SECOND + 5 * HOUR + 17 * SECOND


def facts_of(folder: Path, gateway: str) -> list[Fact]:
    connection = sqlite3.connect(f"file:{folder / gateway / 'edge.db'}?mode=ro", uri=True)
    try:
        rows = connection.execute("select body, count from chunk order by ord, stream, first").fetchall()
    finally:
        connection.close()
    facts: list[Fact] = []
    for body, count in rows:
        decoded = decode(body, count)
        assert isinstance(decoded, list)
        facts += [fact for fact in decoded if not isinstance(fact, UnknownFact)]
    return facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0)), 1.0)
    return tmp_path


async def test_every_piece_of_the_past_is_a_fact_or_waits_in_the_checkpoint(folder: Path):
    found = await backfill(folder, weeks=2 / 7, seed=7, end=END, clock=WallClock())
    assert found is not None
    plant = load(folder / PLANT_FILE)
    assert plant is not None
    truth = plant.totals()
    assert found.pieces == sum(t.produced for t in truth.values())
    for gateway in GATEWAYS:
        made: Counter[str] = Counter()
        good: Counter[str] = Counter()
        for fact in facts_of(folder, gateway):
            if isinstance(fact, Produced):
                assert fact.produced == fact.good + fact.scrap
                assert fact.ideal_cycle_ms == PRODUCT[fact.context.product or ""].ideal_ms[fact.work_unit.split("/")[1]]
                assert fact.context.shift == shift_at(fact.at - 1).code
                made[fact.work_unit] += fact.produced
                good[fact.work_unit] += fact.good
        site = load_site(folder / f"{gateway}.toml")
        async with open_store(
            site.data, clock=WallClock(), quota_bytes=2**28, ballast_bytes=0, software="test"
        ) as store:
            for line in site.file.lines:
                state = store.checkpoint(f"line:{line.work_unit}")
                assert state is not None
                pipeline = LinePipeline(
                    line.work_unit, site.table.of_work_unit(line.work_unit), None, window_ns=SECOND, report_ns=SECOND
                )
                pipeline.restore(state)
                gains = pipeline.production.now.gains
                assert made[line.work_unit] + gains.get("produced", 0) == truth[line.work_unit].produced
                assert good[line.work_unit] + gains.get("good", 0) == truth[line.work_unit].good


async def test_every_piece_counts_in_the_ten_minutes_it_was_made_in(folder: Path):
    await backfill(folder, weeks=1 / 7, seed=7, end=END, clock=WallClock())
    gained: Counter[tuple[str, int]] = Counter()
    slices: set[int] = set()
    for gateway in GATEWAYS:
        for fact in facts_of(folder, gateway):
            if isinstance(fact, Produced):
                gained[fact.work_unit, (fact.at - 1) // SLICE] += fact.produced
                slices.add((fact.at - 1) // SLICE)
    start = END - DAY
    plant = Plant(seed=7, start=start - start % SLICE)
    before = dict.fromkeys(plant.totals(), 0)
    for number in sorted(slices):
        plant.run_to((number + 1) * SLICE)
        for unit, totals in plant.totals().items():
            assert gained[unit, number] == totals.produced - before[unit]
            before[unit] = totals.produced


async def test_the_past_tells_states_verdicts_orders_and_its_stories(folder: Path):
    await backfill(folder, weeks=1.0, seed=7, end=END, clock=WallClock())
    facts = [fact for gateway in GATEWAYS for fact in facts_of(folder, gateway)]
    kinds = Counter(type(fact) for fact in facts)
    assert kinds[StateChanged] > 2000
    assert kinds[Judged] > 4 * 7 * 40
    assert kinds[AlarmChanged] > 0
    assert {fact.state for fact in facts if isinstance(fact, JobOrderPlanned)} == {"completed", "running", "planned"}
    bad: Counter[bool] = Counter()
    made: Counter[bool] = Counter()
    for fact in facts:
        if isinstance(fact, Produced):
            story = fact.work_unit == "bottling/line-2/filler" and fact.context.product == "juice-350"
            bad[story] += fact.scrap
            made[story] += fact.produced
    assert bad[True] / made[True] > 0.07
    assert bad[False] / made[False] < 0.04
    assert all(END - 7 * DAY - HOUR <= fact.at <= END for fact in facts if isinstance(fact, StateChanged))


async def test_the_past_is_added_once(folder: Path):
    assert await backfill(folder, weeks=0.02, seed=7, end=END, clock=WallClock()) is not None
    before = [len(facts_of(folder, gateway)) for gateway in GATEWAYS]
    assert await backfill(folder, weeks=0.02, seed=7, end=END, clock=WallClock()) is None
    assert [len(facts_of(folder, gateway)) for gateway in GATEWAYS] == before


async def test_an_interrupted_back_fill_is_begun_anew_and_keys_stay(folder: Path):
    (folder / "gw-opcua").mkdir()
    (folder / "gw-opcua" / "edge.db").write_bytes(b"half of something")
    (folder / PLANT_FILE).write_bytes(b"half of something else")
    key = (folder / "credentials" / "gw-opcua.key").read_text()
    assert await backfill(folder, weeks=0.02, seed=7, end=END, clock=WallClock()) is not None
    assert facts_of(folder, "gw-opcua")
    assert (folder / "credentials" / "gw-opcua.key").read_text() == key
    assert (folder / "gw-opcua.toml").exists()


async def test_no_weeks_still_give_the_counters_their_first_look(folder: Path):
    found = await backfill(folder, weeks=0, seed=7, end=END, clock=WallClock())
    assert found is not None
    assert found.pieces == pytest.approx(0, abs=2000)
    site = load_site(folder / "gw-modbus.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**28, ballast_bytes=0, software="test") as store:
        assert store.checkpoint("line:packaging/line-4/packer") is not None


def test_the_demos_state_file_is_plain_json(folder: Path):
    from demo.site_files import STATE, read_state, write_state

    ports = choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0))
    write_state(folder, ports, 4711, {"cloud": 4712})
    assert json.loads((folder / STATE).read_text())["pid"] == 4711
    state = read_state(folder)
    assert state is not None
    assert (state.pid, state.ports, state.parts) == (4711, ports, {"cloud": 4712})
