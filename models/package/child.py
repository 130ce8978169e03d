"""`python -m models.package.child`: looks at one model from inside limits, so that a bad one takes only this process.

Reads a `Task` (msgpack) from the file `task` in its working folder and writes `Findings` or `Refusal` to `answer`.
The limits are set before the model's first byte is looked at; the parent adds a deadline and ends the whole group.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from models.package.archive import PackageRefusedError
from models.package.content import Golden
from models.package.contract import Contract
from models.package.onnx_file import OnnxFileError, examine

if TYPE_CHECKING:
    from models.session import Session

MEMORY_BYTES: Final = 1024**3
"""Of address space; onnxruntime and a small model take a quarter of it."""
CPU_S: Final = 20
FILE_BYTES: Final = 1024**2
FILES: Final = 64
WARM: Final = 20
TIMED: Final = 300
TIMED_NS: Final = 3_000_000_000
BEYOND: Final = 1e30


class Task(msgspec.Struct, frozen=True):
    """What to look at."""

    contract: Contract
    golden: Golden
    model: bytes


class Findings(msgspec.Struct, frozen=True, kw_only=True, tag="found"):
    """What a sound model showed."""

    runtime: str
    opset: dict[str, int]
    operators: dict[str, int]
    load_ms: float
    p50_us: float
    p95_us: float
    """CPU time of one row, of this machine."""
    rows: int
    worst: float
    """Largest difference of an output from its golden one; of numbers above 1, as a share of them."""
    all_missing: str
    """What a row of NaN alone gives: finite, not_finite or error. The features never let one through."""
    far_outside: str
    """What a row of 1e30 alone gives."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """What was wrong, as PackageRefusedError has it."""

    what: str
    where: str
    check: str
    code: str


def limit() -> None:
    """Set this process's limits."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def inspect(task: Task) -> Findings:
    """Look at the model. Raises PackageRefusedError."""
    try:
        file = examine(task.model)
    except OnnxFileError as error:
        raise PackageRefusedError(str(error), where="model.onnx", check="export it again", code="model") from error
    if file.opset != task.contract.opset:
        raise PackageRefusedError(
            f"the model needs opsets {_opsets(file.opset)}, the contract says {_opsets(task.contract.opset)}",
            where="model.onnx",
            check="write down what was exported",
            code="contract",
        )
    from models.session import RUNTIME, ModelError, Session  # only now: its libraries meet the limits, too

    began = time.perf_counter_ns()
    try:
        session = Session(task.model, task.contract)
    except ModelError as error:
        raise PackageRefusedError(str(error), where="model.onnx", check="export it again", code="model") from error
    load_ms = (time.perf_counter_ns() - began) / 1e6
    worst = _golden(session, task.golden)
    _corners(session)
    p50, p95 = _timed(session, task.golden)
    if p95 > task.contract.deadline_ms * 1000:
        raise PackageRefusedError(
            f"a row takes {p95 / 1000:.1f} ms of CPU (p95) here; its contract allows {task.contract.deadline_ms:g} ms",
            where="model.onnx",
            check="a smaller model, a faster gateway, or a longer deadline_ms",
            code="slow",
        )
    return Findings(
        runtime=RUNTIME,
        opset=file.opset,
        operators=file.operators,
        load_ms=round(load_ms, 1),
        p50_us=p50,
        p95_us=p95,
        rows=len(task.golden.rows),
        worst=worst,
        all_missing=_said(session, math.nan),
        far_outside=_said(session, BEYOND),
    )


def _golden(session: Session, golden: Golden) -> float:
    """Compare every golden row; gives the largest difference, as `Findings.worst`."""
    from models.session import SessionError

    worst = 0.0
    for i, row in enumerate(golden.rows):
        where = f"golden.json row {i}"
        inputs = np.array([[math.nan if value is None else value for value in row.inputs]], np.float32)
        try:
            answer = session.run(inputs)
        except SessionError as error:
            raise PackageRefusedError(str(error), where=where, check="check the training", code="golden") from error
        for (name, found), wanted in zip(answer.outputs.items(), row.outputs, strict=True):
            off = abs(found - wanted) / max(1.0, abs(wanted))  # float32: large numbers are off by their share
            worst = max(worst, off)
            if not off <= golden.tolerance:
                raise PackageRefusedError(
                    f"output {name} is {found:.7g}, and must be {wanted:.7g}",
                    where=where,
                    check="check the converter, and that this is the model that was tested",
                    code="golden",
                )
        if answer.label != row.label:
            raise PackageRefusedError(
                f"label {answer.label}, and must be {row.label}",
                where=where,
                check="check the thresholds",
                code="golden",
            )
    return worst


def _corners(session: Session) -> None:
    """Ask at the ends of every range, and with NaN where the contract hands it to the model: answers are numbers."""
    from models.session import SessionError

    features = session.contract.features
    middle = np.array([[(one.low + one.high) / 2 for one in features]], np.float32)
    for i, feature in enumerate(features):
        asked = [feature.low - feature.tolerance, feature.low, feature.high, feature.high + feature.tolerance]
        if feature.nullable and feature.impute is None:
            asked.append(math.nan)
        for value in asked:
            row = middle.copy()
            row[0, i] = value
            try:
                session.run(row)
            except SessionError as error:
                told = "missing" if math.isnan(value) else f"{value:g}"
                raise PackageRefusedError(
                    f"with {feature.name} {told}: {error}",
                    where="model.onnx",
                    check="check the range of the feature, or whether the model may miss it",
                    code="model",
                ) from error


def _timed(session: Session, golden: Golden) -> tuple[float, float]:
    """Give p50 and p95 of one row in µs of this thread's CPU time: a busy machine fails no model."""
    inputs = np.array([[math.nan if value is None else value for value in golden.rows[0].inputs]], np.float32)
    end = time.perf_counter_ns() + TIMED_NS
    taken: list[int] = []
    for i in range(WARM + TIMED):
        began = time.thread_time_ns()
        session.raw(inputs)
        if i >= WARM or time.perf_counter_ns() > end:
            taken.append(time.thread_time_ns() - began)
        if time.perf_counter_ns() > end:
            break
    taken.sort()
    return taken[len(taken) // 2] / 1000, taken[min(len(taken) - 1, len(taken) * 95 // 100)] / 1000


def _said(session: Session, value: float) -> str:
    from models.session import SessionError

    try:
        outputs = session.raw(np.full((1, session.contract.width), value, np.float32))
    except SessionError:
        return "error"
    return "finite" if all(map(math.isfinite, outputs)) else "not_finite"


def _opsets(opset: dict[str, int]) -> str:
    return ", ".join(f"{domain} {version}" for domain, version in sorted(opset.items()))


def main(folder: Path) -> int:
    """Do the task in this folder; 0 when there is an answer, of either kind."""
    limit()
    task = msgspec.msgpack.decode((folder / "task").read_bytes(), type=Task)
    answer: Findings | Refusal
    try:
        answer = inspect(task)
    except PackageRefusedError as error:
        answer = Refusal(what=error.what, where=error.where, check=error.check, code=error.code)
    except MemoryError:
        answer = Refusal(what="it needs too much memory", where="model.onnx", check="a smaller model", code="limits")
    (folder / "answer").write_bytes(msgspec.msgpack.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
