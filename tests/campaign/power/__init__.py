"""Power cuts: a real filesystem in a loop device loses its power while a real process commits to a store on it.

Acknowledgements count when they were given before the cut began. `python -m tests.campaign.power --seed N` repeats one;
the moment is the same fraction of a second, the processor's part in it is not.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.campaign.books import Bodies
from tests.campaign.kill.store import look
from tests.campaign.power.mount import Volume, why_not
from tests.campaign.result import Result
from tests.campaign.writer import Promised, write_for_ever

SERIES: Final = 10
"""Cuts of one store, one after another."""
MEAN_S: Final = 0.100
SECOND: Final = 0.15
KINDS: Final = ("ext4", "ext4", "ext4", "xfs")

Log = Callable[[str], None]
Work = Callable[..., None]


def run(
    *,
    count: int,
    seed: int,
    state: Path | None = None,
    log: Log = print,
    work: Work = write_for_ever,
    control: bool = True,
) -> Result:
    """Do cuts `seed` … `seed + count - 1`; a block that holds the first seeds also tries what must lose."""
    began = time.monotonic()
    missing = {kind: why for kind in dict.fromkeys(KINDS) if (why := why_not(kind)) is not None}
    faults: Counter[str] = Counter({f"cut of {kind}": 0 for kind in dict.fromkeys(KINDS)})
    faults["second cut inside recovery"] = 0
    notes = [f"{kind}: {why}" for kind, why in missing.items()]
    if "ext4" in missing:
        return Result(
            engine="power", subject="the real store on a filesystem that loses power", count=0, faults=faults,
            seeds=(seed, seed + count - 1), notes=notes, unavailable=missing["ext4"],
        )  # fmt: skip
    sums: Counter[str] = Counter()
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="triflow-power-") as place:
        for series in range(seed // SERIES, (seed + count - 1) // SERIES + 1):
            kind = KINDS[series % len(KINDS)]
            with Volume(Path(place), "ext4" if kind in missing else kind) as volume:
                trials = range(max(seed, series * SERIES), min(seed + count, (series + 1) * SERIES))
                said = _series(volume, trials, "ext4" if kind in missing else kind, faults, sums, work)
                violations += said
                for what in said:
                    log(what)
                if said and state is not None:
                    with contextlib.suppress(shutil.Error):  # what can still be read of it
                        shutil.copytree(volume.folder / "data", state / f"power-{series}", dirs_exist_ok=True)
    seconds = time.monotonic() - began
    log(
        f"{count} cuts, {len(violations)} violations, {sums['acknowledged commits']} acknowledged commits, {seconds / count:.2f} s a cut"
    )
    caught: dict[str, int] = {}
    if control and count >= 25 and seed <= 1:
        from tests.campaign.power.control import try_all

        caught = try_all(log)
    return Result(
        engine="power",
        subject="the real store on a filesystem that loses power",
        count=count,
        violations=violations,
        faults=faults,
        seeds=(seed, seed + count - 1),
        seconds=seconds,
        mutants=caught,
        sums=sums,
        notes=notes,
    )


def _series(
    volume: Volume, trials: range, kind: str, faults: Counter[str], sums: Counter[str], work: Work
) -> list[str]:
    promised, bodies = Promised(), Bodies()
    folder = volume.folder / "data"
    for number in trials:
        dice = random.Random(f"power {number}")
        _cut_one(volume, dice, dice.expovariate(1 / MEAN_S), promised, work, once_open=True)
        faults[f"cut of {kind}"] += 1
        if dice.random() < SECOND:
            _cut_one(volume, dice, dice.expovariate(1 / 0.01), promised, work, once_open=False)
            faults["second cut inside recovery"] += 1
        if said := look(folder, promised, bodies, small=False):
            return [
                f"seed {number}: {kind}: {'; '.join(said[:4])}; again: python -m tests.campaign.power --seed {number}"
            ]
    sums["acknowledged commits"] += promised.commits
    sums["incarnations"] += promised.opened
    return []


def _cut_one(
    volume: Volume, dice: random.Random, after_s: float, promised: Promised, work: Work, *, once_open: bool
) -> None:
    """Let a process write, cut the power, mount again, and take what it was promised before the cut began."""
    out, into = os.pipe()
    seed = dice.random()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work(volume.folder / "data", into, random.Random(seed), quota_bytes=8 << 20)
        except BaseException as error:  # noqa: BLE001 - a fork must end here; the disk went away under it
            os.write(into, f"E {error!r}\n".encode()[:4000])
        finally:
            os._exit(70)
    os.close(into)
    said: list[bytes] = []
    if once_open and select.select([out], [], [], 20)[0]:
        said.append(os.read(out, 1 << 16))
    end = time.monotonic() + after_s
    while (left := end - time.monotonic()) > 0:
        if select.select([out], [], [], left)[0]:
            piece = os.read(out, 1 << 16)
            if not piece:
                break
            said.append(piece)
    began_ns = time.monotonic_ns()
    volume.cut()
    os.kill(child, signal.SIGKILL)
    while piece := os.read(out, 1 << 16):
        said.append(piece)
    os.close(out)
    os.waitpid(child, 0)
    volume.unmount()
    volume.mount()
    promised.take(b"".join(said), began_ns)
