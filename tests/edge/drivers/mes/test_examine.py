"""A MES examined: the way there, the login, each resource once."""

from __future__ import annotations

from edge.connections import Mes
from edge.drivers.finding import Finding, worst
from edge.drivers.mes.examine import examine
from sync.clock import WallClock
from tests.edge.drivers.machines import AROUND
from tests.edge.drivers.mes.mes_server import FILLER, MesServer
from tests.servers import free_port


async def examined(config: Mes) -> list[Finding]:
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
        "inventory": "mes.odd",
    }
    assert "not the agreed JSON" in doubtful["inventory"].what("en")
