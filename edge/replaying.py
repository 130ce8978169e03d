"""Replays on a gateway: recorded verdicts beside what judged them. Reads only: no fact, no counter, no notification.

Used by `triflow replay` (another process, the gateway running or not) and by the gateway's page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from edge.bundles import BundleError, Bundles
from edge.judgment.appraisal import labels
from edge.judgment.backtest import evaluate
from edge.judgment.batch import Batch, Sampling, Summary, Wanted, of_backtest, replay_all, sample
from edge.judgment.compare import MOST_VERSIONS, Comparison, compare
from edge.judgment.given import FORM, values_of
from edge.judgment.names import LineNames
from edge.judgment.past import Past, Recorded
from edge.judgment.replay import Bundle, Model, replay
from edge.judgment.scored import PackagedModel
from edge.judgment.steps import Memory
from edge.judgment.whatif import Overrides, WhatIf, what_if
from edge.store.history import EVER, History, open_history
from models.package import read
from models.ruleset import Ruleset
from models.rulesets import load
from sync.facts import Judged

TOLD: Final = 20
"""So many verdicts that differ are named; the rest are counted."""

Rules = Callable[[LineNames], Ruleset]
"""Other rules than those that judged, compiled for a line."""


class NoVerdictError(LookupError):
    """There is no such verdict here (any more)."""


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
    """Recorded before verdicts kept all their inputs."""
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
        return msgspec.json.decode(raw, type=Judged)

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

    def recorded(self, wanted: Wanted) -> list[Recorded]:
        """Give the verdicts that are meant, in the order recorded, as a back-test reads them."""
        begin, end = wanted.begin or 0, EVER if wanted.end is None else wanted.end
        decoder = msgspec.json.Decoder(Recorded)
        return [fact for raw in self.history.verdicts(begin, end) if wanted.takes(fact := decoder.decode(raw))]

    def sampled(self, wanted: Wanted, size: int, sampling: Sampling, seed: int, *, rules: Rules | None = None) -> Batch:
        """Replay a sample of the verdicts that are meant. Raises ValueError for a size beyond 1 to 1,000."""
        chosen = {fact.verdict_id for fact in sample(self.recorded(wanted), size, sampling, seed)}
        facts = (fact for fact in self.judged(wanted) if fact.verdict_id in chosen)
        return replay_all(facts, lambda fact: self.bundle(fact, rules=rules), labels(self.history.feedback()))

    def judged(self, wanted: Wanted) -> Iterator[Judged]:
        begin, end = wanted.begin or 0, EVER if wanted.end is None else wanted.end
        for raw in self.history.verdicts(begin, end):
            fact = msgspec.json.decode(raw, type=Judged)
            if wanted.takes(fact):
                yield fact

    def tested(self, wanted: Wanted, rules: Rules, memory: Memory) -> dict[str, Summary]:
        """Try rules on all verdicts that are meant, line by line. Raises ArchiveError, RulesetError."""
        by_line: dict[str, list[Recorded]] = {}
        for fact in self.recorded(wanted):
            by_line.setdefault(fact.work_unit, []).append(fact)
        said = labels(self.history.feedback())
        found: dict[str, Summary] = {}
        for line, facts in by_line.items():
            names = self.names(facts[-1])
            found[line] = of_backtest(evaluate(Past(facts), rules(names), names=names, memory=memory), said)
        return found

    def proven(self, wanted: Wanted) -> Proof:
        """Judge everything that is meant again by what judged it, and compare the bytes."""
        proof = Proof()
        begin, end = wanted.begin or 0, EVER if wanted.end is None else wanted.end
        for raw in self.history.verdicts(begin, end):
            fact = msgspec.json.decode(raw, type=Judged)
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
        if fact.form < FORM:
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


def named(facts: Iterable[Judged | Recorded], more: Iterable[str] = ()) -> set[str]:
    """Give the hashes that verdicts name, for `Bundles.trim`."""
    found = set(more)
    for fact in facts:
        found.add(fact.ruleset_hash)
        if fact.ml is not None:
            found.add(fact.ml.sha256)
    return found
