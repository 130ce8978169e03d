"""Crash images: the disk is rebuilt as a power cut may have left it, and the real store must make sense of it.

A life of the store is recorded write by write; a trial is one cut of one life. 250 trials share a recording.
`python -m tests.campaign.images --seed N` repeats one.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.campaign.images.disk import HOWS, Disk
from tests.campaign.images.oracle import Oracle
from tests.campaign.images.script import Trace, record
from tests.campaign.result import Result

CUTS: Final = 250
"""Trials of one life."""
SECOND: Final = 0.1
MEMORY: Final = Path("/dev/shm")

Log = Callable[[str], None]


def run(
    *,
    count: int,
    seed: int,
    state: Path | None = None,
    log: Log = print,
    recorded: Callable[..., Trace] = record,
    mutants: bool | None = None,
) -> Result:
    """Do trials `seed` … `seed + count - 1`; a large block that holds the first life also tries the mutants."""
    began = time.monotonic()
    faults: Counter[str] = Counter(dict.fromkeys(HOWS, 0))
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="triflow-images-", dir=MEMORY if MEMORY.is_dir() else None) as work_:
        work = Path(work_)
        oracle = Oracle(work)
        try:
            for life in range(seed // CUTS, (seed + count - 1) // CUTS + 1):
                trace = recorded(life, work / "life")
                faults.update({f"did {what}": n for what, n in trace.done.items()})
                trials = range(max(seed, life * CUTS), min(seed + count, (life + 1) * CUTS))
                for number, said in _cut(trace, trials, oracle, work, faults):
                    violations.append(f"seed {number}: {said}")
                    log(violations[-1])
                    _keep(state, number, work / "kept", said)
        finally:
            oracle.close()
    seconds = time.monotonic() - began
    faults["second cut"] = oracle.nested
    rate = f"{count / seconds:.0f} images/s on one core"
    log(f"{count} images, {len(violations)} violations, {rate}")
    caught: dict[str, int] = {}
    if mutants or (mutants is None and count >= 1_000 and seed < CUTS):
        from tests.campaign.images.mutants import try_all

        caught = try_all(log)
    return Result(
        engine="images",
        subject="the real store on recorded disks",
        count=count,
        violations=violations,
        faults=faults,
        seeds=(seed, seed + count - 1),
        seconds=seconds,
        mutants=caught,
    )


def _cut(trace: Trace, trials: range, oracle: Oracle, work: Path, faults: Counter[str]) -> list[tuple[int, str]]:
    """Judge the trials of one life, in the order of their cuts; give (trial, what is wrong)."""
    found: list[tuple[int, str]] = []
    drawn: list[tuple[int, int, random.Random]] = []
    for number in trials:
        dice = random.Random(f"cut {number}")
        drawn.append((dice.randint(0, len(trace.ops)), number, dice))
    disk = Disk(trace.begin)
    folder = work / "image"
    for at, number, dice in sorted(drawn, key=lambda one: one[:2]):
        disk.go(trace.ops, at)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        how = dice.choice(HOWS)
        lost = disk.image(folder, how, dice)
        if dice.random() < 0.1:  # what the index of the log says after a cut is anything
            (folder / "edge.db-shm").write_bytes(dice.randbytes(32768))
        faults[how] += 1
        faults[trace.life] += 1
        faults["writes lost or torn"] += lost
        kept = work / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        again = dice if dice.random() < SECOND else None
        wrong = oracle.judge(trace, at, folder, again=again)
        if wrong:
            found.append(
                (
                    number,
                    f"{trace.life} life {trace.seed}, cut at {at} of {len(trace.ops)}, {how}: {'; '.join(wrong[:4])}",
                )
            )
            kept.rename(work / f"kept-{number}")
    return found


def _keep(state: Path | None, number: int, image: Path, said: str) -> None:
    """Keep the image of a violation."""
    source = image.with_name(f"kept-{number}")
    if state is None or not source.exists():
        return
    target = state / f"images-{number}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    (target / "what.txt").write_text(f"{said}\nagain: python -m tests.campaign.images --seed {number}\n")
