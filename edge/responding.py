"""Job responses on their way back to the MES: recorded with the facts they come from, handed over when it listens.

At least once, and idempotent by id; days without the MES only make the queue longer. What it refuses is put aside, said
in log, health and audit, and stays in the log of facts like any other response.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from edge.connections import Mes
from edge.drivers import open_source
from edge.drivers.driver import DriverError, RefusedError, Responsive
from edge.orders import Orders, Waiting
from edge.recording import Recording
from edge.store import StoreError
from sync.clock import backoff
from sync.facts import Audited, Fact, JobResponded
from sync.secret import SecretError

log = logging.getLogger(__name__)

NOTE: Final = "job responses"

State = TypeVar("State", Orders, Waiting)


class Responding:
    """The job responses of one MES; `keep_responding` runs until cancelled."""

    def __init__(self, recording: Recording, connection: Mes) -> None:
        """Take up what the last commit left, and follow every commit from now on."""
        self._recording, self._connection = recording, connection
        self._orders = self._load("orders", Orders)
        self._waiting = self._load("responses", Waiting)
        self._wanted = asyncio.Event()
        self._why = ""
        """Why the MES does not take them at present."""
        recording.after.append(self._follow)
        self._look()

    @property
    def note(self) -> str:
        """What people should know of the responses; empty when all are handed over."""
        parts: list[str] = []
        if self._waiting.queue and self._why:
            parts.append(f"{len(self._waiting.queue)} waiting: {self._why}")
        if self._waiting.aside:
            parts.append(f"{len(self._waiting.aside)} put aside, refused by the MES")
        return "; ".join(parts)

    def show(self) -> None:
        """Put the note where page and metrics look."""
        notes = self._recording.sources[self._connection.name].health.notes
        if self.note:
            notes[NOTE] = self.note
        else:
            notes.pop(NOTE, None)

    async def keep_responding(self) -> None:
        """Hand responses over for ever; the MES's trouble, or ours, only makes them wait."""
        delays = backoff()
        while True:
            await self._wanted.wait()
            try:
                await self._hand_over()
                delays = backoff()
                continue
            except (DriverError, SecretError) as error:
                why = str(error)
            except StoreError:
                raise  # no MES's trouble: what cannot be put on disk ends the process
            except Exception as bug:  # recorded by the log, shown, and tried again: the lines run on
                log.exception("job responses faulted: source=%s", self._connection.name)
                why = f"fault of ours: {bug!r}"
            if not self._why:
                log.warning("job responses wait: source=%s why=%s", self._connection.name, why)
            self._why = why
            self.show()
            await self._recording.clock.sleep(next(delays))

    async def _hand_over(self) -> None:
        """Hand over what waits, the oldest first, on one connection."""
        recording = self._recording
        source = open_source(self._connection, [], recording.clock, recording.around)
        if not isinstance(source, Responsive):
            raise DriverError(f"{self._connection.name}: takes no job responses")
        async with source:
            while (response := self._waiting.first()) is not None:
                try:
                    await source.respond(response)
                except RefusedError as error:
                    await self._refused(response, str(error))
                else:
                    self._waiting.done(response)
                    await recording.store.commit(checkpoints=self._queue())
                if self._why:
                    log.info("job responses are handed over again: source=%s", self._connection.name)
                    self._why = ""
        self._look()
        self.show()

    async def _refused(self, response: JobResponded, why: str) -> None:
        log.warning(
            "job response refused and put aside: source=%s order=%s response=%s why=%s",
            self._connection.name, response.order, response.response, why,
        )  # fmt: skip
        self._waiting.put_aside(response)
        self.show()
        await self._recording.store.commit(facts=[self._audited(response, why)], checkpoints=self._queue())

    # --- what is on disk ---

    def _follow(self, facts: Sequence[Fact]) -> tuple[list[Fact], dict[str, bytes]]:
        """Give what facts lead to, and the state to commit with them."""
        if not self._orders.concern(facts):
            return [], {}
        told = self._orders.take(facts)
        checkpoints = {self._place("orders"): msgspec.msgpack.encode(self._orders)}
        if not told:
            return [], checkpoints
        over = self._waiting.put(told)
        self._look()
        audited = [self._audited(response, "the queue is full") for response in over]
        return [*told, *audited], checkpoints | self._queue()

    def _look(self) -> None:
        if self._waiting.queue:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _queue(self) -> dict[str, bytes]:
        return {self._place("responses"): msgspec.msgpack.encode(self._waiting)}

    def _place(self, what: str) -> str:
        return f"{what}:{self._connection.name}"

    def _load(self, what: str, kind: type[State]) -> State:
        saved = self._recording.store.checkpoint(self._place(what))
        if saved is None:
            return kind()
        try:
            return msgspec.msgpack.decode(saved, type=kind)
        except msgspec.MsgspecError as error:
            log.warning("checkpoint not usable, begun anew: name=%s why=%s", self._place(what), error)
            return kind()

    def _audited(self, response: JobResponded, why: str) -> Audited:
        return Audited(
            at=self._recording.clock.now(),
            work_unit=response.work_unit,
            actor=self._connection.name,
            action="job_response.put_aside",
            target=response.order,
            detail={"response": response.response, "why": why, "complete": response.complete},
        )
