"""The audit log's answers: pages, sums, and an export that streams. A log that cannot be read is an error, never empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

from cloud.bi import audit
from cloud.database import Database

Json = dict[str, Any]
PART: Final = 1_000


class AuditLog:
    """Reads the log of one or more tenants; every method names its tenant first and raises DatabaseError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str, what: audit.Filter, *, limit: int, offset: int) -> Json:
        """Give one page with the exact total."""
        return await self._database.read(lambda c: audit.page(c, tenant, what, limit=limit, offset=offset))

    async def stats(self, tenant: str, what: audit.Filter) -> Json:
        """Give the total and what it is made of."""
        return await self._database.read(lambda c: audit.stats(c, tenant, what))

    async def choices(self, tenant: str) -> dict[str, list[Any]]:
        """Give what the log can be filtered by."""
        return await self._database.read(lambda c: audit.choices(c, tenant))

    async def csv(self, tenant: str, what: audit.Filter) -> AsyncIterator[bytes]:
        """Give the whole selection as CSV, in the order of the pages, a part at a time.

        The first part is read before anything is sent, so that a database that is away is an error and no empty file.
        """

        async def read(after: audit.Mark | None) -> tuple[list[Json], audit.Mark | None]:
            return await self._database.read(lambda c: audit.part(c, tenant, what, after, PART))

        first, mark = await read(None)

        async def lines() -> AsyncIterator[bytes]:
            items, after = first, mark
            # A byte order mark: without it spreadsheets take UTF-8 for something else.
            yield ("\ufeff" + audit.csv_line(audit.COLUMNS)).encode()
            while True:
                yield "".join(audit.csv_line([_cell(item[name]) for name in audit.COLUMNS]) for item in items).encode()
                if after is None:
                    return
                items, after = await read(after)

        return lines()


def _cell(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict) else value
