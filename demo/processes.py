"""Processes of the demo: started in waves, watched, started again where systemd would, stopped cleanly in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

READY_S: Final = 40.0
"""A part that does not answer after so long is stuck."""
STOP_S: Final = 10.0
AGAIN_S: Final = 0.5
"""Wait before a part is started again; twice as long each time it dies young."""
YOUNG_S: Final = 10.0


class PartError(Exception):
    """A part of the demo did not come up, or ended and nothing starts it again; the message shows its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process, as data."""

    name: str
    arguments: tuple[str, ...]
    """After `python -m`."""
    wave: int
    """Parts of a wave start together, once the wave before is ready; they stop in reverse order."""
    url: str | None = None
    """Answers 200 when it is ready; without it, `port` accepts connections."""
    port: int = 0
    again: bool = False
    """Started again when it dies, as systemd does with gateways and the cloud."""


@dataclass(slots=True)
class Life:
    """A part's process, now."""

    process: asyncio.subprocess.Process
    born: float
    starts: int = 1


@dataclass(slots=True)
class Crew:
    """All parts of a demo; enter starts them and waits until they are ready, exit stops them."""

    parts: Sequence[Part]
    folder: Path
    say: Callable[[str], None]
    lives: dict[str, Life] = field(default_factory=dict[str, Life])
    failed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Ends with a PartError when a part that is not started again has ended."""
    _stopping: bool = False
    _watchers: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    async def __aenter__(self) -> Self:
        """Start everything, wave by wave. Raises PartError; nothing is left running then."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        try:
            for wave in sorted({part.wave for part in self.parts}):
                parts = [part for part in self.parts if part.wave == wave]
                for part in parts:
                    self._log(part.name).write_bytes(b"")
                    await self._start(part)
                    self._watchers.append(asyncio.create_task(self._watch(part), name=f"watch {part.name}"))
                await asyncio.gather(*(self.ready(part.name) for part in parts))
        except BaseException:  # whatever it was, cancellation too: nothing is left running, and it goes on up
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def pid(self, name: str) -> int:
        return self.lives[name].process.pid

    def pids(self) -> dict[str, int]:
        return {name: life.process.pid for name, life in self.lives.items()}

    def kill(self, name: str) -> None:
        """End a part with SIGKILL, as a crash or a power cut would."""
        self.lives[name].process.kill()

    async def ready(self, name: str) -> None:
        """Return when a part answers. Raises PartError when it does not in time or ends for good."""
        part = next(part for part in self.parts if part.name == name)
        limit = time.monotonic() + READY_S
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            while not await _answers(part, http):
                if self.failed.done():
                    await self.failed
                if time.monotonic() > limit:
                    raise PartError(f"{name} does not answer after {READY_S:.0f} s\n{self.last_words(name)}")
                await asyncio.sleep(0.05)

    async def end(self, name: str) -> None:
        """Stop one part for good, gently (SIGTERM), and wait until it has ended."""
        life = self.lives.pop(name, None)
        if life is not None:
            await self._terminate(life)

    def last_words(self, name: str, lines: int = 12) -> str:
        """Give the end of a part's log."""
        text = self._log(name).read_text(encoding="utf-8", errors="replace").rstrip()
        return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:]) or "  | (it said nothing)"

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    async def _start(self, part: Part) -> None:
        with self._log(part.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *part.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop them in order
            )
        before = self.lives.get(part.name)
        self.lives[part.name] = Life(process, time.monotonic(), before.starts + 1 if before else 1)

    async def _watch(self, part: Part) -> None:
        """Wait for a part's end, again and again where it is started again."""
        wait = AGAIN_S
        while True:
            life = self.lives[part.name]
            code = await life.process.wait()
            if self._stopping or part.name not in self.lives:
                return
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            if not part.again:
                if not self.failed.done():
                    words = f"{part.name} ended ({how})\n{self.last_words(part.name)}"
                    self.failed.set_exception(PartError(words))
                return
            wait = wait * 2 if time.monotonic() - life.born < YOUNG_S else AGAIN_S
            if life.starts > 5 and wait > 60:
                if not self.failed.done():
                    self.failed.set_exception(
                        PartError(f"{part.name} keeps ending ({how})\n{self.last_words(part.name)}")
                    )
                return
            self.say(f"{part.name} ended ({how}); starting it again in {wait:.1f} s, as systemd would")
            await asyncio.sleep(wait)
            if self._stopping or part.name not in self.lives:
                return
            await self._start(part)

    async def _stop(self) -> None:
        self._stopping = True
        for wave in sorted({part.wave for part in self.parts}, reverse=True):
            lives = [self.lives[p.name] for p in self.parts if p.wave == wave and p.name in self.lives]
            await asyncio.gather(*(self._terminate(life) for life in lives))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()  # whoever wanted to know has been told

    async def _terminate(self, life: Life) -> None:
        process = life.process
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _answers(part: Part, http: httpx.AsyncClient) -> bool:
    if part.url is not None:
        try:
            return (await http.get(part.url)).is_success
        except httpx.TransportError:
            return False
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", part.port)
    except OSError:
        return False
    writer.close()
    return True
