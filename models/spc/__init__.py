"""Statistical process control, pure: constants, charts, rules, phase I, capability and how often a chart alarms for nothing.

`Limits` are frozen numbers; `advance` takes one point into a chart's `Memory` and gives its signals; `phase1` makes limits from data,
never the line. `docs/spc.md` says which chart is for what.
"""

from models.spc.chart import Design, Memory, Point, Signal, advance, series
from models.spc.limits import Kind, Limits, LimitsError
from models.spc.rules import NELSON, RULES, USUAL, WESTERN_ELECTRIC

__all__ = [
    "NELSON",
    "RULES",
    "USUAL",
    "WESTERN_ELECTRIC",
    "Design",
    "Kind",
    "Limits",
    "LimitsError",
    "Memory",
    "Point",
    "Signal",
    "advance",
    "series",
]
