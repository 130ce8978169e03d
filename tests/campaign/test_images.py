"""The engine of crash images: it finds nothing wrong with the store, and a store that is wrong does not get past it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.campaign.images import CUTS, run
from tests.campaign.images.mutants import try_all
from tests.campaign.images.script import LIVES, record

quiet = {"log": lambda _said: None}


@pytest.mark.parametrize("life", range(len(set(LIVES)) + 1))
def test_a_cut_anywhere_leaves_what_was_acknowledged(life: int):
    result = run(count=20, seed=life * CUTS, **quiet)
    assert result.violations == []
    assert result.count == 20
    assert all(result.faults[how] for how in ("none", "all", "prefix", "random"))


def test_a_seed_gives_the_same_bytes_every_time(tmp_path: Path):
    once, again = (record(2, tmp_path / "life") for _ in range(2))
    assert hashlib.sha256(repr(once.ops).encode()).digest() == hashlib.sha256(repr(again.ops).encode()).digest()
    assert once.acks == again.acks


def test_stores_that_are_broken_on_purpose_are_noticed(capsys):
    caught = try_all(print, trials=60)
    assert len(caught) >= 4
    assert all(caught.values()), caught
    assert "noticed by" in capsys.readouterr().out


def test_a_violation_keeps_its_image_and_says_how_to_repeat_it(tmp_path: Path):
    def early(seed: int, folder: Path):
        return record(seed, folder, early=True)

    result = run(count=40, seed=0, state=tmp_path, recorded=early, mutants=False, **quiet)
    assert result.violations
    number = int(result.violations[0].partition(":")[0].removeprefix("seed "))
    kept = tmp_path / f"images-{number}"
    assert f"--seed {number}" in (kept / "what.txt").read_text()
    assert list(kept.glob("edge.*"))
