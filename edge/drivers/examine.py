"""Any connection examined: finds what is wrong with it, reads each tag once, changes nothing. All kinds in one match."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from edge.connections import Connection, Mes, Modbus, OpcUa, Simulated, Sql
from edge.drivers.driver import Surroundings
from edge.drivers.finding import Finding, ok
from edge.tags import Tag
from sync.clock import Clock


def examine(
    connection: Connection, tags: Sequence[Tag], work_units: Sequence[str], clock: Clock, around: Surroundings
) -> AsyncGenerator[Finding]:
    """Give findings about a connection in the order of its steps; each step has its own time limit.

    work_units: what a source of facts is asked about. A finding with a tag is about this one's value.
    """
    match connection:
        case OpcUa():
            from edge.drivers.opcua.examine import examine as opcua

            return opcua(connection, tags, clock, around)
        case Modbus():
            from edge.drivers.modbus.examine import examine as modbus

            return modbus(connection, tags, clock, around)
        case Mes() | Sql():
            from edge.drivers.mes.examine import examine as mes

            return mes(connection, work_units, clock, around)
        case Simulated():
            return _simulated()


async def _simulated() -> AsyncGenerator[Finding]:
    yield ok("device", "report.simulated")
