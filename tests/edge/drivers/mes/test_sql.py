"""The SQL source against real SQLite files and a real PostgreSQL: what is new, what it cannot do, what it says."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from edge.connections import Sql
from edge.drivers import open_source
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.mes import sql_database
from edge.drivers.mes.sql import SqlSource
from sync.clock import WallClock
from sync.facts import Context, Fact, InventoryCounted, JobOrderPlanned, LotDefined, ProductDefined, SchemaDrifted
from sync.secret import SecretError
from tests.contracts.driver_contract import until
from tests.servers import wait_until

FILLER, PACKER = "bottling/line-1/filler", "packaging/line-4/packer"
LOTS = "select lot, product, quantity, changed from lots where changed >= :since"
_numbers = itertools.count(1)


class Erp:
    """A database of the tests, of either kind."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.postgresql = url.startswith("postgresql")

    def run(self, *statements: str) -> None:
        with self.open() as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        connection.close()

    def open(self) -> Any:
        if self.postgresql:
            return psycopg.connect(self.url.replace("+psycopg", ""))
        return sqlite3.connect(self.url.removeprefix("sqlite:///"))

    def config(self, *queries: dict[str, Any], **more: Any) -> Sql:
        return Sql(**{"driver": "sql", "name": "erp", "url": self.url, "period_s": 1, "query": list(queries), **more})

    def source(self, *queries: dict[str, Any], cursor: bytes = b"", **more: Any) -> SqlSource:
        around = Surroundings(folder=self.folder, data=self.folder, gateway="gw")
        return SqlSource(self.config(*queries, **more), [FILLER, PACKER], WallClock(), around, cursor=cursor)


@pytest.fixture
def sqlite(tmp_path: Path) -> Erp:
    sqlite3.connect(tmp_path / "erp.db").close()
    return Erp(f"sqlite:///{tmp_path / 'erp.db'}", tmp_path)


@pytest.fixture
def postgres(postgresql: str, tmp_path: Path) -> Iterator[Erp]:
    name = f"erp_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
    yield Erp(f"{postgresql.replace('postgresql:', 'postgresql+psycopg:')}/{name}", tmp_path)
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture(params=["sqlite", "postgres"])
def erp(request: pytest.FixtureRequest) -> Erp:
    return request.getfixturevalue(request.param)


def drifts(news: list[Fact]) -> list[tuple[str, list[str]]]:
    return [(fact.severity, fact.changes) for fact in news if isinstance(fact, SchemaDrifted)]


def query(gives: str, sql: str, **more: Any) -> dict[str, Any]:
    return {"gives": gives, "sql": sql, **more}


async def first(source: SqlSource) -> list[Fact]:
    async with source, aclosing(source.facts()) as facts:
        return (await anext(facts)).facts


async def test_rows_become_facts_and_only_what_changed_is_said_again(erp: Erp) -> None:
    erp.run(
        "create table stock (material text, location text, quantity numeric, unit text, daily_usage numeric)",
        "insert into stock values ('caps', 'W1', 1000, 'C62', 250.5), ('cola', 'W2', 12.5, 'LTR', null)",
    )
    source = erp.source(query("inventory", "select * from stock"))
    async with source, aclosing(source.facts()) as facts:
        learned = await anext(facts)
        at = learned.facts[0].at
        assert sorted(learned.facts, key=lambda fact: fact.material) == [
            InventoryCounted(at=at, material="caps", location="W1", quantity=1000.0, unit="C62", daily_usage=250.5),
            InventoryCounted(at=at, material="cola", location="W2", quantity=12.5, unit="LTR"),
        ]
        assert await anext(facts) != learned
        erp.run("update stock set quantity = 990 where material = 'caps'")
        assert [(fact.material, fact.quantity) for fact in (await anext(facts)).facts] == [("caps", 990.0)]
        cursor = erp.source(query("inventory", "select * from stock"), cursor=learned.cursor)
    assert [fact.quantity for fact in await first(cursor)] == [990.0], "the last cursor committed was the first"


async def test_every_kind_of_row(postgres: Erp) -> None:
    postgres.run(
        "create table orders (no int, product text, unit text, quantity numeric, s timestamptz, e timestamp, state text)",
        f"insert into orders values (1, 'cola', '{FILLER}', 1200, '2026-01-02 06:00Z', '2026-01-02 23:00', 'running'),"
        f" (2, 'cola', '{PACKER}', 5, '2026-01-02 06:00Z', '2026-01-02 23:00', 'planned'),"
        " (3, 'cola', 'far/away/unit', 5, '2026-01-02 06:00Z', '2026-01-02 23:00', 'planned')",
    )
    order = (
        "select no as job_order, product, unit as work_unit, quantity, s as start_at, e as end_at, state from orders"
    )
    queries = [
        query("job_orders", order),
        query("products", f"select 'cola' as product, 'Cola' as name, '{FILLER}' as work_unit, 600 as ideal_cycle_ms"),
        query("lots", "select 'L1' as lot, 'cola' as product, 10::numeric(9,3) as quantity"),
        query("shifts", f"select 'A' as shift, '{FILLER}' as work_unit, now() as start, now() as \"end\""),
        query("quality_results", "select 'brix' as characteristic, now() as at, 10.6 as value, true as passed"),
        query("context", "select unit as work_unit, no as \"order\", product from orders where state = 'running'"),
    ]
    source = postgres.source(*queries, timezone="Asia/Seoul")
    found: list[Fact] = []
    async with source, aclosing(source.facts()) as facts:
        for _ in queries:
            found += (await anext(facts)).facts
        assert source.server_time is not None
    kinds = sorted(type(fact).__name__ for fact in found)
    assert kinds == ["JobOrderPlanned"] * 2 + ["LotDefined", "ProductDefined", "QualityMeasured", "ShiftPlanned"]
    order = next(fact for fact in found if isinstance(fact, JobOrderPlanned) and fact.order == "1")
    assert (order.quantity, order.end - order.start) == (1200, 8 * 3600 * 10**9)
    assert source.contexts == {FILLER: Context(order="1", product="cola"), PACKER: Context()}
    assert source.cycles == {"cola": {FILLER: 600}}
    assert next(fact for fact in found if isinstance(fact, ProductDefined)).name["en"] == "Cola"


async def test_a_query_for_each_line_is_asked_for_each_line(erp: Erp) -> None:
    erp.run(
        "create table making (unit text, product text)", f"insert into making values ('{FILLER}', 'cola'), ('x', 'y')"
    )
    source = erp.source(query("context", "select product from making where unit = :work_unit"))
    async with source, aclosing(source.facts()) as facts:
        await anext(facts)
        await anext(facts)
        assert source.contexts == {FILLER: Context(product="cola"), PACKER: Context()}
        assert source.health.requests == 2


async def test_a_query_for_each_line_without_a_line_says_so(sqlite: Erp) -> None:
    around = Surroundings(folder=sqlite.folder, data=sqlite.folder, gateway="gw")
    asked = query("context", "select 'x' as product where :work_unit is not null")
    source = SqlSource(sqlite.config(asked), [], WallClock(), around)
    with pytest.raises(DriverError, match=r"no \[\[line\]\]"):
        await first(source)


# --- the watermark -------------------------------------------------------------------------------------------------


def lots_table(erp: Erp, kind: str) -> None:
    erp.run(f"create table lots (lot text, product text, quantity numeric, changed {kind})")


@pytest.mark.parametrize("kind", ["integer", "timestamp", "timestamptz"])
async def test_each_row_is_given_once_whatever_is_killed_in_between(erp: Erp, kind: str, seed: int) -> None:
    """Rows come in bursts that share a watermark; the source is killed before or after a commit, again and again."""
    if not erp.postgresql:
        kind = {"integer": "integer"}.get(kind, "text")
    lots_table(erp, kind)
    chance = random.Random(seed)
    begin: Any = 0 if kind == "integer" else "2026-01-01 00:00:00"
    asked = query("lots", LOTS, watermark="changed", begin=begin, overlap=0)
    committed: list[str] = []
    written: list[str] = []
    cursor, mark = b"", 0

    def write() -> None:
        nonlocal mark
        rows = []
        for _ in range(chance.randrange(8)):
            mark += chance.choice([0, 0, 0, 1])
            changed = str(mark) if kind == "integer" else f"'2026-01-01 00:00:{mark:02d}'"
            rows.append(f"('L{len(written)}', 'cola', 1, {changed})")
            written.append(f"L{len(written)}")
        if rows:
            erp.run(f"insert into lots values {', '.join(rows)}")

    for _ in range(12):
        source = erp.source(asked, cursor=cursor, rows=3)
        async with source, aclosing(source.facts()) as facts:
            for _ in range(chance.randrange(1, 3)):
                write()
                learned = await anext(facts)
                if chance.random() < 0.4:
                    break  # killed before the commit
                committed += [fact.lot for fact in learned.facts if isinstance(fact, LotDefined)]
                cursor = learned.cursor or cursor
                if chance.random() < 0.3:
                    break  # and after
    source = erp.source(asked, cursor=cursor, rows=3)
    async with source, aclosing(source.facts()) as facts:
        while len(committed) < len(written):
            committed += [fact.lot for fact in (await anext(facts)).facts if isinstance(fact, LotDefined)]
    assert sorted(committed) == sorted(written)


async def test_rows_committed_late_are_found_within_the_overlap(postgres: Erp) -> None:
    lots_table(postgres, "timestamptz")
    asked = query("lots", LOTS, watermark="changed", begin="2026-01-01T00:00:00Z", overlap=30)
    source = postgres.source(asked)
    async with source, aclosing(source.facts()) as facts:
        slow = postgres.open()
        slow.execute("insert into lots values ('slow', 'cola', 1, '2026-01-01 00:00:05Z')")
        postgres.run("insert into lots values ('quick', 'cola', 1, '2026-01-01 00:00:20Z')")
        assert [fact.lot for fact in (await anext(facts)).facts] == ["quick"]
        slow.commit()
        slow.close()
        assert [fact.lot for fact in (await anext(facts)).facts] == ["slow"]
        assert (await anext(facts)).facts == []


async def test_more_rows_than_are_taken_at_a_time_follow_at_once(erp: Erp) -> None:
    lots_table(erp, "integer")
    erp.run("insert into lots values " + ", ".join(f"('L{i}', 'cola', 1, {i // 40})" for i in range(100)))
    source = erp.source(query("lots", LOTS, watermark="changed", begin=0, overlap=0), rows=10, period_s=3600)
    found: list[str] = []
    async with source, aclosing(source.facts()) as facts:
        while len(found) < 100:
            found += [fact.lot for fact in (await anext(facts)).facts]
    assert sorted(found) == sorted(f"L{i}" for i in range(100))


async def test_a_row_that_changes_is_given_again(erp: Erp) -> None:
    lots_table(erp, "integer")
    erp.run("insert into lots values ('L1', 'cola', 1, 1), ('L2', 'cola', 1, 2)")
    source = erp.source(query("lots", LOTS, watermark="changed", begin=0))
    async with source, aclosing(source.facts()) as facts:
        assert len((await anext(facts)).facts) == 2
        erp.run("update lots set quantity = 5, changed = 3 where lot = 'L1'")
        assert [(fact.lot, fact.quantity) for fact in (await anext(facts)).facts] == [("L1", 5.0)]


async def test_another_text_goes_on_and_another_watermark_begins_anew(erp: Erp) -> None:
    lots_table(erp, "integer")
    erp.run("insert into lots values ('L1', 'cola', 1, 1)")
    asked = query("lots", LOTS, watermark="changed", begin=0)
    source = erp.source(asked)
    async with source, aclosing(source.facts()) as facts:
        cursor = (await anext(facts)).cursor
    longer = query("lots", LOTS.replace("quantity", "quantity, 'C62' as unit"), watermark="changed", begin=0)
    erp.run("insert into lots values ('L2', 'cola', 1, 2)")
    news = await first(erp.source(longer, cursor=cursor))
    assert {fact.lot for fact in news if isinstance(fact, LotDefined)} >= {"L2"}
    assert drifts(news) == []
    assert len(await first(erp.source(query("lots", LOTS, watermark="changed", begin=-1), cursor=cursor))) == 2


@pytest.mark.parametrize(
    ("insert", "said"), [("('L1', 'cola', 1, null)", "is NULL in some rows"), ("('L1', 'cola', 1, 5)", "")]
)
async def test_a_column_that_cannot_be_a_watermark_is_named(sqlite: Erp, insert: str, said: str) -> None:
    lots_table(sqlite, "integer")
    sqlite.run(f"insert into lots values {insert}")
    sql = f"{LOTS} or changed is null"
    news = await first(sqlite.source(query("lots", sql, watermark="changed", begin=0)))
    assert (said in news[0].changes[0]) if said else isinstance(news[0], LotDefined)
    gone = query("lots", "select lot, product from lots where changed >= :since", watermark="changed", begin=0)
    (drift,) = await first(sqlite.source(gone))
    assert "changed" in drift.changes[0]
    assert drift.severity == "critical"


# --- it only reads -------------------------------------------------------------------------------------------------


async def test_a_statement_that_would_write_cannot(postgres: Erp, sqlite: Erp) -> None:
    postgres.run("create sequence s", "create table t (a int)")
    postgres.run("create function f() returns text language sql as $$ insert into t values (1) returning 'x' $$")
    (drift,) = await first(postgres.source(query("lots", "select f() as lot, 'cola' as product")))
    assert "only reading is possible" in drift.changes[0]
    (drift,) = await first(
        postgres.source(
            query("lots", "select set_config('transaction_read_only', 'off', false) as lot, f() as product")
        )
    )
    assert "read" in drift.changes[0]
    with postgres.open() as connection:
        assert connection.execute("select count(*) from t").fetchone() == (0,)
    connection.close()
    database = sql_database.Database(
        sqlite.config(query("lots", "select 1")), Surroundings(folder=Path(), data=Path(), gateway="gw"), None
    )
    await database.open()
    raw = database._connection.connection.driver_connection
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        raw.execute("create table x (a)")
    await database.close()


# --- faults --------------------------------------------------------------------------------------------------------


async def refused(source: SqlSource) -> str:
    with pytest.raises(DriverError) as caught:
        async with asyncio.timeout(5.5), source:
            pass
    return str(caught.value)


async def test_a_database_that_cannot_be_reached_or_refuses_is_a_sentence(postgres: Erp, tmp_path: Path) -> None:
    asked = query("lots", "select 'L1' as lot, 'cola' as product")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        down = f"postgresql+psycopg://reader@127.0.0.1:{nobody.getsockname()[1]}/erp"
        assert "check the host" in await refused(postgres.source(asked, url=down))
    base, name = postgres.url.rsplit("/", 1)
    assert "no such database" in await refused(postgres.source(asked, url=f"{base}/nowhere"))
    assert "refuses us" in await refused(postgres.source(asked, url=f"{base.replace('triflow@', 'nobody@')}/{name}"))
    assert "unable to open" in await refused(postgres.source(asked, url=f"sqlite:///{tmp_path}/none.db"))
    (tmp_path / "text.db").write_text("this is no database, it only looks like a file with some text" * 100)
    assert "not a database" in await refused(postgres.source(asked, url=f"sqlite:///{tmp_path}/text.db"))
    assert "no library" in await refused(postgres.source(asked, url="mysql+pymysql://reader@127.0.0.1/erp"))
    assert "url's beginning" in await refused(postgres.source(asked, url="erpdb://reader@127.0.0.1/erp"))


def welcome(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def locked(postgresql: str) -> Iterator[str]:
    """Give the URL of a database for a user that must say its password, `open-sesame`."""
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        (rules,) = admin.execute("show hba_file").fetchone()
        before = Path(rules).read_text()
        Path(rules).write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{before}")
        admin.execute("create role locked login password 'open-sesame'")
        admin.execute("select pg_reload_conf()")
    wait_until(lambda: not welcome(f"{postgresql.replace('triflow@', 'locked@')}/postgres"), "the rule holds")
    yield f"{postgresql.replace('postgresql:', 'postgresql+psycopg:').replace('triflow@', 'locked@')}/postgres"
    Path(rules).write_text(before)
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("drop role locked")
        admin.execute("select pg_reload_conf()")


async def test_the_password_is_read_from_its_credential_file_and_never_said(locked: str, tmp_path: Path) -> None:
    config = Sql(
        driver="sql", name="erp", url=locked, password={"credential": "erp"},
        query=[query("lots", "select 'L1' as lot, 'cola' as product")],
    )  # fmt: skip
    around = Surroundings(folder=tmp_path, data=tmp_path, gateway="gw")
    with pytest.raises(SecretError):
        open_source(config, [FILLER], WallClock(), around)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "erp").write_text("open-sesame\n")
    assert [fact.lot for fact in await first(SqlSource(config, [FILLER], WallClock(), around))] == ["L1"]
    (tmp_path / "credentials" / "erp").write_text("hunter2\n")
    said = await refused(SqlSource(config, [FILLER], WallClock(), around))
    assert "the database refuses us; check the user in the url and the password" in said
    assert "hunter2" not in said
    without = config.model_copy(update={"password": None})
    assert "the database refuses us" in await refused(SqlSource(without, [FILLER], WallClock(), around))


async def test_a_missing_table_or_column_suspends_one_query_and_is_said_once(erp: Erp) -> None:
    lots_table(erp, "integer")
    erp.run("insert into lots values ('L1', 'cola', 1, 1)")
    queries = [query("lots", "select lot, product, quantity from lots"), query("inventory", "select * from stock")]
    source = erp.source(*queries)
    async with source, aclosing(source.facts()) as facts:
        assert [type(fact).__name__ for fact in (await anext(facts)).facts] == ["LotDefined"]
        (drift,) = (await anext(facts)).facts
        assert (drift.severity, drift.counts) == ("critical", {"table_deleted": 1})
        assert "a table is missing" in source.health.notes["inventory"]
        erp.run("alter table lots rename column quantity to amount")
        assert drifts((await anext(facts)).facts)[0][0] == "critical"
        assert "a column is missing" in source.health.notes["lots"]
        assert (await anext(facts)).facts == [], "said once"
        erp.run("alter table lots rename column amount to quantity")
        assert drifts((await anext(facts)).facts) == [("info", ["lots: fits again"])]
        assert "lots" not in source.health.notes


async def test_a_column_that_goes_or_turns_into_something_else_is_drift(postgres: Erp) -> None:
    lots_table(postgres, "integer")
    postgres.run("insert into lots values ('1', 'cola', 1, 1)")
    source = postgres.source(query("lots", "select * from lots"))
    async with source, aclosing(source.facts()) as facts:
        learned = await anext(facts)
        postgres.run("alter table lots add column colour text")
        assert drifts((await anext(facts)).facts) == [("info", ["lots: colour is new (not used)"])]
        postgres.run("alter table lots drop column quantity")
        assert drifts((await anext(facts)).facts) == [("critical", ["lots: quantity is gone"])]
        postgres.run(
            "alter table lots add column quantity numeric", "alter table lots alter lot type int using lot::int"
        )
        news = (await anext(facts)).facts
        assert drifts(news) == [("critical", ["lots: lot was text and now is number"])]
        assert len(news) == 1, "suspended: 1 may not be what '1' was"
    again = postgres.source(query("lots", "select *, 'C62' as unit from lots"), cursor=learned.cursor)
    assert [fact.lot for fact in await first(again) if isinstance(fact, LotDefined)] == ["1"], (
        "a person changed the query"
    )


async def test_what_changes_in_a_table_is_told_at_the_next_look(erp: Erp) -> None:
    lots_table(erp, "integer")
    asked = query("lots", "select lot, product from lots")
    source = erp.source(asked)
    async with source, aclosing(source.facts()) as facts:
        cursor = (await anext(facts)).cursor
    erp.run("alter table lots add column colour text", "alter table lots drop column changed")
    (drift,) = await first(erp.source(asked, cursor=cursor))
    assert (drift.severity, drift.changes) == ("warning", ["table lots: colour is new", "table lots: changed is gone"])


async def test_a_time_without_zone_asks_for_one(erp: Erp) -> None:
    sql = f"select 'A' as shift, '{FILLER}' as work_unit, '2026-01-02 06:00:00' as start_at, '2026-01-02' as end_at"
    (drift,) = await first(erp.source(query("shifts", sql)))
    assert 'timezone = "Asia/Seoul"' in drift.changes[0]
    (shift,) = await first(erp.source(query("shifts", sql), timezone="Asia/Seoul"))
    assert shift.start == 1_767_301_200 * 10**9


async def test_a_result_without_watermark_that_is_too_long_is_refused_whole(erp: Erp) -> None:
    lots_table(erp, "integer")
    erp.run("insert into lots values " + ", ".join(f"('L{i}', 'cola', 1, {i})" for i in range(5)))
    (drift,) = await first(erp.source(query("lots", "select lot, product from lots"), rows=4))
    assert "more than 4 rows" in drift.changes[0]
    assert len(await first(erp.source(query("lots", "select lot, product from lots"), rows=5))) == 5


async def test_a_question_that_takes_too_long_ends_and_the_others_go_on(erp: Erp) -> None:
    slow = (
        "select pg_sleep(60)::text as lot, 'cola' as product"
        if erp.postgresql
        else "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1e12) select max(i) as lot from n"
    )
    queries = [query("lots", slow), query("lots", "select 'L1' as lot, 'cola' as product", name="quick")]
    source = erp.source(*queries, timeout_s=1)
    async with source, aclosing(source.facts()) as facts:
        assert (await anext(facts)).facts == []
        assert "takes too long" in source.health.notes["lots"]
        assert [fact.lot for fact in (await anext(facts)).facts] == ["L1"]


async def test_a_session_that_is_ended_is_a_lost_connection(postgres: Erp) -> None:
    source = postgres.source(query("context", f"select '{FILLER}' as work_unit, 'cola' as product"))
    async with source, aclosing(source.facts()) as facts:
        await anext(facts)
        postgres.run(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        with pytest.raises(DriverError):
            await anext(facts)
        assert source.contexts[FILLER] == Context(product="cola", stale=True)


async def test_a_network_that_swallows_everything_ends_in_time(postgres: Erp, monkeypatch) -> None:
    """A relay that stops relaying: neither side learns of it, as when a switch dies."""
    monkeypatch.setattr(sql_database, "GRACE_S", 0.5)
    host, port = postgres.url.split("@")[1].split("/")[0].split(":")
    relaying = asyncio.Event()
    relaying.set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(65536):
            if relaying.is_set():
                writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, answer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, answer), pump(there, writer), return_exceptions=True)

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        through = postgres.url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/")
        source = postgres.source(query("lots", "select 'L1' as lot, 'cola' as product"), url=through, timeout_s=2)
        async with source, aclosing(source.facts()) as facts:
            await anext(facts)
            relaying.clear()
            with pytest.raises(DriverError, match="no answer within"):
                await anext(facts)
        for writer in writers:
            writer.close()


async def test_cancelling_in_the_middle_of_a_question_leaves_nothing_behind(postgres: Erp) -> None:
    source = postgres.source(query("lots", "select pg_sleep(50)::text as lot, 'cola' as product"), timeout_s=30)

    async def watch() -> None:
        async with source, aclosing(source.facts()) as facts:
            await anext(facts)

    def sessions(state: str) -> int:
        with postgres.open() as connection:
            sql = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'triflow gw'"
            found = connection.execute(f"{sql} and state like '{state}' and query like '%pg_sleep(50)%'").fetchone()[0]
        connection.close()
        return found

    watcher = asyncio.create_task(watch())
    await until(lambda: sessions("active") == 1, "the question is being worked on")
    watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await watcher


async def test_without_the_extra_a_sentence_says_how_to_install_it(sqlite: Erp, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "edge.drivers.mes.sql_database", None)
    assert "requirements/sql.lock" in await refused(sqlite.source(query("lots", "select 1 as lot")))


async def test_each_query_can_be_asked_once_for_the_doctor(sqlite: Erp) -> None:
    lots_table(sqlite, "integer")
    sqlite.run("insert into lots values ('L1', 'cola', 1, 1)")
    queries = [
        query("lots", LOTS, watermark="changed", begin=0),
        query("inventory", "select * from nowhere"),
        query("lots", "select 7 as product from lots", name="odd"),
    ]
    async with sqlite.source(*queries) as source:
        found = {name: said async for name, said in source.ask_each()}
    assert found["lots"] == 1
    assert "a table is missing" in found["inventory"]
    assert "left out" in found["odd"]
