"""How far the gateway and each line may go: the site file says it first, a person's order with a reason after that. Pure."""

from __future__ import annotations

import msgspec

from edge.acting.guard import lower
from edge.acting.switches import Thrown
from edge.permits import Acting, Mode


class Ordered(msgspec.Struct, frozen=True):
    """A mode that somebody ordered."""

    mode: Mode
    file: Mode | None
    """What the site file said then: when it says something else, that is the newer word."""
    actor: str
    reason: str
    at: int


class _Kept(msgspec.Struct):
    ordered: dict[str, Ordered] = {}
    killed: Thrown | None = None
    models_off: Thrown | None = None


class Modes:
    """Modes and switches as they are in force, with the memory of who ordered what."""

    def __init__(self, settings: Acting) -> None:
        self._file: dict[str, Mode | None] = {line.work_unit: line.mode for line in settings.lines}
        self._file[""] = settings.mode
        self._kept = _Kept()

    def of(self, work_unit: str) -> Mode:
        """Give the mode of a line, or of the gateway (""): the gateway's is the most that any line may."""
        gateway = self._said("") or "monitor"
        line = self._said(work_unit) if work_unit else None
        return gateway if line is None else lower(gateway, line)

    def own(self, work_unit: str) -> Mode | None:
        """Give what was said of this line alone; None when nothing was."""
        return self._said(work_unit)

    def written(self, work_unit: str) -> Mode:
        """Give what the site file says of a line, or of the gateway, whatever was ordered since."""
        gateway = self._file.get("") or "monitor"
        return lower(gateway, (self._file.get(work_unit) if work_unit else None) or gateway)

    def ordered(self, work_unit: str) -> Ordered | None:
        """Give the order that is in force; None when the site file's word is."""
        order = self._kept.ordered.get(work_unit)
        return order if order is not None and order.file == self._file.get(work_unit) else None

    def order(self, work_unit: str, mode: Mode, *, actor: str, reason: str, now: int) -> None:
        """Take an order."""
        self._kept.ordered[work_unit] = Ordered(mode, self._file.get(work_unit), actor, reason, now)

    @property
    def killed(self) -> Thrown | None:
        """Who threw the kill switch, as it is on record."""
        return self._kept.killed

    @killed.setter
    def killed(self, thrown: Thrown | None) -> None:
        self._kept.killed = thrown

    @property
    def models_off(self) -> Thrown | None:
        """Who switched the models off, as it is on record."""
        return self._kept.models_off

    @models_off.setter
    def models_off(self, thrown: Thrown | None) -> None:
        self._kept.models_off = thrown

    def _said(self, work_unit: str) -> Mode | None:
        order = self.ordered(work_unit)
        return self._file.get(work_unit) if order is None else order.mode

    def dump(self) -> bytes:
        """Give the checkpoint."""
        return msgspec.msgpack.encode(self._kept)

    def restore(self, checkpoint: bytes) -> None:
        """Take a checkpoint back. Raises ValueError when it is none of ours."""
        try:
            self._kept = msgspec.msgpack.decode(checkpoint, type=_Kept)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no record of modes: {error}") from error
