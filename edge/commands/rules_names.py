"""What a ruleset on the command line may name: the tags of a book, of a site's line, or (without either) what it names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edge.commands.book import load_book
from edge.config import SiteFile
from edge.production import complete
from edge.tags import TagBook
from models.expression import RESERVED, Environment, ExpressionError, window_environment
from models.expression_checker import ValueType
from models.expression_parser import RELATIONS, Binary, Call, ListOf, Literal, Logic, Name, Node, Ternary, Unary, parse
from models.rulesets import Ruleset, load, parsed
from models.virtual import Virtual, VirtualError, VirtualTag, compile_virtual
from sync.settings import ConfigError, Document, Fault, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFacts:
    """What a book says of a tag that a verdict depends on."""

    type: str = "float64"
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    max_age_s: float = 30.0
    required: bool = False
    told_apart: bool = False
    """It makes the window's state, counts or context, which a case says by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What may be named, and what is known of it."""

    environment: Environment
    tags: Mapping[str, TagFacts]
    virtual: Virtual | None = None
    guessed: bool = False
    """No book was given: the tags are those the ruleset names, with the types it uses them as."""

    def ruleset(self, path: Path) -> Ruleset:
        """Load a ruleset against these names. Raises RulesetError."""
        ranges = {name: (tag.low, tag.high) for name, tag in self.tags.items()}
        if self.virtual is not None:
            ranges |= {tag.name: (tag.low, tag.high) for tag in self.virtual.tags}
        return load(path, self.environment, ranges=ranges)


def add_names(parser: argparse.ArgumentParser) -> None:
    """Give a command its ruleset and where its names come from."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the ruleset, TOML or YAML")
    parser.add_argument("--book", metavar="BOOK", help="tag book its names come from: a shipped one's name, or a file")
    parser.add_argument("--site", type=Path, metavar="SITE.toml", help="site file with the line it is for")
    parser.add_argument(
        "--line", metavar="WORK_UNIT", help="the line's work unit; may be left out if there is one line"
    )


def names(arguments: argparse.Namespace) -> Names:
    """Give what the ruleset may name. Raises ConfigError, and RulesetError when the file cannot be read at all."""
    if arguments.book is not None:
        return _of_book(load_book(arguments.book)[0], Path(arguments.book))
    if arguments.site is not None:
        return _of_site(arguments.site, arguments.line)
    return _guessed(arguments.file)


def _of_site(path: Path, work_unit: str | None) -> Names:
    document = Document(path)
    lines = document.parse(SiteFile).lines
    known = [line.work_unit for line in lines]
    chosen = [line for line in lines if work_unit is None or line.work_unit == work_unit]
    if len(chosen) != 1:
        told = (
            f"no line {work_unit!r}; {nearest(work_unit, known)}"
            if work_unit
            else "several lines; name one with --line"
        )
        raise ConfigError([document.fault(("line",), told)])
    book = chosen[0].book
    where = path.parent / book if book.endswith(".toml") else Path(book)
    return _of_book(load_book(str(where))[0], where)


def _of_book(book: TagBook, path: Path) -> Names:
    tags = {
        name: TagFacts(
            type=spec.type,
            unit=spec.unit,
            low=spec.low,
            high=spec.high,
            max_age_s=spec.max_age_s,
            required=spec.required,
            told_apart=spec.role in {"state", "reason", "counter", "context"},
        )
        for spec in book.tags
        for name in spec.element_names
    }
    counted = [f"defect.{spec.defect}" if spec.defect else str(spec.counter) for spec in book.tags if spec.counter]
    derived = [
        VirtualTag(name=v.name, value=v.value, unit=v.unit, low=v.low, high=v.high, required=v.required)
        for v in book.virtual
    ]
    try:
        virtual = compile_virtual(
            derived,
            {name: tag.type for name, tag in tags.items()},
            list(complete(dict.fromkeys(counted, 0))),
            {name: tag.unit for name, tag in tags.items()},
        )
    except VirtualError as error:
        raise ConfigError([Fault(path, 0, "", str(fault)) for fault in error.faults]) from error
    return Names(environment=virtual.environment, tags=tags, virtual=virtual)


def _guessed(path: Path) -> Names:
    """Take the names of the ruleset itself for tags; what is compared with a text is a text."""
    document, _ = parsed(path)
    found: dict[str, ValueType] = {}
    for text, wanted in _expressions(document):
        try:
            tree = parse(text)
        except ExpressionError:
            continue  # told when it is compiled
        for name, kind in _uses(tree, wanted):
            head, _, part = name.partition(".")
            if head not in RESERVED and (kind is None or part in {"", "last", "first"}):
                found[head] = kind or found.get(head, "double")
    tags = {name: TagFacts(type=kind if kind in {"string", "bool"} else "float64") for name, kind in found.items()}
    types = {name: tag.type for name, tag in tags.items()}
    return Names(environment=window_environment(types), tags=tags, guessed=True)


def _expressions(found: Any, key: str = "") -> Iterator[tuple[str, ValueType | None]]:
    """Give all expressions of a document, with the type its place demands; cells of tables tell of their inputs."""
    if isinstance(found, list):
        for item in cast("list[Any]", found):
            yield from _expressions(item, key)
    if not isinstance(found, Mapping):
        return
    table = cast("Mapping[str, Any]", found)
    inputs: Any = table.get("inputs")
    for name, value in table.items():
        if name in {"when", "only_when"} and isinstance(value, str):
            yield value, "bool"
        elif (name == "value" and "inputs" not in table and isinstance(value, str)) or key == "inputs":
            yield str(value), None
        elif key == "write" and name == "tag":
            yield str(value), "bool" if isinstance(table.get("value"), bool) else None
        elif not (key == "row" and name == "when"):
            yield from _expressions(value, name)
    if isinstance(inputs, Mapping):
        for name, text in cast("Mapping[str, Any]", inputs).items():
            for cell in _cells(table, name):
                if isinstance(cell, bool):
                    yield str(text), "bool"
                elif isinstance(cell, str) and not cell.strip().startswith(("==", "!=", "<", ">", "in", "-", "*")):
                    yield f"{text} == ''", "bool"


def _cells(table: Mapping[str, Any], name: str) -> list[Any]:
    rows: Any = table.get("row")
    whens = [row.get("when") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (looked at, not trusted)
    return [when[name] for when in whens if isinstance(when, Mapping) and name in when]  # pyright: ignore[reportUnknownVariableType]


def _uses(node: Node, wanted: ValueType | None) -> Iterator[tuple[str, ValueType | None]]:
    match node:
        case Name():
            yield node.name, wanted
        case Logic() | Unary(operator="!"):
            for operand in node.operands if isinstance(node, Logic) else (node.operand,):
                yield from _uses(operand, "bool")
        case Ternary():
            yield from _uses(node.condition, "bool")
            yield from _uses(node.yes, wanted)
            yield from _uses(node.no, wanted)
        case Binary():
            relation = node.operator in RELATIONS or node.operator == "in"
            for side, other in ((node.left, node.right), (node.right, node.left)):
                yield from _uses(side, _type_beside(other) if relation else None)
        case Call():
            texts = node.function in {"startsWith", "endsWith", "contains"}
            for argument in node.arguments:
                yield from _uses(argument, "string" if texts else None)
        case Unary():
            yield from _uses(node.operand, None)
        case ListOf():
            for item in node.items:
                yield from _uses(item, None)
        case Literal():
            pass


def _type_beside(node: Node) -> ValueType | None:
    if isinstance(node, ListOf):
        return next((kind for item in node.items if (kind := _type_beside(item)) is not None), None)
    if isinstance(node, Literal):
        return "bool" if isinstance(node.value, bool) else "string" if isinstance(node.value, str) else None
    return None
