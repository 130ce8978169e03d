"""Many recorded verdicts judged again: which of them, what changed in all, and whether that is for the better.

One verdict that cannot be judged again fails alone. A sample (at most 1,000) is replayed whole, one by one; over all of
a history `backtest` gives the same numbers without the words.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from edge.judgment.appraisal import Appraisal, appraise
from edge.judgment.backtest import Backtest
from edge.judgment.compare import SIGNIFICANT, Comparison, compare
from edge.judgment.past import Listed
from edge.judgment.replay import Bundle, replay
from sync.facts import Judged

MOST: Final = 1_000
Sampling = Literal["random", "stratified", "sequential"]
V = TypeVar("V", bound=Judged | Listed)


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which verdicts are meant; what is left out is no condition."""

    begin: int | None = None
    """Ends of windows from here on, ns …"""
    end: int | None = None
    """… and before this."""
    line: str | None = None
    decision: str | None = None
    ruleset: str | None = None
    product: str | None = None

    def takes(self, fact: Judged | Listed) -> bool:
        return (
            (self.begin is None or fact.at >= self.begin)
            and (self.end is None or fact.at < self.end)
            and (self.line is None or fact.work_unit == self.line)
            and (self.decision is None or fact.decision == self.decision)
            and (self.ruleset is None or fact.ruleset == self.ruleset)
            and (self.product is None or fact.context.product == self.product)
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one verdict."""

    verdict_id: str
    comparison: Comparison | None = None
    exact: bool = False
    """Whether the whole fact is the recorded one, byte for byte."""
    missing: list[str] = []
    error: str | None = None
    """Why it could not be judged again."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in all."""

    total: int
    changed: int
    unchanged: int
    failed: int
    change_rate: float
    """Percent of those that could be judged again, two decimals."""
    result_changes: dict[str, int]
    """`normal → warning` → how many, the most first."""
    method_changes: dict[str, int]
    avg_confidence_change: float
    """New minus old, four decimals."""
    confidence_increased: int
    """By more than 0.1."""
    confidence_decreased: int
    baseline_decisions: dict[str, int]
    modified_decisions: dict[str, int]
    appraisal: Appraisal
    """Against what people said of these verdicts."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch replay."""

    summary: Summary
    outcomes: list[Outcome]


Said = tuple[str, float, str]
"""Decision, confidence, source."""


class Tally:
    """Counts what changed, verdict by verdict or block by block; keeps no verdict."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        """labels: verdict_id → the decision people say it should have been."""
        self.failed = 0
        self._labels = labels
        self._results: Counter[tuple[str, str]] = Counter()
        self._methods: Counter[tuple[str, str]] = Counter()
        self._changes: Counter[int] = Counter()
        """Difference of confidence, in ten thousandths."""
        self._rated: list[tuple[str, str, str]] = []

    def take(self, verdict_id: str, before: Said, after: Said) -> None:
        """Count one verdict."""
        self._results[before[0], after[0]] += 1
        self._methods[before[2], after[2]] += 1
        self._changes[round((after[1] - before[1]) * 10_000)] += 1
        if verdict_id in self._labels:
            self._rated.append((before[0], after[0], self._labels[verdict_id]))

    def take_all(self, test: Backtest) -> None:
        """Count a back-test; verdicts whose record kept too little have failed."""
        decisions, confidences, sources = (
            test.decisions().tolist(),
            test.confidences().tolist(),
            test.sources().tolist(),
        )
        for fact, *after in zip(test.past.facts, decisions, confidences, sources, strict=True):
            self.take(fact.verdict_id, (fact.decision, fact.confidence, fact.source), (after[0], after[1], after[2]))
        self.failed += test.past.unrepeatable

    def summary(self) -> Summary:
        """Give what changed in all."""
        total = self._results.total()
        changed = sum(number for (old, new), number in self._results.items() if old != new)
        moved = sum(change * number for change, number in self._changes.items())
        return Summary(
            total=total + self.failed,
            changed=changed,
            unchanged=total - changed,
            failed=self.failed,
            change_rate=round(100 * changed / total, 2) if total else 0.0,
            result_changes=_histogram(self._results),
            method_changes=_histogram(self._methods),
            avg_confidence_change=round(moved / total / 10_000, 4) if total else 0.0,
            confidence_increased=sum(n for change, n in self._changes.items() if change > SIGNIFICANT * 10_000),
            confidence_decreased=sum(n for change, n in self._changes.items() if change < -SIGNIFICANT * 10_000),
            baseline_decisions=_totals((old, number) for (old, _), number in self._results.items()),
            modified_decisions=_totals((new, number) for (_, new), number in self._results.items()),
            appraisal=appraise(self._rated, changed=changed, total=total),
        )


def _totals(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for decision, number in counted:
        totals[decision] += number
    return dict(sorted(totals.items()))


def sample(facts: Sequence[V], size: int, sampling: Sampling, seed: int = 0) -> list[V]:
    """Give so many of the verdicts, in their order; the same ones for the same seed, in any process.

    random: every verdict is as likely as another. stratified: decisions in their shares, each at least once.
    sequential: the first ones. Raises ValueError for a size beyond 1 to 1,000.
    """
    if not 1 <= size <= MOST:
        raise ValueError(f"a sample of {size}: give 1 to {MOST:,}")
    if size >= len(facts):
        return list(facts)
    match sampling:
        case "sequential":
            return list(facts[:size])
        case "random":
            chosen = set(sorted(range(len(facts)), key=lambda row: _lot(seed, facts[row].verdict_id))[:size])
        case "stratified":
            chosen = _stratified(facts, size, seed)
    return [fact for row, fact in enumerate(facts) if row in chosen]


def _lot(seed: int, verdict_id: str) -> bytes:
    """Draw a lot for a verdict: by its id, so that it is the same everywhere."""
    return hashlib.sha256(f"{seed} {verdict_id}".encode()).digest()


def _stratified(facts: Sequence[Judged | Listed], size: int, seed: int) -> set[int]:
    strata: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        strata.setdefault(fact.decision, []).append(row)
    shares = {name: max(1.0, size * len(rows) / len(facts)) for name, rows in sorted(strata.items())}
    counts = {name: int(share) for name, share in shares.items()}
    # What rounding left over goes to the largest remainders; what "each at least once" took too much, from the largest.
    for name in sorted(shares, key=lambda name: counts[name] - shares[name])[: max(0, size - sum(counts.values()))]:
        counts[name] += 1
    while sum(counts.values()) > size:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return {
        row
        for name, rows in strata.items()
        for row in sorted(rows, key=lambda row: _lot(seed, facts[row].verdict_id))[: counts[name]]
    }


def replay_all(
    facts: Iterable[Judged], bundle_of: Callable[[Judged], Bundle], labels: Mapping[str, str] | None = None
) -> Batch:
    """Judge verdicts again, each by the bundle it is given; what cannot be is counted and says why.

    labels: verdict_id → the decision people say it should have been.
    """
    outcomes: list[Outcome] = []
    tally = Tally(labels or {})
    for fact in facts:
        try:
            again = replay(fact, bundle_of(fact))
        except Exception as error:  # noqa: BLE001 - one verdict that cannot be judged again never ends the others
            outcomes.append(Outcome(verdict_id=fact.verdict_id, error=f"{type(error).__name__}: {error}"))
            tally.failed += 1
            continue
        outcomes.append(
            Outcome(
                verdict_id=fact.verdict_id,
                comparison=compare(fact, again.fact),
                exact=again.exact,
                missing=list(again.missing),
            )
        )
        new = again.fact
        tally.take(
            fact.verdict_id,
            (fact.decision, fact.confidence, fact.source),
            (new.decision, new.confidence, new.source),
        )
    return Batch(summary=tally.summary(), outcomes=outcomes)


def _histogram(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {f"{old} → {new}": number for (old, new), number in ranked if old != new}
