"""Ruleset files: read from TOML, checked whole, compiled.

`load` gives a `Ruleset` or raises `RulesetError` with every fault: line, column, what is wrong, what to write instead.
`examples/filler.toml` shows the whole form.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from models.expression import Environment, ExpressionError, Program
from models.ruleset import Action, AnyCheck, Check, Limit, Outcome, Results, Rule, Ruleset, Table, Threshold
from models.ruleset_compile import Compiler
from models.ruleset_file import FIELD_NAMES, Entry, Head, LimitEntry, RuleEntry, TableEntry
from models.ruleset_inputs import reader, tag_of
from models.toml_places import Path as KeyPath
from models.toml_places import Places, places

__all__ = [
    "Action",
    "AnyCheck",
    "Check",
    "Limit",
    "Outcome",
    "Results",
    "Rule",
    "Ruleset",
    "RulesetError",
    "RulesetFault",
    "Table",
    "Threshold",
    "load",
]

FORM: Final = "triflow-rules/1"
"""Part of every content hash: a change in what the same text means gets a new number."""
M = TypeVar("M", bound=BaseModel)

MAX_BYTES: Final = 256 * 1024
MAX_CHECKS: Final = 500

ENTRIES: Final[dict[str, type[LimitEntry | RuleEntry | TableEntry]]] = {
    "limit": LimitEntry,
    "table": TableEntry,
    "rule": RuleEntry,
}


@dataclass(frozen=True, slots=True, order=True)
class RulesetFault:
    """One thing wrong with a ruleset file."""

    line: int
    column: int
    where: str
    """`limit oil_temperature, value`."""
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        told = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{self.line}:{self.column}: {told}" + (f"; {self.hint}" if self.hint else "")


class RulesetError(ValueError):
    """A ruleset that cannot be used; `faults` lists all that is wrong, in the order of the file."""

    def __init__(self, source: str, faults: list[RulesetFault]) -> None:
        self.source = source
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(f"{source}:{fault}" for fault in self.faults))


def load(source: Path | str, environment: Environment) -> Ruleset:
    """Give the ruleset of a file (a Path) or of its text (a str); RulesetError lists every fault.

    environment: what the rules may name (`models.expression.window_environment` of the line's tags).
    """
    where = source.name if isinstance(source, Path) else "ruleset"
    text = _text(source, where)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesetError(where, [_syntax_fault(error)]) from error
    reading = _Reading(document, places(text), environment)
    ruleset = reading.ruleset()
    if ruleset is None or reading.faults:
        raise RulesetError(where, reading.faults)
    return ruleset


def _text(source: Path | str, where: str) -> str:
    try:
        raw = source.read_bytes() if isinstance(source, Path) else source.encode()
        if len(raw) > MAX_BYTES:
            raise RulesetError(where, [RulesetFault(1, 1, "", f"{len(raw)} bytes", f"at most {MAX_BYTES}; split it")])
        return raw.decode()
    except OSError as error:
        raise RulesetError(
            where, [RulesetFault(1, 1, "", f"cannot be read: {error.strerror}", f"check {source}")]
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RulesetError(where, [RulesetFault(line, 1, "", "is not UTF-8", "save the file as UTF-8")]) from error


def _syntax_fault(error: tomllib.TOMLDecodeError) -> RulesetFault:
    told = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
    problem, line, column = told.groups() if told else (str(error), None, None)
    return RulesetFault(int(line or 1), int(column or 1), "", f"not TOML: {problem}", "check quotes and brackets")


class _Reading:
    """One pass over one document: collects faults and compiled checks."""

    def __init__(self, document: dict[str, Any], at: Places, environment: Environment) -> None:
        self.document = document
        self.at = at
        self.compiler = Compiler(environment, self._expression_fault)
        self.faults: list[RulesetFault] = []
        self.names: dict[str, int] = {}

    def ruleset(self) -> Ruleset | None:
        """Give the ruleset, or None when its head or an entry could not be read."""
        for key in self.document.keys() - {"ruleset", *ENTRIES}:
            self.blame((key,), "", f"unknown table {key!r}", self._near(key, {"ruleset", *ENTRIES}))
        head = self._head()
        checks: list[AnyCheck] = []
        for kind, model in ENTRIES.items():
            listed: Any = self.document.get(kind, [])
            if not isinstance(listed, list):
                self.blame((kind,), "", f"[{kind}] must be [[{kind}]]", "each stands in double brackets")
                continue
            for position, raw in enumerate(cast("list[Any]", listed)):
                check = self._entry(model, (kind, position), raw)
                if check is not None:
                    checks.append(check)
        if not checks and not self.faults:
            self.blame((), "", "there is nothing to judge by", "add a [[limit]], [[table]] or [[rule]]")
        if len(checks) > MAX_CHECKS:
            self.blame((), "", f"{len(checks)} checks", f"at most {MAX_CHECKS}; split the ruleset")
        if head is None or self.faults:
            return None
        return self._compiled(head, tuple(checks))

    def _compiled(self, head: Head, checks: tuple[AnyCheck, ...]) -> Ruleset:
        slots = self.compiler.slots
        types = self.compiler.environment
        content = json.dumps(self.document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return Ruleset(
            name=head.name,
            version=head.version,
            title=head.title.both() if head.title else {"ko": head.name, "en": head.name},
            policy=head.policy,
            hash=hashlib.sha256(f"{FORM}\n{content}".encode()).hexdigest(),
            checks=checks,
            program=Program(self.compiler.trees, slots),
            readers=tuple(reader(name, types.type_of(name) or "double") for name in slots),
            tags=tuple(dict.fromkeys(tag for name in slots if (tag := tag_of(name)) is not None)),
        )

    def _head(self) -> Head | None:
        raw = self.document.get("ruleset")
        if raw is None:
            self.blame((), "", "the table [ruleset] is missing", "it holds name and version")
            return None
        return self._validated(Head, ("ruleset",), raw, "ruleset")

    def _entry(self, model: type[LimitEntry | RuleEntry | TableEntry], path: KeyPath, raw: Any) -> AnyCheck | None:
        name = cast("dict[str, Any]", raw).get("name", path[1]) if isinstance(raw, dict) else path[1]
        where = f"{path[0]} {name}"
        entry = self._validated(model, path, raw, where)
        if entry is None:
            # Its expressions are looked at all the same, so that one round shows everything there is to mend.
            if isinstance(raw, dict):
                self.compiler.probe(path, cast("dict[str, Any]", raw))
            return None
        self._once(entry, path, where)
        return self.compiler.check(entry, path)

    def _once(self, entry: Entry, path: KeyPath, where: str) -> None:
        line = self.at.key((*path, "name"))[0]
        first = self.names.setdefault(entry.name, line)
        if first != line:
            self.blame((*path, "name"), where, "this name is taken", f"line {first} has it already")

    def _validated(self, model: type[M], path: KeyPath, raw: Any, where: str) -> M | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._shape_fault(detail, path, where)
            return None

    def _shape_fault(self, detail: ErrorDetails, path: KeyPath, where: str) -> None:
        inner = tuple(part for part in detail["loc"] if part not in {"str", "int", "float", "bool"})
        place = (*path, *inner)
        told = ", ".join([where, *[str(part) for part in inner if isinstance(part, str)]])
        match detail["type"]:
            case "extra_forbidden":
                known = next((names for names in FIELD_NAMES.values() if self._siblings(place) & names), frozenset())
                self.blame(place, where, f"unknown key {inner[-1]!r}", self._near(str(inner[-1]), known))
            case "missing":
                self.blame(place[:-1], where, f"{inner[-1]!r} is missing")
            case "value_error":
                self.blame(place, told, detail["msg"].removeprefix("Value error, "))
            case "string_pattern_mismatch":
                self.blame(
                    place, told, f"{detail['input']!r} is not of the form needed", _FORMS.get(str(inner[-1]), "")
                )
            case _:
                self.blame(place, told, f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}")

    def _siblings(self, place: KeyPath) -> set[str]:
        """Give the keys that stand beside a key in the document."""
        around: Any = self.document
        for part in place[:-1]:
            around = around[part]
        return set(around) - {place[-1], "name", "title"} if isinstance(around, dict) else set()

    def _near(self, name: str, known: frozenset[str] | set[str]) -> str:
        near = difflib.get_close_matches(name, sorted(known), 1, 0.5)
        return f"nearest is {near[0]}" if near else f"there are {', '.join(sorted(known))}" if known else ""

    def blame(self, path: KeyPath, where: str, problem: str, hint: str = "") -> None:
        """Note a fault at the place of a key."""
        self.faults.append(RulesetFault(*self.at.key(path), where, problem, hint))

    def _expression_fault(self, path: KeyPath, error: ExpressionError | str) -> None:
        """Note the faults of an expression, moved from its own lines and columns to those of the file."""
        entry: Any = self.document[str(path[0])][path[1]]
        where = ", ".join([f"{path[0]} {entry.get('name', path[1])}", *[str(part) for part in path[2:]]])
        line, column = self.at.value(path)
        if isinstance(error, str):
            problem, _, hint = error.partition("; ")
            self.faults.append(RulesetFault(line, column, where, problem, hint))
            return
        for fault in error.faults:
            shifted = column + fault.column - 1 if fault.line == 1 else fault.column
            self.faults.append(RulesetFault(line + fault.line - 1, shifted, where, fault.problem, fault.hint))


_FORMS: Final = {
    "name": "lower-case letters, digits and _, a letter first",
    "version": "three numbers, as in 1.0.0",
    "unit": "a UNECE code such as CEL, BAR, P1, C62",
}
