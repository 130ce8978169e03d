"""Killed at every place that has a name, and again in the recovery from it: what was promised is there."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
from pathlib import Path

import pytest

from edge.store.file import migrations
from sync import failpoint
from tests.campaign.books import Bodies, opened
from tests.campaign.kill.store import look
from tests.campaign.writer import Promised, write_for_ever
from tests.servers import ROOT

OLD = Path(__file__).parent / "old"
STORE = [
    name
    for name in failpoint.PLACES
    if name.startswith("edge.")
    and not name.startswith("edge.act_")
    and name not in {"edge.backfill", "edge.backfilled", "edge.before_publish", "edge.after_publish"}
]


def test_every_place_is_listed_and_every_listed_place_is_there():
    found = {
        name
        for package in ("edge", "sync", "cloud")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r'failpoint\.reach\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert found == set(failpoint.PLACES)


def die_at(folder: Path, place: str, nth: int, seed: int) -> tuple[bytes, bool]:
    """Fork a writer that dies at a place; give what it said, and whether it died there."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            failpoint._name, failpoint._left = place, nth
            signal.alarm(20)
            write_for_ever(folder, into, random.Random(seed))
        finally:
            os._exit(70)
    os.close(into)
    said = b""
    while piece := os.read(out, 1 << 16):
        said += piece
    os.close(out)
    _, status = os.waitpid(child, 0)
    return said, os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def sound(folder: Path, promised: Promised) -> None:
    assert look(folder, promised, Bodies(), small=False) == []


@pytest.mark.parametrize("place", [name for name in STORE if name != "edge.migrate"])
@pytest.mark.parametrize("nth", [1, 3])
def test_killed_there_and_again_in_the_recovery_nothing_promised_is_lost(tmp_path: Path, place: str, nth: int):
    if place in {"edge.before_begin", "edge.after_begin"}:
        nth = 1  # there is one a start
    promised = Promised()
    said, there = die_at(tmp_path, place, nth, seed=nth)
    assert there, f"{place} was not reached: {said[-300:].decode(errors='replace')}"
    promised.take(said)
    sound(tmp_path, promised)
    again = {
        "edge.before_commit",
        "edge.after_commit",
        "edge.before_begin",
        "edge.after_begin",
        "edge.before_checkpoint",
    }
    for second in sorted(again):  # places that a start passes
        said, there = die_at(tmp_path, second, 1, seed=7)
        assert there, second
        promised.take(said)
        sound(tmp_path, promised)
    said, there = die_at(tmp_path, "edge.after_commit", 6, seed=8)
    assert there
    promised.take(said)
    assert promised.commits > 0
    sound(tmp_path, promised)


@pytest.mark.parametrize("old", sorted(OLD.glob("*.db")), ids=lambda path: path.stem)
def test_killed_in_every_step_of_a_migration_the_old_store_goes_on(tmp_path: Path, old: Path):
    for step in range(1, len(migrations()) - int(old.stem) + 1):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        shutil.copy(old, tmp_path / "edge.db")
        for again in (step, 1):  # … and in the recovery from it: the steps before are done
            said, there = die_at(tmp_path, "edge.migrate", again, seed=1)
            assert there, said
            with opened(tmp_path / "edge.db") as connection:
                assert connection.pragma("user_version") == int(old.stem) + step - 1
            sound(tmp_path, Promised())
    promised = Promised()
    said, there = die_at(tmp_path, "edge.after_commit", 9, seed=3)
    assert there
    promised.take(said)
    sound(tmp_path, promised)
