"""What is safe: in a verified backup. Read from the backup itself, and only then told to the gateways.

A gateway forgets what is safe; so a watermark may be raised by nothing but what stands in a backup that was read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.database import Connection

Mark = tuple[str, str, str, str, int, int, int]
"""(tenant, site, gateway, incarnation, stream, records that were taken back from their losses, everything up to here).

Names, because row numbers differ between databases. A loss may be taken back after the backup was made: then the backup
holds the declaration and not the records, and its watermark says nothing about them.
"""


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup that was read back."""

    made_ms: int
    path: str
    digest: str
    bytes: int
    marks: Sequence[Mark]


def watermarks(connection: Connection) -> list[Mark]:
    """Give how far every stream is in this database: a backup, or the snapshot one is made of."""
    rows = connection.execute(
        "select g.tenant, g.site, g.name, i.inc, s.stream, s.corrected, s.stored from ingest_stream s join incarnation i on i.id=s.inc"
        " join gateway g on g.id=i.gateway order by s.inc, s.stream"
    )
    return [
        (tenant, site, name, inc, stream, corrected, stored)
        for tenant, site, name, inc, stream, corrected, stored in rows
    ]


def raise_safe(connection: Connection, verified: Verified, now_ms: int) -> int:
    """Note a verified backup and raise the watermarks to what it holds; gives how many moved. Once more changes nothing."""
    rows = {
        (tenant, site, name, inc): number
        for tenant, site, name, inc, number in connection.execute(
            "select g.tenant, g.site, g.name, i.inc, i.id from incarnation i join gateway g on g.id=i.gateway"
        )
    }
    moved = 0
    for tenant, site, name, inc, stream, corrected, stored in verified.marks:
        if (number := rows.get((tenant, site, name, inc))) is not None:
            moved += len(
                connection.execute(
                    "update ingest_stream set safe=? where inc=? and stream=? and safe<? and stored>=? and corrected=?"
                    " returning inc",
                    (stored, number, stream, stored, stored, corrected),
                )
            )
    connection.execute(
        "insert into backup(made_ms, path, digest, bytes, recorded_ms) values(?,?,?,?,?) on conflict do nothing",
        (verified.made_ms, verified.path, verified.digest, verified.bytes, now_ms),
    )
    return moved


def newest(connection: Connection) -> tuple[int, str] | None:
    """Give when the newest verified backup was made (ms) and where it is; None when there is none."""
    row = connection.one("select made_ms, path from backup order by made_ms desc limit 1")
    return None if row is None else (int(row[0]), str(row[1]))
