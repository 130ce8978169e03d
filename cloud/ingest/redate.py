"""What a gateway dated by a clock that had never been set (1970) is dated anew, once it knows the time.

The gateway says by how much its clock was off (`ClockStepped`), and for which of its starts. Bodies and sequence
numbers stay as they came; only the columns that queries go by are moved, and what took no part in any figure because
of its impossible date is projected now. Audit records keep the date they were chained with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.database import Connection
from cloud.ingest.project import EARLIEST_NS
from sync.facts import AnyFact, Fact
from sync.reading import Readings
from sync.timing import UNSET_BEFORE_NS

LEAST_NS: Final = 1
"""A time of 0 stands for none and is never moved."""
AROUND_NS: Final = 60_000_000_000
"""A step is on record within a second of it; what spans it and came before that was committed within this time of it."""
_DATES: Final = ("at", "start", "end")
_fact: Final[msgspec.json.Decoder[Fact]] = msgspec.json.Decoder(AnyFact)

Key = tuple[int, int, int]


def undated(at: int) -> bool:
    """Tell whether a time can only come from a clock that was never set."""
    return LEAST_NS <= at < UNSET_BEFORE_NS


def dates(told: Fact) -> list[int]:
    """Give the impossible ones among a fact's dates."""
    return [at for name in _DATES if isinstance(at := getattr(told, name, None), int) and undated(at)]


def any_undated(batch: Readings, *, unset: bool) -> bool:
    """Tell whether some readings of a chunk are dated by a clock that was never set; unset: its gateway says so itself."""
    times = batch.source_time
    return unset or bool(((times >= LEAST_NS) & (times < EARLIEST_NS)).any())


def fact(told: Fact, step: int) -> Fact:
    """Give a fact with its impossible dates moved by `step` ns."""
    moved = {name: at + step for name in _DATES if isinstance(at := getattr(told, name, None), int) and undated(at)}
    return msgspec.structs.replace(told, **moved) if moved else told


def readings(batch: Readings, step: int) -> Readings:
    """Give readings with their impossible dates moved by `step` ns."""

    def move(times: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where((times >= LEAST_NS) & (times < UNSET_BEFORE_NS), times + step, times)

    return replace(batch, source_time=move(batch.source_time), server_time=move(batch.server_time))


def step(connection: Connection, inc: int) -> int | None:
    """Give by how much the clock of this incarnation was off while it was not set; None as long as nobody knows."""
    row = connection.one("select unset_step from incarnation where id=?", (inc,))
    return None if row is None else row[0]


def remember(connection: Connection, gateway: int, incarnations: Sequence[str], step: int) -> list[int]:
    """Note the step of incarnations that have none; give their numbers. A later step is of a clock that was set."""
    found: list[int] = []
    for inc in dict.fromkeys(incarnations):
        rows = connection.execute(
            "update incarnation set unset_step=? where gateway=? and inc=? and unset_step is null returning id",
            (step, gateway, inc),
        )
        found += [int(row[0]) for row in rows]
    return found


def stored_facts(connection: Connection, inc: int, set_at: int, step: int) -> Iterator[tuple[Key, Fact]]:
    """Move the dates of an incarnation's stored facts; give those that can be projected, with their new dates.

    set_at: the right time when the clock was set.
    """
    rows = connection.execute(
        "select f.stream, f.seq, f.at, f.body from fact f where f.inc=? and f.kind<>'audit' and f.at>=? and f.at<?"
        " and (f.at<? or exists (select 1 from ingest_chunk c where c.inc=f.inc and c.stream=f.stream"
        " and c.first<=f.seq and f.seq<c.first+c.count and c.clock_sync='unset')) order by f.stream, f.seq",
        (inc, LEAST_NS, UNSET_BEFORE_NS, EARLIEST_NS),
    )
    # What spans the moment itself has a begin in 1970 and an end of today.
    across = connection.execute(
        "select stream, seq, at, body from fact where inc=? and kind<>'audit' and at between ? and ? order by stream, seq",
        (inc, set_at - AROUND_NS, set_at + AROUND_NS),
    )
    connection.many(
        "update fact set at=? where inc=? and stream=? and seq=?",
        [(at + step, inc, stream, seq) for stream, seq, at, _ in rows],
    )
    for stream, seq, at, body in [*rows, *across]:
        try:
            told = _fact.decode(body)
        except msgspec.MsgspecError:
            continue  # of a kind we do not know: its column is moved, there is nothing to project
        if undated(at) or dates(told):
            yield (inc, int(stream), int(seq)), fact(told, step)


def stored_readings(connection: Connection, inc: int, step: int) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Move the dates of an incarnation's stored readings; give (tenant, [(tag, new time, value, status)]) by chunk."""
    chunks = connection.execute(
        "select c.stream, c.first, c.count, c.tenant from ingest_chunk c where c.inc=? and (c.clock_sync='unset' or"
        # … and the one behind the last of them: read before the clock was set, committed after it.
        " c.first=(select max(u.first+u.count) from ingest_chunk u where u.inc=c.inc and u.stream=c.stream"
        " and u.clock_sync='unset')) order by c.stream, c.first",
        (inc,),
    )
    for stream, first, count, tenant in chunks:
        span = (inc, stream, first, first + count)
        moved = connection.execute(
            "select tag, source_time, value, status from reading where inc=? and stream=? and seq>=? and seq<?"
            " and source_time>=? and source_time<?",
            (*span, LEAST_NS, UNSET_BEFORE_NS),
        )
        if not moved:
            continue
        for column in ("server_time", "source_time"):
            connection.execute(
                f"update reading set {column}={column}+? where inc=? and stream=? and seq>=? and seq<?"  # noqa: S608 - the two names above
                f" and {column}>=? and {column}<?",
                (step, *span, LEAST_NS, UNSET_BEFORE_NS),
            )
        yield str(tenant), [(tag, at + step, value, status) for tag, at, value, status in moved]
