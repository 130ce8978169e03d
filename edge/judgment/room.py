"""What a verdict's fact leaves out when it is larger than any fact may be: always the same, in one order, and said.

A line is never stopped by the size of its verdict. Decision, severity, status and confidence stay whatever it takes,
and so does `verdict_id`, which is the hash over everything that was there. What is left out stands in
`Judged.evidence["left_out"]`, with the size of the whole in `evidence["bytes"]`. A verdict that left something out
cannot be judged again: what it stood on is no longer all there, and nothing is made up in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from edge.judgment.wording import short
from models.expression_checker import Value
from sync.fact import MAX_FACT_BYTES, Context
from sync.facts import Judged

LONG: Final = 500
"""Characters; a text beyond says nothing that a person reads in a verdict."""
SUMMARY: Final = 2_000
FOREMOST: Final = 20
"""Matched checks and recommended actions that a verdict always names; actions stand there with the most urgent first."""

INCOMPLETE: Final = 1
"""The form of records that keep too little to be judged again; nobody takes such a one for whole."""

_encode: Final = msgspec.json.Encoder().encode
_replace: Final = msgspec.structs.replace


def fitted(fact: Judged, most: int = MAX_FACT_BYTES) -> Judged:
    """Give a verdict's fact so that its JSON has at most `most` bytes; itself where it does."""
    size = len(_encode(fact))
    if size <= most:
        return fact
    told, less, gone = fact, fact, list[str]()
    for name, without in _STEPS:
        less = without(less)
        gone.append(name)
        told = _replace(less, form=INCOMPLETE, evidence={**less.evidence, "left_out": list(gone), "bytes": size})
        if len(_encode(told)) <= most:
            break
    return told


def left_out(fact: Judged) -> tuple[str, ...]:
    """Give what a verdict left out to fit: memory, texts, inputs, passed, checks, words; empty for nearly all."""
    return tuple(map(str, fact.evidence.get("left_out", ())))


def _without_memory(fact: Judged) -> Judged:
    return _replace(fact, inputs={name: value for name, value in fact.inputs.items() if name != "verdict:memory"})


def _without_texts(fact: Judged) -> Judged:
    """Leave long texts out, of inputs and of what checks looked at: a text cut short would be another value."""
    return _replace(
        fact,
        inputs={name: value for name, value in fact.inputs.items() if not _long(value)},
        checks=[_replace(check, value=None) if _long(check.value) else check for check in fact.checks],
    )


def _long(value: Value | None) -> bool:
    return isinstance(value, str) and len(value) > LONG


def _without_inputs(fact: Judged) -> Judged:
    return _replace(fact, inputs={})


def _without_passed(fact: Judged) -> Judged:
    return _replace(fact, checks=[check for check in fact.checks if check.status != "ok"])


def _without_checks(fact: Judged) -> Judged:
    return _replace(fact, checks=[])


def _in_few_words(fact: Judged) -> Judged:
    """Give what is bounded whatever was judged."""
    context, scored = fact.context, fact.ml
    return _replace(
        fact,
        status=_short(fact.status),
        summary={language: short(text, SUMMARY) for language, text in fact.summary.items()},
        matched=fact.matched[:FOREMOST],
        actions=[{key: short(text, LONG) for key, text in action.items()} for action in fact.actions[:FOREMOST]],
        context=Context(
            order=_short(context.order),
            product=_short(context.product),
            lot=_short(context.lot),
            shift=_short(context.shift),
            stale=context.stale,
        ),
        ml=None
        if scored is None
        else _replace(
            scored, label=_short(scored.label), failure=_short(scored.failure), scores={}, features={},
            contributions={},
        ),
    )  # fmt: skip


def _short(text: str | None) -> str | None:
    return None if text is None else short(text, LONG)


_STEPS: Final[tuple[tuple[str, Callable[[Judged], Judged]], ...]] = (
    ("memory", _without_memory),  # the largest by far, and nobody reads it
    ("texts", _without_texts),
    ("inputs", _without_inputs),
    ("passed", _without_passed),
    ("checks", _without_checks),
    ("words", _in_few_words),
)
