"""A tag book as rows of text, whatever file they come from or go to: into rows, and out of rows with every fault. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.addresses import faults_of
from edge.commands.book_columns import ALWAYS, CHOICES, COLUMNS, read, shown
from edge.tags import TagBook, TagSpec
from sync.settings import ConfigError, Fault, nearest


@dataclass(frozen=True, slots=True)
class Row:
    """One row of cells, and where it stands."""

    number: int
    """1-based, as the spreadsheet counts."""
    cells: Sequence[str]


@dataclass(slots=True)
class Sheet:
    """A tag book as a table of text."""

    title: str = ""
    comments: list[str] = field(default_factory=list[str])
    header: list[str] = field(default_factory=list[str])
    header_row: int = 1
    rows: list[Row] = field(default_factory=list[Row])
    comma: bool = False
    """Numbers may have a comma for a point."""
    notes: list[str] = field(default_factory=list[str])
    """What the person should know of how the file was read."""
    faults: list[Fault] = field(default_factory=list[Fault])
    """Found while reading the file itself."""


def sheet_of(book: TagBook, comments: Sequence[str]) -> Sheet:
    """Give a book as a sheet: the columns every book shows, and those that a tag of it needs."""
    filled = [shown(spec) for spec in book.tags]
    needed = {column for cells in filled for column in cells}
    header = [column for column in COLUMNS if column in ALWAYS or column in needed]
    rows = [Row(k, [cells.get(column, "") for column in header]) for k, cells in enumerate(filled, 2)]
    return Sheet(title=book.title, comments=list(comments), header=header, rows=rows)


def book_of(sheet: Sheet, path: Path, title: str) -> TagBook:
    """Give the book that a sheet holds. title: where the sheet has none. Raises ConfigError with every fault."""
    faults = list(sheet.faults)
    header = [name.strip().lower() for name in sheet.header]
    for place, name in enumerate(header):
        where = f"{letter(place)}{sheet.header_row}"
        if name and name not in COLUMNS:
            what = f"no column {sheet.header[place].strip()!r}; {nearest(name, list(COLUMNS))}"
            faults.append(Fault(path, sheet.header_row, where, what))
        elif name and name in header[:place]:
            faults.append(Fault(path, sheet.header_row, where, f"column {name!r} stands here twice; remove one"))
    faults += [
        Fault(path, sheet.header_row, "header", f"column {name!r} is missing; add it")
        for name in ("name", "address")
        if name not in header
    ]
    specs: list[TagSpec] = []
    seen: dict[str, int] = {}
    for row in sheet.rows:
        spec, wrong = _spec(row, header, sheet.comma)
        if spec is not None and spec.name in seen:
            wrong["name"] = f"duplicate tag {spec.name!r}: it stands in row {seen[spec.name]} already"
        elif spec is not None:
            seen[spec.name] = row.number
            specs.append(spec)
        faults += [Fault(path, row.number, _where(column, header, row), what) for column, what in wrong.items()]
    if not sheet.rows:
        faults.append(Fault(path, 0, "", "holds no tag; one row each under the header"))
    if faults:
        raise ConfigError(faults)
    try:
        book = TagBook.model_validate({"title": sheet.title or title, "tag": specs})
    except ValidationError as error:
        raise ConfigError([Fault(path, 0, "", str(e["msg"])) for e in error.errors()]) from error
    where = {spec.name: row for spec, row in zip(specs, sheet.rows, strict=True)}
    if wrong := faults_of(book):
        raise ConfigError(
            [Fault(path, where[name].number, _where(key, header, where[name]), what) for name, key, what in wrong]
        )
    return book


def letter(place: int) -> str:
    """Give the spreadsheet's name of a column: 0 is A, 26 is AA."""
    name = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _spec(row: Row, header: Sequence[str], comma: bool) -> tuple[TagSpec | None, dict[str, str]]:
    """Give the tag of a row, or what is wrong with it, by column."""
    given: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for place, text in enumerate(row.cells):
        text = text.strip()  # noqa: PLW2901 - blanks around a cell are nobody's intention
        column = header[place] if place < len(header) else ""
        if text and not column:
            wrong[f"column {letter(place)}"] = f"{text!r} stands under no header; name the column or empty the cell"
        if not text or column not in COLUMNS:
            continue
        try:
            given[column] = read(text, COLUMNS[column][0], comma=comma)
        except ValueError as error:
            wrong[column] = str(error)
    for column in ("name", "address"):
        if column in header and column not in given and column not in wrong:
            wrong[column] = "is empty; each tag has one"
    try:
        spec = TagSpec.model_validate({"name": "unnamed", "address": "holding:0", **given})
    except ValidationError as error:
        for one in error.errors():
            column = str(one["loc"][0]) if one["loc"] else "name"
            wrong.setdefault(column, _explained(column, str(one["msg"]), one["input"]))
        return None, wrong
    return (None if wrong else spec), wrong


def _explained(column: str, message: str, given: Any) -> str:
    if column in CHOICES and isinstance(given, str):
        return f"{given!r} is none of its values; {nearest(given, CHOICES[column])}"
    if column == "name" and isinstance(given, str):
        close = re.sub(r"[^a-z0-9_]+", "_", given.lower()).strip("_")
        fit = f"; write {close}" if re.fullmatch(r"[a-z][a-z0-9_]*", close) else ""
        return f"{given!r} is no tag name: lower case, digits and underscores, a letter first{fit}"
    said = "" if isinstance(given, dict) else f" (it is {given!r})"
    return message.removeprefix("Value error, ") + said


def _where(column: str, header: Sequence[str], row: Row) -> str:
    """Give where a fault stands: the cell as the spreadsheet names it, and the column."""
    return f"{letter(header.index(column))}{row.number} ({column})" if column in header else column
