"""Units with their dimensions: what may be added, and what a quotient is measured in. Pure.

A sum of seconds and pieces, or a metric whose parts do not come to its unit, is refused when the catalogue is built,
not when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

Powers = tuple[tuple[str, int], ...]


class UnitError(ValueError):
    """Units that do not go together."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How many of the base units one of it is, and of what."""

    scale: Fraction
    powers: Powers = ()
    """Base quantity → power, sorted; empty for a plain number."""

    def __truediv__(self, other: Unit) -> Unit:
        powers = dict(self.powers)
        for base, power in other.powers:
            powers[base] = powers.get(base, 0) - power
        return Unit(self.scale / other.scale, tuple(sorted((b, p) for b, p in powers.items() if p)))


def _of(base: str, scale: Fraction | int = 1) -> Unit:
    return Unit(Fraction(scale), ((base, 1),))


_MICRO: Final = Fraction(1, 1_000_000)
UNITS: Final[dict[str, Unit]] = {
    "1": Unit(Fraction(1)),
    "times": Unit(Fraction(1)),
    "ppm": Unit(_MICRO),
    "us": _of("time", _MICRO),
    "ms": _of("time", Fraction(1, 1000)),
    "s": _of("time"),
    "min": _of("time", 60),
    "h": _of("time", 3600),
    "d": _of("time", 86_400),
    "pieces": _of("pieces"),
    "micropieces": _of("pieces", _MICRO),
    "Wh": _of("energy"),
    "units": _of("stock"),
    "microunits": _of("stock", _MICRO),
    "value": _of("value"),
    "microvalue": _of("value", _MICRO),
}
"""`units` is a material's own unit, `value` a characteristic's: figures of two materials add up only as people count."""


def unit(text: str) -> Unit:
    """Read `h`, or `pieces/h`. Raises UnitError."""
    over, slash, under = text.partition("/")
    try:
        return UNITS[over] / UNITS[under] if slash else UNITS[over]
    except KeyError as error:
        raise UnitError(f"there is no unit {error.args[0]!r} (in {text!r})") from error


def factor(given: Unit, wanted: str) -> Fraction:
    """Give by what a figure in one unit is multiplied to be in another. Raises UnitError when they measure two things."""
    to = unit(wanted)
    if given.powers != to.powers:
        raise UnitError(f"{_told(given)} cannot be told in {wanted} ({_told(to)})")
    return given.scale / to.scale


def same(units: dict[str, str]) -> Unit:
    """Give the one unit of what is added up, by name. Raises UnitError naming the two that cannot be."""
    names = list(units)
    for name in names[1:]:
        if units[name] != units[names[0]]:
            raise UnitError(
                f"{names[0]} is in {units[names[0]]} and {name} in {units[name]}: they cannot be added; convert first"
            )
    return unit(units[names[0]])


def _told(one: Unit) -> str:
    return "·".join(base if power == 1 else f"{base}^{power}" for base, power in one.powers) or "a plain number"
