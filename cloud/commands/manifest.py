"""What stands beside every backup: what it is, how large, and the digest it is checked by before it is used."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

BLOCK: Final = 1024 * 1024


class BackupError(Exception):
    """A backup that was not made, or cannot be used; says why and what to do."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One backup."""

    kind: str
    """sqlite or postgresql."""
    made_ms: int
    """When its snapshot was taken."""
    file: str
    bytes: int
    sha256: str
    schema: str
    """Revision of the schema inside."""
    streams: int
    stored: int
    """Sum of all watermarks."""


def path_of(backup: Path) -> Path:
    return backup.with_name(backup.name + ".json")


def digest(path: Path) -> str:
    """Give the hex SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def sync_to_disk(path: Path) -> None:
    """Have a file or a folder on disk before anything is said about it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(backup: Path, manifest: Manifest) -> None:
    """Write the manifest; from here on the backup counts."""
    path = path_of(backup)
    draft = path.with_name(path.name + ".partial")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    sync_to_disk(draft)
    draft.rename(path)
    sync_to_disk(path.parent)


def read(backup: Path) -> Manifest:
    """Give the manifest of a backup whose bytes are what they were. Raises BackupError."""
    try:
        manifest = msgspec.json.decode(path_of(backup).read_bytes(), type=Manifest)
        size = backup.stat().st_size
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{backup}: no backup with its manifest ({path_of(backup).name}): {error}") from error
    if size != manifest.bytes:
        raise BackupError(f"{backup} has {size} bytes, it was made with {manifest.bytes}; take another backup")
    if (found := digest(backup)) != manifest.sha256:
        raise BackupError(
            f"{backup} is damaged: SHA-256 {found[:16]}…, not {manifest.sha256[:16]}…; take another backup"
        )
    return manifest


def prune(folder: Path, kind: str, keep: int) -> list[Path]:
    """Remove the oldest backups of a kind beyond `keep`; gives what went."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("*.json"):
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError):  # another file of somebody's
            continue
        if manifest.kind == kind and manifest.file + ".json" == path.name:
            found.append((manifest.made_ms, folder / manifest.file))
    gone = [backup for _, backup in sorted(found)[: max(0, len(found) - keep)]]
    for backup in gone:
        path_of(backup).unlink()  # first: without it nobody takes the rest for a backup
        backup.unlink(missing_ok=True)
    return gone
