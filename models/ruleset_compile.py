"""Entries of a ruleset file → checks over one program: names and types are settled here.

Limits and rules; the other kinds of checks are built in files of their own, with the same compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from models.expression import RESERVED, Environment, ExpressionError, ValueType, unit_misfit, unit_of
from models.expression_checker import Const, Op, Slot, Typed, check
from models.expression_parser import Node, parse
from models.ruleset import Action, Limit, Outcome, Rule, Side, Texts, Threshold, Write
from models.ruleset_file import ActionEntry, Entry, LimitEntry, Message, OutcomeEntry, RuleEntry, Severity, WriteEntry
from models.ruleset_file import severity_of as meant_by
from models.ruleset_inputs import NS_PER_S, tag_of
from models.ruleset_mistakes import mistakes
from models.ruleset_reason import slots_of
from models.toml_places import Path


class Blame(Protocol):
    """How the reader wants to hear of a fault: of an expression with its places, or of a whole value as a text."""

    def __call__(self, path: Path, error: ExpressionError | str, /) -> None: ...


@dataclass(slots=True)
class Compiler:
    """Collects the expressions of all checks; one list of trees and one of inputs for the whole ruleset."""

    environment: Environment
    blame: Blame
    slots: dict[str, int] = field(default_factory=dict[str, int])
    trees: list[Typed] = field(default_factory=list[Typed])

    def typed(self, text: str, path: Path, expect: ValueType | None) -> Typed | None:
        """Give the typed tree of an expression; None after its faults were told. expect: "double" takes an int, too."""
        try:
            return self._sound(check(text, parse(text), self.environment, self.slots, expect), path)
        except ExpressionError as error:
            self.blame(path, error)
            return None

    def typed_with(
        self,
        text: str,
        tree: Node,
        local: Mapping[str, Typed],
        path: Path,
        expect: ValueType | None,
        *,
        units: Mapping[str, str],
    ) -> Typed | None:
        """Give the typed tree of a parsed expression in which some names stand for trees of their own, with their units."""
        types: dict[str, ValueType] = {**self.environment.types, **{name: value.type for name, value in local.items()}}
        slots: dict[str, int] = {}
        try:
            known = Environment(types=types, units={**self.environment.units, **units})
            typed = check(text, tree, known, slots, expect)
        except ExpressionError as error:
            self.blame(path, error)
            return None
        places = {index: local.get(name) or self._slot(name) for name, index in slots.items()}
        return self._sound(_substituted(typed, places), path)

    def unit(self, text: str) -> str | None:
        """Give the UNECE code of a good expression's value; None when it is not known or compound."""
        return unit_of(text, self.environment)

    def measured(self, text: str, unit: str | None, path: Path) -> None:
        """Tell that a good expression's value is not in the unit its check declares."""
        misfit = unit_misfit(text, unit, self.environment)
        if misfit is not None:
            self.blame((*path, "unit"), misfit)

    def writable(self, path: Path, write: WriteEntry) -> None:
        """Tell that a write names no tag of the line, or a value that is none for it. path: of the write."""
        kind = self.environment.types.get(write.tag)
        if kind is None or write.tag in RESERVED:
            hint = self.environment.nearest(write.tag)
            self.blame((*path, "tag"), f"there is no tag {write.tag!r}" + (f"; {hint}" if hint else ""))
        elif kind == "string" or (kind == "bool") != isinstance(write.value, bool):
            self.blame((*path, "value"), f"{write.tag} is {kind}, and the value is {write.value!r}")

    def gate(self, entry: Entry, path: Path) -> Typed | bool | None:
        """Give the condition `only_when`; None without one, False after its faults were told."""
        if entry.only_when is None:
            return None
        return self.typed(entry.only_when, (*path, "only_when"), "bool") or False

    def add(self, tree: Typed) -> int:
        """Give the place of a tree in the program's results."""
        self.trees.append(tree)
        return len(self.trees) - 1

    def common(self, entry: Entry, gate: Typed | bool | None, value: Typed | None, *more: Typed) -> dict[str, Any]:
        """Give what all kinds of checks share, for their constructor. more: what else the check depends on."""
        gate = None if isinstance(gate, bool) else gate
        names = list(self.slots)
        uses = dict.fromkeys(names[index] for tree in (gate, value, *more) if tree for index in slots_of(tree))
        title = entry.name.replace("_", " ")
        single = tag_of(names[value.index]) if isinstance(value, Slot) else None
        return {
            "name": entry.name,
            "title": entry.title.both() if entry.title else {"ko": title, "en": title},
            "gate_at": None if gate is None else self.add(gate),
            "value_at": None if value is None else self.add(value),
            "unit": entry.unit,
            "unit_tag": single if entry.unit is None else None,
            "alarm": entry.alarm,
            "uses": tuple(uses),
            "priority": entry.priority,
            "suppressed_by": tuple(entry.suppressed_by),
        }

    def _sound(self, tree: Typed, path: Path) -> Typed:
        """Tell what is wrong with a tree that has the right types: no value ever, a text that never comes."""
        for mistake in mistakes(tree, list(self.slots)):
            self.blame(path, mistake)
        return tree

    def _slot(self, name: str) -> Slot:
        return Slot(self.slots.setdefault(name, len(self.slots)), self.environment.type_of(name) or "double")


def build_limit(compiler: Compiler, entry: LimitEntry, path: Path) -> Limit | None:
    """Give the check of a [[limit]]; None after its faults were told."""
    value = compiler.typed(entry.value, (*path, "value"), "double")
    gate = compiler.gate(entry, path)
    if value is None or gate is False:
        return None
    compiler.measured(entry.value, entry.unit, path)
    given: tuple[tuple[Side, Severity, float | None], ...] = (
        ("high", "critical", entry.critical_high),
        ("low", "critical", entry.critical_low),
        ("high", "warning", entry.warning_high),
        ("low", "warning", entry.warning_low),
    )
    return Limit(
        **compiler.common(entry, gate, value),
        thresholds=tuple(Threshold(side=a, severity=b, bound=c) for a, b, c in given if c is not None),
        hysteresis=entry.hysteresis,
        delay_ns=nanoseconds(entry.delay_s),
        confidence=entry.confidence,
        message=texts(entry.message),
        actions=actions(entry.actions),
        ccp=entry.ccp,
    )


def build_rule(compiler: Compiler, entry: RuleEntry, path: Path) -> Rule | None:
    """Give the check of a [[rule]]; None after its faults were told."""
    when = compiler.typed(entry.when, (*path, "when"), "bool")
    value = None if entry.value is None else compiler.typed(entry.value, (*path, "value"), None)
    gate = compiler.gate(entry, path)
    if when is None or gate is False or (value is None and entry.value is not None):
        return None
    if entry.value is not None:
        compiler.measured(entry.value, entry.unit, path)
    return Rule(
        **compiler.common(entry, gate, value, when),
        when_at=compiler.add(when),
        delay_ns=nanoseconds(entry.delay_s),
        outcome=outcome(entry, entry.threshold),
    )


def probe(compiler: Compiler, path: Path, raw: Mapping[str, Any]) -> None:
    """Look at the expressions of an entry that could not be read otherwise, only to tell their faults."""
    wanted: dict[str, ValueType | None] = {"only_when": "bool", "when": "bool"}
    if "inputs" not in raw:
        wanted["value"] = None
    for key, kind in wanted.items():
        if isinstance(raw.get(key), str):
            compiler.typed(raw[key], (*path, key), kind)
    inputs: Any = raw.get("inputs")
    if isinstance(inputs, dict):
        for name, text in cast("dict[str, Any]", inputs).items():
            if isinstance(text, str):
                compiler.typed(text, (*path, "inputs", name), None)


def nanoseconds(seconds: float) -> int:
    """Give a duration of the file as the judge counts it."""
    return round(seconds * NS_PER_S)


def outcome(entry: OutcomeEntry, threshold: float | str | None) -> Outcome:
    """Give what an entry says when it applies. threshold: what the shown value is held against."""
    return Outcome(
        severity=meant_by(entry.severity, entry.status),
        status=entry.status,
        confidence=entry.confidence,
        message=texts(entry.message),
        threshold=threshold,
        actions=actions(entry.actions),
    )


def texts(message: Message | None) -> Texts | None:
    """Give a message in both languages."""
    return None if message is None else message.both()


def actions(entries: list[ActionEntry]) -> tuple[Action, ...]:
    """Give the recommendations of an entry."""
    return tuple(
        Action(
            action_type=entry.action_type,
            priority=entry.priority,
            target=entry.target,
            on=entry.on,
            text={"ko": entry.ko or entry.en or "", "en": entry.en or entry.ko or ""},
            write=None if entry.write is None else Write(entry.write.tag, entry.write.value),
        )
        for entry in entries
    )


def _substituted(tree: Typed, replaced: dict[int, Typed]) -> Typed:
    match tree:
        case Slot():
            return replaced[tree.index]
        case Op():
            return Op(tree.name, tuple(_substituted(argument, replaced) for argument in tree.arguments), tree.type)
        case Const():
            return tree
