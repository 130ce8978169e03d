"""The bottling hall as data: lines, products, causes of stops, signals and shifts, with the stories planted in them.

Stories a dashboard should tell: line-2 underfills juice (7 to 10 % rejects whatever the shift); the night shift is
worse everywhere; line-3 stops often and for long; line-2's bearing wears out in a week and breaks more as it does;
the packer starves when line-3 stands still.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KST_OFFSET: Final = 9 * HOUR
"""Asia/Seoul has had no daylight saving since 1988: a constant is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A shift of the hall; hours are local. The night runs faster into trouble."""

    code: str
    start_hour: int
    hours: int = 8
    speed: float = 1.0
    rejects: float = 1.0
    """Factor on every reject probability."""
    repair: float = 1.0
    """Factor on how long a stop lasts: fewer people at night."""


SHIFTS: Final = (
    Shift(code="A", start_hour=6),
    Shift(code="B", start_hour=14, rejects=1.15, repair=1.1),
    Shift(code="C", start_hour=22, speed=0.95, rejects=2.0, repair=1.35),
)


def shift_at(at: int) -> Shift:
    """Give the shift in force at a time (ns UTC)."""
    hour = (at + KST_OFFSET) // HOUR % 24
    return SHIFTS[(hour - 6) % 24 // 8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a line can make."""

    code: str
    number: int
    """What a recipe register says."""
    ko: str
    en: str
    ideal_ms: dict[str, int]
    """Line → planned run time per item."""
    materials: dict[str, float]
    """Material → quantity per produced piece."""


PRODUCTS: Final = (
    Product(
        code="water-500",
        number=1,
        ko="생수 500 ml",
        en="Still water 500 ml",
        ideal_ms={"line-1": 150, "line-2": 160},
        materials={"preform-500": 1, "cap-28": 1, "label-water": 1},
    ),
    Product(
        code="sparkling-500",
        number=2,
        ko="탄산수 500 ml",
        en="Sparkling water 500 ml",
        ideal_ms={"line-1": 180, "line-3": 200},
        materials={"preform-500": 1, "cap-28": 1, "label-sparkling": 1, "co2": 0.0035},
    ),
    Product(
        code="juice-350",
        number=3,
        ko="감귤 주스 350 ml",
        en="Mandarin juice 350 ml",
        ideal_ms={"line-2": 240, "line-3": 230},
        materials={"preform-350": 1, "cap-38": 1, "label-juice": 1, "concentrate": 0.06},
    ),
    Product(
        code="case-sparkling-24",
        number=11,
        ko="탄산수 24병 상자",
        en="Case of 24 sparkling",
        ideal_ms={"line-4": 4_000},
        materials={"carton-24": 1, "hot-melt": 0.004},
    ),
    Product(
        code="case-juice-12",
        number=12,
        ko="주스 12병 상자",
        en="Case of 12 juice",
        ideal_ms={"line-4": 3_000},
        materials={"carton-12": 1, "hot-melt": 0.003},
    ),
)
PRODUCT: Final = {product.code: product for product in PRODUCTS}

REASONS: Final = {
    "jam": 10,
    "no_caps": 11,
    "label_roll": 12,
    "filler_fault": 20,
    "bearing_fault": 21,
    "sensor_fault": 22,
    "glue_fault": 23,
    "quality_hold": 30,
    "operator": 31,
    "changeover": 40,
    "cleaning": 41,
    "planned_maintenance": 42,
    "break": 43,
    "no_order": 44,
    "starved": 50,
    "blocked": 51,
}
"""Stop reason → code in the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a line stops: every `every_h` running hours on average, for `minutes` (median of a lognormal)."""

    reason: str
    every_h: float
    minutes: float
    kind: Literal["held", "aborted"] = "held"
    wear: float = 0.0
    """How much more often at full wear: rate × (1 + wear × w²)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A measured quantity: first-order lag towards a target that depends on state, product, wear and excursions."""

    name: str
    idle: float
    run: float
    tau_s: float
    noise: float
    decimals: int
    period_s: float = 1.0
    """How often the sensor gives a value; its time stamps stand on this grid."""
    wear: float = 0.0
    """Added at full wear (grows with w²)."""
    by_product: dict[str, float] = field(default_factory=dict[str, float])
    """Product → added to the target while it is made."""
    excursion: float = 0.0
    """Size of this signal's excursions; 0 means it has none."""
    drives: str | None = None
    """Reject type that an excursion multiplies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSpec:
    """One line."""

    line: str
    work_unit: str
    products: dict[str, float]
    """Product → how often an order is for it."""
    pace: float
    """Speed against the ideal while all is well."""
    rejects: dict[str, float]
    """Reject type → probability per piece in shift A."""
    worse: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Product → reject type → probability instead; such a fault of the recipe is there in any shift."""
    causes: tuple[Cause, ...]
    signals: tuple[Signal, ...]
    power_kw: tuple[float, float]
    """Idle, running."""
    bearing_days: float
    """Running days until the bearing is worn out."""
    break_minute: int
    """Minutes after the begin of each shift; lines take turns."""
    cleaning: tuple[int, int] | None
    """Local minute of the day, minutes."""
    maintenance: tuple[int, int, int]
    """Day of the week (Monday 0), local minute of the day, minutes."""
    order_h: float = 6.0
    """Length of a typical order at the ideal speed."""


BREAK_MINUTES: Final = 30


def _filler(**more: Signal) -> tuple[Signal, ...]:
    base = {
        "product_temperature": Signal(
            name="product_temperature",
            idle=9.0,
            run=5.0,
            tau_s=420,
            noise=0.08,
            decimals=2,
            excursion=4.5,
            drives="contamination",
        ),
        "fill_pressure": Signal(
            name="fill_pressure",
            idle=0.4,
            run=3.0,
            tau_s=8,
            noise=0.02,
            decimals=3,
            excursion=-0.55,
            drives="underfill",
        ),
        "fill_weight": Signal(
            name="fill_weight", idle=0.0, run=500.0, tau_s=2, noise=0.8, decimals=1, by_product={"juice-350": -150.0}
        ),
        "cap_torque": Signal(
            name="cap_torque", idle=0.0, run=1.8, tau_s=2, noise=0.03, decimals=3, excursion=-0.5, drives="cap"
        ),
        "vibration": Signal(name="vibration", idle=0.2, run=1.6, tau_s=5, noise=0.06, decimals=3, wear=5.2),
        "bearing_temperature": Signal(
            name="bearing_temperature", idle=24.0, run=46.0, tau_s=900, noise=0.2, decimals=2, wear=22.0
        ),
    }
    return tuple((base | more).values())


_PACKER = (
    Signal(
        name="glue_temperature",
        idle=120.0,
        run=165.0,
        tau_s=240,
        noise=0.4,
        decimals=1,
        excursion=-24.0,
        drives="glue",
    ),
    Signal(
        name="vacuum", idle=0.02, run=0.62, tau_s=3, noise=0.006, decimals=3, excursion=-0.15, drives="missing_bottle"
    ),
    Signal(name="case_weight", idle=0.0, run=12.9, tau_s=2, noise=0.03, decimals=2, by_product={"case-juice-12": -8.2}),
    Signal(name="vibration", idle=0.3, run=2.0, tau_s=5, noise=0.08, decimals=3, wear=4.0),
    Signal(name="motor_temperature", idle=26.0, run=58.0, tau_s=700, noise=0.25, decimals=2, wear=14.0),
)

LINES: Final = (
    LineSpec(
        line="line-1",
        work_unit="bottling/line-1/filler",
        products={"water-500": 3.0, "sparkling-500": 2.0},
        pace=0.97,
        rejects={"underfill": 0.005, "cap": 0.003, "label": 0.0035, "contamination": 0.0005},
        causes=(
            Cause(reason="jam", every_h=1.3, minutes=1.6),
            Cause(reason="no_caps", every_h=9, minutes=5),
            Cause(reason="filler_fault", every_h=26, minutes=16, kind="aborted", wear=1.0),
        ),
        signals=_filler(),
        power_kw=(6.0, 38.0),
        bearing_days=40,
        break_minute=170,
        cleaning=(5 * 60 + 5, 40),
        maintenance=(1, 7 * 60, 90),
    ),
    LineSpec(
        line="line-2",
        work_unit="bottling/line-2/filler",
        products={"water-500": 2.0, "juice-350": 2.0},
        pace=0.95,
        rejects={"underfill": 0.006, "cap": 0.004, "label": 0.004, "contamination": 0.001},
        worse={"juice-350": {"underfill": 0.064, "cap": 0.009, "label": 0.006, "contamination": 0.004}},
        causes=(
            Cause(reason="jam", every_h=1.0, minutes=1.8),
            Cause(reason="no_caps", every_h=8, minutes=5),
            Cause(reason="bearing_fault", every_h=30, minutes=22, kind="aborted", wear=7.0),
            Cause(reason="quality_hold", every_h=12, minutes=7),
        ),
        signals=_filler(
            fill_pressure=Signal(
                name="fill_pressure",
                idle=0.4,
                run=3.0,
                tau_s=8,
                noise=0.03,
                decimals=3,
                by_product={"juice-350": -0.42},
                excursion=-0.5,
                drives="underfill",
            )
        ),
        power_kw=(6.5, 36.0),
        bearing_days=7.5,
        break_minute=205,
        cleaning=(13 * 60 + 5, 40),
        maintenance=(2, 7 * 60, 120),
    ),
    LineSpec(
        line="line-3",
        work_unit="bottling/line-3/filler",
        products={"sparkling-500": 3.0, "juice-350": 1.0},
        pace=0.92,
        rejects={"underfill": 0.006, "cap": 0.006, "label": 0.010, "contamination": 0.001},
        causes=(
            Cause(reason="jam", every_h=0.34, minutes=1.7),
            Cause(reason="label_roll", every_h=1.4, minutes=3.5),
            Cause(reason="filler_fault", every_h=12, minutes=19, kind="aborted", wear=2.0),
            Cause(reason="operator", every_h=5, minutes=3),
        ),
        signals=_filler(),
        power_kw=(6.0, 33.0),
        bearing_days=30,
        break_minute=240,
        cleaning=(21 * 60 + 5, 40),
        maintenance=(3, 7 * 60, 90),
    ),
    LineSpec(
        line="line-4",
        work_unit="packaging/line-4/packer",
        products={"case-sparkling-24": 3.0, "case-juice-12": 1.0},
        pace=0.95,
        rejects={"glue": 0.006, "missing_bottle": 0.005, "crushed": 0.003},
        causes=(
            Cause(reason="jam", every_h=1.6, minutes=2.2),
            Cause(reason="glue_fault", every_h=18, minutes=12, kind="aborted"),
            Cause(reason="sensor_fault", every_h=14, minutes=4),
        ),
        signals=_PACKER,
        power_kw=(2.5, 11.0),
        bearing_days=35,
        break_minute=240,
        cleaning=None,
        maintenance=(4, 7 * 60, 60),
    ),
)
LINE: Final = {spec.line: spec for spec in LINES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupling:
    """When `cause` stands still on its own, `victim` is suspended once the conveyor between them is empty or full."""

    cause: str
    victim: str
    reason: Literal["starved", "blocked"]
    buffer_s: float
    lag_s: float


COUPLINGS: Final = (
    Coupling(cause="line-3", victim="line-4", reason="starved", buffer_s=150, lag_s=25),
    Coupling(cause="line-4", victim="line-3", reason="blocked", buffer_s=240, lag_s=10),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Something in the store: used by production, delivered when it falls below `reorder`."""

    code: str
    location: str
    unit: str
    start: float
    delivery: float
    reorder: float


MATERIALS: Final = (
    Material(code="preform-500", location="W1", unit="C62", start=2_400_000, delivery=2_400_000, reorder=1_200_000),
    Material(code="preform-350", location="W1", unit="C62", start=900_000, delivery=900_000, reorder=350_000),
    Material(code="cap-28", location="W1", unit="C62", start=3_000_000, delivery=3_000_000, reorder=1_500_000),
    Material(code="cap-38", location="W1", unit="C62", start=600_000, delivery=700_000, reorder=80_000),
    Material(code="label-water", location="W2", unit="C62", start=1_800_000, delivery=2_000_000, reorder=600_000),
    Material(code="label-sparkling", location="W2", unit="C62", start=1_500_000, delivery=1_800_000, reorder=500_000),
    Material(code="label-juice", location="W2", unit="C62", start=800_000, delivery=900_000, reorder=300_000),
    Material(code="concentrate", location="T1", unit="LTR", start=60_000, delivery=60_000, reorder=20_000),
    Material(code="co2", location="T2", unit="KGM", start=6_000, delivery=8_000, reorder=2_000),
    Material(code="carton-24", location="W3", unit="C62", start=60_000, delivery=80_000, reorder=25_000),
    Material(code="carton-12", location="W3", unit="C62", start=30_000, delivery=40_000, reorder=10_000),
    Material(code="hot-melt", location="W3", unit="KGM", start=600, delivery=800, reorder=200),
)
