"""Verdicts as a line makes them: real windows judged by real rules and a shipped model, with the facts that tell of both."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from edge.judgment import State, asks_model, gather, judge, judged
from edge.judgment.archive import activated
from edge.judgment.names import LineNames
from edge.judgment.scored import PackagedModel
from models.package import read
from models.rulesets import Ruleset, load
from models.window import Window
from sync.facts import Fact, Judged
from tests.edge.judgment.conftest import EXAMPLE, TAGS, S, window
from tests.edge.judgment.test_backtest import windows
from tests.servers import ROOT

LINE = "bottling/line-1/filler"
UNITS = {"oil_temperature": "CEL", "filling_pressure": "BAR", "vibration": "C16"}
NAMES = LineNames(
    work_unit=LINE,
    tags=TAGS,
    units={name: UNITS.get(name) for name in TAGS},
    required=["oil_temperature"],
    ranges={"oil_temperature": (0.0, 150.0)},
)
PACKAGE = ROOT / "models" / "library" / "bearing_wear" / "bearing_wear.tfm"
FEATURES = {
    "vibration_mean": 3.154, "vibration_min": 3.08, "vibration_max": 3.228, "vibration_spread": 0.0504,
    "bearing_temperature": 48.776, "speed": 91.2,
}  # fmt: skip
WARM = """
[ruleset]
name = "warm"
version = "2.0.0"
[[limit]]
name = "temperature"
title = { ko = "온도", en = "Temperature" }
value = "oil_temperature"
warning_high = 70
critical_high = 90
"""


def filler() -> Ruleset:
    return load(EXAMPLE, NAMES.environment())


def hybrid() -> Ruleset:
    """The same rules, with the bearing's model beside them."""
    text = EXAMPLE.read_text().replace('policy = "rule_only"', 'policy = "hybrid_weighted"')
    return load(text.replace("[[", '[model]\nname = "bearing_wear"\n\n[[', 1), NAMES.environment())


def now_ns() -> int:
    return time.time_ns() // (10 * S) * 10 * S


def at(base: int, seen: list[Window]) -> list[Window]:
    """Give windows as they would be, had they begun at a time of today, ns."""
    return [replace(one, start=base + one.start, end=base + one.end, work_unit=LINE) for one in seen]


def well(base: int, number: int = 0, **given) -> Window:
    """Give one window of a filler that runs well."""
    return at(base, [window(number, **given)])[0]


def history(base: int, count: int = 60, seed: int = 11) -> list[Window]:
    """Give windows in which everything happens: gaps, bad, stale and missing inputs."""
    made = at(base, windows(seed, count))
    return sorted({one.end: one for one in made}.values(), key=lambda one: one.end)


def told(ruleset: Ruleset, base: int, names: LineNames = NAMES) -> list[Fact]:
    """Give the facts that tell of a ruleset's activation."""
    return list(activated(ruleset, names, base))


def verdicts(ruleset: Ruleset, seen: list[Window], seed: int = 3) -> list[Judged]:
    """Judge windows as the line does, with the model where the rules ask for it."""
    model, draw, memory, facts = None, random.Random(seed), None, list[Judged]()
    for one in seen:
        given = gather(ruleset, one, memory=memory)
        scored = None
        if asks_model(ruleset, given):
            model = model or PackagedModel(read(PACKAGE, trusted=None))
            scored = model.score({name: value * draw.uniform(0.9, 1.3) for name, value in FEATURES.items()})
        verdict = judge(ruleset, given, scored=scored)
        memory: State | None = verdict.state
        facts.append(judged(verdict))
    return facts
