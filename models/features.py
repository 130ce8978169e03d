"""Features: from a window to the row a model is given, by the one definition that line, replay and training share.

A feature is an expression of the contract. A value that cannot be told (missing, bad, stale, divided by zero) is
replaced only as the contract says; one outside of its range beyond the tolerance is refused or clipped as it says, and
a clipped one is named. What a model must not be asked is a failure with its reason, and never a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.expression import Cause, Environment, Indeterminate, Program, Result, Value, ValueType, unit_misfit
from models.expression_checker import Typed, check
from models.expression_lexer import ExpressionError
from models.expression_parser import parse
from models.package.contract import FLOAT32_MAX, Contract, Feature
from models.ruleset_inputs import Reader, reader, tag_of
from models.window import Window


class FeatureError(Exception):
    """A contract's expression does not compile: the message names the feature, line, column and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """What a model is given of one window, or why it is not asked."""

    row: NDArray[np.float32]
    """(1, features); NaN stands where a value is missing that the model may miss. Run it only without a failure."""
    named: dict[str, float | None]
    """Feature → value as computed, before clipping and imputation; None when there is none.

    Each the shortest decimal of its float32: a record of it is short, and `Features.row` makes the same row of it.
    """
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """Feature without a value → why: `vibration.mean stale`."""
    outside: tuple[str, ...] = ()
    """Features out of their range, within the tolerance or not."""
    clipped: tuple[str, ...] = ()
    """Those of them that the row holds at the border of their range."""
    failure: str | None = None
    """`not_applicable: …`, `wrong_unit: …`, `missing_input: …` or `out_of_range: …`."""


class Features:
    """The features of one contract, compiled."""

    def __init__(self, contract: Contract, environment: Environment | None = None) -> None:
        """Compile. environment: what the line's windows offer; None: what the contract itself says it names.

        Raises FeatureError.
        """
        self.contract: Final = contract
        known = contract.environment() if environment is None else environment
        slots: dict[str, int] = {}
        trees = [_checked(one.name, one.expression, known, slots, "double") for one in contract.features]
        misfits = [
            f"{one.name}: {misfit}"
            for one in contract.features
            if (misfit := unit_misfit(one.expression, one.unit, known))
        ]
        if misfits:
            raise FeatureError("; ".join(misfits))
        self._applies = contract.only_when is not None
        if contract.only_when is not None:
            trees.append(_checked("only_when", contract.only_when, known, slots, "bool"))
        self.variables: Final = tuple(slots)
        """What the expressions name, in the order of `of`."""
        self._readers: tuple[Reader, ...] = tuple(
            reader(name, known.type_of(name) or "double") for name in self.variables
        )
        self._program: Final = Program(trees, slots)
        declared = {one.tag: one.unit for one in contract.inputs}
        foreign = sorted({tag for name in self.variables if (tag := tag_of(name)) is not None and tag not in declared})
        if foreign:
            raise FeatureError(f"the features name {', '.join(foreign)}, which the contract's inputs do not list")
        self._units = tuple((tag, unit) for tag, unit in sorted(declared.items()) if unit is not None)

    def unfit(self, units: Mapping[str, str | None]) -> list[str]:
        """Say what a line lacks for this model. units: tag → UNECE code, of every tag the line has."""
        faults: list[str] = []
        for one in self.contract.inputs:
            if one.tag not in units:
                faults.append(f"the line has no tag {one.tag!r}; the model {self.contract.name} needs it")
            elif one.unit is not None and units[one.tag] != one.unit:
                faults.append(
                    f"tag {one.tag!r} is in {units[one.tag] or 'no unit'}; the model {self.contract.name} was trained "
                    f"on {one.unit}: convert it in the tag book (scale, unit), or train anew"
                )
        return faults

    def vector(self, window: Window) -> Vector:
        """Give the row of a window."""
        wrong = [
            f"{name} is in {tag.unit or 'no unit'}, not {unit}"
            for name, unit in self._units
            if (tag := window.tags.get(name)) is not None and tag.unit != unit
        ]
        if wrong:
            return self._refused(f"wrong_unit: {', '.join(wrong)}")
        seconds = (window.end - window.start) / 1e9
        shortest, longest = self.contract.window_s
        if not shortest <= seconds <= longest:
            return self._refused(
                f"not_applicable: a window of {seconds:g} s; the model knows {shortest:g} to {longest:g} s"
            )
        return self._made([read(window) for read in self._readers])

    def of(self, values: Mapping[str, Value | Cause | None]) -> Vector:
        """Give the row of flat inputs, as a verdict's record or a training table holds them; None is missing.

        Length and units of the window are not looked at: who recorded it did.
        """
        inputs: list[Value | Cause] = []
        for name in self.variables:
            value = values.get(name)
            inputs.append(Cause(name, "missing") if value is None else value)
        return self._made(inputs)

    def table(self, columns: Mapping[str, Sequence[Value | None]], rows: int) -> list[Vector]:
        """Give the rows of a table, one by one through the very same code; a column that is absent is missing.

        columns: name of a variable → its values, NaN or None for missing.
        """
        cells = {name: columns[name] for name in self.variables if name in columns}
        return [self.of({name: _known(column[i]) for name, column in cells.items()}) for i in range(rows)]

    def row(self, named: Mapping[str, float | None]) -> NDArray[np.float32]:
        """Give the row of features that were computed before, as `Vector.named` holds them. (1, features)."""
        return self._given(named)[0]

    def recalled(self, named: Mapping[str, float | None]) -> Vector:
        """Give the row of features that were computed before, and what refuses it, as `vector` did then."""
        known = {one.name: named.get(one.name) for one in self.contract.features}
        return self._vector(known, {name: "missing" for name, value in known.items() if value is None})

    def _made(self, inputs: Sequence[Value | Cause]) -> Vector:
        known = not any(isinstance(value, Cause) for value in inputs)
        results = self._program.run(inputs, known=known)
        named: dict[str, float | None] = {}
        missing: dict[str, str] = {}
        for feature, result in zip(self.contract.features, results, strict=False):
            named[feature.name] = _number(result)
            if named[feature.name] is None:
                missing[feature.name] = _why(result)
        if self._applies and results[-1] is not True:
            told = "" if results[-1] is False else f" ({_why(results[-1])})"
            return self._refused(f"not_applicable: only when {self.contract.only_when}{told}", named, missing)
        return self._vector(named, missing)

    def _vector(self, named: dict[str, float | None], missing: dict[str, str]) -> Vector:
        row, outside, clipped, beyond = self._given(named)
        failure: str | None = None
        lacking = [f"{one.name} ({missing[one.name]})" for one in self.contract.features if not _may_lack(one, named)]
        if lacking:
            failure = f"missing_input: {', '.join(lacking)}"
        elif beyond:
            failure = f"out_of_range: {', '.join(beyond)}"
        return Vector(row=row, named=named, missing=missing, outside=outside, clipped=clipped, failure=failure)

    def _given(
        self, named: Mapping[str, float | None]
    ) -> tuple[NDArray[np.float32], tuple[str, ...], tuple[str, ...], list[str]]:
        """Give row, features outside, features clipped, and what is refused, in words."""
        row = np.empty((1, self.contract.width), np.float32)
        outside: list[str] = []
        clipped: list[str] = []
        beyond: list[str] = []
        for i, feature in enumerate(self.contract.features):
            value = named.get(feature.name)
            if value is None:
                row[0, i] = math.nan if feature.impute is None else feature.impute
                continue
            if not feature.low <= value <= feature.high:
                outside.append(feature.name)
                if not feature.low - feature.tolerance <= value <= feature.high + feature.tolerance:
                    if feature.beyond == "clip":
                        clipped.append(feature.name)
                    else:
                        beyond.append(f"{feature.name} is {value:g}, known from {feature.low:g} to {feature.high:g}")
                    value = min(max(value, feature.low), feature.high)
            row[0, i] = value
        return row, tuple(outside), tuple(clipped), beyond

    def _refused(
        self, why: str, named: dict[str, float | None] | None = None, missing: dict[str, str] | None = None
    ) -> Vector:
        nothing: dict[str, float | None] = {one.name: None for one in self.contract.features}
        row = np.full((1, self.contract.width), math.nan, np.float32)
        return Vector(row=row, named=nothing if named is None else named, missing=missing or {}, failure=why)


def stacked(vectors: Iterable[Vector]) -> NDArray[np.float32]:
    """Give (n, features) of many rows."""
    return np.concatenate([vector.row for vector in vectors])


def _checked(name: str, text: str, environment: Environment, slots: dict[str, int], expect: ValueType) -> Typed:
    try:
        return check(text, parse(text), environment, slots, expect)
    except ExpressionError as error:
        raise FeatureError(f"{name}: {error}") from error


def _number(result: Result) -> float | None:
    if isinstance(result, Indeterminate) or not isinstance(result, int | float) or not math.isfinite(result):
        return None
    return float(str(np.float32(result))) if abs(result) <= FLOAT32_MAX else float(result)


def _why(result: Result) -> str:
    if isinstance(result, Indeterminate):
        return ", ".join(f"{cause.variable} {cause.why}" for cause in result.causes) or "unknown"
    return "not finite"


def _may_lack(feature: Feature, named: Mapping[str, float | None]) -> bool:
    return feature.nullable or named[feature.name] is not None


def _known(value: Value | None) -> Value | None:
    return None if isinstance(value, float) and math.isnan(value) else value
