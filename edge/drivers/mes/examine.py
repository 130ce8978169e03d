"""A MES or ERP examined: the way there, the login, and each resource or query asked once. Nothing is written."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from edge.connections import Factual, Mes, Sql
from edge.drivers.appraisal import NOTICED_S, off_by
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.finding import Finding, fault, ok, warning
from edge.drivers.mes.paging import UnauthorizedError
from edge.drivers.mes.rest import OPTIONAL, MesSource
from edge.drivers.reach import greet, reach
from sync.clock import Clock

PORTS: Final = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
ALL_S: Final = 60.0
"""For all resources or queries together; each has the source's own limit."""


class _Askable(Protocol):
    """What both sources of facts can besides polling: each question once, and the other side's clock (ns)."""

    @property
    def server_time(self) -> int | None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def ask_each(self) -> AsyncGenerator[tuple[str, int | str]]: ...


async def examine(
    connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings
) -> AsyncGenerator[Finding]:
    """Examine the source and ask it for everything once; stops at what makes the rest pointless."""
    url = urlsplit(connection.url)
    port = url.port or PORTS.get(url.scheme.partition("+")[0])
    if url.hostname is not None and port is not None:
        for finding in await reach(url.hostname, port):
            yield finding
            if finding.severity == "fault":
                return
        if url.scheme == "https" and isinstance(connection, Mes):
            said = await _tls(connection, url.hostname, port, around)
            yield said
            if said.severity == "fault":
                return
    for finding in await _ask(connection, work_units, clock, around):
        yield finding


async def _tls(connection: Mes, host: str, port: int, around: Surroundings) -> Finding:
    ca = None if connection.ca is None else around.folder / connection.ca
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        return fault("tls", "reach.tls_ca_file", file=ca, why=error.strerror or error)
    said, _ = await greet(host, port, context)
    return said


async def _ask(connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings) -> list[Finding]:
    check = "resource" if isinstance(connection, Mes) else "query"
    found: list[Finding] = []
    try:
        async with asyncio.timeout(ALL_S):
            source = _open(connection, work_units, clock, around)
            began = clock.now()
            async with source:
                found.append(ok("login", "mes.login"))
                there = source.server_time
                if there is not None:
                    found.append(_clock(connection, there, (began, clock.now())))
                async with aclosing(source.ask_each()) as answers:
                    async for name, said in answers:
                        found.append(_answered(connection, name, said))
    except TimeoutError:
        found.append(fault(check, "mes.slow", limit_s=ALL_S))
    except DriverError as error:
        found.append(_lost(error))
    return found


def _open(connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings) -> _Askable:
    match connection:
        case Mes():
            return MesSource(connection, work_units, clock, around)
        case Sql():
            from edge.drivers.mes.sql import SqlSource

            return SqlSource(connection, work_units, clock, around)


def _lost(error: DriverError) -> Finding:
    why = str(error).partition("): ")[2] or str(error)
    if isinstance(error, UnauthorizedError) or "refuses us" in why:
        return fault("login", "mes.refused", why=why)
    return fault("login", "mes.lost", why=why)


def _answered(connection: Factual, name: str, said: int | str) -> Finding:
    if isinstance(said, int):
        return ok("resource" if isinstance(connection, Mes) else "query", "mes.rows", name=name, rows=said)
    if isinstance(connection, Sql):
        return fault("query", "mes.query", name=name, why=said)
    why = said.partition("): ")[2] or said
    if why == said:  # rows came, and some do not fit
        return warning("resource", "mes.odd", name=name, why=why)
    if "404" not in why:
        forbidden = any(code in why for code in ("401", "403"))
        return fault("resource", "mes.forbidden" if forbidden else "mes.resource", name=name, why=why)
    if name.startswith("context"):
        return ok("resource", "mes.rows", name=name, rows=0)  # nothing runs there
    optional = name.partition(" ")[0] in OPTIONAL
    return (warning if optional else fault)("resource", "mes.missing", name=name, why=why)


def _clock(connection: Factual, there: int, between: tuple[int, int]) -> Finding:
    """Compare clocks; an HTTP date is cut to whole seconds, so half of one is added, and less than that is nothing."""
    cut = 0.5 if isinstance(connection, Mes) else 0.0
    offset, slack = (there - sum(between) / 2) / 1e9 + cut, (between[1] - between[0]) / 2e9 + cut
    return off_by(min(slack, NOTICED_S) if abs(offset) <= slack else offset, connection.name)
