"""Acting as the gateway runs it: follows every commit, asks people, carries out what is due, watches what is held.

`follow` decides within the transaction of the verdict that asks; `run` does the rest until cancelled. People's words
come in through `answer`, `set_mode`, `set_trust`, `throw` and `lift`, from the page, a command or the cloud alike.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from edge.acting.execution import SETTLE_S, Execution
from edge.acting.fail_safe import FailSafe
from edge.acting.guard import lower
from edge.acting.hands import DRIVER, WINDOW, Asked, Hands
from edge.acting.journal import Answer, Entry
from edge.acting.orders import Orders
from edge.acting.refusal import OrderRefusedError
from edge.acting.switches import Switch, Thrown
from edge.acting.trust import FULL, LEVELS, Change
from edge.permits import Mode
from edge.recording import Recording
from edge.store import StoreError
from sync.facts import Fact, Faulted
from sync.judgment import ApprovalAnswered, ModeChanged

log = logging.getLogger(__name__)

TICK_S: Final = 0.2
LEAST_REASON: Final = 5
"""Characters of a reason."""


class Acting:
    """The acting part of one gateway."""

    def __init__(self, recording: Recording, *, driver: DRIVER, window: WINDOW, settle_s: float = SETTLE_S) -> None:
        """Take up what the last commit left, and follow every commit from now on."""
        self._recording, self._clock = recording, recording.clock
        self.hands = Hands(recording.site, recording.clock, recording.steady, driver=driver, window=window)
        self.hands.restore(recording.store.checkpoint)
        self._execution = Execution(self.hands, self._commit, settle_s=settle_s)
        self._fail_safe = FailSafe(self.hands)
        self._orders = Orders(self, recording.site.data)
        self._busy: set[str] = set()
        """Connections that an action is being carried out on."""
        self._turning = False
        """A switch is being lifted just now."""
        self._unsettled = [entry.action for entry in self.hands.journal.begun()]
        recording.after.append(self.follow)

    def follow(self, facts: Sequence[Fact]) -> tuple[list[Fact], dict[str, bytes]]:
        """Give what facts lead to, and the state to commit with them."""
        return self.hands.take(facts), self.hands.checkpoints()

    def history(self, ruleset: str) -> float | None:
        """Give how often a ruleset's rated verdicts of 30 days were right, for the judge; None when nobody rated it."""
        return self.hands.evidence.history(ruleset, self._clock.now())

    @property
    def models_off(self) -> bool:
        """Whether somebody switched all models off: rules judge alone until it is taken back."""
        return self.hands.modes.models_off is not None or self.hands.models.thrown() is not None

    # --- for ever

    async def run(self) -> None:
        """Settle what an earlier run left, then watch and carry out until cancelled."""
        await self._look_at_switches()
        await self._orders.take_in()  # what people ordered while we were away comes before anything is done
        async with asyncio.TaskGroup() as tasks:
            for action in self._unsettled:
                entry = self.hands.journal.entries[action]
                tasks.create_task(self._guarded(entry, self._execution.settle), name=f"settle {action[:8]}")
            tasks.create_task(self._orders.keep_taking(), name="orders")
            while True:
                await self._look()
                for entry in self._startable():
                    connection = self._connection(entry)
                    self._busy.add(connection)
                    tasks.create_task(self._carry_out(entry, connection), name=f"act {entry.action[:8]}")
                await self._clock.sleep(TICK_S)

    def _startable(self) -> list[Entry]:
        """Give what may begin now: one action for each connection, and a fail-safe value only where it can go out."""
        found: dict[str, Entry] = {}
        for entry in self.hands.journal.due():
            connection = self._connection(entry)
            absent = entry.origin == "fail_safe" and self.hands.driver(connection) is None
            if connection not in self._busy and connection not in found and not absent:
                found[connection] = entry
        return list(found.values())

    def _connection(self, entry: Entry) -> str:
        permit = self.hands.site.permits.get(entry.target)
        return "" if permit is None else permit.tag.connection

    async def _carry_out(self, entry: Entry, connection: str) -> None:
        try:
            await self._guarded(entry, self._execution.carry_out)
        finally:
            self._busy.discard(connection)

    async def _guarded(self, entry: Entry, work: Callable[[Entry], Awaitable[None]]) -> None:
        """Carry out; a bug of ours ends this action and no line."""
        try:
            await work(entry)
        except StoreError:
            raise  # what cannot be put on disk ends the process
        except Exception as bug:  # the net under an action: recorded, and the lines are judged on
            log.exception("acting faulted: action=%s", entry.action)
            fault = Faulted(at=self._clock.now(), work_unit=entry.work_unit, why=f"acting: {bug!r}")
            over = (
                self.hands.ended(entry, "UNKNOWN", f"fault of ours: {bug!r}", needs_human=True)
                if entry.action in self.hands.journal.entries
                else []
            )
            await self._commit([fault, *over])

    async def _look(self) -> None:
        """Look at the switches, at what has expired, and at what is held."""
        await self._look_at_switches()
        facts = [
            fact
            for entry in self.hands.journal.over(self.hands.now())
            for fact in self.hands.ended(entry, "EXPIRED", "nobody did it in time")
        ]
        facts += self._fail_safe.look()
        if facts:
            await self._commit(facts)

    async def _commit(self, facts: Sequence[Fact]) -> None:
        await self._recording.commit([], facts)

    # --- people

    async def answer(
        self, action: str, *, approved: bool, actor: str, place: str = "edge", comment: str = ""
    ) -> Answer:
        """Take a person's yes or no. The first counts; a later one is on record as superseded and does nothing.

        place: edge or cloud. What the cloud asked for the cloud cannot approve: raises OrderRefusedError.
        """
        _named(actor)
        await self._look()  # what has expired is over, whatever is said now
        entry = self.hands.journal.entries.get(action)
        if entry is not None and entry.outside and approved and place != "edge":
            raise OrderRefusedError("it was asked for from outside: only a person at the gateway says yes to it")
        said = self.hands.journal.answer(action, approved=approved, actor=actor)
        if said == "unknown":
            return said
        work_unit = "" if entry is None else entry.work_unit
        word = ApprovalAnswered(
            at=self._clock.now(),
            work_unit=work_unit,
            action=action,
            approved=approved,
            actor=actor,
            comment=comment,
            place=place,
            superseded=said == "superseded",
        )
        detail = {"action": action, "approved": approved, "comment": comment, "place": place, "counted": said}
        target = "" if entry is None else entry.target
        facts: list[Fact] = [word, self.hands.audited(actor, "action.answered", work_unit, target, detail)]
        if said == "rejected" and entry is not None:
            facts += self.hands.ended(entry, "REJECTED", f"{actor} said no{f': {comment}' if comment else ''}")
        self.hands.changed["acting.journal"] = True
        await self._commit(facts)
        return said

    async def request(self, asked: Asked) -> bool:
        """Take a request from outside: decided here, never done without a person here. Tells whether it was new."""
        if self.hands.journal.known(asked.action):
            return False
        await self._commit(self.hands.decide(replace(asked, outside=True)))
        return True

    async def set_mode(self, mode: Mode, *, actor: str, reason: str, work_unit: str = "", place: str = "edge") -> None:
        """Order how far the gateway, or one line, may go; from the cloud no further than the site file says.

        Raises OrderRefusedError.
        """
        _named(actor)
        _reasoned(reason)
        if work_unit and work_unit not in self._recording.pipelines:
            raise OrderRefusedError(f"no line {work_unit!r}; there are: {', '.join(self._recording.pipelines)}")
        before, now, most = self.hands.modes.of(work_unit), self._clock.now(), self.hands.modes.written(work_unit)
        if place != "edge" and lower(mode, most) != mode:
            raise OrderRefusedError(f"the site file says {most}: further than that is ordered at the gateway only")
        self.hands.modes.order(work_unit, mode, actor=actor, reason=reason, now=now)
        self.hands.changed["acting.modes"] = True
        detail = {"before": before, "mode": mode, "reason": reason, "place": place}
        target = work_unit or self._recording.site.file.gateway.id
        facts: list[Fact] = [
            ModeChanged(at=now, work_unit=work_unit, mode=mode, actor=actor, reason=reason),
            self.hands.audited(actor, "mode.changed", work_unit, target, detail),
        ]
        facts += self._cleared("mode monitor was ordered", lambda line: self.hands.modes.of(line) == "monitor")
        await self._commit(facts)

    async def set_trust(
        self,
        ruleset: str,
        level: int,
        *,
        actor: str,
        reason: str,
        confirmed: bool = False,
        triggered_by: str = "manual",
    ) -> None:
        """Order a ruleset's level: down as far as wanted, up by one step, to full trust only if an administrator confirms.

        Whether the record carries a promotion is for who orders it; it is kept with the change. Raises
        OrderRefusedError.
        """
        _named(actor)
        _reasoned(reason)
        if ruleset not in self.hands.rulesets:
            raise OrderRefusedError(f"no ruleset {ruleset!r} judges here; there are: {', '.join(self.hands.rulesets)}")
        record = self.hands.evidence.record(ruleset)
        change = Change(previous=record.level, level=level, reason=reason)
        if level not in LEVELS or level == record.level:
            raise OrderRefusedError(f"{ruleset} is at level {record.level}; give another one of 0 to {FULL}")
        if level > record.level + 1:
            raise OrderRefusedError(f"{ruleset} is at level {record.level}; trust rises one step at a time")
        if change.needs_admin and not confirmed:
            raise OrderRefusedError(
                f"level {FULL} acts on its own up to medium risk: an administrator has to confirm it"
            )
        await self._commit(self.hands.step(ruleset, change, triggered_by, actor))

    async def throw(self, *, actor: str, reason: str = "", models: bool = False) -> None:
        """Throw the kill switch (or switch all models off): nothing begins from this moment on. Raises OrderRefusedError.

        Who has to be quick gives no reason.
        """
        _named(actor)
        switch = self.hands.models if models else self.hands.kill
        await asyncio.to_thread(
            switch.throw, Thrown(actor=actor, reason=reason.strip() or "no reason given", at=self._clock.now())
        )
        await self._look_at_switches()

    async def lift(self, *, actor: str, reason: str, models: bool = False) -> None:
        """Take a switch back; only a person does, with a reason. Raises OrderRefusedError."""
        _named(actor)
        _reasoned(reason)
        switch, modes = (self.hands.models if models else self.hands.kill), self.hands.modes
        if (modes.models_off if models else modes.killed) is None and switch.thrown() is None:
            raise OrderRefusedError(f"the switch {switch.path.name!r} is not thrown")
        self._turning = True
        try:
            await asyncio.to_thread(switch.lift)  # first: a crash before the commit leaves it thrown, on record
            if models:
                modes.models_off = None
            else:
                modes.killed = None
            await self._commit(self._switched(switch, actor, reason, on=False))
        finally:
            self._turning = False

    # --- switches

    async def _look_at_switches(self) -> None:
        """Put what somebody threw on record; put back what vanished without an order."""
        if self._turning:
            return
        modes = self.hands.modes
        for switch, known in ((self.hands.kill, modes.killed), (self.hands.models, modes.models_off)):
            thrown = switch.thrown()
            if thrown is not None and known is None:
                if switch is self.hands.kill:
                    modes.killed = thrown
                else:
                    modes.models_off = thrown
                facts = self._switched(switch, thrown.actor, thrown.reason, on=True)
                if switch is self.hands.kill:
                    facts += self._cleared(f"kill switch: {thrown}", lambda _: True)
                await self._commit(facts)
            elif thrown is None and known is not None:
                log.warning("the file of a switch vanished and is put back: switch=%s", switch.path.name)
                await asyncio.to_thread(switch.throw, known)

    def _switched(self, switch: Switch, actor: str, reason: str, *, on: bool) -> list[Fact]:
        log.warning("switch %s: %s why=%s (%s)", "thrown" if on else "lifted", switch.path.name, reason, actor)
        self.hands.changed["acting.modes"] = True
        action = f"{switch.path.name}.{'thrown' if on else 'lifted'}"
        gateway = self._recording.site.file.gateway.id
        facts: list[Fact] = [self.hands.audited(actor, action, "", gateway, {"reason": reason})]
        if switch is self.hands.kill:
            mode = self.hands.modes.of("")
            facts.append(ModeChanged(at=self._clock.now(), mode=mode, killed=on, actor=actor, reason=reason))
        return facts

    def _cleared(self, why: str, of_line: Callable[[str], bool]) -> list[Fact]:
        """End what has not begun on some lines, and let go of what is held there: people have taken over."""
        journal = self.hands.journal
        entries = [e for e in journal.entries.values() if e.state != "begun" and of_line(e.target.rpartition("/")[0])]
        for target in [target for target in journal.holds if of_line(target.rpartition("/")[0])]:
            del journal.holds[target]
            self.hands.changed["acting.journal"] = True
        return [fact for entry in entries for fact in self.hands.ended(entry, "REJECTED", why)]


def _named(actor: str) -> None:
    if not actor.strip():
        raise OrderRefusedError("say who you are")


def _reasoned(reason: str) -> None:
    if len(reason.strip()) < LEAST_REASON:
        raise OrderRefusedError(f"give a reason of at least {LEAST_REASON} characters")
