"""`triflow edge run` whole: a rule recommends, the gateway writes; kill -9 at every point, and the page and command beside it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from edge.commands import act
from tests.edge.acting.gateway import AUTO, MEDIUM, TARGET
from tests.edge.acting.test_acting import ModbusPlc, modbus, poke  # noqa: F401 - the same machine
from tests.edge.stores import until
from tests.servers import free_port, process

RULES = """
[ruleset]
name = "filler"
version = "1.0.0"
[[limit]]
name = "pressure"
value = "oil_pressure"
critical_high = 8.0
[[limit.action]]
action_type = "parameter_adjust"
on = "critical"
en = "Slow the filler down"
ko = "충전 속도를 낮추십시오"
write = { tag = "speed_setpoint", value = 25.0 }
"""


def site(folder: Path, machine: ModbusPlc, page: int, **more: str) -> Path:
    made = machine.site(folder, page=page, **{"acting": AUTO, "permit": MEDIUM, **more})
    made.write_text(made.read_text().replace("window_s = 3600", "window_s = 0.5"))
    (folder / "rules.toml").write_text(RULES)
    return made


async def actions(page: int) -> list[dict]:
    """Give the newest records of acting, or nothing while the page does not answer."""
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            return (await client.get(f"http://127.0.0.1:{page}/api/actions")).json()["recent"]
    except httpx.TransportError:
        return []


async def ends(page: int, count: int = 1) -> list[dict]:
    found: list[dict] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found = [each for each in await actions(page) if each["kind"] == "action"]
            await asyncio.sleep(0.1)
    return found


async def until_judged(page: int, decision: str) -> None:
    async with httpx.AsyncClient(timeout=10) as client, asyncio.timeout(30):
        while (await client.get(f"http://127.0.0.1:{page}/api/status")).json()["lines"][0]["decision"] != decision:
            await asyncio.sleep(0.1)


async def test_a_rule_of_the_line_writes_once_for_one_occasion(modbus, tmp_path):  # noqa: F811
    page = free_port()
    path = site(tmp_path, modbus, page)
    await poke(modbus, 1, 9)
    with process("triflow", "edge", "run", str(path), log=tmp_path / "log") as running:
        (end,) = await ends(page)
        assert (end["status"], end["target"], end["before"], end["read_back"]) == ("EXECUTED", TARGET, 30, 25)
        await asyncio.sleep(1.5)  # three windows more that say the same
        assert modbus.writes == 1
        assert await asyncio.to_thread(act.main, ["kill", str(path)]) == 0
        await poke(modbus, 1, 5)
        await until_judged(page, "normal")
        await poke(modbus, 1, 9)
        await until(lambda: running.poll() is None, "it runs")
        async with asyncio.timeout(30):
            while not any("kill switch" in " ".join(each.get("reasons", [])) for each in await actions(page)):
                await asyncio.sleep(0.1)
        assert modbus.writes == 1


@pytest.mark.parametrize(
    ("place", "writes"),
    [("edge.act_intent:1", {0, 1}), ("edge.act_write:1", {0}), ("edge.act_written:1", {1}), ("edge.act_ended:1", {1})],
)
async def test_a_gateway_that_is_killed_at_any_point_of_an_action_writes_once_at_most(modbus, tmp_path, place, writes):  # noqa: F811
    page = free_port()
    path = site(tmp_path, modbus, page)
    await poke(modbus, 1, 9)
    with process(
        "triflow", "edge", "run", str(path), log=tmp_path / "log", env=os.environ | {"TRIFLOW_FAILPOINT": place}
    ) as running:
        await until(lambda: running.poll() is not None, "the failpoint kills it")
        assert running.returncode == -signal.SIGKILL
    with process("triflow", "edge", "run", str(path), log=tmp_path / "log"):
        if place == "edge.act_write:1":  # nobody knows: a minute is given to the machine, then a person has to look
            async with httpx.AsyncClient(timeout=30) as client:
                async with asyncio.timeout(30):
                    while True:
                        try:
                            told = (await client.get(f"http://127.0.0.1:{page}/api/actions")).json()
                            break
                        except httpx.TransportError:
                            await asyncio.sleep(0.1)
            assert [each["state"] for each in told["open"]] == ["begun"]
        else:
            end = (await ends(page))[-1]
            assert end["status"] in {"EXECUTED", "REJECTED"}
            assert end.get("needs_human", False) == (place == "edge.act_written:1")
        await asyncio.sleep(1.2)
    assert modbus.writes in writes
