"""`triflow edge salvage SITE.toml|DATA|FILE FOLDER`: what can be saved of a damaged store, in a new folder.

The damaged file is only copied. Exit status: 0 nothing was lost, 1 something was, 2 nothing could be done, 78 the site
file is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from edge.commands.stores import EX_CONFIG, add_subject, found
from edge.store.backup import save
from edge.store.file import NAME, StoreError
from edge.store.look import owner

NOTHING: Final = 2


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow edge salvage",
        description="Build a sound store in a new folder from a damaged one, and say what is saved and what is lost. The "
        "damaged file is not changed. A gateway does the same by itself when it starts on a damaged store.",
        epilog="Exit status: 0 nothing was lost, 1 something was, 2 nothing could be done, 78 the site file is wrong.",
    )
    add_subject(parser, "the site file, the gateway's data folder, or the damaged file (edge.db.damaged-…)")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder for what is saved")
    arguments = parser.parse_args(argv)
    if (subject := found(arguments)) is None:
        return EX_CONFIG
    damaged = subject.data / NAME if subject.data.is_dir() else subject.data
    if not damaged.is_file():
        subject.complain("fault", why=f"there is no store at {damaged}; check the path")
        return NOTHING
    if damaged.name == NAME and (process := owner(damaged.parent)) is not None:
        subject.complain("running", data=damaged.parent, process=process)
        return NOTHING
    try:
        path, recovery = save(damaged, arguments.folder, why="triflow edge salvage")
    except StoreError as error:
        subject.complain("fault", why=error)
        return NOTHING
    subject.say("salvaged", records=recovery.records, path=path)
    if recovery.lost:
        subject.say("salvage_lost", lost=recovery.lost)
    subject.say("salvage_next", damaged=damaged)
    return 1 if recovery.lost else 0
