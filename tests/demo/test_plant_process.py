"""The plant as a process: its counters are the truth, and survive whatever happens to it."""

from __future__ import annotations

import signal
import socket
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest
from pymodbus.client import AsyncModbusTcpClient

from tests.servers import free_port, listens, process, wait_until


class Plant:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = free_port()
        ports = {name: free_port() for name in ("opcua", "mes", "line-3", "line-4")}
        self.ports = ports
        self.arguments = ["demo.plant_process", "--folder", str(folder), "--control", str(self.control)]
        self.arguments += ["--opcua", str(ports["opcua"]), "--mes", str(ports["mes"])]
        self.arguments += [part for line in ("line-3", "line-4") for part in ("--modbus", f"{line}={ports[line]}")]

    def started(self, *more: str) -> AbstractContextManager[Popen[bytes]]:
        return process(*self.arguments, *more, log=self.folder / "plant.log")

    def answers(self) -> None:
        wait_until(lambda: listens(self.control), (self.folder / "plant.log").read_text(), 30)

    def get(self, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.control}{path}", trust_env=False).json()

    def produce(self, on: object) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.control}/production", json={"on": on}, trust_env=False)

    def made(self) -> dict[str, int]:
        return {unit: counts["produced"] for unit, counts in self.get("/counters")["lines"].items()}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_a_new_plant_waits_then_makes_then_stands_still_when_told(plant: Plant):
    with plant.started("--hold"):
        plant.answers()
        assert set(plant.made().values()) == {0}
        assert plant.get("/status")["producing"] is False
        assert plant.produce("please").status_code == 400
        plant.produce(True)
        wait_until(lambda: all(plant.made().values()), "every line makes something", 40)
        still = {unit: c["produced"] for unit, c in plant.produce(False).json()["lines"].items()}
        before = plant.get("/status")["plant_time"]
        wait_until(lambda: plant.get("/status")["plant_time"] != before, "time goes on")
        assert plant.made() == still
        for counts in plant.get("/counters")["lines"].values():
            assert counts["produced"] == counts["good"] + counts["scrap"]
            assert counts["scrap"] == sum(counts["defects"].values())
        context = httpx.get(
            f"http://127.0.0.1:{plant.ports['mes']}/api/context?work_unit=bottling/line-1/filler", trust_env=False
        ).json()
        assert context["order"] == plant.get("/status")["lines"]["bottling/line-1/filler"]["order"]


def test_a_killed_plant_goes_on_where_it_was_and_a_stopped_one_was_closed_in_between(plant: Plant):
    with plant.started() as running:
        plant.answers()
        wait_until(lambda: sum(plant.made().values()) > 10, "it makes something", 40)
        wait_until((plant.folder / "plant.state").exists, "it was saved")
        before = plant.made()
        running.send_signal(signal.SIGKILL)
        running.wait(10)
    with plant.started("--hold") as running:
        plant.answers()
        after = plant.made()
        assert all(after[unit] >= made for unit, made in before.items())
        assert sum(after.values()) > sum(before.values()), "it was not closed in between: nobody told it to"
        running.terminate()
        assert running.wait(10) == 0
    with plant.started("--hold"):
        plant.answers()
        assert plant.get("/status")["producing"] is False
        at_rest = plant.made()
        plant.produce(True)
        wait_until(lambda: sum(plant.made().values()) > sum(at_rest.values()), "it goes on", 40)


async def test_a_fast_plant_waits_for_those_who_watch_its_short_counters(plant: Plant):
    with plant.started("--speed", "10080", "--start", "1785542400000000000"):
        plant.answers()
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.ports["line-3"])
        other = AsyncModbusTcpClient("127.0.0.1", port=plant.ports["line-4"])
        assert await client.connect()
        assert await other.connect()
        assert plant.get("/status")["plant_time"] == "2026-08-01T00:00:00Z", "nobody has polled yet"
        await client.read_holding_registers(0, count=40, device_id=1)
        await other.read_holding_registers(100, count=24, device_id=17)
        client.close()
        other.close()
        wait_until(lambda: plant.get("/status")["plant_time"] >= "2026-08-01T00:20:00Z", "it runs ahead a little")
        assert plant.get("/status")["plant_time"] == "2026-08-01T00:20:00Z", "and no further until polled again"


def test_a_port_in_use_is_said(plant: Plant):
    with socket.create_server(("127.0.0.1", plant.ports["line-3"])), plant.started() as running:
        assert running.wait(20) == 1
    assert str(plant.ports["line-3"]) in (plant.folder / "plant.log").read_text()
