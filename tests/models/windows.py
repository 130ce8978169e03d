"""A window with a few tags, for tests of what is made from it."""

from __future__ import annotations

from dataclasses import replace

from models.window import TagWindow, Window
from sync.facts import Context

S = 1_000_000_000


def tag(name: str, value: float | str | None = 20.0, **changes) -> TagWindow:
    number = value if isinstance(value, float) else None
    made = TagWindow(
        name=name, unit=None, last=value, first=value, mean=number, min=number, max=number,
        stddev=None if number is None else 0.0, count=10, bad=0, status=0, age_ns=S, low=None, high=None,
        max_age_ns=30 * S, required=False,
    )  # fmt: skip
    return replace(made, **changes)


def window(*tags: TagWindow, seconds: int = 10, counts: dict[str, int] | None = None) -> Window:
    return Window(
        work_unit="a/b/c",
        start=100 * S,
        end=(100 + seconds) * S,
        tags={one.name: one for one in tags},
        state="EXECUTE",
        reason=None,
        context=Context(product="COLA-500"),
        counts=counts or {},
    )
