"""The cloud's countersignatures: kept so that neither side can later say something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from sync.facts import Stream
from sync.frames import Witness

AUDIT_KEPT: Final = 20_000
"""Of the audit lanes, newest first: at one a minute of activity that is years; a row has about 300 bytes."""
LANES_KEPT: Final = 1_000
"""Of all other lanes, one each."""


def keep_witnesses(connection: apsw.Connection, witnessed: Sequence[Witness]) -> None:
    """Keep the newest of each lane and every one of the audit lanes, within limits."""
    for one in witnessed:
        connection.execute(
            "INSERT OR REPLACE INTO witness (inc, stream, seq, link, at, signature) VALUES (?, ?, ?, ?, ?, ?)",
            (one.inc, one.stream, one.seq, one.link, one.at, one.signature),
        )
        if one.stream != Stream.AUDIT:
            connection.execute(
                "DELETE FROM witness WHERE inc = ? AND stream = ? AND at < ?", (one.inc, one.stream, one.at)
            )
    if witnessed:
        for audit, kept in ((True, AUDIT_KEPT), (False, LANES_KEPT)):
            connection.execute(
                "DELETE FROM witness WHERE (inc, stream, seq) IN (SELECT inc, stream, seq FROM witness "
                "WHERE (stream = ?) = ? ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (Stream.AUDIT, audit, kept),
            )


def witnesses(connection: apsw.Connection, inc: str | None = None, stream: Stream | None = None) -> list[Witness]:
    """Give them by lane and number."""
    found = connection.execute(
        "SELECT inc, stream, seq, link, at, signature FROM witness WHERE (?1 IS NULL OR inc = ?1) "
        "AND (?2 IS NULL OR stream = ?2) ORDER BY inc, stream, seq",
        (inc, stream),
    )
    return [
        Witness(inc=str(i), stream=int(s), seq=int(n), link=str(link), at=int(at), signature=str(signature))
        for i, s, n, link, at, signature in found
    ]
