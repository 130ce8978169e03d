"""A copy of the store while it is in use, and back again: proven when it is made, and again before it is trusted.

A backup is a folder of its own with the database and a manifest. It holds everything but what need not outlive the
gateway (ring) and what must not leave it (keys).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw
import msgspec

from edge.durable import put, sync_folder
from edge.store.file import LEDGER, NAME, DamagedError, StoreError, StoreRefusedError, migrations, owned, replace
from edge.store.look import owner
from edge.store.salvage import Recovery, salvage
from edge.store.soundness import Soundness, check, reading

MANIFEST: Final = "manifest.json"
WHAT: Final = "triflow edge backup"
PAGES: Final = 1_024
"""Copied in one step."""
SPARE_BYTES: Final = 8 << 20


class BackupError(StoreError):
    """A backup cannot be made, or must not be trusted: the sentence says what to check."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    what: str = WHAT
    format: int = 1
    made_at: str
    """UTC, ISO 8601."""
    gateway: str
    """tenant/site/gateway; empty when it was made from a bare folder."""
    software: str
    schema: int
    incarnation: str
    """The newest one that is in it."""
    ord: int
    produced: int
    waiting: int
    declared: int
    audit_records: int
    size_bytes: int
    sha256: str
    file: str = NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    kept: Path | None
    """The store that was there before."""
    newer: Soundness | None
    """What stood in it; None when there was none, or when it could not be read."""


def back_up(data: Path, into: Path, *, at: int, gateway: str, software: str) -> tuple[Path, Manifest]:
    """Copy the store of `data` into a new folder under `into`; give that folder and what is in it.

    The gateway may run. Raises BackupError (no room, cannot write), StoreRefusedError (no store there), DamagedError.
    """
    source = data / NAME
    made = datetime.fromtimestamp(at / 1e9, UTC)
    try:
        into.mkdir(parents=True, exist_ok=True)
        target = _new_folder(into, f"edge-{made:%Y%m%d-%H%M%S}")
    except OSError as error:
        raise BackupError(
            f"{into} cannot be written ({error.strerror}); check the folder and who it belongs to"
        ) from error
    draft = target.with_name(f".{target.name}.partial")
    try:
        with reading(source) as connection:
            size = int(str(connection.pragma("page_count"))) * int(str(connection.pragma("page_size")))
            free = shutil.disk_usage(into).free
            if free < size + SPARE_BYTES:
                raise BackupError(
                    f"{into} has {free >> 20} MB free, the copy needs {(size + SPARE_BYTES) >> 20}: make room"
                )
            draft.mkdir(mode=0o700)
            _copy(connection, draft / NAME)
        with reading(draft / NAME) as copied:
            found = check(copied)
        for suffix in ("-wal", "-shm"):
            (draft / NAME).with_name(NAME + suffix).unlink(missing_ok=True)
        if not found.sound:
            raise DamagedError(found.faults[0])
        manifest = Manifest(
            made_at=made.isoformat(timespec="seconds"),
            gateway=gateway,
            software=software,
            schema=found.schema,
            incarnation=found.incarnation,
            ord=found.ord,
            produced=found.produced,
            waiting=found.waiting,
            declared=found.declared,
            audit_records=found.audit_records,
            size_bytes=(draft / NAME).stat().st_size,
            sha256=_sha256(draft / NAME),
        )
        put(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n", 0o600)
        draft.replace(target)
        sync_folder(into)
    except (OSError, apsw.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BackupError(f"{into}: the copy could not be written ({why}); check its room and its disk") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target, manifest


def _new_folder(into: Path, name: str) -> Path:
    target = into / name
    number = 1
    while target.exists():
        number += 1
        target = into / f"{name}-{number}"
    return target


def _copy(source: apsw.Connection, target: Path) -> None:
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.close(descriptor)
    copy = apsw.Connection(str(target))
    with contextlib.closing(copy):
        copy.pragma("synchronous", "full")
        with copy.backup("main", source, "main") as backup:  # of the snapshot: a commit meanwhile begins nothing anew
            while not backup.done:
                backup.step(PAGES)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(backup: Path) -> Manifest:
    """Read what a backup says of itself. Raises BackupError."""
    path = backup / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        there = sorted(p.parent.name for p in backup.glob(f"*/{MANIFEST}")) if backup.is_dir() else []
        hint = f"; it holds backups, name one: {', '.join(there[-5:])}" if there else "; check the path"
        raise BackupError(f"{backup} is no backup (no {MANIFEST} in it){hint}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{path} cannot be read: {error}") from error
    if manifest.what != WHAT or manifest.format != 1 or "/" in manifest.file:
        raise BackupError(f"{path} is not a manifest of a gateway's backup that this software knows")
    return manifest


def prove(backup: Path) -> Manifest:
    """Check a backup whole: digest, every page, books, chains. Raises BackupError."""
    manifest = read_manifest(backup)
    path = backup / manifest.file
    try:
        size, digest = path.stat().st_size, _sha256(path)
    except OSError as error:
        raise BackupError(f"{path} cannot be read ({error.strerror}); check that the backup is complete") from error
    if (size, digest) != (manifest.size_bytes, manifest.sha256):
        raise BackupError(
            f"{path} is not the file that was backed up ({size} bytes, SHA-256 {digest[:16]}…; the manifest says "
            f"{manifest.size_bytes}, {manifest.sha256[:16]}…): take another backup; triflow edge salvage saves what it can"
        )
    if manifest.schema > len(migrations()):
        raise BackupError(
            f"{path} has schema {manifest.schema}, this software knows up to {len(migrations())}: install the newer version"
        )
    try:
        with reading(path) as connection:
            found = check(connection)
    except DamagedError as error:
        raise BackupError(f"{path} is damaged: {error}") from error
    finally:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    if not found.sound:
        raise BackupError(f"{path} is damaged: {found.faults[0]}")
    return manifest


def restore(backup: Path, data: Path, *, at: int, gateway: str) -> Restored:
    """Put a backup in the place of the store of `data`, which must not be in use; the store before is kept beside it.

    Raises StoreRefusedError (in use, no permission) and BackupError (the backup is not to be trusted, or another's).
    """
    manifest = prove(backup)
    if gateway and manifest.gateway and gateway != manifest.gateway:
        raise BackupError(
            f"{backup} is of {manifest.gateway}, this is {gateway}: two gateways with one memory would be taken for "
            "clones; check the path"
        )
    if (process := owner(data)) is not None:
        raise StoreRefusedError(f"the gateway runs on {data} (process {process}); stop it first")
    with owned(data):
        path = data / NAME
        newer = _newer(path)
        new = path.with_name(NAME + ".new")
        try:
            _bring(backup / manifest.file, new, manifest)
            kept = _keep(path, at)
            replace(path, new)
        except OSError as error:
            raise BackupError(
                f"{data} cannot be written ({error.strerror}); check its room and who it belongs to"
            ) from error
        finally:
            new.unlink(missing_ok=True)
    return Restored(manifest=manifest, kept=kept, newer=newer)


def _newer(path: Path) -> Soundness | None:
    try:
        with reading(path) as connection:
            return check(connection)
    except (DamagedError, StoreRefusedError):
        return None


def _bring(source: Path, new: Path, manifest: Manifest) -> None:
    """Copy the file to its volume, durable, and compare it again there."""
    new.unlink(missing_ok=True)
    folder = new.parent.stat()
    with source.open("rb") as reading_, new.open("xb") as writing:
        new.chmod(0o640)
        shutil.copyfileobj(reading_, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
    if os.geteuid() == 0:
        os.chown(new, folder.st_uid, folder.st_gid)
    if _sha256(new) != manifest.sha256:
        raise BackupError(f"{new} is not what was copied; check the disk")


def _keep(path: Path, at: int) -> Path | None:
    """Give the store that is there a name of its own, its log and its ledger with it."""
    if not path.exists():
        return None
    stamp = f"{datetime.fromtimestamp(at / 1e9, UTC):%Y%m%d-%H%M%S}"
    kept = path.with_name(f"{NAME}.before-restore-{stamp}")
    while kept.exists():
        kept = kept.with_name(kept.name + "x")
    log = path.with_name(NAME + "-wal")
    log_kept = kept.with_name(kept.name + "-wal")
    log_kept.unlink(missing_ok=True)  # of a restore that was cut short between these two links
    if log.exists():
        log_kept.hardlink_to(log)
    kept.hardlink_to(path)
    ledger = path.with_name(LEDGER)
    if ledger.exists():  # it speaks of what the backup does not know
        ledger.replace(kept.with_name(kept.name + ".ledger.json"))
    sync_folder(path.parent)
    return kept


def save(damaged: Path, into: Path, *, why: str) -> tuple[Path, Recovery]:
    """Build a sound store in the new folder `into` from a damaged file; the file itself is only copied.

    Raises BackupError. A ledger beside the file (`edge.ledger.json`) says what there was besides.
    """
    try:
        into.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupError(f"{into} is there already; name a folder that is new") from None
    except OSError as error:
        raise BackupError(f"{into} cannot be made ({error.strerror}); check the folder above it") from error
    work = into / "damaged.db"
    try:
        for suffix in ("", "-wal"):
            source = damaged.with_name(damaged.name + suffix)
            if source.exists():
                shutil.copyfile(source, work.with_name(work.name + suffix))
        ledger = damaged.with_name(LEDGER)
        if ledger.exists():
            shutil.copyfile(ledger, into / LEDGER)
        recovery = salvage(work, into / NAME, why)
    except OSError as error:
        raise BackupError(f"{damaged}: {error.strerror}; check its disk and the room in {into}") from error
    for suffix in ("", "-wal", "-shm"):
        work.with_name(work.name + suffix).unlink(missing_ok=True)
        if suffix:
            (into / NAME).with_name(NAME + suffix).unlink(missing_ok=True)
    return into / NAME, recovery
