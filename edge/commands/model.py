"""`triflow edge model …`: which model package a line runs. Works while the gateway runs and while it does not.

An order is left in the gateway's folder and taken within a second; the gateway verifies the package, warms it up, puts
the change on record and swaps between two windows. The answer is waited for. A gateway that does not run takes the
order at its next start.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from edge.config import SiteFile
from edge.scoring.orders import Answer, Order, OrderError, What, digest_of, leave, load, order_id, waiting
from edge.scoring.record import Record, Version
from edge.store.file import DamagedError, StoreRefusedError
from edge.store.look import owner, remembered
from sync.settings import ConfigError, Document, nearest

EX_DATAERR: Final = 65
EX_UNAVAILABLE: Final = 69
EX_CONFIG: Final = 78
PATIENCE_S: Final = 60.0
"""How long a running gateway is waited for: verifying takes a second, and longer on a small box."""


def main(argv: list[str]) -> int:
    """Parse the words after `model`, do what they say, print it; give the exit status."""
    arguments = _parser().parse_args(argv)
    site: Path = arguments.site
    try:
        file = Document(site).parse(SiteFile)
        data = site.resolve().parent / file.gateway.data
        if not data.is_dir():
            print(f"no gateway has run here yet: {data} is not there; check gateway.data in {site}", file=sys.stderr)
            return EX_CONFIG
        if arguments.what == "status":
            _status(data, file)
            return 0
        return _order(data, file, arguments)
    except (ConfigError, StoreRefusedError, DamagedError) as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except OrderError as error:
        print(error, file=sys.stderr)
        return EX_DATAERR
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; run this as the gateway's user or with sudo", file=sys.stderr)
        return EX_CONFIG


def _parser() -> argparse.ArgumentParser:
    what = "Change and show which model package a line runs."
    parser = argparse.ArgumentParser(prog="triflow edge model", description=what)
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, said in (
        ("activate", "verify a package and let a line be judged by it"),
        ("rollback", "go back to the version before: at once, no network, nothing to verify"),
        ("retire", "take the model from a line: its rules judge alone"),
        ("status", "show every line's model, and the versions it can go back to"),
    ):
        command = commands.add_parser(name, help=said, description=said)
        if name == "activate":
            told = "a .tfm file, or the beginning of the SHA-256 of one the gateway was sent or keeps"
            command.add_argument("package", help=told)
        if name != "status":
            command.add_argument("--line", required=True, metavar="WORK_UNIT", help="hall/line-1/filler")
            command.add_argument(
                "--wait", type=float, default=PATIENCE_S, metavar="SECONDS", help="for the running gateway's answer"
            )
        command.add_argument("site", type=Path, help="the site file, e.g. site.toml")
    return parser


def _order(data: Path, file: SiteFile, arguments: argparse.Namespace) -> int:
    lines = [line.work_unit for line in file.lines]
    if arguments.line not in lines:
        raise OrderError(f"no line {arguments.line!r} in {arguments.site}; {nearest(arguments.line, lines)}")
    what: What = arguments.what
    content, digest = None, ""
    if what == "activate":
        path = Path(arguments.package)
        if path.is_file():
            content, digest = load(path)
        else:
            digest = digest_of(data, arguments.package)
    at = time.time_ns()
    order = Order(order=order_id(at), at=at, actor=getpass.getuser(), what=what, line=arguments.line, package=digest)
    answer = leave(data, order, content)
    if owner(data) is None:
        print("the gateway does not run; it takes this order at its next start")
        return 0
    said = _wait(answer, arguments.wait)
    if said is None:
        print(
            f"no answer within {arguments.wait:g} s; the order waits in {answer.parent}, look with `status`",
            file=sys.stderr,
        )
        return EX_UNAVAILABLE
    print(said.told, file=sys.stdout if said.done else sys.stderr)
    return 0 if said.done else EX_DATAERR


def _wait(answer: Path, seconds: float) -> Answer | None:
    end = time.monotonic() + seconds
    while not answer.exists():
        if time.monotonic() > end:
            return None
        time.sleep(0.05)
    said = msgspec.json.decode(answer.read_bytes(), type=Answer)
    answer.unlink(missing_ok=True)
    return said


def _status(data: Path, file: SiteFile) -> None:
    for line in file.lines:
        raw = remembered(data, f"model:{line.work_unit}")
        kept = Record() if raw is None else msgspec.msgpack.decode(raw, type=Record)
        if kept == Record() and line.model is None:
            print(f"{line.work_unit}: rules only")
            continue
        print(f"{line.work_unit}: {_told(kept)}")
        for version in kept.previous:
            print(f"  before: {_named(version)}")
        for alarm in kept.alarms:
            print(f"  alarm: {alarm}")
        if kept.breaker.alarmed:
            print("  alarm: model.breaker: it failed several times in a row, and the rules judged alone")
        if line.model is not None and kept.named.path == line.model and kept.named.sha256:
            how = "runs" if kept.active and kept.active.sha256 == kept.named.sha256 else "was overruled by a person"
            print(f"  site file: {line.model} ({how})")
        elif line.model is not None:
            print(f"  site file: {line.model} (not taken yet: tried at every start)")
    for path, order in waiting(data):
        print(f"waits: {order if isinstance(order, str) else f'{order.what} {order.line}'} ({path.name})")


def _told(kept: Record) -> str:
    if kept.active is not None:
        return _named(kept.active)
    return "retired: rules only" if kept.retired else "no model: rules only"


def _named(version: Version) -> str:
    return f"{version.name} {version.version} ({version.sha256[:12]})"
