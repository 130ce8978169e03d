"""Writers that promise what is not on the disk: an engine that kills them must notice."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge.store import Store, rows
from tests.campaign.kill.store import run
from tests.campaign.writer import write_for_ever

KILLS: Final = 60


def _early(folder: Path, out: int, dice: random.Random, *, quota_bytes: int) -> None:
    """`commit` comes back while the work is still to be done."""
    real = Store.commit
    under_way: set[asyncio.Task[None]] = set()

    async def commit(self: Store, **what: Any) -> None:
        task = asyncio.create_task(real(self, **what))
        under_way.add(task)
        await asyncio.sleep(0)

    Store.commit = commit
    write_for_ever(folder, out, dice, quota_bytes=quota_bytes)


def _memory(folder: Path, out: int, dice: random.Random, *, quota_bytes: int) -> None:
    """Everything happens in memory; a copy goes to the folder now and then."""
    del folder, quota_bytes, dice
    inc = "0" * 32
    for number in range(1_000_000):
        os.write(out, f"A {time.monotonic_ns()} {inc} {number} 2:{number + 1}:{number + 1}\n".encode())


def _forgets_at_once(folder: Path, out: int, dice: random.Random, *, quota_bytes: int) -> None:
    """A chunk is deleted without the books knowing of it."""
    real = rows.append

    def append(connection: Any, lane: Any, *arguments: Any, **named: Any) -> Any:
        given = real(connection, lane, *arguments, **named)
        if dice.random() < 0.05:
            connection.execute("DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk)")
        return given

    rows.append = append
    write_for_ever(folder, out, dice, quota_bytes=quota_bytes)


MUTANTS: Final[dict[str, Callable[..., None]]] = {
    "commit comes back before the work is done": _early,
    "nothing reaches the disk": _memory,
    "a chunk goes without the books knowing": _forgets_at_once,
}


def try_all(log: Callable[[str], None], *, kills: int = KILLS) -> dict[str, int]:
    """Give, for each mutant, how many series noticed it."""
    caught: dict[str, int] = {}
    for name, work in MUTANTS.items():
        result = run(count=kills, seed=0, log=lambda _said: None, work=work, mutants=False)
        caught[name] = len(result.violations)
        log(f"mutant {name:45} noticed by {caught[name]} of {kills // 20} series")
    return caught
