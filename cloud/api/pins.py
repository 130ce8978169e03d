"""Pins: questions that people keep in sight, in the order they chose. What a pin shows is asked anew by whoever looks."""

from __future__ import annotations

from typing import Any, Final

import orjson

from cloud.api.errors import ApiError, not_found
from cloud.bi import times
from cloud.bi.semantic.plan import Plan
from cloud.bi.times import iso
from cloud.database import Connection, Database, Row

MOST: Final = 24
"""Pins of one tenant: more than anybody keeps in sight, and few enough to answer all of them at once."""

Json = dict[str, Any]
_COLUMNS: Final = "id, title, plan, place, version, created_ms, changed_ms"


def _told(row: Row) -> Json:
    pin, title, plan, place, version, created, changed = row
    return {
        "id": pin,
        "title": title,
        "plan": orjson.loads(plan),
        "place": place,
        "version": version,
        "created": iso(created),
        "changed": iso(changed),
    }


class Pins:
    """One cloud's pins; every method names its tenant first. Nobody meets the pins of another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(self, tenant: str) -> list[Json]:
        """Give all pins in their order."""
        return await self._database.read(lambda connection: [_told(row) for row in _rows(connection, tenant)])

    async def add(self, tenant: str, title: str, plan: Plan) -> Json:
        """Keep a question, last of all. Raises ApiError 409 when there are as many as there may be."""
        now_ms = times.now_ms()

        def write(connection: Connection) -> Json:
            known = _own(connection, tenant)
            if len(known) >= MOST:
                raise ApiError(
                    409, "CONFLICT", f"there are {MOST} pins, and no more than {MOST} are kept", "remove one first"
                )
            row = connection.execute(
                "insert into pin(tenant, title, plan, place, created_ms, changed_ms) values(?,?,?,?,?,?)"
                f" returning {_COLUMNS}",
                (tenant, title, _text(plan), len(known), now_ms, now_ms),
            )[0]
            return _told(row)

        return await self._database.write(write)

    async def change(
        self, tenant: str, pin: int, version: int, *, title: str | None, plan: Plan | None, place: int | None
    ) -> Json:
        """Rename a pin, ask another question with it, or move it. Raises ApiError 404, 409.

        version: of the pin as it was seen; what somebody else changed since is not overwritten.
        place: where it stands from now on, 0 the first; the end where there are fewer.
        """
        now_ms = times.now_ms()

        def write(connection: Connection) -> Json:
            known = _own(connection, tenant)
            row = _seen(known, pin, version)
            if title is not None or plan is not None:
                said = (row[1] if title is None else title, row[2] if plan is None else _text(plan))
                connection.execute(
                    "update pin set title=?, plan=?, version=version+1, changed_ms=? where tenant=? and id=?",
                    (*said, now_ms, tenant, pin),
                )
            if place is not None:
                order = [one[0] for one in known if one[0] != pin]
                order.insert(min(place, len(order)), pin)
                _number(connection, tenant, order)
            return next(_told(one) for one in _rows(connection, tenant) if one[0] == pin)

        return await self._database.write(write)

    async def remove(self, tenant: str, pin: int, version: int) -> None:
        """Forget a pin. Raises ApiError 404, 409."""

        def write(connection: Connection) -> None:
            known = _own(connection, tenant)
            _seen(known, pin, version)
            connection.execute("delete from pin where tenant=? and id=?", (tenant, pin))
            _number(connection, tenant, [one[0] for one in known if one[0] != pin])

        await self._database.write(write)


def _rows(connection: Connection, tenant: str) -> list[Row]:
    return connection.execute(f"select {_COLUMNS} from pin where tenant=? order by place, id", (tenant,))  # noqa: S608 - our own columns


def _own(connection: Connection, tenant: str) -> list[Row]:
    """Give the tenant's pins for a change: of several clouds at one database, one at a time."""
    if connection.postgresql:
        connection.execute("select pg_advisory_xact_lock(hashtextextended(?, 0))", (f"pins/{tenant}",))
    return _rows(connection, tenant)


def _seen(known: list[Row], pin: int, version: int) -> Row:
    row = next((one for one in known if one[0] == pin), None)
    if row is None:
        raise not_found(f"there is no pin {pin}", "GET /api/v1/pins lists them; somebody may have removed it")
    if row[4] != version:
        raise ApiError(
            409,
            "CONFLICT",
            f"pin {pin} was changed since: it is version {row[4]}, not {version}",
            "read it again with GET /api/v1/pins, and change what is there now",
        )
    return row


def _number(connection: Connection, tenant: str, order: list[int]) -> None:
    connection.many(
        "update pin set place=? where tenant=? and id=?", [(place, tenant, pin) for place, pin in enumerate(order)]
    )


def _text(plan: Plan) -> str:
    return plan.model_dump_json(exclude_none=True, exclude_defaults=True)
