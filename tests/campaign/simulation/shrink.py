"""Makes a failing seed as small as it gets: fault kinds are taken away one by one, then the horizon is shortened."""

from __future__ import annotations

from collections.abc import Callable

from tests.campaign.simulation.plan import make
from tests.campaign.simulation.simulate import Outcome, simulate


def shrink(seed: int, log: Callable[[str], None]) -> Outcome | None:
    """Give the smallest world that still fails in the same way; None when the seed does not fail at all."""
    found = simulate(make(seed))
    if not found.violations:
        return None
    what = found.violations[0].split()[0]
    without: frozenset[str] = frozenset()
    log(f"seed {seed} fails: {found.violations[0]}")
    for kind in sorted(make(seed).kinds):
        tried = simulate(make(seed, without=without | {kind}))
        if tried.violations and tried.violations[0].split()[0] == what:
            without, found = without | {kind}, tried
            log(f"  not needed: {kind}")
    shorter = 1.0
    for share in (0.5, 0.25, 0.1, 0.05):
        tried = simulate(make(seed, without=without, shorter=share))
        if tried.violations and tried.violations[0].split()[0] == what:
            shorter, found = share, tried
    log(f"  horizon × {shorter}")
    return simulate(make(seed, without=without, shorter=shorter), keep=True)
