"""Drivers: one machine or system each, all behind the two contracts of `edge.drivers.driver`.

A library is loaded when a connection needs it, so that a Modbus gateway never imports OPC UA. To add a driver, start
from `simulated.py`, add its type to `edge.config`, its case here, and run the contract suite over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from edge.config import Connection, Mes, Modbus, OpcUa, Simulated
from edge.drivers.driver import Driver, FactSource
from edge.tags import Tag
from sync.clock import Clock


def open_driver(connection: Connection, tags: Sequence[Tag], clock: Clock) -> Driver:
    """Give a new, unconnected driver of the connection's `tags`; for a source of facts use `open_source`."""
    match connection:
        case OpcUa():
            from edge.drivers.opcua import OpcUaDriver

            return OpcUaDriver(connection, tags, clock)
        case Modbus():
            from edge.drivers.modbus import ModbusDriver

            return ModbusDriver(connection, tags, clock)
        case Simulated():
            from edge.drivers.simulated import SimulatedDriver

            return SimulatedDriver(connection, tags, clock)
        case Mes():
            raise TypeError(f"connection {connection.name!r} gives facts, not readings: open_source opens it")
        case _:
            assert_never(connection)


def open_source(connection: Mes, work_units: Sequence[str], clock: Clock, *, beside: Path) -> FactSource:
    """Give a new, unconnected source of facts about `work_units`.

    beside: folder of the site file, where the credentials folder is looked for. Raises SecretError when the
    connection's token cannot be read.
    """
    from edge.drivers.mes import MesSource

    token = connection.token.read(beside) if connection.token is not None else None
    return MesSource(connection, work_units, clock, token=token)
