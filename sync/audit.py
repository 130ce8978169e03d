"""`triflow audit verify|export`: is the log what was written, on a gateway, in the cloud, or in an export file.

Exit status: 0 every row is as it was written; 1 a row is not, and the first one is named; 2 the log cannot be read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sync.testimony import Export, ExportError, Head, Lane, write
from sync.verification import Report, verify

GOOD, BAD, UNREADABLE = 0, 1, 2
SIDES: Final = ("edge", "cloud")
SHOWN: Final = 20


class LogError(Exception):
    """The log cannot be read; the text says why and what to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log, open to be walked once."""

    side: str
    whole: bool
    cloud_keys: Sequence[bytes]
    lanes: Iterable[Lane]


class Side(Protocol):
    """One side's way to its own log."""

    def open_log(self, place: Path, address: str | None, *, every_stream: bool) -> AbstractContextManager[Log]:
        """Open the log of a folder or file; address: of one gateway. Raises LogError."""
        ...


def main(argv: list[str], load: Callable[[str], Side]) -> int:
    """Do what the words say; gives the exit status.

    load: gives a side by its name, only when it is asked for: neither is installed with the other.
    """
    asked = _parser().parse_args(argv)
    try:
        pinned = [bytes.fromhex(key) for key in asked.cloud_key]
        with _open(asked, load) as log:
            if asked.command == "export":
                return _export(log, asked.to)
            began = time.monotonic()
            report = verify(log.lanes, cloud_keys=pinned or log.cloud_keys, whole=log.whole)
            return _say(report, log, as_json=asked.json, seconds=time.monotonic() - began)
    except (LogError, ExportError, OSError, ValueError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)  # noqa: T201 - a command for people
        return UNREADABLE
    except ModuleNotFoundError as missing:
        side = "edge" if asked.edge else "cloud"
        print(f"the library {missing.name!r} is not installed; pip install 'triflow[{side}]'", file=sys.stderr)  # noqa: T201 - as above
        return UNREADABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="triflow audit", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True, metavar="WHAT")
    for name, what in (
        ("verify", "say whether the log is what was written, and name the first row that is not"),
        ("export", "write the log to one file that can be verified anywhere"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--edge", type=Path, metavar="FOLDER", help="a gateway's data folder or its site file")
        where.add_argument("--cloud", type=Path, metavar="FILE", help="cloud.toml")
        if name == "verify":
            where.add_argument("file", type=Path, nargs="?", help="a file that `triflow audit export` wrote")
            command.add_argument("--json", action="store_true", help="say everything as JSON")
        else:
            command.add_argument("--to", type=Path, required=True, metavar="FILE", help="the file to write")
        command.add_argument("--gateway", metavar="ADDRESS", help="tenant/site/gateway; in the cloud all without it")
        streams = ("all", "audit") if name == "verify" else ("audit", "all")
        command.add_argument("--streams", choices=streams, default=streams[0], help=f"default: {streams[0]}")
        command.add_argument(
            "--cloud-key",
            action="append",
            default=[],
            metavar="HEX",
            help="the cloud's public key as you know it from elsewhere, instead of the one the log names",
        )
    return parser


@contextlib.contextmanager
def _open(asked: argparse.Namespace, load: Callable[[str], Side]) -> Generator[Log]:
    every = asked.streams == "all"
    for side in SIDES:
        if (place := getattr(asked, side)) is not None:
            with load(side).open_log(place, asked.gateway, every_stream=every) as log:
                yield log
            return
    with asked.file.open("rb") as file:
        export = Export(file)
        lanes = (one for one in export.lanes() if asked.gateway in {None, one.address})
        yield Log(side=export.head.side, whole=export.head.whole, cloud_keys=export.cloud_keys, lanes=lanes)


def _export(log: Log, target: Path) -> int:
    partial = target.with_name(f"{target.name}.partial")
    head = Head(side=log.side, whole=log.whole, made=time.time_ns(), cloud_keys=[key.hex() for key in log.cloud_keys])
    with partial.open("wb") as file:
        lines = write(file, head, log.lanes)
    partial.replace(target)
    print(f"{target}: {lines} lines, {target.stat().st_size} bytes; check it with: triflow audit verify {target}")  # noqa: T201 - as above
    return GOOD


def _say(report: Report, log: Log, *, as_json: bool, seconds: float) -> int:
    status = BAD if report.bad else GOOD
    if as_json:
        print(json.dumps(_plain(report) | {"valid": not report.bad, "side": log.side}, ensure_ascii=False))  # noqa: T201 - as above
        return status
    lines: list[str] = []
    if report.bad:
        lines += [f"BAD    first bad row: {report.bad[0]}"]
        lines += [f"       {bad}" for bad in report.bad[1:SHOWN]]
    else:
        lines += ["VALID  every row is as it was written"]
    # A gateway keeps no signatures of its own: it makes them as it sends.
    signed = f"{report.signed} signed by their gateway, " if report.signed or log.side == "cloud" else ""
    lines.append(
        f"       {report.lanes} lanes, {report.records} records in {report.chunks} chunks, {signed}"
        f"{report.countersigned} points countersigned by the cloud; {seconds:.1f} s"
    )
    if report.unchained:
        lines.append(
            f"       {report.unchained} chunks are older than the chain; only their records' own chain speaks for them"
        )
    for what in (report.holes, report.notes):
        lines += [f"       {one}" for one in what[:SHOWN]]
        if len(what) > SHOWN:
            lines.append(f"       … and {len(what) - SHOWN} more")
    keys = ", ".join(key.hex()[:16] for key in log.cloud_keys) or "none known: countersignatures were not checked"
    lines.append(f"       key of the cloud: {keys}")
    print("\n".join(lines))  # noqa: T201 - as above
    return status


def _plain(report: Report) -> dict[str, Any]:
    names = ("lane", "inc", "seq", "last", "field", "why")
    return {
        "bad": [{name: getattr(bad, name) for name in names} for bad in report.bad],
        **{
            name: getattr(report, name)
            for name in ("lanes", "chunks", "records", "signed", "countersigned", "unchained")
        },
        "holes": report.holes,
        "notes": report.notes,
    }
