"""All that a verdict stands on, taken from a window once: what the line judges, a replay judges again from the record.

`gather` takes it from a window; `told` is how it is kept in a verdict's fact (`Judged.inputs`, flat and readable), and
`recalled` makes it from there. Ruleset + Given + the model's answer → the same verdict, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from edge.judgment.room import left_out
from edge.judgment.state import State, dump, restore
from models.expression_checker import Value
from models.expression_interpreter import Cause, Why
from models.ruleset import Ruleset
from models.ruleset_inputs import tag_fault
from models.window import TagWindow, Window
from sync.facts import Context, Judged

UNRATED: Final = 0.75
"""History of a ruleset nobody has rated."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of one window when it was judged."""

    work_unit: str
    start: int
    end: int
    state: str
    """PackML name in force at the end."""
    context: Context
    values: dict[str, Value | None]
    """Name the ruleset reads → its value; None where `causes` says why there is none."""
    causes: dict[str, Why] = {}
    faults: dict[str, str] = {}
    """Needed tag → why it is no fully trusted input."""
    ages: dict[str, int] = {}
    """Stale tag → age of its last usable value, ns."""
    needed: int = 0
    """How many tags the verdict rests on."""
    blind: list[str] = []
    """Required tags that cannot be used: without them there is no verdict."""
    units: dict[str, str] = {}
    """Tag → UNECE code, for checks that take their unit from their tag."""
    memory: State = State()
    """What the verdict before left behind."""
    history: float = UNRATED
    """How often rated verdicts of this ruleset were right, 0..1."""

    def inputs(self, ruleset: Ruleset) -> tuple[list[Value | Cause], bool]:
        """Give the values of a ruleset's program, and whether all of them are known.

        A name it reads that this was not given (another version's ruleset) is missing.
        """
        found: list[Value | Cause] = []
        known = True
        for name in ruleset.program.variables:
            value = self.values.get(name)
            if value is None:
                found.append(Cause(name, self.causes.get(name, "missing")))
                known = False
            else:
                found.append(value)
        return found, known


def gather(ruleset: Ruleset, window: Window, *, memory: State | None = None, history: float | None = None) -> Given:
    """Take from a window what a ruleset's verdict stands on.

    memory: what the previous window's verdict gave; None at the beginning. history: `confidence.history`; None = nobody
    has rated this ruleset.
    """
    inputs, known = ruleset.inputs(window)
    names = ruleset.program.variables
    needed = needed_tags(ruleset, window)
    faults = {name: fault for name in needed if (fault := input_fault(window.tags.get(name))) is not None}
    context = window.context
    units: dict[str, str] = {}
    for check in ruleset.checks:
        if check.unit is None and check.unit_tag is not None and check.unit_tag in window.tags:
            unit = window.tags[check.unit_tag].unit
            if unit is not None:
                units[check.unit_tag] = unit
    return Given(
        work_unit=window.work_unit,
        start=window.start,
        end=window.end,
        state=window.state,
        context=Context(
            order=context.order, product=context.product, lot=context.lot, shift=context.shift, stale=context.stale
        ),
        values={n: _plain(v) for n, v in zip(names, inputs, strict=True)},
        causes={} if known else {n: v.why for n, v in zip(names, inputs, strict=True) if isinstance(v, Cause)},
        faults=faults,
        ages={name: window.tags[name].age_ns for name, why in faults.items() if why == "stale"},
        needed=len(needed),
        blind=[name for name in window.required if tag_fault(window.tags[name]) is not None],
        units=units,
        memory=State() if memory is None else memory,
        history=UNRATED if history is None else history,
    )


def needed_tags(ruleset: Ruleset, window: Window) -> list[str]:
    """Give the tags a verdict rests on: those the tag book requires, and those the ruleset reads."""
    return sorted({*window.required, *ruleset.tags})


def input_fault(tag: TagWindow | None) -> str | None:
    """Say why a tag is not a fully trusted input; None when it is present, good, fresh and in its range."""
    fault = tag_fault(tag)
    if fault is not None or tag is None:
        return fault
    if isinstance(tag.last, float | int) and (
        (tag.low is not None and tag.last < tag.low) or (tag.high is not None and tag.last > tag.high)
    ):
        return "out_of_range"
    return None if tag.quality == "good" else "uncertain"


def told(given: Given) -> dict[str, Value | None]:
    """Give it flat, by name in one order, as it stands in a verdict's fact.

    Names of an expression have no colon in them, so that what is said beside the values can hide none of them.
    """
    flat: dict[str, Value | None] = dict(given.values)
    for kind, said in (("why", given.causes), ("fault", given.faults), ("unit", given.units)):
        for name, text in said.items():
            flat[f"{kind}:{name}"] = text
    for tag, age in given.ages.items():
        flat[f"age:{tag}"] = str(age)
    if given.blind:
        flat["verdict:blind"] = " ".join(given.blind)
    flat["verdict:needed"] = float(given.needed)
    flat["verdict:memory"] = dump(given.memory).decode()
    flat["verdict:history"] = given.history
    return dict(sorted(flat.items()))


def values_of(inputs: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """Give the values alone, out of what `told` gave: what the rules read, by name."""
    return {name: value for name, value in inputs.items() if ":" not in name}


class NotRepeatableError(Exception):
    """A verdict whose record does not hold what it stood on; the message says why."""


def repeatable(fact: Judged) -> bool:
    """Tell whether a verdict's record is meant to hold all it stood on; one that left something out has form 1."""
    return fact.form >= FORM


def recalled(fact: Judged) -> Given:
    """Make what a recorded verdict stood on.

    Raises NotRepeatableError for verdicts from before form 2, and for those that left something out to fit a fact.
    """
    if gone := left_out(fact):
        raise NotRepeatableError(
            f"verdict {fact.verdict_id} was too large for its record ({fact.evidence.get('bytes')} bytes) and left out "
            f"{', '.join(gone)}; fewer checks that keep memory, or fewer windows of each, let it fit"
        )
    if fact.form < FORM:
        raise NotRepeatableError(f"verdict {fact.verdict_id} was recorded before verdicts kept all their inputs")
    flat = cast("dict[str, Any]", fact.inputs)
    parts: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        kind, colon, rest = name.partition(":")
        if colon:
            parts.setdefault(kind, {})[rest] = value
    verdict = parts.get("verdict", {})
    try:
        return Given(
            work_unit=fact.work_unit,
            start=fact.start,
            end=fact.at,
            state=fact.state,
            context=fact.context,
            values=values_of(fact.inputs),
            causes=parts.get("why", {}),
            faults=parts.get("fault", {}),
            ages={tag: int(age) for tag, age in parts.get("age", {}).items()},
            needed=round(verdict["needed"]),
            blind=str(verdict.get("blind", "")).split(),
            units=parts.get("unit", {}),
            memory=restore(verdict["memory"].encode()),
            history=float(verdict["history"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise NotRepeatableError(f"verdict {fact.verdict_id}: its record is incomplete: {error!r}") from error


FORM: Final = 2
"""What `told` writes. The meaning of judging itself is part of it: a change that judges the same inputs otherwise gets
a new number, and the old one stays readable."""


def _plain(value: Value | Cause) -> Value | None:
    """Give a value in the one form that a record brings back: no integers, no zero below zero, no cause."""
    if isinstance(value, Cause):
        return None
    return value if isinstance(value, str | bool) else value + 0.0
