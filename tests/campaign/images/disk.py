"""A disk that loses power: what was synced is there, of the rest anything may be, sectors of 512 bytes apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from tests.campaign.images.recorder import Op

SECTOR: Final = 512
How = Literal["none", "all", "prefix", "random"]
HOWS: Final[tuple[How, ...]] = ("none", "all", "prefix", "random")


class Disk:
    """The durable part of a folder while its operations are replayed one by one, and what is on its way there."""

    def __init__(self, begin: dict[str, tuple[int, bytes]]) -> None:
        self.at = 0
        self._content: dict[int, bytearray] = {number: bytearray(content) for number, content in begin.values()}
        self._names: dict[str, int] = {name: number for name, (number, _) in begin.items()}
        self._pending: list[Op] = []

    def go(self, ops: Sequence[Op], to: int) -> None:
        """Replay up to before operation `to`."""
        for op in ops[self.at : to]:
            match op.kind:
                case "sync":
                    for write in self._pending:
                        if write.file == op.file and write.kind in {"write", "truncate"}:
                            _apply(self._content.setdefault(op.file, bytearray()), write)
                    self._pending = [
                        p for p in self._pending if p.file != op.file or p.kind not in {"write", "truncate"}
                    ]
                case "folder":
                    for name in self._pending:
                        if name.kind not in {"write", "truncate"}:
                            _rename(self._names, name)
                    self._pending = [p for p in self._pending if p.kind in {"write", "truncate"}]
                case _:
                    self._pending.append(op)
        self.at = max(self.at, to)

    def image(self, folder: Path, how: How, dice: random.Random) -> int:
        """Write what a cut at this moment leaves; give how many operations were lost or torn."""
        content = dict(self._content)  # copied when written to
        names = dict(self._names)
        own: set[int] = set()
        gone = 0
        keep = {"none": 0, "all": len(self._pending), "random": 0}.get(how)
        if keep is None:
            keep = dice.randint(0, len(self._pending))
        names_kept = dice.randint(0, len(self._pending)) if how == "random" else keep
        for at, op in enumerate(self._pending):
            if op.kind not in {"write", "truncate"}:  # a filesystem's journal keeps names in order
                if at < names_kept:
                    _rename(names, op)
                else:
                    gone += 1
                continue
            whole = at < keep or (how == "random" and dice.random() < 0.5)
            torn = not whole and op.kind == "write" and (
                (how == "prefix" and at == keep) or (how == "random" and dice.random() < 0.3)
            )  # fmt: skip
            gone += not whole
            if not whole and not torn:
                continue
            if op.file not in own:
                own.add(op.file)
                content[op.file] = bytearray(content.get(op.file, b""))
            if whole:
                _apply(content[op.file], op)
            else:
                _tear(content[op.file], op, dice, in_order=how == "prefix")
        for name, number in names.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            twin = next(
                (n for n, other in names.items() if other == number and n < name and (folder / n).exists()), None
            )
            if twin is not None:
                path.hardlink_to(folder / twin)
            else:
                path.write_bytes(content.get(number, b""))
        return gone


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        if op.offset <= len(content):
            del content[op.offset :]
        else:
            content.extend(bytes(op.offset - len(content)))
        return
    if op.offset > len(content):
        content.extend(bytes(op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


def _tear(content: bytearray, op: Op, dice: random.Random, *, in_order: bool) -> None:
    """Keep some of the sectors that a write touches: the first ones, or any."""
    first = op.offset // SECTOR
    last = (op.offset + len(op.data) - 1) // SECTOR
    cut = dice.randint(first, last + 1)
    for sector in range(first, last + 1):
        if sector < cut if in_order else dice.random() < 0.5:
            begin = max(op.offset, sector * SECTOR)
            end = min(op.offset + len(op.data), (sector + 1) * SECTOR)
            part = op.data[begin - op.offset : end - op.offset]
            _apply(content, Op("write", op.file, offset=begin, data=part))


def _rename(names: dict[str, int], op: Op) -> None:
    match op.kind:
        case "create" | "link":
            names[op.name] = op.file
        case "unlink":
            names.pop(op.name, None)
        case "rename":
            names.pop(op.name, None)
            names[op.to] = op.file
        case _:
            raise ValueError(op.kind)
