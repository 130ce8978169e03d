"""What a model said to one row, as it crosses from its process to the line; a replay makes it by the same function."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.package.content import Package

if TYPE_CHECKING:
    from models.session import Session  # a gateway's own process never loads onnxruntime

SPARE_US: Final = 5_000
"""Contributions are told where they cost at most this beside the answer: one more run per feature."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer, or why there is none."""

    outputs: dict[str, float] = {}
    label: str = ""
    decision: str = "unknown"
    confidence: float = 0.0
    contributions: dict[str, float] = {}
    """Feature → how much of the label's output hangs on its value not being the usual one."""
    failure: str | None = None
    """KIND or `KIND: detail`; kinds: deadline, not_finite, error."""
    run_us: int = 0
    """Of the model alone, wall clock."""


def usual(package: Package) -> dict[str, float]:
    """Give the training median of every feature that has one: what contributions compare with."""
    known = package.reference.features
    return {name: one.quantiles[len(one.quantiles) // 2] for name, one in known.items() if one.quantiles}


def reply(session: Session, row: NDArray[np.float32], baseline: Mapping[str, float], *, explain: bool = True) -> Reply:
    """Ask a model about one row (1, features). Whatever goes wrong in the model is a failure, not an error.

    explain: tell contributions too, for an answer other than normal and where they are cheap.
    """
    from models.session import SessionError

    began = time.perf_counter_ns()
    try:
        answer = session.run(row)
        took = (time.perf_counter_ns() - began) // 1000
        contributions: dict[str, float] = {}
        if explain and answer.decision != "normal" and took * (len(baseline) + 1) <= SPARE_US:
            found = session.contributions(row, baseline)
            contributions = {
                name: float(f"{effect:.4g}") for name, effect in found.items()
            }  # not one more, on the wire
    except SessionError as error:
        kind = error.code if error.code in {"deadline", "not_finite"} else "error"
        return Reply(failure=f"{kind}: {error}"[:300], run_us=(time.perf_counter_ns() - began) // 1000)
    return Reply(
        outputs=answer.outputs,
        label=answer.label,
        decision=answer.decision,
        confidence=answer.confidence,
        contributions=contributions,
        run_us=took,
    )
