"""Where an answer begins and a level ends: one piece, one shift, one step to either side."""

from __future__ import annotations

from random import Random

import pytest

from cloud.bi.analyses.check import level
from cloud.bi.analyses.inference import holm
from cloud.bi.analyses.run import analyse
from cloud.bi.semantic.plan import Period, Plan
from tests.cloud.bi.analyses.plant import Aim, Plant, days, grid, shift_of
from tests.cloud.bi.analyses.test_analyses import LAST


@pytest.mark.parametrize(("pieces", "why"), [(19, "too_few_pieces"), (20, None)])
def test_a_proportion_is_ranked_from_a_hundred_pieces_on(pieces: int, why: str | None) -> None:
    """Five shifts are enough of them: 95 pieces are too few, 100 are not."""
    plant = Plant(grid(lambda *_: shift_of(pieces=pieces, bad=1), count=5, shifts=("A",), lines=("L1",)))
    plan = Plan(analysis="RANK", metrics=("scrap_ratio",), period=Period(first=days(14)[0], last=LAST))
    found = analyse(plan, plant)
    assert found.refused == (None if why is None else "insufficient_data")


@pytest.mark.parametrize(
    ("value", "up", "state"),
    [
        *((0.9, True, "met"), (0.89, True, "below"), (0.8, True, "below"), (0.79, True, "warning")),
        *((0.65, True, "warning"), (0.64, True, "critical")),
        *((0.02, False, "met"), (0.03, False, "below"), (0.031, False, "warning"), (0.051, False, "critical")),
    ],
)
def test_a_limit_that_is_reached_exactly_is_kept(value: float, up: bool, state: str) -> None:
    aim = Aim(0.9, 0.8, 0.65) if up else Aim(0.02, 0.03, 0.05)
    assert level(value, aim, up=up) == state
    assert (level(None, aim, up=up), level(value, None, up=up)) == ("no_figure", "no_target")


def test_every_correlation_is_judged_among_all_that_were_tried() -> None:
    """Two figures, four lags, two coefficients: eight questions of one table, corrected together (Holm)."""
    chance = Random(5)
    facts = grid(lambda *_: shift_of(bad=chance.randint(0, 60), down=chance.randint(0, 60)), count=30)
    plan = Plan(analysis="CORRELATE", metrics=("scrap_ratio", "oee"), period=Period(first=days(28)[0], last=LAST))
    found = analyse(plan, Plant(facts))
    column = {one.name: place for place, one in enumerate(found.columns)}
    plain = [[row[column[name]] for row in found.rows] for name in ("p", "spearman_p")]
    adjusted = [[row[column[name]] for row in found.rows] for name in ("p_holm", "spearman_p_holm")]
    assert adjusted[0] + adjusted[1] == holm(plain[0] + plain[1])
    assert adjusted != plain
    assert [row[column["significant"]] for row in found.rows] == [min(ps) < 0.05 for ps in zip(*adjusted, strict=True)]
