"""What waits for a person, what is due, what was begun, what became of it, and who holds which tag. Pure; one checkpoint.

An action is waiting → due → begun → ended, never back, and never twice: its id stays known after it ended. What stands
as begun when a gateway starts may or may not have reached the machine, and is never written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final, Literal

import msgspec

from edge.acting.guard import MINUTE_NS, Move, Value

MOST_OPEN: Final = 100
"""Actions that wait or are due; more are refused."""
MOST_ENDED: Final = 500
"""Ended actions whose ids are kept, so that a late answer is known as one."""

Answer = Literal["approved", "rejected", "superseded", "unknown"]
State = Literal["waiting", "due", "begun"]


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An action on its way."""

    action: str
    origin: Literal["verdict", "request", "fail_safe"]
    work_unit: str
    action_type: str
    target: str
    """Tag id."""
    value: Value
    asker: str
    """Who holds the tag once it is written."""
    asked: int
    expires: int
    state: State
    ruleset: str = ""
    verdict_id: str | None = None
    risk: str = "HIGH"
    automatic: bool = False
    outside: bool = False
    """Asked for from beyond the gateway: only a person at it may say yes."""
    reasons: list[str] = []
    """Of the decision, for the people who are asked."""
    approved_by: str = ""
    begun: int = 0
    before: Value | None = None
    """What the machine held when it began."""

    @property
    def key(self) -> str:
        """Name what is recommended: the same as long as a line keeps asking for the same."""
        return key_of(self.action_type, self.target, self.value)


class Ended(msgspec.Struct, array_like=True):
    """An action that is over."""

    status: str
    at: int
    answered_by: str = ""


class Hold(msgspec.Struct, kw_only=True):
    """A tag in somebody's hands."""

    action: str
    holder: str
    work_unit: str
    key: str
    value: Value
    """What was written."""
    since: int
    until: int


class _Kept(msgspec.Struct):
    """The checkpoint."""

    entries: list[Entry]
    ended: list[tuple[str, Ended]]
    holds: dict[str, Hold]
    moves: dict[str, list[tuple[int, float]]]
    standing: dict[str, list[str]]


class Journal:
    """The books of one gateway's actions."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.ended: dict[str, Ended] = {}
        self.holds: dict[str, Hold] = {}
        """Tag id → who has it."""
        self._moves: dict[str, list[Move]] = {}
        self._standing: dict[str, list[str]] = {}
        """Work unit → what its last verdict that could tell recommended."""

    # --- asking and answering

    def known(self, action: str) -> bool:
        """Tell whether an action of this id was ever taken in."""
        return action in self.entries or action in self.ended

    @property
    def full(self) -> bool:
        """Whether no more can be taken in."""
        return len(self.entries) >= MOST_OPEN

    def open(self, entry: Entry) -> None:
        """Take an action in."""
        if self.known(entry.action):
            raise ValueError(f"{entry.action} is known already")
        self.entries[entry.action] = entry

    def answer(self, action: str, *, approved: bool, actor: str) -> Answer:
        """Take a person's word on an action; the first counts, later ones change nothing."""
        entry = self.entries.get(action)
        if entry is None:
            return "superseded" if action in self.ended else "unknown"
        if entry.state != "waiting":
            return "superseded"
        entry.approved_by = actor
        if approved:
            entry.state = "due"
            return "approved"
        return "rejected"

    def over(self, now: int) -> list[Entry]:
        """Give what was not begun in time."""
        return [entry for entry in self.entries.values() if entry.state != "begun" and now > entry.expires]

    # --- doing

    def due(self) -> list[Entry]:
        """Give what may be done now, the oldest first."""
        return sorted((e for e in self.entries.values() if e.state == "due"), key=lambda entry: entry.asked)

    def begun(self) -> list[Entry]:
        """Give what was begun and has no outcome."""
        return [entry for entry in self.entries.values() if entry.state == "begun"]

    def begin(self, entry: Entry, *, before: Value | None, change: float | None, now: int) -> None:
        """Note that the machine is about to be written to; from here on it is never written again."""
        if self.entries.get(entry.action) is not entry or entry.state != "due":
            raise ValueError(f"{entry.action} is not due")
        entry.state, entry.before, entry.begun = "begun", before, now
        recent = [move for move in self._moves.get(entry.target, []) if now - move.at < MINUTE_NS]
        self._moves[entry.target] = [*recent, Move(now, change or 0.0)]

    def end(self, action: str, status: str, now: int) -> None:
        """Close an action for ever."""
        entry = self.entries.pop(action)
        self.ended[action] = Ended(status, now, entry.approved_by)
        while len(self.ended) > MOST_ENDED:
            del self.ended[next(iter(self.ended))]

    def moves(self, target: str) -> list[Move]:
        """Give the writes to a tag of the last minute and a little more."""
        return self._moves.get(target, [])

    # --- who holds what

    def held_by(self, target: str, asker: str, now: int, *, but: str = "") -> str | None:
        """Give who else has a tag in his hands, or is about to. but: an action that does not count."""
        hold = self.holds.get(target)
        if hold is not None and now < hold.until and hold.holder != asker:
            return hold.holder
        for entry in self.entries.values():
            if entry.target == target and entry.state != "waiting" and entry.action != but and entry.asker != asker:
                return f"{entry.asker} (on its way)"
            if entry.target == target and entry.state == "begun" and entry.action != but:
                return f"{entry.asker} (not ended yet)"
        return None

    def hold(self, entry: Entry, *, now: int, hold_ns: int) -> None:
        """Give a tag into the hands of who wrote it."""
        self.holds[entry.target] = Hold(
            action=entry.action,
            holder=entry.asker,
            work_unit=entry.work_unit,
            key=entry.key,
            value=entry.value,
            since=now,
            until=now + hold_ns,
        )

    def released(self, now: int) -> list[str]:
        """Let go of tags whose time is over; give them."""
        gone = [target for target, hold in self.holds.items() if now >= hold.until]
        for target in gone:
            del self.holds[target]
        return gone

    # --- what a line asks for

    def anew(self, work_unit: str, keys: Collection[str]) -> list[str]:
        """Take what a verdict recommends; give what the one before did not: it is asked for once, not every window."""
        before = self._standing.get(work_unit, [])
        self._standing[work_unit] = list(dict.fromkeys(keys))
        return [key for key in dict.fromkeys(keys) if key not in before]

    def standing(self, work_unit: str) -> list[str]:
        """Give what a line's last verdict recommended."""
        return self._standing.get(work_unit, [])

    # --- on disk

    def dump(self) -> bytes:
        """Give the checkpoint."""
        kept = _Kept(
            list(self.entries.values()),
            list(self.ended.items()),
            self.holds,
            {target: [(move.at, move.change) for move in moves] for target, moves in self._moves.items()},
            self._standing,
        )
        return msgspec.msgpack.encode(kept)

    def restore(self, checkpoint: bytes, now: int) -> None:
        """Take a checkpoint back. Raises ValueError when it is none of ours.

        Times that lie ahead are of a clock that was set back since; they count as now.
        """
        try:
            kept = msgspec.msgpack.decode(checkpoint, type=_Kept)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no journal of actions: {error}") from error
        self.entries = {entry.action: entry for entry in kept.entries}
        self.ended = dict(kept.ended)
        for hold in kept.holds.values():  # nobody renewed it while we were away
            length = hold.until - hold.since
            hold.since, hold.until = now, now + max(0, length)
        self.holds = kept.holds
        self._moves = {
            target: [Move(min(at, now), change) for at, change in moves] for target, moves in kept.moves.items()
        }
        self._standing = kept.standing


def key_of(action_type: str, target: str, value: Value) -> str:
    """Name a recommendation."""
    return f"{action_type} {target} {msgspec.json.encode(value).decode()}"


def action_id(*parts: str) -> str:
    """Give the id of an action: of the verdict and what it asks, so that the same verdict asks the same action."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
