"""What would have been said if an input had been another one: a recorded verdict with some of its inputs changed.

A name is what rules may write: `temperature.mean`, `counts.scrap`, `context.product`, `state`, or `feature.rms` for a
feature of the model. A tag's bare name means that it had this value throughout the window, so that its statistics
have it too; None means that there was no value. Counts are not added up anew: `counts.scrap` leaves `counts.good`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from edge.judgment.compare import Comparison, compare
from edge.judgment.given import Given, recalled
from edge.judgment.names import SHARES, type_of
from edge.judgment.replay import Bundle, Replayed, carried, judged_again
from models.expression_checker import Environment, Value, ValueType
from models.ruleset_change import Stuck
from models.ruleset_inputs import tag_of
from sync.facts import Context, Judged

FEATURE: Final = "feature."
Overrides = Mapping[str, Value | None]

_WANTED: Final[dict[ValueType, str]] = {
    "double": "a number", "int": "a whole number", "bool": "true or false", "string": "a text"
}  # fmt: skip


class OverrideFault(msgspec.Struct, frozen=True):
    """One change that cannot be made."""

    field: str
    message: str


class OverrideError(ValueError):
    """Changes that cannot be made; `faults` names every one of them."""

    def __init__(self, faults: list[OverrideFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{fault.field}: {fault.message}" for fault in faults))


class Modification(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """One input that was changed."""

    name: str
    before: Value | None
    after: Value | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict says, in short."""

    decision: str
    severity: str
    status: str | None
    confidence: float
    source: str
    summary: dict[str, str]
    matched: list[str]


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What the change does."""

    result_changed: bool
    confidence_change: float
    """New minus old, four decimals."""


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a what-if."""

    original_input: dict[str, Value | None]
    modified_input: dict[str, Value | None]
    modifications: list[Modification]
    original_result: Result
    what_if_result: Result
    impact: Impact
    comparison: Comparison
    missing: list[str]
    """Inputs these rules read and the record does not hold."""
    model: str
    """none, recomputed, not_held, or recorded: a recorded answer knows nothing of the change."""
    waiting: list[str] = []
    """Checks that are beyond a bound, or whose condition holds, and say nothing yet because of their delay."""


def result(fact: Judged) -> Result:
    """Give what a verdict says, in short."""
    return Result(
        decision=fact.decision, severity=fact.severity, status=fact.status, confidence=fact.confidence,
        source=fact.source, summary=fact.summary, matched=fact.matched,
    )  # fmt: skip


def what_if(fact: Judged, bundle: Bundle, overrides: Overrides) -> WhatIf:
    """Judge a recorded verdict with some inputs changed. Raises OverrideError and NotRepeatableError."""
    replayed, made, before = overridden(fact, bundle, overrides)
    comparison = compare(fact, replayed.fact)
    return WhatIf(
        original_input=before,
        modified_input=dict(replayed.verdict.given.values),
        modifications=made,
        original_result=result(fact),
        what_if_result=result(replayed.fact),
        impact=Impact(result_changed=comparison.result_changed, confidence_change=comparison.confidence_diff),
        comparison=comparison,
        missing=list(replayed.missing),
        model=replayed.model,
        waiting=[
            finding.check.name
            for finding in replayed.verdict.findings
            if finding.level == "ok" and finding.held.since and not isinstance(finding.check, Stuck)
        ],
    )


def overridden(
    fact: Judged, bundle: Bundle, overrides: Overrides
) -> tuple[Replayed, list[Modification], dict[str, Value | None]]:
    """Give the replay with changes, the changes made, and the inputs before. Raises as `what_if`."""
    given, missing = carried(fact, recalled(fact), bundle)
    before = dict(given.values)
    changing = _Changing(fact, given, bundle)
    for name, value in overrides.items():
        changing.take(name, value)
    if changing.faults:
        raise OverrideError(changing.faults)
    given = changing.given()
    missing = tuple(name for name in missing if given.values.get(name) is None)
    return judged_again(fact, bundle, given, missing, changing.features), changing.made, before


def parse(text: str, name: str, environment: Environment | None) -> Value | None:
    """Read a value as it is typed on a command line; `null` is none. What fits no type stays a text, and is refused later."""
    kind = None if environment is None else environment.type_of(name)
    if text == "null":
        return None
    if kind == "string":
        return text
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(slots=True)
class _Changing:
    """Collects changes and faults over one record."""

    fact: Judged
    before: Given
    bundle: Bundle
    faults: list[OverrideFault] = field(default_factory=list[OverrideFault])
    made: list[Modification] = field(default_factory=list[Modification])
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    features: dict[str, float | None] | None = None
    _environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        self._environment = _environment(self.bundle, self.before)
        given = self.before
        self.changes = {
            "values": dict(given.values),
            "causes": dict(given.causes),
            "faults": dict(given.faults),
            "ages": dict(given.ages),
            "blind": list(given.blind),
        }

    def take(self, name: str, value: Value | None) -> None:
        """Take one change, or note what is wrong with it."""
        if name.startswith(FEATURE):
            self._feature(name, value)
            return
        kind = self._environment.type_of(name)
        if kind is None:
            near = self._environment.nearest(name) or _nearest(name, self._environment.types)
            self._blame(name, f"there is no input of this name; {near}" if near else "there is no input of this name")
            return
        problem = _misfit(value, kind)
        if problem is None and name.startswith("counts.") and isinstance(value, float | int) and value < 0:
            problem = f"counts are never negative, not {value}"
        if problem is not None:
            self._blame(name, problem)
            return
        if kind == "double" and isinstance(value, int | float):
            value = float(value)
        head, _, part = name.partition(".")
        if head == "state":
            self._note(name, self.before.state, value)
            self.changes["state"] = value
        elif head == "context" and hasattr(self.before.context, part):
            context: Context = self.changes.get("context", self.before.context)
            self._note(name, getattr(context, part), value)
            self.changes["context"] = msgspec.structs.replace(context, **{part: value})
        elif tag_of(name) is not None and part in {"", "last"}:
            self._tag(name, head, value, whole=not part)
            return
        elif name not in self.changes["values"]:
            self._note(name, None, value)
        self._value(name, value)

    def given(self) -> Given:
        return msgspec.structs.replace(self.before, **self.changes)

    def _blame(self, name: str, problem: str) -> None:
        self.faults.append(OverrideFault(name, problem))

    def _note(self, name: str, before: Value | None, after: Value | None) -> None:
        if all(made.name != name for made in self.made):
            self.made.append(Modification(name=name, before=before, after=after))

    def _value(self, name: str, value: Value | None) -> None:
        """Change a name that the rules read; another one changes nothing but is said to have been changed."""
        values = self.changes["values"]
        if name not in values:
            return
        self._note(name, values[name], value)
        values[name] = value
        self.changes["causes"].pop(name, None)
        if value is None:
            self.changes["causes"][name] = "unknown" if name.startswith("context.") else "missing"

    def _tag(self, name: str, tag: str, value: Value | None, *, whole: bool) -> None:
        """Give a tag another value: throughout the window, or at its end; it is as good as the value is."""
        shares = [f"{tag}.{part}" for part in SHARES] if whole and not isinstance(value, str) else [f"{tag}.last"]
        read = [one for one in (tag, *shares) if one in self.changes["values"]]
        if not read:
            self._note(name, None, value)
        for one in read:
            self._value(one, value)
        if whole and f"{tag}.stddev" in self.changes["values"]:
            self._value(f"{tag}.stddev", None if value is None else 0.0)
        faults, blind = self.changes["faults"], self.changes["blind"]
        faults.pop(tag, None)
        self.changes["ages"].pop(tag, None)
        names = self.bundle.names
        required = tag in blind or (names is not None and tag in names.required)
        if value is None:
            if required or tag in self.bundle.ruleset.tags:
                faults[tag] = "missing"
        elif names is not None and isinstance(value, float) and tag in names.ranges:
            low, high = names.ranges[tag]
            if (low is not None and value < low) or (high is not None and value > high):
                faults[tag] = "out_of_range"
        self.changes["faults"] = dict(sorted(faults.items()))
        still = {*blind, tag} if value is None and required else set(blind) - {tag}
        self.changes["blind"] = sorted(still)

    def _feature(self, name: str, value: Value | None) -> None:
        recorded = None if self.fact.ml is None else self.fact.ml.features
        if self.bundle.model is None:
            self._blame(name, "a feature can be changed only where the model's package is at hand; name it")
            return
        known = recorded or {}
        feature = name.removeprefix(FEATURE)
        if feature not in known:
            near = _nearest(feature, known)
            self._blame(name, f"the model has no feature {feature!r}" + (f"; {near}" if near else ""))
            return
        problem = _misfit(value, "double")
        if problem is not None:
            self._blame(name, problem)
            return
        number = None if value is None else float(cast("float", value))
        self.features = dict(known) if self.features is None else self.features
        self._note(name, self.features[feature], number)
        self.features[feature] = number


def _environment(bundle: Bundle, given: Given) -> Environment:
    """Give what may be named: all that the line's rules may, or else what the record holds."""
    if bundle.names is not None:
        return bundle.names.environment()
    types: dict[str, ValueType] = {"state": "string", "context.stale": "bool"}
    types |= {f"context.{part}": "string" for part in ("order", "product", "lot", "shift")}
    for name, value in given.values.items():
        # What had no value shows no type; most are numbers, and what is none is refused by the rules themselves.
        kind = types[name] = type_of(value) or "double"
        tag = tag_of(name)
        if tag is not None and kind == "double":
            types.setdefault(tag, "double")
    return Environment(types=types)


def _misfit(value: Value | None, kind: ValueType) -> str | None:
    """Say why a value is none of a type; None when it is."""
    match value:
        case None:
            return None
        case bool():
            fits = kind == "bool"
        case int() | float():
            fits = kind in {"double", "int"}
            if fits and not math.isfinite(value):
                return f"{value} is no finite number"
        case str():
            fits = kind == "string"
        case _:
            fits = False
    return None if fits else f"must be {_WANTED[kind]}, not {value!r}"


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 3, 0.5)
    return f"nearest: {', '.join(near)}" if near else ""
