"""What `triflow cloud replay` takes, apart from what does it: that is slow to import, and most commands do without."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--tenant", help="needed when several are configured")
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    one = commands.add_parser("verdict", help="one verdict: as it was, with other inputs, with other versions")
    one.add_argument("verdict_id", metavar="ID")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="what if an input had been this")
    one.add_argument("--rules", action="append", default=[], type=Path, metavar="FILE", help="TOML")
    one.add_argument(
        "--model", action="append", default=[], metavar="SHA256", help="a package put here; at most five versions"
    )
    many = commands.add_parser("batch", help="many verdicts with other rules: how many change, and to what")
    many.add_argument("--rules", type=Path, required=True, metavar="FILE")
    many.add_argument("--sample", type=int, metavar="N", help="so many, replayed whole (1 to 1,000); else all")
    many.add_argument("--sampling", choices=("random", "stratified", "sequential"), default="random")
    many.add_argument("--seed", type=int, default=0, help="the same seed takes the same sample")
    many.add_argument("--memory", choices=("recorded", "continuous"), default="continuous")
    day = commands.add_parser("day", help="prove that everything recorded in a time is judged the same again")
    for command in (many, day):
        command.add_argument("--from", dest="begin", type=_time, metavar="TIME", help="ISO 8601, UTC without an offset")
        command.add_argument("--to", dest="end", type=_time, metavar="TIME")
        command.add_argument("--line", metavar="LINE", help="path, or site:path")
        command.add_argument("--decision", choices=("normal", "warning", "critical", "unknown"))
        command.add_argument("--ruleset", metavar="NAME")
        command.add_argument("--product")


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-23T06:00 (UTC) or …+09:00") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9
