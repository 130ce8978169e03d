"""Tables as CSV and XLSX: read back by another program, nothing runs, numbers stay numbers."""

from __future__ import annotations

import csv
import io
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from cloud.reports.sheets import BOM, Head, Sheet, csv_lines, xlsx

COLUMNS = [
    Head(title="선", kind="text"),
    Head(title="Produced", unit="pieces", kind="number"),
    Head(title="OEE", kind="percent"),
    Head(title="At", kind="time"),
]
EVIL = [
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=cmd|' /C calc'!A0",
    "\r=1",
    " =1+1",
    "＝1+1",
    "-",
    '=HYPERLINK("http://x")',
]


def table(rows: list[list[object]]) -> Sheet:
    return Sheet(name="Lines [1]: 'a/b'?*", columns=COLUMNS, rows=iter(rows))


def read(body: bytes) -> list[list[list[object]]]:
    book = openpyxl.load_workbook(io.BytesIO(body))
    return [[[cell.value for cell in row] for row in page.iter_rows()] for page in book.worksheets]


@pytest.mark.parametrize("text", EVIL)
def test_what_a_spreadsheet_would_run_stays_text(text: str) -> None:
    (row,) = list(csv.reader(io.StringIO("".join(csv_lines(table([[text, 1, 0.5, None]]), bom=False)), newline="")))[1:]
    assert row == ["'" + text, "1", "0.5", ""]
    book = openpyxl.load_workbook(io.BytesIO(xlsx([table([[text, 1, 0.5, None]])], title="t")))
    cell = book.worksheets[0]["A2"]
    assert cell.data_type == "s"
    assert str(cell.value).replace("_x000D_", "\r").strip() == text.strip()


def test_numbers_are_numbers_and_absence_is_empty() -> None:
    rows: list[list[object]] = [
        ["L1", -12, 0.78391, "2026-03-04T22:00:00Z"],
        ["L2", None, float("nan"), None],
        ["L3", 0, True, "no time"],
    ]
    lines = list(csv.reader(io.StringIO("".join(csv_lines(table(rows)))[1:], newline="")))
    assert lines[0] == ["선", "Produced (pieces)", "OEE", "At"]
    assert lines[1:] == [
        ["L1", "-12", "0.78391", "2026-03-04T22:00:00Z"],
        ["L2", "", "", ""],
        ["L3", "0", "true", "no time"],
    ]
    notes, sheet = read(
        xlsx([table(rows)], title="Shift", notes=[("as of", "2026-03-04")], zone=ZoneInfo("Asia/Seoul"))
    )
    assert notes == [["as of", "2026-03-04"]]
    assert sheet[1][:3] == ["L1", -12, 0.78391]
    assert str(sheet[1][3]) == "2026-03-05 07:00:00"  # on the plant's clock
    assert sheet[2] == ["L2", None, None, None]
    assert sheet[3] == ["L3", 0, True, "no time"]


def test_csv_begins_with_the_mark_that_spreadsheets_want() -> None:
    assert next(iter(csv_lines(table([])))).startswith(BOM)


def test_the_same_table_gives_the_same_bytes_and_names_of_sheets_are_made_to_fit() -> None:
    sheets = [
        Sheet(name=name, columns=[Head(title="a")], rows=[["x"]]) for name in ("History", "A" * 40, "a" * 40, "", "[]")
    ]
    body = xlsx(sheets, title="t")
    assert body == xlsx(sheets, title="t")
    names = openpyxl.load_workbook(io.BytesIO(body)).sheetnames
    assert names == ["History 2", "A" * 31, "a" * 29 + " 2", "Sheet", "Sheet 2"]
    assert len({name.lower() for name in names}) == 5


def test_texts_with_control_characters_and_too_long_ones_do_not_break_the_file() -> None:
    (sheet,) = read(xlsx([table([["a\x00b\x0b" + "x" * 40_000, 1, 1.0, None]])], title="t"))
    assert str(sheet[1][0]).startswith("a\ufffdb\ufffdxx")
    assert len(str(sheet[1][0])) == 32_767
