"""Is a value one that the book lets expect? What all examinations of tags share. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from edge.drivers.finding import Finding, fault, ok, warning, worst
from edge.judgment.wording import UNIT_SYMBOLS
from edge.tags import TagSpec
from sync.reading import Scalar

NOTICED_S: Final = 2.0
"""Clocks that differ by more put a line's events in the wrong order beside another line's."""
WRONG_S: Final = 300.0
"""By more than this a clock is not merely off: it was set to something else."""
_TINY: Final = 1e-6
"""Of the engineering range: what lies nearer to zero and is not zero is not measured by anything."""
_USUAL: Final = (1e-6, 1e9)
"""Where a measured number without a range lies, zero apart."""


def engineering(raw: Scalar, spec: TagSpec) -> Scalar:
    """Give a raw number in the tag's unit; everything else as it is."""
    if isinstance(raw, bool | str) or raw is None or (spec.scale == 1.0 and spec.offset == 0.0):
        return raw
    return raw * spec.scale + spec.offset


def shown(value: Scalar, spec: TagSpec) -> str:
    """Write a value with its unit, and the name the book has for it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = "NaN" if math.isnan(value) else f"{value:.6g}"
    elif isinstance(value, str):
        text = repr(value)
    else:
        text = str(value)
    named = _name(value, spec)
    unit = "" if spec.unit is None or spec.unit == "C62" else UNIT_SYMBOLS.get(spec.unit, spec.unit)
    return f"{text}{f' {unit}' if unit else ''}{f' ({named})' if named else ''}"


def _name(value: Scalar, spec: TagSpec) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return spec.values.get(str(value), "")


def within(value: Scalar, spec: TagSpec) -> bool:
    """Tell whether a value lies in the tag's engineering range; what is no number always does."""
    if isinstance(value, bool | str) or value is None:
        return True
    low, high = (-math.inf if spec.low is None else spec.low), (math.inf if spec.high is None else spec.high)
    return not math.isnan(value) and low <= value <= high


def plausible(raw: Scalar, spec: TagSpec) -> bool | None:
    """Tell whether a raw number, as it was decoded, can be what the book speaks of; None: anything could be."""
    if isinstance(raw, bool | str) or raw is None:
        return None
    value = engineering(raw, spec)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    real = spec.type in {"float16", "float32", "float64"}
    if spec.low is not None or spec.high is not None:
        span = max(abs(spec.low or 0.0), abs(spec.high or 0.0))
        return within(value, spec) and not (real and 0 < abs(value) < span * _TINY)
    if spec.values:
        return bool(_name(raw, spec))
    if real:
        return raw == 0 or _USUAL[0] <= abs(raw) <= _USUAL[1]
    return None


def valued(value: Scalar, spec: TagSpec, tag: str, **words: Any) -> Finding:
    """Judge a value that the machine gave as good, in the tag's unit."""
    said = shown(value, spec)
    if isinstance(value, float) and not math.isfinite(value):
        return warning("tag", "tag.no_number", tag=tag, value=said, **words)
    if not within(value, spec):
        span = f"{'' if spec.low is None else f'{spec.low:g}'} … {'' if spec.high is None else f'{spec.high:g}'}"
        return warning("tag", "tag.range", tag=tag, value=said, range=span.strip(), **words)
    none = spec.role == "reason" and value in {0, ""}  # no reason needs no name
    if spec.values and value is not None and not none and not _name(value, spec):
        return warning("tag", "tag.unnamed", tag=tag, value=said, **words)
    return ok("tag", "tag.good", tag=tag, value=said, **words)


def off_by(offset_s: float, who: str) -> Finding:
    """Judge how far another clock is ahead of ours (negative: behind)."""
    words: dict[str, Any] = {"offset_s": abs(offset_s), "who": who, "seconds": round(offset_s, 3)}
    if abs(offset_s) > WRONG_S:
        return fault("clock", "tag.clock_ahead_far" if offset_s > 0 else "tag.clock_behind_far", **words)
    if abs(offset_s) > NOTICED_S:
        return warning("clock", "tag.clock_ahead" if offset_s > 0 else "tag.clock_behind", **words)
    return ok("clock", "tag.clock", **words)


def tally(findings: Sequence[Finding]) -> Finding:
    """Give one line about all tags of a connection; the tags that are not well stand for themselves."""
    tags = [finding for finding in findings if finding.tag is not None]
    good = sum(finding.severity == "ok" for finding in tags)
    words: dict[str, Any] = {"good": good, "all": len(tags)}
    severity = worst(tags)
    key = "tag.all_good" if severity == "ok" else "tag.some_good"
    return Finding(severity=severity, check="tags", key=key, words=words)
