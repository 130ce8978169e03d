"""`python -m models.worker PACKAGE SHA256`: the process a model runs in, beside the gateway, so that it can be ended.

In: rows, float32 little-endian, one after the other, each as wide as the contract. Out: frames (four bytes of length,
then msgpack): first a `Ready`, then a `Reply` per row, in order. The end of its input is its own. SIGUSR1 ends the run
it is in at the model's next operator; a run inside one long operator only ends with the process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec
import numpy as np

from models.package import PackageRefusedError, read
from models.reply import reply, usual

MEMORY_BYTES: Final = 3 << 30
"""Of address space, of which onnxruntime's libraries take most."""
FILES: Final = 64
LENGTH: Final = struct.Struct("<I")
_DIE_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says first."""

    refused: str = ""
    """Why it cannot answer; it ends after saying so."""
    rows: int = 0
    """Golden rows it answered as it must: it is warm."""


def limit() -> None:
    """Bound this process, and tie its life to the gateway's, also when that one is killed while a model hangs."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    for one in (signal.SIGINT, signal.SIGTERM):  # a terminal's Ctrl-C is the gateway's to deal with
        signal.signal(one, signal.SIG_IGN)


def stop_on_signal(stop: Callable[[], None]) -> None:
    """Call `stop` from a thread of its own at SIGUSR1: the main thread is inside the model then, and hears nothing."""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGUSR1, _heard)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)

    def listen() -> None:
        while os.read(heard, 1):
            stop()

    threading.Thread(target=listen, daemon=True, name="stop").start()


def _heard(number: int, _frame: FrameType | None) -> None:
    """Python's half of the signal; what it is for happens in the thread that the wake-up descriptor wakes."""


def main(path: Path, sha256: str) -> int:
    """Serve one package until the input ends. 0 then; 1 when the package cannot be served, which `Ready` says."""
    limit()
    from models.session import ModelError, Session  # only now: its libraries meet the limits, too

    try:
        package = read(path, trusted=None)  # who vouches for it was asked before it was activated
        if package.sha256 != sha256:
            return _say(Ready(refused=f"{path} is not the package that was verified; it was changed")) or 1
        session = Session(package.model, package.contract)
    except (PackageRefusedError, ModelError) as error:
        return _say(Ready(refused=str(error))) or 1
    baseline = usual(package)
    for i, golden in enumerate(package.golden.rows):
        row = np.array([[np.nan if value is None else value for value in golden.inputs]], np.float32)
        said = reply(session, row, baseline)
        if said.failure is not None or said.label != golden.label:
            return _say(Ready(refused=f"golden row {i}: {said.failure or said.label}, must be {golden.label}")) or 1
    stop_on_signal(session.stop)
    _say(Ready(rows=len(package.golden.rows)))
    size = 4 * package.contract.width
    while (raw := _read(size)) is not None:
        _say(reply(session, np.frombuffer(raw, "<f4").reshape(1, -1), baseline))
    return 0


def _read(size: int) -> bytes | None:
    """Give so many bytes; None at the end of the input."""
    raw = b""
    while len(raw) < size:
        piece = os.read(0, size - len(raw))
        if not piece:
            return None
        raw += piece
    return raw


def _say(what: Any) -> None:
    body = msgspec.msgpack.encode(what)
    left = memoryview(LENGTH.pack(len(body)) + body)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
