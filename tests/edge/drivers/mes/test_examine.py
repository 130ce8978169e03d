"""A MES examined: the way there, the login, each resource once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.connections import Mes, Sql
from edge.drivers.finding import Finding, worst
from edge.drivers.mes.examine import examine
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND
from tests.edge.drivers.mes.mes_server import FILLER, MesServer
from tests.servers import free_port


async def examined(config: Mes | Sql) -> list[Finding]:
    return [finding async for finding in examine(config, [FILLER], WallClock(), AROUND)]


async def test_each_resource_is_asked_once_and_counted():
    async with MesServer().running() as server:
        findings = await examined(server.config())
    assert worst(findings) == "ok", [finding.what("en") for finding in findings]
    said = [finding.what("en") for finding in findings]
    assert "products: 1 rows" in said
    assert f"job_orders {FILLER}: 1 rows" in said
    assert any(finding.key == "tag.clock" for finding in findings)
    assert server.put == []


async def test_a_refused_login_is_told_from_a_server_that_is_gone():
    async with MesServer().running() as server:
        server.token = "right"
        found = await examined(server.config())
    assert (found[-1].check, found[-1].key) == ("login", "mes.refused")
    assert "credentials" in found[-1].advice("en")
    gone = await examined(MesServer(free_port()).config())
    assert [finding.key for finding in gone] == ["reach.address", "reach.refused"]


async def test_what_a_mes_lacks_or_garbles_is_said_of_that_resource_alone():
    async with MesServer().running() as server:
        server.lacks.add("shifts")
        server.raw["inventory"] = b"<html>"
        findings = await examined(server.config())
    doubtful = {finding.words["name"].split()[0]: finding for finding in findings if finding.severity != "ok"}
    assert {name: finding.key for name, finding in doubtful.items()} == {
        "shifts": "mes.missing",
        "inventory": "mes.resource",
    }
    assert (doubtful["shifts"].severity, doubtful["inventory"].severity) == ("warning", "fault")
    assert "not the agreed JSON" in doubtful["inventory"].what("en")


async def test_a_resource_that_fails_does_not_hide_the_others():
    async with MesServer().running() as server:
        server.failing["inventory"] = [(500, {})] * 10
        del server.contexts[FILLER]  # nothing runs there: no fault
        findings = await examined(server.config(retries=0))
    (found,) = [finding for finding in findings if finding.severity != "ok"]
    assert (found.severity, found.words["name"]) == ("fault", "inventory")
    assert f"context {FILLER}: 0 rows" in [finding.what("en") for finding in findings]


def erp(folder: Path, **more: object) -> Sql:
    products = {"gives": "products", "sql": "select product, name from products"}
    lots = {"gives": "lots", "sql": "select lot from no_such_table"}
    return Sql(
        **{"driver": "sql", "name": "erp", "url": f"sqlite:///{folder}/erp.db", "query": [products, lots], **more}
    )


async def test_each_query_of_a_database_is_asked_once(tmp_path):
    with sqlite3.connect(tmp_path / "erp.db") as database:
        database.execute("create table products (product text, name text)")
        database.execute("insert into products values ('cola-330', '콜라')")
    database.close()
    findings = await examined(erp(tmp_path))
    said = {finding.words.get("name"): finding for finding in findings if finding.check == "query"}
    assert (said["products"].severity, said["products"].words["rows"]) == ("ok", 1)
    assert (said["lots"].severity, said["lots"].key) == ("fault", "mes.query")
    assert "a table is missing" in said["lots"].what("ko")


async def test_a_database_that_is_not_there_is_said(tmp_path):
    findings = await examined(erp(tmp_path / "nowhere"))
    assert [finding.key for finding in findings] == ["mes.lost"]
    findings = await examined(erp(tmp_path, url=f"postgresql+psycopg://reader@127.0.0.1:{free_port()}/erp"))
    assert [finding.key for finding in findings] == ["reach.address", "reach.refused"]
