"""Who did what beside the running gateway: notes in `<data>/audit/` until the gateway puts them on record.

The store has one writer, the gateway. A command that changes something while it may be running leaves a note before it
acts; the gateway takes notes in within a second, or at its next start. A crash between the two repeats a note, with the
same `note` in its detail; none is lost.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.durable import private_folder, put, sync_folder
from sync.clock import Clock
from sync.facts import Audited, Fact

log = logging.getLogger(__name__)

TAKE_S: Final = 1.0


def leave(data: Path, fact: Audited) -> None:
    """Leave a note for the gateway whose folder `data` is. Raises OSError."""
    name = f"{fact.at:020}-{uuid.uuid4().hex[:8]}"
    noted = msgspec.structs.replace(fact, detail={**fact.detail, "note": name})
    put(private_folder(data / "audit") / f"{name}.json", msgspec.json.encode(noted))


async def take_in(commit: Callable[[list[Fact]], Awaitable[Any]], data: Path, clock: Clock) -> None:
    """Put what commands noted on record, oldest first, until cancelled.

    `commit` returns when the disk has it; what it raises ends this. A folder that cannot be read or cleared does not:
    it is said once, and notes that stay are not recorded twice.
    """
    folder, recorded, said = data / "audit", set[str](), ""
    while True:
        trouble = ""
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            try:
                if path.name not in recorded:
                    fact = msgspec.json.decode(path.read_bytes(), type=Audited)
                    await commit([fact])
                    recorded.add(path.name)
                path.unlink()
                sync_folder(folder)
                recorded.discard(path.name)
            except msgspec.DecodeError:
                log.exception("an audit note cannot be read and is put aside: file=%s", path)
                path.rename(path.with_suffix(".unreadable"))
            except PermissionError as error:
                trouble = f"{path}: {error.strerror}"
        if trouble and trouble != said:
            log.error("audit notes cannot be taken in; give the folder to the gateway's user: %s", trouble)
        said = trouble
        await clock.sleep(TAKE_S)
