"""`triflow edge backup SITE.toml|DATA FOLDER`: a proven copy of the store, while the gateway runs or not.

Exit status: 0 made and proven, 1 not made, 78 the site file is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.stores import EX_CONFIG, SOFTWARE, add_subject, found, now
from edge.store.backup import back_up
from edge.store.file import DamagedError, StoreError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow edge backup",
        description="Copy the gateway's store into a new folder under FOLDER and prove the copy. The gateway may run.",
        epilog="Exit status: 0 made and proven, 1 not made, 78 the site file is wrong.",
    )
    add_subject(parser)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where backups gather; each gets a folder of its own"
    )
    arguments = parser.parse_args(argv)
    if (subject := found(arguments)) is None:
        return EX_CONFIG
    try:
        folder, manifest = back_up(subject.data, arguments.folder, at=now(), gateway=subject.gateway, software=SOFTWARE)
    except DamagedError as error:
        subject.complain("damaged", why=error)
        return 1
    except StoreError as error:
        subject.complain("fault", why=error)
        return 1
    subject.say("made", folder=folder)
    subject.say(
        "holds",
        chunks_waiting=manifest.waiting,
        produced=manifest.produced,
        schema=manifest.schema,
        incarnation=manifest.incarnation[:8],
        size_mb=f"{manifest.size_bytes / 2**20:.1f}",
        sha256=f"{manifest.sha256[:16]}…",
    )
    subject.say("proven")
    subject.say("not_in_it")
    return 0
