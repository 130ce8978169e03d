"""Writes everything the demo's processes read into one folder: site files, books, rules, keys, the cloud's file."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Final

from demo.site_plan import GATEWAYS

HERE: Final = Path(__file__).parent
LIBRARY: Final = HERE.parent / "models" / "library"
MODELS: Final = ("bearing_wear", "fill_quality", "filler_anomaly")
"""Shipped packages, one for each filler."""
STATE: Final = "demo.json"
"""Where `triflow demo cut` and friends find the running demo."""
HISTORY: Final = "history.done"
"""Stands when the back-fill is complete."""
MADE: Final = (
    *("books", "rules", "models", "credentials", "logs", "gw-opcua*", "gw-modbus*", "cloud.*", "plant.*", "mes.db*"),
    *(HISTORY, STATE, "mosquitto.conf", "iotcore.toml"),
)
"""Everything the demo makes in its folder."""
FAST: Final = 60.0
"""From this speed on Modbus is polled faster, so that no 16-bit counter turns over unseen."""


class PortError(Exception):
    """A port the demo needs is taken; the message names it and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every port of the demo, all on loopback."""

    dashboard: int
    page_opcua: int
    page_modbus: int
    broker: int
    link: int
    link_control: int
    opcua: int
    modbus_3: int
    modbus_4: int
    mes: int
    plant: int


KNOWN: Final = {"dashboard": 8080, "page_opcua": 8091, "page_modbus": 8092}
"""Ports people type; all others are whatever is free."""


def choose_ports(wanted: dict[str, int]) -> Ports:
    """Give ports that are free now: those wanted, the known ones, free ones for the rest (0 means any).

    Raises PortError naming the port that is taken.
    """
    fixed = KNOWN | wanted
    holders: list[socket.socket] = []
    chosen: dict[str, int] = {}
    try:
        for name in Ports.__dataclass_fields__:
            port = fixed.get(name, 0)
            holder = socket.socket()
            holders.append(holder)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
                holder.listen()
            except OSError as error:
                option = f"--{name.replace('_', '-')}-port"
                raise PortError(
                    f"port {port} ({name.replace('_', ' ')}) is taken: {error.strerror}. Stop the program that listens "
                    f"there (is another demo running?), or choose another port with {option} PORT; 0 takes any free one"
                ) from error
            chosen[name] = int(holder.getsockname()[1])
    finally:
        for holder in holders:
            holder.close()
    return Ports(**chosen)


def clear(folder: Path) -> None:
    """Remove what the demo made in a folder, and nothing else that may lie there."""
    for pattern in MADE:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def write(folder: Path, ports: Ports, speed: float, *, quick: bool = False) -> None:
    """Write all files; keys are made once and kept, everything else is written anew.

    quick: short windows, for who has only a minute.
    """
    (folder / "credentials").mkdir(parents=True, exist_ok=True)
    (folder / "credentials").chmod(0o700)
    for name in ("books", "rules"):
        shutil.copytree(HERE / name, folder / name, dirs_exist_ok=True)
    _write_models(folder)
    for gateway in GATEWAYS:
        key = folder / "credentials" / f"{gateway}.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    period = 50 if speed >= FAST else 200
    windows = {"window": 2, "packer_window": 4} if quick else {"window": 10, "packer_window": 20}
    for name, own in (
        ("gw-opcua", {"page": ports.page_opcua}),
        ("gw-modbus", {"page": ports.page_modbus, "period": period}),
        ("cloud", {}),
    ):
        template = Template((HERE / "site" / f"{name}.toml").read_text(encoding="utf-8"))
        text = template.substitute(asdict(ports) | windows | own)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def _write_models(folder: Path) -> None:
    """Copy the shipped packages, and write for each the filler's rules with the model beside them."""
    (folder / "models").mkdir(exist_ok=True)
    shutil.copy(LIBRARY / "trusted.pub", folder / "models")
    plain = (folder / "rules" / "filler.toml").read_text(encoding="utf-8")
    for model in MODELS:
        shutil.copy(LIBRARY / model / f"{model}.tfm", folder / "models")
        head = plain.replace('policy = "rule_only"', 'policy = "hybrid_weighted"', 1)
        text = f'{head}\n[model]\nname = "{model}"\n'
        (folder / "rules" / f"filler_{model}.toml").write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The demo that was started in a folder last; whether it still runs is for its pid to tell."""

    pid: int
    ports: Ports
    parts: dict[str, int]
    """Part → process."""


def write_state(folder: Path, ports: Ports, pid: int, parts: dict[str, int]) -> None:
    """Say where the running demo is."""
    state = {"pid": pid, "parts": parts, "ports": asdict(ports)}
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")


def read_state(folder: Path) -> Running | None:
    """Give the demo that was started in this folder last, or None."""
    path = folder / STATE
    if not path.is_file():
        return None
    state = json.loads(path.read_text(encoding="utf-8"))
    return Running(pid=int(state["pid"]), ports=Ports(**state["ports"]), parts=dict(state["parts"]))
