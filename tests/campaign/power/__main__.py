"""`python -m tests.campaign.power --seed N [--count N] [--state FOLDER]`: repeat one cut, or do some."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.campaign.power import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.power")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--state", type=Path, help="where stores of violations are kept")
    asked = parser.parse_args()
    result = run(count=asked.count, seed=asked.seed, state=asked.state)
    print(result.unavailable or "", dict(result.faults), dict(result.sums), result.mutants, *result.notes, sep="\n")
    sys.exit(bool(result.violations))
