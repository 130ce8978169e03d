"""What was made of each job order: totals from production facts, and the job responses (ISA-95) that tell them. Pure.

A response is told when a line turns to something else or the order is closed, and in between every few minutes. Its id
is the same for the same order, work unit and start, so that a later one replaces an earlier one and a repeat does no
harm. Nothing here waits or sends; `edge.responding` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from sync.facts import Fact, JobOrderPlanned, JobResponded, Produced, StateChanged

INTERIM_NS: Final = 300_000_000_000
"""How often an order that goes on is told of."""
MOST_WAITING: Final = 20_000
MOST_ASIDE: Final = 100
CLOSED: Final = frozenset({"completed", "cancelled"})


class Made(msgspec.Struct):
    """What a work unit has made of the order it works on."""

    order: str
    start: int
    at: int
    product: str | None = None
    lot: str | None = None
    produced: int = 0
    good: int = 0
    scrap: int = 0
    rework: int = 0
    told: int = 0
    """When it was told of last (its time of the data), ns."""


class Orders(msgspec.Struct):
    """The orders being worked on; committed together with the facts it counts."""

    open: dict[str, Made] = {}
    """Work unit → its order."""

    def concern(self, facts: Sequence[Fact]) -> bool:
        """Tell quickly whether facts may change anything here."""
        return any(isinstance(fact, Produced | StateChanged | JobOrderPlanned) for fact in facts)

    def take(self, facts: Sequence[Fact]) -> list[JobResponded]:
        """Count facts in, in their order; give the responses they lead to."""
        told: list[JobResponded] = []
        for fact in facts:
            match fact:
                case Produced():
                    self._turned(fact.work_unit, fact.context.order, fact.start, told)
                    self._count(fact, told)
                case StateChanged():
                    self._turned(fact.work_unit, fact.context.order, fact.at, told)
                case JobOrderPlanned() if fact.state in CLOSED:
                    made = self.open.get(fact.work_unit)
                    if made is not None and made.order == fact.order:
                        self._turned(fact.work_unit, None, made.at, told)
                case _:
                    pass
        return told

    def _turned(self, work_unit: str, order: str | None, at: int, told: list[JobResponded]) -> None:
        """End the order of a work unit, unless it is the one it works on now."""
        made = self.open.get(work_unit)
        if made is not None and made.order != order:
            del self.open[work_unit]
            made.at = max(made.at, at)
            told.append(_response(work_unit, made, complete=True))

    def _count(self, fact: Produced, told: list[JobResponded]) -> None:
        context = fact.context
        if context.order is None:
            return
        made = self.open.get(fact.work_unit)
        if made is None:
            made = Made(order=context.order, start=fact.start, at=fact.at, told=fact.start)
            self.open[fact.work_unit] = made
        made.product, made.lot = context.product or made.product, context.lot or made.lot
        made.at = max(made.at, fact.at)
        made.produced += fact.produced
        made.good += fact.good
        made.scrap += fact.scrap
        made.rework += fact.rework
        if made.at - made.told >= INTERIM_NS:
            made.told = made.at
            told.append(_response(fact.work_unit, made, complete=False))


class Waiting(msgspec.Struct):
    """Responses on their way to the MES; a later one takes the place of an earlier one with its id."""

    queue: dict[str, JobResponded] = {}
    aside: list[JobResponded] = []
    """What the MES refused, the newest ones, for a person to look at."""

    def put(self, responses: Sequence[JobResponded]) -> list[JobResponded]:
        """Queue responses; give those that had to be put aside for want of room, the oldest first."""
        for response in responses:
            self.queue[response.response] = response
        over = [self.queue[key] for key in list(self.queue)[: max(0, len(self.queue) - MOST_WAITING)]]
        for response in over:
            self.put_aside(response)
        return over

    def first(self) -> JobResponded | None:
        """Give the response that waits longest."""
        return next(iter(self.queue.values()), None)

    def done(self, response: JobResponded) -> None:
        """Forget a response that was handed over, unless a later one has taken its place meanwhile."""
        if self.queue.get(response.response) == response:
            del self.queue[response.response]

    def put_aside(self, response: JobResponded) -> None:
        """Take a response out of the queue and keep it for a person."""
        self.done(response)
        self.aside = [*self.aside[-MOST_ASIDE + 1 :], response]


def _response(work_unit: str, made: Made, *, complete: bool) -> JobResponded:
    about = "\0".join((work_unit, made.order, str(made.start)))
    return JobResponded(
        at=made.at,
        work_unit=work_unit,
        response=hashlib.blake2b(about.encode(), digest_size=12).hexdigest(),
        order=made.order,
        product=made.product,
        lot=made.lot,
        start=made.start,
        produced=made.produced,
        good=made.good,
        scrap=made.scrap,
        rework=made.rework,
        complete=complete,
    )
