"""A tag book's sheet as an Excel file: lists to choose from, and a second page that says what the columns mean.

Needs openpyxl, of the extra `xlsx`. Text is written as text, never as a formula; a formula in a file is a fault.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

from edge.commands.book_columns import CHOICES, COLUMNS
from edge.commands.book_sheet import Row, Sheet, letter
from sync.settings import ConfigError, Fault

MORE_ROWS = 2000
"""Rows below the tags that get the same lists."""
_WIDTHS = {"name": 24, "address": 44, "values": 30}


class ExtraMissingError(Exception):
    """openpyxl is not installed; the message says how to get it."""


def _need() -> None:
    """Raise ExtraMissingError where the library is not installed."""
    if importlib.util.find_spec("openpyxl") is None:
        raise ExtraMissingError(
            'Excel files need openpyxl: install it with `pip install "triflow[xlsx]"`, or use a .csv file'
        )


def write_xlsx(sheet: Sheet, path: Path) -> None:
    """Write the sheet, in place of what was there. Raises ExtraMissingError."""
    _need()
    from openpyxl import Workbook
    from openpyxl.styles import Font, PatternFill
    from openpyxl.worksheet.datavalidation import DataValidation

    workbook: Any = Workbook()
    tags = workbook.active
    tags.title = "tags"
    bold, fill = Font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor="1F3A5F")
    for place, name in enumerate(sheet.header, 1):
        head = tags.cell(1, place, name)
        head.font, head.fill = bold, fill
        tags.column_dimensions[letter(place - 1)].width = _WIDTHS.get(name, 14)
    for number, row in enumerate(sheet.rows, 2):
        for place, text in enumerate(row.cells, 1):
            if text:
                _put(tags.cell(number, place), text, COLUMNS[sheet.header[place - 1]][0])
    tags.freeze_panes = "B2"
    tags.auto_filter.ref = f"A1:{letter(len(sheet.header) - 1)}{len(sheet.rows) + 1}"
    last = len(sheet.rows) + 1 + MORE_ROWS
    for place, name in enumerate(sheet.header):
        if name in CHOICES:
            choice = DataValidation(type="list", formula1=f'"{",".join(CHOICES[name])}"', allow_blank=True)
            choice.error, choice.errorTitle = f"{name}: {', '.join(CHOICES[name])}", name
            choice.add(f"{letter(place)}2:{letter(place)}{last}")
            tags.add_data_validation(choice)
    _about(workbook.create_sheet("about"), sheet, bold, fill)
    workbook.save(path)


def read_xlsx(path: Path) -> Sheet:
    """Read the sheet `tags` (else the first). Raises ConfigError when it is no Excel file, and ExtraMissingError."""
    _need()
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        workbook: Any = load_workbook(path)
    except OSError as error:
        raise ConfigError([Fault(path, 0, "", f"cannot read it ({error.strerror}); check the path")]) from error
    except (zipfile.BadZipFile, KeyError, ValueError, InvalidFileException) as error:
        raise ConfigError([Fault(path, 0, "", f"is no Excel workbook (.xlsx): {error}")]) from error
    sheet = Sheet()
    names = workbook.sheetnames
    if "about" in names:
        _take_about(workbook["about"], sheet)
    page = workbook["tags"] if "tags" in names else workbook[names[0]]
    for number, cells in enumerate(page.iter_rows(), 1):
        texts = [_text(cell, sheet, path) for cell in cells]
        while texts and not texts[-1].strip():
            texts.pop()
        if not texts:
            continue
        if not sheet.header:
            sheet.header, sheet.header_row = texts, number
        else:
            sheet.rows.append(Row(number, texts))
    workbook.close()
    return sheet


def _put(cell: Any, text: str, kind: str) -> None:
    """Write one cell: numbers as numbers, all else as text that nobody calculates."""
    if kind in {"number", "integer"} and len(text.lstrip("-")) < 16:  # longer ones a spreadsheet would round
        cell.value = float(text) if "." in text or "e" in text or "n" in text else int(text)
        return
    cell.value = text
    cell.data_type = "s"  # else openpyxl makes a formula of what begins with =


def _text(cell: Any, sheet: Sheet, path: Path) -> str:
    value = cell.value
    if cell.data_type == "f":
        what = f"{value!s} is a formula; write its value"
        sheet.faults.append(Fault(path, int(cell.row), str(cell.coordinate), what))
        return ""
    if cell.data_type == "e":
        sheet.faults.append(Fault(path, int(cell.row), str(cell.coordinate), f"holds the error {value}; write a value"))
        return ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _about(page: Any, sheet: Sheet, bold: Any, fill: Any) -> None:
    """Write the second page: title and comments, then what each column means."""
    lines = [("title", sheet.title), *(("comment", line) for line in sheet.comments)]
    for number, (key, text) in enumerate(lines, 1):
        page.cell(number, 1, key)
        _put(page.cell(number, 2), text, "text")
    top = len(lines) + 2
    for place, name in enumerate(("column", "설명", "meaning", "values"), 1):
        head = page.cell(top, place, name)
        head.font, head.fill = bold, fill
    for number, (name, (_, korean, english)) in enumerate(COLUMNS.items(), top + 1):
        for place, text in enumerate((name, korean, english, ", ".join(CHOICES.get(name, ()))), 1):
            _put(page.cell(number, place), text, "text")
    for column, width in zip("ABCD", (24, 60, 60, 60), strict=True):
        page.column_dimensions[column].width = width


def _take_about(page: Any, sheet: Sheet) -> None:
    for key, text, *_ in page.iter_rows(max_col=2, values_only=True):
        if key == "title":
            sheet.title = str(text or "")
        elif key == "comment":
            sheet.comments.append(str(text or ""))
        else:
            return
