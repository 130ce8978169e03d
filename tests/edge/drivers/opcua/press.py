"""The machine of `tests/node/events.mjs`: node-opcua with alarms, events, methods, units, and nodes to write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.connections import OpcUa
from edge.drivers.driver import Surroundings
from edge.drivers.opcua.driver import OpcUaDriver
from edge.tags import Tag
from sync.clock import WallClock
from tests.servers import free_port, listens, node

URI = "urn:triflow:test:press"


def at(name: str) -> str:
    """Give the address of a node."""
    return f"nsu={URI};s={name}"


class Press:
    """A running press."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder

    def config(self, **more: Any) -> OpcUa:
        url = more.pop("url", f"opc.tcp://127.0.0.1:{self.port}")
        return OpcUa(driver="opcua", name="press", url=url, security="none", publishing_ms=50, **more)

    def driver(self, *tags: Tag, **more: Any) -> OpcUaDriver:
        around = Surroundings(folder=self.folder, data=self.folder, gateway="gw-test")
        return OpcUaDriver(self.config(**more), tags, WallClock(), around)


@contextlib.contextmanager
def a_press(folder: Path) -> Iterator[Press]:
    """Run a press until the block ends."""
    port = free_port()
    with node("events.mjs", str(port), log=folder / "press.log", ready=lambda: listens(port)):
        yield Press(port, folder)
