"""`triflow edge book …`: tag books as files: list and show the shipped ones, to a spreadsheet and back, check one.

Exit status: 0 done, 78 the book is wrong (every fault is listed, nothing is written), 69 Excel files are not supported
here, 73 a file stands in the way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from edge.addresses import faults_of
from edge.commands.book_columns import COLUMNS, shown
from edge.commands.book_csv import read_csv, write_csv
from edge.commands.book_sheet import Sheet, book_of, sheet_of
from edge.commands.book_toml import comments_of, toml_of
from edge.commands.book_xlsx import ExtraMissingError, read_xlsx, write_xlsx
from edge.config import BOOKS
from edge.tags import TagBook
from edge.virtual_tags import check_virtual
from sync.settings import ConfigError, Document, Fault, nearest

EX_CONFIG: Final = 78
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
FORMATS: Final = (".csv", ".xlsx")


class _InTheWayError(Exception):
    """A file is there already."""


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.faults)} fault(s)", file=sys.stderr)
        return EX_CONFIG
    except ExtraMissingError as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE
    except _InTheWayError as error:
        print(f"{error} is there already; give another name, or --force to replace it", file=sys.stderr)
        return EX_CANTCREAT
    except OSError as error:
        print(f"cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return EX_CANTCREAT


def load_book(name: str) -> tuple[TagBook, list[str], Path]:
    """Give a shipped book by name or any by its path, with its comments. Raises ConfigError with every fault."""
    path = Path(name) if name.endswith(".toml") else BOOKS / f"{name}.toml"
    if not path.is_file() and not name.endswith(".toml"):
        shipped = sorted(book.stem for book in BOOKS.glob("*.toml"))
        raise ConfigError([Fault(Path(name), 0, "", f"no shipped tag book of that name; {nearest(name, shipped)}")])
    document = Document(path)
    book = document.parse(TagBook)
    places = {spec.name: k for k, spec in enumerate(book.tags)}
    if wrong := faults_of(book):
        raise ConfigError([document.fault(("tag", places[tag], key), what) for tag, key, what in wrong])
    check_virtual(document, book)
    return book, comments_of(document.text), path


def _list(arguments: argparse.Namespace) -> int:
    del arguments
    books = [load_book(path.stem) for path in sorted(BOOKS.glob("*.toml"))]
    width = max(len(path.stem) for _, _, path in books)
    for book, _, path in books:
        print(f"{path.stem:<{width}}  {len(book.tags):>3} tags  {book.title}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    book, comments, _ = load_book(arguments.book)
    print(book.title, *comments, sep="\n")
    rows = [{"name": "name", "address": "address", "type": "type", "unit": "unit", "role": "role"}]
    rows += [{column: str(getattr(spec, column) or "") for column in rows[0]} for spec in book.tags]
    widths = {column: max(len(row[column]) for row in rows) for column in rows[0]}
    more = ["besides"]
    more += [
        " ".join(f"{column}={cells[column]}" for column in COLUMNS if column in cells and column not in widths)
        for cells in map(shown, book.tags)
    ]
    print()
    for row, rest in zip(rows, more, strict=True):
        print("  ".join([*(f"{row[column]:<{widths[column]}}" for column in widths), rest]).rstrip())
    if book.virtual:
        print("\nvirtual")
        wide = max(len(spec.name) for spec in book.virtual)
        for spec in book.virtual:
            print(f"{spec.name:<{wide}}  {spec.unit or '':<3}  {' '.join(spec.value.split())}".rstrip())
    return 0


def _export(arguments: argparse.Namespace) -> int:
    out = _free(arguments.out, force=arguments.force)
    book, comments, _ = load_book(arguments.book)
    sheet = sheet_of(book, comments)
    (write_csv if _format(out) == ".csv" else write_xlsx)(sheet, out)
    print(f"{out}: {len(book.tags)} tags")
    if book.virtual:
        print(
            f"{out}: without its {len(book.virtual)} virtual tags; a spreadsheet has no place for them", file=sys.stderr
        )
    return 0


def _import(arguments: argparse.Namespace) -> int:
    source: Path = arguments.source
    out = _free(arguments.out, force=arguments.force)
    sheet: Sheet = (read_csv if _format(source) == ".csv" else read_xlsx)(source)
    for note in sheet.notes:
        print(f"{source}: {note}", file=sys.stderr)
    book = book_of(sheet, source, source.stem)
    if arguments.title is not None:
        book = book.model_copy(update={"title": arguments.title})
    out.write_text(toml_of(book, sheet.comments), encoding="utf-8")
    print(f"{out}: {len(book.tags)} tags")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    book, _, path = load_book(arguments.book)
    virtual = f", {len(book.virtual)} virtual" if book.virtual else ""
    print(f"{path}: good: {len(book.tags)} tags{virtual}")
    return 0


def _format(path: Path) -> str:
    """Give what a spreadsheet's name says it is. Raises ConfigError for any other."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError([Fault(path, 0, "", f"a spreadsheet's name ends in {' or '.join(FORMATS)}")])
    return path.suffix.lower()


def _free(path: Path, *, force: bool) -> Path:
    if path.exists() and not force:
        raise _InTheWayError(str(path))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="triflow edge book", description="Look at, exchange and check tag books.")
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    words.add_parser("list", help="the shipped books").set_defaults(run=_list)
    show = words.add_parser("show", help="one book as a table, with where its addresses come from")
    show.set_defaults(run=_show)
    export = words.add_parser("export", help="a book to a spreadsheet (.csv or .xlsx)")
    export.set_defaults(run=_export)
    take = words.add_parser("import", help="a spreadsheet to a book; nothing is written when there is a fault")
    take.set_defaults(run=_import)
    check = words.add_parser("check", help="a book's keys, types and addresses")
    check.set_defaults(run=_check)
    for command in (show, export, check):
        command.add_argument("book", help="name of a shipped book, or a path ending in .toml")
    export.add_argument("out", type=Path, help="FILE.csv or FILE.xlsx")
    take.add_argument("source", type=Path, help="FILE.csv or FILE.xlsx")
    take.add_argument("out", type=Path, help="FILE.toml")
    take.add_argument("--title", help="title of the book; else the sheet's, else its file name")
    for command in (export, take):
        command.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser
