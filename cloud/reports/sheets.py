"""Any table as CSV and as XLSX: numbers as numbers, units in the heads, and no cell that a spreadsheet would run.

What begins with = + - @, a tab or a line break stays text: in XLSX cells are written by type and never as formulas, in
CSV such texts get an apostrophe in front (OWASP, CSV injection). Numbers are numbers, negative ones too.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final, Literal

import xlsxwriter

Kind = Literal["text", "number", "percent", "time"]
"""percent: a ratio, 0 to 1; time: text in ISO 8601 with a zone."""

MAX_ROWS: Final = 1_048_576 - 16
"""Of a sheet of XLSX, with room for head and notes."""
MAX_TEXT: Final = 32_767
BOM: Final = "\ufeff"
"""Without it spreadsheets take UTF-8 for something else."""

_RUNS: Final = re.compile(r"^[\s\x00-\x1f]*[=+\-@\uff0b\uff0d\uff1d\uff20]|^[\t\r\n]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_NAME: Final = re.compile(r"[\[\]:*?/\\\x00-\x1f']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands over a column."""

    title: str
    unit: str = ""
    kind: Kind = "text"

    @property
    def words(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table. Rows may come one by one: they are read once."""

    name: str
    columns: Sequence[Head]
    rows: Iterable[Sequence[Any]]


def csv_lines(sheet: Sheet, *, bom: bool = True) -> Iterator[str]:
    """Give one table as CSV (RFC 4180), a line at a time."""
    yield (BOM if bom else "") + _line(head.words for head in sheet.columns)
    for row in sheet.rows:
        yield _line(_plain(value) for value in row)


def _line(values: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()


def _plain(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if _RUNS.match(text) else text


def xlsx(
    sheets: Iterable[Sheet], *, title: str, notes: Sequence[tuple[str, str]] = (), zone: tzinfo | None = None
) -> bytes:
    """Give a workbook with a sheet per table; `notes` ((what, value): as of, site, …) stand on a first sheet of their own.

    Rows go through memory one at a time. zone: of the plant, in which times are written; without it they stay text.
    Raises ValueError for a table with more rows than a sheet can hold.
    """
    buffer = io.BytesIO()
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": False,
    }
    with xlsxwriter.Workbook(buffer, options) as book:
        book.set_properties({"title": title, "created": datetime(2000, 1, 1)})  # noqa: DTZ001 - the same figures, the same bytes
        forms = {
            "head": book.add_format(
                {"bold": True, "bottom": 1, "bg_color": "#ECE9E1", "text_wrap": True, "valign": "top"}
            ),
            "number": book.add_format({"num_format": "#,##0.###"}),
            "whole": book.add_format({"num_format": "#,##0"}),
            "percent": book.add_format({"num_format": "0.0%"}),
            "time": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }
        taken: set[str] = set()
        if notes:
            about = Sheet(name=title, columns=[Head(title=""), Head(title="")], rows=notes)
            _write(book.add_worksheet(_sheet_name(title, taken)), about, forms, zone, headed=False)
        for sheet in sheets:
            _write(book.add_worksheet(_sheet_name(sheet.name, taken)), sheet, forms, zone)
    return buffer.getvalue()


def _sheet_name(name: str, taken: set[str]) -> str:
    """Give a name as a workbook takes it: 31 characters at most, none that Excel forbids, each once whatever its case."""
    base = _NAME.sub(" ", _CONTROL.sub("", name)).strip()[:31] or "Sheet"
    found, number = base, 1
    while found.lower() in taken or found.lower() == "history":  # which Excel keeps for itself
        number += 1
        found = f"{base[: 31 - len(str(number)) - 1]} {number}"
    taken.add(found.lower())
    return found


def _write(page: Any, sheet: Sheet, forms: dict[str, Any], zone: tzinfo | None, *, headed: bool = True) -> None:
    for place, head in enumerate(sheet.columns):
        page.set_column(place, place, 14 if head.kind in {"number", "percent"} else 24)
    first = 0
    if headed:
        page.freeze_panes(1, 0)
        for place, head in enumerate(sheet.columns):
            page.write_string(0, place, head.words[:MAX_TEXT], forms["head"])
        first = 1
    for number, row in enumerate(sheet.rows, first):
        if number >= MAX_ROWS:
            raise ValueError(f"the table {sheet.name!r} has more rows than a sheet holds ({MAX_ROWS}); ask for CSV")
        for place, (head, value) in enumerate(zip(sheet.columns, row, strict=True)):
            _cell(page, (number, place), head, value, forms=forms, zone=zone)


def _cell(
    page: Any, at: tuple[int, int], head: Head, value: object, *, forms: dict[str, Any], zone: tzinfo | None
) -> None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return  # no figure is an empty cell, never 0
    if isinstance(value, bool):
        page.write_boolean(*at, value)
    elif isinstance(value, int | float):
        form = "percent" if head.kind == "percent" else "whole" if isinstance(value, int) else "number"
        page.write_number(*at, value, forms[form])
    elif head.kind == "time" and zone is not None and (when := _when(value)) is not None:
        page.write_datetime(*at, when.astimezone(zone).replace(tzinfo=None), forms["time"])
    else:
        page.write_string(*at, _CONTROL.sub("\ufffd", str(value))[:MAX_TEXT])


def _when(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None and found.year >= 1900 else None
