"""The cloud's countersignatures: kept so that neither side can later say something else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import apsw

from edge.store.lanes import Books, Start
from edge.store.rows import link_at
from sync.facts import Stream
from sync.frames import Watermark, Witness

log = logging.getLogger(__name__)

AUDIT_KEPT: Final = 20_000
"""Of the audit lanes, newest first: at one a minute of activity that is years; a row has about 300 bytes."""
LANES_KEPT: Final = 1_000
"""Of all other lanes, one each."""


def take_witnesses(connection: apsw.Connection, books: Books, witnessed: Sequence[Witness]) -> list[Watermark]:
    """Keep what the cloud signed of our chain; give, as marks, what of the present incarnation is another's chain.

    Where our own link at that number is not known any more the signature is kept.
    """
    starts = books.by_inc()
    ours: list[Witness] = []
    foreign: list[Watermark] = []
    for one in witnessed:
        start = starts.get(one.inc)
        if start is None or _fits(connection, start, one):
            ours.append(one)
            continue
        log.error("the cloud signed another chain than ours, a copy of this box made it: lane=%s/%d seq=%d",
                  start.ord, one.stream, one.seq)  # fmt: skip
        if not start.closed:
            foreign.append(Watermark(inc=one.inc, stream=one.stream, stored=one.seq, safe=0, link=one.link))
    _keep(connection, ours)
    return foreign


def _fits(connection: apsw.Connection, start: Start, one: Witness) -> bool:
    lane = next((lane for lane in start.lanes.values() if lane.stream == one.stream), None)
    if lane is None or one.seq > lane.last:
        return False
    link = link_at(connection, lane, one.seq)
    return not link or link.hex() == one.link


def _keep(connection: apsw.Connection, witnessed: Sequence[Witness]) -> None:
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
