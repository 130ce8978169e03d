"""Where a change comes from: parts that sum to it exactly. Pure, in fractions.

A ratio R = sum(n) / sum(d) over groups changes because groups changed (rate) and because their weights did (mix):

    part  = n1/D1 - n0/D0 - M (w1 - w0)      w = d/D, M the mean of both R
    mix   = (w1 - w0) (r - M)                r the mean of the group's own ratio in both periods
    rate  = part - mix                       = (r1 - r0) (w0 + w1) / 2

The parts sum to R1 - R0 whatever the groups are, because the weights sum to 1 both times; the midpoints make the answer
the same in both directions (T. L. Bennet 1920; for productivity the same split is known as shift-share).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.bi.analyses.inference import Pair, Ratio, ratio_of

Keys = tuple[str, ...]
NOTHING: Final = (Fraction(0), Fraction(0))
Sides = Mapping[Keys, tuple[Fraction, Fraction]]
"""Group → (numerator, denominator)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a group adds to the change."""

    keys: Keys
    before: Fraction | None
    after: Fraction | None
    """Its own ratio, or sum."""
    weight_before: Fraction
    weight_after: Fraction
    mix: Fraction
    rate: Fraction

    @property
    def total(self) -> Fraction:
        return self.mix + self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A change along one dimension, or a pair."""

    name: str
    dimensions: tuple[str, ...]
    parts: Sequence[Part]
    sure: frozenset[Keys] = frozenset()
    """Groups that changed by more than their samples usually vary."""
    strength: float = 0.0
    """How much the dimension explains, 0 to 1."""
    factor: float = 1.0
    """From the parts to the metric's unit."""

    def value(self, part: Fraction | None) -> float | None:
        """Give a part's figure in the metric's unit."""
        return None if part is None else float(part) * self.factor


def ratio_parts(before: Sides, after: Sides) -> list[Part]:
    """Split the change of a ratio over groups, the largest part first. ValueError where a whole has no denominator."""
    (n0, d0), (n1, d1) = _whole(before), _whole(after)
    if d0 <= 0 or d1 <= 0:
        raise ValueError("a period without a denominator has no ratio")
    middle = (n0 / d0 + n1 / d1) / 2
    parts: list[Part] = []
    for keys in {**before, **after}:
        (a, b), (c, d) = before.get(keys, NOTHING), after.get(keys, NOTHING)
        w0, w1 = b / d0, d / d1
        own = [n / m for n, m in ((a, b), (c, d)) if m != 0]
        part = c / d1 - a / d0 - middle * (w1 - w0)
        mix = (w1 - w0) * (sum(own, Fraction(0)) / len(own) - middle) if own else Fraction(0)
        parts.append(
            Part(
                keys=keys, before=a / b if b else None, after=c / d if d else None,
                weight_before=w0, weight_after=w1, mix=mix, rate=part - mix,
            )
        )  # fmt: skip
    return sorted(parts, key=lambda part: (-abs(part.total), part.keys))


def sum_parts(before: Sides, after: Sides) -> list[Part]:
    """Split the change of a sum over groups, the largest part first; all of it is rate."""
    parts: list[Part] = []
    for keys in {**before, **after}:
        (a, _), (b, _) = before.get(keys, NOTHING), after.get(keys, NOTHING)
        zero = Fraction(0)
        parts.append(Part(keys=keys, before=a, after=b, weight_before=zero, weight_after=zero, mix=zero, rate=b - a))
    return sorted(parts, key=lambda part: (-abs(part.total), part.keys))


def _whole(sides: Sides) -> tuple[Fraction, Fraction]:
    return sum((n for n, _ in sides.values()), Fraction(0)), sum((d for _, d in sides.values()), Fraction(0))


def concentration(parts: Sequence[Part]) -> float:
    """Give how far from evenly a change lies along a dimension: 0 = every group changed alike, towards 1 = one group did.

    Half the sum of the distances between each group's share of what moved and its weight.
    """
    whole = sum(abs(part.total) for part in parts)
    weights = [(part.weight_before + part.weight_after) / 2 for part in parts]
    if not whole or not sum(weights):
        return 0.0
    return float(sum(abs(abs(p.total) / whole - w) for p, w in zip(parts, weights, strict=True)) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A group that differs from the rest, and by how much of the numerator."""

    dimensions: tuple[str, ...]
    keys: Keys
    own: Ratio
    rest: Ratio
    excess: float
    """What its numerator has beyond what the rest's ratio would give it."""
    z: float


def standing_out(
    samples: Mapping[Keys, Sequence[Pair]],
    dimensions: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    least_samples: int,
    least_z: float,
    most: int,
) -> list[Standing]:
    """Find the groups (values of one dimension, or of a pair) that differ most surely from the rest, one after the other.

    samples: value of every dimension → (numerator, denominator) of each shift. What was found is set aside before the
    next is looked for, so that one bad product on one line does not accuse the whole line, nor the product elsewhere.
    """
    left = {keys: np.asarray(pairs, dtype=np.float64).reshape(-1, 2) for keys, pairs in samples.items()}
    found: list[Standing] = []
    views = [(one,) for one in dimensions] + list(pairs)
    while len(found) < most:
        best: Standing | None = None
        for view in views:
            places = [dimensions.index(one) for one in view]
            groups: dict[Keys, list[Keys]] = {}
            for keys in left:
                groups.setdefault(tuple(keys[place] for place in places), []).append(keys)
            for group, members in groups.items():
                one = _against_rest(left, members, tuple(view), group, least_samples)
                if one is not None and (best is None or abs(one.z) > abs(best.z)):
                    best = one
        if best is None or abs(best.z) < least_z:
            break
        found.append(best)
        places = [list(dimensions).index(one) for one in best.dimensions]
        left = {keys: pairs for keys, pairs in left.items() if tuple(keys[p] for p in places) != best.keys}
    return found


def _against_rest(
    left: Mapping[Keys, NDArray[np.float64]], members: Sequence[Keys], view: tuple[str, ...], group: Keys, least: int
) -> Standing | None:
    inside = set(members)
    others = [pairs for keys, pairs in left.items() if keys not in inside]
    if not others:
        return None
    own, rest = ratio_of(np.concatenate([left[keys] for keys in members])), ratio_of(np.concatenate(others))
    if own is None or rest is None or min(own.samples, rest.samples) < least:
        return None
    error = math.hypot(own.error, rest.error)
    if own.value == rest.value or not math.isfinite(error):
        return None
    z = (own.value - rest.value) / error if error > 0 else math.copysign(1e9, own.value - rest.value)
    excess = own.numerator - rest.value * own.denominator
    return Standing(dimensions=view, keys=group, own=own, rest=rest, excess=excess, z=z)
