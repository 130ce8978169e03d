"""A MES or ERP examined: the way there, the login, and each resource or query asked once. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from edge.connections import Factual, Mes, Sql
from edge.drivers.appraisal import off_by
from edge.drivers.driver import DriverError, Surroundings
from edge.drivers.finding import Finding, fault, ok, warning
from edge.drivers.reach import reach
from sync.clock import Clock

PORTS: Final = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
ALL_S: Final = 60.0
"""For all resources or queries together; each has the source's own limit."""


class _Askable(Protocol):
    """What both sources of facts can besides polling: each question once."""

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
    for finding in await _ask(connection, work_units, clock, around):
        yield finding


async def _ask(connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings) -> list[Finding]:
    check = "resource" if isinstance(connection, Mes) else "query"
    found: list[Finding] = []
    try:
        async with asyncio.timeout(ALL_S):
            source = _open(connection, work_units, clock, around)
            async with source:
                found.append(ok("login", "mes.login"))
                asked = clock.now()
                async with aclosing(source.ask_each()) as answers:
                    async for name, said in answers:
                        found.append(_answered(check, name, said))
                there = getattr(source, "server_time", None)
                if there is not None and isinstance(connection, Mes):
                    found.insert(1, _clock(there, asked, clock.now()))
    except TimeoutError:
        found.append(fault(check, "mes.slow", limit_s=ALL_S))
    except DriverError as error:
        found.append(_lost(str(error)))
    except ModuleNotFoundError as error:
        found.append(fault("login", "mes.library", library=error.name))
    return found


def _open(connection: Factual, work_units: Sequence[str], clock: Clock, around: Surroundings) -> _Askable:
    match connection:
        case Mes():
            from edge.drivers.mes.rest import MesSource

            return MesSource(connection, work_units, clock, around)
        case Sql():
            from edge.drivers.mes.sql import SqlSource

            return SqlSource(connection, work_units, clock, around)


def _lost(said: str) -> Finding:
    why = said.partition("): ")[2] or said
    if any(code in why for code in ("401", "403", "password", "authentication")):
        return fault("login", "mes.refused", why=why)
    return fault("login", "mes.lost", why=why)


def _answered(check: str, name: str, said: int | str) -> Finding:
    if isinstance(said, int):
        return ok(check, "mes.rows", name=name, rows=said)
    why = said.partition("): ")[2] or said
    if any(code in why for code in ("401", "403")):
        return fault(check, "mes.forbidden", name=name, why=why)
    if "404" in why:
        return warning(check, "mes.missing", name=name, why=why)
    return warning(check, "mes.odd", name=name, why=why)


def _clock(there: int, asked: int, answered: int) -> Finding:
    """Compare by a Date header, which is cut to whole seconds: half of one is added, and less than one is none."""
    offset = (there - (asked + answered) / 2) / 1e9 + 0.5
    slack = (answered - asked) / 2e9 + 0.5
    return off_by(0.0 if abs(offset) <= slack else offset, "MES")
