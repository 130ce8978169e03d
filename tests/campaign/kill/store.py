"""The store alone under kill -9: one process imports everything, a fork of it writes at full speed and is killed.

`python -m tests.campaign.kill.store --seed N` repeats a kill with everything that came before it on its store.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from tests.campaign.books import Bodies, integrity, opened, read, wrong
from tests.campaign.result import Result
from tests.campaign.writer import SMALL_QUOTA, Promised, write_for_ever

SERIES: Final = 20
"""Kills of one store, one after another."""
MEAN_S: Final = 0.020
SECOND: Final = 0.2
SECOND_MEAN_S: Final = 0.004
MEMORY: Final = Path("/dev/shm")

Log = Callable[[str], None]
Work = Callable[..., None]


def run(
    *,
    count: int,
    seed: int,
    state: Path | None = None,
    log: Log = print,
    work: Work = write_for_ever,
    mutants: bool = True,
) -> Result:
    """Do kills `seed` … `seed + count - 1`; a large block also tries the mutants."""
    began = time.monotonic()
    faults: Counter[str] = Counter({"kill": 0, "second kill inside recovery": 0, "killed before it was open": 0})
    sums: Counter[str] = Counter()
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="triflow-kills-", dir=MEMORY if MEMORY.is_dir() else None) as place:
        for series in range(seed // SERIES, (seed + count - 1) // SERIES + 1):
            trials = range(series * SERIES, min(seed + count, (series + 1) * SERIES))
            folder = Path(place) / f"{series}"
            said = _series(folder, trials, seed, faults, sums, work)
            for what in said:
                violations.append(what)
                log(what)
            if said and state is not None:
                shutil.copytree(folder, state / f"kills-{series}", dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    log(
        f"{count} kills, {len(violations)} violations, {sums['acknowledged commits']} acknowledged commits, {count / seconds:.0f} kills/s"
    )
    caught: dict[str, int] = {}
    if mutants and count >= 500 and seed <= 1:
        from tests.campaign.kill.mutants import try_all

        caught = try_all(log)
    return Result(
        engine="store kills",
        subject="the real store in a forked process",
        count=count,
        violations=violations,
        faults=faults,
        seeds=(seed, seed + count - 1),
        seconds=seconds,
        mutants=caught,
        sums=sums,
    )


def _series(folder: Path, trials: range, first: int, faults: Counter[str], sums: Counter[str], work: Work) -> list[str]:
    promised, bodies = Promised(), Bodies()
    small = random.Random(f"series {trials.start}").random() < 0.3
    for number in trials:
        dice = random.Random(f"kill {number}")
        wait = dice.random() < 0.85  # else it may die before it is open
        promised.take(kill_one(folder, dice, dice.expovariate(1 / MEAN_S), work, small=small, once_open=wait))
        faults["kill"] += 1
        if dice.random() < SECOND:
            before = promised.opened
            promised.take(kill_one(folder, dice, dice.expovariate(1 / SECOND_MEAN_S), work, small=small))
            faults["second kill inside recovery"] += 1
            faults["killed before it was open"] += promised.opened == before
        said = look(folder, promised, bodies, small=small)
        if said:
            if number < first:
                return [f"seed {first}: kill {number} before it: {'; '.join(said[:4])}"]
            return [f"seed {number}: {'; '.join(said[:4])}; again: python -m tests.campaign.kill.store --seed {number}"]
    sums["acknowledged commits"] += promised.commits
    sums["incarnations"] += promised.opened
    sums["series that shed"] += small
    return []


def kill_one(
    folder: Path, dice: random.Random, after_s: float, work: Work, *, small: bool, once_open: bool = False
) -> bytes:
    """Fork a writer, kill it so many seconds after the fork, or after it said that it is open; give all that it said."""
    out, into = os.pipe()
    seed = dice.random()
    child = os.fork()
    if child == 0:
        os.close(out)
        code = 70
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            work(folder, into, random.Random(seed), quota_bytes=SMALL_QUOTA if small else 1 << 28)
        except BaseException as error:  # noqa: BLE001 - a fork must end here, and say why it did on its own
            os.write(into, f"E {error!r}\n".encode()[:4000])
        finally:
            os._exit(code)
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
    os.kill(child, signal.SIGKILL)
    while piece := os.read(out, 1 << 16):
        said.append(piece)
    os.close(out)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise AssertionError(f"the writer ended on its own: {b''.join(said)[-600:].decode(errors='replace')}")
    return b"".join(said)


def look(folder: Path, promised: Promised, bodies: Bodies, *, small: bool) -> list[str]:
    """Say what is wrong with a store that was killed."""
    path = folder / "edge.db"
    if not path.exists():
        return ["the file is not there"] if promised.commits else []
    damaged = [p.name for p in folder.glob("edge.db.damaged-*")]
    found = [f"it was salvaged: {damaged[0]}"] if damaged else []
    try:
        with opened(path) as connection:
            found += integrity(connection)
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'chunk'").fetchone() is None:
                return [*found, *(["there is nothing in it"] if promised.commits else [])]
            file = read(connection)
    except (apsw.Error, KeyError) as error:
        return [*found, f"cannot be read: {error!r}"]
    return [*found, *wrong(file, bodies), *promised.broken(file, shed=small)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.kill.store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--state", type=Path, help="where stores of violations are kept")
    asked = parser.parse_args()
    result = run(count=asked.count, seed=asked.seed, state=asked.state)
    print(dict(result.faults), dict(result.sums), result.mutants)  # noqa: T201 - a command line prints
    sys.exit(bool(result.violations))
