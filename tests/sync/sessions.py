"""A gateway's session brought to where a test begins."""

from __future__ import annotations

import itertools

from sync.cursor import Cursor
from sync.effects import Apply, AskHoldings, Effect, Piece, Say, State
from sync.frames import (
    Challenge,
    Hello,
    Incarnation,
    Receipt,
    Rejection,
    Resume,
    StreamHoldings,
    Watermark,
    Welcome,
)

INC = "a" * 32
OLD = "b" * 32
NONCE = "n" * 32
ASKED = AskHoldings(NONCE)


def counter(digits: int):
    """Give a source of tokens: what is drawn never matters, only that it differs."""
    return map(f"{{:0{digits}x}}".format, itertools.count(1)).__next__


def new(inc: str = INC, **more) -> Cursor:
    return Cursor(inc, token=counter(16), **more)


def piece(first: int, count: int = 1) -> Piece:
    return Piece(first, count, b"d" * 32, f"{first}+{count}".encode())


def holding(inc: str, ord_: int, *, closed: bool = False, **last: int) -> Incarnation:
    streams = {name[1:]: StreamHoldings(last=n, held=[(1, n)]) for name, n in last.items()}
    return Incarnation(inc=inc, ord=ord_, closed=closed, streams=streams)


def receipt(
    cursor: Cursor, number: int, *marks: tuple[str, int, int], rejected: list[Rejection] | None = None
) -> Receipt:
    return Receipt(
        nonce=cursor.nonce,
        number=number,
        watermarks=[Watermark(inc=inc, stream=stream, stored=stored, safe=stored) for inc, stream, stored in marks],
        rejected=rejected or [],
    )


def streaming(
    *held: Incarnation, window: int = 2, complete: bool = True, protocol: int = 2, **more
) -> tuple[Cursor, list[Effect]]:
    """Give a cursor that has been welcomed, and what it wanted to do then."""
    cursor = new(**more)
    (say,) = cursor.connected(0, 0)
    assert isinstance(say, Say)
    assert isinstance(say.frame, Hello)
    challenge = Challenge(session=say.frame.session, nonce=NONCE, protocol=protocol, wall=0)
    assert cursor.received(challenge, 0, 0) == [ASKED]
    (resume,) = cursor.holdings(ASKED, held, complete, 0)
    assert resume == Say(Resume(nonce=NONCE, incarnations=list(held), complete=complete))
    effects = cursor.received(Welcome(nonce=NONCE, watermarks=[], window=window), 0, 0)
    assert isinstance(effects[0], Apply)
    assert cursor.state is State.STREAMING
    return cursor, effects[1:]
