"""What must lose when the power goes: without it, an engine that finds no loss has shown nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store import file
from tests.campaign.power import SERIES, run
from tests.campaign.writer import write_for_ever


def _synchronous(how: str) -> Callable[..., None]:
    def work(folder: Path, out: int, dice: random.Random, *, quota_bytes: int) -> None:
        real = file.connect

        def connect(path: Path, *arguments: Any, **named: Any) -> apsw.Connection:
            connection = real(path, *arguments, **named)
            connection.pragma("synchronous", how)
            return connection

        file.connect = connect
        write_for_ever(folder, out, dice, quota_bytes=quota_bytes)

    return work


CONTROLS: Final = {"synchronous=NORMAL": _synchronous("normal"), "synchronous=OFF": _synchronous("off")}


def try_all(log: Callable[[str], None], *, series: int = 6) -> dict[str, int]:
    """Give, for each control, how many series lost what was acknowledged; no more are done once one has."""
    caught: dict[str, int] = {}
    for name, work in CONTROLS.items():
        caught[name] = 0
        for number in range(series):
            result = run(count=SERIES, seed=number * SERIES, log=lambda _said: None, work=work, control=False)
            caught[name] = len(result.violations)
            if caught[name]:
                break
        log(f"control {name:45} {'lost what was acknowledged' if caught[name] else 'lost nothing'}")
    return caught
