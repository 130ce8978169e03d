"""`python -m tests.campaign.images --seed N [--count N] [--state FOLDER]`: repeat one cut, or do some."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.campaign.images import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.images")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--state", type=Path, help="where images of violations are kept")
    asked = parser.parse_args()
    result = run(count=asked.count, seed=asked.seed, state=asked.state)
    for kind, number in sorted(result.faults.items()):
        print(f"{kind:30} {number}")
    sys.exit(bool(result.violations))
