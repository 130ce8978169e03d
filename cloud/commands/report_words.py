"""The words of `triflow cloud report`; read at every start, so they load little."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Final

FORMS: Final = ("pdf", "png", "xlsx", "csv")
EARLIEST: Final = 2000
LATEST: Final = 2100
"""Years of business dates."""


def add(parser: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    parser.add_argument("kind", choices=("shift", "week"))
    parser.add_argument("business_date", type=business_date, metavar="DATE", help="of a week any day of it")
    parser.add_argument("shift", nargs="?", default="", help="its code, for kind shift")
    parser.add_argument("--tenant", help="needed when several are configured")
    parser.add_argument("--site", help="needed when several are configured")
    parser.add_argument("--language", choices=("ko", "en"), default="ko")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"its ending says the form: {', '.join(FORMS)} (pdf)")


def business_date(text: str) -> date:
    """Give a date that a calendar may have; argparse says what is wrong with another."""
    try:
        if not EARLIEST <= (found := date.fromisoformat(text)).year < LATEST:
            raise argparse.ArgumentTypeError(f"{text} is asked for; a date lies between {EARLIEST} and {LATEST}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write 2026-11-23") from error
    return found
