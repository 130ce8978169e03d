"""Events and conditions that machines report, as facts on disk: each once, whatever is said again after a reconnect."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import aclosing
from typing import Final

import msgspec

from edge.drivers.driver import DriverError, Eventful
from edge.recording import Recording
from sync.facts import AlarmChanged, EventNotified, Fact

log = logging.getLogger(__name__)

REMEMBERED: Final = 1_000
"""Ids of events that were recorded last, so that one that comes again is known."""
INACTIVE: Final = 2_000
"""Conditions that are over and still known; the oldest are forgotten first."""


class _Said(msgspec.Struct, array_like=True):
    """What was said of a condition last."""

    active: bool
    severity: str
    acknowledged: bool | None
    summary: dict[str, str]

    def stands_as(self, other: _Said) -> bool:
        """Tell whether it is the same state; a message may count on with every value."""
        return (self.active, self.severity, self.acknowledged) == (other.active, other.severity, other.acknowledged)


class _State(msgspec.Struct, array_like=True):
    """The checkpoint."""

    conditions: list[tuple[str, str, _Said]]
    """(work unit, alarm, what was said)."""
    events: list[str]


class Notices:
    """Takes what one connection's machine reports; what was said already is not said again, also after a restart."""

    def __init__(self, recording: Recording, connection: str) -> None:
        self._recording, self._name = recording, connection
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()
        self._events: OrderedDict[str, None] = OrderedDict()
        state = recording.store.checkpoint(f"notices:{connection}")
        if state is not None:
            try:
                held = msgspec.msgpack.decode(state, type=_State)
            except msgspec.MsgspecError as error:
                log.warning("what a machine reported is not known any more: source=%s why=%s", connection, error)
                return
            self._said.update({(work_unit, alarm): said for work_unit, alarm, said in held.conditions})
            self._events.update(dict.fromkeys(held.events))

    @property
    def standing(self) -> set[tuple[str, str]]:
        """Give (work unit, alarm) of the conditions that are active as far as we know."""
        return {key for key, said in self._said.items() if said.active}

    async def follow(self, driver: Eventful) -> None:
        """Record what the machine reports until the connection is lost or cancelled."""
        try:
            async with aclosing(driver.events(self.standing)) as batches:
                async for batch in batches:
                    await self.take(batch)
        except DriverError as error:
            log.info("events break off, to go on at the next connect: source=%s why=%s", self._name, error)

    async def take(self, batch: list[Fact]) -> None:
        """Record the facts of a batch that say something new, with the memory of it in one transaction."""
        new = [fact for fact in map(self._new, batch) if fact is not None]
        if new:
            await self._recording.commit([], new, checkpoints={f"notices:{self._name}": self.dump()})

    def _new(self, fact: Fact) -> Fact | None:
        match fact:
            case AlarmChanged():
                return self._condition(fact)
            case EventNotified() if fact.event:
                if fact.event in self._events:
                    return None
                self._events[fact.event] = None
                while len(self._events) > REMEMBERED:
                    self._events.popitem(last=False)
            case _:
                pass
        return fact

    def _condition(self, fact: AlarmChanged) -> AlarmChanged | None:
        key = (fact.work_unit, fact.alarm)
        known = self._said.get(key)
        if not fact.severity:  # closed because the machine no longer names it: all else is as it was
            if known is None or not known.active:
                return None
            fact = msgspec.structs.replace(fact, severity=known.severity, summary=known.summary)
        said = _Said(fact.active, fact.severity, fact.acknowledged, fact.summary)
        if known is None and not fact.active and fact.acknowledged is not False:
            return None  # an alarm that nobody ever heard of is not up
        if known is not None and known.stands_as(said):
            return None
        self._said[key] = said
        self._said.move_to_end(key)
        over = [key for key, said in self._said.items() if not said.active]
        for old in over[: max(0, len(over) - INACTIVE)]:
            del self._said[old]
        return fact

    def dump(self) -> bytes:
        """Give what was said, for the checkpoint."""
        return msgspec.msgpack.encode(
            _State([(work_unit, alarm, said) for (work_unit, alarm), said in self._said.items()], list(self._events))
        )
