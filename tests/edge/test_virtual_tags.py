"""Virtual tags of a book: read with it, told apart by line, visible to the line's rules, refused with their place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edge.commands.book import load_book, main
from edge.commands.book_toml import toml_of
from edge.site import load
from edge.tags import TagBook
from sync.settings import ConfigError

SITE = """
[gateway]
id = "gw-1"
tenant = "acme"
site = "plant"

[[connection]]
name = "plc"
driver = "modbus"
host = "127.0.0.1"

[[line]]
work_unit = "area/line/press"
connection = "plc"
book = "press.toml"
rules = "rules.toml"
"""
BOOK = """title = "Press"

[[tag]]
name = "current"
address = "holding:100"
type = "float32"
unit = "AMP"

[[tag]]
name = "pressure"
address = "holding:102"
type = "float32"
unit = "BAR"

[[virtual]]
name = "load"
title = { ko = "부하", en = "Load" }
value = "100 * current.mean / 63"
unit = "P1"
low = 0
high = 120

[[virtual]]
name = "overload"
value = "load > 100"
"""
RULES = """
[ruleset]
name = "press"
version = "1.0.0"

[[limit]]
name = "load"
value = "load"
warning_high = 90

[[rule]]
name = "overload"
when = "overload && load.age_s < 5.0"
severity = "warning"
"""


def site(folder: Path, book: str = BOOK, rules: str = RULES) -> Path:
    for name, text in (("site.toml", SITE), ("press.toml", book), ("rules.toml", rules)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "site.toml"


def test_rules_name_virtual_tags_like_any_other(tmp_path):
    loaded = load(site(tmp_path))
    assert loaded.rulesets["area/line/press"].tags == ("load", "overload")
    virtual = loaded.virtual["area/line/press"]
    assert [(tag.name, tag.unit) for tag in virtual.tags] == [("load", "P1"), ("overload", None)]
    assert len(loaded.table) == 2


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("load > 100", "lode > 100", "press.toml:25: virtual[1].value: 1:1: unknown name lode; nearest is load"),
        ("load > 100", "overload", "press.toml:25: virtual[1].value: overload → overload is a circle"),
        ("100 * current.mean / 63", "current + pressure", "press.toml:18: virtual[0].value: 1:9: current is AMP"),
        ('name = "load"', 'name = "pressure"', "press.toml:16: virtual[0].name: duplicate tag 'pressure'"),
        ('unit = "P1"', 'unot = "P1"', "press.toml:19: virtual[0].unot: unknown key; did you mean 'unit'?"),
        ("high = 120", "high = -1", "press.toml:20: virtual[0].low: low 0.0 is not below high -1.0"),
    ],
)
def test_a_faulty_one_is_told_with_file_and_line(tmp_path, old, new, told):
    with pytest.raises(ConfigError) as error:
        load(site(tmp_path, BOOK.replace(old, new)))
    assert told in str(error.value)


def test_a_rule_that_compares_two_units_is_told(tmp_path):
    rules = RULES.replace("overload && load.age_s < 5.0", "current > pressure")
    with pytest.raises(ConfigError, match="current is AMP, pressure is BAR"):
        load(site(tmp_path, rules=rules))


def test_the_book_alone_is_checked_and_shown_with_them(tmp_path, capsys):
    book = tmp_path / "press.toml"
    book.write_text(BOOK, encoding="utf-8")
    assert main(["check", str(book)]) == 0
    assert "good: 2 tags, 2 virtual" in capsys.readouterr().out
    assert main(["show", str(book)]) == 0
    assert "load      P1   100 * current.mean / 63\noverload       load > 100" in capsys.readouterr().out
    book.write_text(BOOK.replace("current.mean", "curent.mean"), encoding="utf-8")
    assert main(["check", str(book)]) == 78
    assert "press.toml:18: virtual[0].value: 1:7: unknown name curent.mean; nearest is current.mean" in (
        capsys.readouterr().err
    )


def test_a_book_comes_back_from_toml_with_them_and_a_spreadsheet_says_it_lacks_them(tmp_path, capsys):
    path = tmp_path / "press.toml"
    path.write_text(BOOK, encoding="utf-8")
    book, comments, _ = load_book(str(path))
    assert TagBook.model_validate(tomllib.loads(toml_of(book, comments))) == book
    assert main(["export", str(path), str(tmp_path / "press.csv")]) == 0
    assert "without its 2 virtual tags" in capsys.readouterr().err


def test_an_array_becomes_names_that_virtual_tags_may_name(tmp_path):
    book = BOOK.replace('name = "pressure"', 'name = "pressure"\ncount = 2').replace(
        "100 * current.mean / 63", "pressure_0 - pressure_1 + current.rms * 0"
    )
    path = tmp_path / "press.toml"
    path.write_text(book, encoding="utf-8")
    assert [spec.name for spec in load_book(str(path))[0].virtual] == ["load", "overload"]
