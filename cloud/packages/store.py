"""Packages on disk: `packages/<tenant>/<sha256>`, whole or not there at all, never changed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from cloud.config import Settings

SQLITE: Final = "sqlite:///"
PIECE: Final = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def beside_the_database(settings: Settings) -> Path:
    """Give the packages' folder: beside SQLite's file, else beside cloud.toml."""
    if settings.database_url.startswith(SQLITE):
        return Path(settings.database_url.removeprefix(SQLITE)).parent / "packages"
    return settings.folder / "packages"


class Packages:
    """The folder; a tenant's packages are seen by that tenant's gateways only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, tenant: str, source: Path) -> str:
        """Take a copy of a file in; gives its SHA-256 (64 hex digits). On disk when it returns. Raises OSError."""
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"{tenant!r} is no tenant's name")
        place = self.folder / tenant
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        fresh = place / f".{secrets.token_hex(8)}.new"
        digest = hashlib.sha256()
        try:
            with source.open("rb") as reading, fresh.open("xb") as writing:
                while piece := reading.read(PIECE):
                    digest.update(piece)
                    writing.write(piece)
                writing.flush()
                os.fsync(writing.fileno())
            fresh.replace(place / digest.hexdigest())
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(place)
        return digest.hexdigest()

    def find(self, tenant: str, digest: str) -> Path | None:
        """Give the file of a package; None for one this tenant does not have."""
        if not _TENANT.fullmatch(tenant) or not _DIGEST.fullmatch(digest):
            return None
        path = self.folder / tenant / digest
        return path if path.is_file() else None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
