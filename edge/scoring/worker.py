"""The process of one package, seen from the gateway: one row at a time, with a deadline, and ended when it hangs.

Why a process and not a thread: a run inside one long operator cannot be ended in a thread, and a kernel that falls over
takes the process it is in; that must not be the gateway. It is no dearer: a thread shares the interpreter's lock with
the readings. Measured side by side, a 100-tree model of 6 µs, both cores busy with other work, four rounds: an answer
took 72 to 103 µs through a process and 67 to 115 µs through a thread (p50), and with a quarter of the loop at work 4.1 to
8.5 ms against 5.6 to 11.4 ms (p99); of the gateway's CPU 84 µs against 181 µs. The price is memory: 31 MB per package.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.reply import Reply
from models.worker import LENGTH, Ready
from sync.clock import Clock, backoff

log = logging.getLogger(__name__)

HARD_S: Final = 0.5
"""Within this the rules answer, whatever the model does; a run that lasts longer ends with its process."""
START_S: Final = 30.0
PATIENCE_S: Final = 5.0
"""So long after a start the first windows wait for their model's process; then the rules judge without it."""
MOST_REPLY: Final = 1 << 20
STEADY_NS: Final = 30 * 10**9
ROOT: Final = Path(__file__).resolve().parents[2]
_Frame = TypeVar("_Frame", Ready, Reply)
BUSY: Final = "deadline: its process was busy or starting"
HUNG: Final = "it hung and was ended"


class Said(msgspec.Struct, frozen=True):
    """A reply, and whether its failure is the model's own."""

    reply: Reply
    blamed: bool = True


class _EndedError(Exception):
    """The process did not start, or is not there any more; the message says why."""


class Worker:
    """Keeps the process of one package alive while `run` runs; `ask` may come from several lines at once."""

    def __init__(self, path: Path, sha256: str, clock: Clock) -> None:
        """path: the package's file, verified before; the process takes it only if its SHA-256 still is this one."""
        self.path, self.sha256 = path, sha256
        self.starts = 0
        """Processes that came up."""
        self.killed = 0
        """Of them: ended for a run that hung."""
        self.why = ""
        """Why there is no process, once it is known."""
        self._clock = clock
        self._made = clock.monotonic()
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle = asyncio.Event()
        """Set while the process is up and owes no answer."""
        self._answer: asyncio.Future[Reply] | None = None
        self._asked = 0
        """Rows sent."""
        self._told = 0
        """Of them: answered, or lost with their process."""
        self._limit: asyncio.TimerHandle | None = None
        self._started = asyncio.Event()
        """Set after the first attempt to start, good or not."""

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    async def started(self) -> str:
        """Wait for the first start; gives why it failed, nothing when it did not."""
        await self._started.wait()
        return self.why

    async def settled(self) -> None:
        """Wait for the first start, but no longer than is good for windows that wait in their line's checkpoint."""
        left_s = PATIENCE_S - (self._clock.monotonic() - self._made) / 1e9
        if not self._started.is_set() and left_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), left_s)

    async def run(self) -> None:
        """Keep a process until cancelled; one that ends is started again, with growing waits."""
        delays = backoff(0.1, 30.0)
        while True:
            began = self._clock.monotonic()
            try:
                await self._live()
            except _EndedError as error:
                self.why = str(error)
            self._started.set()
            log.warning("a model's process ended: package=%s why=%s", self.sha256[:12], self.why)
            if self._clock.monotonic() - began > STEADY_NS:
                delays = backoff(0.1, 30.0)
            await self._clock.sleep(next(delays))

    async def ask(self, row: NDArray[np.float32], within_s: float) -> Said:
        """Ask about one row (1, features), within so long; it waits as long for its turn, and at most 0.5 s in all."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + HARD_S
        patience = within_s if self._process is not None else max(within_s, HARD_S - within_s)
        try:
            async with asyncio.timeout(patience):
                await self._turn.acquire()
        except TimeoutError:
            return self._unasked()
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
            return await self._run(row, within_s, min(latest, loop.time() + within_s))
        except TimeoutError:
            return self._unasked()
        finally:
            self._turn.release()

    def _unasked(self) -> Said:
        return Said(Reply(failure=f"error: {self.why}"[:300] if self.why else BUSY), blamed=self.why not in {"", HUNG})

    async def _run(self, row: NDArray[np.float32], within_s: float, until: float) -> Said:
        loop = asyncio.get_running_loop()
        process = self._process
        if process is None or process.stdin is None:
            return self._unasked()
        self._idle.clear()
        self._asked += 1
        self._answer = loop.create_future()
        self._limit = loop.call_at(until, loop.call_soon, self._late, self._asked, within_s)
        process.stdin.write(row.astype("<f4", copy=False).tobytes())
        return Said(await self._answer)

    def _late(self, number: int, within_s: float) -> None:
        """The deadline passed (and one turn of the loop, in which an answer that is there was read).

        Who asked goes on without an answer; the process is told to stop, and ended if it does not.
        """
        if self._asked != number or self._told >= number:
            return
        self._resolve(Reply(failure=f"deadline: no answer within {within_s * 1e3:g} ms"))
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)
            self._limit = asyncio.get_running_loop().call_later(HARD_S, self._hung, number)

    def _hung(self, number: int) -> None:
        if self._asked == number and self._told < number and self._process is not None:
            self.killed += 1
            self.why = HUNG
            self._process.kill()

    def _resolve(self, said: Reply) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(said)

    async def _live(self) -> None:
        """Run one process to its end. Raises _EndedError."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-B", "-s", "-P", "-m", "models.worker", str(self.path.resolve()), self.sha256),
                env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise _EndedError(f"its process cannot be started: {error.strerror}; check memory and limits") from error
        try:
            await self._serve(process)
        except (asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            if process.returncode is None:
                with contextlib.suppress(TimeoutError):  # its exit may come a moment after the end of its output
                    await asyncio.wait_for(process.wait(), 1.0)
            raise _EndedError(self.why or f"its process ended (status {process.returncode})") from error
        except TimeoutError as error:
            raise _EndedError(f"its process was not ready within {START_S:g} s") from error
        finally:
            self._process = None
            self._idle.clear()
            self._told = self._asked
            if self._limit is not None:
                self._limit.cancel()
            self._resolve(Reply(failure=f"error: {self.why or 'its process ended'}"))
            if process.returncode is None:
                process.kill()
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()

    async def _serve(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async with asyncio.timeout(START_S):
            ready = await _frame(process.stdout, Ready)
        if ready.refused:
            raise _EndedError(ready.refused)
        self.starts += 1
        self._process, self.why = process, ""
        self._started.set()
        self._idle.set()
        while True:
            said = await _frame(process.stdout, Reply)
            self._told = self._asked
            if self._limit is not None:
                self._limit.cancel()
            self._resolve(said)
            self._idle.set()


async def _frame(stream: asyncio.StreamReader, kind: type[_Frame]) -> _Frame:
    (size,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
    if size > MOST_REPLY:
        raise msgspec.DecodeError(f"a frame of {size} bytes")
    return msgspec.msgpack.decode(await stream.readexactly(size), type=kind)
