"""Drivers: one machine or system each, all behind the two contracts of `edge.drivers.driver`.

A library is loaded when a connection needs it, so that a Modbus gateway never imports OPC UA. To add a driver, start
from `simulated.py`, add its type to `edge.config`, its case here, and run the contract suite over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from edge.connections import Factual, Mes, Modbus, OpcUa, Readable, Simulated, Sql
from edge.drivers.driver import Driver, FactSource, Surroundings
from edge.tags import Tag
from sync.clock import Clock


def open_driver(connection: Readable, tags: Sequence[Tag], clock: Clock, around: Surroundings) -> Driver:
    """Give a new, unconnected driver of the connection's `tags`. Raises SecretError when a credential cannot be read."""
    match connection:
        case OpcUa():
            from edge.drivers.opcua.driver import OpcUaDriver

            return OpcUaDriver(connection, tags, clock, around)
        case Modbus():
            from edge.drivers.modbus.driver import ModbusDriver

            return ModbusDriver(connection, tags, clock, around)
        case Simulated():
            from edge.drivers.simulated import SimulatedDriver

            return SimulatedDriver(connection, tags, clock)
        case _:
            assert_never(connection)


def open_source(
    connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings, *, cursor: bytes = b""
) -> FactSource:
    """Give a new, unconnected source of facts about `work_units`, to go on at `cursor`.

    Raises SecretError when a credential cannot be read.
    """
    match connection:
        case Mes():
            from edge.drivers.mes.rest import MesSource

            return MesSource(connection, work_units, clock, around, cursor=cursor)
        case Sql():
            from edge.drivers.mes.sql import SqlSource

            return SqlSource(connection, work_units, clock, around, cursor=cursor)
        case _:
            assert_never(connection)
