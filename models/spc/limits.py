"""Frozen limits of a chart: centre and σ as phase I found them, with a version and a hash. The line never estimates.

Every chart is one thing said in σ of the statistic that it plots: where a point stands (`place`) and where its limits are.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

Kind = Literal["individuals", "xbar", "ewma", "cusum", "p", "np", "c", "u"]

VARIABLES: Final = frozenset({"individuals", "xbar", "ewma", "cusum"})
"""Charts of measured values; the others count."""


class LimitsError(ValueError):
    """Limits that cannot be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a chart is held against.

    Either `sigma`, the standard deviation of a single value (not of a mean), or `lower` and `upper`, the 3 σ limits of the
    plotted points where these are not alike on both sides. Charts of counts need neither: their σ follows from the centre
    (a proportion for p and np, defects for c, defects per unit for u) and the number inspected; `sigma_z` is Laney's factor
    for more (or less) variation than the binomial or Poisson law has, 1 = none.
    """

    kind: Kind
    center: float
    sigma: float | None = None
    lower: float | None = None
    upper: float | None = None
    sigma_z: float = 1.0
    version: str = "1"

    def __post_init__(self) -> None:
        for name in ("center", "sigma", "lower", "upper", "sigma_z"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise LimitsError(f"{name} is {value}; give a finite number")
        if self.sigma_z <= 0:
            raise LimitsError(f"sigma_z {self.sigma_z:g} is not above 0")
        if self.kind in VARIABLES:
            self._check_measured()
        else:
            self._check_counted()

    def _check_measured(self) -> None:
        if self.sigma_z != 1.0:
            raise LimitsError(f"sigma_z is for charts of counts, not for {self.kind}")
        if self.sigma is not None:
            if self.lower is not None or self.upper is not None:
                raise LimitsError("give sigma, or lcl and ucl, not both")
            if self.sigma <= 0:
                raise LimitsError(f"sigma {self.sigma:g} is not above 0: every point would be beyond its limits")
            return
        if self.lower is None or self.upper is None:
            raise LimitsError("sigma is missing (or lcl and ucl)")
        if self.kind in {"ewma", "cusum"}:
            raise LimitsError(f"a chart of kind {self.kind} needs sigma, not lcl and ucl")
        if not self.lower < self.center < self.upper:
            raise LimitsError(f"lcl {self.lower:g}, center {self.center:g}, ucl {self.upper:g} are not in this order")

    def _check_counted(self) -> None:
        for name, value in (("sigma", self.sigma), ("lcl", self.lower), ("ucl", self.upper)):
            if value is not None:
                raise LimitsError(
                    f"a chart of kind {self.kind} takes no {name}: it follows from center and the number inspected"
                )
        if self.kind in {"p", "np"} and not 0 < self.center < 1:
            raise LimitsError(f"center {self.center:g} is no proportion between 0 and 1")
        if self.center <= 0:
            raise LimitsError(f"center {self.center:g} is not above 0")

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 of kind, numbers and version: it tells whether limits are those that were estimated."""
        content = [self.kind, self.center, self.sigma, self.lower, self.upper, self.sigma_z, self.version]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def centre(self, size: float = 1.0) -> float:
        """Give the centre line of the plotted points; of a np chart that of `size` inspected."""
        return self.center * size if self.kind == "np" else self.center

    def deviation(self, size: float = 1.0) -> float:
        """Give the σ of a plotted point of `size` values or inspected units; the mean of both sides for lopsided limits."""
        match self.kind:
            case "individuals" | "xbar" | "ewma" | "cusum":
                if self.sigma is not None:
                    return self.sigma / math.sqrt(size)
                return ((self.upper or 0.0) - (self.lower or 0.0)) / 6
            case "p":
                return self.sigma_z * math.sqrt(self.center * (1 - self.center) / size)
            case "np":
                return self.sigma_z * math.sqrt(self.center * (1 - self.center) * size)
            case "c":
                return self.sigma_z * math.sqrt(self.center)
            case "u":
                return self.sigma_z * math.sqrt(self.center / size)

    def place(self, value: float, size: float = 1.0) -> float:
        """Give where a plotted value stands, in σ from the centre."""
        distance = value - self.centre(size)
        if self.lower is not None and self.upper is not None:
            return 3 * distance / (self.upper - self.center if distance >= 0 else self.center - self.lower)
        return distance / self.deviation(size)

    def line(self, sigmas: float, size: float = 1.0) -> float:
        """Give the value that stands `sigmas` from the centre; counts are never below 0, proportions never above 1."""
        if self.lower is not None and self.upper is not None:
            side = self.upper - self.center if sigmas >= 0 else self.center - self.lower
            return self.center + sigmas * side / 3
        value = self.centre(size) + sigmas * self.deviation(size)
        if self.kind in VARIABLES:
            return value
        top = {"p": 1.0, "np": size}.get(self.kind, math.inf)
        return min(max(0.0, value), top)
