"""MES and ERP beside the lines: what they say is recorded once, reaches the lines, and goes stale; responses go back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from edge import sources as sources_module
from edge.drivers.mes.rest import MesSource
from edge.recording import Recording
from edge.site import load
from edge.sources import Sources
from edge.store import Store, open_store
from sync.chunk import decode
from sync.clock import WallClock
from sync.facts import (
    AnyFact,
    Audited,
    ConnectionChanged,
    Context,
    Faulted,
    JobOrderPlanned,
    JobResponded,
    LotDefined,
    Produced,
    StateChanged,
    Stream,
)
from tests.edge.drivers.mes.mes_server import FILLER, MesServer
from tests.edge.stores import until
from tests.servers import process

SITE = """
[gateway]
id = "gw-1"
tenant = "test"
site = "hall"
[[connection]]
name = "machine"
driver = "simulated"
{more}
[[line]]
work_unit = "bottling/line-1/filler"
connection = "machine"
book = "book.toml"
"""
BOOK = """
title = "Filler"
[[tag]]
name = "made"
address = "made"
role = "counter"
counter = "produced"
"""
MES = """
[[connection]]
name = "mes"
driver = "mes"
url = "http://127.0.0.1:{port}"
period_s = 0.2
responses = {responses}
"""
ERP = """
[[connection]]
name = "erp"
driver = "sql"
url = "sqlite:///erp.db"
period_s = 1
[[connection.query]]
gives = "lots"
sql = "select lot, product, n from lots where n >= :since"
watermark = "n"
begin = 0
"""


class Gateway:
    """The parts of a gateway that speak to MES and ERP, without its lines."""

    def __init__(self, store: Store, recording: Recording, sources: Sources) -> None:
        self.store, self.recording, self.sources = store, recording, sources

    @property
    def context(self) -> Context:
        return self.recording.pipelines[FILLER].production.now.mes

    async def made(self, order: str, start: int, good: int) -> None:
        """Record what a line would."""
        fact = Produced(
            at=start + 60_000_000_000, work_unit=FILLER, start=start, produced=good, good=good,
            context=Context(order=order),
        )  # fmt: skip
        await self.recording.commit([], [fact])

    async def said(self, stream: Stream = Stream.EVENT) -> list[AnyFact]:
        """Everything on disk, of all incarnations, in order."""
        found: list[AnyFact] = []
        for incarnation in (await self.store.holdings())[0]:
            after = 0
            while chunk := (await self.store.next_chunk(incarnation.inc, stream, after)).chunk:
                found += decode(chunk.body, chunk.count)
                after = chunk.first + chunk.count - 1
        return found


@contextlib.asynccontextmanager
async def running(folder: Path, more: str, *, ask: bool = True) -> AsyncIterator[Gateway]:
    (folder / "site.toml").write_text(SITE.format(more=more))
    (folder / "book.toml").write_text(BOOK)
    site = load(folder / "site.toml")
    async with open_store(site.data, clock=WallClock(), quota_bytes=2**26, ballast_bytes=0, software="test") as store:
        await store.commit(dictionary=site.table.dictionary(1))
        recording = Recording(site, store, WallClock())
        sources = Sources(recording)
        for work_unit, pipeline in recording.pipelines.items():
            if saved := store.checkpoint(f"line:{work_unit}"):
                pipeline.restore(saved)
        asked = [c for c in site.file.connections if c.name != "machine"] if ask else []
        tasks = [asyncio.create_task(sources.keep_asking(connection)) for connection in asked]
        try:
            yield Gateway(store, recording, sources)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [r for r in results if not isinstance(r, asyncio.CancelledError)], results


def mes_of(server: MesServer, responses: bool = False) -> str:
    return MES.format(port=server.port, responses=str(responses).lower())


async def test_what_a_mes_says_is_recorded_once_through_restarts_and_reaches_the_line(tmp_path: Path) -> None:
    server = MesServer()
    async with server.running():
        for _ in range(3):
            async with running(tmp_path, mes_of(server)) as gateway:
                await until(lambda: gateway.recording.sources["mes"].state == "connected", "asked")
                await until(lambda: gateway.context.order == "A-1", "the line knows")
                assert gateway.recording.pipelines[FILLER].production.now.ideal_cycle_ms == {"cola-330": 600.0}
                facts = await gateway.said()
        assert [f.order for f in facts if isinstance(f, JobOrderPlanned)] == ["A-1"]
        server.rows["job-orders"].append(server.order("A-2", FILLER))
        async with running(tmp_path, mes_of(server)) as gateway:
            async with asyncio.timeout(20):
                while [f.order for f in await gateway.said() if isinstance(f, JobOrderPlanned)] != ["A-1", "A-2"]:
                    await asyncio.sleep(0.05)


async def test_a_mes_that_comes_and_goes_is_said_each_time_and_repeats_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sources_module, "STALE_NS", 0)
    server = MesServer()
    async with running(tmp_path, mes_of(server)) as gateway:
        state = gateway.recording.sources["mes"]
        await until(lambda: state.state == "down", "nobody there")
        assert "check the url" in state.why
        for _ in range(2):
            async with server.running():
                await until(lambda: state.state == "connected" and not gateway.context.stale, "asked")
            await until(lambda: state.state == "down" and gateway.context.stale, "lost, and the context is old")
            assert gateway.context.order == "A-1"
        facts = await gateway.said()
        assert [f.connected for f in facts if isinstance(f, ConnectionChanged)] == [False, True, False, True, False]
        assert len([f for f in facts if isinstance(f, JobOrderPlanned)]) == 1


async def test_an_erp_beside_the_mes_leaves_its_word_alone_and_each_row_is_recorded_once(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "erp.db")
    database.execute("create table lots (lot text, product text, n integer)")
    server = MesServer()
    server.lacks = {"lots"}
    async with server.running():
        for i in range(3):
            database.execute("insert into lots values (?, 'cola', ?)", (f"L{i}", i // 2))
            database.commit()
            async with running(tmp_path, mes_of(server) + ERP) as gateway:
                await until(lambda: gateway.recording.sources["erp"].state == "connected", "the ERP is asked")
                await until(lambda: gateway.context.order == "A-1", "the line knows")
                async with asyncio.timeout(20):
                    while len([f for f in await gateway.said() if isinstance(f, LotDefined)]) <= i:
                        await asyncio.sleep(0.05)
                found = [f.lot for f in await gateway.said() if isinstance(f, LotDefined)]
                assert found == [f"L{n}" for n in range(i + 1)]
    database.close()


async def test_the_erp_s_place_holds_through_a_lost_connection(tmp_path: Path) -> None:
    """The store knows the cursor as of its opening; the one of the last commit counts."""
    with contextlib.closing(sqlite3.connect(tmp_path / "erp.db")) as database:
        database.execute("create table lots (lot text, product text, n integer)")
        database.execute("insert into lots values ('L1', 'cola', 1)")
        database.commit()
    async with running(tmp_path, ERP, ask=False) as gateway:
        state, connection = gateway.recording.sources["erp"], gateway.recording.site.file.connections[1]
        for _ in range(3):
            state.state = "down"
            asking = asyncio.create_task(gateway.sources._ask(connection, state))
            await until(lambda: state.state == "connected", "asked")
            await until(lambda: gateway.sources._cursors["erp"], "committed")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert [f.lot for f in await gateway.said() if isinstance(f, LotDefined)] == ["L1"]


async def test_a_fault_of_ours_in_a_source_is_on_record_and_it_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    server = MesServer()
    poll = MesSource._poll

    async def broken(self):
        monkeypatch.setattr(MesSource, "_poll", poll)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MesSource, "_poll", broken)
    async with server.running(), running(tmp_path, mes_of(server)) as gateway:
        await until(lambda: gateway.recording.sources["mes"].state == "connected", "asked after all")
        (fault,) = [f for f in await gateway.said() if isinstance(f, Faulted)]
        assert "a bug" in fault.why


# --- job responses -------------------------------------------------------------------------------------------------

MINUTE = 60_000_000_000
T0 = 1_767_333_600_000_000_000


async def test_responses_wait_for_the_mes_through_restarts_and_are_handed_over(tmp_path: Path) -> None:
    server = MesServer()
    for i in range(4):  # four starts without a MES; each goes on with the order of the one before
        async with running(tmp_path, mes_of(server, responses=True), ask=False) as gateway:
            await gateway.made("A", T0 + i * MINUTE, 10)
    async with running(tmp_path, mes_of(server, responses=True)) as gateway:
        await gateway.made("B", T0 + 5 * MINUTE, 5)
        notes = gateway.recording.sources["mes"].health.notes
        await until(
            lambda: "1 waiting" in gateway.recording.sources["mes"].health.notes.get("job responses", ""), "said"
        )
        async with server.running():
            await until(lambda: server.put, "handed over")
            await until(lambda: "job responses" not in gateway.recording.sources["mes"].health.notes, "no more said")
        (told,) = [f for f in await gateway.said() if isinstance(f, JobResponded)]
    assert notes is not None
    ((name, body),) = server.put
    assert (name, body["order"], body["produced"], body["complete"]) == (told.response, "A", 40, True)
    async with server.running(), running(tmp_path, mes_of(server, responses=True)) as gateway:
        await until(lambda: gateway.recording.sources["mes"].state == "connected", "asked")
        await gateway.made("C", T0 + 6 * MINUTE, 1)
        await until(lambda: len(server.put) == 2, "the next")
    assert [body["order"] for _, body in server.put] == ["A", "B"], "the first was not sent again"


async def test_a_refused_response_is_put_aside_aloud_and_the_next_goes_on(tmp_path: Path) -> None:
    server = MesServer()
    server.put_status = 409
    async with server.running(), running(tmp_path, mes_of(server, responses=True)) as gateway:
        await gateway.made("A", T0, 10)
        await gateway.made("B", T0 + MINUTE, 5)
        source = gateway.recording.sources["mes"]
        await until(lambda: "1 put aside" in source.health.notes.get("job responses", ""), "said")
        (audited,) = [f for f in await gateway.said(Stream.AUDIT) if isinstance(f, Audited)]
        assert (audited.action, audited.target) == ("job_response.put_aside", "A")
        assert "409" in audited.detail["why"]
        server.put_status = 204
        await gateway.made("C", T0 + 2 * MINUTE, 1)
        await until(lambda: server.put, "the next goes through")
        assert server.put[0][1]["order"] == "B"
        assert [f.order for f in await gateway.said() if isinstance(f, JobResponded)] == ["A", "B"]


async def test_a_mes_in_trouble_is_asked_again_and_nothing_is_put_aside(tmp_path: Path) -> None:
    server = MesServer()
    server.put_status = 503
    async with server.running(), running(tmp_path, mes_of(server, responses=True)) as gateway:
        await gateway.made("A", T0, 10)
        await gateway.made("B", T0 + MINUTE, 5)
        source = gateway.recording.sources["mes"]
        await until(lambda: "503" in source.health.notes.get("job responses", ""), "said")
        server.put_status = 200
        await until(lambda: server.put, "handed over")
        assert not [f for f in await gateway.said(Stream.AUDIT) if isinstance(f, Audited)]


async def test_without_responses_in_the_configuration_nothing_is_counted_or_sent(tmp_path: Path) -> None:
    server = MesServer()
    async with server.running(), running(tmp_path, mes_of(server)) as gateway:
        await gateway.made("A", T0, 10)
        await gateway.made("B", T0 + MINUTE, 5)
        await until(lambda: gateway.recording.sources["mes"].state == "connected", "asked")
        facts = await gateway.said()
    assert not [f for f in facts if isinstance(f, JobResponded)]
    assert not server.put
    assert not [f for f in facts if isinstance(f, StateChanged)]


async def test_killed_anywhere_each_row_and_each_piece_still_counts_once(tmp_path: Path) -> None:
    """kill -9 around commits, while rows come in and orders change; what is on disk adds up at the end."""
    (tmp_path / "site.toml").write_text(SITE.format(more=ERP + mes_of(MesServer(), responses=True)))
    (tmp_path / "book.toml").write_text(BOOK)
    database = sqlite3.connect(tmp_path / "erp.db")
    database.execute("create table lots (lot text, product text, n integer)")
    rows = 0
    for point, count in (("before", 4), ("after", 4), ("after", 12), ("before", 30)):
        for _ in range(7):
            database.execute("insert into lots values (?, 'cola', ?)", (f"L{rows}", rows // 3))
            rows += 1
        database.commit()
        environment = os.environ | {"TRIFLOW_FAILPOINT": f"edge.{point}_commit:{count}"}
        with process("tests.edge.mes_gateway", str(tmp_path), log=tmp_path / "log", env=environment) as child:
            assert await asyncio.to_thread(child.wait, 30) == -signal.SIGKILL, (tmp_path / "log").read_text()[-2000:]
    database.close()
    (tmp_path / "stop").touch()
    with process("tests.edge.mes_gateway", str(tmp_path), log=tmp_path / "log") as child:
        assert await asyncio.to_thread(child.wait, 30) == 0, (tmp_path / "log").read_text()[-2000:]
    async with running(tmp_path, ERP) as gateway:
        async with asyncio.timeout(20):
            while len([f for f in await gateway.said() if isinstance(f, LotDefined)]) < rows:
                await asyncio.sleep(0.05)
        facts = await gateway.said()
    assert sorted(f.lot for f in facts if isinstance(f, LotDefined)) == sorted(f"L{i}" for i in range(rows))
    made, told = Counter[str](), dict[str, JobResponded]()
    for fact in facts:
        if isinstance(fact, Produced):
            made[str(fact.context.order)] += fact.produced
        elif isinstance(fact, JobResponded):
            told[fact.response] = fact
    assert len(made) > 1
    assert {r.order: r.produced for r in told.values()} == made
    assert all(r.complete for r in told.values())
