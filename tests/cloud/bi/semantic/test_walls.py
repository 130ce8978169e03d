"""Each wall holds without the compiler: SQL of an attacker's own, handed straight to the reader."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloud.bi.semantic.walls import READABLE
from cloud.database import Database, DatabaseError
from cloud.walled import ForbiddenError, TooLateError, TooManyError, Walled, grants

ROLE = "triflow_reader"


@pytest.fixture
def role(database_url: str) -> Iterator[str | None]:
    """Make the role that docs/figures.md tells an administrator to make; SQLite has none."""
    if database_url.startswith("sqlite"):
        yield None
        return
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"drop role if exists {ROLE}")
        for sql in grants(ROLE, READABLE):
            admin.execute(sql.encode())
    yield ROLE
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"drop owned by {ROLE}".encode())
        admin.execute(f"drop role {ROLE}".encode())


@pytest.fixture
async def walled(database: Database, role: str | None) -> AsyncIterator[Walled]:
    await database.write(
        lambda c: c.execute(
            "insert into mart_version(tenant, mart, version, refreshed_ms) values('demo', 'mart_day', 1, 1)"
        )
    )
    reader = Walled(database.url, READABLE, role=role, deadline_s=0.3, rows=1_000)
    yield reader
    reader.close()


async def run(walled: Walled, *statements: str) -> list[Any]:
    def work(connection: Any) -> list[Any]:
        return [connection.execute(sql) for sql in statements][-1]

    return await walled.read(work)


REACHING = [
    "select * from fact",
    "select body from fact",
    "select count(*) from judgment",
    "select work_unit from production limit 1",
    "select state from work_unit",
    "select stored from gateway",
    "select version from mart_version union all select count(*) from audit_entry",
    "select (select count(*) from reading) from mart_version",
    "select mart from mart_version where exists (select 1 from incarnation)",
    "with x as (select * from alert) select count(*) from x",
    "select * from mart_version, tag",
]
WRITING = [
    "insert into mart_version(tenant, mart, version, refreshed_ms) values('x', 'y', 1, 1)",
    "update mart_version set version=99",
    "delete from mart_version",
    "drop table mart_version",
    "create table mine(x int)",
    "create view mine as select * from mart_version",
    "alter table mart_version add column x int",
]
SQLITE_ONLY = [
    "select * from sqlite_master",
    "attach database 'other.db' as other",
    "pragma query_only=off",
    "pragma table_info(fact)",
    "select load_extension('x')",
    "select randomblob(1000000000)",
    "select readfile('/etc/passwd')",
    "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n",
    "vacuum",
    "savepoint x",
    "reindex",
]
POSTGRESQL_ONLY = [
    "select pg_read_file('/etc/passwd')",
    "copy mart_version to program 'id'",
    "copy (select 1) to '/tmp/x'",
    "select rolpassword from pg_authid",
    "select lo_import('/etc/passwd')",
    "truncate mart_version",
    "lock table mart_version in access exclusive mode",
    "reset role",
    "set statement_timeout = 0",
    "select 1 from mart_version) walled; reset role; select * from (select body from fact",
    "select 1 from mart_version) walled limit 5; reset role; select body from fact --",
]


async def test_only_what_is_allowed_can_be_read(walled: Walled, database: Database) -> None:
    assert await run(walled, "select mart, version from mart_version") == [("mart_day", 1)]
    for sql in REACHING + WRITING + (POSTGRESQL_ONLY if database.postgresql else SQLITE_ONLY):
        with pytest.raises((ForbiddenError, DatabaseError, psycopg.Error)) as caught:
            await run(walled, sql)
        assert not isinstance(caught.value, TooLateError), sql
    # … and whoever was refused left nothing behind.
    assert await run(walled, "select mart, version from mart_version") == [("mart_day", 1)]
    found = await database.read(lambda c: c.execute("select count(*) from mart_version where version=1"))
    assert found == [(1,)]


async def test_several_statements_in_one_are_none(walled: Walled) -> None:
    with pytest.raises((ForbiddenError, DatabaseError, psycopg.Error, Exception)):  # each driver has its own word
        await run(walled, "select 1 from mart_version; delete from mart_version")
    assert await run(walled, "select count(*) from mart_version") == [(1,)]


async def test_what_takes_too_long_ends(walled: Walled, database: Database) -> None:
    await database.write(
        lambda c: c.many(
            "insert into mart_version(tenant, mart, version, refreshed_ms) values(?,?,1,1)",
            [("demo", f"m{i}") for i in range(400)],
        )
    )
    slow = "select count(*) from mart_version a, mart_version b, mart_version c, mart_version d"
    with pytest.raises(TooLateError):
        await run(walled, slow)
    if database.postgresql:
        with pytest.raises(TooLateError):
            await run(walled, "select pg_sleep(30)")
    assert await run(walled, "select count(*) from mart_version") == [(401,)]


async def test_more_rows_than_the_cap_are_refused(walled: Walled, database: Database) -> None:
    await database.write(
        lambda c: c.many(
            "insert into mart_version(tenant, mart, version, refreshed_ms) values(?,?,1,1)",
            [("demo", f"m{i}") for i in range(1_000)],
        )
    )
    with pytest.raises(TooManyError):
        await run(walled, "select mart from mart_version")
    assert len(await run(walled, "select mart from mart_version limit 1000")) == 1_000


async def test_a_statement_waits_for_no_lock_for_long(database: Database) -> None:
    if not database.postgresql:
        return  # readers of SQLite never wait for writers
    patient = Walled(database.url, READABLE, deadline_s=50.0)
    try:
        with psycopg.connect(database.url.set(drivername="postgresql").render_as_string(hide_password=False)) as other:
            other.execute("lock table mart_version in access exclusive mode")
            with pytest.raises(TooLateError):
                await run(patient, "select 1 from mart_version")
    finally:
        patient.close()


async def test_without_a_role_postgresql_still_only_reads(database: Database) -> None:
    reader = Walled(database.url, READABLE, deadline_s=5.0)
    try:
        for sql in WRITING:
            with pytest.raises((ForbiddenError, DatabaseError, psycopg.Error)):
                await run(reader, sql)
    finally:
        reader.close()


def test_the_page_for_administrators_grants_what_is_readable() -> None:
    said = (Path(__file__).parents[4] / "docs" / "figures.md").read_text(encoding="utf-8")
    for table, columns in READABLE.items():
        if columns is not None:
            granted = re.search(rf"grant select \(([a-z_, ]+)\) on {table} to", said)
            assert granted is not None, table
            assert set(granted[1].split(", ")) == columns
        else:
            assert table.startswith(("mart_", "mv_", "dim_")) or f"'{table}'" in said
