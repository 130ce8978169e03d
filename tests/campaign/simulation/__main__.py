"""`python -m tests.campaign.simulation`: one seed with its trace, a failing one made small, or many."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.campaign.simulation import report, run
from tests.campaign.simulation.plan import make
from tests.campaign.simulation.shrink import shrink
from tests.campaign.simulation.simulate import simulate


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the seed, or the first of many")
    parser.add_argument("--trace", action="store_true", help="show every line of its trace")
    parser.add_argument("--count", type=int, default=1, help="so many seeds from there on")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="make a failing seed small and show its trace")
    parser.add_argument("--digests", type=int, nargs=2, metavar=("FIRST", "END"), help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.digests:
        for seed in range(*asked.digests):
            print(simulate(make(seed)).digest)
        return 0
    if asked.shrink is not None:
        found = shrink(asked.shrink, print)
        if found is None:
            print(f"seed {asked.shrink} does not fail")
            return 0
        print("\n".join(found.tail))
        print(report(found))
        return 1
    if asked.count == 1:
        outcome = simulate(make(asked.seed), keep=asked.trace)
        print("\n".join(outcome.tail))
        print(
            report(outcome) if outcome.violations else f"seed {asked.seed}: no violation, trace {outcome.digest[:16]}"
        )
        return 1 if outcome.violations else 0
    result = run(count=asked.count, seed=asked.seed, state=None, log=print)
    print(f"{result.count} seeds in {result.seconds:.1f} s, {len(result.violations)} violations")
    print("\n".join(result.violations))
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
