"""What the seeded plant makes, on what kind of line, and the stories that are planted there to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PALLET: Final = 100


@dataclass(frozen=True, slots=True)
class Product:
    """One product of every line."""

    code: str
    name: dict[str, str]
    effort: float
    """Its ideal cycle against the line's own."""
    defects: tuple[tuple[str, int], ...]
    """Defect type → weight."""


PRODUCTS: Final = (
    Product(
        "PROD-X",
        {"ko": "제품 X 하우징", "en": "Housing X"},
        1.0,
        (("dimension", 60), ("scratch", 20), ("crack", 12), ("functional", 8)),
    ),
    Product(
        "PROD-Y",
        {"ko": "제품 Y 커버", "en": "Cover Y"},
        0.9,
        (("scratch", 45), ("color", 30), ("dimension", 15), ("contamination", 10)),
    ),
    Product(
        "PROD-Z",
        {"ko": "제품 Z 브래킷", "en": "Bracket Z"},
        1.1,
        (("crack", 35), ("dimension", 30), ("scratch", 25), ("functional", 10)),
    ),
    Product(
        "PROD-W",
        {"ko": "제품 W 모듈", "en": "Module W"},
        1.2,
        (("functional", 50), ("contamination", 25), ("scratch", 15), ("color", 10)),
    ),
    Product(
        "PROD-V",
        {"ko": "제품 V 패널", "en": "Panel V"},
        0.8,
        (("color", 40), ("scratch", 35), ("contamination", 15), ("crack", 10)),
    ),
)

AT_NIGHT: Final = (("contamination", 3.0),)
"""Defect type → how many times more of it there is in the night shift."""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """What a sample is measured for; limits are critical, the process sits at `middle` with `spread` (1 sigma)."""

    name: str
    unit: str
    low: float
    high: float
    middle: float
    spread: float
    pieces: int
    """How many make a sample; one sample of every job order."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of line; the lines of a site take turns with them."""

    cycle_ms: int
    """Ideal, for a product of effort 1."""
    idle_w: int
    piece_mwh: int
    """Energy of a piece, thousandths of Wh."""
    characteristics: tuple[Characteristic, ...]
    ccp: Characteristic
    """Looked at once an order: a critical control point."""
    stops: tuple[tuple[str, str], ...]
    """(state, reason) of the short ones."""
    warm: float
    """What its main bearing's temperature is, degrees Celsius."""


KINDS: Final = (
    Kind(
        15_000,
        6_500,
        42_000,
        (
            Characteristic("torque", "NU", 8.0, 12.0, 10.0, 0.45, 5),
            Characteristic("width", "MMT", 24.8, 25.2, 25.0, 0.05, 2),
        ),
        Characteristic("weld_temperature", "CEL", 180.0, 220.0, 201.0, 4.0, 1),
        (("HELD", "jam"), ("SUSPENDED", "starved"), ("HELD", "sensor_fault"), ("SUSPENDED", "blocked")),
        58.0,
    ),
    Kind(
        25_000,
        4_000,
        28_000,
        (
            Characteristic("seal_strength", "NEW", 40.0, 60.0, 50.0, 2.3, 5),
            Characteristic("weight", "GRM", 495.0, 505.0, 500.4, 1.2, 2),
        ),
        Characteristic("seal_temperature", "CEL", 140.0, 165.0, 152.0, 2.5, 1),
        (("HELD", "jam"), ("HELD", "label_roll"), ("SUSPENDED", "starved"), ("SUSPENDED", "blocked")),
        46.0,
    ),
    Kind(
        38_000,
        2_500,
        15_000,
        (
            Characteristic("diameter", "MMT", 9.90, 10.10, 10.0, 0.024, 5),
            Characteristic("leak_rate", "BAR", 0.0, 0.05, 0.02, 0.007, 2),
        ),
        Characteristic("metal_detection", "MMT", 0.0, 1.5, 0.9, 0.12, 1),
        (("SUSPENDED", "starved"), ("HELD", "sensor_fault"), ("HELD", "quality_hold"), ("STOPPED", "operator")),
        41.0,
    ),
)


def kind_of(place: int) -> Kind:
    """Give the kind of a site's line by its place in the configuration."""
    return KINDS[place % len(KINDS)]


def ideal_ms(place: int, product: Product) -> int:
    """Give the planned run time per item, whole milliseconds."""
    return round(kind_of(place).cycle_ms * product.effort)


def bad_range(place: int, product: str, night: bool) -> tuple[float, float]:
    """Give between what shares of pieces fail: the first line's PROD-X always, and the night shift."""
    if place % len(KINDS) == 0 and product == "PROD-X":
        return 0.07, 0.10
    return (0.04, 0.06) if night else (0.01, 0.03)


def drifts(place: int, product: str) -> float:
    """Give by how many sigma the first characteristic is off its middle: the cause behind the first line's PROD-X."""
    return 2.2 if place % len(KINDS) == 0 and product == "PROD-X" else 0.0


def breaks_down(place: int) -> bool:
    """Tell whether this line's machine has the habit of standing still three or four times a month."""
    return place % len(KINDS) == 0
