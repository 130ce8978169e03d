"""Which processes make the demo, as a list."""

from __future__ import annotations

from pathlib import Path

from demo.processes import Part
from demo.site_files import Ports


def parts(folder: Path, ports: Ports, *, seed: int, speed: float, embedded: bool) -> list[Part]:
    """Give every part of the demo; what a wave needs stands in the wave before."""
    here = str(folder)
    plant = ["--folder", here, "--opcua", str(ports.opcua), "--mes", str(ports.mes), "--control", str(ports.plant)]
    plant += ["--modbus", f"line-3={ports.modbus_3}", "--modbus", f"line-4={ports.modbus_4}"]
    plant += ["--seed", str(seed), "--speed", str(speed), "--hold"]
    broker = ["--port", str(ports.broker), "--folder", here, *(["--embedded"] if embedded else [])]
    link = ["--port", str(ports.link), "--broker", str(ports.broker), "--control", str(ports.link_control)]
    return [
        Part(name="broker", arguments=("demo.broker", *broker), wave=1, port=ports.broker),
        Part(
            name="plant",
            arguments=("demo.plant_process", *plant),
            wave=1,
            url=f"http://127.0.0.1:{ports.plant}/status",
        ),
        Part(
            name="link",
            arguments=("demo.link", *link),
            wave=2,
            url=f"http://127.0.0.1:{ports.link_control}/link",
        ),
        Part(
            name="cloud",
            arguments=("triflow", "cloud", "run", str(folder / "cloud.toml")),
            wave=2,
            url=f"http://127.0.0.1:{ports.dashboard}/ready",
            again=True,
        ),
        Part(
            name="gw-opcua",
            arguments=("triflow", "edge", "run", str(folder / "gw-opcua.toml")),
            wave=3,
            url=f"http://127.0.0.1:{ports.page_opcua}/health",
            again=True,
        ),
        Part(
            name="gw-modbus",
            arguments=("triflow", "edge", "run", str(folder / "gw-modbus.toml")),
            wave=3,
            url=f"http://127.0.0.1:{ports.page_modbus}/health",
            again=True,
        ),
    ]
