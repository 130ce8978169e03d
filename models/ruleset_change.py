"""Checks on how a value moves: `[[change]]`, too fast, and `[[stuck]]`, not at all. Both remember from window to window."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, model_validator

from models.ruleset import Action, Check, Outcome, Side, Texts, Threshold
from models.ruleset_compile import Compiler, actions, nanoseconds, outcome, texts
from models.ruleset_file import Confidence, Entry, Expression, OutcomeEntry, Seconds, Severity
from models.ruleset_inputs import NS_PER_S
from models.toml_places import Path

Per = Literal["second", "minute", "hour"]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]

PER_NS: Final[dict[Per, float]] = {"second": NS_PER_S, "minute": 60 * NS_PER_S, "hour": 3600 * NS_PER_S}
_PER: Final[dict[Per, Texts]] = {
    "second": {"ko": "초당", "en": "per second"},
    "minute": {"ko": "분당", "en": "per minute"},
    "hour": {"ko": "시간당", "en": "per hour"},
}


class ChangeEntry(Entry):
    """A table [[change]]: how fast a number rises or falls."""

    value: Expression
    per: Per = "minute"
    over_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0
    """The change is taken over at least this long; 0 = from one window to the next."""
    warning_up: Rate | None = None
    critical_up: Rate | None = None
    warning_down: Rate | None = None
    critical_down: Rate | None = None
    hysteresis: Rate = 0.0
    delay_s: Seconds = 0.0
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ChangeEntry:
        names = ("critical_down", "warning_down", "warning_up", "critical_up")
        given = [
            (name, -value if name.endswith("down") else value)
            for name in names
            if (value := getattr(self, name)) is not None
        ]
        if not given:
            raise ValueError(f"a rate of change needs a threshold: {', '.join(reversed(names))}")
        for (lower, low), (upper, high) in itertools.pairwise(given):
            if lower.endswith("down") == upper.endswith("down") and low >= high:
                warning, critical = (lower, upper) if upper.startswith("critical") else (upper, lower)
                raise ValueError(f"{warning} is not below {critical}")
            if lower.endswith("down") and upper.endswith("up") and 2 * self.hysteresis >= high - low:
                raise ValueError(f"hysteresis {self.hysteresis:g} leaves nothing between {lower} and {upper}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Check):
    """A rate of change against thresholds; what falls is negative."""

    shape: ClassVar[str] = "change"

    per: Per
    over_ns: int
    thresholds: tuple[Threshold, ...]
    hysteresis: float
    delay_ns: int
    confidence: float | None
    message: Texts
    actions: tuple[Action, ...]

    @property
    def per_ns(self) -> float:
        """What the rate is per, ns."""
        return PER_NS[self.per]


class StuckEntry(Entry, OutcomeEntry):
    """A table [[stuck]]: a value that should move and does not."""

    value: Expression
    band: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """It does not move as long as its lowest and highest are no further apart than this."""
    for_s: Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Check):
    """A value that has not left a band for a time."""

    shape: ClassVar[str] = "stuck"

    band: float
    for_ns: int
    outcome: Outcome


def build_change(compiler: Compiler, entry: ChangeEntry, path: Path) -> Change | None:
    """Give the check of a [[change]]; None after its faults were told."""
    value = compiler.typed(entry.value, (*path, "value"), "double")
    gate = compiler.gate(entry, path)
    if value is None or gate is False:
        return None
    compiler.measured(entry.value, entry.unit, path)
    given: tuple[tuple[Side, Severity, float | None], ...] = (
        ("high", "critical", entry.critical_up),
        ("low", "critical", None if entry.critical_down is None else -entry.critical_down),
        ("high", "warning", entry.warning_up),
        ("low", "warning", None if entry.warning_down is None else -entry.warning_down),
    )
    per = _PER[entry.per]
    said = {
        "ko": f"{{title}} 변화가 {per['ko']} {{value}} {{unit}}로 한계 {{threshold}} {{unit}}를 벗어났습니다.",
        "en": f"{{title}} changes by {{value}} {{unit}} {per['en']}, beyond its limit of {{threshold}} {{unit}}.",
    }
    return Change(
        **compiler.common(entry, gate, value),
        per=entry.per,
        over_ns=nanoseconds(entry.over_s),
        thresholds=tuple(Threshold(side=a, severity=b, bound=c) for a, b, c in given if c is not None),
        hysteresis=entry.hysteresis,
        delay_ns=nanoseconds(entry.delay_s),
        confidence=entry.confidence,
        message=texts(entry.message) or said,
        actions=actions(entry.actions),
    )


def build_stuck(compiler: Compiler, entry: StuckEntry, path: Path) -> Stuck | None:
    """Give the check of a [[stuck]]; None after its faults were told."""
    value = compiler.typed(entry.value, (*path, "value"), None)
    gate = compiler.gate(entry, path)
    if value is not None and value.type in {"string", "bool"} and entry.band:
        compiler.blame((*path, "band"), f"a band needs a number, and value gives {value.type}; remove band")
        return None
    if value is None or gate is False:
        return None
    compiler.measured(entry.value, entry.unit, path)
    lasts = {language: duration(entry.for_s, language) for language in ("ko", "en")}
    said = {
        "ko": f"{{title}}: 값이 {{value}} {{unit}}에서 {lasts['ko']} 넘게 변하지 않았습니다.",
        "en": f"{{title}}: has not moved from {{value}} {{unit}} for {lasts['en']}.",
    }
    what = outcome(entry, entry.band)
    return Stuck(
        **compiler.common(entry, gate, value),
        band=entry.band,
        for_ns=nanoseconds(entry.for_s),
        outcome=Outcome(
            severity=what.severity,
            status=what.status,
            confidence=what.confidence,
            message=what.message or said,
            threshold=None,
            actions=what.actions,
        ),
    )


def duration(seconds: float, language: str) -> str:
    """Write a duration as people do: 90 s, 10 min, 2 h."""
    units = (("시간", "h", 3600), ("분", "min", 60), ("초", "s", 1))
    ko, en, size = next((unit for unit in units if seconds >= 2 * unit[2] and seconds % unit[2] == 0), units[-1])
    return f"{seconds / size:g}{ko}" if language == "ko" else f"{seconds / size:g} {en}"
