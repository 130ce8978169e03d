"""Switches that work when nothing else does: a file in the gateway's folder, looked at before every single write.

`touch data/kill` is enough. Who throws it by the command, the page or the cloud leaves his name and reason in it. That
it vanishes lifts nothing: what was thrown is in the store too, and only an order with a name and a reason takes it back.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.durable import private_folder, put, sync_folder

KILL = "kill"
MODELS_OFF = "models_off"


class Thrown(msgspec.Struct, frozen=True, kw_only=True):
    """Who threw a switch, and why."""

    actor: str
    reason: str
    at: int = 0

    def __str__(self) -> str:
        return f"{self.reason} ({self.actor})"


class Switch:
    """One switch of a gateway's folder."""

    def __init__(self, data: Path, name: str) -> None:
        self.path = data / name
        self._read: tuple[tuple[int, int, int], Thrown] | None = None

    def thrown(self) -> Thrown | None:
        """Tell whether it is thrown: one call to the file system. What cannot be looked at counts as thrown."""
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return Thrown(actor="system", reason=f"{self.path} cannot be looked at: {error.strerror}")
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._read is None or self._read[0] != mark:
            self._read = mark, self._content()
        return self._read[1]

    def _content(self) -> Thrown:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Thrown)
        except (OSError, msgspec.MsgspecError):
            return Thrown(actor="somebody", reason=f"{self.path.name} was put there by hand")

    def throw(self, thrown: Thrown) -> None:
        """Throw it; on disk when this returns. One that is thrown already stays as it is. Raises OSError."""
        private_folder(self.path.parent)
        if self.thrown() is None:
            put(self.path, msgspec.json.encode(thrown))

    def lift(self) -> None:
        """Take it back. Raises OSError."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)
