"""May this package run here? Layout, signature and hashes first, then its model in a child process within limits.

`verify` never crashes and never hangs, whatever the bytes: a parser that falls over, eats memory or loops takes the
child, and the caller hears one reason. It blocks for about a second: call it off the loop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from models.features import FeatureError, Features
from models.package.archive import PackageRefusedError
from models.package.child import Findings, Refusal, Task
from models.package.content import Package, read
from models.package.contract import Contract

TIMEOUT_S: Final = 30.0
ROOT: Final = Path(__file__).resolve().parents[2]
_ANSWER_BYTES: Final = 1024 * 1024
_answer: Final[msgspec.msgpack.Decoder[Findings | Refusal]] = msgspec.msgpack.Decoder(Findings | Refusal)
"""Made at import, as in `models.package.content`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A package that may run, as it was when it was looked at: run these bytes, not the file's a second later."""

    package: Package
    findings: Findings

    @property
    def contract(self) -> Contract:
        """What the model takes and what its numbers mean."""
        return self.package.contract


def verify(
    path: Path | bytes, *, trusted: Collection[str], software: str | None = None, timeout_s: float = TIMEOUT_S
) -> Verified:
    """Check all there is to check. Raises PackageRefusedError with what, where and what to check; nothing else.

    trusted: public keys, hex. software: version that runs it, for `minimum_software`; None: the installed one.
    timeout_s: of wall clock, for the child.
    """
    package = read(path, trusted=trusted)
    contract = package.contract
    running = version("triflow") if software is None else software
    if _numbers(running) < _numbers(contract.minimum_software):
        raise PackageRefusedError(
            f"it needs triflow {contract.minimum_software} or newer; this is {running}",
            where="manifest.json",
            check="update the gateway first",
            code="contract",
        )
    try:
        Features(contract)
    except FeatureError as error:
        raise PackageRefusedError(
            str(error),
            where="manifest.json features",
            check="check the expressions, and the list of inputs",
            code="contract",
        ) from error
    return Verified(package=package, findings=_inspected(package, timeout_s))


def _inspected(package: Package, timeout_s: float) -> Findings:
    task = Task(package.contract, package.golden, package.model)
    with tempfile.TemporaryDirectory(prefix="triflow-model-") as name:
        folder = Path(name)
        (folder / "task").write_bytes(msgspec.msgpack.encode(task))
        ended = _run(folder, timeout_s)
        try:
            with (folder / "answer").open("rb") as file:
                answer = _answer.decode(file.read(_ANSWER_BYTES))
        except (OSError, msgspec.DecodeError):
            answer = Refusal(what=ended, where="model.onnx", check="export the model again", code="model")
    if isinstance(answer, Refusal):
        raise PackageRefusedError(answer.what, where=answer.where, check=answer.check, code=answer.code)
    return answer


def _run(folder: Path, timeout_s: float) -> str:
    """Run the child to its end; gives how it ended, in words, for when it left no answer."""
    with subprocess.Popen(  # its own group, so that whatever it may start ends with it
        [sys.executable, "-B", "-s", "-P", "-m", "models.package.child"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"it was not through after {timeout_s:g} s: too slow, or it never ends"
        finally:
            _end(child)
    if status == -signal.SIGXCPU:
        return "it used up its CPU time: too slow, or it never ends"
    if status < 0:
        return f"the parser fell over it (signal {-status})"
    return f"the process that looked at it ended without an answer (status {status})"


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the group. Only as long as the child is not waited for is its number surely its own."""
    if child.returncode is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("+")[0].split(".")[:3] if part.isdecimal())
