"""Tags that were written and are still held: when the reason to hold them is lost, the fail-safe value goes out, once.

Lost is: the interlock is false, or cannot be told for a while, or nothing was judged for a while. What people do
themselves (kill switch, mode monitor, another value at the machine) is no loss: then nothing at all is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge.acting.execution import near
from edge.acting.hands import Asked, Hands
from edge.acting.journal import Entry, Hold, action_id
from edge.acting.matrix import Ruling, Standing
from edge.interlock import doubt
from edge.permitting import Permit
from sync.facts import Fact


class FailSafe:
    """Watches the tags that are held."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._unknown: dict[str, int] = {}
        """Tag → since when its interlock cannot be told."""
        self._shown: dict[str, str] = {}
        """Tag → the action whose value the line has shown since: from then on another value is somebody else's."""

    def look(self) -> list[Fact]:
        """Give the facts of fail-safe values that have to go out now; they are due with this."""
        hands, now = self._hands, self._hands.now()
        released = hands.journal.released(now)
        for target in released:
            self._unknown.pop(target, None)
            hands.changed["acting.journal"] = True
        facts = [fact for target in list(hands.journal.holds) for fact in self._taken_over(target)]
        return facts + [fact for target, why in list(self._lost(now)) for fact in self._due(target, why)]

    def _taken_over(self, target: str) -> list[Fact]:
        """Let go of a tag that somebody else has written since: it is in his hands now."""
        hands, hold, permit = self._hands, self._hands.journal.holds[target], self._hands.site.permits.get(target)
        present = hands.present(target)
        if permit is None or present is None or hands.driver(permit.tag.connection) is None:
            return []
        if near(present.last, hold.value, permit.entry.tolerance):
            self._shown[target] = hold.action
            return []
        if doubt(present, round(permit.entry.fresh_s * 1e9)) or self._shown.get(target) != hold.action:
            return []
        del hands.journal.holds[target]
        hands.changed["acting.journal"] = True
        detail = {"action": hold.action, "written": hold.value, "found": present.last}
        return [hands.audited("somebody at the machine", "hold.taken_over", hold.work_unit, target, detail)]

    def _lost(self, now: int) -> Iterator[tuple[str, str]]:
        for target, hold in self._hands.journal.holds.items():
            permit = self._hands.site.permits.get(target)
            if permit is None or permit.entry.fail_safe is None or hold.action not in self._hands.journal.ended:
                continue
            why = self._why(target, hold, permit, now)
            if why is not None:
                yield target, why

    def _why(self, target: str, hold: Hold, permit: Permit, now: int) -> str | None:
        wait_ns = round(permit.entry.watchdog_s * 1e9)
        judged = max(self._hands.judged.get(hold.work_unit, hold.since), hold.since)
        if now - judged > wait_ns:
            return f"watchdog: {hold.work_unit} was not judged for {(now - judged) / 1e9:.0f} s"
        met = permit.interlock.look(self._hands.window(target.rpartition("/")[0]))
        if met.met is None:
            since = self._unknown.setdefault(target, now)
            over = now - since > wait_ns
            return f"interlock not known for {permit.entry.watchdog_s:g} s: {met.why}" if over else None
        self._unknown.pop(target, None)
        return None if met.met else f"interlock lost: {met.why}"

    def _due(self, target: str, why: str) -> list[Fact]:
        hands, permit = self._hands, self._hands.site.permits[target]
        hold = hands.journal.holds.pop(target)
        self._unknown.pop(target, None)
        hands.changed["acting.journal"] = True
        value, action = permit.entry.fail_safe, action_id("fail_safe", hold.action)
        if value is None or hands.journal.known(action):
            return []
        now, wait = hands.now(), round(permit.entry.expiry_s * 1e9)
        asked = Asked(
            action=action,
            work_unit=hold.work_unit,
            action_type="fail_safe",
            target=target,
            value=value,
            asker="watchdog",
            actor="watchdog",
        )
        seen = hands.seen(asked)
        ruling = Ruling("auto_execute", (why, f"fail-safe value after action {hold.action}"))
        if seen.killed is not None or seen.mode == "monitor":
            reason = f"kill switch: {seen.killed}" if seen.killed is not None else "mode monitor: nothing is done"
            ruling = replace(ruling, decision="reject", reasons=(*ruling.reasons, reason))
        else:
            hands.journal.open(
                Entry(
                    action=action,
                    origin="fail_safe",
                    work_unit=hold.work_unit,
                    action_type=asked.action_type,
                    target=target,
                    value=value,
                    asker=asked.asker,
                    asked=now,
                    expires=now + wait,
                    state="due",
                    automatic=True,
                    reasons=list(ruling.reasons),
                )
            )
        standing = Standing(level=0, score=0.0)
        expires = hands.clock.now() + wait
        return hands.told(asked, ruling, standing=standing, risk=permit.entry.risk, mode=seen.mode, expires=expires)
