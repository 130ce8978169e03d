"""Engine 1: a deterministic simulation of gateways, broker and cloud; a seed is a world, and the same one every time.

The gateways run the product's `Outbox` and `Cursor`, the cloud its `Door` and `Ingest`, each over a real SQLite in
memory; frames are sealed and opened as on the wire. Clock, chance, wires and machines are the simulation's.

`python -m tests.campaign.simulation --seed N --trace` shows what happened in a seed, `--shrink N` makes a failing one
as small as it gets, `--count` runs many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.campaign.result import Result
from tests.campaign.simulation.plan import KINDS, make
from tests.campaign.simulation.simulate import Outcome, simulate

SUBJECT: Final = "store, cursor, door and ingest under virtual time"
TWICE: Final = 40
"""Every so manieth seed is run once more in this process, and must leave the same trace."""
ELSEWHERE: Final = 3
"""Seeds of a block that are run once more in a process of its own, with another hash seed."""


def failed(outcome: Outcome) -> str:
    """Say what a seed violated, with how to see it again."""
    said = "; ".join(outcome.violations)
    return f"seed {outcome.seed}: {said} (python -m tests.campaign.simulation --seed {outcome.seed} --trace)"


def report(outcome: Outcome) -> str:
    """Give everything that is known of a failing seed: when, what was on, the last lines of its trace."""
    plan = outcome.plan
    assert plan is not None
    head = [
        failed(outcome),
        f"at {outcome.virtual_s:.3f} s of virtual time, trace {outcome.digest[:16]}",
        f"{plan.gateways} gateways, safe = {plan.safe}, horizon {plan.horizon / 1e9:.0f} s, kinds: {', '.join(sorted(plan.kinds))}",
        *(f"  {fault}" for fault in plan.faults),
        f"injected: {dict(sorted(outcome.faults.items()))}",
    ]
    return "\n".join([*head, *outcome.tail[-40:]])


def run(*, count: int, seed: int, state: Path | None, log: Callable[[str], None]) -> Result:
    """Run seeds `seed` … `seed + count - 1` in this process; with `state`, those that are done are not done again."""
    began = time.monotonic()
    done = _Done(state, seed, count)
    for number in range(seed, seed + count):
        if number in done:
            continue
        outcome = simulate(make(number))
        if outcome.violations:
            log(report(outcome))
        violations = [failed(outcome)] if outcome.violations else []
        if number % TWICE == 0 and (again := simulate(make(number))).digest != outcome.digest:
            violations.append(f"seed {number}: I-30 the same seed left another trace: {again.digest[:16]}")
        done.add(number, outcome, violations)
    done.violations += elsewhere(range(seed, seed + min(count, ELSEWHERE)))
    seconds = time.monotonic() - began
    for kind in KINDS:
        done.faults.setdefault(kind, 0)
    return Result(
        engine="simulation",
        subject=SUBJECT,
        count=count,
        violations=done.violations,
        faults=done.faults,
        seeds=(seed, seed + count - 1),
        seconds=seconds,
        notes=[],
    )


def elsewhere(seeds: range) -> list[str]:
    """Run seeds in another process, whose hashes are others, and compare the traces."""
    asked = [sys.executable, "-m", "tests.campaign.simulation", "--digests", str(seeds.start), str(seeds.stop)]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    return [
        f"seed {number}: I-30 another process left another trace"
        for number, digest in zip(seeds, said.stdout.split(), strict=True)
        if simulate(make(number)).digest != digest
    ]


class _Done:
    """What was done already: one line of JSON per seed, so that a long campaign goes on where it was stopped."""

    def __init__(self, state: Path | None, seed: int, count: int) -> None:
        self._path = None if state is None else state / f"simulation-{seed}-{count}.jsonl"
        self._seeds: set[int] = set()
        self.violations: list[str] = []
        self.faults: Counter[str] = Counter()
        if self._path is not None and self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                self._take(*json.loads(line))

    def __contains__(self, seed: int) -> bool:
        return seed in self._seeds

    def _take(self, seed: int, faults: dict[str, int], violations: list[str]) -> None:
        self._seeds.add(seed)
        self.faults.update(faults)
        self.violations += violations

    def add(self, seed: int, outcome: Outcome, violations: list[str]) -> None:
        self._take(seed, outcome.faults, violations)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([seed, outcome.faults, violations]) + "\n")
