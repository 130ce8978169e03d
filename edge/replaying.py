"""Replays on a gateway: recorded verdicts beside what judged them. Reads only: no fact, no counter, no notification.

Used by `triflow replay` (another process, the gateway running or not) and by the gateway's page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from edge.bundles import BundleError, Bundles
from edge.judgment.appraisal import labels
from edge.judgment.backtest import evaluate
from edge.judgment.batch import Batch, Sampling, Summary, Tally, Wanted, replay_all, sample
from edge.judgment.compare import MOST_VERSIONS, Comparison, compare
from edge.judgment.given import repeatable, values_of
from edge.judgment.names import LineNames
from edge.judgment.past import Listed, Past, Recorded
from edge.judgment.replay import Bundle, Model, replay
from edge.judgment.scored import PackagedModel
from edge.judgment.state import State
from edge.judgment.steps import Memory
from edge.judgment.whatif import Overrides, WhatIf, what_if
from edge.store.history import EVER, History, open_history
from models.package import read
from models.ruleset import Ruleset
from models.rulesets import load
from sync.facts import Judged
from sync.judgment import Scored

TOLD: Final = 20
"""So many verdicts that differ are named; the rest are counted."""

BLOCK: Final = 10_000
"""Verdicts that are tried together."""

Rules = Callable[[LineNames], Ruleset]
"""Other rules than those that judged, compiled for a line."""


V = TypeVar("V", bound=Judged | Listed)


class NoVerdictError(LookupError):
    """There is no such verdict here (any more)."""


class _Naming(Listed, frozen=True, kw_only=True, tag_field="kind", tag="verdict"):
    """The part of a verdict's fact that names what judged it."""

    ruleset_hash: str
    ml: Scored | None = None


# Made here, not in the threads that read: two threads that are the first to decode a type crash msgspec 0.22.
_listed: Final = msgspec.json.Decoder(Listed)
_naming: Final = msgspec.json.Decoder(_Naming)
_judged: Final = msgspec.json.Decoder(Judged)
_slim: Final = msgspec.json.Decoder(Recorded)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict that did not come out as it went in."""

    verdict_id: str
    at: int
    work_unit: str
    why: str


class Proof(msgspec.Struct, kw_only=True):
    """What came of judging everything of a time again by what judged it."""

    total: int = 0
    exact: int = 0
    """The same byte for byte."""
    recomputed: int = 0
    """Of those: with the model's answer computed again."""
    different: list[Difference] = []
    more: int = 0
    """Differing ones that are not named."""
    unrepeatable: int = 0
    """Recorded before verdicts kept all their inputs, or too large to be recorded with all of them."""
    damaged: int = 0
    """Chunks that could not be read."""

    @property
    def good(self) -> bool:
        return self.exact + self.unrepeatable == self.total and not self.damaged


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict by one ruleset."""

    replay: Judged
    comparison: Comparison
    missing: list[str]
    """Inputs these rules read and the record does not hold."""
    model: str
    """Where the model's answer comes from: none, recorded or recomputed."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verdict judged again, in one of three ways."""

    original: Judged
    exact: bool | None = None
    """By what judged it: whether it is the same byte for byte. None where something else was asked."""
    differs: list[str] = []
    versions: list[Version] = []
    what_if: list[WhatIf] = []


@dataclass(slots=True)
class _Trial:
    """Rules tried on one line's history, block by block."""

    ruleset: Ruleset
    names: LineNames
    memory: Memory
    tally: Tally
    _block: list[Recorded] = field(default_factory=list[Recorded])
    _before: State | None = None

    def take(self, fact: Recorded) -> None:
        self._block.append(fact)
        if len(self._block) == BLOCK:
            self._judge()

    def summary(self) -> Summary:
        self._judge()
        return self.tally.summary()

    def _judge(self) -> None:
        past = Past(self._block)
        self._block = []
        test = evaluate(past, self.ruleset, names=self.names, memory=self.memory, before=self._before)
        self._before = test.memory
        self.tally.take_all(test)


@dataclass(slots=True)
class Replays:
    """The verdicts and the archive of one gateway."""

    history: History
    bundles: Bundles
    _rulesets: dict[tuple[str, str], tuple[Ruleset, LineNames]] = field(
        default_factory=dict[tuple[str, str], tuple[Ruleset, LineNames]]
    )
    _candidates: dict[tuple[int, str], Ruleset] = field(default_factory=dict[tuple[int, str], Ruleset])
    _models: dict[str, Model] = field(default_factory=dict[str, Model])

    def verdict(self, verdict_id: str) -> Judged:
        """Give a recorded verdict. Raises NoVerdictError."""
        raw = self.history.verdict(verdict_id)
        if raw is None:
            raise NoVerdictError(
                f"there is no verdict {verdict_id} here; it was never recorded, or left the outbox and the ring after "
                "the cloud had it: replay it there"
            )
        return _judged.decode(raw)

    def bundle(self, fact: Judged, *, rules: Rules | None = None, model: Model | None = None) -> Bundle:
        """Give what judged a verdict, or other rules over the same names. Raises ArchiveError, RulesetError."""
        if model is None and fact.ml is not None:
            model = self._model(fact.ml.sha256)
        if rules is None:
            ruleset, names = self.original(fact)
            return Bundle(ruleset=ruleset, names=names, model=model)
        names = self.names(fact)
        key = (id(rules), names.digest)
        if key not in self._candidates:
            self._candidates[key] = rules(names)
        return Bundle(ruleset=self._candidates[key], names=names, model=model)

    def names(self, fact: Judged | Recorded) -> LineNames:
        """Give what rules of a verdict's line may name: as it was then, or else as it is now. Raises BundleError."""
        try:
            return self.original(fact)[1]
        except BundleError:
            names = self.bundles.names(fact.work_unit)
            if names is None:
                raise
            return names

    def original(self, fact: Judged | Recorded) -> tuple[Ruleset, LineNames]:
        """Give the ruleset that judged a verdict, and what it could name. Raises ArchiveError."""
        key = (fact.ruleset_hash, fact.work_unit)
        if key not in self._rulesets:
            self._rulesets[key] = self.bundles.ruleset(*key, values_of(fact.inputs))
        return self._rulesets[key]

    def _model(self, digest: str) -> Model | None:
        if digest not in self._models:
            package = self.bundles.model(digest)
            if package is None:
                return None
            # It was verified before it was activated, and its digest is that of the verdict.
            self._models[digest] = PackagedModel(read(package, trusted=None))
        return self._models[digest]

    def answered(
        self,
        verdict_id: str,
        overrides: Overrides | None = None,
        rules: Sequence[Rules] = (),
        model: Model | None = None,
    ) -> Answer:
        """Judge one verdict again: by what judged it, by other rules, or with other inputs (by each of those rules).

        Raises NoVerdictError, NotRepeatableError, ArchiveError, RulesetError, OverrideError, and ValueError for more
        than five versions.
        """
        fact = self.verdict(verdict_id)
        if len(rules) > MOST_VERSIONS:
            raise ValueError(f"{len(rules)} rulesets: name at most {MOST_VERSIONS}")
        bundles = [self.bundle(fact, rules=one, model=model) for one in rules or (None,)]
        if overrides:
            return Answer(original=fact, what_if=[what_if(fact, bundle, overrides) for bundle in bundles])
        again = [replay(fact, bundle) for bundle in bundles]
        told = [
            Version(replay=one.fact, comparison=compare(fact, one.fact), missing=list(one.missing), model=one.model)
            for one in again
        ]
        if rules or model is not None:
            return Answer(original=fact, versions=told)
        return Answer(original=fact, exact=again[0].exact, differs=list(again[0].differs), versions=told)

    # --- many

    def _recorded(self, wanted: Wanted, decoder: msgspec.json.Decoder[V]) -> Iterator[V]:
        begin, end = wanted.begin or 0, EVER if wanted.end is None else wanted.end
        return (fact for raw in self.history.verdicts(begin, end) if wanted.takes(fact := decoder.decode(raw)))

    def sampled(self, wanted: Wanted, size: int, sampling: Sampling, seed: int, *, rules: Rules | None = None) -> Batch:
        """Replay a sample of the verdicts that are meant. Raises ValueError for a size beyond 1 to 1,000."""
        listed = list(self._recorded(wanted, _listed))
        chosen = {fact.verdict_id for fact in sample(listed, size, sampling, seed)}
        facts = (fact for fact in self.judged(wanted) if fact.verdict_id in chosen)
        return replay_all(facts, lambda fact: self.bundle(fact, rules=rules), labels(self.history.feedback()))

    def named(self) -> set[str]:
        """Give the hashes that the verdicts here name, for `Bundles.trim`."""
        found: set[str] = set()
        for fact in self._recorded(Wanted(), _naming):
            found.add(fact.ruleset_hash)
            if fact.ml is not None:
                found.add(fact.ml.sha256)
        return found

    def judged(self, wanted: Wanted) -> Iterator[Judged]:
        """Give the verdicts that are meant, whole, in the order recorded."""
        return self._recorded(wanted, _judged)

    def tested(self, wanted: Wanted, rules: Rules, memory: Memory) -> dict[str, Summary]:
        """Try rules on all verdicts that are meant, line by line. Raises ArchiveError, RulesetError.

        The history comes in blocks, so that a long one takes no more memory than a short one.
        """
        lines: dict[str, _Trial] = {}
        said = labels(self.history.feedback())
        for fact in self._recorded(wanted, _slim):
            trial = lines.get(fact.work_unit)
            if trial is None:
                names = self.bundles.names(fact.work_unit) or self.names(fact)
                trial = lines[fact.work_unit] = _Trial(rules(names), names, memory, Tally(said))
            trial.take(fact)
        return {line: trial.summary() for line, trial in lines.items()}

    def proven(self, wanted: Wanted) -> Proof:
        """Judge everything that is meant again by what judged it, and compare the bytes."""
        proof = Proof()
        begin, end = wanted.begin or 0, EVER if wanted.end is None else wanted.end
        for raw in self.history.verdicts(begin, end):
            fact = _judged.decode(raw)
            if not wanted.takes(fact):
                continue
            proof.total += 1
            why = self._differs(fact, raw, proof)
            if why is None:
                continue
            if len(proof.different) < TOLD:
                told = Difference(verdict_id=fact.verdict_id, at=fact.at, work_unit=fact.work_unit, why=why)
                proof.different.append(told)
            else:
                proof.more += 1
        proof.damaged = self.history.damaged
        return proof

    def _differs(self, fact: Judged, raw: bytes, proof: Proof) -> str | None:
        """Give why a verdict did not come out as it went in; None when it did, or never could."""
        if not repeatable(fact):
            proof.unrepeatable += 1
            return None
        try:
            again = replay(fact, self.bundle(fact))
        except Exception as error:  # noqa: BLE001 - one verdict that cannot be judged again never ends the others
            return f"{type(error).__name__}: {error}"
        if not again.exact or msgspec.json.encode(again.fact) != _fresh(fact, raw):
            return f"another {', '.join(again.differs) or 'order of its fields'}"
        proof.exact += 1
        proof.recomputed += again.model == "recomputed"
        return None


def _fresh(fact: Judged, raw: bytes) -> bytes:
    """Give the bytes as they would be had the verdict not come from the cache."""
    return msgspec.json.encode(msgspec.structs.replace(fact, cached=False)) if fact.cached else raw


def rules_of(source: Path | str) -> Rules:
    """Give rules of a file (a Path) or of its text; RulesetError when they are compiled."""
    return lambda names: load(source, names.environment())


@contextlib.contextmanager
def open_replays(data: Path, *, own: bool = False) -> Generator[Replays]:
    """Give a gateway's verdicts and archive. Raises HistoryError, StoreRefusedError, DamagedError. own: as `open_history`."""
    with open_history(data, own=own) as history:
        yield Replays(history, Bundles(data))
