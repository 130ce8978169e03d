"""One connection examined: by what lives beside its driver, within a time limit, and beside a gateway that runs."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from edge.connections import Connection, Mes, Modbus, OpcUa, Simulated, Sql
from edge.drivers.driver import Surroundings
from edge.drivers.examine import examine
from edge.drivers.finding import Finding, fault, warning
from edge.site import Site
from edge.tags import Tag
from sync.clock import Clock, WallClock
from sync.secret import SecretError

log = logging.getLogger(__name__)

LIMIT_S: Final = 90.0
"""For one connection whole. Each step inside has a shorter one of its own."""
ONE_GUEST: Final = {"reach.refused", "modbus.closed", "modbus.silent", "opcua.too_many_sessions"}
"""What a machine that takes one connection only says to a second one."""


async def examined(
    site: Site, connection: Connection, tags: Sequence[Tag], clock: Clock, held: set[str], *, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Examine one connection and read its `tags` once. `held`: connections a running gateway has open now."""
    name = connection.name
    if name in held and isinstance(connection, Modbus) and connection.serial is not None:
        return [_about(warning("device", "report.serial_held", device=connection.serial.device), name)]
    around = Surroundings(folder=site.folder, data=site.data, gateway=site.file.gateway.id)
    units = [line.work_unit for line in site.file.lines]
    found: list[Finding] = []
    try:
        async with asyncio.timeout(limit_s), aclosing(examine(connection, tags, units, clock, around)) as findings:
            async for finding in findings:
                found.append(_about(finding, name))  # noqa: PERF401 - what was found before a time-out stays
    except TimeoutError:
        found.append(_about(fault("time", "report.stopped", limit_s=limit_s), name))
    except SecretError as error:
        found.append(_about(fault("login", "report.secret", why=str(error)), name))
    except Exception as bug:  # one connection's trouble stays its own: the others are still to be examined
        log.debug("examination failed: connection=%s", name, exc_info=True)
        found.append(_about(fault("device", "report.bug", why=repr(bug)), name))
    return [_held(finding) if name in held else finding for finding in found]


def load_libraries(site: Site) -> None:
    """Load what the connections need before anything is timed: it would be counted into whoever waits meanwhile."""
    around = Surroundings(folder=site.folder, data=site.data, gateway=site.file.gateway.id)
    for connection in site.file.connections:
        examine(connection, (), (), WallClock(), around)  # nothing runs before it is iterated


def _about(finding: Finding, subject: str) -> Finding:
    return dataclasses.replace(finding, subject=subject)


def _held(finding: Finding) -> Finding:
    """Call a refusal what it is while the gateway itself holds the one connection that the machine takes."""
    if finding.key not in ONE_GUEST or finding.severity != "fault":
        return finding
    return dataclasses.replace(finding, severity="warning", key="report.held", words={"first": finding})


def place(connection: Connection) -> str:
    """Say where a connection leads: its protocol and address."""
    match connection:
        case OpcUa():
            return f"OPC UA  {connection.url}"
        case Modbus():
            names = {"tcp": "TCP", "rtu": "RTU", "rtu_over_tcp": "RTU over TCP", "tls": "TLS"}
            return f"Modbus {names[connection.transport]}  {connection.target}"
        case Mes():
            return f"MES  {connection.url}"
        case Sql():
            return f"SQL  {connection.url}"
        case Simulated():
            return "simulated"
