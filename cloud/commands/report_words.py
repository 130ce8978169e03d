"""The words of `triflow cloud report`; read at every start, so they load little."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Final

FORMS: Final = ("pdf", "png", "xlsx", "csv")


def add(parser: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    parser.add_argument("kind", choices=("shift", "week"))
    parser.add_argument("business_date", type=date.fromisoformat, metavar="DATE", help="of a week any day of it")
    parser.add_argument("shift", nargs="?", default="", help="its code, for kind shift")
    parser.add_argument("--tenant", help="needed when several are configured")
    parser.add_argument("--site", help="needed when several are configured")
    parser.add_argument("--language", choices=("ko", "en"), default="ko")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"its ending says the form: {', '.join(FORMS)} (pdf)")
