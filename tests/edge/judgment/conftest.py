"""Windows and rulesets for judging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.expression import window_environment
from models.rulesets import Ruleset, load
from models.window import TagWindow, Window
from sync.facts import Context

EXAMPLE = Path(__file__).parents[3] / "models" / "examples" / "filler.toml"
S = 1_000_000_000
TAGS = {"oil_temperature": "float32", "filling_pressure": "float32", "vibration": "float32", "sku": "string"}


def tag(name: str, last: float | str | None, **given) -> TagWindow:
    number = last if isinstance(last, float) else None
    plain = TagWindow(
        name=name, unit=None, last=last, first=last, mean=number, min=number, max=number, stddev=0.0, count=10, bad=0,
        status=0, age_ns=S, low=None, high=None, max_age_ns=30 * S, required=False,
    )  # fmt: skip
    return replace(plain, **given)


def window(number: int = 0, *, oil: float = 60.0, tags=(), **given) -> Window:
    """Give the ten seconds number `number` of a filler that runs well."""
    plain = Window(
        work_unit="bottling/line-1/filler",
        start=number * 10 * S,
        end=(number + 1) * 10 * S,
        tags={
            "oil_temperature": tag("oil_temperature", oil, unit="CEL", required=True, low=0.0, high=150.0),
            "filling_pressure": tag("filling_pressure", 3.0, unit="BAR"),
            "vibration": tag("vibration", 2.0, unit="C16"),
            "sku": tag("sku", "A"),
        },
        state="EXECUTE",
        reason=None,
        context=Context(order="O-1", product="COLA-500", lot="L-7", shift="A"),
        counts={"produced": 100, "good": 100, "scrap": 0},
    )
    changed = replace(plain, **given)
    return replace(changed, tags={**changed.tags, **{t.name: t for t in tags}})


def ruleset(text: str) -> Ruleset:
    return load(f'[ruleset]\nname = "r"\nversion = "1.0.0"\n{text}', window_environment(TAGS))


@pytest.fixture(scope="session")
def filler() -> Ruleset:
    return load(EXAMPLE, window_environment(TAGS))
