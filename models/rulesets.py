"""Ruleset files: read from TOML or YAML, checked whole, compiled.

`load` gives a `Ruleset` or raises `RulesetError` with every fault: line, column, what is wrong, what to write instead.
`examples/filler.toml` shows the whole form.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from models.expression import Environment, ExpressionError, Program
from models.ruleset import Action, AnyCheck, Check, Limit, Outcome, Results, Rule, Ruleset, Table, Threshold
from models.ruleset_compile import Compiler, probe
from models.ruleset_fault import RulesetError, RulesetFault, RulesetWarning
from models.ruleset_file import Head, ModelEntry, keys_of, model_at, writes_of
from models.ruleset_inputs import reader, tag_of
from models.ruleset_kinds import KINDS, Kind
from models.ruleset_links import Made, linked
from models.ruleset_review import Ranges, Review
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
    "RulesetWarning",
    "Table",
    "Threshold",
    "load",
    "load_document",
    "parsed",
]

FORM: Final = "triflow-rules/1"
"""Part of every content hash: a change in what the same text means gets a new number."""
Form = Literal["toml", "yaml"]
M = TypeVar("M", bound=BaseModel)

MAX_BYTES: Final = 256 * 1024
MAX_CHECKS: Final = 500
MAX_DEPTH: Final = 32
_HEADS: Final = ("ruleset", "model")


def load(
    source: Path | str, environment: Environment, *, ranges: Ranges | None = None, form: Form | None = None
) -> Ruleset:
    """Give the ruleset of a file (a Path) or of its text (a str); RulesetError lists every fault.

    environment: what the rules may name (`models.expression.window_environment` of the line's tags).
    ranges: tag → engineering range, where known; what lies outside it is warned of (`Ruleset.warnings`).
    form: toml or yaml; None = by the end of the file's name, and TOML for a text.
    """
    document, at = parsed(source, form)
    return _read(document, at, environment, _name(source), ranges or {})


def parsed(source: Path | str, form: Form | None = None) -> tuple[Mapping[str, Any], Places]:
    """Give the document of a file or text as it stands there, and its places. Raises RulesetError."""
    where = _name(source)
    text = _text(source, where)
    if form is None:
        form = "yaml" if isinstance(source, Path) and source.suffix.lower() in {".yaml", ".yml"} else "toml"
    if form == "yaml":
        from models.yaml_places import YamlError, read  # the YAML parser is loaded only where there is YAML

        try:
            return read(text)
        except YamlError as error:
            raise RulesetError(
                where, [RulesetFault(error.line, error.column, "", error.problem, error.hint)]
            ) from error
    try:
        return tomllib.loads(text), places(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesetError(where, [_syntax_fault(error)]) from error
    except RecursionError as error:
        fault = RulesetFault(1, 1, "", "nested too deep to be read", "a ruleset is flat")
        raise RulesetError(where, [fault]) from error
    except ValueError as error:  # a number of more than 4,300 digits
        raise RulesetError(where, [RulesetFault(1, 1, "", f"not TOML: {error}", "write a shorter number")]) from error


def load_document(document: Mapping[str, Any] | str, environment: Environment, source: str = "ruleset") -> Ruleset:
    """Give the ruleset of a parsed document, or of its canonical JSON (`Ruleset.document`); its faults have no lines."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError as error:
            raise RulesetError(
                source, [RulesetFault(1, 1, "", f"not JSON: {error}", "it is not what was kept")]
            ) from error
    if not isinstance(document, Mapping):
        raise RulesetError(source, [RulesetFault(1, 1, "", "no table of tables", "it is not what was kept")])
    return _read(document, Places(""), environment, source, {})


def _read(document: Mapping[str, Any], at: Places, environment: Environment, where: str, ranges: Ranges) -> Ruleset:
    try:
        ordered = _canonical(document)
    except _TooDeepError as error:
        fault = RulesetFault(1, 1, "", f"tables nested more than {MAX_DEPTH} deep", "look for a key with many dots")
        raise RulesetError(where, [fault]) from error
    reading = _Reading(ordered, at, environment, ranges)
    ruleset = reading.ruleset()
    if ruleset is None or reading.faults:
        raise RulesetError(where, reading.faults)
    return ruleset


def _canonical(found: Any, depth: int = 0) -> Any:
    """Give a document with its keys in one order, so that the hash alone settles every byte of a verdict.

    Raises _TooDeepError: a key of a thousand dots is a thousand tables.
    """
    if depth > MAX_DEPTH:
        raise _TooDeepError
    if isinstance(found, Mapping):
        table = cast("Mapping[str, Any]", found)
        return {key: _canonical(table[key], depth + 1) for key in sorted(table)}
    return [_canonical(item, depth + 1) for item in cast("list[Any]", found)] if isinstance(found, list) else found


class _TooDeepError(ValueError):
    """Tables within tables beyond any ruleset."""


def _name(source: Path | str) -> str:
    return source.name if isinstance(source, Path) else "ruleset"


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

    def __init__(self, document: dict[str, Any], at: Places, environment: Environment, ranges: Ranges) -> None:
        self.document = document
        self.at = at
        self.ranges = ranges
        self.warnings: list[RulesetWarning] = []
        self.compiler = Compiler(environment, self._expression_fault)
        self.faults: list[RulesetFault] = []
        self.names: dict[str, tuple[KeyPath, int]] = {}

    def ruleset(self) -> Ruleset | None:
        """Give the ruleset, or None when its head or an entry could not be read."""
        tables = {*_HEADS, *KINDS}
        for key in self.document.keys() - tables:
            self.blame((key,), "", f"unknown table {key!r}", _near(key, tables))
        head = self._head()
        model = self._model(head)
        made: list[Made] = []
        for name, kind in KINDS.items():
            listed: Any = self.document.get(name, [])
            if not isinstance(listed, list):
                self.blame((name,), "", f"[{name}] must be [[{name}]]", "each stands in double brackets (YAML: a list)")
                continue
            for position, raw in enumerate(cast("list[Any]", listed)):
                one = self._entry(kind, (name, position), raw)
                if one is not None:
                    made.append(one)
        if not made and not self.faults and (head is None or head.policy != "ml_only"):
            self.blame((), "", "there is nothing to judge by", "add a [[limit]], [[table]] or [[rule]]")
        if len(made) > MAX_CHECKS:
            self.blame((), "", f"{len(made)} checks", f"at most {MAX_CHECKS}; split the ruleset")
        made = linked(made, self.names, self.blame)
        Review(made, self.compiler.trees, list(self.compiler.slots), self.ranges, self.blame, self._warn).run()
        if head is None or self.faults:
            return None
        return self._compiled(head, model, tuple(one.check for one in made))

    def _compiled(self, head: Head, model: ModelEntry | None, checks: tuple[Check, ...]) -> Ruleset:
        slots = self.compiler.slots
        types = self.compiler.environment
        content = json.dumps(self.document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return Ruleset(
            name=head.name,
            version=head.version,
            title=head.title.both() if head.title else {"ko": head.name, "en": head.name},
            policy=head.policy,
            settings=head.settings(),
            model=None if model is None or head.policy == "rule_only" else model.name,
            document=content,
            warnings=tuple(sorted(set(self.warnings))),
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

    def _model(self, head: Head | None) -> ModelEntry | None:
        raw = self.document.get("model")
        if raw is not None:
            if head is not None and head.policy == "rule_only":
                self._warn(("model",), "model", "policy rule_only asks no model", "name another policy, or remove it")
            return self._validated(ModelEntry, ("model",), raw, "model")
        if head is not None and head.policy != "rule_only":
            problem = f"policy {head.policy!r} asks a model, and none is named"
            self.blame(("ruleset", "policy"), "ruleset, policy", problem, 'add [model] with name = "…"')
        return None

    def _entry(self, kind: Kind, path: KeyPath, raw: Any) -> Made | None:
        name = cast("dict[str, Any]", raw).get("name", path[1]) if isinstance(raw, dict) else path[1]
        where = f"{path[0]} {name}"
        if isinstance(name, str):
            self._once(name, path, where)
        entry = self._validated(kind.entry, path, raw, where)
        if entry is None:
            # Its expressions are looked at all the same, so that one round shows everything there is to mend.
            if isinstance(raw, dict):
                probe(self.compiler, path, cast("dict[str, Any]", raw))
            return None
        for below, write in writes_of(entry):
            self.compiler.writable((*path, *below), write)
        check = kind.build(self.compiler, entry, path)
        return None if check is None else Made(check, entry, path)

    def _once(self, name: str, path: KeyPath, where: str) -> None:
        line = self.at.key((*path, "name"))[0]
        first, there = self.names.setdefault(name, (path, line))
        if first != path:
            self.blame((*path, "name"), where, "this name is taken", f"line {there} has it already")

    def _validated(self, model: type[M], path: KeyPath, raw: Any, where: str) -> M | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._shape_fault(model, detail, path, where)
            return None

    def _shape_fault(self, model: type[BaseModel], detail: ErrorDetails, path: KeyPath, where: str) -> None:
        inner = tuple(part for part in detail["loc"] if part not in _UNION_PARTS)
        place = (*path, *inner)
        told = ", ".join([where, *[str(part) for part in inner if isinstance(part, str)]])
        match detail["type"]:
            case "extra_forbidden":
                shape = model_at(model, inner[:-1])
                known = frozenset[str]() if shape is None else keys_of(shape)
                self.blame(place, where, f"unknown key {inner[-1]!r}", _near(str(inner[-1]), known))
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

    def blame(self, path: KeyPath, where: str, problem: str, hint: str = "") -> None:
        """Note a fault at the place of a key."""
        self.faults.append(RulesetFault(*self.at.key(path), where, problem, hint))

    def _warn(self, path: KeyPath, where: str, problem: str, hint: str = "") -> None:
        self.warnings.append(RulesetWarning(*self.at.key(path), where, problem, hint))

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
            shifted = fault.column + (column - 1 if fault.line == 1 else self.at.indents.get(path, 0))
            self.faults.append(RulesetFault(line + fault.line - 1, shifted, where, fault.problem, fault.hint))


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1, 0.5)
    return f"nearest is {near[0]}" if near else f"there are {', '.join(sorted(known))}" if known else ""


_UNION_PARTS: Final = frozenset({"str", "int", "float", "bool", "<node>", "<leaf>"})
"""What pydantic puts into a place that no key of the file is."""
_FORMS: Final = {
    "name": "lower-case letters, digits and _, a letter first",
    "version": "three numbers, as in 1.0.0",
    "unit": "a UNECE code such as CEL, BAR, P1, C62",
}
