"""`make bench`: every goal measured, beside its alternative, in some ten minutes; exits 0 either way.

`python -m bench NAME …` runs some of them only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import traceback
from pathlib import Path

from bench.table import Row, show

SUBJECTS = (
    "opcua",
    "modbus",
    "judgment",
    "columns",
    "models",
    "backtest",
    "verdicts",
    "store",
    "ingest",
    "bi",
    "gateway",
    "recovery",
    "receipt",
    "drain",
    "end_to_end",
)
"""Modules of this folder with `run() -> list[Row]`, in the order they run."""
ALONE = ("broker", "bi_long", "bi_superset")
"""Others, which run only when they are named."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("subject", nargs="*", metavar="NAME", help=", ".join((*SUBJECTS, *ALONE)))
    subjects = parser.parse_args().subject or SUBJECTS
    if unknown := set(subjects) - {*SUBJECTS, *ALONE}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join((*SUBJECTS, *ALONE))}")
    rows: list[Row] = []
    for subject in subjects:
        began = time.monotonic()
        try:
            found = importlib.import_module(f"bench.{subject}").run()
            rows += [row if isinstance(row, Row) else Row(**row) for row in found]
        except Exception:  # noqa: BLE001 - one broken measure must not hide the others; it is shown as MISSED
            traceback.print_exc()
            rows.append(Row(measure=subject, goal="runs", figure="broke, see above", ok=False))
        print(f"… {subject}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    table = show(rows)
    print(f"\n{table}\n\n{machine}")
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "table.txt").write_text(f"{table}\n\n{machine}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
