"""Incarnations that are not complete and that no gateway names any more: suspect for a day, then their rest is gone.

What comes after all still wins (`cloud.ingest.streams`): a declared loss is never the end of a record that exists.
"""

from __future__ import annotations

from typing import Final

from cloud.database import Connection
from cloud.ingest.items import Committed
from cloud.ingest.presence import note
from cloud.ingest.streams import Streams
from sync.frames import Loss
from sync.topics import Address

WAIT_MS: Final = 24 * 3_600_000


def sweep(connection: Connection, now_ms: int) -> list[str]:
    """Close every orphan that has been suspect for a day; gives what was declared lost."""
    rows = connection.execute(
        "select id from incarnation where suspect_ms is not null and suspect_ms<=? and exists (select 1 from"
        " ingest_stream s where s.inc=incarnation.id and s.stored<s.last) order by id",
        (now_ms - WAIT_MS,),
    )
    return [line for (number,) in rows for line in _close(connection, number, "after a day", now_ms)]


def close(connection: Connection, address: Address, inc: str, *, by: str, now_ms: int) -> list[str]:
    """Close an orphan on a person's word; gives what was declared lost. Raises KeyError for an unknown one."""
    row = connection.one(
        "select i.id from incarnation i join gateway g on g.id=i.gateway where g.tenant=? and g.site=? and g.name=?"
        " and i.inc=?",
        (address.tenant, address.site, address.gateway, inc),
    )
    if row is None:
        raise KeyError(inc)
    return _close(connection, row[0], f"by {by}", now_ms)


def _close(connection: Connection, number: int, how: str, now_ms: int) -> list[str]:
    row = connection.one(
        "select g.id, g.tenant, g.site, g.name, i.inc from incarnation i join gateway g on g.id=i.gateway where i.id=?",
        (number,),
    )
    if row is None:
        return []
    gateway, tenant, site, name, inc = row
    address, done = Address(tenant, site, name), Committed()
    streams = Streams(connection, lambda _address, _inc: number, done, now_ms, safe_is_stored=False)
    for (stream,) in connection.execute("select stream from ingest_stream where inc=? order by stream", (number,)):
        one = streams.get(address, inc, stream)
        streams.lose(one, [Loss(first, last, "gone") for first, last in one.position.unaccounted([])], "cloud")
    streams.write()
    connection.execute("update incarnation set suspect_ms=null, closed=? where id=?", (True, number))
    detail = f"incarnation {inc} {how}: {'; '.join(done.lost) or 'nothing was missing'}"
    note(connection, (gateway, tenant), "orphan closed", detail, now_ms)
    return done.lost
