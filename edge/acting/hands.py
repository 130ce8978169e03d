"""The gateway's hands: what they know, what they may do, and the facts of every decision. No waiting, no writing here.

`edge.acting.acting` waits and carries out; this is what it decides with. Two clocks: what must not jump (expiry, hold,
rate) goes by the steady one, what people read and days of evidence by the wall's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from edge.acting.evidence import Evidence, kind_of
from edge.acting.guard import Circumstances, Obstacle, Value, obstacles, rule
from edge.acting.journal import Entry, Journal, action_id, key_of
from edge.acting.matrix import DEFAULT, Cell, Matrix, RiskRow, Ruling, Standing, decide, risk_of, stricter
from edge.acting.modes import Modes
from edge.acting.switches import KILL, MODELS_OFF, Switch
from edge.acting.trust import Change, demotion
from edge.drivers.driver import Driver
from edge.interlock import Met
from edge.permits import Mode
from edge.site import Site
from models.window import TagWindow, Window
from sync.clock import Clock, Steady
from sync.facts import Audited, Context, Fact, Judged
from sync.judgment import ActionDecided, ActionEnded, TrustChanged
from sync.timing import UNSET_BEFORE_NS

log = logging.getLogger(__name__)

NO_CONTEXT: Final = Context()
DRIVER = Callable[[str], Driver | None]
"""Connection → its driver while it is connected."""
WINDOW = Callable[[str], Window | None]
"""Work unit → its open window, reduced as of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An action that a verdict or somebody asks for."""

    action: str
    work_unit: str
    action_type: str
    target: str
    """Tag id."""
    value: Value
    asker: str
    verdict_id: str | None = None
    ruleset: str = ""
    """Whose trust it goes by; none: it is not trusted."""
    actor: str = "system"
    outside: bool = False
    """Asked from beyond the gateway: it is never done without a person at it."""
    context: Context = NO_CONTEXT


class Hands:
    """All state of acting on one gateway."""

    def __init__(self, site: Site, clock: Clock, steady: Steady, *, driver: DRIVER, window: WINDOW) -> None:
        acting = site.file.acting
        self.site, self.clock = site, clock
        self.journal, self.evidence, self.modes = Journal(), Evidence(), Modes(acting)
        self.kill, self.models = Switch(site.data, KILL), Switch(site.data, MODELS_OFF)
        self.changed = {"acting.journal": False, "acting.modes": False}
        """Checkpoint → whether it is to be written with the next commit."""
        self.judged: dict[str, int] = {}
        """Work unit → when its last verdict came that could tell, steady ns."""
        self.driver, self.window = driver, window
        self._steady = steady
        self._executed: dict[str, int] = {}
        """Kind of action → when it was executed last in this process, steady ns."""
        self._matrix: Matrix = {
            **DEFAULT,
            **{
                (cell.trust, cell.risk): Cell(
                    decision=cell.decision,
                    min_trust_score=cell.min_trust_score,
                    max_consecutive_failures=cell.max_consecutive_failures,
                    require_recent_success=cell.require_recent_success,
                    cooldown_s=cell.cooldown_s,
                )
                for cell in acting.cells
            },
        }
        self._risks = tuple(RiskRow(row.action, row.risk, row.priority) for row in acting.risks)

    def now(self) -> int:
        """Give the time that does not jump, ns."""
        return self._steady.now()

    @property
    def rulesets(self) -> list[str]:
        """Names of the rulesets that judge here."""
        return sorted({ruleset.name for ruleset in self.site.rulesets.values()})

    @property
    def killed(self) -> str | None:
        """Why nothing may be done any more; None while the kill switch is not thrown, on disk or on record."""
        thrown = self.kill.thrown() or self.modes.killed
        return None if thrown is None else str(thrown)

    # --- circumstances

    def present(self, target: str) -> TagWindow | None:
        """Give a tag as its line has it now."""
        work_unit, _, name = target.rpartition("/")
        window = self.window(work_unit)
        return None if window is None else window.tags.get(name)

    def seen(self, asked: Asked | Entry, expires: int = 0) -> Circumstances:
        """Give everything that an action is held against at this moment."""
        permit, now = self.site.permits.get(asked.target), self.now()
        work_unit = asked.target.rpartition("/")[0]
        return Circumstances(
            now=now,
            mode=self.modes.of(work_unit),
            killed=self.killed,
            permit=permit,
            interlock=Met(None, "no permit") if permit is None else permit.interlock.look(self.window(work_unit)),
            present=self.present(asked.target),
            connected=permit is not None and self.driver(permit.tag.connection) is not None,
            moves=self.journal.moves(asked.target),
            held_by=self.journal.held_by(asked.target, asked.asker, now, but=asked.action),
            expires=expires,
        )

    def standing(self, asked: Asked | Entry) -> Standing:
        """Give where the asking ruleset stands with this kind of action."""
        kind = kind_of(asked.action_type, asked.work_unit, asked.target)
        standing = self.evidence.standing(asked.ruleset, kind, self.clock.now())
        last = self._executed.get(kind)  # of this process, and no clock that is set can make it old
        return standing if last is None else replace(standing, executed_s=(self.now() - last) / 1e9)

    def ruling(self, asked: Asked | Entry) -> tuple[Ruling, Standing, str]:
        """Give what trust and risk say, the standing it was said of, and the risk."""
        permit = self.site.permits.get(asked.target)
        least = "HIGH" if permit is None else permit.entry.risk
        risk = risk_of(asked.action_type, self._risks, writes=True, least=least)
        standing = self.standing(asked)
        return decide(self._matrix, asked.action_type, risk, standing), standing, risk

    # --- decisions

    def take(self, facts: Sequence[Fact]) -> list[Fact]:
        """Give what follows from facts that are being committed: decisions, and trust that is taken away."""
        more: list[Fact] = []
        self.evidence.take(facts, self.clock.now())
        for fact in facts:
            if isinstance(fact, Judged):
                more += self._judged(fact)
        self.evidence.take(more, self.clock.now())
        return more + self._demoted()

    def _judged(self, fact: Judged) -> list[Fact]:
        if fact.decision == "unknown":
            return []  # who cannot tell asks for nothing, and takes nothing back
        self.judged[fact.work_unit] = self.now()
        asked = [each for action in fact.actions if (each := self._asked(fact, action)) is not None]
        keys = {key_of(each.action_type, each.target, each.value): each for each in asked}
        if not keys and not self.journal.standing(fact.work_unit):
            return []
        self._renew(fact.work_unit, keys)
        anew = self.journal.anew(fact.work_unit, list(keys))
        self.changed["acting.journal"] = True
        return [more for key in anew for more in self.decide(keys[key])]

    def _asked(self, fact: Judged, action: dict[str, str]) -> Asked | None:
        """Give the write that a recommendation asks for; None for one that only people can follow."""
        tag, raw = action.get("tag"), action.get("value")
        if not tag or raw is None:
            return None
        try:
            value = msgspec.json.decode(raw, type=Value)
        except msgspec.MsgspecError:
            log.warning("a recommendation's value is no number: verdict=%s value=%r", fact.verdict_id, raw)
            return None
        target, kind = f"{fact.work_unit}/{tag}", action.get("action_type", "")
        return Asked(
            action=action_id(fact.verdict_id, kind, target, raw),
            work_unit=fact.work_unit,
            action_type=kind,
            target=target,
            value=value,
            asker=f"{fact.ruleset} at {fact.work_unit}",
            verdict_id=fact.verdict_id,
            ruleset=fact.ruleset,
            context=fact.context,
        )

    def _renew(self, work_unit: str, keys: dict[str, Asked]) -> None:
        """Hold on to tags for as long as the verdicts that wrote them still ask for the same."""
        for target, hold in self.journal.holds.items():
            permit = self.site.permits.get(target)
            if hold.work_unit == work_unit and hold.key in keys and permit is not None:
                hold.until = self.now() + round(permit.entry.hold_s * 1e9)

    def decide(self, asked: Asked) -> list[Fact]:
        """Decide on an action once, and take it in if it may be done; the facts belong into the asker's transaction."""
        if self.journal.known(asked.action):
            return []
        ruled, standing, risk = self.ruling(asked)
        if asked.outside:
            reason = "asked from outside: a person at the gateway decides"
            ruled = Ruling(stricter(ruled.decision, "require_approval"), (*ruled.reasons, reason))
        seen = self.seen(asked)
        ruled = rule(ruled, asked.value, seen)
        if ruled.decision != "reject" and self.journal.full:
            ruled = Ruling("reject", (*ruled.reasons, "too many actions are on their way already"))
        wait = 0 if seen.permit is None else round(seen.permit.entry.expiry_s * 1e9)
        expires = 0 if ruled.decision == "reject" else self.clock.now() + wait
        if ruled.decision != "reject":
            self.journal.open(
                Entry(
                    action=asked.action,
                    origin="verdict" if asked.verdict_id else "request",
                    work_unit=asked.work_unit,
                    action_type=asked.action_type,
                    target=asked.target,
                    value=asked.value,
                    asker=asked.asker,
                    asked=seen.now,
                    expires=seen.now + wait,
                    state="due" if ruled.decision == "auto_execute" else "waiting",
                    ruleset=asked.ruleset,
                    verdict_id=asked.verdict_id,
                    risk=risk,
                    automatic=ruled.decision == "auto_execute",
                    outside=asked.outside,
                    reasons=list(ruled.reasons),
                )
            )
            self.changed["acting.journal"] = True
        return self.told(asked, ruled, standing=standing, risk=risk, mode=seen.mode, expires=expires)

    def told(
        self, asked: Asked, ruled: Ruling, *, standing: Standing, risk: str, mode: Mode, expires: int
    ) -> list[Fact]:
        """Give the facts of a decision. expires: wall clock, ns."""
        decided = ActionDecided(
            at=self.clock.now(),
            work_unit=asked.work_unit,
            action=asked.action,
            verdict_id=asked.verdict_id,
            action_type=asked.action_type,
            target=asked.target,
            value=asked.value,
            ruleset=asked.ruleset,
            trust=standing.level,
            score=standing.score,
            risk=risk,
            mode=mode,
            decision=ruled.decision,
            reasons=list(ruled.reasons),
            expires=expires,
            actor=asked.actor,
            context=asked.context,
        )
        detail: dict[str, Any] = {
            "action": asked.action, "type": asked.action_type, "decision": ruled.decision, "value": asked.value,
            "reasons": list(ruled.reasons), "trust": standing.level, "risk": risk, "mode": mode,
        }  # fmt: skip
        return [decided, self.audited(asked.actor, "action.decided", asked.work_unit, asked.target, detail)]

    def against(self, entry: Entry) -> list[Obstacle]:
        """Give what stands against carrying an action out now: all guards again, and trust as it is by now."""
        seen = self.seen(entry, entry.expires)
        found = obstacles(entry.value, seen)
        if entry.origin == "fail_safe":  # the way back needs no reason but that the way on is lost
            return [each for each in found if not each.passes]
        ruled, _, _ = self.ruling(entry)
        if ruled.decision == "reject" or (entry.automatic and ruled.decision != "auto_execute"):
            found.append(Obstacle("; ".join(ruled.reasons), passes=False))
        if entry.automatic and seen.mode == "advise":
            found.append(Obstacle("mode advise: a person says yes to everything", passes=False))
        return found

    def ended(
        self,
        entry: Entry,
        status: str,
        why: str = "",
        *,
        written: Value | None = None,
        read_back: float | str | bool | None = None,
        needs_human: bool = False,
    ) -> list[Fact]:
        """Close an action, and give the facts of it."""
        self.journal.end(entry.action, status, self.now())
        if status in {"EXECUTED", "FAILED", "UNKNOWN"}:
            self._executed[kind_of(entry.action_type, entry.work_unit, entry.target)] = self.now()
        self.changed["acting.journal"] = True
        fact = ActionEnded(
            at=self.clock.now(),
            work_unit=entry.work_unit,
            action=entry.action,
            status=status,
            target=entry.target,
            before=entry.before,
            written=written,
            read_back=read_back,
            why=why,
            needs_human=needs_human,
        )
        detail: dict[str, Any] = {
            "action": entry.action, "status": status, "asked": entry.value, "old": entry.before, "new": written,
            "read_back": read_back, "why": why, "approved_by": entry.approved_by,
        }  # fmt: skip
        return [fact, self.audited(entry.asker, "action.ended", entry.work_unit, entry.target, detail)]

    # --- trust

    def _demoted(self) -> list[Fact]:
        """Take trust away where the record says so: one step each time something was said or done, and once a day."""
        now, found = self.clock.now(), list[Fact]()
        due, new_day = self.evidence.due(now)
        for ruleset in sorted(due):
            change = demotion(self.evidence.record(ruleset).level, self.evidence.metrics(ruleset, now))
            if change is not None:
                found += self.step(ruleset, change, "schedule" if new_day else "feedback", "system")
        return found

    def step(self, ruleset: str, change: Change, triggered_by: str, actor: str) -> list[Fact]:
        """Change a ruleset's level, and give the facts of it."""
        now, record = self.clock.now(), self.evidence.record(ruleset)
        metrics = self.evidence.metrics(ruleset, now).told()
        record.level = change.level
        if change.level > change.previous:
            record.promoted = now if now >= UNSET_BEFORE_NS else 0
        self.evidence.changed.add(ruleset)
        changed = TrustChanged(
            at=now,
            ruleset=ruleset,
            previous=change.previous,
            level=change.level,
            reason=change.reason,
            triggered_by=triggered_by,
            metrics=metrics,
            actor=actor,
        )
        detail: dict[str, Any] = {
            "previous": change.previous,
            "level": change.level,
            "reason": change.reason,
            "by": triggered_by,
        }
        log.warning("trust changed: ruleset=%s %d -> %d why=%s", ruleset, change.previous, change.level, change.reason)
        return [changed, self.audited(actor, "trust.changed", "", ruleset, detail)]

    def audited(self, actor: str, action: str, work_unit: str, target: str, detail: dict[str, Any]) -> Audited:
        """Give the record of who did what."""
        at = self.clock.now()
        return Audited(at=at, work_unit=work_unit, actor=actor, action=action, target=target, detail=detail)

    # --- on disk

    def checkpoints(self) -> dict[str, bytes]:
        """Give the checkpoints of what changed since the last time."""
        said = self.evidence.dump()
        if self.changed["acting.journal"]:
            said["acting.journal"] = self.journal.dump()
        if self.changed["acting.modes"]:
            said["acting.modes"] = self.modes.dump()
        self.changed = dict.fromkeys(self.changed, False)
        return said

    def restore(self, checkpoint: Callable[[str], bytes | None]) -> None:
        """Take up what the last commit left. What cannot be read makes nothing freer than it was."""
        now, journal, modes = self.now(), checkpoint("acting.journal"), checkpoint("acting.modes")
        try:
            if modes is not None:
                self.modes.restore(modes)
        except ValueError as error:
            log.warning("modes cannot be read, so nothing is done until somebody orders one: %s", error)
            self.modes.order("", "monitor", actor="system", reason=str(error), now=now)
        try:
            if journal is not None:
                self.journal.restore(journal, now)
            self.evidence.restore(self.rulesets, checkpoint, self.clock.now())
        except ValueError as error:
            log.warning("what was known of actions or trust cannot be read, and begins anew: %s", error)
        for entry in self.journal.entries.values():  # a clock that was set back makes nothing last longer
            permit = self.site.permits.get(entry.target)
            entry.expires = min(entry.expires, now + (0 if permit is None else round(permit.entry.expiry_s * 1e9)))
