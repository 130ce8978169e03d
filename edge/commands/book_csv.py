"""A tag book's sheet as a CSV file, as Excel in Korea and elsewhere writes and reads it.

Written: UTF-8 with a byte order mark, commas. Read: UTF-8, UTF-16 with its mark, Korean Excel's CP949, else Latin-1 (the
last two are said aloud); commas, semicolons (then numbers may have a comma for a point) or tabs. Lines that begin with
`#` are comments, `# title: …` is the book's title. A cell that a spreadsheet would take for a formula gets a `'` in
front and loses it again.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from edge.commands.book_sheet import Row, Sheet, letter
from sync.settings import ConfigError, Fault

_TITLE = re.compile(r"title\s*[:=]\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")


def write_csv(sheet: Sheet, path: Path) -> None:
    """Write the sheet, in place of what was there."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([f"# title: {sheet.title}"])
    writer.writerows([f"# {line}".rstrip()] for line in sheet.comments)
    writer.writerow(sheet.header)
    writer.writerows([_guarded(text) for text in row.cells] for row in sheet.rows)
    path.write_bytes(out.getvalue().encode("utf-8-sig"))


def read_csv(path: Path) -> Sheet:
    """Read a sheet. Raises ConfigError when the file cannot be read at all."""
    try:
        text, note = decoded(path.read_bytes())
    except OSError as error:
        raise ConfigError([Fault(path, 0, "", f"cannot read it ({error.strerror}); check the path")]) from error
    sheet = Sheet(notes=[note] if note else [])
    separator = _separator(next((line for line in text.splitlines() if line.strip() and not _comment(line)), ""))
    sheet.comma = separator == ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    began = 1
    try:
        for cells in reader:
            number, began = began, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not sheet.header and cells[0].lstrip().startswith("#"):
                while not cells[-1].strip():  # a spreadsheet fills every row up
                    cells.pop()
                _take_comment(sheet, separator.join(cells).strip())
            elif not sheet.header:
                sheet.header, sheet.header_row = cells, number
            else:
                sheet.rows.append(Row(number, [_plain(sheet, path, number, k, cell) for k, cell in enumerate(cells)]))
    except csv.Error as error:
        raise ConfigError([Fault(path, reader.line_num, "", f"is no CSV: {error}")]) from error
    return sheet


def decoded(raw: bytes) -> tuple[str, str]:
    """Give the text of a file, and what the person should know of the guess ("" for none)."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    try:
        text = raw.decode("cp949")
    except UnicodeDecodeError:
        text = ""
    # `°C` in Latin-1 is a syllable nobody writes in CP949: Korean text has at least as many everyday syllables as others
    foreign = [sign for sign in text if ord(sign) > 127]
    plain = [sign for sign in foreign if len(sign.encode("euc_kr", "ignore")) == 2]
    everyday, rare = sum("가" <= sign <= "힣" for sign in plain), len(foreign) - len(plain)
    if text and everyday >= max(1, rare):
        return text, "read as CP949 (Korean Excel); save it as UTF-8 to be sure of every sign"
    return raw.decode(
        "latin-1"
    ), "is neither UTF-8 nor CP949: read as Latin-1; check signs beyond ASCII, or save it as UTF-8"


def _separator(header: str) -> str:
    """Give what separates the cells of the header line."""
    return max((",", ";", "\t"), key=header.count)


def _comment(line: str) -> bool:
    return line.lstrip(' "').startswith("#")


def _take_comment(sheet: Sheet, line: str) -> None:
    text = line.lstrip("#").strip()
    if (title := _TITLE.fullmatch(text)) and not sheet.title:
        sheet.title = title[1].strip()
    else:
        sheet.comments.append(text)


def _guarded(text: str) -> str:
    """Put a `'` before what a spreadsheet would take for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r'") and not _NUMBER.fullmatch(text) else text


def _plain(sheet: Sheet, path: Path, number: int, place: int, text: str) -> str:
    if text.lstrip().startswith("="):
        sheet.faults.append(Fault(path, number, f"{letter(place)}{number}", f"{text!r} is a formula; write its value"))
        return ""
    return text.removeprefix("'")
