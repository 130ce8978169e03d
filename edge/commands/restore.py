"""`triflow edge restore SITE.toml|DATA BACKUP`: put a proven backup in the place of the store; the old one is kept.

Exit status: 0 restored, 1 nothing was changed, 78 the site file is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.stores import EX_CONFIG, add_subject, found, now
from edge.store.backup import restore
from edge.store.file import StoreError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="triflow edge restore",
        description="Put a backup in the place of the gateway's store. The gateway must not run; the store before is kept.",
        epilog="Exit status: 0 restored, 1 nothing was changed, 78 the site file is wrong.",
    )
    add_subject(parser)
    parser.add_argument("backup", type=Path, metavar="BACKUP", help="the folder that triflow edge backup named")
    arguments = parser.parse_args(argv)
    if (subject := found(arguments)) is None:
        return EX_CONFIG
    try:
        done = restore(arguments.backup, subject.data, at=now(), gateway=subject.gateway)
    except StoreError as error:
        subject.complain("fault", why=error)
        return 1
    manifest = done.manifest
    subject.say("restored", made_at=manifest.made_at, software=manifest.software, waiting=manifest.waiting)
    if done.kept is not None:
        subject.say("kept", path=done.kept)
        if done.newer is None or not done.newer.sound:
            subject.say("kept_unread")
        else:
            subject.say("kept_newer", waiting=done.newer.waiting)
    subject.say("told", made_at=manifest.made_at)
    return 0
