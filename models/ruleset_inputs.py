"""From a window to the inputs of a ruleset: one value or one cause per name that its expressions use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from models.expression import DERIVED, FIXED, STATISTICS
from models.expression_checker import Value, ValueType
from models.expression_interpreter import Cause
from models.window import TagWindow, Window

Reader = Callable[[Window], Value | Cause]

NS_PER_S: Final = 1e9


def tag_of(name: str) -> str | None:
    """Give the tag a name speaks of: `oil_temperature.mean` → `oil_temperature`; None for state, context, counts."""
    head = name.partition(".")[0]
    return None if head in {"state", "reason", "context", "counts", "window"} else head


def tag_fault(tag: TagWindow | None) -> str | None:
    """Say why a tag's value cannot be used: missing, bad, stale or no_values; None when it can."""
    if tag is None:
        return "missing"
    if tag.quality == "bad":
        return "bad"
    if tag.last is None:
        return "no_values"
    return "stale" if tag.age_ns > tag.max_age_ns else None


def reader(name: str, kind: ValueType) -> Reader:
    """Give the function that reads one name of a window, as the type the expressions were checked with."""
    if name in FIXED:
        return _fixed(name)
    head, _, field = name.partition(".")
    if head == "counts":
        return _count(name, field)
    return _tag(name, head, field or "last", kind)


def _fixed(name: str) -> Reader:
    match name:
        case "state":
            return lambda window: window.state
        case "reason":
            return lambda window: window.reason or ""
        case "window.duration_s":
            return lambda window: (window.end - window.start) / NS_PER_S
        case "context.stale":
            return lambda window: window.context.stale
        case _:
            field = name.partition(".")[2]
            unknown = Cause(name, "unknown")

            def read(window: Window) -> Value | Cause:
                value: str | None = getattr(window.context, field)
                return unknown if value is None else value

            return read


def _count(name: str, counter: str) -> Reader:
    missing = Cause(name, "missing")
    if counter == "defects":

        def total(window: Window) -> Value | Cause:
            gains = [gain for key, gain in window.counts.items() if key.startswith("defect.")]
            return float(sum(gains)) if gains else missing

        return total

    def read(window: Window) -> Value | Cause:
        gain = window.counts.get(counter)
        return missing if gain is None else float(gain)

    return read


def _tag(name: str, tag_name: str, field: str, kind: ValueType) -> Reader:
    causes = {why: Cause(name, why) for why in ("missing", "bad", "stale", "no_values", "wrong_type", "not_finite")}

    def current(window: Window) -> Value | Cause:
        tag = window.tags.get(tag_name)
        why = tag_fault(tag)
        if why is not None or tag is None:
            return causes[why or "missing"]
        return typed(tag.last)

    def reduced(window: Window) -> Value | Cause:
        tag = window.tags.get(tag_name)
        if tag is None:
            return causes["missing"]
        value = getattr(tag, field)
        if value is not None and tag.count > 0:
            return typed(value)
        # Without a value in this window the statistics are the last known one's, and as good as it is.
        fault = tag_fault(tag) or ("no_values" if value is None else None)
        return typed(value) if fault is None else causes[fault]

    def told(window: Window) -> Value | Cause:
        tag = window.tags.get(tag_name)
        if tag is None:
            return causes["missing"]
        match field:
            case "quality":
                return tag.quality
            case "age_s":
                return tag.age_ns / NS_PER_S
            case _:
                return float(getattr(tag, field))

    def typed(value: float | str | None) -> Value | Cause:
        if isinstance(value, str):
            return value if kind == "string" else causes["wrong_type"]
        if value is None or kind == "string":
            return causes["wrong_type"]
        if not math.isfinite(value):
            return causes["not_finite"]
        return value != 0 if kind == "bool" else float(value)

    if field == "last":
        return current
    if field in DERIVED:
        return _derived(name, tag_name, field)
    return reduced if field in STATISTICS or field == "first" else told


def _derived(name: str, tag_name: str, field: str) -> Reader:
    """What follows from two statistics is as good as both of them."""
    needed = {"range": ("max", "min"), "rms": ("mean", "stddev")}.get(field, ("last", "first"))
    left, right = (_tag(name, tag_name, one, "double") for one in needed)
    causes = {why: Cause(name, why) for why in ("overflow", "zero_division")}

    def read(window: Window) -> Value | Cause:
        a, b = left(window), right(window)
        if isinstance(a, Cause) or isinstance(b, Cause):
            return a if isinstance(a, Cause) else b
        found = math.sqrt(float(a) * float(a) + float(b) * float(b)) if field == "rms" else float(a) - float(b)
        if field == "rate":
            if window.end == window.start:
                return causes["zero_division"]
            found /= (window.end - window.start) / NS_PER_S
        return found if math.isfinite(found) else causes["overflow"]

    return read
