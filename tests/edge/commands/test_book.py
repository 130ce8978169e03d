"""`triflow edge book`: round trips, foreign spreadsheets, every fault at once."""

from __future__ import annotations

import csv
import io
import sys
import tomllib
from typing import get_args

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.__main__ import main as edge
from edge.commands.book import load_book, main
from edge.commands.book_columns import CHOICES, COLUMNS, cell, read
from edge.commands.book_csv import decoded, read_csv, write_csv
from edge.commands.book_sheet import book_of, letter, sheet_of
from edge.commands.book_toml import ORDER, comments_of, toml_of
from edge.commands.book_xlsx import read_xlsx, write_xlsx
from edge.config import BOOKS
from edge.tags import REGISTERS, DataType, TagBook, TagSpec, WordOrder
from sync.settings import ConfigError

SHIPPED = sorted(path.stem for path in BOOKS.glob("*.toml"))
HEAD = "name,address,type,unit,role,counter,values,low,high\n"


def reloaded(text: str) -> TagBook:
    return TagBook.model_validate(tomllib.loads(text))


@pytest.fixture
def put(tmp_path):
    """Import some bytes as a sheet: exit status and what became of it."""

    def put(content: str | bytes, name: str = "in.csv", *more: str) -> tuple[int, TagBook | None]:
        source, out = tmp_path / name, tmp_path / "out.toml"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        status = main(["import", str(source), str(out), *more])
        return status, reloaded(out.read_text(encoding="utf-8")) if out.exists() else None

    return put


# round trips


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_every_shipped_book_comes_back_equal_with_its_comments(name, form, tmp_path, capsys) -> None:
    sheet, out = tmp_path / f"sheet.{form}", tmp_path / "again.toml"
    assert main(["export", name, str(sheet)]) == 0
    assert main(["import", str(sheet), str(out)]) == 0
    book, comments, _ = load_book(name)
    assert load_book(str(out))[:2] == (book, comments)
    assert f"{len(book.tags)} tags" in capsys.readouterr().out


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).map(str.strip).filter(bool)  # fmt: skip
NUMBERS = st.floats(-1e12, 1e12).map(lambda number: number + 0.0)


@st.composite
def specs(draw):
    kind = draw(st.sampled_from([k for k in get_args(DataType) if k not in {"int8", "uint8"}]))
    role = draw(st.sampled_from(["measurement", "setpoint", "counter", "context", "reason"]))
    low = draw(st.none() | NUMBERS)
    fields = {
        "name": draw(NAMES),
        "address": f"holding:{draw(st.integers(0, 60_000))}",
        "type": kind,
        "role": role,
        "counter": draw(st.sampled_from(["good", "energy_wh"])) if role == "counter" else None,
        "context": "lot" if role == "context" else None,
        "length": draw(st.integers(1, 125)) if kind == "string" else 1,
        "count": draw(st.integers(1, 20)),
        "word_order": draw(st.sampled_from(get_args(WordOrder)[: 12 if REGISTERS.get(kind) == 4 else 4]) | st.none()),
        "values": draw(st.dictionaries(st.integers(0, 99).map(str), WORDS, max_size=3)),
        "unit": draw(st.none() | WORDS),
        "low": low,
        "high": None if low is None else low + draw(st.floats(1e-3, 1e6)),
        "scale": draw(NUMBERS.filter(bool)),
        "offset": draw(NUMBERS),
        "rollover": draw(st.none() | st.integers(1, 2**64)),
        "max_age_s": draw(st.floats(0.001, 1e6)),
        "writable": draw(st.booleans()),
        "period_ms": draw(st.none() | st.floats(20, 3_600_000)),
    }
    if fields["low"] is not None and fields["low"] >= fields["high"]:
        fields["high"] = None
    return TagSpec(**fields)


BOOKS_OF_ANY_KIND = st.builds(
    lambda title, tags: TagBook(title=title, tag=list({tag.name: tag for tag in tags}.values())),
    WORDS,
    st.lists(specs(), min_size=1, max_size=5),
)
REMARKS = st.lists(WORDS.filter(lambda line: not line.startswith("#") and "title" not in line.lower()), max_size=3)


@given(book=BOOKS_OF_ANY_KIND, remarks=REMARKS)
def test_any_book_comes_back_from_toml(book, remarks) -> None:
    text = toml_of(book, remarks)
    assert reloaded(text) == book
    assert comments_of(text) == remarks


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(book=BOOKS_OF_ANY_KIND, remarks=REMARKS)
def test_any_book_comes_back_from_csv(book, remarks, tmp_path) -> None:
    path = tmp_path / "any.csv"
    write_csv(sheet_of(book, remarks), path)
    sheet = read_csv(path)
    assert book_of(sheet, path, "untitled") == book
    assert sheet.comments == remarks


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(book=BOOKS_OF_ANY_KIND, remarks=REMARKS)
def test_any_book_comes_back_from_excel(book, remarks, tmp_path) -> None:
    path = tmp_path / "any.xlsx"
    write_xlsx(sheet_of(book, remarks), path)
    sheet = read_xlsx(path)
    assert book_of(sheet, path, "untitled") == book
    assert sheet.comments == remarks


def test_every_key_of_a_tag_has_its_column_its_place_and_its_words() -> None:
    assert set(COLUMNS) == set(ORDER) == set(TagSpec.model_fields)
    for kind, korean, english in COLUMNS.values():
        assert kind in {"text", "number", "integer", "flag", "values"}
        assert any("가" <= sign <= "힣" for sign in korean)
        assert english.isascii() or "…" in english or "×" in english
    assert set(CHOICES) <= set(COLUMNS)


# spreadsheets as they come


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_is_read_as_excel_saved_it(encoding, separator, put, capsys) -> None:
    rows = [["name", "address", "type", "values"], ["state", "holding:3", "uint16", "1=운전;2=정지"]]
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows(rows)
    status, book = put(out.getvalue().encode(encoding))
    assert status == 0
    assert book.tags[0].values == {"1": "운전", "2": "정지"}
    assert book.title == "in"
    assert ("CP949" in capsys.readouterr().err) == (encoding == "cp949")


def test_what_is_neither_utf8_nor_korean_is_read_as_latin1_and_said_aloud(put, capsys) -> None:
    status, book = put("name,address,unit,type\ntemp,holding:1,°C,int16\n".encode("latin-1"))
    assert status == 0
    assert book.tags[0].unit == "°C"
    assert "Latin-1" in capsys.readouterr().err


def test_the_guess_of_an_encoding_is_right_about_everyday_words() -> None:
    assert decoded("온도 25 °C".encode("cp949"))[0] == "온도 25 °C"
    assert decoded("Überdruck, Größe".encode("latin-1"))[0] == "Überdruck, Größe"
    assert decoded("압력".encode())[1] == ""


def test_a_semicolon_sheet_may_write_numbers_with_a_comma(put) -> None:
    status, book = put("name;address;type;scale;low\ntemp;holding:1;int16;0,1;-20,5\n")
    assert (status, book.tags[0].scale, book.tags[0].low) == (0, 0.1, -20.5)


def test_comments_and_title_stand_above_the_header_however_a_spreadsheet_filled_them_up(put, tmp_path) -> None:
    status, book = put("# title: Press 7,,,\n# from the manual,,,\n\nname,address,type,\nspeed,holding:1,uint16,\n")
    assert (status, book.title) == (0, "Press 7")
    assert (tmp_path / "out.toml").read_text().startswith("# from the manual\ntitle")


def test_a_title_can_be_given(put) -> None:
    assert put("name,address,type\nspeed,holding:1,uint16\n", "in.csv", "--title", "Press")[1].title == "Press"


# nothing that calculates


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "'quoted", "-", "-5", "plain"])
def test_a_text_that_looks_like_a_formula_leaves_guarded_and_comes_back(text, tmp_path) -> None:
    book = TagBook(title="t", tag=[TagSpec(name="a", address="holding:1", type="uint16", unit=text)])
    for path, write, take in (
        (tmp_path / "x.csv", write_csv, read_csv),
        (tmp_path / "x.xlsx", write_xlsx, read_xlsx),
    ):
        write(sheet_of(book, []), path)
        sheet = take(path)
        assert dict(zip(sheet.header, sheet.rows[0].cells, strict=False))["unit"] == text
    first = (tmp_path / "x.csv").read_text(encoding="utf-8-sig").splitlines()[2].split(",")[3]
    assert (first[0] == "'") == (text not in {"-5", "plain"})


def test_a_cell_that_holds_a_formula_is_a_fault_and_never_a_value(put, tmp_path, capsys) -> None:
    assert put(HEAD + "a,holding:1,uint16,=1+1,,,,,\n")[0] == 78
    assert "in.csv:2: D2: '=1+1' is a formula; write its value" in capsys.readouterr().err
    workbook = openpyxl.Workbook()
    workbook.active.append(["name", "address", "scale"])
    workbook.active.append(["a", "holding:1", "=2*3"])
    workbook.save(tmp_path / "f.xlsx")
    assert main(["import", str(tmp_path / "f.xlsx"), str(tmp_path / "out.toml")]) == 78
    assert "f.xlsx:2: C2: =2*3 is a formula" in capsys.readouterr().err


def test_the_excel_file_helps_who_fills_it(tmp_path) -> None:
    main(["export", "sdm630", str(tmp_path / "x.xlsx")])
    workbook = openpyxl.load_workbook(tmp_path / "x.xlsx")
    tags, about = workbook["tags"], workbook["about"]
    assert tags.freeze_panes == "B2"
    assert tags["A1"].font.bold
    lists = {str(rule.sqref).split(":")[0].rstrip("2"): rule.formula1 for rule in tags.data_validations.dataValidation}
    for name in ("type", "role", "word_order"):
        assert lists[letter([cell.value for cell in tags[1]].index(name))] == f'"{",".join(CHOICES[name])}"'
    texts = {str(value) for row in about.iter_rows(values_only=True) for value in row if value}
    for name, (_, korean, english) in COLUMNS.items():
        assert {name, korean, english} <= texts
    assert isinstance(tags["H2"].value, int | float), "numbers are numbers"
    workbook.close()


# every fault at once


def test_all_faults_are_listed_with_row_and_column_and_nothing_is_written(put, capsys) -> None:
    status, book = put(
        "name,adress,type,unit,scale,role,values\n"
        "Speed 1,holding:1,uint16,C62,x,measurement,\n"
        "b,holding:2,float23,C62,1,mesurement,\n"
        "c,holding:3,uint16,C62,1,counter,1\n"
        "c2,holding:3,uint16,C62,1,measurement,,stray\n"
    )
    assert (status, book) == (78, None)
    said = capsys.readouterr().err
    for fault in (
        "in.csv:1: B1: no column 'adress'; did you mean 'address'?",
        "in.csv:1: header: column 'address' is missing; add it",
        "in.csv:2: A2 (name): 'Speed 1' is no tag name: lower case, digits and underscores, a letter first; write speed_1",
        "in.csv:2: E2 (scale): 'x' is no number",
        "in.csv:3: C3 (type): 'float23' is none of its values; did you mean 'float32'?",
        "in.csv:3: F3 (role): 'mesurement' is none of its values; did you mean 'measurement'?",
        "in.csv:4: G4 (values): '1' is no number=name; write e.g. 1=idle;2=run",
        "in.csv:5: column H: 'stray' stands under no header",
    ):
        assert fault in said
    assert said.endswith("fault(s)\n")


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a,holding:1,uint16,,counter,,,,", "in.csv:2: A2 (name): tag a: role = 'counter' and counter = '…' go together"),
        ("a,holding:1,uint16,,,,,5,4", "low 5.0 is not below high 4.0"),
        ("a,40001,uint16,,,,,,", "B2 (address): '40001' is no Modbus address; write holding:0 for the reference 40001"),
        ("a,holding:1.3,uint16,,,,,,", "B2 (address): holding:1.3: a single bit is true or false"),
        ("a,ns=2;s=x,uint16,,,,,,\nb,nsu=u;s=b,int32,,,,,,\nc,nsu=u;s=c,int32,,,,,,", "B2 (address): 'ns=2;s=x' is no node id"),
        ("a,holding:1,uint16,,,,,,\na,holding:2,uint16,,,,,,", "in.csv:3: A3 (name): duplicate tag 'a': it stands in row 2 already"),
        (",holding:1,uint16,,,,,,", "in.csv:2: A2 (name): is empty; each tag has one"),
        ("a,,uint16,,,,,,", "in.csv:2: B2 (address): is empty; each tag has one"),
        ("", "holds no tag"),
        ('a,holding:1,uint16,,,,"1=a;1=b",,', "1 is named twice"),
        ('a,holding:1,uint16,,,,,"1,5",', "'1,5' is no number; write the point as in 1.5"),
    ],
)  # fmt: skip
def test_a_fault_says_where_it_stands(rows, fault, put, capsys) -> None:
    assert put(HEAD + rows + "\n") == (78, None)
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "row", "fault"),
    [
        ("sampling_ms", "100", "C2 (sampling_ms): sampling_ms is for OPC UA only; remove it"),
        ("writable", "perhaps", "'perhaps' is neither true nor false"),
        ("count", "2.5", "'2.5' is no whole number"),
        ("count", "0", "C2 (count): Input should be greater than or equal to 1"),
        ("triggered_by", "b", "is for OPC UA only"),
        ("name", "a", "column 'name' stands here twice"),
    ],
)
def test_a_column_says_what_it_takes(header, row, fault, put, capsys) -> None:
    assert put(f"name,address,{header},type\na,holding:1,{row},uint16\n") == (78, None)
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize("column", ["word_order", "type"])
def test_what_only_modbus_knows_is_a_fault_in_an_opc_ua_book(column, put, capsys) -> None:
    value = {"word_order": ",uint32,CDAB", "type": ",bcd32,"}[column]
    assert put(f"name,address,type,word_order\na,nsu=u;s=a{value}\n") == (78, None)
    assert "for Modbus only" in capsys.readouterr().err


def test_a_trigger_names_another_tag_of_the_book(put, capsys) -> None:
    assert put("name,address,triggered_by\nspeed,nsu=u;s=a,sped\nsped2,nsu=u;s=b,\n")[0] == 78
    assert "no tag 'sped' in this book; did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("in.ods", b"", "a spreadsheet's name ends in .csv or .xlsx"),
        ("in.xlsx", b"no zip", "is no Excel workbook"),
        ("in.csv", b"", "column 'name' is missing"),
    ],
)
def test_a_file_that_is_no_sheet_is_said_to_be_none(name, content, fault, put, capsys) -> None:
    assert put(content, name) == (78, None)
    assert fault in capsys.readouterr().err


def test_a_missing_file_and_a_missing_book_are_named(tmp_path, capsys) -> None:
    assert main(["import", str(tmp_path / "none.csv"), str(tmp_path / "o.toml")]) == 78
    assert main(["check", "sdm63"]) == 78
    assert main(["check", str(tmp_path / "none.toml")]) == 78
    said = capsys.readouterr().err
    assert "cannot read it" in said
    assert "did you mean 'sdm630'?" in said


def test_a_file_in_the_way_stays_unless_force_is_given(put, tmp_path, capsys) -> None:
    (tmp_path / "out.toml").write_text("mine")
    (tmp_path / "in.csv").write_text("name,address,type\na,holding:1,uint16\n")
    command = ["import", str(tmp_path / "in.csv"), str(tmp_path / "out.toml")]
    assert main(command) == 73
    assert (tmp_path / "out.toml").read_text() == "mine"
    assert "is there already" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_without_openpyxl_a_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert main(["export", "sdm630", str(tmp_path / "x.xlsx")]) == 69
    assert 'pip install "triflow[xlsx]"' in capsys.readouterr().err
    assert main(["export", "sdm630", str(tmp_path / "x.csv")]) == 0


# looking


def test_list_names_every_shipped_book(capsys) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in SHIPPED:
        assert any(line.startswith(name) for line in out.splitlines())


def test_show_gives_source_and_table(capsys) -> None:
    assert main(["show", "abb_acs550"]) == 0
    out = capsys.readouterr().out
    assert "register 40004 is the status word" in " ".join(out.split())
    assert "holding:3.2" in out


def test_check_names_the_line_of_a_fault(tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "mine"\n\n[[tag]]\nname = "a"\ntype = "bool"\naddress = "holding:3.16"\n')
    assert main(["check", str(path)]) == 78
    assert "mine.toml:6: tag[0].address: holding:3.16: a register has the bits 0 to 15" in capsys.readouterr().err
    path.write_text(path.read_text().replace(".16", ".15"))
    assert main(["check", str(path)]) == 0
    assert "good: 1 tags" in capsys.readouterr().out


@given(st.dictionaries(WORDS, WORDS, max_size=4))
def test_names_of_numbers_survive_their_cell_whatever_they_hold(values) -> None:
    text = cell(values, "values")
    assert (read(text, "values") if text else {}) == values


def test_a_book_whose_title_is_missing_takes_the_name_of_its_file(tmp_path) -> None:
    (tmp_path / "in.csv").write_text("name,address\na,holding:1\n")
    assert book_of(read_csv(tmp_path / "in.csv"), tmp_path / "in.csv", "in").title == "in"
    with pytest.raises(ConfigError):
        book_of(sheet_of(TagBook(title="t", tag=[TagSpec(name="a", address="x")]), []), tmp_path / "in.csv", "in")


def test_the_word_stands_in_the_edge_command(capsys) -> None:
    assert edge(["book", "check", "sdm630"]) == 0
    assert "good: 16 tags" in capsys.readouterr().out
