"""What an engine of the campaign hands back, and how results of several blocks of seeds become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run of an engine found."""

    engine: str
    """As the table names it: `simulation`, `images`, `power`, `store kills`, `stack kills`."""
    subject: str
    """What was put to the test, in a few words."""
    count: int
    """Trials: seeds, images, cuts or kills that were really done."""
    violations: list[str] = field(default_factory=list[str])
    """One sentence each, beginning with the seed that shows it again. Empty is what we want."""
    faults: Counter[str] = field(default_factory=Counter[str])
    """Faults injected, by kind; a kind that was planned and never happened stands here with 0."""
    seeds: tuple[int, int] = (0, 0)
    """First and last seed, both included."""
    seconds: float = 0.0
    """Wall time."""
    mutants: dict[str, int] = field(default_factory=dict[str, int])
    """Deliberately broken variant → seeds that caught it. A variant that nobody catches fails the campaign."""
    sums: Counter[str] = field(default_factory=Counter[str])
    """What was counted beside the trials (records produced, stored, declared …); blocks are added up."""
    worst: dict[str, float] = field(default_factory=dict[str, float])
    """Largest figure of each kind, with its unit in the name; of blocks the largest stays."""
    notes: list[str] = field(default_factory=list[str])
    """What a reader of the table should know: figures, kinds that could not be injected here."""
    unavailable: str | None = None
    """Why the engine could not run on this machine; None where it ran. Counted and shown, never passed over."""

    @property
    def uncaught(self) -> list[str]:
        """Mutants that no seed caught."""
        return sorted(name for name, seeds in self.mutants.items() if not seeds)

    @property
    def ok(self) -> bool:
        return not self.violations and not self.uncaught

    def plain(self) -> dict[str, Any]:
        """Give it as JSON can carry it."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in plain.items()}


def restored(plain: dict[str, Any]) -> Result:
    """Read what `plain` gave. Raises KeyError, TypeError or ValueError for anything else."""
    first, last = plain["seeds"]
    counters = {name: Counter(plain[name]) for name in ("faults", "sums")}
    return Result(**{**plain, **counters, "seeds": (int(first), int(last))})


def together(results: Iterable[Result]) -> list[Result]:
    """Add up the blocks of each engine; engines keep the order in which they are met."""
    blocks: dict[str, list[Result]] = {}
    for result in results:
        blocks.setdefault(result.engine, []).append(result)
    return [_one(parts) for parts in blocks.values()]


def _one(parts: list[Result]) -> Result:
    faults: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    worst: dict[str, float] = {}
    mutants: dict[str, int] = {}
    for part in parts:
        faults.update(part.faults)
        sums.update(part.sums)
        worst |= {name: max(figure, worst.get(name, figure)) for name, figure in part.worst.items()}
        for name, seeds in part.mutants.items():
            mutants[name] = mutants.get(name, 0) + seeds
    ran = [part for part in parts if part.count]
    return Result(
        engine=parts[0].engine,
        subject=parts[0].subject,
        count=sum(part.count for part in parts),
        violations=[said for part in parts for said in part.violations],
        faults=faults,
        seeds=(min(p.seeds[0] for p in ran or parts), max(p.seeds[1] for p in ran or parts)),
        seconds=sum(part.seconds for part in parts),
        mutants=mutants,
        sums=sums,
        worst=worst,
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        unavailable=next((part.unavailable for part in parts if part.unavailable), None),
    )
