"""`triflow cloud gateway`: who speaks under an identity, and a person's word about it."""

from __future__ import annotations

import getpass
import time

from sqlalchemy import make_url

from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.ingest import orders
from cloud.running import file_of
from sync.topics import Address

EVENTS = 20


def keep(settings: Settings, address: Address, inc: str) -> str:
    """Decide which of two boxes is the gateway. Raises OrderError and DatabaseError."""
    return orders.give(settings, orders.Keep((address.tenant, address.site, address.gateway), inc))


def close(settings: Settings, address: Address, inc: str) -> str:
    """Say that an incarnation will not come back. Raises OrderError and DatabaseError."""
    who = getpass.getuser()
    return orders.give(settings, orders.Close((address.tenant, address.site, address.gateway), inc, who))


def show(settings: Settings, address: Address) -> list[str]:
    """Give the lines that say who speaks for a gateway and what happened to it. Raises OrderError and DatabaseError."""
    if address not in settings.keys:
        known = ", ".join(sorted(map(str, settings.keys))) or "none"
        raise orders.OrderError(f"{address} is not enrolled; [[gateway]] in cloud.toml names {known}")
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection: Connection = (
        Postgresql(make_url(settings.database_url), writer=False) if path is None else Sqlite(str(path), writer=False)
    )
    try:
        return _lines(connection, address)
    finally:
        connection.close()


def _lines(connection: Connection, address: Address) -> list[str]:
    row = connection.one(
        "select id, identity, box, public_key from gateway where tenant=? and site=? and name=?",
        (address.tenant, address.site, address.gateway),
    )
    if row is None:
        return [f"{address} was never heard"]
    number, identity, box, key = row
    lines = [f"{address}: identity {identity}, box {box or 'unknown'}, key {key or 'none'}"]
    for inc, order, software, where, heard, discarded, suspect, missing in connection.execute(
        "select i.inc, i.ord, i.software, i.box, i.heard_ms, i.discarded, i.suspect_ms,"
        " (select coalesce(sum(s.last-s.stored), 0) from ingest_stream s where s.inc=i.id)"
        " from incarnation i where i.gateway=? order by i.ord, i.id",
        (number,),
    ):
        marks = [word for word, true in (("discarded", discarded), ("suspect", suspect is not None)) if true]
        lines.append(
            f"  {inc} no. {order}, {software or 'software unknown'}, box {where or 'unknown'}, heard {_when(heard)},"
            f" {missing} records not here{''.join(', ' + mark for mark in marks)}"
        )
    lines += [
        f"  {_when(at)} {kind}: {detail}"
        for at, kind, detail in connection.execute(
            "select at_ms, kind, detail from gateway_event where gateway=? order by id desc limit ?", (number, EVENTS)
        )
    ]
    return lines


def _when(ms: int | None) -> str:
    return "never" if ms is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))
