"""Audit records in the cloud's database: no statement changes, deletes or replaces one, on either database."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from cloud.config import Settings
from cloud.database import Database, DataError, migrate
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.gateway import LINE, Start, state
from tests.cloud.older import set_back


def audited(number: int) -> f.Audited:
    return f.Audited(
        at=time.time_ns() + number, actor="kim", action="setpoint.changed", target="t\0", detail={"n": number}
    )


@pytest.fixture
async def start(database: Database, plants: Plants) -> Start:
    start = Start()
    items = [Item(start.address, start.resume())]
    items.append(Item(start.address, *start.facts(*[audited(i) for i in range(5)], stream=1)))
    items.append(Item(start.address, *start.facts(state(time.time_ns(), "EXECUTE"))))
    await database.write(lambda c: Ingest(plants).store(c, items))
    return start


@pytest.mark.parametrize(
    "statement",
    [
        "update fact set body='{}' where stream=1 and seq=3",
        "update fact set at=at+1 where stream=1",
        "update fact set kind='state' where stream=1",
        "update fact set kind='audit' where kind='state'",
        "delete from fact where stream=1 and seq=5",
        "delete from fact",
        "update audit_entry set actor='lee'",
        "delete from audit_entry where seq=1",
    ],
)
async def test_no_statement_touches_an_audit_record(database: Database, start: Start, statement: str) -> None:
    before = await database.read(lambda c: c.execute("select * from fact order by stream, seq"))
    with pytest.raises(DataError, match="audit records are never"):
        await database.write(lambda c: c.execute(statement))
    assert await database.read(lambda c: c.execute("select * from fact order by stream, seq")) == before
    assert len(before) == 6


async def test_replacing_and_emptying_are_refused_too(database: Database, start: Start) -> None:
    def attempt(connection) -> None:
        if database.postgresql:
            connection.execute("truncate fact")
        else:
            connection.execute("replace into fact select inc,stream,seq,tenant,kind,work_unit,at,'{}' from fact")

    with pytest.raises(DataError, match="audit record"):
        await database.write(attempt)


async def test_other_facts_are_dated_anew(database: Database, start: Start) -> None:
    await database.write(lambda c: c.execute("update fact set at=at+5 where kind='state'"))
    (row,) = await database.read(lambda c: c.execute("select work_unit from fact where kind='state'"))
    assert row == (LINE,)


async def test_an_older_database_gets_its_audit_records_into_the_index(
    settings: Settings, database: Database, start: Start
) -> None:
    """The schema is set back to what it was before, with the records in it, and migrated again."""
    before = await database.read(lambda c: c.execute("select * from audit_entry order by seq"))
    assert [row[-5:-1] for row in before][0][1:] == ("kim", "setpoint.changed", "t\ufffd")
    database.close()
    set_back(settings.database_url, "0003", ("gateway", "incarnation", "fact"))
    migrate(settings.database_url)
    engine = sa.create_engine(settings.database_url)
    with engine.connect() as connection:
        columns = "inc, stream, seq, tenant, site, gateway, at, actor, action, target, words"
        after = connection.execute(sa.text(f"select {columns} from audit_entry order by seq")).all()
    engine.dispose()
    assert [tuple(row) for row in after] == before
