"""One action carried out: guards → intent on disk → guards → write → read back → outcome on disk. At most one write.

Whatever ends the process in between, the intent tells the next start that the machine may have been written to: it is
looked at then, never written again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from edge.acting.guard import Value, change
from edge.acting.hands import Hands
from edge.acting.journal import Entry
from edge.drivers.driver import DriverError, RefusedError, Writable
from edge.permitting import Permit
from sync import failpoint
from sync.facts import Fact
from sync.reading import Scalar

log = logging.getLogger(__name__)

WRITE_S: Final = 10.0
"""A driver answers within five seconds; one that does not, may have written."""
LOOK_S: Final = 0.1
SETTLE_S: Final = 60.0
"""How long an action without an outcome waits for the machine to show one."""
Commit = Callable[[Sequence[Fact]], Awaitable[None]]


class Outcome(NamedTuple):
    """What a write came to."""

    status: str
    why: str = ""
    written: Value | None = None
    read_back: Scalar = None
    needs_human: bool = False


class Execution:
    """Carries out what is due, one action at a time for each connection (its owner sees to that)."""

    def __init__(self, hands: Hands, commit: Commit, *, settle_s: float = SETTLE_S) -> None:
        self._hands, self._commit, self._settle_s = hands, commit, settle_s

    async def carry_out(self, entry: Entry) -> None:
        """Carry one due action out, or refuse it with every reason there is by now."""
        hands = self._hands
        permit = hands.site.permits.get(entry.target)
        against = hands.against(entry)
        if permit is None or against:
            await self._commit(hands.ended(entry, "REJECTED", "; ".join(each.why for each in against)))
            return
        present = hands.present(entry.target)
        hands.journal.begin(entry, before=_held(present), change=change(entry.value, present), now=hands.now())
        hands.changed["acting.journal"] = True
        detail = {"action": entry.action, "value": entry.value, "old": entry.before}
        failpoint.reach("edge.act_intent")
        await self._commit([hands.audited(entry.asker, "action.begun", entry.work_unit, entry.target, detail)])
        failpoint.reach("edge.act_write")
        if against := hands.against(entry):  # the commit took its time: what was true may be so no longer
            why = "nothing was written: " + "; ".join(each.why for each in against)
            await self._commit(hands.ended(entry, "REJECTED", why))
            return
        outcome = await self._write(entry, permit)
        if outcome is None:
            outcome = await self.seen_on_the_machine(entry, permit)
        await self._end(entry, permit, outcome)

    async def settle(self, entry: Entry) -> None:
        """End an action that an earlier run of the gateway began: by what the machine holds, without writing."""
        permit = self._hands.site.permits.get(entry.target)
        if permit is None:
            why = "the gateway ended before the outcome was known, and the tag has no permit any more"
            await self._commit(self._hands.ended(entry, "UNKNOWN", why, needs_human=True))
            return
        await self._end(entry, permit, await self.seen_on_the_machine(entry, permit))

    async def _end(self, entry: Entry, permit: Permit, outcome: Outcome) -> None:
        hands = self._hands
        if outcome.status == "EXECUTED" and entry.origin != "fail_safe":
            hands.journal.hold(entry, now=hands.now(), hold_ns=round(permit.entry.hold_s * 1e9))
        log.info("action ended: target=%s status=%s why=%s", entry.target, outcome.status, outcome.why)
        await self._commit(
            hands.ended(
                entry,
                outcome.status,
                outcome.why,
                written=outcome.written,
                read_back=outcome.read_back,
                needs_human=outcome.needs_human,
            )
        )
        failpoint.reach("edge.act_ended")

    async def _write(self, entry: Entry, permit: Permit) -> Outcome | None:
        """Write once and read back; None when the connection was lost on the way and nobody knows."""
        driver = self._hands.driver(permit.tag.connection)
        if not isinstance(driver, Writable):
            return Outcome(
                "FAILED", f"connection {permit.tag.connection} cannot be written to just now", None, None, True
            )
        try:
            async with asyncio.timeout(WRITE_S):
                written = await driver.write(permit.tag, entry.value)
        except RefusedError as error:
            held = _held(self._hands.present(entry.target))
            return Outcome("FAILED", str(error), read_back=held, needs_human=True)
        except (DriverError, TimeoutError) as error:
            log.warning("the connection was lost while it was written to: target=%s why=%s", entry.target, error)
            return None
        failpoint.reach("edge.act_written")
        found: Scalar = written.found
        if written.taken or near(found, entry.value, permit.entry.tolerance):
            return Outcome("EXECUTED", written=entry.value, read_back=found)
        end = self._hands.now() + round(permit.entry.read_back_s * 1e9)
        while self._hands.now() < end:  # some machines take their time to make it theirs
            await self._hands.clock.sleep(LOOK_S)
            held = _held(self._hands.present(entry.target))
            if near(held, entry.value, permit.entry.tolerance):
                return Outcome("EXECUTED", written=entry.value, read_back=held)
            found = found if held is None else held
        why = f"{entry.value:g} was written, the machine holds {found!r} after {permit.entry.read_back_s:g} s"
        return Outcome("FAILED", why, entry.value, found, needs_human=True)

    async def seen_on_the_machine(self, entry: Entry, permit: Permit) -> Outcome:
        """Tell from what the machine shows whether it took a write of which nobody knows: the value has to be new there.

        A value that stood there before proves nothing.
        """
        tolerance, hands = permit.entry.tolerance, self._hands
        end = hands.now() + round(self._settle_s * 1e9)
        provable = entry.before is not None and not near(entry.before, entry.value, tolerance)
        while True:
            found = _held(hands.present(entry.target))
            if provable and near(found, entry.value, tolerance):
                why = "the outcome was lost; the machine holds the value now"
                return Outcome("EXECUTED", why, entry.value, found, needs_human=True)
            if hands.now() >= end:
                why = "whether the machine took it is not known; look at the machine, nothing is written again"
                return Outcome("UNKNOWN", why, read_back=found, needs_human=True)
            await hands.clock.sleep(LOOK_S)


def near(found: Scalar, asked: Value, tolerance: float) -> bool:
    """Tell whether what was found is what was asked for."""
    if found is None or isinstance(found, str):
        return False
    return abs(float(found) - float(asked)) <= tolerance


def _held(present: object) -> Value | None:
    """Give a tag's value as it is known now; None when it is none, or no number."""
    last = getattr(present, "last", None)
    return last if isinstance(last, float | bool) else float(last) if isinstance(last, int) else None
