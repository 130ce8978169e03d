"""Charts to SVG, pages to PDF and PNG, drawn one after the other by a process beside this one.

All of it waits, so call it off the event loop. While it draws, this process goes on: in its own interpreter the renderer
would stop everything else for 20 to 100 ms a chart.
"""

from __future__ import annotations

import atexit
import contextlib
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Final

CHILD: Final = Path(__file__).with_name("child.py")
LENGTH: Final = struct.Struct("<I")
PATIENCE_S: Final = 30.0
"""What takes longer is given up, and whoever waits next is drawn by a new process."""


class DrawingError(Exception):
    """The renderer refused, ended or took too long; says why."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    asked: IO[bytes]
    said: IO[bytes]


class Renderer:
    """One drawing process, started when the first picture is wanted, and anew when it ended."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._child: _Child | None = None

    def svg(self, spec: str) -> str:
        """Draw a Vega-Lite specification (JSON). Raises DrawingError."""
        return self._asked(b"chart", spec).decode()

    def pdf(self, page: str) -> bytes:
        """Give a page (SVG) as PDF. Raises DrawingError."""
        return self._asked(b"paper", page)

    def png(self, page: str) -> bytes:
        """Give a page (SVG) as a picture. Raises DrawingError."""
        return self._asked(b"photo", page)

    def close(self) -> None:
        """End the process; another picture starts a new one."""
        with self._turn:
            self._end()

    def _asked(self, kind: bytes, text: str) -> bytes:
        with self._turn:
            try:
                return self._answer(kind, text.encode("utf-8", "replace"))
            except (OSError, EOFError) as error:
                self._end()
                raise DrawingError("the drawing process ended while it drew, or drew for too long") from error

    def _answer(self, kind: bytes, text: bytes) -> bytes:
        if self._child is None or self._child.process.poll() is not None:
            self._end()
            self._child = _start()
        child = self._child
        for part in (kind, text):
            child.asked.write(LENGTH.pack(len(part)))
            child.asked.write(part)
        child.asked.flush()
        given_up = Timer(PATIENCE_S, child.process.kill)
        given_up.start()
        try:
            fault, body = _frame(child.said), _frame(child.said)
        finally:
            given_up.cancel()
            given_up.join()
        if fault:
            raise DrawingError(body.decode())
        return body

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        for pipe in (child.asked, child.said):
            with contextlib.suppress(OSError):  # what was not written yet has no reader any more
                pipe.close()
        child.process.wait()


def _start() -> _Child:
    command = [sys.executable, "-B", "-s", "-P", str(CHILD)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    if process.stdin is None or process.stdout is None:
        raise OSError("the drawing process has no pipes")
    return _Child(process, process.stdin, process.stdout)


def _frame(said: IO[bytes]) -> bytes:
    head = said.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return said.read(LENGTH.unpack(head)[0])


renderer: Final = Renderer()
"""The one of this process."""
atexit.register(renderer.close)
