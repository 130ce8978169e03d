"""What speaks for and against every ruleset, counted from the facts as they are committed. Pure: time comes in.

Everything is bounded: totals, one count a day for a month, the newest ratings one by one (so that a person can change
his mind), the newest actions (so that a failure or a bad rating finds whose it was).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from edge.acting.matrix import Standing
from edge.acting.trust import FEW, Metrics, score
from edge.judgment import history
from sync.facts import Fact, Judged
from sync.judgment import ActionDecided, ActionEnded, FeedbackGiven
from sync.timing import UNSET_BEFORE_NS

DAY_NS: Final = 86_400_000_000_000
WEEK: Final = 7
MONTH: Final = 30
MOST_RATINGS: Final = 500
"""Of a ruleset, kept one by one: those can be replaced, and count for the streak."""
MOST_ACTIONS: Final = 500
MOST_RECURRENCES: Final = 1_024
MOST_KINDS: Final = 200
"""Kinds of action (type, line, target) of a ruleset whose outcomes are kept."""
_PASSING: Final = ("verdict.memory_at", "verdict.history")
"""What differs although the same is looked at."""


class Day(msgspec.Struct, array_like=True):
    """One day's counts."""

    runs: int = 0
    positive: int = 0
    negative: int = 0


class Rating(msgspec.Struct, array_like=True):
    """One person's word on one verdict, as it stands now."""

    actor: str
    target: str
    feedback: str
    positive: bool
    at: int
    """When it was said, ns; a later one replaces it."""
    day: int
    """The day it was counted under."""
    acted: bool
    """An action had been executed automatically on that verdict."""


class Outcome(msgspec.Struct, array_like=True):
    """How executions of one kind of action went."""

    failures: int = 0
    executed: int = 0
    """Newest, ns; 0: none."""
    succeeded: int = 0


class Record(msgspec.Struct):
    """What is known of one ruleset."""

    level: int = 0
    created: int = 0
    """When it was first seen by a clock that was set, ns; 0: not yet."""
    promoted: int = 0
    runs: int = 0
    positive: int = 0
    negative: int = 0
    compared: int = 0
    same: int = 0
    days: dict[int, Day] = {}
    ratings: list[Rating] = []
    """In the order they were last said."""
    failures: list[int] = []
    """Automatic actions that failed, ns, of a week."""
    outcomes: dict[str, Outcome] = {}


class _Done(msgspec.Struct, array_like=True):
    """A decided action: whose it is."""

    ruleset: str
    kind: str
    verdict: str
    automatic: bool


class Evidence:
    """The records of all rulesets of a gateway."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.changed: set[str] = set()
        """Rulesets whose record differs from what `dump` last gave."""
        self._rated: set[str] = set()
        """The same of their ratings, kept apart: verdicts come oftener than they."""
        self._acted = False
        self._due: set[str] = set()
        self._actions: OrderedDict[str, _Done] = OrderedDict()
        self._seen: dict[str, OrderedDict[bytes, str]] = {}
        """Ruleset → inputs of late → what was decided; refills by itself after a start."""
        self._today = 0

    def record(self, ruleset: str) -> Record:
        """Give a ruleset's record, made if need be."""
        if ruleset not in self.records:
            self.records[ruleset] = Record()
        return self.records[ruleset]

    # --- counting

    def take(self, facts: Sequence[Fact], now: int) -> None:
        """Count what is being committed. now: the gateway's clock, ns; one that was never set counts for no day."""
        now = self._known(now)
        for fact in facts:
            match fact:
                case Judged():
                    self._judged(fact, now)
                case FeedbackGiven() if fact.ruleset:
                    self._rate(fact, now)
                case ActionDecided() if fact.ruleset and fact.decision != "reject":
                    kind = kind_of(fact.action_type, fact.work_unit, fact.target)
                    automatic = fact.decision == "auto_execute"
                    self._actions[fact.action] = _Done(fact.ruleset, kind, fact.verdict_id or "", automatic)
                    while len(self._actions) > MOST_ACTIONS:
                        self._actions.popitem(last=False)
                    self._acted = True
                case ActionEnded():
                    self._ended(fact, now)
                case _:
                    pass

    def compared(self, ruleset: str, *, same: int, compared: int) -> None:
        """Count comparisons made elsewhere: replays of recorded verdicts, or the version before over the same inputs."""
        record = self.record(ruleset)
        record.compared += compared
        record.same += min(same, compared)
        self.changed.add(ruleset)

    def _judged(self, fact: Judged, now: int) -> None:
        record = self.record(fact.ruleset)
        record.runs += 1
        self._day(record, now).runs += 1
        if now >= UNSET_BEFORE_NS:
            record.created = record.created or now
            record.promoted = record.promoted or now
        seen = self._seen.setdefault(fact.ruleset, OrderedDict())
        key = _digest(fact)
        before = seen.pop(key, None)
        if before is not None:
            record.compared += 1
            record.same += before == fact.decision
        seen[key] = fact.decision
        if len(seen) > MOST_RECURRENCES:
            seen.popitem(last=False)
        self.changed.add(fact.ruleset)

    def _rate(self, fact: FeedbackGiven, now: int) -> None:
        record = self.record(fact.ruleset)
        held = next((r for r in record.ratings if (r.actor, r.target) == (fact.actor, fact.target)), None)
        if held is not None:
            if held.feedback == fact.feedback or fact.at < held.at:
                return  # said before, or said before what stands
            record.ratings.remove(held)
            self._count(record, held, -1)
        acted = any(done.automatic and done.verdict == fact.target for done in self._actions.values())
        rating = Rating(
            actor=fact.actor,
            target=fact.target,
            feedback=fact.feedback,
            positive=fact.type == "positive",
            at=fact.at,
            day=now // DAY_NS,
            acted=acted or (held is not None and held.acted),
        )
        record.ratings.append(rating)
        del record.ratings[:-MOST_RATINGS]
        self._count(record, rating, 1)
        for concerned in (self.changed, self._rated, self._due):
            concerned.add(fact.ruleset)

    def _count(self, record: Record, rating: Rating, by: int) -> None:
        day = record.days.get(rating.day)
        if rating.positive:
            record.positive += by
        else:
            record.negative += by
        if day is None and by > 0:
            day = record.days[rating.day] = Day()
        if day is not None and rating.positive:
            day.positive += by
        elif day is not None:
            day.negative += by

    def _ended(self, fact: ActionEnded, now: int) -> None:
        done = self._actions.get(fact.action)
        if done is None or fact.status not in {"EXECUTED", "FAILED", "UNKNOWN"}:
            return  # nothing was done, so nothing is to be learnt
        record = self.record(done.ruleset)
        outcome = record.outcomes.pop(done.kind, Outcome())
        record.outcomes[done.kind] = outcome
        while len(record.outcomes) > MOST_KINDS:
            del record.outcomes[next(iter(record.outcomes))]
        outcome.executed = now
        if fact.status == "EXECUTED":
            outcome.failures, outcome.succeeded = 0, now
        else:
            outcome.failures += 1
            if done.automatic:
                record.failures = [at for at in record.failures if now - at < WEEK * DAY_NS] + [now]
        self.changed.add(done.ruleset)
        self._due.add(done.ruleset)

    def _known(self, now: int) -> int:
        """Give the time to count under: that of the newest day there is, while the clock was never set."""
        if now >= UNSET_BEFORE_NS:
            return now
        return max((day for record in self.records.values() for day in record.days), default=0) * DAY_NS

    def _day(self, record: Record, now: int) -> Day:
        today = now // DAY_NS
        if today not in record.days:
            record.days[today] = Day()
            for old in [day for day in record.days if not today - MONTH <= day <= today + 1]:
                del record.days[old]
        return record.days[today]

    # --- what follows

    def due(self, now: int) -> tuple[set[str], bool]:
        """Give the rulesets to look at again, and whether because a new day began (then all of them)."""
        today, due = self._known(now) // DAY_NS, self._due
        self._due = set()
        if today != self._today:
            self._today = today
            return set(self.records), True
        return due, False

    def metrics(self, ruleset: str, now: int) -> Metrics:
        """Give what is known of a ruleset; of one never seen, nothing."""
        record, now = self.records.get(ruleset, _NOTHING), self._known(now)
        today = now // DAY_NS
        week = [day for at, day in record.days.items() if today - WEEK < at <= today]
        positive, rated = _recent(record, today)
        streak = 0
        for rating in reversed(record.ratings):
            if rating.positive:
                break
            streak += 1
        wrong = sum(r.acted and not r.positive and today - r.day < WEEK for r in record.ratings)
        return Metrics(
            runs=record.runs,
            accuracy=_share(record.positive, record.positive + record.negative),
            consistency=_share(record.same, record.compared) if record.compared >= FEW else None,
            runs_7d=sum(day.runs for day in week),
            feedback=_share(positive, rated),
            age_days=_days(record.created, now),
            level_days=_days(record.promoted, now),
            negatives_in_a_row=streak,
            critical_failures_7d=wrong + sum(now - at < WEEK * DAY_NS for at in record.failures),
        )

    def standing(self, ruleset: str, kind: str, now: int) -> Standing:
        """Give where a ruleset stands with one kind of action; one that is unknown, or none (""), is not trusted."""
        record = self.records.get(ruleset, _NOTHING)
        outcome, now = record.outcomes.get(kind, _NO_OUTCOME), self._known(now)
        return Standing(
            level=record.level,
            score=score(self.metrics(ruleset, now)),
            failures=outcome.failures,
            executed_s=max(0, now - outcome.executed) / 1e9 if outcome.executed else None,
            succeeded_s=max(0, now - outcome.succeeded) / 1e9 if outcome.succeeded else None,
        )

    def history(self, ruleset: str, now: int) -> float | None:
        """Give how often a ruleset's rated verdicts of 30 days were right, for the judge; None when nobody rated it."""
        positive, rated = _recent(self.records.get(ruleset, _NOTHING), self._known(now) // DAY_NS)
        return history(positive, rated) if rated else None

    # --- on disk

    def dump(self) -> dict[str, bytes]:
        """Give the checkpoints of what changed since the last time."""
        said: dict[str, bytes] = {}
        for name in sorted(self.changed):
            record = self.records[name]
            said[f"trust:{name}"] = msgspec.msgpack.encode(msgspec.structs.replace(record, ratings=[]))
            if name in self._rated:
                said[f"trust.ratings:{name}"] = msgspec.msgpack.encode(record.ratings)
        if self._acted:
            said["trust.actions"] = msgspec.msgpack.encode(list(self._actions.items()))
        self.changed, self._rated, self._acted = set(), set(), False
        return said

    def restore(self, rulesets: Iterable[str], checkpoint: Callable[[str], bytes | None], now: int) -> None:
        """Take the checkpoints of rulesets back. Raises ValueError when one is none of ours."""
        try:
            for name in rulesets:
                raw, ratings = checkpoint(f"trust:{name}"), checkpoint(f"trust.ratings:{name}")
                if raw is not None:
                    self.records[name] = record = msgspec.msgpack.decode(raw, type=Record)
                    record.ratings = msgspec.msgpack.decode(ratings, type=list[Rating]) if ratings else []
                    for outcome in record.outcomes.values():  # a clock that was set back must not keep us waiting
                        outcome.executed, outcome.succeeded = min(outcome.executed, now), min(outcome.succeeded, now)
            actions = checkpoint("trust.actions")
            known = msgspec.msgpack.decode(actions, type=list[tuple[str, _Done]]) if actions else []
        except msgspec.MsgspecError as error:
            raise ValueError(f"no record of trust: {error}") from error
        self._actions = OrderedDict(known)
        self._today = self._known(now) // DAY_NS


_NOTHING: Final = Record()
_NO_OUTCOME: Final = Outcome()


def kind_of(action_type: str, work_unit: str, target: str | None) -> str:
    """Name what counts as the same kind of action: for failures in a row, successes and the cool-down."""
    return f"{action_type} {work_unit} {target or ''}"


def _recent(record: Record, today: int) -> tuple[int, int]:
    days = [day for at, day in record.days.items() if today - MONTH < at <= today]
    positive = sum(day.positive for day in days)
    return positive, positive + sum(day.negative for day in days)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _days(since: int, now: int) -> float:
    return max(0.0, (now - since) / DAY_NS) if since else 0.0


def _digest(fact: Judged) -> bytes:
    """Name what was looked at, whichever version of the ruleset looked."""
    inputs = [
        (name, value) for name, value in fact.inputs.items() if name not in _PASSING and not name.endswith(".age_ns")
    ]
    return hashlib.blake2b(msgspec.json.encode([fact.work_unit, fact.state, inputs]), digest_size=12).digest()
