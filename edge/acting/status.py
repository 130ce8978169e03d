"""What people are shown of acting: modes and switches, what waits, how far each ruleset is trusted. For page and command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.acting.acting import Acting
from edge.acting.evidence import Evidence
from edge.acting.journal import Entry, Journal
from edge.acting.modes import Modes
from edge.acting.switches import Switch
from edge.acting.trust import lacking, promotion


def modes_told(modes: Modes, work_units: Sequence[str], kill: Switch, models: Switch) -> dict[str, Any]:
    """Give modes and switches as they are in force."""
    thrown, off = kill.thrown() or modes.killed, models.thrown() or modes.models_off
    return {
        "mode": modes.of(""),
        "ordered": _order(modes, ""),
        "lines": [
            {"work_unit": line, "mode": modes.of(line), "own": modes.own(line), "ordered": _order(modes, line)}
            for line in work_units
        ],
        "killed": None if thrown is None else {"actor": thrown.actor, "reason": thrown.reason, "at": _ms(thrown.at)},
        "models_off": None if off is None else {"actor": off.actor, "reason": off.reason, "at": _ms(off.at)},
    }


def acting_told(acting: Acting, work_units: Sequence[str]) -> dict[str, Any]:
    """Give how far the gateway may go, and by what a page sees that there is something new to ask for."""
    hands = acting.hands
    entries = hands.journal.entries.values()
    return modes_told(hands.modes, work_units, hands.kill, hands.models) | {
        "waiting": sum(entry.state == "waiting" for entry in entries),
        "on_their_way": sum(entry.state != "waiting" for entry in entries),
        "last_ended": next(reversed(hands.journal.ended), None),
    }


def waiting_told(journal: Journal, now: int) -> list[dict[str, Any]]:
    """Give what waits for a person, the one that expires first first. now: the clock the journal goes by, ns."""
    waiting = [entry for entry in journal.entries.values() if entry.state == "waiting"]
    return [entry_told(entry, now) for entry in sorted(waiting, key=lambda entry: entry.expires)]


def entry_told(entry: Entry, now: int) -> dict[str, Any]:
    """Give one action on its way."""
    return {
        "action": entry.action,
        "state": entry.state,
        "work_unit": entry.work_unit,
        "type": entry.action_type,
        "target": entry.target,
        "value": entry.value,
        "risk": entry.risk,
        "ruleset": entry.ruleset,
        "verdict_id": entry.verdict_id,
        "asked_by": entry.asker,
        "reasons": entry.reasons,
        "approved_by": entry.approved_by,
        "expires_s": max(0.0, (entry.expires - now) / 1e9),
    }


def holds_told(journal: Journal, now: int) -> list[dict[str, Any]]:
    """Give the tags that are held."""
    return [
        {"target": target, "by": hold.holder, "until_s": max(0.0, (hold.until - now) / 1e9)}
        for target, hold in sorted(journal.holds.items())
        if now < hold.until
    ]


def trust_told(evidence: Evidence, rulesets: Sequence[str], wall: int) -> list[dict[str, Any]]:
    """Give every ruleset's level, its record, and what the next level lacks. wall: ns since 1970 UTC."""
    found: list[dict[str, Any]] = []
    for name in rulesets:
        metrics = evidence.metrics(name, wall)
        record = evidence.records.get(name)
        level = 0 if record is None else record.level
        ready = promotion(level, metrics)
        found.append({
            "ruleset": name,
            "level": level,
            "metrics": metrics.told(),
            "lacking": lacking(level, metrics),
            "ready_for": None if ready is None else ready.level,
            "needs_admin": ready is not None and ready.needs_admin,
        })  # fmt: skip
    return found


def _order(modes: Modes, work_unit: str) -> dict[str, Any] | None:
    order = modes.ordered(work_unit)
    return None if order is None else {"actor": order.actor, "reason": order.reason, "at": _ms(order.at)}


def _ms(at: int) -> int | None:
    return at // 1_000_000 or None
