"""The words of `triflow cloud correct|restate|dead-letters|audit-marts`; read at every start, so they load little."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cloud.bi.times import ms_of


def add(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the words of these commands."""
    correct = _about(command("correct", "put a fact right, or take it back; it stays as it came, the figures follow"))
    correct.add_argument("fact", metavar="INC/STREAM/SEQ", help="which one, as /api/v1/facts shows it")
    what = correct.add_mutually_exclusive_group(required=True)
    what.add_argument("--with", dest="replacement", type=Path, metavar="FILE", help="JSON of the fact as it should be")
    what.add_argument("--retract", action="store_true", help="it should not have been said")
    correct.add_argument("--rev", type=int, metavar="N", help="the number it is to have (the next one)")
    _reason(correct)
    restate = _about(command("restate", "compute shifts anew and say which figures changed"))
    restate.add_argument("--from", dest="start", type=_time, required=True, metavar="TIME", help="ISO 8601")
    restate.add_argument("--to", dest="end", type=_time, required=True, metavar="TIME")
    restate.add_argument(
        "--line", action="append", default=[], metavar="LINE", help="path, or site:path; may be given again (all)"
    )
    restate.add_argument("--product", metavar="CODE", help="rate its pieces of this time by …")
    restate.add_argument("--cycle-ms", type=float, metavar="MS", help="… this ideal cycle")
    restate.add_argument("--dry-run", action="store_true", help="only say what would change")
    _reason(restate)
    dead = _about(command("dead-letters", "what does not count and why; let it count, or look at it again"))
    what = dead.add_subparsers(dest="what", required=True)
    listed = what.add_parser("list", help="the newest first")
    listed.add_argument("--all", action="store_true", help="also warnings, and what is settled")
    release = what.add_parser("release", help="let a held fact count as it is")
    release.add_argument("letter", metavar="ID")
    _reason(release)
    retry = what.add_parser("retry", help="look at held facts again by the rules of today")
    retry.add_argument("--code", metavar="RULE", help="of one rule only")
    _reason(retry)
    _about(command("audit-marts", "recompute every bucket of every mart and say what differs; writes nothing"))


def _about(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--tenant", help="needed when several are configured")
    return parser


def _reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, metavar="WORDS", help="on record for good")


def _time(text: str) -> int:
    try:
        return ms_of(datetime.fromisoformat(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write it as ISO 8601, e.g. 2026-03-04T06:00+09:00"
        ) from error
