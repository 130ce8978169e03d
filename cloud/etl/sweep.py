"""Corrections and their facts that missed each other: two processes stored them at one moment, neither saw the other's."""

from __future__ import annotations

from typing import Final

from cloud.database import Connection
from cloud.etl.corrections import Target
from cloud.etl.redo import redo
from cloud.plant import Plants

AT_ONCE: Final = 200


def sweep(connection: Connection, plants: Plants, now_ns: int) -> int:
    """Bring corrections that wait together with facts that have arrived; gives how many facts that were."""
    rows = connection.execute(
        "select distinct c.tenant, c.inc, c.stream, c.seq from correction c join incarnation i on i.inc=c.inc and"
        " i.tenant=c.tenant join fact f on f.inc=i.id and f.stream=c.stream and f.seq=c.seq where c.state='waiting' limit ?",
        (AT_ONCE,),
    )
    targets = [Target(*row) for row in rows]
    if targets:
        redo(connection, plants, targets, now_ns)
    return len(targets)
