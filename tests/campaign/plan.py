"""Which engines there are, how many trials each does in the short and in the long form, and in what blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine of the campaign, as data."""

    name: str
    module: str
    """Has `run(*, count, seed, state, log) -> Result`; does seeds `seed` … `seed + count - 1` in this process."""
    short: int
    long: int
    block: int
    """Trials in one process; a block that is done is never done again when the campaign is resumed."""
    cores: float
    """Share of a core that a block keeps busy; so many blocks run at once as the machine has cores."""
    seed: int
    """The first seed. Seeds are the same on every machine and every day."""
    limit_s: float
    """A block that takes longer than this is stuck, and that is a violation."""


ENGINES: Final = (
    # The one that mostly waits (for processes to start, for queues to drain) begins, the hungry ones run beside it.
    Engine(name="stack kills", module="tests.campaign.kill.stack", short=30, long=1_000, block=16, cores=0.9, seed=40_000, limit_s=2_400),
    Engine(name="simulation", module="tests.campaign.simulation", short=2_000, long=100_000, block=250, cores=1.0, seed=1, limit_s=1_800),
    Engine(name="mutants", module="tests.campaign.simulation.mutants", short=1, long=2, block=2, cores=1.0, seed=1, limit_s=10_800),
    Engine(name="images", module="tests.campaign.images", short=10_000, long=200_000, block=2_500, cores=1.0, seed=1, limit_s=900),
    Engine(name="store kills", module="tests.campaign.kill.store", short=2_000, long=20_000, block=1_000, cores=1.0, seed=1, limit_s=900),
    Engine(name="power", module="tests.campaign.power", short=50, long=2_000, block=50, cores=0.6, seed=1, limit_s=900),
)  # fmt: skip
"""In the order in which they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some trials of an engine, done in one process."""

    engine: Engine
    seed: int
    count: int

    @property
    def key(self) -> str:
        return f"{self.engine.name}:{self.seed}:{self.count}"


def blocks(
    engines: tuple[Engine, ...], *, long: bool, count: int | None = None, seed: int | None = None
) -> list[Block]:
    """Cut the plan into blocks: every engine's first, then every engine's second and so on."""
    lanes: list[list[Block]] = []
    for engine in engines:
        total = count or (engine.long if long else engine.short)
        begin = engine.seed if seed is None else seed
        lanes.append(
            [
                Block(engine=engine, seed=begin + at, count=min(engine.block, total - at))
                for at in range(0, total, engine.block)
            ]
        )
    return [lane[turn] for turn in range(max(map(len, lanes), default=0)) for lane in lanes if turn < len(lane)]
