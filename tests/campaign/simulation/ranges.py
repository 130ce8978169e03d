"""Ranges of numbers, both ends included."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Range = tuple[int, int]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Join what touches; gives them in order."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def holes(first: int, last: int, ranges: Sequence[Range]) -> list[Range]:
    """Give what of first … last is in none of the merged ranges."""
    found: list[Range] = []
    at = first
    for a, b in ranges:
        if b < at:
            continue
        if a > last:
            break
        if a > at:
            found.append((at, a - 1))
        at = b + 1
    if at <= last:
        found.append((at, last))
    return found


def covers(ranges: Sequence[Range], first: int, last: int) -> bool:
    """Tell whether merged ranges hold all of first … last."""
    place = bisect_right(ranges, (first, 2**63)) - 1
    return place >= 0 and ranges[place][0] <= first and last <= ranges[place][1]
