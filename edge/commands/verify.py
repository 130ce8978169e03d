"""`triflow edge verify SITE.toml|DATA|BACKUP`: every page, number, digest and chain of a store or a backup.

Reads only; the gateway may run. Exit status: 0 sound, 1 not sound, 2 it could not be looked at, 78 the site file is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from edge.commands.stores import EX_CONFIG, Subject, add_subject, found
from edge.store.backup import MANIFEST, prove
from edge.store.file import NAME, DamagedError, StoreError, StoreRefusedError
from edge.store.soundness import Soundness, check, reading

UNSEEN: Final = 2


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow edge verify",
        description="Check a store or a backup: every page, number, digest and chain. Reads only; safe while the gateway runs.",
        epilog="Exit status: 0 sound, 1 not sound, 2 it could not be looked at, 78 the site file is wrong.",
    )
    add_subject(parser, "the site file, the gateway's data folder, a backup's folder, or a store's file")
    arguments = parser.parse_args(argv)
    if (subject := found(arguments)) is None:
        return EX_CONFIG
    try:
        if (subject.data / MANIFEST).is_file():
            manifest = prove(subject.data)
            subject.say(
                "backup_good", path=subject.data, gateway=manifest.gateway or manifest.file, made_at=manifest.made_at
            )
        path = subject.data / NAME if subject.data.is_dir() else subject.data
        with reading(path) as connection:
            result = check(connection)
    except StoreRefusedError as error:
        subject.complain("fault", why=error)
        return UNSEEN
    except DamagedError as error:
        result = Soundness(faults=[str(error)])
        path = subject.data
    except StoreError as error:  # a backup that is not what was backed up
        subject.complain("fault", why=error)
        return 1
    return _tell(subject, path, result)


def _tell(subject: Subject, path: Path, result: Soundness) -> int:
    if result.put_aside:
        subject.say("aside", number=result.put_aside)
    if result.sound:
        subject.say(
            "sound",
            path=path,
            records=result.records,
            chunks=result.chunks,
            waiting=result.waiting,
            declared=result.declared,
            audit_records=result.audit_records,
            schema=result.schema,
        )
        return 0
    subject.complain("unsound", path=path, number=len(result.faults) + result.more_faults)
    for fault in result.faults:
        subject.complain("fault", why=f"  {fault}")
    subject.complain("unsound_do")
    return 1
