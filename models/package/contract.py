"""What a model takes and what its numbers mean: the part of a package that line, training and people agree on.

A model has one input, float32 (rows, features) in the order of `Contract.features`, and one output, float32
(rows, outputs) in the order of `Contract.outputs`. Labels are decided here, from the outputs, by thresholds: so the
border between normal and warning stands in the contract, can be read, and is the same number everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from models.expression import Environment, window_environment

Decision = Literal["normal", "warning", "critical"]
Policy = Literal["refuse", "clip"]

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
UNIT: Final = re.compile(r"[A-Z0-9]{2,3}")
TAG: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MOST_FEATURES: Final = 256
MOST_OUTPUTS: Final = 64
MOST_TEXT: Final = 2_000
FLOAT32_MAX: Final = 3.4e38


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a contract: what it does not know it refuses."""


class Input(_Part, frozen=True, kw_only=True):
    """A tag the features name. Its unit at the line must be this one: a model cannot tell bar from kilopascal."""

    tag: str
    unit: str | None = None
    """UNECE code; None for texts, booleans and plain numbers of no unit."""
    type: Literal["number", "bool", "string"] = "number"

    def __post_init__(self) -> None:
        _require(TAG.fullmatch(self.tag), f"{self.tag!r} is no name of a tag: letters, digits and _")
        _require(self.unit is None or UNIT.fullmatch(self.unit), f"{self.unit!r} is no UNECE unit code (CEL, BAR, C16)")


class Feature(_Part, frozen=True, kw_only=True):
    """One number a model is given, and how it comes from a window."""

    name: str
    expression: str
    """CEL over the window's environment, a double: `vibration.mean`, `100.0 * counts.scrap / counts.produced`."""
    unit: str
    """UNECE code of the feature itself; C62 for a plain number, P1 for percent."""
    low: float
    high: float
    """What training saw, with some air: the model knows nothing about values outside."""
    nullable: bool = False
    """The model may be asked although this one is missing."""
    impute: float | None = None
    """What stands for a missing value of a nullable feature; None: the model is given NaN, and knows what it means."""
    tolerance: float = 0.0
    """So far beyond [low, high] a value is still taken as it is (and counted as out of range)."""
    beyond: Policy = "refuse"
    """Beyond the tolerance: refuse (no answer: `out_of_range`), or clip to the range, which the answer then says."""
    title: dict[str, str] = {}
    """ko, en: what it is called in an explanation."""

    def __post_init__(self) -> None:
        _require(NAME.fullmatch(self.name), f"{self.name!r} is no name of a feature: small letters, digits and _")
        _require(UNIT.fullmatch(self.unit), f"{self.unit!r} is no UNECE unit code (CEL, BAR, C16; C62 for a number)")
        _require(0 < len(self.expression) <= MOST_TEXT, "an expression has 1 to 2,000 characters")
        _require(
            all(abs(n) < FLOAT32_MAX for n in (self.low, self.high, self.tolerance)) and self.low < self.high,
            f"{self.name}: low must be smaller than high, both finite",
        )
        _require(self.tolerance >= 0, f"{self.name}: a tolerance is 0 or more")
        _require(self.nullable or self.impute is None, f"{self.name}: impute has no meaning, it is not nullable")
        _require(
            self.impute is None or self.low <= self.impute <= self.high,
            f"{self.name}: what stands for a missing value must lie in its range",
        )


class Output(_Part, frozen=True, kw_only=True):
    """One number a model gives."""

    name: str
    low: float = 0.0
    high: float = 1.0
    """An answer outside of [low, high] (beyond 1e-4) is a failure of the model."""
    meaning: str = ""
    """For the integrator, English."""

    def __post_init__(self) -> None:
        _require(NAME.fullmatch(self.name), f"{self.name!r} is no name of an output: small letters, digits and _")
        _require(self.low < self.high, f"{self.name}: low must be smaller than high")


class Label(_Part, frozen=True, kw_only=True):
    """A word of the model, and when it is said: the first label whose output reaches `at_least`."""

    name: str
    decision: Decision
    output: str
    """Its value is the confidence of the answer."""
    at_least: float | None = None
    """None: always; the last label has None, no other."""
    title: dict[str, str] = {}

    def __post_init__(self) -> None:
        _require(NAME.fullmatch(self.name), f"{self.name!r} is no name of a label: small letters, digits and _")
        _require(self.at_least is None or math.isfinite(self.at_least), f"{self.name}: at_least must be finite")


class Training(_Part, frozen=True, kw_only=True):
    """Where a model comes from."""

    data: str
    """What it was trained on, one sentence."""
    data_sha256: str
    rows: int
    seed: int
    trainer: str
    """Library, estimator and versions."""
    converter: str
    metrics: dict[str, float] = {}
    """On data held out by time or run: name → value (`balanced_accuracy`, `balanced_accuracy_low` …)."""

    def __post_init__(self) -> None:
        _require(re.fullmatch(r"[0-9a-f]{64}", self.data_sha256), "data_sha256 is 64 hex digits")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the outputs of one row mean."""

    label: str
    decision: Decision
    confidence: float
    """Value of the label's output, kept in [0, 1]."""


class Contract(_Part, frozen=True, kw_only=True):
    """All of it. A contract that can be made is sound: names unique and known, ranges in order."""

    name: str
    version: str
    """Three numbers: 1.4.0."""
    title: dict[str, str]
    """ko and en."""
    work: str
    """classification or anomaly; for people."""
    inputs: tuple[Input, ...]
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    labels: tuple[Label, ...]
    """In the order in which they are tried."""
    window_s: tuple[float, float]
    """Shortest and longest window it may be asked about: statistics of another length are other features."""
    only_when: str | None = None
    """CEL, a bool: the model has been trained on such windows only; any other is `not_applicable`."""
    opset: dict[str, int]
    """Operator domain → version, as in the model."""
    score_meaning: str
    """What an output of 0.8 says, and what it does not (calibrated or not)."""
    deadline_ms: float = 50.0
    """p95 of one row, of CPU, on the gateway; `verify` measures."""
    minimum_software: str = "0.1.0"
    training: Training
    licence: str

    def __post_init__(self) -> None:
        _require(NAME.fullmatch(self.name), f"{self.name!r} is no name of a model: small letters, digits and _")
        _require(VERSION.fullmatch(self.version), f"version {self.version!r}: write three numbers, 1.0.0")
        _require(VERSION.fullmatch(self.minimum_software), "minimum_software: write three numbers, 1.0.0")
        _require({"ko", "en"} <= set(self.title), "title has a Korean and an English text: ko, en")
        _require(self.work in {"classification", "anomaly"}, "work is classification or anomaly")
        _require(1 <= len(self.features) <= MOST_FEATURES, f"a model has 1 to {MOST_FEATURES} features")
        _require(1 <= len(self.outputs) <= MOST_OUTPUTS, f"a model has 1 to {MOST_OUTPUTS} outputs")
        _require(1 <= len(self.labels) <= MOST_OUTPUTS, f"a model has 1 to {MOST_OUTPUTS} labels")
        for what, names in (
            ("tag", [one.tag for one in self.inputs]),
            ("feature", [one.name for one in self.features]),
            ("output", [one.name for one in self.outputs]),
            ("label", [one.name for one in self.labels]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            _require(not twice, f"{what} {', '.join(twice)} is there twice")
        known = {one.name for one in self.outputs}
        for label in self.labels:
            _require(label.output in known, f"label {label.name}: there is no output {label.output!r}")
        last = len(self.labels) - 1
        _require(
            all((label.at_least is None) == (i == last) for i, label in enumerate(self.labels)),
            "every label but the last has at_least; the last is said when no other is",
        )
        _require(0 < self.window_s[0] <= self.window_s[1], "window_s is the shortest and the longest window, above 0")
        _require(0 < self.deadline_ms <= 60_000, "deadline_ms is above 0 and at most 60,000")

    def environment(self) -> Environment:
        """Give what the features' expressions may name: the tags of `inputs`, state, context, counts."""
        types = {one.tag: "float64" if one.type == "number" else one.type for one in self.inputs}
        return window_environment(types, units={one.tag: one.unit for one in self.inputs})

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.features)

    def choose(self, outputs: Sequence[float]) -> Chosen:
        """Give the label of one row. outputs: finite, in the contract's order."""
        value = dict(zip((one.name for one in self.outputs), map(float, outputs), strict=True))
        for label in self.labels:
            if label.at_least is None or value[label.output] >= label.at_least:
                return Chosen(label.name, label.decision, min(1.0, max(0.0, value[label.output])))
        raise AssertionError("the last label holds always")  # __post_init__ made sure


def _require(holds: object, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
