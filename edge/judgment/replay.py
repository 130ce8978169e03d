"""Judging a recorded verdict again: with its own versions bit for bit, or with other rules, another model, other inputs.

Pure, and a dry run by nature: what comes out is a `Verdict` that nobody records. What the record does not hold is
missing, never invented; `Replayed.missing` lists it. What-ifs are in `whatif`, comparisons in `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec

from edge.judgment.given import Given, recalled
from edge.judgment.judge import Verdict, asks_model, judge, judged
from edge.judgment.names import LineNames, type_of
from models.expression_checker import Const, Op, Slot, Typed, Value, ValueType
from models.expression_interpreter import Why
from models.ruleset import Ruleset
from models.ruleset_inputs import NS_PER_S, tag_of
from sync.facts import Judged
from sync.judgment import Scored

ModelPart = Literal["none", "recorded", "recomputed", "not_held"]

REPEATABLE: Final = ("not_finite",)
"""How a failure begins that follows from the features alone. All others came of the moment (deadline, breaker_open, …)
or of the window (not_applicable, missing_input, …), of which a record holds the features only: they are taken as given."""


class Model(Protocol):
    """A model package as a replay needs it: the very code of the line, without its deadline."""

    @property
    def sha256(self) -> str:
        """Of the package, as verdicts name it."""
        ...

    def score(self, features: Mapping[str, float | None]) -> Scored:
        """Give the answer for features by name; one that is missing or None was missing then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What judges."""

    ruleset: Ruleset
    names: LineNames | None = None
    """What the line's rules may name; without it types are those of the recorded values."""
    model: Model | None = None
    """None = the recorded answer of the model is taken as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A verdict judged again."""

    original: Judged
    verdict: Verdict
    fact: Judged
    """What would have been recorded."""
    exact: bool
    """Whether that is the original, byte for byte."""
    differs: tuple[str, ...]
    """Fields of the fact that are not the same."""
    missing: tuple[str, ...]
    """Inputs these rules read and the record does not hold."""
    model: ModelPart
    """Where the model's answer comes from; `recorded` where no package is at hand, or it failed by the moment, `not_held`
    where the policy asks one and the record holds neither an answer nor features."""
    model_exact: bool | None
    """Whether the recomputed answer is the recorded one; None when it was not recomputed."""


def replay(fact: Judged, bundle: Bundle) -> Replayed:
    """Judge a recorded verdict again. Raises NotRepeatableError for one whose record keeps too little."""
    return judged_again(fact, bundle, *carried(fact, recalled(fact), bundle))


def judged_again(
    fact: Judged,
    bundle: Bundle,
    given: Given,
    missing: tuple[str, ...],
    features: Mapping[str, float | None] | None = None,
) -> Replayed:
    """Judge what is given in the place of a recorded verdict. features: other ones than the model was given then."""
    scored, source, same = _scored(fact, bundle, features)
    if scored is None and asks_model(bundle.ruleset, given):
        source = "not_held"
    verdict = judge(bundle.ruleset, given, scored=scored)
    new = judged(verdict)
    # A verdict that came from the cache differs from a fresh one in saying so, and in nothing else.
    old = msgspec.structs.replace(fact, cached=False) if fact.cached else fact
    differs = tuple(
        name for name in Judged.__struct_fields__ if content(getattr(new, name)) != content(getattr(old, name))
    )
    return Replayed(
        original=fact,
        verdict=verdict,
        fact=new,
        exact=not differs,
        differs=differs,
        missing=missing,
        model=source,
        model_exact=same,
    )


def content(value: object) -> bytes:
    """Give a part of a fact as bytes that do not depend on the order in which a database gave its names."""
    return msgspec.json.encode(value, order="deterministic")


def _scored(
    fact: Judged, bundle: Bundle, features: Mapping[str, float | None] | None
) -> tuple[Scored | None, ModelPart, bool | None]:
    recorded = fact.ml
    if bundle.model is None or (recorded is None and features is None):
        return recorded, "none" if recorded is None else "recorded", None
    own = recorded is not None and recorded.sha256 == bundle.model.sha256
    if recorded is not None and features is None and kept_as_it_was(recorded, own):
        return recorded, "recorded", None
    answer = bundle.model.score(features if features is not None else (recorded.features if recorded else {}))
    if recorded is None or not own:
        return answer, "recomputed", None
    # How long it took and what the last hundred inputs were like is of that moment, too.
    answer = msgspec.structs.replace(
        answer,
        latency_us=recorded.latency_us,
        drifted=recorded.drifted,
        # Contributions are told where there is time for them; then there was, or now there is.
        contributions=answer.contributions
        if answer.contributions and recorded.contributions
        else recorded.contributions,
    )
    return answer, "recomputed", content(answer) == content(recorded)


def kept_as_it_was(scored: Scored, own: bool) -> bool:
    """Tell whether a recorded failure stands: the features do not tell it. Another package may answer where one failed."""
    if scored.failure is None:
        return False
    return not scored.failure.startswith(REPEATABLE) if own else scored.failure.startswith("not_applicable")


def carried(fact: Judged, given: Given, bundle: Bundle) -> tuple[Given, tuple[str, ...]]:
    """Give what a recorded verdict stood on as the bundle's rules see it, and which of their inputs are not held."""
    ruleset = bundle.ruleset
    if ruleset.hash == fact.ruleset_hash:
        return given, ()
    values: dict[str, Value | None] = {}
    causes: dict[str, Why] = {}
    missing: list[str] = []
    types = slot_types(ruleset)
    for name in ruleset.program.variables:
        held, value, why = _held(name, given)
        if value is not None and not of_type(value, types[name]):
            value, why = None, "wrong_type"  # the tag was of another type when this was recorded
        values[name] = value
        if value is None:
            causes[name] = why or "missing"
        if not held:
            missing.append(name)
    faults, needed = needs(given, ruleset, bundle.names)
    units = dict(given.units)
    for check in ruleset.checks:
        if check.unit is None and check.unit_tag is not None and bundle.names is not None:
            unit = bundle.names.units.get(check.unit_tag)
            if unit is not None:
                units[check.unit_tag] = unit
    changed = msgspec.structs.replace(
        given,
        values=values,
        causes=causes,
        faults=faults,
        ages={tag: age for tag, age in given.ages.items() if faults.get(tag) == "stale"},
        needed=needed,
        units=units,
    )
    return changed, tuple(missing)


def _held(name: str, given: Given) -> tuple[bool, Value | None, Why | None]:
    """Give whether a record holds a name, its value, and why it has none."""
    for same in aliases(name):
        if same in given.values:
            return True, given.values[same], given.causes.get(same)
    head, _, field = name.partition(".")
    match head:
        case "state":
            return True, given.state, None
        case "window" if field == "duration_s":
            return True, (given.end - given.start) / NS_PER_S, None
        case "context":
            value = getattr(given.context, field, None)
            return True, value, None if value is not None else "unknown"
        case _:
            return False, None, None


def slot_types(ruleset: Ruleset) -> dict[str, ValueType]:
    """Give the type with which a ruleset's program was checked, of every name it reads."""
    found: dict[int, ValueType] = {}
    waiting: list[Typed] = list(ruleset.program.trees)
    while waiting:
        match waiting.pop():
            case Slot(index=index, type=kind):
                found[index] = kind
            case Op(arguments=arguments):
                waiting += arguments
            case Const():
                pass
    return {name: found.get(place, "double") for place, name in enumerate(ruleset.program.variables)}


def of_type(value: Value, kind: ValueType) -> bool:
    """Tell whether a recorded value is of a type; records do not tell whole numbers from others."""
    shown = type_of(value)
    return shown == kind or (shown == "double" and kind == "int")


def aliases(name: str) -> tuple[str, ...]:
    """Give the names of one thing: `oil` is `oil.last`."""
    head, _, field = name.partition(".")
    if tag_of(name) is None or field not in {"", "last"}:
        return (name,)
    return (name, f"{head}.last" if not field else head)


def needs(given: Given, ruleset: Ruleset, names: LineNames | None) -> tuple[dict[str, str], int]:
    """Give the faults of the tags that other rules than the recorded ones need, and how many tags those are."""
    seen = {tag for name in given.values if (tag := tag_of(name)) is not None}
    if names is not None:
        required, unnamed = set(names.required), 0
    else:  # how many the tag book required is told, and of those only the bad ones by name
        required = {*given.blind, *(given.faults.keys() - seen)}
        unnamed = max(0, given.needed - len(required | seen))
    needed = required | set(ruleset.tags)
    faults = {
        tag: given.faults.get(tag, "missing") if tag not in seen | required else given.faults.get(tag)
        for tag in sorted(needed)
    }
    return {tag: why for tag, why in faults.items() if why is not None}, len(needed) + unnamed
