"""Deliberately broken variants of the product: each breaks one rule, and the simulation must notice.

An engine that finds nothing proves nothing until it has been shown to find what is there. A variant that no seed
catches fails the campaign; one that survives by design says why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.campaign.result import Result
from tests.campaign.simulation.mutants import cloud, edge
from tests.campaign.simulation.mutants.mutant import Mutant

MUTANTS: Final[tuple[type[Mutant], ...]] = (*edge.ALL, *cloud.ALL)
FIRST_CATCHES: Final = 1
"""The short form goes on until so many seeds have caught a variant …"""
MOST_SEEDS: Final = 120
"""… or so many were tried."""
SURVIVORS_SEEDS: Final = 10
OURS: Final = ("TypeError", "AttributeError", "NameError")
"""What a variant raises that was written for another version of the product: that catches nothing."""
LONG: Final = 400
"""Seeds of the long form, all of them for every variant."""


def run(*, count: int, seed: int, state: Path | None, log: Callable[[str], None]) -> Result:
    """Run every variant; `count` above 1 asks for the whole table: so many hundred seeds each."""
    del state
    began = time.monotonic()
    caught: dict[str, int] = {}
    notes: list[str] = []
    violations: list[str] = []
    faults: Counter[str] = Counter()
    trials = 0
    for mutant in MUTANTS:
        budget = LONG * (count - 1) or MOST_SEEDS
        if mutant.survives and count <= 1:
            budget = SURVIVORS_SEEDS
        enough = FIRST_CATCHES if count <= 1 else budget
        tried, seeds, example = _try(mutant, seed, budget, enough, faults, violations)
        trials += tried
        line = f"{mutant.__name__}: {seeds} of {tried} seeds ({mutant.sentence})"
        log(f"{line}{': ' + example if example else ''}")
        notes.append(line)
        if mutant.survives:
            notes.append(f"{mutant.__name__} survives {mutant.survives}")
            if seeds:
                violations.append(f"{mutant.__name__} was to survive by design, and {seeds} seeds caught it: {example}")
        else:
            caught[mutant.__name__] = seeds
    return Result(
        engine="mutants",
        subject="deliberately broken variants",
        count=trials,
        violations=violations,
        faults=faults,
        seeds=(seed, seed + max(0, trials - 1)),
        seconds=time.monotonic() - began,
        mutants=caught,
        notes=notes,
    )


def _try(
    mutant: type[Mutant], first: int, budget: int, enough: int, faults: Counter[str], violations: list[str]
) -> tuple[int, int, str]:
    """Give (seeds run, seeds that caught it, what the first one said)."""
    seeds, example = 0, ""
    for tried in range(budget):
        outcome = mutant.outcome(first + tried)
        faults.update(outcome.faults)
        said = outcome.violations[0] if outcome.violations else ""
        if said.startswith(OURS):
            raise TypeError(f"{mutant.__name__} no longer fits the product, seed {outcome.seed}: {said}")
        if said and (right := mutant.control(outcome.seed)).violations:
            violations.append(
                f"seed {outcome.seed} with the kinds of {mutant.__name__}, nothing broken: {right.violations[0]}"
            )
        elif said:
            seeds += 1
            example = example or f"seed {outcome.seed}: {said}"
            if seeds >= enough:
                return tried + 1, seeds, example
    return budget, seeds, example
