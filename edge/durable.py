"""Small files that must survive a power cut whole: written beside, synced, renamed, and the folder synced."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of either."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            _give_to_owner_of(path.parent, new)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except BaseException:  # interrupted too: no draft is left behind; it goes on up
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move(path: Path, target: Path) -> None:
    """Move a file within one volume; both folders know of it afterwards."""
    path.replace(target)
    sync_folder(target.parent)
    sync_folder(path.parent)


def private_folder(path: Path) -> Path:
    """Give the folder, made if need be for its owner alone."""
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)
        _give_to_owner_of(parent.parent, parent)
    return path


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(folder: Path, path: Path) -> None:
    """Give what root makes to whom the folder belongs: `sudo triflow edge …` works in the gateway's own folder."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
