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
from edge.judgment.past import AnyRecorded
from edge.judgment.replay import Bundle, replay
from sync.facts import Judged

MOST: Final = 1_000
Sampling = Literal["random", "stratified", "sequential"]
V = TypeVar("V", bound=AnyRecorded)


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

    def takes(self, fact: AnyRecorded) -> bool:
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


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict before and after, in the few words a summary needs."""

    verdict_id: str
    before: tuple[str, float, str]
    """Decision, confidence, source."""
    after: tuple[str, float, str]


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


def _stratified(facts: Sequence[AnyRecorded], size: int, seed: int) -> set[int]:
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
    pairs: list[Pair] = []
    for fact in facts:
        try:
            again = replay(fact, bundle_of(fact))
        except Exception as error:  # noqa: BLE001 - one verdict that cannot be judged again never ends the others
            outcomes.append(Outcome(verdict_id=fact.verdict_id, error=f"{type(error).__name__}: {error}"))
            continue
        outcomes.append(
            Outcome(
                verdict_id=fact.verdict_id,
                comparison=compare(fact, again.fact),
                exact=again.exact,
                missing=list(again.missing),
            )
        )
        pairs.append(
            Pair(
                verdict_id=fact.verdict_id,
                before=(fact.decision, fact.confidence, fact.source),
                after=(again.fact.decision, again.fact.confidence, again.fact.source),
            )
        )
    return Batch(summary=summarize(pairs, len(outcomes) - len(pairs), labels or {}), outcomes=outcomes)


def of_backtest(test: Backtest, labels: Mapping[str, str] | None = None) -> Summary:
    """Give the summary of a back-test; verdicts whose record kept too little count as failed."""
    decisions, confidences, sources = test.decisions().tolist(), test.confidences().tolist(), test.sources().tolist()
    pairs = [
        Pair(
            verdict_id=fact.verdict_id,
            before=(fact.decision, fact.confidence, fact.source),
            after=(decision, confidence, source),
        )
        for fact, decision, confidence, source in zip(test.past.facts, decisions, confidences, sources, strict=True)
    ]
    return summarize(pairs, test.past.unrepeatable, labels or {})


def summarize(pairs: Sequence[Pair], failed: int, labels: Mapping[str, str]) -> Summary:
    """Give what changed in all."""
    results = Counter((pair.before[0], pair.after[0]) for pair in pairs)
    methods = Counter((pair.before[2], pair.after[2]) for pair in pairs)
    changes = [round(pair.after[1] - pair.before[1], 4) for pair in pairs]
    changed = sum(number for (old, new), number in results.items() if old != new)
    return Summary(
        total=len(pairs) + failed,
        changed=changed,
        unchanged=len(pairs) - changed,
        failed=failed,
        change_rate=round(100 * changed / len(pairs), 2) if pairs else 0.0,
        result_changes=_histogram(results),
        method_changes=_histogram(methods),
        avg_confidence_change=round(sum(changes) / len(changes), 4) if changes else 0.0,
        confidence_increased=sum(change > SIGNIFICANT for change in changes),
        confidence_decreased=sum(change < -SIGNIFICANT for change in changes),
        baseline_decisions=dict(sorted(Counter(pair.before[0] for pair in pairs).items())),
        modified_decisions=dict(sorted(Counter(pair.after[0] for pair in pairs).items())),
        appraisal=appraise(
            [(pair.before[0], pair.after[0], labels[pair.verdict_id]) for pair in pairs if pair.verdict_id in labels],
            changed=changed,
            total=len(pairs),
        ),
    )


def _histogram(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {f"{old} → {new}": number for (old, new), number in ranked if old != new}
